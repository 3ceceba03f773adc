package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/routes"
)

// routeProtocol marks our rows in the kernel's table ("proto 157" in ip route).
// Only rows that carry it are ever deleted.
const routeProtocol = 157

func (r row) kernel() *netlink.Route {
	k := &netlink.Route{
		Dst:      &net.IPNet{IP: r.Destination.Addr().AsSlice(), Mask: net.CIDRMask(r.Destination.Bits(), r.Destination.Addr().BitLen())},
		Table:    unix.RT_TABLE_MAIN,
		Protocol: routeProtocol, Priority: r.Metric, Type: unix.RTN_UNICAST,
	}
	switch {
	case r.Unreachable:
		k.Type = unix.RTN_UNREACHABLE
	case r.Gateway.IsValid():
		k.LinkIndex, k.Gw = r.Index, r.Gateway.AsSlice()
	default:
		k.LinkIndex = r.Index
		if r.Destination.Addr().Is4() {
			k.Scope = netlink.SCOPE_LINK
		}
	}
	return k
}

// rowOf is the inverse of kernel for rows that we made.
func rowOf(k netlink.Route) (row, bool) {
	r := row{link: link{Index: k.LinkIndex}, Metric: k.Priority, Unreachable: k.Type == unix.RTN_UNREACHABLE}
	var ok bool
	if r.Destination, ok = prefixOf(k.Dst, k.Family); !ok {
		return r, false
	}
	if k.Gw != nil {
		a, _ := netip.AddrFromSlice(k.Gw)
		r.Gateway = a.Unmap()
	}
	if r.Unreachable {
		r.Index = 0 // the kernel shows lo for IPv6
	}
	return r, true
}

func prefixOf(n *net.IPNet, family int) (netip.Prefix, bool) {
	if n == nil {
		if family == netlink.FAMILY_V6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if ok && size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits), ok && size == a.BitLen()
}

// listRoutes dumps the main table of some families; a dump that the kernel changed
// under our hands is taken again.
func listRoutes(nl *netlink.Handle, families ...int) ([]netlink.Route, error) {
	var all []netlink.Route
	for _, family := range families {
		var rs []netlink.Route
		var err error
		for range 5 {
			rs, err = nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
			if !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) && !noFamily(err) {
			return nil, fmt.Errorf("read routes: %w", err)
		}
		for i := range rs {
			rs[i].Family = family
		}
		all = append(all, rs...)
	}
	return all, nil
}

// ourRows are the rows of the kernel's table that carry our protocol, as far as they may be among want:
// each answer of netlink costs 64 KiB of garbage.
func ourRows(nl *netlink.Handle, want []row) (map[row]bool, error) {
	var families []int
	for _, w := range want {
		family := netlink.FAMILY_V6
		if w.Destination.Addr().Is4() {
			family = netlink.FAMILY_V4
		}
		if !slices.Contains(families, family) {
			families = append(families, family)
		}
	}
	m := map[row]bool{}
	all, err := listRoutes(nl, families...)
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if k.Protocol == routeProtocol {
			if r, ok := rowOf(k); ok {
				m[r] = true
			}
		}
	}
	return m, nil
}

// addRow adds r in front of an equal row of somebody else, which keeps its place.
// It reports whether a row of ours came into being.
func addRow(nl *netlink.Handle, r row) (bool, error) {
	k := r.kernel()
	err := nl.RouteAddEcmp(k) // CREATE without EXCL and REPLACE: what ip calls prepend
	if r.Gateway.IsValid() && (errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EINVAL)) {
		// Cloud machines with a /32 address reach their gateway only with this flag.
		k.SetFlag(netlink.FLAG_ONLINK)
		err = nl.RouteAddEcmp(k)
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EEXIST):
		return false, nil
	case r.Unreachable && !r.Destination.Addr().Is4() && noFamily(err):
		return false, nil // no IPv6 in this kernel: nothing that could leak
	}
	return false, fmt.Errorf("add route %s: %w", r.Destination, err)
}

// delRow deletes exactly our row and reports whether it was there.
func delRow(nl *netlink.Handle, r row) (bool, error) {
	if !r.Destination.IsValid() || r.Destination.Bits() == 0 {
		return false, fmt.Errorf("delete route %s: not one of ours", r.Destination)
	}
	err := nl.RouteDel(r.kernel())
	if err == nil {
		return true, nil
	}
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || noFamily(err) {
		return false, nil
	}
	return false, fmt.Errorf("delete route %s: %w", r.Destination, err)
}

// noFamily reports whether the kernel has no such address family, or has it switched off.
func noFamily(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPFNOSUPPORT)
}

// rows turns the plan's routes into the kernel's.
func (h *linuxHost) rows(plan routes.Plan) ([]row, error) {
	return planRows(plan, h.name, link{h.deviceIndex(), h.deviceName()}, func(device string) (link, error) {
		l, err := h.nl.LinkByName(device)
		if err != nil {
			return link{}, err
		}
		return link{l.Attrs().Index, device}, nil
	})
}

// addRoutes makes all wanted rows exist, journal first. Rows that are gone meanwhile come back.
func (h *linuxHost) addRoutes(want []row) error {
	have, err := ourRows(h.nl, want)
	if err != nil {
		return err
	}
	for _, w := range want {
		if !slices.ContainsFunc(h.record.Routes, func(r row) bool { return r.key() == w.key() }) {
			h.record.Routes = append(h.record.Routes, w)
		}
	}
	if err := h.journal.save(h.record); err != nil {
		return err // what cannot be undone after a crash is not done
	}
	var errs []error
	for _, w := range want {
		if have[w.key()] {
			continue
		}
		made, err := addRow(h.nl, w)
		if err != nil {
			errs = append(errs, err)
		}
		if !made {
			h.log.Debug("route is not ours to add", "route", w.Destination, "error", err)
			h.forget(w)
		}
	}
	return errors.Join(errs...)
}

// removeRoutes deletes our rows that are no longer wanted, the newest first.
func (h *linuxHost) removeRoutes(want []row) error {
	var errs []error
	for _, r := range slices.Backward(slices.Clone(h.record.Routes)) {
		if slices.ContainsFunc(want, func(w row) bool { return w.key() == r.key() }) {
			continue
		}
		if _, err := delRow(h.nl, r); err != nil {
			errs = append(errs, err)
			continue
		}
		h.forget(r)
	}
	return errors.Join(errs...)
}

func (h *linuxHost) forget(r row) {
	h.record.Routes = slices.DeleteFunc(h.record.Routes, func(x row) bool { return x.key() == r.key() })
}

// Facts reads the main table and the addresses, without our own rows, and without the devices of our tunnels: other Hosts',
// too.
func (h *linuxHost) Facts(ctx context.Context) (routes.Facts, error) {
	if err := h.usable(ctx); err != nil {
		return routes.Facts{}, err
	}
	all, err := listRoutes(h.nl, netlink.FAMILY_V4, netlink.FAMILY_V6)
	if err != nil {
		return routes.Facts{}, err
	}
	links, err := h.nl.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return routes.Facts{}, fmt.Errorf("read links: %w", err)
	}
	names, hardware, own := map[int]string{}, map[int]string{}, map[int]bool{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index], hardware[a.Index] = a.Name, a.HardwareAddr.String()
		own[a.Index] = a.Group == tunnelGroup
	}
	if i := h.deviceIndex(); i != 0 {
		own[i] = true // it has its group only once it is open
	}
	var f routes.Facts
	for _, k := range all {
		if k.Type != unix.RTN_UNICAST || k.Protocol == routeProtocol {
			continue
		}
		if len(k.MultiPath) > 0 {
			k.LinkIndex, k.Gw = k.MultiPath[0].LinkIndex, k.MultiPath[0].Gw
		}
		r, ok := rowOf(k)
		if !ok || own[r.Index] || k.Flags&unix.RTNH_F_DEAD != 0 {
			continue
		}
		f.Routes = append(f.Routes, routes.UnderlayRoute{Destination: r.Destination, Gateway: r.Gateway,
			Device: names[r.Index], Hardware: hardware[r.Index], Metric: r.Metric})
	}
	addrs, err := h.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return routes.Facts{}, fmt.Errorf("read addresses: %w", err)
	}
	for _, a := range addrs {
		if own[a.LinkIndex] {
			continue
		}
		if p, ok := prefixOf(a.IPNet, 0); ok && !p.Addr().IsLoopback() {
			f.Addresses = append(f.Addresses, p)
		}
	}
	f.DNS, f.DNSManager = h.underlayDNS(ctx)
	return f, nil
}
