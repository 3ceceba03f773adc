package wfp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/adit-vpn/adit/routes"
)

const (
	aditd   = `C:\Program Files\Adit\aditd.exe`
	service = "S-1-5-80-1-2-3-4-5"
	person  = "S-1-5-21-1-2-3-1001"
	wifi    = 0x47000001000000 // LUIDs
	tunnel  = 0x35000001000000
	tunnel2 = 0x35000002000000
)

// firewall is one of a service whose journals are in dir.
func firewall(m *memory, dir string) *Firewall {
	return &Firewall{engine: m, config: Config{Dir: dir, Service: "aditd", App: aditd, User: service}}
}

// facts are a machine's in a network with a router of both families.
func facts() routes.Facts {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	return routes.Facts{
		Routes: []routes.UnderlayRoute{{Destination: p("0.0.0.0/0"), Gateway: a("192.168.1.1")}, {Destination: p("192.168.1.0/24")},
			{Destination: p("::/0"), Gateway: a("fe80::1")}, {Destination: p("2001:db8:1::/64")}, {Destination: p("fe80::/64")}},
		Addresses: []netip.Prefix{p("192.168.1.20/24"), p("2001:db8:1::20/64"), p("fe80::20/64")},
		DNS:       []netip.Addr{a("192.168.1.1")},
	}
}

// probe is a packet of a program of some person to to, an address with or without port.
func probe(transport uint64, to string) packet {
	p := packet{program: `C:\Windows\System32\curl.exe`, users: []string{person}, protocol: transport, own: 50000, device: wifi}
	if ap, err := netip.ParseAddrPort(to); err == nil {
		p.remote, p.port = ap.Addr(), uint64(ap.Port())
	} else {
		p.remote = netip.MustParseAddr(to)
	}
	if p.remote.Is6() {
		p.at = connect6
	}
	return p
}

func probeUDP(to string) packet { return probe(udp, to) }
func probeTCP(to string) packet { return probe(tcp, to) }

func probePing(to string) packet {
	p := probe(1, to)
	p.own = 8
	if p.remote.Is6() {
		p.protocol, p.own = icmp6, 128
	}
	return p
}

// probeICMP6 is a packet that the system sends by itself.
func probeICMP6(kind uint64, to string) packet {
	p := probe(icmp6, to)
	p.program, p.own = "System", kind
	return p
}

func ours(p packet) packet { p.program, p.users = aditd, []string{"S-1-5-18", service}; return p }

// otherwise are the same packets as replies to what others began.
func accepted(ps ...packet) (out []packet) {
	for _, p := range ps {
		p.at += accept4 - connect4
		out = append(out, p)
	}
	return out
}

// forwarded are the same packets as a guest's, which the machine passes on.
func forwarded(ps ...packet) (out []packet) {
	for _, p := range ps {
		out = append(out, packet{at: p.at + forward4 - connect4, remote: p.remote, device: p.device})
	}
	return out
}

func by(device uint64, ps ...packet) (out []packet) {
	for _, p := range ps {
		p.device = device
		out = append(out, p)
	}
	return out
}

func atStart(ps ...packet) (out []packet) {
	for _, p := range ps {
		p.starting = true
		out = append(out, p)
	}
	return out
}

func (p packet) String() string {
	return fmt.Sprintf("%s of %q: protocol %d, port %d, to %s port %d by %#x", layerNames[p.at], p.program, p.protocol, p.own, p.remote, p.port, p.device)
}

// expect asks about each packet.
func (m *memory) expect(when string, want bool, ps ...packet) {
	m.t.Helper()
	for _, p := range ps {
		if got := m.passes(p); got != want {
			m.t.Errorf("%s: %v passes: %t, want %t", when, p, got, want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The packets of the Linux guard's tests (platform/guard_linux_test.go), and what Windows has besides.
var (
	outside = []packet{probeUDP("203.0.113.5:4000"), probeTCP("203.0.113.5:443"), probePing("203.0.113.5"), probeUDP("203.0.113.5:53"),
		probeUDP("[2001:db8:9::5]:4000"), probeTCP("[2001:db8:9::5]:443"), probePing("2001:db8:9::5"), probeUDP("198.51.100.7:1194"), probeTCP("198.51.100.7:1194")}
	near     = []packet{probeUDP("192.168.1.50:4000"), probeTCP("192.168.1.50:445"), probePing("192.168.1.1"), probeUDP("224.0.0.251:5353"), probeUDP("192.168.1.255:137")}
	asked    = []packet{probeUDP("192.168.1.1:53"), probeTCP("192.168.1.1:53"), probeUDP("192.168.1.1:853"), probeTCP("192.168.1.1:853")}
	toServer = []packet{ours(probeUDP("198.51.100.7:1194"))}
	resolver = []packet{ours(probeUDP("192.168.1.1:53")), ours(probeTCP("192.168.1.1:53"))}
	inside   = []packet{{at: inbound4, local: netip.MustParseAddr("10.64.0.2"), device: wifi}}
)

// lease are the system's questions for an address, and the answers.
func lease() []packet {
	from := func(p packet, own uint64) packet { p.own = own; return p }
	ps := []packet{from(probeUDP("255.255.255.255:67"), 68), from(probeUDP("[fe80::1]:547"), 546), from(probeUDP("[ff02::1:2]:547"), 546)}
	return append(ps, accepted(from(probeUDP("192.168.1.1:67"), 68), from(probeUDP("[fe80::1]:547"), 546))...)
}

// neighbourhood is how IPv6 finds routers and neighbours.
func neighbourhood() []packet {
	ps := []packet{probeICMP6(133, "ff02::2"), probeICMP6(135, "ff02::1:ff00:1"), probeICMP6(135, "2001:db8:1::1"), probeICMP6(136, "fe80::1"), probeICMP6(143, "ff02::16"), probeICMP6(131, "ff02::fb")}
	return append(ps, accepted(probeICMP6(134, "fe80::1"), probeICMP6(135, "2001:db8:1::1"), probeICMP6(136, "2001:db8:1::1"), probeICMP6(130, "fe80::1"))...)
}

// looped are packets within the machine.
func looped() []packet {
	p, q := probeTCP("127.0.0.1:35001"), probeTCP("[::1]:8080")
	p.loopback, q.loopback = true, true
	return append([]packet{p, q}, accepted(p, q)...)
}

// TestGuardFull: nothing passes beside a full tunnel but what its guard names, whatever the routes say.
func TestGuardFull(t *testing.T) {
	m := newMemory(t)
	f := firewall(m, "d")
	policy := routes.GuardPolicy{On: true, Outer: []routes.Endpoint{{Address: netip.MustParseAddr("198.51.100.7"), Port: 1194, Transport: "udp"}}}
	all := slices.Concat(outside, near, asked, toServer, resolver, lease(), neighbourhood(), looped(), inside)
	m.expect("without a guard", true, all...)
	m.expect("without a guard", true, accepted(outside...)...)
	m.expect("without a guard", true, forwarded(outside...)...)
	shut := func(old routes.Guard, p routes.GuardPolicy, web ...netip.Prefix) routes.Guard {
		t.Helper()
		plan := routes.Shut(old, facts(), p, web)
		plan.Guard.Inside = []netip.Addr{netip.MustParseAddr("10.64.0.2"), netip.MustParseAddr("fd00::2")}
		must(t, f.Shut("one", plan.Guard, tunnel))
		return plan.Guard
	}
	g := shut(routes.Everything(), policy)
	always := slices.Concat(lease(), neighbourhood(), looped(), toServer, accepted(toServer...), resolver, by(tunnel, outside...), by(tunnel, accepted(outside...)...), by(tunnel, forwarded(outside...)...), by(tunnel, inside...))
	never := slices.Concat(outside, accepted(outside...), forwarded(outside...), asked, inside)
	m.expect("full", false, never...)
	m.expect("full", true, slices.Concat(always, near, accepted(near...), forwarded(near[:2]...))...)
	m.expect("full: guests and the resolver", false, forwarded(asked...)...)
	local := inside[0]
	local.loopback = true
	m.expect("full: to the tunnel's own address within the machine", true, local)
	m.expect("full, another port", false, ours(probeUDP("198.51.100.7:1195")), ours(probeTCP("198.51.100.7:1194")), ours(probeUDP("203.0.113.5:53")), ours(probeUDP("198.51.100.8:1194")))
	stranger, copied := ours(probeUDP("198.51.100.7:1194")), ours(probeUDP("198.51.100.7:1194"))
	stranger.users, copied.program = []string{person}, `C:\Users\p\aditd.exe`
	m.expect("full: the program as somebody else, another one as the service", false, stranger, copied)
	m.expect("full: ICMPv6 of programs", false, probeICMP6(128, "2001:db8:9::5"), probeICMP6(133, "2001:db8:9::5"), probeICMP6(143, "2001:db8:9::5"))
	unicast := probeUDP("203.0.113.67:67")
	unicast.own = 68
	m.expect("full: anything that calls itself DHCP", false, unicast)

	forbids := policy
	forbids.ForbidLocal = true
	shut(g, forbids)
	m.expect("without local networks", false, slices.Concat(never, near, accepted(near...), forwarded(near...))...)
	m.expect("without local networks", true, always...)

	shut(g, policy, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))
	m.expect("during a sign-in", true, append(asked, probeTCP("203.0.113.5:443"), probeTCP("203.0.113.5:80"), probeTCP("[2001:db8:9::5]:443"))...)
	m.expect("during a sign-in", false, probeUDP("203.0.113.5:443"), probeTCP("203.0.113.5:22"), probeUDP("203.0.113.5:53"), probeTCP("203.0.113.5:53"))
	m.expect("during a sign-in: what others begin, and guests", false, append(accepted(probeTCP("203.0.113.5:443")), forwarded(probeTCP("203.0.113.5:443"))...)...)
	m.expect("during a sign-in", true, always...)

	shut(g, policy, netip.MustParsePrefix("203.0.113.5/32"))
	m.expect("during a sign-in at one host", true, probeTCP("203.0.113.5:443"), asked[0])
	m.expect("during a sign-in at one host", false, probeTCP("203.0.113.6:443"), probeTCP("[2001:db8:9::5]:443"))

	around := g
	around.Past = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	must(t, f.Shut("one", around, tunnel))
	m.expect("with a way around", true, slices.Concat(outside[:4], accepted(outside[:4]...), forwarded(outside[:4]...))...)
	m.expect("with a way around", false, append(outside[4:], asked...)...)

	did, err := f.Open("one")
	if must(t, err); !did {
		t.Error("there was a guard")
	}
	m.expect("after", true, all...)
	if m.provider != "" || len(m.subs)+len(m.set) > 0 {
		t.Errorf("left: %q %v %v", m.provider, m.subs, m.set)
	}
	if did, err := f.Open("one"); did || err != nil {
		t.Errorf("opened again: %t, %v", did, err)
	}
}

// TestGuardSplit: what belongs into the tunnel does not pass beside it, and the rest does; two tunnels' guards stand
// beside each other, with the ways of both open.
func TestGuardSplit(t *testing.T) {
	m := newMemory(t)
	split := func(name, server string, tunnel uint64, forbid bool, closed ...string) *Firewall {
		t.Helper()
		var g routes.Guard
		for _, c := range closed {
			g.Closed = append(g.Closed, netip.MustParsePrefix(c))
		}
		g.DNS = g.Full()
		p := routes.GuardPolicy{On: true, ForbidLocal: forbid, Outer: []routes.Endpoint{{Address: netip.MustParseAddr(server), Transport: "tcp"}}}
		f := firewall(m, "d") // each Host has one
		must(t, f.Shut(name, routes.Shut(g, facts(), p, nil).Guard, tunnel))
		return f
	}
	a := split("a", "198.51.100.7", tunnel, false, "10.0.0.0/8", "10.1.0.0/16", "172.16.0.0/13", "172.24.0.0/13", "fd00::/8")
	belongs := []packet{probeUDP("10.2.3.4:4000"), probeTCP("10.1.0.1:443"), probePing("10.255.255.255"), probeUDP("172.16.0.1:9"), probeUDP("172.31.255.1:9"), probeUDP("[fd12::1]:9")}
	rest := []packet{probeUDP("203.0.113.5:4000"), probeUDP("192.168.1.1:53"), probeTCP("[2001:db8:9::5]:443"), probeUDP("9.255.255.1:9"), probeUDP("11.0.0.1:9"), probeUDP("172.32.0.1:9"), probeUDP("172.15.0.1:9"), probeTCP("198.51.100.7:5")}
	m.expect("split", false, slices.Concat(belongs, accepted(belongs...), forwarded(belongs...))...)
	m.expect("split", true, slices.Concat(rest, accepted(rest...), forwarded(rest...), by(tunnel, belongs...))...)

	b := split("b", "198.51.100.8", tunnel2, true, "0.0.0.0/0", "::/0")
	m.expect("beside a full one", false, probeUDP("203.0.113.5:4000"), probeTCP("198.51.100.7:443"), ours(probeUDP("198.51.100.8:443")), ours(probeTCP("198.51.100.9:443")))
	m.expect("beside a full one", true, ours(probeTCP("198.51.100.7:443")), ours(probeTCP("198.51.100.8:443")))
	m.expect("beside a full one: into either tunnel", true, append(by(tunnel, belongs...), by(tunnel2, rest...)...)...)
	m.expect("beside a full one: passed on into either tunnel", true, append(by(tunnel, forwarded(belongs...)...), by(tunnel2, forwarded(rest...)...)...)...)
	m.expect("beside one that forbids local networks", false, near...) // which the other permits

	// A tunnel whose own guard closes nothing announces itself, and is heard by guards that are closed later, too.
	c := firewall(m, "d")
	loud := routes.Guard{Outer: []routes.Endpoint{{Address: netip.MustParseAddr("198.51.100.9"), Port: 443, Transport: "tcp"}}}
	must(t, c.Shut("c", loud, 0x35000003000000))
	m.expect("with a third that closes nothing", true, append(by(0x35000003000000, rest...), ours(probeTCP("198.51.100.9:443")))...)
	m.expect("with a third that closes nothing", false, probeTCP("198.51.100.9:443"), rest[0], belongs[0])
	_, err := b.Open("b")
	must(t, err)
	m.expect("after the full one", true, rest...)
	m.expect("after the full one", false, belongs...)
	split("b", "198.51.100.8", tunnel2, true, "0.0.0.0/0", "::/0")
	m.expect("with the full one again", true, append(by(0x35000003000000, rest...), ours(probeTCP("198.51.100.9:443")), ours(probeTCP("198.51.100.7:443")))...)
	_, err = c.Open("c")
	must(t, err)
	m.expect("after the third", false, append(by(0x35000003000000, rest...), ours(probeTCP("198.51.100.9:443")))...)
	_, err = a.Open("a")
	must(t, err)
	m.expect("after the first", false, append(by(tunnel, belongs...), ours(probeTCP("198.51.100.7:443")))...)
	_, err = b.Open("b")
	must(t, err)
	if m.provider != "" || len(m.subs)+len(m.set) > 0 {
		t.Errorf("left: %q %v %v", m.provider, m.subs, m.set)
	}
}

// TestGuardAtStart: a guard that closes everything is closed while the system starts, before the filtering engine's service
// runs, and as it was from then on; one that closes networks begins there.
func TestGuardAtStart(t *testing.T) {
	m := newMemory(t)
	f := firewall(m, "d")
	policy := routes.GuardPolicy{On: true, Lockdown: true, Outer: []routes.Endpoint{{Address: netip.MustParseAddr("198.51.100.7"), Port: 1194, Transport: "udp"}}}
	must(t, f.Shut("one", routes.Shut(routes.Guard{}, facts(), policy, nil).Guard, 0))
	m.expect("while the system starts", false, atStart(slices.Concat(outside, near, asked, toServer, accepted(outside...), forwarded(outside...))...)...)
	m.expect("while the system starts", true, atStart(slices.Concat(lease(), neighbourhood(), looped())...)...)
	m.expect("then", false, outside...)
	m.expect("then", true, append(near, toServer...)...)
	must(t, f.Shut("one", routes.Guard{Closed: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}, 0))
	m.expect("with IPv4 closed", false, atStart(probeUDP("203.0.113.5:4000"))...)
	m.expect("with IPv4 closed", true, atStart(probeUDP("[2001:db8:9::5]:4000"))...)
	must(t, f.Shut("one", routes.Guard{Closed: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, 0))
	m.expect("with a network closed", true, atStart(append(outside, probeUDP("10.1.1.1:9"))...)...)
	m.expect("with a network closed, then", false, probeUDP("10.1.1.1:9"))
}
