package wfp

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"

	"github.com/adit-vpn/adit/routes"
)

// filter is one rule. Within a sublayer the first that matches decides, in the order of their weights; filters of one
// weight all say the same, so that their order among each other is of no meaning.
type filter struct {
	sublayer   guid
	data       []byte // whose it is, and with the first of a guard what the others must know (notes.go)
	layer      layer
	weight     weight
	block      bool
	boot       bool // in force until the filtering engine's service has started; all others are from then on
	conditions []condition
	name       string
}

// key is made of all that f is: a filter that is there under this key is f.
func (f filter) key() guid {
	h := sha256.New()
	fmt.Fprintf(h, "%x %q %d %d %t %t %q\n", f.sublayer.bytes(), f.data, f.layer, f.weight, f.block, f.boot, f.name)
	for _, c := range f.conditions {
		fmt.Fprintf(h, "%d %d %s %q\n", c.field, c.value.number, c.value.prefix, c.value.text)
	}
	return guidOf([16]byte(h.Sum(nil)[:16]))
}

// weight is a range of weights (0 to 15): the engine orders filters within one by itself.
type weight uint8

const (
	closed     weight = 5 + iota // dropped: what belongs into the tunnel
	nearby                       // passes: local networks
	names                        // dropped: questions for names
	web                          // passes: a sign-in
	past                         // passes: what the plan leads around the tunnel
	neighbours                   // passes: DHCP, neighbour discovery
	tunnels                      // passes: what goes into one
	own                          // passes: the service's own packets to its server
	loopback                     // passes: what stays in the machine
)

// condition compares a field. Neighbours of one field in a list are alternatives, and all others must hold.
type condition struct {
	field field
	value value
}

// value is one of: a number, a prefix, a text (how filters know a program, or a user's SID).
type value struct {
	number uint64
	prefix netip.Prefix
	text   string
}

const (
	icmp6 = 58
	tcp   = 6
	udp   = 17
	// isLoopback is FWP_CONDITION_FLAG_IS_LOOPBACK.
	isLoopback = 1
	// together is how many addresses stand in one filter.
	together = 64
)

func number(f field, n uint64) condition { return condition{f, value{number: n}} }

// either are alternatives.
func either(f field, ns ...uint64) (out []condition) {
	for _, n := range ns {
		out = append(out, number(f, n))
	}
	return out
}

// among are sets of conditions, each for a filter of its own, that together hold for the addresses in ps of one family.
// Prefixes of no bits are no condition at all, and equal ones are one.
func among(f field, ps []netip.Prefix, six bool) (out [][]condition) {
	var all []condition
	had := map[netip.Prefix]bool{}
	for _, p := range ps {
		if !p.IsValid() || p.Addr().Is6() != six || had[p.Masked()] {
			continue
		}
		if p.Bits() == 0 {
			return [][]condition{nil}
		}
		had[p.Masked()] = true
		all = append(all, condition{f, value{prefix: p.Masked()}})
	}
	for set := range slices.Chunk(all, together) {
		out = append(out, set)
	}
	return out
}

// single are prefixes of one address each.
func single(as []netip.Addr) (out []netip.Prefix) {
	for _, a := range as {
		a = a.Unmap()
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// rules writes filters.
type rules struct {
	out  []filter
	boot bool // those for the start of the system
}

// add writes a filter of each layer, which are of one family.
func (r *rules) add(w weight, block bool, name string, at []layer, conditions ...[]condition) {
	for _, l := range at {
		r.out = append(r.out, filter{layer: l, weight: w, block: block, boot: r.boot, conditions: slices.Concat(conditions...), name: name})
	}
}

// family are the layers of IPv4 or IPv6: where connections of this machine begin, where any do, and where packets are passed on
// or arrive.
type family struct {
	six                        bool
	begin, flow, pass, arrives []layer
}

var families = [2]family{
	{false, []layer{connect4}, []layer{connect4, accept4}, []layer{forward4}, []layer{inbound4}},
	{true, []layer{connect6}, []layer{connect6, accept6}, []layer{forward6}, []layer{inbound6}},
}

// allow writes what one Host announces into the guard of another or its own: the packets of its program, which filters know as app, to
// its server and to resolvers, and its tunnel. In each guard of ours stands what all of them announce: a block is final whatever
// other sublayers say, and a permit is not, so that each must let pass what none may stop.
// The permits are soft: other firewalls' blocks hold against them, the Windows Firewall's and other VPNs'.
func (r *rules) allow(n notes, app []byte, inside bool) {
	me := []condition{{program, value{text: string(app)}}, {user, value{text: n.User}}}
	for _, e := range n.Outer {
		proto := uint64(udp)
		if e.Transport == "tcp" {
			proto = tcp
		}
		port := either(remotePort, uint64(e.Port))
		if e.Port == 0 {
			port = nil
		}
		for _, f := range families {
			for _, to := range among(remote, single([]netip.Addr{e.Address}), f.six) {
				r.add(own, false, "the VPN to its server", f.flow, me, either(protocol, proto), to, port)
			}
		}
	}
	for _, f := range families {
		for _, to := range among(remote, single(n.Resolvers), f.six) {
			r.add(own, false, "the VPN to the network's resolvers", f.flow, me, either(protocol, udp, tcp), to, either(remotePort, 53))
		}
		if n.Tunnel == 0 {
			continue
		}
		r.add(tunnels, false, "into the tunnel", f.flow, either(device, n.Tunnel))
		r.add(tunnels, false, "into the tunnel", f.pass, either(outDevice, n.Tunnel))
		if inside { // each packet is looked at there, so no filter without need
			r.add(tunnels, false, "out of the tunnel", f.arrives, either(device, n.Tunnel))
		}
	}
}

// decide writes what g lets pass and what it drops, but for what all Hosts announce.
func (r *rules) decide(g routes.Guard) {
	if len(g.Closed) > 0 { // else only others' guards are closed
		r.stays()
		r.find()
		for _, f := range families {
			r.each(past, false, "around the tunnel", f, g.Past)
			if len(g.Web) > 0 {
				for _, to := range among(remote, single(g.Resolvers), f.six) {
					r.add(web, false, "names for a sign-in", f.begin, either(protocol, udp, tcp), to, either(remotePort, 53, 853))
				}
			}
			for _, to := range among(remote, g.Web, f.six) {
				r.add(web, false, "web pages for a sign-in", f.begin, either(protocol, tcp), to, either(remotePort, 80, 443))
			}
			if g.DNS { // in plain, over TLS and over QUIC (RFC 7858, RFC 9250)
				r.add(names, true, "names beside the tunnel", f.flow, either(protocol, udp, tcp), either(remotePort, 53, 853))
				// What is passed on shows no ports: guests may not reach the resolvers at all.
				for _, to := range among(target, single(g.Resolvers), f.six) {
					r.add(names, true, "names beside the tunnel", f.pass, to)
				}
			}
			r.each(nearby, false, "the local network", f, g.Local)
			r.each(closed, true, "what belongs into the tunnel", f, g.Closed)
		}
	}
	// What comes to the tunnel's addresses from elsewhere: a neighbour could find out by such packets which connections
	// run in the tunnel, and inject into them (CVE-2019-14899).
	for _, f := range families {
		for i, to := range among(local, single(g.Inside), f.six) {
			if i == 0 {
				r.add(loopback, false, "loopback", f.arrives, either(flags, isLoopback))
			}
			r.add(closed, true, "to the tunnel's address from outside", f.arrives, to)
		}
	}
}

// each writes a filter for what goes to ps, from the machine itself and through it.
func (r *rules) each(w weight, block bool, name string, f family, ps []netip.Prefix) {
	for _, to := range among(remote, ps, f.six) {
		r.add(w, block, name, f.flow, to)
	}
	for _, to := range among(target, ps, f.six) {
		r.add(w, block, name, f.pass, to)
	}
}

// start writes what holds while the system starts, before what decide writes is in force: a guard that closes all of a
// family closes it from the first packet on.
func (r *rules) start(g routes.Guard) {
	if !g.Full() {
		return
	}
	b := rules{boot: true}
	b.stays()
	b.find()
	for _, f := range families {
		if slices.ContainsFunc(g.Closed, func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is6() == f.six }) {
			b.add(closed, true, "everything while the system starts", f.flow)
			b.add(closed, true, "everything while the system starts", f.pass)
		}
	}
	r.out = append(r.out, b.out...)
}

// stays lets pass what does not leave the machine.
func (r *rules) stays() {
	for _, f := range families {
		r.add(loopback, false, "loopback", f.flow, either(flags, isLoopback))
	}
}

var (
	broadcast = []netip.Prefix{netip.MustParsePrefix("255.255.255.255/32")}
	linkLocal = []netip.Prefix{netip.MustParsePrefix("fe80::/10")}
	linkGroup = []netip.Prefix{netip.MustParsePrefix("ff02::/16")}
	// servers6 are where DHCPv6 asks (RFC 8415 7.1).
	servers6 = append([]netip.Prefix{netip.MustParsePrefix("ff02::1:2/128"), netip.MustParsePrefix("ff05::1:3/128")}, linkLocal...)
	// routers6 are where routers are asked for (RFC 4861 4.1).
	routers6 = append([]netip.Prefix{netip.MustParsePrefix("ff02::2/128")}, linkLocal...)
)

// find lets pass how the machine finds its address, its router and its neighbours.
func (r *rules) find() {
	// RFC 2131 4.1. Any program may take the client's port on Windows, so that only broadcasts pass beside local networks: a lease
	// whose server is beyond them is renewed by broadcast, too (4.4.5).
	lease := slices.Concat(either(protocol, udp), either(localPort, 68), either(remotePort, 67))
	r.add(neighbours, false, "DHCP", []layer{connect4}, lease, among(remote, broadcast, false)[0])
	r.add(neighbours, false, "DHCP", []layer{accept4}, lease)
	lease = slices.Concat(either(protocol, udp), either(localPort, 546), either(remotePort, 547))
	r.add(neighbours, false, "DHCPv6", []layer{connect6}, lease, among(remote, servers6, true)[0])
	r.add(neighbours, false, "DHCPv6", []layer{accept6}, lease, among(remote, linkLocal, true)[0])
	// Who is my router, who has this address, and to which groups do I listen, so that the question arrives
	// (RFC 4861 4.1 to 4.4, RFC 3810 5). Only administrators may send such packets themselves.
	kind := func(types ...uint64) []condition {
		return slices.Concat(either(protocol, icmp6), either(localPort, types...))
	}
	r.add(neighbours, false, "asking for routers", []layer{connect6}, kind(133), among(remote, routers6, true)[0])
	r.add(neighbours, false, "what routers say", []layer{accept6}, kind(134), among(remote, linkLocal, true)[0])
	r.add(neighbours, false, "neighbours", []layer{connect6, accept6}, kind(135, 136))
	r.add(neighbours, false, "reports of groups", []layer{connect6}, kind(131, 132, 143), among(remote, linkGroup, true)[0])
	r.add(neighbours, false, "questions for groups", []layer{accept6}, kind(130), among(remote, linkLocal, true)[0])
}
