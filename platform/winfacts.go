package platform

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/routes"
)

// siteLocal are the addresses of resolvers that Windows shows on devices which have none (RFC 3879 has long deprecated them).
var siteLocal = netip.MustParsePrefix("fec0:0:0:ffff::/64")

// facts is the underlay without the devices of all our tunnels, and without our rows on others' devices.
func (m *winMachine) facts(_ context.Context, own link) (routes.Facts, error) {
	all, err := m.api.adapters()
	if err != nil {
		return routes.Facts{}, fmt.Errorf("read the network adapters: %w", err)
	}
	table, err := m.api.routes()
	if err != nil {
		return routes.Facts{}, fmt.Errorf("read routes: %w", err)
	}
	f := routes.Facts{DNSManager: "Windows"}
	under := map[uint64]winAdapter{}
	for _, a := range all {
		if a.up && !a.loopback && a.luid != uint64(own.Index) && !isOurs(a) {
			under[a.luid] = a
			f.Addresses = append(f.Addresses, a.addresses...)
		}
	}
	for _, r := range table {
		a, ok := under[r.luid]
		if !ok || r.metric == winMark || !tells(r.destination) || !r.gateway.IsValid() && isSelf(r.destination, a.addresses) {
			continue
		}
		metric := a.metric4
		if r.destination.Addr().Is6() {
			metric = a.metric6
		}
		f.Routes = append(f.Routes, routes.UnderlayRoute{Destination: r.destination, Gateway: r.gateway,
			Device: a.name, Hardware: a.hardware, Metric: r.metric + metric})
	}
	f.DNS = resolvers(under)
	return f, nil
}

// isOurs says whether a is the device of a tunnel of ours. Where there are several, Windows adds numbers.
func isOurs(a winAdapter) bool {
	d := winTunnelType + " Tunnel"
	return a.description == d || strings.HasPrefix(a.description, d+" #")
}

// isSelf says whether an on-link row leads to the machine's own address, or to all of a network's, which other systems keep
// in tables of their own.
func isSelf(p netip.Prefix, own []netip.Prefix) bool {
	return p.IsSingleIP() && slices.ContainsFunc(own, func(o netip.Prefix) bool { return o.Addr() == p.Addr() || broadcast(o) == p.Addr() })
}

// broadcast is the last address of an IPv4 network; zero where it has none.
func broadcast(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// resolvers are those of the underlay, in the order in which Windows asks their devices.
func resolvers(under map[uint64]winAdapter) []netip.Addr {
	sorted := make([]winAdapter, 0, len(under))
	for _, a := range under {
		sorted = append(sorted, a)
	}
	slices.SortFunc(sorted, func(a, b winAdapter) int {
		return cmp.Or(cmp.Compare(a.metric4, b.metric4), cmp.Compare(a.luid, b.luid))
	})
	var out []netip.Addr
	for _, a := range sorted {
		for _, s := range a.dns {
			if s.Is6() && s.IsLinkLocalUnicast() {
				s = s.WithZone(a.name)
			}
			if !siteLocal.Contains(s) && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}
