package platform

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/routes"
)

// pfPacket is one that leaves the machine, or comes in.
type pfPacket struct {
	to        string // address:port; of icmp6 the address alone
	transport string // udp, tcp, icmp, icmp6
	from      int    // own port
	kind      int    // of icmp6
	root      bool   // of a socket of root
	by        string // the device; "" = en0
	in        bool
	tag       string // that it has brought along
}

// pfRule is one rule as pf.conf(5) writes it, as far as ours go.
type pfRule struct {
	drop, quick, root bool
	dir, on, family   string
	protos, to        []string
	fromPort          int
	ports             []int
	icmp              string
	tag, tagged       string
	not               bool // tagged by something else
	state             bool // it keeps none
}

// pfEngine decides as pf_test_rule of xnu's pf.c does: the rules of all anchors below com.apple, in the order of their names;
// the last that matches wins, but a quick one at once; a tag is set by each that matches.
type pfEngine struct {
	rules  []pfRule
	tables map[string][]netip.Prefix // by anchor and name
}

func newPFEngine(t *testing.T, anchors map[string]string) *pfEngine {
	t.Helper()
	e := &pfEngine{tables: map[string][]netip.Prefix{}}
	for _, name := range slices.Sorted(maps.Keys(anchors)) {
		for line := range strings.Lines(anchors[name]) {
			if err := e.add(name, strings.TrimSuffix(line, "\n")); err != nil {
				t.Fatalf("%s: %q: %v", name, line, err)
			}
		}
	}
	return e
}

// pfWords reads a rule word by word.
type pfWords []string

func (w *pfWords) next() string {
	if len(*w) == 0 {
		return ""
	}
	word := (*w)[0]
	*w = (*w)[1:]
	return word
}

func (w pfWords) peek() string {
	if len(w) == 0 {
		return ""
	}
	return w[0]
}

// list is a word, or several in braces.
func (w *pfWords) list() (out []string) {
	if w.peek() != "{" {
		return []string{w.next()}
	}
	for w.next(); w.peek() != "}" && w.peek() != ""; {
		out = append(out, w.next())
	}
	w.next()
	return out
}

// add parses in the order of pf.conf(5)'s grammar: what stands in another place is an error.
func (e *pfEngine) add(anchor, line string) error {
	w := pfWords(strings.Fields(line))
	if w.peek() == "table" {
		w.next()
		name, con := w.next(), w.next()
		if con != "const" {
			return fmt.Errorf("%q instead of const", con)
		}
		for _, p := range w.list() {
			x, err := netip.ParsePrefix(p)
			if err != nil {
				return err
			}
			e.tables[anchor+name] = append(e.tables[anchor+name], x)
		}
		return nil
	}
	r := pfRule{}
	switch action := w.next(); action {
	case "pass":
	case "block":
		if r.drop = w.next() == "drop"; !r.drop {
			return fmt.Errorf("a block that answers")
		}
	default:
		return fmt.Errorf("action %q", action)
	}
	if r.dir = w.next(); r.dir != "in" && r.dir != "out" {
		return fmt.Errorf("direction %q", r.dir)
	}
	optional := func(word string) bool {
		if w.peek() == word {
			w.next()
			return true
		}
		return false
	}
	r.quick = optional("quick")
	if optional("on") {
		r.on = w.next()
	}
	if w.peek() == "inet" || w.peek() == "inet6" {
		r.family = w.next()
	}
	if optional("proto") {
		r.protos = w.list()
	}
	if !optional("all") {
		if w.next() != "from" || w.next() != "any" {
			return fmt.Errorf("from whom?")
		}
		if optional("port") {
			r.fromPort, _ = strconv.Atoi(w.next())
		}
		if w.next() != "to" {
			return fmt.Errorf("to whom?")
		}
		for _, to := range w.list() {
			if strings.HasPrefix(to, "<") {
				if _, ok := e.tables[anchor+to]; !ok {
					return fmt.Errorf("no table %s", to)
				}
				to = anchor + to
			}
			r.to = append(r.to, to)
		}
		if optional("port") {
			for _, p := range w.list() {
				n, err := strconv.Atoi(p)
				if err != nil || len(r.protos) == 0 {
					return fmt.Errorf("port %q of %v", p, r.protos)
				}
				r.ports = append(r.ports, n)
			}
		}
	}
	for len(w) > 0 {
		switch word := w.next(); word {
		case "user":
			r.root = w.next() == "root"
		case "icmp6-type":
			if r.icmp = w.next(); r.family != "inet6" || !slices.Equal(r.protos, []string{"ipv6-icmp"}) {
				return fmt.Errorf("icmp6-type of %s %v", r.family, r.protos)
			}
		case "!":
			r.not = true
			if w.next() != "tagged" {
				return fmt.Errorf("! without tagged")
			}
			r.tagged = w.next()
		case "tagged":
			r.tagged = w.next()
		case "tag":
			r.tag = w.next()
		case "no":
			if w.next() != "state" {
				return fmt.Errorf("no what?")
			}
			r.state = true
		case "allow-opts":
		default:
			return fmt.Errorf("option %q", word)
		}
	}
	if !r.drop && !r.state {
		return fmt.Errorf("it passes with a state")
	}
	if r.root && !slices.ContainsFunc(r.protos, func(p string) bool { return p == "udp" || p == "tcp" }) {
		return fmt.Errorf("user of %v", r.protos)
	}
	e.rules = append(e.rules, r)
	return nil
}

func (p pfPacket) address() (netip.Addr, int) {
	if a, err := netip.ParseAddrPort(p.to); err == nil {
		return a.Addr(), int(a.Port())
	}
	return netip.MustParseAddr(p.to), 0
}

func (e *pfEngine) matches(r pfRule, p pfPacket, tag string) bool {
	a, port := p.address()
	by, dir := p.by, "out"
	if by == "" {
		by = "en0"
	}
	if p.in {
		dir = "in"
	}
	family := "inet6"
	if a.Is4() {
		family = "inet"
	}
	proto := map[string]string{"icmp6": "ipv6-icmp"}[p.transport]
	if proto == "" {
		proto = p.transport
	}
	kinds := map[string]int{"routersol": 133, "neighbrsol": 135, "neighbradv": 136}
	kind, ok := kinds[r.icmp]
	if !ok {
		kind, _ = strconv.Atoi(r.icmp)
	}
	to := func(x string) bool {
		if ps, ok := e.tables[x]; ok {
			return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
		}
		if x == "any" {
			return true
		}
		if n, err := netip.ParsePrefix(x); err == nil {
			return n.Contains(a)
		}
		return netip.MustParseAddr(x) == a
	}
	return r.dir == dir && (r.on == "" || r.on == by) && (r.family == "" || r.family == family) &&
		(r.protos == nil || slices.Contains(r.protos, proto)) && (r.fromPort == 0 || r.fromPort == p.from) &&
		(r.to == nil || slices.ContainsFunc(r.to, to)) && (r.ports == nil || slices.Contains(r.ports, port)) &&
		(!r.root || p.root) && (r.icmp == "" || kind == p.kind) && (r.tagged == "" || (r.tagged == tag) != r.not)
}

// passes says what becomes of p.
func (e *pfEngine) passes(p pfPacket) bool {
	tag, drop := p.tag, false
	for _, r := range e.rules {
		if !e.matches(r, p, tag) {
			continue
		}
		if r.tag != "" {
			tag = r.tag
		}
		if drop = r.drop; r.quick {
			break
		}
	}
	return !drop
}

func pfExpect(t *testing.T, f *fakeMac, when string, want bool, ps ...pfPacket) {
	t.Helper()
	e := newPFEngine(t, f.pf)
	for _, p := range ps {
		if got := e.passes(p); got != want {
			t.Errorf("%s: %+v passes: %t, want %t", when, p, got, want)
		}
	}
}

func pfUDP(to string) pfPacket  { return pfPacket{to: to, transport: "udp"} }
func pfTCP(to string) pfPacket  { return pfPacket{to: to, transport: "tcp"} }
func pfPing(to string) pfPacket { return pfPacket{to: to, transport: "icmp"} }

func ofRoot(p pfPacket) pfPacket             { p.root = true; return p }
func byDevice(p pfPacket, d string) pfPacket { p.by = d; return p }

var macFactsHome = routes.Facts{
	Routes: []routes.UnderlayRoute{
		{Destination: prefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.168.1.1"), Device: "en0"},
		{Destination: prefix("192.168.1.0/24"), Device: "en0"}, {Destination: prefix("fe80::/64"), Device: "en0"},
	},
	Addresses: []netip.Prefix{prefix("192.168.1.20/24"), prefix("fe80::20/64")},
	DNS:       []netip.Addr{netip.MustParseAddr("192.168.1.1")},
}

// The packets and states are those of the Linux guard's tests (TestGuardFull).
func TestMacGuardFull(t *testing.T) {
	f := newFakeMac()
	m := f.machine()
	m.dir = t.TempDir()
	outside := []pfPacket{pfUDP("203.0.113.5:4000"), pfTCP("203.0.113.5:443"), pfPing("203.0.113.5"), pfUDP("203.0.113.5:53"), pfUDP("[2001:db8:9::5]:4000"),
		pfTCP("[2001:db8:9::5]:443"), {to: "2001:db8:9::5", transport: "icmp6", kind: 128}, pfUDP("198.51.100.7:1194"), pfTCP("198.51.100.7:1194"),
		{to: "2001:db8:9::5", transport: "icmp6", kind: 135}, {to: "203.0.113.5:67", transport: "udp", from: 9}, byDevice(pfUDP("203.0.113.5:4000"), "utun8")}
	nearby := []pfPacket{pfUDP("192.168.1.50:4000"), pfTCP("192.168.1.50:445"), pfPing("192.168.1.1"), pfUDP("224.0.0.251:5353"), pfUDP("192.168.1.255:137"), pfUDP("[ff02::fb]:5353")}
	names := []pfPacket{pfUDP("192.168.1.1:53"), pfTCP("192.168.1.1:53"), pfUDP("192.168.1.1:853"), pfTCP("192.168.1.1:853")}
	own := []pfPacket{ofRoot(pfUDP("198.51.100.7:1194"))}
	resolver := []pfPacket{ofRoot(pfUDP("192.168.1.1:53")), ofRoot(pfTCP("192.168.1.1:53"))}
	needed := []pfPacket{{to: "192.168.1.1:67", transport: "udp", from: 68}, {to: "255.255.255.255:67", transport: "udp", from: 68},
		{to: "[fe80::1]:547", transport: "udp", from: 546}, {to: "[ff02::1:2]:547", transport: "udp", from: 546},
		{to: "ff02::2", transport: "icmp6", kind: 133}, {to: "ff02::1:ff00:1", transport: "icmp6", kind: 135}, {to: "fe80::1", transport: "icmp6", kind: 136}, {to: "ff02::16", transport: "icmp6", kind: 143}}
	inside := []pfPacket{byDevice(pfUDP("127.0.0.1:53"), "lo0"), byDevice(pfTCP("[::1]:443"), "lo0"), byDevice(pfUDP("203.0.113.5:53"), "utun4"), byDevice(pfTCP("[2001:db8:9::5]:443"), "utun4")}
	for _, ps := range [][]pfPacket{outside, nearby, names, own, resolver, needed, inside} {
		pfExpect(t, f, "without a guard", true, ps...)
	}
	if _, _, err := m.openTUN("", 1500); err != nil { // utun4
		t.Fatal(err)
	}
	policy := routes.GuardPolicy{On: true, Outer: []routes.Endpoint{{Address: netip.MustParseAddr("198.51.100.7"), Port: 1194, Transport: "udp"}}}
	shut := func(old routes.Guard, p routes.GuardPolicy, web ...netip.Prefix) routes.Guard {
		t.Helper()
		g := routes.Shut(old, macFactsHome, p, web).Guard
		if err := m.closeGuard("one", g); err != nil {
			t.Fatal(err)
		}
		return g
	}
	g := shut(routes.Everything(), policy)
	pfExpect(t, f, "full", false, append(outside, names...)...)
	pfExpect(t, f, "full", true, slices.Concat(nearby, own, resolver, needed, inside)...)
	pfExpect(t, f, "full, another port", false, ofRoot(pfUDP("198.51.100.7:1195")), ofRoot(pfTCP("198.51.100.7:1194")), ofRoot(pfUDP("203.0.113.5:53")),
		pfPacket{to: "203.0.113.5:4000", transport: "udp", tag: tagFine}, pfPacket{to: "203.0.113.5:4000", transport: "udp", tag: tagIn})

	forbids := policy
	forbids.ForbidLocal = true
	shut(g, forbids)
	pfExpect(t, f, "without local networks", false, slices.Concat(outside, names, nearby)...)
	pfExpect(t, f, "without local networks", true, slices.Concat(own, needed, inside)...)

	shut(g, policy, prefix("0.0.0.0/0"), prefix("::/0"))
	pfExpect(t, f, "during a sign-in", true, append(names, pfTCP("203.0.113.5:443"), pfTCP("203.0.113.5:80"), pfTCP("[2001:db8:9::5]:443"))...)
	pfExpect(t, f, "during a sign-in", false, pfUDP("203.0.113.5:443"), pfTCP("203.0.113.5:22"), pfUDP("203.0.113.5:53"), pfTCP("203.0.113.5:53"))

	shut(g, policy, prefix("203.0.113.5/32"))
	pfExpect(t, f, "during a sign-in at one host", true, pfTCP("203.0.113.5:443"), names[0])
	pfExpect(t, f, "during a sign-in at one host", false, pfTCP("203.0.113.6:443"), pfTCP("[2001:db8:9::5]:443"))

	if did, err := m.openGuard("one"); err != nil || !did {
		t.Fatal(did, err)
	}
	for _, ps := range [][]pfPacket{outside, nearby, names, own, resolver, needed, inside} {
		pfExpect(t, f, "after", true, ps...)
	}
}

// TestGuardSplit's: what belongs into the tunnel does not leave beside it; two tunnels' guards stand beside each other.
func TestMacGuardSplit(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	split := func(name, closed, server string) *macMachine {
		t.Helper()
		m := f.machine()
		m.dir = dir
		if _, _, err := m.openTUN("", 1500); err != nil {
			t.Fatal(err)
		}
		var g routes.Guard
		for _, c := range strings.Fields(closed) {
			g.Closed = append(g.Closed, prefix(c))
		}
		p := routes.GuardPolicy{On: true, Outer: []routes.Endpoint{{Address: netip.MustParseAddr(server), Transport: "tcp"}}}
		if err := m.closeGuard(name, routes.Shut(g, macFactsHome, p, nil).Guard); err != nil {
			t.Fatal(err)
		}
		return m
	}
	// The full one's name comes first and last among the anchors: order is no matter.
	for _, full := range []string{"0full", "z-full"} {
		a := split("a", "10.0.0.0/8 10.1.0.0/16 172.16.0.0/13 172.24.0.0/13 fd00::/8", "198.51.100.7")
		pfExpect(t, f, "split", false, pfUDP("10.2.3.4:4000"), pfTCP("10.1.0.1:443"), pfPing("10.255.255.255"), pfUDP("172.16.0.1:9"), pfUDP("172.31.255.1:9"), pfUDP("[fd12::1]:9"))
		pfExpect(t, f, "split", true, pfUDP("203.0.113.5:4000"), pfUDP("192.168.1.1:53"), pfTCP("[2001:db8:9::5]:443"), pfUDP("9.255.255.1:9"), pfUDP("11.0.0.1:9"), pfUDP("172.32.0.1:9"), pfUDP("172.15.0.1:9"), pfTCP("198.51.100.7:5"))
		b := split(full, "0.0.0.0/0 ::/0", "198.51.100.8")
		tunnels := []pfPacket{byDevice(pfUDP("10.2.3.4:4000"), a.device()), byDevice(pfUDP("10.2.3.4:4000"), b.device())}
		pfExpect(t, f, "beside a full one", false, pfUDP("203.0.113.5:4000"), pfTCP("198.51.100.7:443"), ofRoot(pfUDP("198.51.100.8:443")), pfUDP("10.2.3.4:4000"))
		pfExpect(t, f, "beside a full one", true, append(tunnels, ofRoot(pfTCP("198.51.100.7:443")), ofRoot(pfTCP("198.51.100.8:443")))...)
		pfExpect(t, f, "beside a full one, nearby", true, pfUDP("192.168.1.50:4000"))
		if _, err := b.openGuard(full); err != nil {
			t.Fatal(err)
		}
		pfExpect(t, f, "after the full one", true, pfUDP("203.0.113.5:4000"))
		pfExpect(t, f, "after the full one", false, pfUDP("10.2.3.4:4000"))
		if _, err := a.openGuard("a"); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.pf) > 0 || f.enabled {
		t.Errorf("left: %v, enabled %t", f.pf, f.enabled)
	}
}

// What the server leads around stays open for all, names at the local network do not, and block-outside-dns holds in a split tunnel.
func TestMacGuardNames(t *testing.T) {
	f := newFakeMac()
	m := f.machine()
	m.dir = t.TempDir()
	g := routes.Guard{Closed: []netip.Prefix{prefix("10.0.0.0/8")}, Past: []netip.Prefix{prefix("192.0.2.0/24")}, Local: []netip.Prefix{prefix("192.168.1.0/24")}, DNS: true}
	if err := m.closeGuard("one", g); err != nil {
		t.Fatal(err)
	}
	pfExpect(t, f, "block-outside-dns", false, pfUDP("203.0.113.5:53"), pfTCP("203.0.113.5:853"), pfUDP("192.168.1.1:53"), pfUDP("10.1.0.1:80"))
	pfExpect(t, f, "block-outside-dns", true, pfUDP("203.0.113.5:443"), pfUDP("192.0.2.1:53"), pfUDP("192.168.1.1:80"), byDevice(pfUDP("127.0.0.1:53"), "lo0"))
}

// Packets to the tunnel's address come in by the tunnel only, or from the machine itself (CVE-2019-14899).
func TestMacGuardInside(t *testing.T) {
	f := newFakeMac()
	m := f.machine()
	m.dir = t.TempDir()
	if _, _, err := m.openTUN("", 1500); err != nil { // utun4
		t.Fatal(err)
	}
	in := func(to, by string) pfPacket { return pfPacket{to: to, transport: "tcp", by: by, in: true} }
	g := macFull().Guard
	if err := m.closeGuard("one", g); err != nil {
		t.Fatal(err)
	}
	pfExpect(t, f, "inside", false, in("10.8.0.2:22", "en0"), in("[fd00:8::2]:22", "utun9"))
	pfExpect(t, f, "inside", true, in("10.8.0.2:22", "utun4"), in("[fd00:8::2]:22", "lo0"), in("192.168.1.20:22", "en0"))
}
