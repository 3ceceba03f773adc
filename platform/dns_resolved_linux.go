package platform

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/routes"
)

// systemd-resolved on D-Bus, org.freedesktop.resolve1(5).
const (
	resolvedName    = "org.freedesktop.resolve1"
	resolvedPath    = dbus.ObjectPath("/org/freedesktop/resolve1")
	resolvedManager = resolvedName + ".Manager."
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
)

// withResolved calls f with resolved's object on a connection of its own.
func withResolved(ctx context.Context, bus string, f func(call func(method string, args ...any) error) error) error {
	ctx, cancel := context.WithTimeout(ctx, resolverTime)
	defer cancel()
	var conn *dbus.Conn
	var err error
	if bus == "" {
		conn, err = dbus.ConnectSystemBus(dbus.WithContext(ctx))
	} else {
		conn, err = dbus.Connect(bus, dbus.WithContext(ctx))
	}
	if err != nil {
		return fmt.Errorf("D-Bus: %w", err)
	}
	defer conn.Close()
	object := conn.Object(resolvedName, resolvedPath)
	return f(func(method string, args ...any) error {
		if err := object.CallWithContext(ctx, method, 0, args...).Err; err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		return nil
	})
}

// pingResolved reports whether resolved answers; D-Bus starts it when it can.
func pingResolved(ctx context.Context, bus string) error {
	return withResolved(ctx, bus, func(call func(string, ...any) error) error {
		return call("org.freedesktop.DBus.Peer.Ping")
	})
}

// setResolved sets all of one link, so that nothing of an earlier setting stays.
func setResolved(ctx context.Context, bus string, index int, d routes.DNS) error {
	i := int32(index)
	ex := d.SNI != ""
	plain, extended := []linkDNS{}, []linkDNSEx{}
	for _, s := range d.Servers {
		a := s.Addr().Unmap().WithZone("")
		family := int32(unix.AF_INET)
		if a.Is6() {
			family = unix.AF_INET6
		}
		ex = ex || s.Port() != 53
		plain = append(plain, linkDNS{family, a.AsSlice()})
		extended = append(extended, linkDNSEx{family, a.AsSlice(), s.Port(), d.SNI})
	}
	domains := []linkDomain{}
	for _, s := range d.Search {
		domains = append(domains, linkDomain{s, false})
	}
	for _, s := range d.Split {
		domains = append(domains, linkDomain{s, true})
	}
	all := len(d.Split) == 0 && len(d.Servers) > 0
	if all {
		domains = append(domains, linkDomain{".", true})
	}
	dnssec := map[string]string{"yes": "yes", "optional": "allow-downgrade", "no": "no"}[d.DNSSEC]
	overTLS := ""
	switch d.Transport {
	case "DoT":
		overTLS = "yes"
	case "plain":
		overTLS = "no"
	}
	return withResolved(ctx, bus, func(call func(string, ...any) error) error {
		var err error
		if ex {
			err = call(resolvedManager+"SetLinkDNSEx", i, extended)
		} else {
			err = call(resolvedManager+"SetLinkDNS", i, plain)
		}
		return errors.Join(err,
			call(resolvedManager+"SetLinkDomains", i, domains),
			call(resolvedManager+"SetLinkDefaultRoute", i, all),
			call(resolvedManager+"SetLinkDNSSEC", i, dnssec),
			call(resolvedManager+"SetLinkDNSOverTLS", i, overTLS),
			call(resolvedManager+"FlushCaches"))
	})
}

func revertResolved(ctx context.Context, bus string, index int) error {
	return withResolved(ctx, bus, func(call func(string, ...any) error) error {
		return errors.Join(call(resolvedManager+"RevertLink", int32(index)), call(resolvedManager+"FlushCaches"))
	})
}
