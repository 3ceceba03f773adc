package wfp

import (
	"errors"
	"flag"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/routes"
)

var update = flag.Bool("update", false, "write the goldens of testdata anew, to be read before they are committed")

// TestOperations: each state of a connection in the exact calls of the filtering engine (testdata/states.txt).
func TestOperations(t *testing.T) {
	m := newMemory(t)
	f := firewall(m, `C:\ProgramData\Adit\run`)
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	outer := func(port uint16) []routes.Endpoint {
		return []routes.Endpoint{{Address: a("198.51.100.7"), Port: port, Transport: "udp"}, {Address: a("2001:db8:77::7"), Transport: "tcp"}}
	}
	policy := routes.GuardPolicy{On: true, Outer: outer(1194)}
	split := routes.Shut(routes.Guard{Closed: []netip.Prefix{p("10.0.0.0/8"), p("fd00::/8")}}, facts(), policy, nil).Guard
	split.Inside = []netip.Addr{a("10.64.0.2")}
	full := routes.Shut(routes.Everything(), facts(), policy, nil).Guard
	full.Past, full.Inside = []netip.Prefix{p("203.0.113.0/24")}, []netip.Addr{a("10.64.0.2")}
	lockdown := policy
	lockdown.Lockdown, lockdown.ForbidLocal, lockdown.Outer = true, true, nil

	var out strings.Builder
	step := func(what string, do func() error) {
		t.Helper()
		must(t, do())
		out.WriteString("# " + what + "\n" + m.took() + "\n\n")
	}
	shut := func(g routes.Guard, tunnel uint64) func() error {
		return func() error { return f.Shut("corp", g, tunnel) }
	}
	step("split, connected", shut(split, tunnel))
	step("the same again", shut(split, tunnel))
	again := split
	again.Outer = outer(443)
	step("connecting anew, to another port", shut(again, tunnel))
	step("full, connected", shut(full, tunnel))
	web := full
	web.Web = []netip.Prefix{p("0.0.0.0/0"), p("203.0.113.80/32")}
	step("sign-in, with web pages", shut(web, tunnel))
	step("lockdown, not connected, without local networks", shut(routes.Shut(routes.Guard{}, facts(), lockdown, nil).Guard, 0))
	step("another tunnel announces itself", func() error {
		return firewall(m, `C:\ProgramData\Adit\run`).Shut("home", routes.Guard{Outer: outer(1195)[:1], Resolvers: []netip.Addr{a("192.168.1.1")}}, tunnel2)
	})
	step("open", func() error { _, err := f.Open("corp"); return err })
	step("the other, too", func() error { _, err := f.Open("home"); return err })

	const file = "testdata/states.txt"
	if *update {
		must(t, os.WriteFile(file, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if got := out.String(); got != string(want) {
		t.Errorf("%s differs (go test -run TestOperations -update, then look at it):\n%s", file, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer"
}

// somewhat is a guard with something of everything.
func somewhat() routes.Guard {
	g := routes.Shut(routes.Everything(), facts(), routes.GuardPolicy{On: true, Outer: []routes.Endpoint{{Address: netip.MustParseAddr("198.51.100.7"), Port: 1194, Transport: "udp"}}}, nil).Guard
	g.Inside = []netip.Addr{netip.MustParseAddr("10.64.0.2")}
	return g
}

// TestCrash: what a run closed stays closed after it, has its name, and opens for the next run; runs with journals elsewhere do not
// touch it.
func TestCrash(t *testing.T) {
	m := newMemory(t)
	must(t, firewall(m, "d").Shut("one", somewhat(), tunnel))
	must(t, firewall(m, "d").Shut("two", routes.Guard{Closed: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, 0))
	must(t, firewall(m, "elsewhere").Shut("one", routes.Guard{Closed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, 0))
	m.expect("after the crash", false, outside...)
	next := firewall(m, "d")
	names, err := next.Names()
	if must(t, err); !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("names: %q", names)
	}
	must(t, next.Shut("one", somewhat(), tunnel2)) // taken over
	m.expect("taken over", false, by(tunnel, outside...)...)
	m.expect("taken over", true, by(tunnel2, outside...)...)
	for _, name := range names {
		did, err := next.Open(name)
		if must(t, err); !did {
			t.Errorf("%s was not there", name)
		}
	}
	m.expect("after clean-up", true, append(outside, probeTCP("10.1.1.1:9"))...)
	m.expect("after clean-up, the other service's", false, probeTCP("192.0.2.1:443"))
	if names, err := next.Names(); err != nil || len(names) > 0 {
		t.Errorf("names after clean-up: %q, %v", names, err)
	}
	if m.provider != "aditd" {
		t.Errorf("the provider of the other service's guard: %q", m.provider)
	}
}

// TestAtomic: whatever call fails, what was there stays, whole; and the next time does it.
func TestAtomic(t *testing.T) {
	m := newMemory(t)
	f := firewall(m, "d")
	must(t, f.Shut("one", somewhat(), tunnel))
	other := routes.Guard{Closed: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	m.took()
	must(t, f.Shut("one", other, 0))
	calls := strings.Split(m.took(), "\n")
	must(t, f.Shut("one", somewhat(), tunnel))
	before := maps.Clone(m.set)
	m.took()
	for _, call := range calls[:len(calls)-1] { // but for the end of the session
		boom := errors.New("boom")
		m.fail = map[string]error{call: boom}
		if err := f.Shut("one", other, 0); !errors.Is(err, boom) {
			t.Errorf("with %q failing: %v", call, err)
		}
		if !maps.EqualFunc(before, m.set, func(a, b filter) bool { return a.key() == b.key() }) {
			t.Fatalf("%q failed, and something changed", call)
		}
		if log := m.took(); !strings.HasSuffix(log, "close: aborted") || strings.Count(log, "\nclose") != 1 {
			t.Fatalf("%q failed, and then:\n%s", call, log)
		}
	}
	m.fail = nil
	m.expect("after all failures", false, outside...)
	did, err := f.Open("one")
	if must(t, err); !did {
		t.Error("it was not there")
	}
	m.fail = map[string]error{"open": code(errNoServer)}
	err = f.Shut("one", other, 0)
	if err == nil || !strings.Contains(err.Error(), "start the service BFE") {
		t.Errorf("without the engine's service: %v", err)
	}
	if did, err := f.Open("one"); did || err == nil {
		t.Errorf("opened without the engine's service: %t, %v", did, err)
	}
	if names, err := f.Names(); len(names) > 0 || err != nil {
		t.Errorf("names without the engine's service: %q, %v", names, err)
	}
	m.fail = map[string]error{"open": code(errDenied)}
	if _, err := f.Names(); err == nil || !strings.Contains(err.Error(), "needs an administrator") {
		t.Errorf("names for a person: %v", err)
	}
}

// TestBusy: other programs' transactions are waited for, but not forever.
func TestBusy(t *testing.T) {
	m := newMemory(t)
	f := firewall(m, "d")
	m.busy = tries - 1
	must(t, f.Shut("one", somewhat(), tunnel))
	m.busy = tries
	if did, err := f.Open("one"); did || !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "another program") {
		t.Errorf("busy: %t, %v", did, err)
	}
	m.expect("busy", false, outside...)
	if m.busy != 0 {
		t.Errorf("%d tries left", m.busy)
	}
}

// TestRestores: what somebody took away, also whole, comes back with the next call, and strangers under our provider go.
func TestRestores(t *testing.T) {
	m := newMemory(t)
	f := firewall(m, "d")
	must(t, f.Shut("one", somewhat(), tunnel))
	must(t, f.Shut("two", somewhat(), tunnel2))
	before := maps.Clone(m.set)
	same := func(what string) {
		t.Helper()
		if !maps.EqualFunc(before, m.set, func(a, b filter) bool { return a.key() == b.key() }) {
			t.Errorf("%s: not as before", what)
		}
	}
	for key := range before {
		owner, _, _ := readTag(before[key].data)
		delete(m.set, key)
		if owner == sublayerKey("d", "one") || before[key].sublayer == sublayerKey("d", "one") {
			must(t, f.Shut("one", somewhat(), tunnel))
		} else {
			must(t, f.Shut("two", somewhat(), tunnel2))
		}
		same("without " + before[key].name)
	}
	hole := filter{sublayer: sublayerKey("d", "one"), layer: connect4, weight: loopback, name: "a hole"}
	m.set[hole.key()] = hole
	m.expect("with a hole", true, probeUDP("192.168.1.1:4000"))
	must(t, f.Shut("one", somewhat(), tunnel))
	same("with a hole")
	clear(m.set)
	clear(m.subs)
	m.provider = ""
	must(t, f.Shut("one", somewhat(), tunnel))
	must(t, f.Shut("two", somewhat(), tunnel2))
	same("without anything")
	m.took()
	must(t, f.Shut("one", somewhat(), tunnel))
	if got := m.took(); got != "begin\ncommit\nclose" {
		t.Errorf("nothing is to be done: %s", got)
	}
}

// TestDisabled: rules that a restart left disabled, because the service does not start by itself, are set anew; and where they
// cannot be, that is an error, as nothing is guarded.
func TestDisabled(t *testing.T) {
	m := newMemory(t)
	f := firewall(m, "d")
	must(t, f.Shut("one", somewhat(), tunnel))
	must(t, f.Shut("two", routes.Guard{Closed: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, 0))
	for key := range m.set {
		m.disabled[key] = true
	}
	m.expect("after a restart", true, outside...)
	m.stubborn = true
	before := maps.Clone(m.set)
	if err := f.Shut("one", somewhat(), tunnel); !errors.Is(err, errDisabled) {
		t.Errorf("with rules that stay disabled: %v", err)
	}
	if !maps.EqualFunc(before, m.set, func(a, b filter) bool { return a.key() == b.key() }) {
		t.Error("an error has changed something")
	}
	m.stubborn = false
	must(t, f.Shut("one", somewhat(), tunnel))
	m.expect("closed anew", false, outside...)
	m.expect("closed anew", true, append(near, by(tunnel, outside...)...)...)
	for _, name := range []string{"one", "two"} {
		did, err := f.Open(name)
		if must(t, err); !did {
			t.Errorf("%s was not there", name)
		}
	}
	if m.provider != "" || len(m.subs)+len(m.set) > 0 {
		t.Errorf("left: %q %v %v", m.provider, m.subs, m.set)
	}
}

// TestProgramGone: a program of another guard that is gone announces nothing; one's own must be there.
func TestProgramGone(t *testing.T) {
	m := newMemory(t)
	old := firewall(m, "d")
	must(t, old.Shut("old", somewhat(), tunnel))
	for key, f := range m.set { // as the next version finds it
		owner, n, err := readTag(f.data)
		if must(t, err); n != nil {
			n.App = `C:\gone\aditd.exe`
			delete(m.set, key)
			f.data, err = tag(owner, n)
			must(t, err)
			m.set[f.key()] = f
		}
	}
	f := firewall(m, "d")
	must(t, f.Shut("one", somewhat(), tunnel2))
	m.expect("beside the guard of a program that is gone", true, by(tunnel2, outside...)...)
	m.expect("beside the guard of a program that is gone", false, by(tunnel, outside...)...)
	f.config.App = `C:\gone\aditd.exe`
	if err := f.Shut("one", somewhat(), tunnel2); !errors.Is(err, errNoFile) {
		t.Errorf("without its program: %v", err)
	}
}

// TestManyNetworks: a guard of many networks and servers fits, in few filters.
func TestManyNetworks(t *testing.T) {
	m := newMemory(t)
	f := firewall(m, "d")
	g := routes.Guard{}
	for i := range 2000 {
		g.Closed = append(g.Closed, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24))
		g.Closed = append(g.Closed, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)) // twice
	}
	for i := range 200 {
		g.Outer = append(g.Outer, routes.Endpoint{Address: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), Port: 1194, Transport: "udp"})
	}
	must(t, f.Shut("one", g, tunnel))
	m.expect("many", false, probeUDP("10.0.0.1:9"), probeUDP("10.7.207.255:9"))
	m.expect("many", true, probeUDP("10.7.208.0:9"), ours(probeUDP("198.51.100.199:1194")))
	if n := len(m.set); n > 700 {
		t.Errorf("%d filters", n)
	}
}

// FuzzTag: what stands with a filter is read back, or refused; nothing that it may hold does harm.
func FuzzTag(f *testing.F) {
	b, _ := tag(provider, &notes{App: aditd, User: service, Tunnel: tunnel, Closes: true, Resolvers: []netip.Addr{netip.MustParseAddr("192.168.1.1")},
		Outer: []routes.Endpoint{{Address: netip.MustParseAddr("198.51.100.7"), Port: 1194, Transport: "udp"}}})
	f.Add(b)
	f.Add(b[:16])
	f.Add([]byte("{"))
	f.Add(append(b[:16:16], `{"outer":[{"address":"","port":0}],"resolvers":["fe80::1%eth0",""]}`...))
	f.Fuzz(func(t *testing.T, b []byte) {
		owner, n, err := readTag(b)
		if err != nil {
			return
		}
		again, err := tag(owner, n)
		must(t, err)
		owner2, n2, err := readTag(again)
		must(t, err)
		if owner2 != owner || (n == nil) != (n2 == nil) {
			t.Errorf("%q was read as %v, then %v", b, owner, owner2)
		}
		if n == nil {
			return
		}
		var r rules
		r.allow(*n, []byte("x"), true)
		for _, f := range r.out {
			if err := fits(f); err != nil {
				t.Errorf("%+v: %v", f, err)
			}
		}
	})
}

// FuzzLabel: the same of a sublayer's.
func FuzzLabel(f *testing.F) {
	f.Add([]byte(`{"dir":"C:\\ProgramData\\Adit\\run","name":"corp"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := readLabel(b); err == nil && len(b) > maxNotes {
			t.Errorf("%d bytes: %+v", len(b), l)
		}
	})
}
