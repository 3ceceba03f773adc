package routes

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/ovpn/push"
)

// dns takes what the server and the profile said about names.
func (b *builder) dns() {
	d := b.all.DNS
	w := DNS{Search: d.Search, Split: d.Split, DNSSEC: d.DNSSEC, Transport: d.Transport, SNI: d.SNI}
	for _, s := range d.Servers {
		a := s.Addr().Unmap()
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			b.note("DNS server %s is refused", s.Addr())
			continue
		}
		if s.Port() == 0 {
			s = netip.AddrPortFrom(a, 53)
		}
		if !slices.Contains(w.Servers, s) {
			w.Servers = append(w.Servers, s)
		}
	}
	if len(w.Servers) == 0 {
		// Without a server there is nothing to split or to protect; search domains stay useful.
		w = DNS{Search: d.Search}
	}
	full := FullTunnel(b.plan)
	if full && len(w.Split) > 0 {
		b.note("all names go to the tunnel's DNS, not only %s: all traffic is redirected", strings.Join(w.Split, ", "))
		w.Split = nil
	}
	for _, s := range w.Servers {
		if a := s.Addr().WithZone(""); !b.captured(a, 0) && !a.IsLoopback() {
			b.note("DNS server %s is in no route of the tunnel: it is asked outside it", a)
		}
	}
	if b.all.BlockDNS && !b.policy.Guard.On {
		b.note("block-outside-dns: names go to the tunnel's DNS, but programs that ask another resolver outside the tunnel are not stopped: the guard is off")
	}
	b.plan.DNS = w
}

// mergeDNS puts the profile's servers before the pushed ones. When both name
// servers and one of them wants all names, all names it is.
func mergeDNS(own, pushed push.DNS) push.DNS {
	if len(own.Servers) == 0 && len(own.Search) == 0 && len(own.Split) == 0 {
		return pushed
	}
	m := push.DNS{
		Servers: union(own.Servers, pushed.Servers), Search: union(own.Search, pushed.Search),
		Split: union(own.Split, pushed.Split), DNSSEC: own.DNSSEC, Transport: own.Transport, SNI: own.SNI,
	}
	if len(own.Servers) > 0 && len(pushed.Servers) > 0 && (len(own.Split) == 0 || len(pushed.Split) == 0) {
		m.Split = nil
	}
	if pushed.DNSSEC != "" {
		m.DNSSEC = pushed.DNSSEC
	}
	if pushed.Transport != "" {
		m.Transport, m.SNI = pushed.Transport, pushed.SNI
	}
	return m
}

// union appends what b has beyond a.
func union[T comparable](a, b []T) []T {
	out := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}
