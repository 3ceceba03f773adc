package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
)

// NetworkManager on D-Bus (https://networkmanager.dev/docs/api/latest/). Its global DNS configuration stands above that of
// all connections, so that it keeps resolv.conf as we want it through every change of the network. The setting
// outlives NetworkManager and the machine's next start, and is therefore taken back by our record.
const (
	nmName        = "org.freedesktop.NetworkManager"
	nmPath        = dbus.ObjectPath("/org/freedesktop/NetworkManager")
	nmGlobalDNS   = nmName + ".GlobalDnsConfiguration"
	nmDNSPath     = nmPath + "/DnsManager"
	nmDNSManager  = nmName + ".DnsManager"
	nmEveryDomain = "*"
	// nmStored is where it keeps the setting.
	nmStored = "/var/lib/NetworkManager/NetworkManager-intern.conf"
	// nmWriteTime is how long resolv.conf may take to follow the setting.
	nmWriteTime = time.Second
)

// globalDNS is NetworkManager's GlobalDnsConfiguration. The zero value is none.
type globalDNS struct {
	Searches []string                `json:"searches,omitempty"`
	Options  []string                `json:"options,omitempty"`
	Domains  map[string]globalDomain `json:"domains,omitempty"`
}

type globalDomain struct {
	Servers []string `json:"servers,omitempty"`
	Options []string `json:"options,omitempty"`
}

// equal compares what both say; an empty list says nothing.
func (g globalDNS) equal(o globalDNS) bool {
	a, err1 := json.Marshal(g)
	b, err2 := json.Marshal(o)
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

// variant is g in the property's form, a{sv}.
func (g globalDNS) variant() dbus.Variant {
	out := map[string]dbus.Variant{}
	list := func(into map[string]dbus.Variant, key string, values []string) {
		if len(values) > 0 {
			into[key] = dbus.MakeVariant(values)
		}
	}
	list(out, "searches", g.Searches)
	list(out, "options", g.Options)
	if len(g.Domains) > 0 {
		domains := map[string]dbus.Variant{}
		for name, d := range g.Domains {
			one := map[string]dbus.Variant{}
			list(one, "servers", d.Servers)
			list(one, "options", d.Options)
			domains[name] = dbus.MakeVariant(one)
		}
		out["domains"] = dbus.MakeVariant(domains)
	}
	return dbus.MakeVariant(out)
}

// readGlobal is the reverse of variant.
func readGlobal(v dbus.Variant) (g globalDNS, err error) {
	var raw, domains map[string]dbus.Variant
	err = v.Store(&raw)
	list := func(from map[string]dbus.Variant, key string, into *[]string) {
		if x, there := from[key]; there && err == nil {
			err = x.Store(into)
		}
	}
	list(raw, "searches", &g.Searches)
	list(raw, "options", &g.Options)
	if x, there := raw["domains"]; there && err == nil {
		err = x.Store(&domains)
		g.Domains = map[string]globalDomain{}
	}
	for name, x := range domains {
		var one map[string]dbus.Variant
		var d globalDomain
		if err == nil {
			err = x.Store(&one)
		}
		list(one, "servers", &d.Servers)
		list(one, "options", &d.Options)
		g.Domains[name] = d
	}
	if err != nil {
		return globalDNS{}, fmt.Errorf("NetworkManager's global DNS configuration: %w", err)
	}
	return g, nil
}

// writesResolvConf reports whether NetworkManager runs and keeps resolv.conf by itself, for no other program.
func writesResolvConf(ctx context.Context, bus string) bool {
	return onBus(ctx, bus, func(ctx context.Context, conn *dbus.Conn) error {
		object := conn.Object(nmName, nmDNSPath)
		var mode, how string
		if err := errors.Join(property(ctx, object, nmDNSManager, "Mode", &mode), property(ctx, object, nmDNSManager, "RcManager", &how)); err != nil {
			return err
		}
		if how != "symlink" && how != "file" || mode == "none" || mode == "systemd-resolved" {
			return fmt.Errorf("NetworkManager leaves resolv.conf to others: %s, %s", mode, how)
		}
		return nil
	}) == nil
}

func property(ctx context.Context, object dbus.BusObject, iface, name string, into any) error {
	var v dbus.Variant
	if err := object.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, iface, name).Store(&v); err != nil {
		return fmt.Errorf("%s.%s: %w", iface, name, err)
	}
	return v.Store(into)
}

// networkManager sets NetworkManager's global DNS configuration.
type networkManager struct {
	bus string
	log *slog.Logger
}

// now reads the present setting, and the servers of the connections.
func (m *networkManager) now(ctx context.Context, conn *dbus.Conn) (g globalDNS, underlay []netip.Addr, err error) {
	var v dbus.Variant
	err = conn.Object(nmName, nmPath).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, nmName, "GlobalDnsConfiguration").Store(&v)
	if err == nil {
		g, err = readGlobal(v)
	}
	if err != nil {
		return g, nil, err
	}
	var all []map[string]dbus.Variant
	if err := property(ctx, conn.Object(nmName, nmDNSPath), nmDNSManager, "Configuration", &all); err != nil {
		return g, nil, err
	}
	for _, one := range all {
		var device string
		var servers []string
		if v, there := one["interface"]; !there || v.Store(&device) != nil {
			continue // the global configuration itself
		}
		if v, there := one["nameservers"]; there && v.Store(&servers) == nil {
			for _, s := range servers {
				if a, err := netip.ParseAddr(s); err == nil && !slices.Contains(underlay, a) {
					underlay = append(underlay, a)
				}
			}
		}
	}
	return g, underlay, nil
}

// global is what s wants. A configuration without servers would be none at all, so that search domains
// alone take the connections' servers with them.
func (s *dnsState) global() globalDNS {
	d, _ := s.plain()
	var servers []string
	for _, a := range d.Servers {
		servers = append(servers, a.Addr().String())
	}
	if len(d.Servers) == 0 {
		for _, a := range s.Underlay {
			servers = append(servers, a.String())
		}
	}
	return globalDNS{Searches: d.Search, Domains: map[string]globalDomain{nmEveryDomain: {Servers: servers}}}
}

func (m *networkManager) prepare(ctx context.Context, s *dnsState) error {
	return onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
		g, underlay, err := m.now(ctx, conn)
		if err != nil {
			return err
		}
		// What another program has set meanwhile is what comes back.
		if s.Previous == nil || !g.equal(*s.Previous) && !s.madeBy(g) {
			s.Previous = &g
		}
		s.Underlay = underlay
		return nil
	})
}

// madeBy reports whether g is a configuration of ours: its servers are those of one of the tunnels.
func (s *dnsState) madeBy(g globalDNS) bool {
	if len(g.Domains) != 1 || len(g.Options) > 0 {
		return false
	}
	servers := g.Domains[nmEveryDomain].Servers
	if slices.Equal(servers, s.global().Domains[nmEveryDomain].Servers) {
		return true
	}
	return slices.ContainsFunc(s.Tunnels, func(t tunnelDNS) bool {
		one := dnsState{Tunnels: []tunnelDNS{t}, Underlay: s.Underlay}
		return slices.Equal(servers, one.global().Domains[nmEveryDomain].Servers)
	})
}

func (m *networkManager) enforce(ctx context.Context, s *dnsState) error {
	want := s.global()
	err := m.put(ctx, want)
	if err != nil {
		return err
	}
	// It writes the file on its own time. With a cache of its own it names that one.
	path := filepath.Join(s.Etc, "resolv.conf")
	for end := time.Now().Add(nmWriteTime); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if there := nameservers(text); err == nil && len(there) > 0 && (there[0].IsLoopback() || slices.Contains(want.Domains[nmEveryDomain].Servers, there[0].String())) {
			return nil
		}
	}
	m.log.Warn("NetworkManager has not written resolv.conf yet", "file", path)
	return nil
}

func (m *networkManager) put(ctx context.Context, g globalDNS) error {
	return onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
		err := conn.Object(nmName, nmPath).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Set", 0, nmName, "GlobalDnsConfiguration", g.variant()).Err
		if err != nil {
			return fmt.Errorf("%s: %w", nmGlobalDNS, err)
		}
		return nil
	})
}

func (m *networkManager) inForce(ctx context.Context, s *dnsState) bool {
	same := false
	err := onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
		g, underlay, err := m.now(ctx, conn)
		now := *s
		now.Underlay = underlay
		same = g.equal(now.global()) && slices.Equal(underlay, s.Underlay)
		return err
	})
	return err != nil || same // where it does not answer it is starting anew, with the setting
}

func (m *networkManager) forget(ctx context.Context, s *dnsState, t tunnelDNS) (bool, error) {
	if len(s.Tunnels) > 0 {
		return true, m.enforce(ctx, s)
	}
	was := globalDNS{}
	if s.Previous != nil {
		was = *s.Previous
	}
	before := dnsState{Tunnels: []tunnelDNS{t}, Underlay: s.Underlay}
	did := false
	err := onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
		g, _, err := m.now(ctx, conn)
		if err != nil {
			return err
		}
		if did = g.equal(before.global()) || before.madeBy(g); !did && !g.equal(was) {
			m.log.Warn("DNS left as it is: somebody else has changed NetworkManager's global configuration since")
		}
		return nil
	})
	switch {
	case err != nil && gone():
		m.log.Warn("NetworkManager is gone, and with it what it was told", "error", err)
		return false, nil // else no start would ever get past this entry
	case err != nil || !did:
		return false, err
	}
	return true, m.put(ctx, was)
}

func (m *networkManager) outside(ctx context.Context, _ *dnsState) (servers []netip.Addr, err error) {
	err = onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
		_, servers, err = m.now(ctx, conn)
		return err
	})
	return servers, err
}

// gone reports whether nothing of our setting can be left: no NetworkManager, or none of its own files that says so.
func gone() bool {
	text, err := os.ReadFile(nmStored)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Contains(text, []byte("[.intern.global-dns")) {
		return true
	}
	for _, p := range []string{"/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"} {
		if _, err := os.Stat(p); err == nil {
			return false
		}
	}
	return true
}
