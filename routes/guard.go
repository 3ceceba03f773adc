package routes

import (
	"net/netip"
	"slices"
)

// Guard is what may leave the machine beside its tunnels. The zero Guard stops nothing; one that closes nothing still lets
// what is Outer past other tunnels' guards. What no other field lets pass
// and Closed holds is dropped; a Host lets pass, besides, what stays in the machine, what leaves by one of
// our tunnels, DHCP, and the neighbour discovery of IPv6.
type Guard struct {
	// Closed may leave by a tunnel only; 0.0.0.0/0 and ::/0 stand for everything.
	Closed []netip.Prefix `json:"closed,omitempty"`
	// Past are destinations that the plan leads around the tunnel, for all programs.
	Past []netip.Prefix `json:"past,omitempty"`
	// Local are the networks beside the machine; names are not asked for there when DNS is set.
	Local []netip.Prefix `json:"local,omitempty"`
	// DNS says that nobody asks for names outside the tunnels, but for what Past and Web let through.
	DNS bool `json:"dns,omitempty"`
	// Outer are the tunnel's own servers, for the service's own marked packets only.
	Outer []Endpoint `json:"outer,omitempty"`
	// Resolvers are those of the underlay: the service's marked packets may ask them, and all programs with Web.
	Resolvers []netip.Addr `json:"resolvers,omitempty"`
	// Web is where all programs may open web pages (TCP to ports 80 and 443), for a sign-in. With any, they may ask
	// Resolvers, too.
	Web []netip.Prefix `json:"web,omitempty"`
	// Inside are the tunnel's own addresses: packets to them come in by the tunnel only (CVE-2019-14899).
	Inside []netip.Addr `json:"inside,omitempty"`
	// Mark is the routing mark of the service's own packets; 0 = the Host's usual one.
	Mark int `json:"mark,omitempty"`
}

// Endpoint is where packets of a transport go to.
type Endpoint struct {
	Address   netip.Addr `json:"address"`
	Port      uint16     `json:"port"`      // 0 = any
	Transport string     `json:"transport"` // udp or tcp
}

// GuardPolicy says how Build makes the plan's Guard.
type GuardPolicy struct {
	// On makes Build close what belongs into the tunnel.
	On bool
	// Lockdown closes everything, whatever belongs into the tunnel. It needs On.
	Lockdown bool
	// ForbidLocal keeps local networks closed, too.
	ForbidLocal bool
	// Announce makes a Guard that lets our own packets pass even where it closes nothing, because another tunnel's does.
	Announce bool
	Outer    []Endpoint
	Mark     int
}

// IsZero reports whether g does nothing: it stops nothing, and says nothing to the guards of others.
func (g Guard) IsZero() bool { return g.Equal(Guard{}) }

// Equal reports whether g and o let the same pass.
func (g Guard) Equal(o Guard) bool {
	return slices.Equal(g.Closed, o.Closed) && slices.Equal(g.Past, o.Past) && slices.Equal(g.Local, o.Local) &&
		g.DNS == o.DNS && slices.Equal(g.Outer, o.Outer) && slices.Equal(g.Resolvers, o.Resolvers) && slices.Equal(g.Web, o.Web) &&
		slices.Equal(g.Inside, o.Inside) && g.Mark == o.Mark
}

// Full reports whether g closes everything of at least one family.
func (g Guard) Full() bool {
	return slices.ContainsFunc(g.Closed, func(p netip.Prefix) bool { return p.Bits() == 0 })
}

var (
	all4 = netip.MustParsePrefix("0.0.0.0/0")
	all6 = netip.MustParsePrefix("::/0")

	// nearby are the ranges in which a network beside the machine may lie to be taken for a local one: a rogue network
	// may call itself anything (TunnelCrack LocalNet, CVE-2023-36672). RFC 1918, 3927, 4193, 4291.
	nearby = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
	}

	// aloud are the groups by which neighbours find each other; routers keep them in the local network. The last of each
	// family but for link-local ones are those of an organization (RFC 2365, RFC 7346).
	aloud = []netip.Prefix{
		netip.MustParsePrefix("224.0.0.0/24"), netip.MustParsePrefix("239.255.0.0/16"), netip.MustParsePrefix("255.255.255.255/32"),
		netip.MustParsePrefix("ff02::/16"), netip.MustParsePrefix("ff05::/16"),
	}
)

// guard fills in the plan's Guard from what the plan has become.
func (b *builder) guard() {
	g := b.policy.Guard
	if !g.On {
		b.plan.Guard = announce(g, b.facts)
		return
	}
	out := &b.plan.Guard
	out.Outer, out.Mark = slices.Clone(g.Outer), g.Mark
	out.Resolvers = b.facts.Resolvers()
	if g.Lockdown {
		out.Closed = []netip.Prefix{all4, all6}
	} else {
		out.Closed = b.closed()
	}
	out.DNS = b.all.BlockDNS || out.Full()
	for _, r := range b.plan.Around {
		if r.Unreachable || r.Destination.IsSingleIP() && r.Destination.Addr() == b.server {
			continue // the server's own address is for our own packets only (TunnelCrack ServerIP, CVE-2023-36673)
		}
		out.Past = append(out.Past, r.Destination)
	}
	if !g.ForbidLocal && (b.all.Redirect == nil || !b.all.Redirect.BlockLocal) {
		out.Local = local(b.facts)
		if b.pushed.EnforceRoutes {
			out.Local = b.beside(out.Local)
		}
	}
	for _, p := range b.plan.Addresses {
		if !slices.ContainsFunc(b.facts.Addresses, func(own netip.Prefix) bool { return own.Addr() == p.Addr() }) {
			out.Inside = append(out.Inside, p.Addr())
		}
	}
}

// closed is what belongs into the tunnel: its own networks, and all that routes lead there or to nowhere.
func (b *builder) closed() []netip.Prefix {
	var out []netip.Prefix
	add := func(p netip.Prefix) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, f := range []struct {
		all    netip.Prefix
		halves []netip.Prefix
	}{{all4, halves4}, {all6, halves6}} {
		if covers(b.plan.Routes, f.halves) {
			add(f.all)
			continue
		}
		for _, p := range b.plan.Addresses {
			if p.Addr().Is4() == f.all.Addr().Is4() {
				add(p.Masked())
			}
		}
		for _, r := range b.plan.Routes {
			if r.Destination.Addr().Is4() == f.all.Addr().Is4() {
				add(r.Destination)
			}
		}
	}
	return out
}

// Shut is the plan of a machine without a working tunnel, whose guard stays closed as old is, for the networks and the
// servers of now, and open to web for a sign-in in the browser. An old Guard that closes nothing, and a policy
// without Lockdown and Announce, make the zero Plan.
func Shut(old Guard, facts Facts, policy GuardPolicy, web []netip.Prefix) Plan {
	g := Guard{Closed: slices.Clone(old.Closed), Past: slices.Clone(old.Past), DNS: old.DNS}
	if policy.Lockdown { // what a server named once is no hole in it
		g.Closed, g.Past, g.DNS = []netip.Prefix{all4, all6}, nil, true
	}
	if len(g.Closed) == 0 {
		return Plan{Guard: announce(policy, facts)}
	}
	g.Outer, g.Mark, g.Web = slices.Clone(policy.Outer), policy.Mark, slices.Clone(web)
	g.Resolvers = facts.Resolvers()
	if !policy.ForbidLocal {
		g.Local = local(facts)
	}
	return Plan{Guard: g}
}

// announce is a Guard that closes nothing, and lets our own packets past the guards of other tunnels.
func announce(policy GuardPolicy, facts Facts) Guard {
	if !policy.Announce || len(policy.Outer) == 0 {
		return Guard{}
	}
	return Guard{Outer: slices.Clone(policy.Outer), Mark: policy.Mark, Resolvers: facts.Resolvers()}
}

// Redirects reports whether a profile's own text already sends everything into the tunnel.
func Redirects(p Policy) bool {
	rd := p.Own.Redirect
	return rd != nil && !rd.Private && !slices.ContainsFunc(p.Remove, func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is4() })
}

// Everything is the Guard that closes all of it, for Shut.
func Everything() Guard { return Guard{Closed: []netip.Prefix{all4, all6}, DNS: true} }

// local are the machine's local networks: those that it has an address in, and that lie in a range for such. A network that
// only a route of DHCP leads to is none, whatever its name, with a router or without (TunnelVision, CVE-2024-3661).
func local(f Facts) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range f.Routes {
		d := r.Destination
		if r.Gateway.IsValid() || !d.IsValid() || slices.Contains(out, d.Masked()) {
			continue
		}
		if !d.Addr().IsLinkLocalUnicast() && !slices.ContainsFunc(f.Addresses, func(own netip.Prefix) bool { return d.Contains(own.Addr()) }) {
			continue
		}
		if slices.ContainsFunc(nearby, func(n netip.Prefix) bool { return n.Bits() <= d.Bits() && n.Contains(d.Addr()) }) {
			out = append(out, d.Masked())
		}
	}
	if len(out) > 0 {
		out = append(out, aloud...)
	}
	return out
}

// Blocks says whether packets of usual programs that go the way of x are stopped, but for names and web pages.
func (g Guard) Blocks(x Explanation) bool {
	return x.Way != WayTunnel && x.Reason != reasonSelf && x.within(g.Closed) && !x.within(g.Past) && !x.within(g.Local)
}

// within reports whether the destination is in one of ps.
func (x Explanation) within(ps []netip.Prefix) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(x.Destination) })
}

// What Explain says; GuardWords has all of it.
const (
	GuardOpen    = "the guard is open"
	guardTunnel  = "the guard lets it pass: it goes through the tunnel"
	guardSelf    = "the guard lets it pass: it stays in this machine"
	guardPast    = "the guard lets it pass: the plan leads it around the tunnel"
	guardWeb     = "the guard blocks it but for web pages (TCP 80 and 443), while the sign-in is open"
	guardNearby  = "the guard lets it pass: it is in the local network; but names are not asked for there"
	guardLocal   = "the guard lets it pass: it is in the local network"
	guardServer  = "the guard blocks it, but for the VPN's own packets to its server"
	guardBlocks  = "the guard blocks it: it belongs into the tunnel, and may not leave beside it"
	guardOutside = "the guard lets it pass: it does not belong into the tunnel"
)

// GuardWords are all texts that an Explanation's Guard may be, for those who have words in other languages.
func GuardWords() []string {
	return []string{GuardOpen, guardTunnel, guardSelf, guardPast, guardWeb, guardNearby, guardLocal, guardServer, guardBlocks, guardOutside}
}

// Explain says in words what the guard does with packets of usual programs that go the way of x.
func (g Guard) Explain(x Explanation) string {
	blocked := g.Blocks(x)
	switch {
	case len(g.Closed) == 0:
		return GuardOpen
	case x.Way == WayTunnel:
		return guardTunnel
	case x.Reason == reasonSelf:
		return guardSelf
	case x.within(g.Past):
		return guardPast
	case blocked && x.within(g.Web):
		return guardWeb
	case x.within(g.Local) && g.DNS:
		return guardNearby
	case x.within(g.Local):
		return guardLocal
	case blocked && slices.ContainsFunc(g.Outer, func(e Endpoint) bool { return e.Address == x.Destination }):
		return guardServer
	case blocked:
		return guardBlocks
	}
	return guardOutside
}
