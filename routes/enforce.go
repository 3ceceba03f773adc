package routes

import (
	"net/netip"
	"slices"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Route enforcement (push.Reply.EnforceRoutes; AWS's client route enforcement): what the server leads into the tunnel goes there,
// whatever other routes the machine has, and whatever profile and settings say.

// obey takes away what profile and settings would change of the server's routes.
func (b *builder) obey(reply push.Reply) {
	if !reply.EnforceRoutes {
		return
	}
	if b.policy.NoPull {
		b.policy.NoPull = false
		b.note("route-nopull is ignored: the server enforces its routes")
	}
	if len(b.policy.Remove) > 0 {
		b.policy.Remove = nil
		b.note("route-= is ignored: the server enforces its routes")
	}
	if reply.Redirect != nil {
		b.policy.Own.Redirect = nil
	}
	b.policy.Own.Routes = slices.DeleteFunc(slices.Clone(b.policy.Own.Routes), func(r push.Route) bool {
		past := r.GatewayWord == "net_gateway" || r.Gateway.IsValid()
		if past {
			b.note("route %s of the profile is left out: the server enforces its routes", inWords(r))
		}
		return past
	})
}

func inWords(r push.Route) string {
	if r.Word != "" {
		return r.Word
	}
	return r.Destination.String()
}

// enforce adds, for each route of the underlay inside one of the tunnel's, the same as two halves, which win over it. What the way
// to the server needs stays as it is.
func (b *builder) enforce() {
	if !b.pushed.EnforceRoutes {
		return
	}
	in := slices.Clone(b.plan.Routes)
	keep := []netip.Addr{b.server}
	for _, v4 := range []bool{true, false} {
		if def, ok := b.facts.defaultRoute(v4); ok {
			keep = append(keep, def.Gateway)
		}
	}
	if u, ok := b.facts.lookup(b.server); ok {
		keep = append(keep, u.Gateway)
	}
	for _, u := range b.facts.Routes {
		d := u.Destination.Masked()
		if !d.IsValid() || d.Bits() == 0 || d.Addr().IsLinkLocalUnicast() || d.Addr().IsMulticast() || d.Addr().IsLoopback() ||
			d.IsSingleIP() && slices.Contains(keep, d.Addr()) {
			continue
		}
		over, ok := holder(in, d)
		if !ok {
			continue
		}
		for _, gw := range keep[1:] {
			if gw.IsValid() && d.Contains(gw) && !u.Gateway.IsValid() {
				b.addAround(Route{Destination: single(gw), Device: u.Device, Reason: reasonGateway})
			}
		}
		if d.IsSingleIP() {
			b.instead(d, over)
			continue
		}
		low := netip.PrefixFrom(d.Addr(), d.Bits()+1)
		for _, h := range []netip.Prefix{low, upper(low)} {
			if !b.facts.has(h) { // else that one's own halves do it
				b.addRoute(Route{Destination: h, Unreachable: over.Unreachable, Reason: reasonEnforced})
			}
		}
	}
}

// instead puts a row beside one of the underlay to the same address.
func (b *builder) instead(d netip.Prefix, over Route) {
	if b.facts.OneRow {
		b.note("the route to %s outside the tunnel stays: this system has one route for an address; the guard blocks it, where it is on", d.Addr())
		return
	}
	r := Route{Destination: d, Unreachable: over.Unreachable, Reason: reasonEnforced}
	if d.Addr().Is6() {
		r.Metric = 1 // the least there is
	}
	b.addRoute(r)
}

// holder is the most specific of rs that holds all of d.
func holder(rs []Route, d netip.Prefix) (best Route, ok bool) {
	for _, r := range rs {
		if r.Destination.Bits() <= d.Bits() && r.Destination.Contains(d.Addr()) && (!ok || r.Destination.Bits() > best.Destination.Bits()) {
			best, ok = r, true
		}
	}
	return best, ok
}

// has says whether the underlay has a route to exactly p.
func (f Facts) has(p netip.Prefix) bool {
	return slices.ContainsFunc(f.Routes, func(u UnderlayRoute) bool { return u.Destination == p })
}

// beside is what of the local networks the guard may let pass, where the server enforces its routes: nothing that they hold.
func (b *builder) beside(nets []netip.Prefix) []netip.Prefix {
	left := slices.DeleteFunc(nets, func(p netip.Prefix) bool {
		_, ok := holder(b.plan.Routes, p)
		return ok
	})
	if !slices.ContainsFunc(left, func(p netip.Prefix) bool { return !slices.Contains(aloud, p) }) {
		return nil
	}
	return left
}
