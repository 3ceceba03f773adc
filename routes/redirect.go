package routes

import (
	"net/netip"
	"slices"

	"github.com/adit-vpn/adit/ovpn/push"
)

// redirect adds the half routes of redirect-gateway, unless a setting drops them.
func (b *builder) redirect() {
	rd := b.all.Redirect
	if rd == nil || rd.Private {
		return
	}
	if slices.ContainsFunc(b.policy.Remove, func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is4() }) {
		b.note("redirect-gateway is ignored: a setting of this profile removes 0.0.0.0/0")
		return
	}
	reason := reasonAll
	if !rd.Def1 {
		reason = reasonAllHalves
	}
	if !rd.NoIPv4 {
		for _, h := range halves4 {
			r := Route{Destination: h, Metric: b.all.RouteMetric, Reason: reason}
			if !b.all.Address.IsValid() {
				r.Unreachable, r.Reason = true, reasonNo4
			}
			b.addRoute(r)
		}
	}
	if rd.IPv6 && b.all.Address6.IsValid() {
		for _, h := range halves6 {
			b.addRoute(Route{Destination: h, Metric: b.all.RouteMetric, Reason: reason})
		}
	} else if rd.IPv6 && !b.all.BlockIPv6 {
		b.unreachable6(reasonNo6)
	}
}

// settings applies route-= and then route+=, so that an added route always stays.
func (b *builder) settings() {
	gone := func(r Route) bool {
		return r.Reason != reasonPeer && slices.ContainsFunc(b.policy.Remove, func(p netip.Prefix) bool {
			return p.IsValid() && p.Bits() <= r.Destination.Bits() && p.Contains(r.Destination.Addr())
		})
	}
	b.plan.Routes = slices.DeleteFunc(b.plan.Routes, gone)
	for _, p := range b.policy.Add {
		if dst, ok := b.destination(push.Route{Destination: p}); ok {
			b.plan.Around = slices.DeleteFunc(b.plan.Around, func(r Route) bool { return r.Destination == dst })
			b.add(dst, b.all.RouteMetric, reasonSetting)
		}
	}
}

// blockUncarried closes IPv6 when the server asks for it, and when all of IPv4
// goes into the tunnel while IPv6 does not. A user who removes ::/0 keeps it open.
func (b *builder) blockUncarried() {
	if slices.ContainsFunc(b.policy.Remove, func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is6() }) {
		return
	}
	switch {
	case b.all.BlockIPv6:
		b.unreachable6(reasonBlock6)
	case covers(b.plan.Routes, halves4) && !covers(b.plan.Routes, halves6):
		b.unreachable6(reasonNo6)
	}
}

func (b *builder) unreachable6(reason string) {
	for _, h := range halves6 {
		b.addRoute(Route{Destination: h, Unreachable: true, Reason: reason})
	}
}

// blockLocal sends the local networks beside the default gateway into the tunnel,
// each as two halves, which win over the on-link route; the gateway itself stays.
func (b *builder) blockLocal() {
	if b.all.Redirect == nil || !b.all.Redirect.BlockLocal {
		return
	}
	for _, v4 := range []bool{true, false} {
		def, ok := b.facts.defaultRoute(v4)
		if !ok || !def.Gateway.IsValid() {
			continue
		}
		for _, u := range b.facts.Routes {
			d := u.Destination
			if u.Gateway.IsValid() || u.Device != def.Device || !d.IsValid() || d.Bits() == 0 || d.IsSingleIP() ||
				d.Addr().Is4() != v4 || d.Addr().IsLinkLocalUnicast() || d.Addr().IsMulticast() {
				continue
			}
			if d.Contains(def.Gateway) {
				b.addAround(Route{Destination: single(def.Gateway), Device: def.Device, Reason: reasonGateway})
			}
			low := netip.PrefixFrom(d.Masked().Addr(), d.Bits()+1)
			for _, h := range []netip.Prefix{low, upper(low)} {
				b.add(h, 0, reasonLocal)
			}
		}
	}
}

// bypassDNS keeps the machine's own resolvers reachable outside the tunnel.
func (b *builder) bypassDNS() {
	if b.all.Redirect == nil || !b.all.Redirect.BypassDNS {
		return
	}
	for _, a := range b.facts.DNS {
		a = a.Unmap().WithZone("")
		u, ok := b.facts.lookup(a)
		if !ok || a.IsLoopback() || !b.captured(a, u.Destination.Bits()) {
			continue
		}
		b.addAround(Route{Destination: single(a), Gateway: u.Gateway, Device: u.Device, Reason: reasonResolver})
	}
}

// aroundServer keeps the outer packets out of the tunnel. A host route is needed
// when a route into the tunnel would take them: always in a full tunnel, but for a
// server in the local network, whose on-link route is more specific.
func (b *builder) aroundServer() {
	s := b.server
	if !s.IsValid() || s.IsLoopback() || s.IsLinkLocalUnicast() || s.IsUnspecified() {
		return
	}
	for _, own := range b.facts.Addresses {
		if own.Addr() == s {
			return // the local table answers before all routes
		}
	}
	u, ok := b.facts.lookup(s)
	bits := 0
	if ok {
		bits = u.Destination.Bits()
	}
	if !b.captured(s, bits) {
		return
	}
	if rd := b.all.Redirect; rd != nil && rd.Local {
		if u.Gateway.IsValid() {
			b.note("no route around the tunnel for the server: the flag local says that it is in the local network")
		}
		return
	}
	dst := single(s)
	b.plan.Routes = slices.DeleteFunc(b.plan.Routes, func(r Route) bool { return r.Destination == dst })
	b.plan.Around = slices.DeleteFunc(b.plan.Around, func(r Route) bool { return r.Destination == dst })
	r := Route{Destination: dst, Gateway: u.Gateway, Device: u.Device, Reason: reasonServer}
	if !ok {
		// Better no way than a packet of the tunnel inside the tunnel.
		r.Unreachable, r.Reason = true, reasonCut
	}
	b.plan.Around = append(b.plan.Around, r)
}

// captured reports whether a route into the tunnel wins over an underlay route
// to a of the given length.
func (b *builder) captured(a netip.Addr, bits int) bool {
	for _, r := range b.plan.Routes {
		if r.Destination.Bits() >= bits && r.Destination.Contains(a) {
			return true
		}
	}
	for _, p := range b.plan.Addresses {
		if p.Bits() >= bits && p.Contains(a) {
			return true
		}
	}
	return false
}

func (b *builder) inTunnel(a netip.Addr) bool {
	if a == b.gateway || a == b.gateway6 || a == b.all.Peer || a == b.all.Peer6 {
		return true
	}
	return slices.ContainsFunc(b.plan.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}
