package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
)

func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }
func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// home is a laptop behind a home router, with a Docker bridge and both families.
var home = Facts{
	Routes: []UnderlayRoute{
		{Destination: pfx("0.0.0.0/0"), Gateway: addr("192.168.1.1"), Device: "wlan0", Metric: 600},
		{Destination: pfx("192.168.1.0/24"), Device: "wlan0", Metric: 600},
		{Destination: pfx("172.17.0.0/16"), Device: "docker0"},
		{Destination: pfx("::/0"), Gateway: addr("fe80::1"), Device: "wlan0", Metric: 600},
		{Destination: pfx("2001:db8:1::/64"), Device: "wlan0", Metric: 600},
	},
	Addresses: []netip.Prefix{pfx("192.168.1.20/24"), pfx("172.17.0.1/16"), pfx("2001:db8:1::20/64")},
	DNS:       []netip.Addr{addr("192.168.1.1"), addr("9.9.9.9")},
}

// lines prints a plan's routes as a person would write them.
func lines(p Plan) string {
	var out []string
	row := func(where string, r Route) {
		s := where + " " + r.Destination.String()
		if r.Gateway.IsValid() {
			s += " via " + r.Gateway.String()
		}
		if r.Device != "" {
			s += " dev " + r.Device
		}
		if r.Metric != 0 {
			s += fmt.Sprintf(" metric %d", r.Metric)
		}
		if r.Unreachable {
			s += " unreachable"
		}
		out = append(out, s)
	}
	for _, a := range p.Addresses {
		out = append(out, "addr "+a.String())
	}
	for _, r := range p.Around {
		row("past", r)
	}
	for _, r := range p.Routes {
		row("in", r)
	}
	return strings.Join(out, "\n")
}

// aws is what an AWS endpoint gives, before routes.
func aws() push.Reply {
	return push.Reply{Topology: "subnet", Address: pfx("10.64.0.2/27"), RouteGateway: addr("10.64.0.1"), PeerID: 0}
}

func with(f func(*push.Reply)) push.Reply {
	r := aws()
	f(&r)
	return r
}

// stray are routes that somebody put beside a tunnel's.
var stray = &Facts{Routes: []UnderlayRoute{
	home.Routes[0],
	{Destination: pfx("10.1.2.0/24"), Gateway: addr("192.168.1.9"), Device: "wlan0"},
	{Destination: pfx("10.1.2.0/25"), Gateway: addr("192.168.1.9"), Device: "wlan0"},
	{Destination: pfx("10.1.3.4/32"), Gateway: addr("192.168.1.9"), Device: "wlan0"},
	{Destination: pfx("2001:db8:99::7/128"), Gateway: addr("fe80::1"), Device: "wlan0"},
	{Destination: pfx("10.1.6.6/31"), Device: "wlan0"},
	{Destination: pfx("10.2.0.0/24"), Device: "wlan0"},
	{Destination: pfx("169.254.0.0/16"), Device: "wlan0"},
	{Destination: pfx("224.0.0.0/4"), Device: "wlan0"},
}}

func TestBuild(t *testing.T) {
	server := Policy{Server: addr("203.0.113.7")}
	const blocked = "\nin ::/1 unreachable\nin 8000::/1 unreachable"
	const halves = "\nin 0.0.0.0/1\nin 128.0.0.0/1"
	const base = "addr 10.64.0.2/27"
	const past = "\npast 203.0.113.7/32 via 192.168.1.1 dev wlan0"
	for _, c := range []struct {
		name   string
		reply  push.Reply
		policy Policy
		facts  *Facts
		want   string
		note   string // part of one note
		full   bool
	}{
		{"nothing pushed", aws(), server, nil, base, "", false},
		{"W4 full tunnel", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), server, nil, base + past + halves + blocked, "", true},
		{"W4 split tunnel", with(func(r *push.Reply) { r.Routes = []push.Route{{Destination: pfx("10.1.0.0/16")}} }), server, nil, base + "\nin 10.1.0.0/16", "", false},
		{"W4 settings turn full into split", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true, IPv6: true} }),
			Policy{Server: server.Server, Remove: []netip.Prefix{pfx("0.0.0.0/0")}, Add: []netip.Prefix{pfx("10.1.0.0/16")}}, nil,
			base + "\nin 10.1.0.0/16", "removes 0.0.0.0/0", false},
		{"W4 route-nopull and own route", with(func(r *push.Reply) {
			r.Redirect = &push.Redirect{Def1: true}
			r.Routes = []push.Route{{Destination: pfx("10.0.0.0/8")}}
			r.DNS.Servers = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:53")}
		}), Policy{Server: server.Server, NoPull: true, Own: push.Reply{Routes: []push.Route{{Destination: pfx("10.1.0.0/16")}}}}, nil,
			base + "\nin 10.1.0.0/16", "route-nopull", false},
		{"no def1 uses halves too", with(func(r *push.Reply) { r.Redirect = &push.Redirect{} }), server, nil, base + past + halves + blocked, "", true},
		{"redirect-private", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Private: true, Def1: true} }), server, nil, base, "", false},
		{"both families", with(func(r *push.Reply) {
			r.Redirect = &push.Redirect{Def1: true, IPv6: true}
			r.Address6 = pfx("fd64::2/64")
		}), server, nil, base + "\naddr fd64::2/64" + past + halves + "\nin ::/1\nin 8000::/1", "", true},
		{"IPv6 given but not redirected is closed", with(func(r *push.Reply) {
			r.Redirect = &push.Redirect{Def1: true}
			r.Address6 = pfx("fd64::2/64")
			r.Routes = []push.Route{{Destination: pfx("2001:db8:99::/48")}}
		}), server, nil, base + "\naddr fd64::2/64" + past + "\nin 2001:db8:99::/48" + halves + blocked, "", true},
		{"ipv6 !ipv4", with(func(r *push.Reply) {
			r.Redirect = &push.Redirect{Def1: true, IPv6: true, NoIPv4: true}
			r.Address6 = pfx("fd64::2/64")
		}), server, nil, base + "\naddr fd64::2/64\nin ::/1\nin 8000::/1", "", false},
		{"redirect ipv6 without IPv6", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true, IPv6: true, NoIPv4: true} }), server, nil,
			base + blocked, "", false},
		{"block-ipv6", with(func(r *push.Reply) {
			r.BlockIPv6, r.Address6 = true, pfx("fd64::2/64")
			r.Routes = []push.Route{{Destination: pfx("2001:db8:99::/48")}}
		}), server, nil, base + blocked, "block-ipv6 is in force", false},
		{"only IPv6 in a full tunnel", push.Reply{Address6: pfx("fd64::2/64"), Redirect: &push.Redirect{Def1: true, IPv6: true}}, server, nil,
			"addr fd64::2/64" + past + "\nin 0.0.0.0/1 unreachable\nin 128.0.0.0/1 unreachable\nin ::/1\nin 8000::/1", "", true},
		{"the user keeps IPv6 open", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }),
			Policy{Server: server.Server, Remove: []netip.Prefix{pfx("::/0")}}, nil, base + past + halves, "", false},
		{"pushed default route becomes halves", with(func(r *push.Reply) { r.Routes = []push.Route{{Destination: pfx("0.0.0.0/0")}} }), server, nil,
			base + past + halves + blocked, "", true},
		{"server over IPv6 in a full tunnel", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), Policy{Server: addr("2001:db8:ffff::7")}, nil,
			base + "\npast 2001:db8:ffff::7/128 via fe80::1 dev wlan0" + halves + blocked, "", true},
		{"enforced in a full tunnel", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true}; r.EnforceRoutes = true }), server, nil,
			base + "\npast 192.168.1.1/32 dev wlan0" + past + halves + blocked + "\nin 192.168.1.0/25\nin 192.168.1.128/25\nin 172.17.0.0/17\nin 172.17.128.0/17" +
				"\nin 2001:db8:1::/65 unreachable\nin 2001:db8:1:0:8000::/65 unreachable", "", true},
		{"enforced in a split tunnel", with(func(r *push.Reply) {
			r.Routes, r.EnforceRoutes = []push.Route{{Destination: pfx("172.16.0.0/12")}, {Destination: pfx("10.1.0.0/16")}, {Destination: pfx("192.168.1.0/24")}}, true
		}), server, nil, base + "\npast 192.168.1.1/32 dev wlan0\nin 172.16.0.0/12\nin 10.1.0.0/16\nin 192.168.1.0/24\nin 192.168.1.0/25\nin 192.168.1.128/25\nin 172.17.0.0/17\nin 172.17.128.0/17", "", false},
		{"enforced over routes that somebody added", with(func(r *push.Reply) {
			r.Address6 = pfx("fd64::2/64")
			r.Routes, r.EnforceRoutes = []push.Route{{Destination: pfx("10.1.0.0/16")}, {Destination: pfx("2001:db8:99::/48")}}, true
		}), server, stray, base + "\naddr fd64::2/64\nin 10.1.0.0/16\nin 2001:db8:99::/48\nin 10.1.2.128/25\nin 10.1.2.0/26\nin 10.1.2.64/26\nin 10.1.3.4/32" +
			"\nin 2001:db8:99::7/128 metric 1\nin 10.1.6.6/32\nin 10.1.6.7/32", "", false},
		{"enforced where an address has one route", with(func(r *push.Reply) {
			r.Routes, r.EnforceRoutes = []push.Route{{Destination: pfx("10.1.0.0/16")}}, true
		}), server, &Facts{OneRow: true, Routes: stray.Routes[3:4]}, base + "\nin 10.1.0.0/16", "the route to 10.1.3.4 outside the tunnel stays", false},
		{"enforced against settings", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true}; r.EnforceRoutes = true }),
			Policy{Server: server.Server, Remove: []netip.Prefix{pfx("0.0.0.0/0"), pfx("::/0")}, Add: []netip.Prefix{pfx("10.9.0.0/16")}}, &Facts{Routes: home.Routes[:1]},
			base + past + halves + "\nin 10.9.0.0/16" + blocked, "route-= is ignored", true},
		{"enforced against the profile", with(func(r *push.Reply) {
			r.Redirect, r.Routes, r.EnforceRoutes = &push.Redirect{Def1: true}, []push.Route{{Destination: pfx("10.1.0.0/16")}}, true
		}), Policy{Server: server.Server, NoPull: true, Own: push.Reply{Redirect: &push.Redirect{NoIPv4: true, BypassDNS: true}, Routes: []push.Route{
			{Destination: pfx("10.1.0.0/16"), GatewayWord: "net_gateway"}, {Destination: pfx("10.1.7.0/24"), Gateway: addr("192.168.1.1")}, {Destination: pfx("10.8.0.0/16")}}}},
			&Facts{Routes: home.Routes[:1], DNS: home.DNS}, base + past + "\nin 10.8.0.0/16\nin 10.1.0.0/16" + halves + blocked, "route-nopull is ignored", true},
		{"enforced, the server and its gateway inside", with(func(r *push.Reply) {
			r.Routes, r.EnforceRoutes = []push.Route{{Destination: pfx("192.168.0.0/16")}}, true
		}), Policy{Server: addr("192.168.1.50")}, &Facts{Routes: []UnderlayRoute{{Destination: pfx("192.168.1.0/24"), Device: "wlan0"},
			{Destination: pfx("192.168.1.50/32"), Gateway: addr("192.168.1.2"), Device: "wlan0"}, {Destination: pfx("192.168.1.2/32"), Device: "wlan0"}}},
			base + "\npast 192.168.1.2/32 dev wlan0\nin 192.168.0.0/16\nin 192.168.1.0/25\nin 192.168.1.128/25", "", false},
		{"enforced, but for what the server itself leaves out", with(func(r *push.Reply) {
			r.Redirect, r.EnforceRoutes = &push.Redirect{Def1: true}, true
			r.Routes = []push.Route{{Destination: pfx("192.168.0.0/16"), GatewayWord: "net_gateway"}, {Destination: pfx("172.17.9.0/24"), GatewayWord: "net_gateway"}}
		}), server, &Facts{Routes: home.Routes[:3]}, base + "\npast 192.168.0.0/16 via 192.168.1.1 dev wlan0\npast 172.17.9.0/24 via 192.168.1.1 dev wlan0" + past + halves + blocked +
			"\nin 172.17.0.0/17\nin 172.17.128.0/17", "", true},
		{"enforced, with a narrower route in what the server leaves out", with(func(r *push.Reply) {
			r.EnforceRoutes = true
			r.Routes = []push.Route{{Destination: pfx("10.0.0.0/8")}, {Destination: pfx("10.1.0.0/16"), GatewayWord: "net_gateway"}, {Destination: pfx("10.1.2.0/23")}}
		}), server, &Facts{Routes: []UnderlayRoute{home.Routes[0], {Destination: pfx("10.1.2.0/24"), Device: "wlan0"}, {Destination: pfx("10.1.4.0/24"), Device: "wlan0"}}},
			base + "\npast 10.1.0.0/16 via 192.168.1.1 dev wlan0\nin 10.0.0.0/8\nin 10.1.2.0/23\nin 10.1.2.0/25\nin 10.1.2.128/25", "", false},
		{"enforced by a server that carries no IPv4", push.Reply{Address6: pfx("fd64::2/64"), Routes: []push.Route{{Destination: pfx("10.1.0.0/16")}}, EnforceRoutes: true}, server,
			&Facts{Routes: stray.Routes[3:4]}, "addr fd64::2/64\nin 10.1.0.0/16 unreachable\nin 10.1.3.4/32 metric 1 unreachable", "the route to 10.1.3.4 outside the tunnel may go on to win", false},
		{"server in the local network", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), Policy{Server: addr("192.168.1.50")}, nil,
			base + halves + blocked, "", true},
		{"server in the local network, taken by a pushed route", with(func(r *push.Reply) { r.Routes = []push.Route{{Destination: pfx("192.168.1.0/25")}} }),
			Policy{Server: addr("192.168.1.50")}, nil, base + "\npast 192.168.1.50/32 dev wlan0\nin 192.168.1.0/25", "", false},
		{"server inside a pushed route", with(func(r *push.Reply) { r.Routes = []push.Route{{Destination: pfx("203.0.113.0/24")}} }), server, nil,
			base + past + "\nin 203.0.113.0/24", "", false},
		{"server's own address pushed", with(func(r *push.Reply) { r.Routes = []push.Route{{Destination: pfx("203.0.113.7/32")}} }), server, nil,
			base, "the server's own address", false},
		{"server inside the tunnel's network", with(func(r *push.Reply) {}), Policy{Server: addr("10.64.0.9")}, nil,
			base + "\npast 10.64.0.9/32 via 192.168.1.1 dev wlan0", "", false},
		{"server on this machine", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), Policy{Server: addr("127.0.0.1")}, nil, base + halves + blocked, "", true},
		{"server is one of our addresses", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), Policy{Server: addr("172.17.0.1")}, nil, base + halves + blocked, "", true},
		{"v4-mapped server", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), Policy{Server: addr("::ffff:203.0.113.7")}, nil, base + past + halves + blocked, "", true},
		{"local flag", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true, Local: true} }), server, nil, base + halves + blocked, "flag local", true},
		{"no underlay at all", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), server, &Facts{},
			base + "\npast 203.0.113.7/32 unreachable" + halves + blocked, "", true},
		{"words and metrics", with(func(r *push.Reply) {
			r.RouteMetric = 7
			r.Routes = []push.Route{
				{Word: "remote_host", GatewayWord: "net_gateway"}, {Word: "vpn_gateway", Bits: 27},
				{Destination: pfx("10.9.1.1/16"), GatewayWord: "vpn_gateway", Metric: 3}, {Destination: pfx("10.9.0.0/16")},
				{Destination: pfx("198.51.100.0/24"), GatewayWord: "net_gateway"}, {Word: "net_gateway"}, {Word: "intranet.example"},
			}
		}), server, nil, base + past + " metric 7\npast 198.51.100.0/24 via 192.168.1.1 dev wlan0 metric 7\nin 10.64.0.0/27 metric 7\nin 10.9.0.0/16 metric 3\nin 192.168.1.1/32 metric 7",
			"intranet.example", false},
		{"own gateway of a route", with(func(r *push.Reply) {
			r.Routes = []push.Route{{Destination: pfx("10.7.0.0/16"), Gateway: addr("192.168.1.254")}, {Destination: pfx("10.8.0.0/16"), Gateway: addr("10.64.0.1")},
				{Destination: pfx("10.9.0.0/16"), Gateway: addr("10.200.0.1")}}
		}), server, nil, base + "\npast 10.7.0.0/16 via 192.168.1.254 dev wlan0\nin 10.8.0.0/16\nin 10.9.0.0/16", "10.200.0.1", false},
		{"net30", push.Reply{Topology: "net30", Address: pfx("10.8.0.6/32"), Peer: addr("10.8.0.5"), Routes: []push.Route{{Destination: pfx("10.8.0.1/32")}}}, server, nil,
			"addr 10.8.0.6/32\nin 10.8.0.5/32\nin 10.8.0.1/32", "", false},
		{"nonsense routes", with(func(r *push.Reply) {
			r.Routes = []push.Route{{Destination: pfx("127.0.0.0/8")}, {Destination: pfx("127.1.2.0/24")}, {Destination: pfx("169.254.169.254/32")}, {Destination: pfx("224.0.0.0/4")},
				{Destination: pfx("ff02::/16")}, {Destination: pfx("fe80::/64")}, {Destination: pfx("::1/128")}, {}, {Destination: pfx("255.255.255.255/32")}, {Destination: pfx("10.1.0.0/16")}}
		}), server, nil, base + "\nin 10.1.0.0/16", "loopback", false},
		{"IPv6 route without an IPv6 address", with(func(r *push.Reply) { r.Routes = []push.Route{{Destination: pfx("2001:db8:99::/48")}} }), server, nil,
			base + "\nin 2001:db8:99::/48 unreachable", "", false},
		{"block-local", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Private: true, BlockLocal: true} }), server, nil,
			base + "\npast 192.168.1.1/32 dev wlan0\nin 192.168.1.0/25\nin 192.168.1.128/25\nin 2001:db8:1::/65 unreachable\nin 2001:db8:1:0:8000::/65 unreachable", "", false},
		{"bypass-dns", with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true, BypassDNS: true} }), server, nil,
			base + "\npast 9.9.9.9/32 via 192.168.1.1 dev wlan0" + past + halves + blocked, "", true},
		{"settings remove what is inside", with(func(r *push.Reply) {
			r.Routes = []push.Route{{Destination: pfx("10.1.0.0/16")}, {Destination: pfx("10.2.0.0/16")}, {Destination: pfx("10.0.0.0/7")}}
		}), Policy{Server: server.Server, Remove: []netip.Prefix{pfx("10.0.0.0/8"), pfx("10.2.0.0/16")}, Add: []netip.Prefix{pfx("10.2.3.4/24")}}, nil,
			base + "\nin 10.0.0.0/7\nin 10.2.3.0/24", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts := home
			if c.facts != nil {
				facts = *c.facts
			}
			p, err := Build(c.reply, facts, c.policy)
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(p); got != c.want {
				t.Errorf("got\n%s\nwant\n%s\nnotes %q", got, c.want, p.Notes)
			}
			if FullTunnel(p) != c.full {
				t.Errorf("FullTunnel = %v", !c.full)
			}
			if c.note != "" && !strings.Contains(strings.Join(p.Notes, "\n"), c.note) {
				t.Errorf("no note about %q in %q", c.note, p.Notes)
			}
			if c.note == "" && len(p.Notes) > 0 {
				t.Errorf("unexpected notes %q", p.Notes)
			}
			for _, r := range slices.Concat(p.Routes, p.Around) {
				if r.Reason == "" {
					t.Errorf("no reason for %s", r.Destination)
				}
			}
		})
	}
}

// TestEnforceBound: a machine with more routes than any has costs no more than some, and is told.
func TestEnforceBound(t *testing.T) {
	facts := Facts{Routes: home.Routes[:1]}
	for i := range 20_000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
		facts.Routes = append(facts.Routes, UnderlayRoute{Destination: netip.PrefixFrom(a, 24), Gateway: addr("192.168.1.9"), Device: "wlan0"})
	}
	reply := with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true}; r.EnforceRoutes = true })
	p, err := Build(reply, facts, Policy{Server: addr("203.0.113.7")})
	if err != nil || len(p.Routes) != 4+maxEnforced || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "after the first 2048 stay") {
		t.Errorf("%d routes, notes %q, %v", len(p.Routes), p.Notes, err)
	}
	facts.Routes = facts.Routes[:1+maxEnforced/2]
	if p, err = Build(reply, facts, Policy{Server: addr("203.0.113.7")}); err != nil || len(p.Routes) != 4+maxEnforced || len(p.Notes) > 0 {
		t.Errorf("as many as there may be: %d routes, notes %q, %v", len(p.Routes), p.Notes, err)
	}
}

func TestBuildErrors(t *testing.T) {
	for _, c := range []struct {
		reply push.Reply
		want  string
	}{
		{push.Reply{}, "no tunnel address"},
		{push.Reply{Address6: pfx("fd64::2/64"), BlockIPv6: true}, "no tunnel address"},
		{push.Reply{Address: pfx("10.0.0.1/0")}, "too wide"},
		{push.Reply{Address: pfx("127.0.0.2/24")}, "cannot be used"},
		{push.Reply{Address: pfx("224.0.0.2/24")}, "cannot be used"},
		{push.Reply{Address: pfx("fd64::2/64")}, "not an IPv4 address"},
		{push.Reply{Address: pfx("203.0.113.7/24")}, "outer address"},
		{push.Reply{Address6: pfx("fd64::2/8")}, "too wide"},
		{push.Reply{Address6: pfx("10.0.0.1/24")}, "not an IPv6 address"},
	} {
		p, err := Build(c.reply, home, Policy{Server: addr("203.0.113.7")})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: err %v, want %q", c.reply.Address, err, c.want)
		}
		if !p.IsZero() {
			t.Errorf("a plan came with the error: %+v", p)
		}
	}
	if _, err := Build(push.Reply{}, home, Policy{}); !errors.Is(err, ErrNoAddress) {
		t.Errorf("err = %v", err)
	}
}

func TestBuildDNSAndMTU(t *testing.T) {
	ap := netip.MustParseAddrPort
	r := with(func(r *push.Reply) {
		r.TunMTU = 1400
		r.Routes = []push.Route{{Destination: pfx("10.0.0.0/16")}}
		r.DNS = push.DNS{Servers: []netip.AddrPort{ap("10.0.0.2:53"), ap("10.0.0.2:53"), ap("0.0.0.0:53")}, Split: []string{"corp.example"}, Search: []string{"corp.example"}}
	})
	p, err := Build(r, home, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	want := DNS{Servers: []netip.AddrPort{ap("10.0.0.2:53")}, Split: []string{"corp.example"}, Search: []string{"corp.example"}}
	if !p.DNS.Equal(want) || p.MTU != 1400 {
		t.Errorf("split: %+v, MTU %d", p.DNS, p.MTU)
	}
	r.Redirect = &push.Redirect{Def1: true}
	if p, _ = Build(r, home, Policy{}); p.DNS.Split != nil || !strings.Contains(strings.Join(p.Notes, "\n"), "all names") {
		t.Errorf("full tunnel keeps split names: %+v %q", p.DNS, p.Notes)
	}
	if p, _ = Build(r, home, Policy{NoPull: true}); !p.DNS.IsZero() {
		t.Errorf("route-nopull keeps pushed DNS: %+v", p.DNS)
	}
	own := Policy{Own: push.Reply{DNS: push.DNS{Servers: []netip.AddrPort{ap("10.0.0.9:53")}}}}
	r.Redirect = nil
	if p, _ = Build(r, home, own); len(p.DNS.Servers) != 2 || p.DNS.Servers[0] != ap("10.0.0.9:53") || p.DNS.Split != nil {
		t.Errorf("own before pushed: %+v", p.DNS)
	}
	r.DNS = push.DNS{Servers: []netip.AddrPort{ap("198.51.100.53:53")}}
	if p, _ = Build(r, home, Policy{}); !strings.Contains(strings.Join(p.Notes, "\n"), "198.51.100.53") {
		t.Errorf("no note about a resolver outside the tunnel: %q", p.Notes)
	}
	r.TunMTU, r.Address6 = 1000, pfx("fd64::2/64")
	if p, _ = Build(r, home, Policy{}); p.MTU != 1000 || len(p.Addresses) != 1 {
		t.Errorf("IPv6 under MTU 1280: %+v", p)
	}
	r.TunMTU = 70000
	if p, _ = Build(r, home, Policy{}); p.MTU != 0 {
		t.Errorf("MTU %d", p.MTU)
	}
	r.Address6 = netip.Prefix{}
	for _, c := range []struct{ own, pushed, most, want int }{
		{0, 0, 0, 1500}, {1400, 0, 0, 1400}, {1400, 1600, 0, 1600}, {0, 1600, 1344, 1344}, {0, 0, 1344, 1344}, {0, 70000, 0, 1500},
	} {
		r.TunMTU = c.pushed
		if p, _ = Build(r, home, Policy{Own: push.Reply{TunMTU: c.own}, MTU: c.most, DefaultMTU: 1500}); p.MTU != c.want {
			t.Errorf("%+v: MTU %d", c, p.MTU)
		}
	}
}

func TestDiff(t *testing.T) {
	old, _ := Build(with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), home, Policy{Server: addr("203.0.113.7")})
	same := old
	same.Notes = []string{"x"}
	if !old.Equal(same) || old.IsZero() || !(Plan{Notes: []string{"x"}}).IsZero() {
		t.Fatal("Equal or IsZero looks at the notes")
	}
	moved := home
	moved.Routes = slices.Clone(home.Routes)
	moved.Routes[0].Gateway, moved.Routes[0].Device = addr("192.168.1.254"), "eth0"
	next, _ := Build(with(func(r *push.Reply) { r.Routes = []push.Route{{Destination: pfx("203.0.113.0/24")}} }), moved, Policy{Server: addr("203.0.113.7")})
	c := Diff(old, next)
	if len(c.AddAround) != 1 || len(c.RemoveAround) != 1 || c.AddAround[0].Device != "eth0" || len(c.RemoveRoutes) != 4 || len(c.AddRoutes) != 1 || len(c.AddAddresses)+len(c.RemoveAddresses) != 0 {
		t.Errorf("%+v", c)
	}
	if c := Diff(old, Plan{}); len(c.RemoveAddresses) != 1 || len(c.RemoveAround) != 1 || len(c.RemoveRoutes) != 4 || c.AddRoutes != nil {
		t.Errorf("to zero: %+v", c)
	}
}

func TestPlanJSON(t *testing.T) {
	p, _ := Build(with(func(r *push.Reply) { r.Redirect = &push.Redirect{Def1: true} }), home, Policy{Server: addr("203.0.113.7")})
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var q Plan
	if err := json.Unmarshal(text, &q); err != nil || !p.Equal(q) {
		t.Errorf("%v: %s", err, text)
	}
}

func TestBlockOutsideDNSIsNoted(t *testing.T) {
	reply := push.Reply{Topology: "subnet", Address: netip.MustParsePrefix("10.8.0.2/24"), BlockDNS: true}
	for _, noPull := range []bool{false, true} {
		p, err := Build(reply, Facts{}, Policy{NoPull: noPull})
		if err != nil {
			t.Fatal(err)
		}
		if noted := strings.Contains(strings.Join(p.Notes, "\n"), "block-outside-dns"); noted == noPull {
			t.Errorf("route-nopull %t: notes %q", noPull, p.Notes)
		}
	}
}
