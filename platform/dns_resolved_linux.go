package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/bus"
)

// systemd-resolved on D-Bus, org.freedesktop.resolve1(5).
const (
	resolvedName    = "org.freedesktop.resolve1"
	resolvedPath    = dbus.ObjectPath("/org/freedesktop/resolve1")
	resolvedIface   = resolvedName + ".Manager"
	resolvedManager = resolvedIface + "."
	resolvedLink    = resolvedName + ".Link"
	// resolvedConf lists all servers that resolved knows, of all links.
	resolvedConf = "/run/systemd/resolve/resolv.conf"

	unknownMethod = "org.freedesktop.DBus.Error.UnknownMethod"
)

// The arguments of SetLinkDNS, SetLinkDNSEx and SetLinkDomains.
type (
	linkDNS struct {
		Family  int32
		Address []byte
	}
	linkDNSEx struct {
		Family  int32
		Address []byte
		Port    uint16
		Name    string
	}
	linkDomain struct {
		Domain      string
		RoutingOnly bool
	}
	// serverOfLink is one of the manager's property DNS; link 0: the whole system's.
	serverOfLink struct {
		Link, Family int32
		Address      []byte
	}
)

// linkSettings are all settings of one link, so that nothing of earlier ones stays.
type linkSettings struct {
	servers  []linkDNSEx
	extended bool // with ports or names, which resolved knows since version 246
	domains  []linkDomain
	all      bool // names of every domain
	dnssec   string
	overTLS  string
}

// onBus calls f with a connection of its own.
func onBus(ctx context.Context, bus string, f func(context.Context, *dbus.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, resolverTime)
	defer cancel()
	conn, err := dialBus(ctx, bus)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(ctx, conn)
}

// dialBus connects to the system's bus, or to the one at an address.
func dialBus(ctx context.Context, address string) (*dbus.Conn, error) {
	conn, err := bus.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBus, err)
	}
	return conn, nil
}

// errBus says that the bus itself is not there.
var errBus = errors.New("D-Bus")

// unanswered reports whether nobody has answered, so that nothing was refused either.
func unanswered(err error) bool {
	var e dbus.Error
	if errors.As(err, &e) {
		switch e.Name {
		case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.NoReply",
			"org.freedesktop.DBus.Error.Disconnected", "org.freedesktop.DBus.Error.TimedOut":
			return true
		}
	}
	return errors.Is(err, errBus) || errors.Is(err, dbus.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}

// pingResolved reports whether resolved answers; D-Bus starts it when it can.
func pingResolved(ctx context.Context, bus string) error {
	return onBus(ctx, bus, func(ctx context.Context, conn *dbus.Conn) error {
		return conn.Object(resolvedName, resolvedPath).CallWithContext(ctx, "org.freedesktop.DBus.Peer.Ping", 0).Err
	})
}

// resolved sets the settings of the tunnels' links, which resolved forgets with the link.
type resolved struct {
	bus string
	log *slog.Logger
}

func (*resolved) prepare(context.Context, *dnsState) error { return nil }

// settings are those of t's link among the tunnels of s. Where a tunnel takes all traffic, only its
// servers are asked for names of every domain. Else all those that want them are, and the first that
// knows the name wins; names of a domain that a tunnel names go to that tunnel in any case.
func (s *dnsState) settings(t tunnelDNS) linkSettings {
	l := linkSettings{servers: []linkDNSEx{}, domains: []linkDomain{}, all: t.all() && s.before(t, true) == "", extended: t.DNS.SNI != ""}
	for _, a := range t.DNS.Servers {
		l.servers = append(l.servers, exServer(a.Addr().Unmap().WithZone("").AsSlice(), a.Port(), t.DNS.SNI))
		l.extended = l.extended || a.Port() != 53
	}
	for _, d := range t.DNS.Search {
		l.domains = append(l.domains, linkDomain{d, false})
	}
	for _, d := range t.DNS.Split {
		l.domains = append(l.domains, linkDomain{d, true})
	}
	if l.all {
		l.domains = append(l.domains, linkDomain{".", true})
	}
	l.dnssec = map[string]string{"yes": "yes", "optional": "allow-downgrade", "no": "no"}[t.DNS.DNSSEC]
	l.overTLS = map[string]string{"DoT": "yes", "plain": "no"}[t.DNS.Transport]
	return l
}

// exServer is one server in the form that resolved shows: 0 for the usual port.
func exServer(address []byte, port uint16, name string) linkDNSEx {
	family := int32(unix.AF_INET)
	if len(address) == 16 {
		family = unix.AF_INET6
	}
	if port == 53 {
		port = 0
	}
	return linkDNSEx{family, address, port, name}
}

func (m *resolved) enforce(ctx context.Context, s *dnsState) error {
	return onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
		var errs []error
		changed := false
		for _, t := range s.Tunnels {
			if !linkThere(t) {
				continue // its tunnel has ended without saying so; resolved has forgotten it
			}
			if want := s.settings(t); !want.inForce(ctx, conn, t.Index) {
				changed = true
				errs = append(errs, want.set(ctx, conn, int32(t.Index)))
			}
		}
		if changed {
			errs = append(errs, flushCaches(ctx, conn))
		}
		return errors.Join(errs...)
	})
}

func (l linkSettings) set(ctx context.Context, conn *dbus.Conn, index int32) error {
	call := func(method string, args ...any) error { return callResolved(ctx, conn, method, args...) }
	var err error
	if l.extended {
		err = call("SetLinkDNSEx", index, l.servers)
	} else {
		plain := []linkDNS{}
		for _, s := range l.servers {
			plain = append(plain, linkDNS{s.Family, s.Address})
		}
		err = call("SetLinkDNS", index, plain)
	}
	return errors.Join(err,
		call("SetLinkDomains", index, l.domains),
		// Before version 240 a link without domains was the only default; before 239 there was no DNS over TLS.
		unless(unknownMethod, call("SetLinkDefaultRoute", index, l.all)),
		call("SetLinkDNSSEC", index, l.dnssec),
		unless(map[bool]string{true: unknownMethod}[l.overTLS != "yes"], call("SetLinkDNSOverTLS", index, l.overTLS)))
}

// unless drops an error of D-Bus by its name.
func unless(name string, err error) error {
	var e dbus.Error
	if errors.As(err, &e) && e.Name == name {
		return nil
	}
	return err
}

func callResolved(ctx context.Context, conn *dbus.Conn, method string, args ...any) error {
	if err := conn.Object(resolvedName, resolvedPath).CallWithContext(ctx, resolvedManager+method, 0, args...).Err; err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

func flushCaches(ctx context.Context, conn *dbus.Conn) error {
	return callResolved(ctx, conn, "FlushCaches")
}

// inForce compares what resolved shows of the link.
func (l linkSettings) inForce(ctx context.Context, conn *dbus.Conn, index int) bool {
	var path dbus.ObjectPath
	var has map[string]dbus.Variant
	if conn.Object(resolvedName, resolvedPath).CallWithContext(ctx, resolvedManager+"GetLink", 0, int32(index)).Store(&path) != nil ||
		conn.Object(resolvedName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, resolvedLink).Store(&has) != nil {
		return false
	}
	var domains []linkDomain
	if has["Domains"].Store(&domains) != nil || len(domains) != len(l.domains) {
		return false
	}
	for _, d := range l.domains {
		if !slices.Contains(domains, d) {
			return false
		}
	}
	var all bool
	if v, known := has["DefaultRoute"]; known && (v.Store(&all) != nil || all != l.all) {
		return false
	}
	var servers []linkDNSEx
	if v, known := has["DNSEx"]; known {
		if v.Store(&servers) != nil {
			return false
		}
	} else {
		var plain []linkDNS
		if has["DNS"].Store(&plain) != nil {
			return false
		}
		for _, s := range plain {
			servers = append(servers, exServer(s.Address, 0, ""))
		}
	}
	return slices.EqualFunc(servers, l.servers, func(a, b linkDNSEx) bool {
		return slices.Equal(a.Address, b.Address) && exServer(nil, a.Port, "").Port == b.Port && a.Name == b.Name
	})
}

func (m *resolved) inForce(ctx context.Context, s *dnsState) bool {
	same := true
	err := onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
		if err := conn.Object(resolvedName, resolvedPath).CallWithContext(ctx, "org.freedesktop.DBus.Peer.Ping", 0).Err; err != nil {
			return err
		}
		for _, t := range s.Tunnels {
			same = same && (!linkThere(t) || s.settings(t).inForce(ctx, conn, t.Index))
		}
		return nil
	})
	if err != nil {
		m.log.Warn("systemd-resolved does not answer; DNS is set again when it does", "error", err)
	}
	return err != nil || same
}

func (m *resolved) forget(ctx context.Context, s *dnsState, t tunnelDNS) (bool, error) {
	// The index may be another link's by now.
	did := linkThere(t)
	if did {
		err := onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
			return errors.Join(callResolved(ctx, conn, "RevertLink", int32(t.Index)), flushCaches(ctx, conn))
		})
		if err != nil {
			return did, err
		}
	}
	if len(s.Tunnels) > 0 {
		return did, m.enforce(ctx, s)
	}
	return did, nil
}

// outside are the servers of all links but the tunnels', and those of no link.
func (m *resolved) outside(ctx context.Context, s *dnsState) (servers []netip.Addr, err error) {
	var all []serverOfLink
	err = onBus(ctx, m.bus, func(ctx context.Context, conn *dbus.Conn) error {
		return property(ctx, conn.Object(resolvedName, resolvedPath), resolvedIface, "DNS", &all)
	})
	for _, x := range all {
		a, ok := netip.AddrFromSlice(x.Address)
		if !ok || slices.ContainsFunc(s.Tunnels, func(t tunnelDNS) bool { return t.Index == int(x.Link) && linkThere(t) }) {
			continue
		}
		if l, err := net.InterfaceByIndex(int(x.Link)); err == nil && a.Is6() && a.IsLinkLocalUnicast() {
			a = a.WithZone(l.Name)
		}
		if !slices.Contains(servers, a) {
			servers = append(servers, a)
		}
	}
	return servers, err
}

// linkThere reports whether the tunnel's device still is.
func linkThere(t tunnelDNS) bool {
	i, err := net.InterfaceByIndex(t.Index)
	return err == nil && i.Name == t.Device
}
