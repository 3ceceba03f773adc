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

// maxEnforced bounds the routes that enforce adds: who lets a machine learn more is no local network.
const maxEnforced = 4096

// enforce adds, for each route of the underlay inside one of the tunnel's, the same as two halves, which win over it. What the way
// to the server needs stays as it is, and so does what the server itself leads past the tunnel.
func (b *builder) enforce() {
	if !b.pushed.EnforceRoutes {
		return
	}
	lead := b.lead()
	taken := map[netip.Prefix]bool{} // by a row of the underlay or a route of the plan, but for those that come now
	for _, u := range b.facts.Routes {
		taken[u.Destination] = true
	}
	for dst := range lead.past {
		taken[dst] = true
	}
	keep := []netip.Addr{b.server}
	for _, v4 := range []bool{true, false} {
		if def, ok := b.facts.defaultRoute(v4); ok {
			keep = append(keep, def.Gateway)
		}
	}
	if u, ok := b.facts.lookup(b.server); ok {
		keep = append(keep, u.Gateway)
	}
	before := len(b.plan.Routes)
	done := map[netip.Prefix]bool{}
	for _, u := range b.facts.Routes {
		d := u.Destination.Masked()
		if !d.IsValid() || d.Bits() == 0 || d.Addr().IsLinkLocalUnicast() || d.Addr().IsMulticast() || d.Addr().IsLoopback() ||
			d.IsSingleIP() && slices.Contains(keep, d.Addr()) {
			continue
		}
		over, ok := lead.over(d)
		if !ok {
			continue
		}
		for _, gw := range keep[1:] {
			if gw.IsValid() && d.Contains(gw) && !u.Gateway.IsValid() {
				b.addAround(Route{Destination: single(gw), Device: u.Device, Reason: reasonGateway})
				taken[single(gw)] = true
			}
		}
		if done[d] {
			continue
		}
		done[d] = true
		if len(b.plan.Routes)-before > maxEnforced-2 {
			b.note("this machine has too many routes inside the tunnel's: those after the first %d stay; the guard blocks them, where it is on", len(done)-1)
			return
		}
		if d.IsSingleIP() {
			b.instead(d, over, lead)
			continue
		}
		low := netip.PrefixFrom(d.Addr(), d.Bits()+1)
		for _, h := range []netip.Prefix{low, upper(low)} {
			if _, in := lead.in[h]; !in && !taken[h] { // else that one's own halves do it
				b.plan.Routes = append(b.plan.Routes, Route{Destination: h, Unreachable: over.Unreachable, Reason: reasonEnforced})
			}
		}
	}
}

// instead puts a row beside one of the underlay to the same address.
func (b *builder) instead(d netip.Prefix, over Route, lead lead) {
	const guarded = "; the guard blocks it, where it is on"
	if b.facts.OneRow {
		b.note("the route to %s outside the tunnel stays: this system has one route for an address"+guarded, d.Addr())
		return
	}
	r := Route{Destination: d, Unreachable: over.Unreachable, Reason: reasonEnforced}
	if d.Addr().Is6() || r.Unreachable {
		r.Metric = 1 // the least that can be asked for there
	}
	if d.Addr().Is4() && r.Unreachable { // its metric may be 0
		b.note("the route to %s outside the tunnel may go on to win: the tunnel carries no IPv4"+guarded, d.Addr())
	}
	if _, in := lead.in[d]; in {
		b.addRoute(r) // which takes the lower metric
		return
	}
	b.plan.Routes = append(b.plan.Routes, r)
}

// lead is where the plan leads what, by destination: into the tunnel or past it.
type lead struct{ in, past map[netip.Prefix]Route }

func (b *builder) lead() lead {
	l := lead{map[netip.Prefix]Route{}, map[netip.Prefix]Route{}}
	for _, r := range b.plan.Routes {
		l.in[r.Destination] = r
	}
	for _, r := range b.plan.Around {
		l.past[r.Destination] = r
	}
	return l
}

// over is the most specific route that holds all of d, if it leads into the tunnel.
func (l lead) over(d netip.Prefix) (Route, bool) {
	for bits := d.Bits(); bits >= 0; bits-- {
		p, err := d.Addr().Prefix(bits)
		if err != nil {
			return Route{}, false
		}
		if _, past := l.past[p]; past {
			return Route{}, false
		}
		if r, in := l.in[p]; in {
			return r, true
		}
	}
	return Route{}, false
}

// beside is what of the local networks the guard may let pass, where the server enforces its routes: nothing that they hold.
func (b *builder) beside(nets []netip.Prefix) []netip.Prefix {
	lead := b.lead()
	left := slices.DeleteFunc(nets, func(p netip.Prefix) bool {
		_, ok := lead.over(p)
		return ok
	})
	if !slices.ContainsFunc(left, func(p netip.Prefix) bool { return !slices.Contains(aloud, p) }) {
		return nil
	}
	return left
}
