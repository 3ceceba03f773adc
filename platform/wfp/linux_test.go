package wfp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/adit-vpn/adit/routes"
)

// host is one tunnel of TestAsOnLinux.
type host struct {
	name   string
	guard  routes.Guard
	tunnel uint64
}

// leaves says what the guards of Linux do with a packet of this machine (platform/guard_linux.go): the service's own to its
// server passes all, any other one what each guard accepts.
func leaves(hosts []host, p packet) bool {
	mine := p.program == aditd && slices.Contains(p.users, service)
	transport := map[uint64]string{udp: "udp", tcp: "tcp"}[p.protocol]
	device := p.loopback
	for _, h := range hosts {
		device = device || p.device == h.tunnel && h.tunnel != 0
		for _, e := range h.guard.Outer {
			if mine && e.Address == p.remote && e.Transport == transport && (e.Port == 0 || uint64(e.Port) == p.port) {
				return true
			}
		}
		if mine && transport != "" && p.port == 53 && slices.Contains(h.guard.Resolvers, p.remote) {
			return true
		}
	}
	return device || !slices.ContainsFunc(hosts, func(h host) bool { return len(h.guard.Closed) > 0 && !accepts(h.guard, p) })
}

// accepts is the chain "decide", from DHCP on.
func accepts(g routes.Guard, p packet) bool {
	in := func(ps []netip.Prefix) bool {
		return slices.ContainsFunc(ps, func(n netip.Prefix) bool { return n.Contains(p.remote) })
	}
	carries := p.protocol == udp || p.protocol == tcp
	name := carries && (p.port == 53 || p.port == 853)
	linkLocal := in([]netip.Prefix{netip.MustParsePrefix("fe80::/10")})
	group := in([]netip.Prefix{netip.MustParsePrefix("ff02::/16")})
	switch {
	case p.protocol == udp && p.own == 68 && p.port == 67 && p.remote == netip.MustParseAddr("255.255.255.255"): // on Linux any address
		return true
	case p.protocol == udp && p.own == 546 && p.port == 547 && (linkLocal || p.remote == netip.MustParseAddr("ff02::1:2") || p.remote == netip.MustParseAddr("ff05::1:3")):
		return true
	case p.protocol == icmp6 && p.own == 133 && (linkLocal || p.remote == netip.MustParseAddr("ff02::2")): // on Linux by its hop limit
		return true
	case p.protocol == icmp6 && (p.own == 135 || p.own == 136):
		return true
	case p.protocol == icmp6 && (p.own == 131 || p.own == 132 || p.own == 143) && group:
		return true
	case in(g.Past):
		return true
	case len(g.Web) > 0 && name && slices.Contains(g.Resolvers, p.remote):
		return true
	case in(g.Web) && p.protocol == tcp && (p.port == 80 || p.port == 443):
		return true
	case g.DNS && name:
		return false
	case in(g.Local):
		return true
	}
	return !in(g.Closed)
}

// TestAsOnLinux: for guards of one to three tunnels made at random, packets pass as they do on Linux.
func TestAsOnLinux(t *testing.T) {
	var passed, stopped int
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		some := func(n int, what ...string) (out []netip.Prefix) {
			for range r.IntN(n + 1) {
				p := netip.MustParsePrefix(what[r.IntN(len(what))])
				if !slices.Contains(out, p) {
					out = append(out, p)
				}
			}
			return out
		}
		nets := []string{"0.0.0.0/0", "::/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.168.0.0/16", "192.168.1.0/24", "198.51.100.0/24", "203.0.113.5/32",
			"fd00::/8", "2001:db8::/32", "fe80::/64", "ff02::/16", "224.0.0.0/24", "255.255.255.255/32"}
		addrs := []string{"10.1.2.3", "10.2.0.1", "192.168.1.1", "192.168.1.50", "192.168.7.7", "198.51.100.7", "203.0.113.5", "8.8.8.8", "224.0.0.251", "255.255.255.255",
			"fd00::1", "2001:db8::5", "fe80::1", "ff02::2", "ff02::1:2", "ff02::16", "ff05::1:3", "2a00::1"}
		addr := func() netip.Addr { return netip.MustParseAddr(addrs[r.IntN(len(addrs))]) }
		port := func() uint64 { return []uint64{53, 853, 80, 443, 1194, 67, 547, 4000}[r.IntN(8)] }
		m := newMemory(t)
		var hosts []host
		for i := range 1 + r.IntN(3) {
			h := host{name: fmt.Sprint(i), tunnel: uint64(r.IntN(2)) * (tunnel + uint64(i)),
				guard: routes.Guard{Closed: some(3, nets...), Past: some(2, nets...), Local: some(3, nets...), Web: some(1, nets...), DNS: r.IntN(2) == 0}}
			for range r.IntN(3) {
				h.guard.Outer = append(h.guard.Outer, routes.Endpoint{Address: addr(), Port: uint16(port()) * uint16(r.IntN(2)), Transport: []string{"udp", "tcp"}[r.IntN(2)]})
				h.guard.Resolvers = append(h.guard.Resolvers, addr())
			}
			hosts = append(hosts, h)
		}
		for range 3 { // in any order, and again
			for _, i := range r.Perm(len(hosts)) {
				must(t, firewall(m, "d").Shut(hosts[i].name, hosts[i].guard, hosts[i].tunnel))
			}
		}
		for range 400 {
			p := packet{remote: addr(), protocol: []uint64{udp, tcp, icmp6, 1, 47}[r.IntN(5)], port: port(), own: 50000, program: `C:\x.exe`, users: []string{person}, device: wifi}
			if p.remote.Is6() {
				p.at = connect6
			}
			switch {
			case p.protocol == icmp6:
				p.own, p.port = []uint64{128, 131, 132, 133, 134, 135, 136, 137, 143}[r.IntN(9)], 0
				if !p.remote.Is6() {
					continue
				}
			case r.IntN(4) == 0:
				p.own = []uint64{68, 546}[r.IntN(2)]
			}
			if r.IntN(3) == 0 {
				p = ours(p)
			}
			if r.IntN(5) == 0 {
				p.device = tunnel + uint64(r.IntN(3))
			}
			p.loopback = r.IntN(20) == 0
			got, want := m.passes(p), leaves(hosts, p)
			if got != want {
				t.Fatalf("seed %d: %v of %v passes: %t, on Linux %t; guards %+v", seed, p, p.users, got, want, hosts)
			}
			if got {
				passed++
			} else {
				stopped++
			}
		}
	}
	if passed < 5000 || stopped < 5000 {
		t.Errorf("%d packets passed and %d were stopped: that proves little", passed, stopped)
	}
}
