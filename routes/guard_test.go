package routes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
)

func guardFacts() Facts {
	return Facts{
		Routes: []UnderlayRoute{
			{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.168.1.1"), Device: "eth0"},
			{Destination: netip.MustParsePrefix("192.168.1.0/24"), Device: "eth0"},
			{Destination: netip.MustParsePrefix("203.0.113.0/24"), Device: "eth1"},                                            // calls itself local: TunnelCrack
			{Destination: netip.MustParsePrefix("10.66.0.0/16"), Gateway: netip.MustParseAddr("192.168.1.9"), Device: "eth0"}, // by DHCP's option 121: TunnelVision
			{Destination: netip.MustParsePrefix("10.67.0.0/16"), Device: "eth0"},                                              // the same, without a gateway
			{Destination: netip.MustParsePrefix("fe80::/64"), Device: "eth0"},
			{Destination: netip.MustParsePrefix("192.0.0.0/8"), Device: "eth2"}, // wider than what may be local
		},
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.1.20/24")},
		DNS:       []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("192.168.1.1")},
	}
}

// words is a Guard in one line.
func (g Guard) words() string {
	var w []string
	add := func(kind string, x any) {
		if s := fmt.Sprint(x); s != "[]" {
			w = append(w, kind+" "+strings.Trim(s, "[]"))
		}
	}
	add("closed", g.Closed)
	add("past", g.Past)
	local := g.Local
	if n := len(local) - len(aloud); n > 0 && slices.Equal(local[n:], aloud) {
		local = local[:n]
	}
	add("local", local)
	add("resolvers", g.Resolvers)
	add("inside", g.Inside)
	for _, e := range g.Outer {
		w = append(w, fmt.Sprintf("outer %s %s:%d", e.Transport, e.Address, e.Port))
	}
	if g.DNS {
		w = append(w, "dns")
	}
	add("web", g.Web)
	return strings.Join(w, "; ")
}

func TestGuard(t *testing.T) {
	server := netip.MustParseAddr("198.51.100.7")
	on := GuardPolicy{On: true, Outer: []Endpoint{{Address: server, Port: 443, Transport: "udp"}}}
	reply := func(change func(*push.Reply)) push.Reply {
		r := push.Reply{Topology: "subnet", Address: netip.MustParsePrefix("10.64.0.2/27")}
		change(&r)
		return r
	}
	route := func(ps ...string) (out []push.Route) {
		for _, p := range ps {
			out = append(out, push.Route{Destination: netip.MustParsePrefix(p)})
		}
		return out
	}
	const rest = "resolvers 192.168.1.1; inside 10.64.0.2; outer udp 198.51.100.7:443"
	const near = "local 192.168.1.0/24 fe80::/64; "
	for _, c := range []struct {
		name   string
		reply  push.Reply
		policy Policy
		want   string
	}{
		{"off", reply(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), Policy{}, ""},
		{"split", reply(func(r *push.Reply) { r.Routes = route("10.0.0.0/16", "172.20.1.2/32") }), Policy{Guard: on},
			"closed 10.64.0.0/27 10.0.0.0/16 172.20.1.2/32; " + near + rest},
		{"split, nothing asked outside", reply(func(r *push.Reply) { r.BlockDNS = true }), Policy{Guard: on}, "closed 10.64.0.0/27; " + near + rest + "; dns"},
		{"full", reply(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true}; r.Routes = route("10.0.0.0/16") }), Policy{Guard: on},
			"closed 0.0.0.0/0 ::/0; " + near + rest + "; dns"},
		{"full, IPv6 left open by a setting", reply(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), Policy{Guard: on, Remove: []netip.Prefix{netip.MustParsePrefix("::/0")}},
			"closed 0.0.0.0/0; " + near + rest + "; dns"},
		{"full, with ways around", reply(func(r *push.Reply) {
			r.Redirect = &push.Redirect{Def1: true, BypassDNS: true}
			r.Routes = []push.Route{{Destination: netip.MustParsePrefix("203.0.113.9/32"), GatewayWord: "net_gateway"}}
		}), Policy{Guard: on}, "closed 0.0.0.0/0 ::/0; past 203.0.113.9/32; " + near + rest + "; dns"},
		{"block-local", reply(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true, BlockLocal: true} }), Policy{Guard: on},
			"closed 0.0.0.0/0 ::/0; past 192.168.1.1/32; " + rest + "; dns"},
		{"enforced, full", reply(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true}; r.EnforceRoutes = true }), Policy{Guard: on},
			"closed 0.0.0.0/0 ::/0; past 192.168.1.1/32; " + rest + "; dns"},
		{"enforced, beside the local network", reply(func(r *push.Reply) { r.Routes = route("10.0.0.0/16"); r.EnforceRoutes = true }), Policy{Guard: on},
			"closed 10.64.0.0/27 10.0.0.0/16; " + near + rest},
		{"enforced, over the local network", reply(func(r *push.Reply) { r.Routes = route("192.168.0.0/16"); r.EnforceRoutes = true }), Policy{Guard: on},
			"closed 10.64.0.0/27 192.168.0.0/16 192.168.1.0/25 192.168.1.128/25; past 192.168.1.1/32; local fe80::/64; " + rest},
		{"enforced, full, but for the local network", reply(func(r *push.Reply) {
			r.Redirect, r.EnforceRoutes = &push.Redirect{Def1: true}, true
			r.Routes = []push.Route{{Destination: netip.MustParsePrefix("192.168.0.0/16"), GatewayWord: "net_gateway"}}
		}), Policy{Guard: on}, "closed 0.0.0.0/0 ::/0; past 192.168.0.0/16 192.168.1.1/32; local 192.168.1.0/24; " + rest + "; dns"},
		{"no local network", reply(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), Policy{Guard: GuardPolicy{On: true, ForbidLocal: true, Outer: on.Outer}},
			"closed 0.0.0.0/0 ::/0; " + rest + "; dns"},
		{"lockdown of a split tunnel", reply(func(r *push.Reply) { r.Routes = route("10.0.0.0/16") }), Policy{Guard: GuardPolicy{On: true, Lockdown: true, Outer: on.Outer}},
			"closed 0.0.0.0/0 ::/0; " + near + rest + "; dns"},
		{"an address that the machine has, too", reply(func(r *push.Reply) { r.Address = netip.MustParsePrefix("192.168.1.20/32") }), Policy{Guard: on},
			"closed 192.168.1.20/32; " + near + "resolvers 192.168.1.1; outer udp 198.51.100.7:443"},
	} {
		c.policy.Server = server
		plan, err := Build(c.reply, guardFacts(), c.policy)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := plan.Guard.words(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestShut: without a tunnel the guard keeps closed what was closed, for the servers and networks of now.
func TestShut(t *testing.T) {
	old := Guard{Closed: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Past: []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32")},
		Inside: []netip.Addr{netip.MustParseAddr("10.64.0.2")}, Outer: []Endpoint{{Address: netip.MustParseAddr("192.0.2.1")}}}
	now := GuardPolicy{On: true, Outer: []Endpoint{{Address: netip.MustParseAddr("198.51.100.7"), Port: 443, Transport: "tcp"}}}
	lock := now
	lock.Lockdown = true
	const tail = "; local 192.168.1.0/24 fe80::/64; resolvers 192.168.1.1; outer tcp 198.51.100.7:443"
	for _, c := range []struct {
		name   string
		old    Guard
		policy GuardPolicy
		web    []netip.Prefix
		want   string
	}{
		{"nothing was closed", Guard{}, now, nil, ""},
		{"split", old, now, nil, "closed 10.0.0.0/8; past 203.0.113.9/32" + tail},
		{"sign-in", old, now, []netip.Prefix{all4}, "closed 10.0.0.0/8; past 203.0.113.9/32" + tail + "; web 0.0.0.0/0"},
		{"lockdown after a tunnel with ways around it", old, lock, nil, "closed 0.0.0.0/0 ::/0" + tail + "; dns"},
		{"lockdown", Guard{}, lock, nil, "closed 0.0.0.0/0 ::/0" + tail + "; dns"},
		{"everything", Everything(), now, nil, "closed 0.0.0.0/0 ::/0" + tail + "; dns"},
	} {
		p := Shut(c.old, guardFacts(), c.policy, c.web)
		if got := p.Guard.words(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if p.Guard = (Guard{}); !p.IsZero() {
			t.Errorf("%s: more than a guard: %+v", c.name, p)
		}
	}
}

// TestGuardExplain: in words, what the rules do.
func TestGuardExplain(t *testing.T) {
	server := netip.MustParseAddr("198.51.100.7")
	full := Shut(Everything(), guardFacts(), GuardPolicy{On: true, Outer: []Endpoint{{Address: server, Port: 443, Transport: "udp"}}}, nil).Guard
	full.Past = []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32")}
	signIn := full
	signIn.Web = []netip.Prefix{all4}
	split := full
	split.Closed, split.DNS = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, false
	seen := map[string]bool{}
	for _, c := range []struct {
		g       Guard
		to      string
		way     string
		reason  string
		want    string
		blocked bool
	}{
		{Guard{}, "192.0.2.1", WayUnderlay, "", GuardOpen, false},
		{full, "192.0.2.1", WayTunnel, "", guardTunnel, false},
		{full, "192.168.1.20", WayUnderlay, reasonSelf, guardSelf, false},
		{full, "203.0.113.9", WayAround, "", guardPast, false},
		{full, "203.0.113.8", WayUnderlay, "", guardBlocks, true},
		{full, "2001:db8::1", WayNone, "", guardBlocks, true},
		{full, server.String(), WayAround, "", guardServer, true},
		{full, "192.168.1.9", WayUnderlay, "", guardNearby, false},
		{split, "192.168.1.9", WayUnderlay, "", guardLocal, false},
		{split, "10.1.2.3", WayUnderlay, "", guardBlocks, true},
		{split, "192.0.2.1", WayUnderlay, "", guardOutside, false},
		{signIn, "192.0.2.1", WayUnderlay, "", guardWeb, true},
		{signIn, "2001:db8::1", WayUnderlay, "", guardBlocks, true},
	} {
		x := Explanation{Destination: netip.MustParseAddr(c.to), Way: c.way, Reason: c.reason}
		if got := c.g.Explain(x); got != c.want || c.g.Blocks(x) != c.blocked {
			t.Errorf("%s by %s: %q, blocked %t; want %q", c.to, c.way, got, c.g.Blocks(x), c.want)
		}
		seen[c.want] = true
	}
	for _, w := range GuardWords() {
		if !seen[w] {
			t.Errorf("no case for %q", w)
		}
	}
}
