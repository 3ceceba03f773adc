package platform

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/routes"
)

// macHost is a Host over f whose machine knows its journal directory.
func (f *fakeMac) macHost(t *testing.T, dir, name string) (Host, *macMachine) {
	t.Helper()
	m := f.machine()
	m.dir = dir
	h, err := newHost(HostConfig{JournalDir: dir, Name: name}, m)
	if err != nil {
		t.Fatal(err)
	}
	return h, m
}

func macFull() routes.Plan {
	p := fakePlan()
	p.Addresses = append(p.Addresses, prefix("fd00:8::2/64"))
	p.DNS.Search = []string{"corp.example"}
	p.Guard = routes.Guard{
		Closed: []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}, DNS: true,
		Past:      []netip.Prefix{prefix("198.51.100.0/24")},
		Local:     []netip.Prefix{prefix("192.168.1.0/24"), prefix("fe80::/10"), prefix("224.0.0.0/24"), prefix("ff02::/16")},
		Outer:     []routes.Endpoint{{Address: netip.MustParseAddr("203.0.113.5"), Port: 1194, Transport: "udp"}, {Address: netip.MustParseAddr("2001:db8::5"), Transport: "tcp"}},
		Resolvers: []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("2001:db8::1")},
		Inside:    []netip.Addr{netip.MustParseAddr("10.8.0.2"), netip.MustParseAddr("fd00:8::2")},
	}
	return p
}

func TestMacFull(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	before := f.state()
	h, _ := f.macHost(t, dir, "one")
	f.note("open the device")
	tun := open(t, h, "")
	f.note("connect")
	plan := macFull()
	apply(t, h, plan)
	f.note("the same again")
	apply(t, h, plan)
	f.note("a sign-in")
	plan.Guard.Web = []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}
	apply(t, h, plan)
	f.note("another server, other addresses, a smaller MTU")
	plan = macFull()
	plan.MTU, plan.Addresses[0], plan.Addresses[1] = 1280, prefix("10.8.0.3/24"), prefix("fd00:8::3/128")
	plan.Around[0] = routes.Route{Destination: prefix("2001:db8::5/128"), Gateway: netip.MustParseAddr("fe80::1"), Device: "en0"}
	apply(t, h, plan)
	f.note("somebody disables PF, and takes an anchor away")
	f.enabled, f.tokens = false, map[string]bool{}
	delete(f.pf, "com.apple/001.adit.0123abcd.one")
	apply(t, h, plan)
	f.note("disconnect")
	if err := errors.Join(tun.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	if after := f.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	noJournal(t, dir)
	f.golden(t, "full")
}

func TestMacSplit(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	f.store["State:/Network/Global/DNS"] = map[string]any{"ServerAddresses": []string{"192.168.1.1", "fe80::1%en0"}, "DomainName": "home"}
	before := f.state()
	h, _ := f.macHost(t, dir, "one")
	tun := open(t, h, "utun9")
	f.note("connect")
	plan := splitPlan()
	plan.Guard = routes.Guard{Closed: []netip.Prefix{prefix("10.8.0.0/24"), prefix("10.1.0.0/16")}, Inside: []netip.Addr{netip.MustParseAddr("10.8.0.2")}}
	apply(t, h, plan)
	f.note("the same again")
	apply(t, h, plan)
	f.note("names of all domains, at another port")
	plan.DNS = routes.DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.2:5353")}}
	apply(t, h, plan)
	f.note("a search domain without servers")
	plan.DNS = routes.DNS{Search: []string{"corp.example"}}
	apply(t, h, plan)
	f.note("no names, no networks; no guard but what others let through")
	plan.DNS, plan.Routes = routes.DNS{}, nil
	plan.Guard = routes.Guard{Outer: macFull().Guard.Outer[:1]}
	apply(t, h, plan)
	f.note("disconnect")
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	if after := f.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	noJournal(t, dir)
	f.golden(t, "split")
}

func TestMacCrash(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	before := f.state()
	h, _ := f.macHost(t, dir, "one")
	tun := open(t, h, "")
	apply(t, h, macFull())
	if err := tun.Close(); err != nil { // the kernel does it
		t.Fatal(err)
	}
	h.(*machineHost).stop()
	crash(t, h)
	f.lines, f.closed = nil, make(chan struct{})
	clean := func(keep bool) int {
		t.Helper()
		m := f.machine()
		m.dir = dir
		n, err := cleanUpMachine(context.Background(), dir, m, func(string) bool { return keep }, nil)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	f.note("clean up, and keep the guard")
	if n := clean(true); n != 4 { // the server's route, two that are unreachable, names
		t.Errorf("%d changes undone", n)
	}
	f.note("the journal is lost")
	if err := os.Remove(filepath.Join(dir, "one.json")); err != nil {
		t.Fatal(err)
	}
	clean(true)
	f.note("clean up")
	if n := clean(false); n != 1 {
		t.Errorf("%d changes undone, want the guard", n)
	}
	if after := f.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	noJournal(t, dir)
	f.golden(t, "crash")
}

// Two tunnels: the one of all traffic is asked first, then the newest; each keeps its place; each guard lets the other's packets pass.
func TestMacTwo(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	before := f.state()
	a, _ := f.macHost(t, dir, "a")
	b, _ := f.macHost(t, dir, "b")
	c, _ := f.macHost(t, dir, "c")
	order := func(name string) any {
		return f.store["State:/Network/Service/adit-0123abcd-n-"+name+"/DNS"]["SupplementalMatchOrders"].([]string)[0]
	}
	var tuns []TUN
	for i, h := range []Host{a, b, c} {
		tuns = append(tuns, open(t, h, ""))
		p := macFull()
		p.Addresses = nil
		if i != 1 {
			p.Routes = nil
		}
		apply(t, h, p)
	}
	if order("a") != "60000" || order("c") != "59999" || order("b") != "20000" {
		t.Errorf("orders %v %v %v", order("a"), order("b"), order("c"))
	}
	p := macFull()
	p.Addresses, p.Routes = nil, nil
	p.DNS.Servers = addrPorts("10.8.0.9")
	apply(t, a, p)
	if order("a") != "60000" {
		t.Errorf("a changed its servers and moved to %v", order("a"))
	}
	for _, name := range []string{"a", "b", "c"} {
		own := f.pf["com.apple/000.adit.0123abcd."+name]
		if !strings.Contains(own, "pass out on utun") || !strings.Contains(own, "to 203.0.113.5 port 1194 user root") {
			t.Errorf("%s lets pass:\n%s", name, own)
		}
	}
	if len(f.tokens) != 3 {
		t.Errorf("PF is enabled %d times", len(f.tokens))
	}
	for i, h := range []Host{a, b, c} {
		if err := errors.Join(h.Close(), tuns[i].Close()); err != nil {
			t.Fatal(err)
		}
	}
	if after := f.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	noJournal(t, dir)
}

func TestMacFacts(t *testing.T) {
	f := newFakeMac()
	f.store["State:/Network/Global/DNS"] = map[string]any{"ServerAddresses": []string{"192.168.1.1", "fe80::1%en0", "no address"}}
	h, _ := f.macHost(t, t.TempDir(), "one")
	open(t, h, "")
	p := macFull()
	apply(t, h, p)
	facts, err := h.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, r := range facts.Routes {
		got.WriteString(r.Destination.String() + " " + r.Gateway.String() + " " + r.Device + " " + r.Hardware + "\n")
	}
	want(t, "routes", strings.TrimSpace(got.String()), `
		0.0.0.0/0 192.168.1.1 en0 a4:83:e7:00:00:01
		192.168.1.0/24 invalid IP en0 a4:83:e7:00:00:01
		::/0 fe80::1 en0 a4:83:e7:00:00:01
		fe80::/64 invalid IP en0 a4:83:e7:00:00:01`)
	if len(facts.Addresses) != 3 || facts.Addresses[0] != prefix("fe80::1/64") || len(facts.DNS) != 2 || len(facts.Resolvers()) != 2 {
		t.Errorf("%+v", facts)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"links", "table", "scutil"} {
		f.fail = map[string]error{call: fs.ErrPermission}
		if _, err := f.machine().facts(context.Background(), link{}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s fails: %v", call, err)
		}
	}
}

// What one tunnel takes for the network around it has no other tunnel of ours in it, but has other VPNs', also where one has the name
// that a tunnel's device had.
func TestMacFactsOfTwo(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	other := macLink{Index: 30, Name: "utun9", Addresses: []netip.Prefix{prefix("10.99.0.2/24")}}
	f.devices = append(f.devices, other)
	f.rows = append(f.rows, macRoute{prefix("10.99.0.0/16"), netip.Addr{}, other.Index, rtfUp})
	a, _ := f.macHost(t, dir, "a")
	b, _ := f.macHost(t, dir, "b")
	tun := open(t, a, "")
	own := tun.Name()
	plan := macFull()
	plan.Guard = routes.Guard{Closed: []netip.Prefix{prefix("10.1.0.0/16")}}
	see := func(when string, want ...string) {
		t.Helper()
		facts, err := b.Facts(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range facts.Addresses {
			got = append(got, p.String())
		}
		for _, r := range facts.Routes {
			if strings.HasPrefix(r.Device, "utun") {
				got = append(got, r.Destination.String()+" "+r.Device)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	at := len(f.devices) - 1
	alone, err := b.Facts(context.Background())
	if err != nil || len(alone.Addresses) != 4 {
		t.Fatalf("%+v, %v", alone.Addresses, err)
	}
	var usual []string
	for _, p := range alone.Addresses {
		usual = append(usual, p.String())
	}
	usual = append(usual, "10.99.0.0/16 utun9")

	apply(t, a, plan)
	if len(f.devices[at].Addresses) != 2 {
		t.Fatalf("%+v has no addresses", f.devices[at])
	}
	f.rows = append(f.rows, macRoute{prefix("10.8.0.2/32"), netip.Addr{}, f.devices[at].Index, rtfUp | rtfHost}) // the kernel's
	see("a tunnel", usual...)
	plan.Addresses = []netip.Prefix{prefix("10.8.0.77/24")}
	apply(t, a, plan)
	see("with another address", usual...)
	plan.Routes, plan.DNS, plan.Around, plan.Guard = nil, routes.DNS{}, nil, routes.Guard{}
	apply(t, a, plan)
	see("with nothing but an address", usual...)

	plan.Guard = routes.Guard{Closed: []netip.Prefix{prefix("10.1.0.0/16")}}
	apply(t, a, plan)
	if err := tun.Close(); err != nil {
		t.Fatal(err)
	}
	f.devices = append(f.devices, macLink{Index: 31, Name: own, Addresses: []netip.Prefix{prefix("172.16.0.2/30")}})
	stranger := append(slices.Clone(usual[:4]), "172.16.0.2/30", usual[4])
	see("its device is gone, and another's has the name", stranger...)
	crash(t, a)
	a.(*machineHost).stop()
	a, _ = f.macHost(t, dir, "a")
	see("after a crash that left the guard closed", stranger...)
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	noJournal(t, dir)
}

// One destination has one way: somebody else's equal row is left to them, and another one is an error that names it.
func TestMacForeignRoutes(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	h, _ := f.macHost(t, dir, "one")
	open(t, h, "")
	p := routes.Plan{Around: fakePlan().Around}
	theirs := macRoute{p.Around[0].Destination, p.Around[0].Gateway, 4, rtfUp | rtfGateway | rtfHost | rtfStatic}
	f.rows = append(f.rows, theirs)
	before := f.state()
	apply(t, h, p)
	apply(t, h, routes.Plan{})
	if f.state() != before {
		t.Error("their row is gone or doubled")
	}
	f.rows[len(f.rows)-1].Gateway = netip.MustParseAddr("192.168.1.9")
	if err := h.Apply(context.Background(), p); err == nil || !strings.Contains(err.Error(), "192.168.1.9 on en0") {
		t.Errorf("another way: %v", err)
	}
	apply(t, h, routes.Plan{})
	// One of ours that somebody has changed since is theirs.
	f.rows = f.rows[:len(f.rows)-1]
	apply(t, h, p)
	f.rows[len(f.rows)-1].Gateway = netip.MustParseAddr("192.168.1.9")
	before = f.state()
	apply(t, h, routes.Plan{})
	if f.state() != before {
		t.Error("a row that somebody else has changed is gone")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	noJournal(t, dir)
}

// Another network, and none: the way to the server is replaced, as there is no room for two.
func TestMacRoam(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	before := f.state()
	a, _ := f.macHost(t, dir, "a")
	b, _ := f.macHost(t, dir, "b")
	server := fakePlan().Around[0].Destination
	ways := []routes.Route{
		{Destination: server, Gateway: netip.MustParseAddr("192.168.1.1"), Device: "en0"},
		{Destination: server, Gateway: netip.MustParseAddr("172.16.0.1"), Device: "en1"},
		{Destination: server, Unreachable: true},
		{Destination: server, Device: "en0"},
	}
	for i, way := range append(ways, ways[0]) {
		for _, h := range []Host{a, b} {
			apply(t, h, routes.Plan{Around: []routes.Route{way}})
		}
		at := slices.IndexFunc(f.rows, func(r macRoute) bool { return r.Destination == server })
		if at < 0 || !way.Unreachable && f.rows[at].Gateway != way.Gateway || f.rows[at].Flags&rtfReject != 0 != way.Unreachable {
			t.Errorf("way %d: %+v", i, f.rows)
		}
	}
	apply(t, a, routes.Plan{})
	if !slices.ContainsFunc(f.rows, func(r macRoute) bool { return r.Destination == server }) {
		t.Error("the first one took the second one's row")
	}
	// Two tunnels to one network: the second hears of it, and takes nothing.
	open(t, a, "")
	tun := open(t, b, "")
	corp := routes.Plan{Routes: []routes.Route{{Destination: prefix("10.0.0.0/8")}}}
	apply(t, a, corp)
	if err := b.Apply(context.Background(), corp); err == nil || !strings.Contains(err.Error(), "utun4") {
		t.Errorf("the second tunnel to one network: %v", err)
	}
	if err := errors.Join(b.Close(), a.Close(), tun.Close(), a.(*machineHost).tun.Close()); err != nil {
		t.Fatal(err)
	}
	if after := f.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	noJournal(t, dir)
}

// What macOS cannot be told is refused in words, and nothing is left of it.
func TestMacRefusesDNS(t *testing.T) {
	many := make([]string, 99)
	long := make([]string, 20)
	for i := range many {
		many[i] = "corp.example"
	}
	for i := range long {
		long[i] = strings.Repeat("a.", 60) + "example"
	}
	one := addrPorts("10.8.0.1")
	for words, d := range map[string]routes.DNS{
		"DNS over TLS":       {Servers: one, Transport: "DoT"},
		"mandatory DNSSEC":   {Servers: one, DNSSEC: "yes"},
		"different ports":    {Servers: []netip.AddrPort{netip.MustParseAddrPort("10.8.0.1:53"), netip.MustParseAddrPort("10.8.0.2:54")}},
		"do not fit":         {Servers: one, Split: many},
		"not fit into":       {Servers: one, Split: long},
		"no DNS server of":   {Search: []string{"corp.example"}},
		"is not valid":       {Servers: one, Split: []string{"x\nremove State:/Network/Global/DNS"}},
		`domain "a b" is no`: {Servers: one, Search: []string{"a b"}},
	} {
		f, dir := newFakeMac(), t.TempDir()
		h, _ := f.macHost(t, dir, "one")
		open(t, h, "")
		err := h.Apply(context.Background(), routes.Plan{DNS: d})
		if !errors.Is(err, ErrDNS) || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") && !strings.Contains(words, "not valid") {
			t.Errorf("%s: %v", words, err)
		}
		if len(f.store) > 0 {
			t.Errorf("%s: left in the store: %v", words, f.store)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		noJournal(t, dir)
	}
	f, dir := newFakeMac(), t.TempDir()
	h, _ := f.macHost(t, dir, "one")
	open(t, h, "")
	f.mute = true
	if err := h.Apply(context.Background(), routes.Plan{DNS: routes.DNS{Servers: one}}); !errors.Is(err, ErrDNS) || !strings.Contains(err.Error(), "did not set") {
		t.Errorf("a store that takes nothing: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	noJournal(t, dir)
}

// A guard that cannot be closed is an error that says what helps, before anything else is done.
func TestMacGuardRefuses(t *testing.T) {
	for words, change := range map[string]func(*fakeMac){
		`has no anchor "com.apple/*"`: func(f *fakeMac) { f.main = f.main[:1] },
		"lets packets past": func(f *fakeMac) {
			f.main = append([]string{"pass out quick proto tcp all flags S/SA keep state"}, f.main...)
		},
		"under conditions":  func(f *fakeMac) { f.main[1] = `anchor "com.apple/*" on en0 all` },
		"no token":          func(f *fakeMac) { f.deaf = true },
		"permission denied": func(f *fakeMac) { f.fail["pfctl -a com.apple/001"] = errors.New("permission denied") },
	} {
		f, dir := newFakeMac(), t.TempDir()
		h, _ := f.macHost(t, dir, "one")
		open(t, h, "")
		change(f)
		rows := len(f.rows)
		err := h.Apply(context.Background(), macFull())
		if !errors.Is(err, ErrGuard) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
		if len(f.rows) != rows || len(f.store) > 0 {
			t.Errorf("%s: something was done without the guard", words)
		}
		f.fail = map[string]error{}
		if n, err := cleanUpOf(h, f, dir); err != nil || n > 1 || len(f.pf) > 0 {
			t.Errorf("%s: clean up took back %d, %v; left %v", words, n, err, f.pf)
		}
	}
	f := newFakeMac()
	f.main = append([]string{"pass quick on lo0 all flags any", "pass in quick proto tcp all"}, f.main...)
	if err := f.machine().pfMain(); err != nil {
		t.Errorf("rules that let nothing out: %v", err)
	}
	if err := f.machine().closeGuard(strings.Repeat("x", 60), routes.Everything()); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long name: %v", err)
	}
}

// cleanUpOf ends h as a crash does and cleans up.
func cleanUpOf(h Host, f *fakeMac, dir string) (int, error) {
	x := h.(*machineHost)
	x.stop()
	if err := x.journal.lock.Close(); err != nil {
		return 0, err
	}
	m := f.machine()
	m.dir = dir
	return cleanUpMachine(context.Background(), dir, m, func(string) bool { return false }, nil)
}

func TestMacWatch(t *testing.T) {
	f := newFakeMac()
	h, _ := f.macHost(t, t.TempDir(), "one")
	open(t, h, "") // link 10
	matters := func(n macNote) bool {
		select {
		case <-h.Changes():
		default:
		}
		f.heard <- []macNote{n}
		f.heard <- []macNote{{Kind: 0x7}} // RTM_MISS: n has been looked at
		select {
		case <-h.Changes():
			return true
		default:
			return false
		}
	}
	for _, c := range []struct {
		n    macNote
		want bool
	}{
		{macNote{macRouteAdd, 4, rtfUp | rtfGateway}, true},
		{macNote{macRouteDelete, 4, rtfUp}, true},
		{macNote{macRouteChange, 4, rtfUp}, true},
		{macNote{macRouteAdd, 4, rtfUp | rtfOurs}, false},
		{macNote{macRouteAdd, 10, rtfUp}, false},
		{macNote{macRouteAdd, 4, rtfUp | rtfLinkInfo | rtfHost}, false},
		{macNote{macRouteDelete, 4, rtfUp | rtfCloned}, false},
		{macNote{macAddrNew, 4, 0}, true},
		{macNote{macAddrGone, 4, 0}, true},
		{macNote{macAddrNew, 10, 0}, false},
		{macNote{macLinkNew, 4, 0x8863}, true},
		{macNote{macLinkNew, 4, 0x8863 | 0x400}, false},
		{macNote{macLinkNew, 4, 0x8863 &^ 0x40}, true},
		{macNote{macLinkNew, 10, 0x1}, false},
		{macNote{0x14, 4, 0}, false},
	} {
		if got := matters(c.n); got != c.want {
			t.Errorf("%+v: %v", c.n, got)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	f.fail["notes"] = fs.ErrPermission
	if _, err := newHost(HostConfig{JournalDir: t.TempDir(), Name: "one"}, f.machine()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("without a watch: %v", err)
	}
}

// A guard that another program takes away is noticed, and closed again with the next plan.
func TestMacGuardKept(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	h, m := f.macHost(t, dir, "one")
	open(t, h, "")
	noticed := func() bool {
		t.Helper()
		select {
		case <-h.Changes():
		default:
		}
		f.ticks <- time.Time{}
		f.ticks <- time.Time{} // the first has been looked at
		select {
		case <-h.Changes():
			return true
		default:
			return false
		}
	}
	change := func(c func()) {
		f.mu.Lock()
		c()
		f.mu.Unlock()
	}
	if noticed() {
		t.Error("an open guard is missed")
	}
	apply(t, h, macFull())
	if noticed() {
		t.Error("a closed guard is missed")
	}
	for what, c := range map[string]func(){
		"disabled":         func() { f.enabled, f.tokens = false, map[string]bool{} },
		"anchors flushed":  func() { clear(f.pf) },
		"one flushed":      func() { delete(f.pf, "com.apple/001.adit.0123abcd.one") },
		"another pf.conf":  func() { f.main = []string{"pass all flags S/SA keep state"} },
		"only who can say": func() { f.fail["anchors"] = fs.ErrPermission },
	} {
		main := f.main
		change(c)
		if got, want := noticed(), what != "only who can say"; got != want {
			t.Errorf("%s: noticed %t", what, got)
		}
		change(func() { f.main, f.fail = main, map[string]error{} })
		apply(t, h, macFull())
		if m.guardLost() || len(f.tokens) != 1 || len(f.pf) != 2 {
			t.Errorf("%s: not closed again: %v, %v", what, f.tokens, f.pf)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	noJournal(t, dir)
}

func FuzzScutil(f *testing.F) {
	f.Add("<dictionary> {\n  ServerAddresses : <array> {\n    0 : 10.0.0.1\n    1 : \n  }\n  ServerPort : 53\n}\n")
	f.Add("  No such key\n")
	f.Add("<dictionary> {\n  a : <dictionary> {\n    b : <dictionary> {\n")
	f.Add("<array> {\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseScutil(text)
		if err != nil {
			if !errors.Is(err, errScutil) {
				t.Errorf("%v", err)
			}
			return
		}
		// What is read once reads the same when shown again.
		for _, w := range v.fields["ServerAddresses"].list {
			if strings.ContainsAny(w, "\n") {
				t.Errorf("a word of two lines: %q", w)
			}
		}
		macOrder(v, "n", "s", true)
	})
}
