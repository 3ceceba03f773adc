package routes

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
)

func TestExplain(t *testing.T) {
	server := Policy{Server: addr("203.0.113.7")}
	full, _ := Build(with(func(r *push.Reply) {
		r.Redirect = &push.Redirect{Def1: true}
		r.DNS.Servers = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:53")}
	}), home, server)
	split, _ := Build(with(func(r *push.Reply) {
		r.Routes = []push.Route{{Destination: pfx("10.1.0.0/16")}}
		r.DNS.Servers = []netip.AddrPort{netip.MustParseAddrPort("10.1.0.2:5353")}
		r.DNS.Split = []string{"corp.example"}
	}), home, server)
	for _, c := range []struct {
		plan      Plan
		dest      string
		way, text string
	}{
		{full, "192.0.2.1", WayTunnel, "192.0.2.1 goes through the tunnel (tun0) by 128.0.0.0/1: all traffic is redirected"},
		{full, "203.0.113.7", WayAround, "203.0.113.7 goes past the tunnel (wlan0) by 203.0.113.7/32 via 192.168.1.1: the server's own address"},
		{full, "192.168.1.9", WayUnderlay, "192.168.1.9 goes outside the tunnel (wlan0) by 192.168.1.0/24: no more specific route leads into the tunnel"},
		{full, "2606:4700::1", WayUnreachable, "2606:4700::1 is not reachable by ::/1: IPv6 is blocked: all traffic is redirected, and the server carries no IPv6"},
		{full, "10.64.0.9", WayTunnel, "10.64.0.9 goes through the tunnel (tun0) by 10.64.0.0/27: the tunnel's own network"},
		{full, "10.64.0.2", WayUnderlay, "10.64.0.2 is this machine itself: packets to it do not leave"},
		{split, "10.1.2.3", WayTunnel, "10.1.2.3 goes through the tunnel (tun0) by 10.1.0.0/16: pushed by the server"},
		{split, "::ffff:10.1.2.3", WayTunnel, "10.1.2.3 goes through the tunnel (tun0) by 10.1.0.0/16: pushed by the server"},
		{split, "192.0.2.1", WayUnderlay, "192.0.2.1 goes outside the tunnel (wlan0) by 0.0.0.0/0 via 192.168.1.1: no more specific route leads into the tunnel"},
	} {
		x := Explain(c.plan, "tun0", home, addr(c.dest))
		if x.Way != c.way || x.Text != c.text {
			t.Errorf("%s: %s, %q", c.dest, x.Way, x.Text)
		}
	}
	if x := Explain(Plan{}, "", Facts{}, addr("192.0.2.1")); x.Way != WayNone || !strings.Contains(x.Text, "no route") {
		t.Errorf("%+v", x)
	}
	if x := Explain(Plan{}, "", Facts{}, netip.Addr{}); x.Way != WayNone || x.Text == "" {
		t.Errorf("%+v", x)
	}
	if x := Explain(full, "tun0", home, addr("1.1.1.1")); x.DNS != "all names go to the tunnel's resolver 10.0.0.2" {
		t.Errorf("%q", x.DNS)
	}
	if x := Explain(split, "tun0", home, addr("1.1.1.1")); x.DNS != "names in corp.example go to the tunnel's resolver 10.1.0.2:5353, all others to the system's own" {
		t.Errorf("%q", x.DNS)
	}
}

// naive walks the prefix lengths from the longest down and compares bits by hand.
func naive(p Plan, f Facts, dest netip.Addr) string {
	bit := func(a netip.Addr, i int) byte { s := a.AsSlice(); return s[i/8] >> (7 - i%8) & 1 }
	match := func(q netip.Prefix, n int) bool {
		if !q.IsValid() || q.Bits() != n || q.Addr().BitLen() != dest.BitLen() {
			return false
		}
		for i := range n {
			if bit(q.Addr(), i) != bit(dest, i) {
				return false
			}
		}
		return true
	}
	for n := dest.BitLen(); n >= 0; n-- {
		for _, a := range p.Addresses {
			if match(a, n) {
				return WayTunnel
			}
		}
		way, metric := "", 0
		take := func(w string, m int) {
			if way == "" || m < metric {
				way, metric = w, m
			}
		}
		ours := func(rs []Route, w string) {
			for _, r := range rs {
				if match(r.Destination, n) {
					if r.Unreachable {
						take(WayUnreachable, r.Metric)
					} else {
						take(w, r.Metric)
					}
				}
			}
		}
		ours(p.Routes, WayTunnel)
		ours(p.Around, WayAround)
		for _, r := range f.Routes {
			if match(r.Destination, n) {
				take(WayUnderlay, r.Metric)
			}
		}
		if way != "" {
			return way
		}
	}
	return WayNone
}

// random builds a reply, facts and a policy from a seed; few bits, so that prefixes collide.
func random(seed uint64) (push.Reply, Facts, Policy, func() netip.Addr) {
	g := rand.New(rand.NewPCG(seed, 1))
	ip := func() netip.Addr {
		if g.IntN(3) == 0 {
			var b [16]byte
			binary.BigEndian.PutUint16(b[:], []uint16{0x2001, 0xfd64, 0xfe80, 0xff02, 0}[g.IntN(5)])
			b[2], b[15] = byte(g.IntN(3)), byte(g.IntN(4))
			return netip.AddrFrom16(b)
		}
		return netip.AddrFrom4([4]byte{[]byte{10, 192, 127, 203, 169, 224, 0}[g.IntN(7)], byte(g.IntN(3)), byte(g.IntN(2)), byte(g.IntN(4))})
	}
	prefix := func() netip.Prefix {
		a := ip()
		if g.IntN(12) == 0 {
			return netip.Prefix{}
		}
		return netip.PrefixFrom(a, g.IntN(a.BitLen()+1))
	}
	list := func(n int, f func()) {
		for range g.IntN(n) {
			f()
		}
	}
	var r push.Reply
	r.Topology = []string{"", "subnet", "net30", "p2p"}[g.IntN(4)]
	r.Address, r.Address6 = prefix(), prefix()
	if g.IntN(4) > 0 {
		r.Address = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64, 0, byte(2 + g.IntN(3))}), 24+g.IntN(9))
		r.Address6 = []netip.Prefix{{}, pfx("fd64::2/64")}[g.IntN(2)]
	}
	if g.IntN(3) == 0 {
		r.Peer = ip()
	}
	r.RouteMetric, r.TunMTU, r.BlockIPv6 = g.IntN(3), []int{0, 50, 1000, 1500}[g.IntN(4)], g.IntN(6) == 0
	list(6, func() {
		x := push.Route{Destination: prefix(), Metric: g.IntN(3), GatewayWord: []string{"", "", "net_gateway", "vpn_gateway"}[g.IntN(4)]}
		if g.IntN(4) == 0 {
			x.Gateway = ip()
		}
		if g.IntN(4) == 0 {
			x = push.Route{Word: []string{"net_gateway", "vpn_gateway", "remote_host", "x"}[g.IntN(4)], Bits: g.IntN(130)}
		}
		r.Routes = append(r.Routes, x)
	})
	b := func() bool { return g.IntN(3) == 0 }
	if g.IntN(2) == 0 {
		r.Redirect = &push.Redirect{Private: b(), Def1: b(), Local: b(), BypassDNS: b(), BlockLocal: b(), IPv6: b(), NoIPv4: b()}
	}
	list(3, func() { r.DNS.Servers = append(r.DNS.Servers, netip.AddrPortFrom(ip(), 53)) })
	var f Facts
	list(6, func() {
		u := UnderlayRoute{Destination: prefix(), Device: "eth0", Metric: g.IntN(3)}
		if b() {
			u.Gateway = ip()
		}
		f.Routes = append(f.Routes, u)
	})
	list(3, func() { f.Addresses, f.DNS = append(f.Addresses, prefix()), append(f.DNS, ip()) })
	p := Policy{Server: ip(), NoPull: g.IntN(6) == 0}
	list(2, func() { p.Add = append(p.Add, prefix()) })
	list(2, func() { p.Remove = append(p.Remove, prefix()) })
	return r, f, p, ip
}

// checkSeed holds what must be true of every plan.
func checkSeed(t *testing.T, seed uint64) {
	r, f, pol, ip := random(seed)
	p, err := Build(r, f, pol)
	if err != nil {
		if !p.IsZero() {
			t.Fatalf("seed %d: plan beside error %v", seed, err)
		}
		return
	}
	seen := map[netip.Prefix]bool{}
	for _, x := range append(append([]Route{}, p.Routes...), p.Around...) {
		if !x.Destination.IsValid() || x.Destination != x.Destination.Masked() || x.Destination.Bits() == 0 || seen[x.Destination] || x.Reason == "" {
			t.Fatalf("seed %d: bad or double route %+v", seed, x)
		}
		seen[x.Destination] = true
	}
	for range 20 {
		dest := ip()
		x := Explain(p, "tun0", f, dest)
		if x.Reason == "an address of this machine" {
			continue
		}
		if want := naive(p, f, dest); x.Way != want {
			t.Fatalf("seed %d: %s explained as %s (%s), the model says %s", seed, dest, x.Way, x.Text, want)
		}
	}
	// The outer packets never enter the tunnel, unless the server's own words say so (local).
	local := r.Redirect != nil && r.Redirect.Local && !pol.NoPull
	s := pol.Server
	if !local && !s.IsLoopback() && !s.IsLinkLocalUnicast() && !s.IsUnspecified() && !s.IsMulticast() {
		if x := Explain(p, "tun0", f, s); x.Way == WayTunnel {
			t.Fatalf("seed %d: the server %s is inside its own tunnel: %s\n%s", seed, s, x.Text, lines(p))
		}
	}
	if FullTunnel(p) {
		for _, a := range []string{"8.8.8.8", "198.18.0.1", "2606::1", "9000::1"} {
			bare := f
			bare.Routes = nil
			for _, u := range f.Routes {
				if u.Destination.IsValid() && u.Destination.Bits() == 0 {
					bare.Routes = append(bare.Routes, u)
				}
			}
			if x := Explain(p, "tun0", bare, addr(a)); x.Way == WayUnderlay {
				t.Fatalf("seed %d: %s leaves a full tunnel: %s", seed, a, x.Text)
			}
		}
	}
}

func TestEveryPlan(t *testing.T) {
	for seed := range uint64(20000) {
		checkSeed(t, seed)
	}
}

func FuzzBuild(f *testing.F) {
	f.Add(uint64(1))
	f.Add(uint64(1 << 40))
	f.Fuzz(checkSeed)
}
