package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/routes"
)

// fakeSystem is an operating system in memory, which outlives the machines over it.
type fakeSystem struct {
	calls  []string
	fail   map[string]error // by the first word of a call
	addrs  []netip.Prefix
	rows   map[netip.Prefix]row
	dns    map[string]routes.DNS
	closed map[string]routes.Guard
	signal func()
	own    func(int) bool
}

func newFakeSystem() *fakeSystem {
	return &fakeSystem{fail: map[string]error{}, rows: map[netip.Prefix]row{}, dns: map[string]routes.DNS{}, closed: map[string]routes.Guard{}}
}

func (s *fakeSystem) did(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	s.calls = append(s.calls, line)
	word, _, _ := strings.Cut(line, " ")
	return s.fail[word]
}

// took are the calls since the last took.
func (s *fakeSystem) took() string {
	out := strings.Join(s.calls, "\n")
	s.calls = nil
	return out
}

// empty says what is left of Hosts.
func (s *fakeSystem) left() string {
	return fmt.Sprint(slices.Collect(maps.Keys(s.rows)), s.dns, len(s.closed))
}

// fakeMachine is one Host's machine over a system.
type fakeMachine struct{ *fakeSystem }

type fakeTUN struct{ mtu int }

func (fakeTUN) Read([]offload.Packet) (int, error) { return 0, os.ErrClosed }
func (fakeTUN) Write([][]byte) (int, error)        { return 0, os.ErrClosed }
func (fakeTUN) BatchSize() int                     { return 1 }
func (fakeTUN) Name() string                       { return "utun7" }
func (t fakeTUN) MTU() int                         { return t.mtu }
func (fakeTUN) Close() error                       { return nil }

func (m fakeMachine) openTUN(name string, mtu int) (TUN, link, error) {
	return fakeTUN{mtu}, link{7, "utun7"}, m.did("tun %s %d", name, mtu)
}
func (m fakeMachine) setMTU(l link, mtu int) error { return m.did("mtu %s %d", l.Device, mtu) }
func (m fakeMachine) addAddress(l link, p netip.Prefix) error {
	err := m.did("address+ %s %s", l.Device, p)
	if err == nil && !slices.Contains(m.addrs, p) {
		m.addrs = append(m.addrs, p)
	}
	return err
}
func (m fakeMachine) removeAddress(l link, p netip.Prefix) error {
	m.addrs = slices.DeleteFunc(m.addrs, func(o netip.Prefix) bool { return o == p })
	return m.did("address- %s %s", l.Device, p)
}
func (m fakeMachine) findLink(name string) (link, error) {
	if name != "en0" {
		return link{}, errors.New("no such device")
	}
	return link{1, name}, nil
}
func (m fakeMachine) addRoute(r row) (bool, error) {
	if err := m.did("route+ %s by %s", r.Destination, cmp.Or(r.Device, "nothing")); err != nil {
		return false, err
	}
	if old, there := m.rows[r.Destination]; there && sameRow(old) != sameRow(r) {
		return false, errors.New("another way")
	} else if there {
		return false, nil
	}
	m.rows[r.Destination] = r
	return true, nil
}
func (m fakeMachine) removeRoute(r row) (bool, error) {
	if err := m.did("route- %s by %s", r.Destination, cmp.Or(r.Device, "nothing")); err != nil {
		return false, err
	}
	_, there := m.rows[r.Destination]
	delete(m.rows, r.Destination)
	return there, nil
}
func (m fakeMachine) facts(_ context.Context, own link) (routes.Facts, error) {
	return routes.Facts{}, m.did("facts but %q", own.Device)
}
func (m fakeMachine) setDNS(_ context.Context, name string, l link, d routes.DNS, full bool) error {
	m.dns[name] = d
	return m.did("dns+ %s %s %v %v", name, l.Device, d.Servers, full)
}
func (m fakeMachine) removeDNS(_ context.Context, name string) (bool, error) {
	if err := m.did("dns- %s", name); err != nil {
		return false, err
	}
	_, there := m.dns[name]
	delete(m.dns, name)
	return there, nil
}
func (m fakeMachine) dnsNames(context.Context) ([]string, error) {
	return slices.Collect(maps.Keys(m.dns)), nil
}
func (m fakeMachine) closeGuard(name string, g routes.Guard) error {
	if err := m.did("guard+ %s %v", name, g.Closed); err != nil {
		return err
	}
	m.closed[name] = g
	return nil
}
func (m fakeMachine) openGuard(name string) (bool, error) {
	if err := m.did("guard- %s", name); err != nil {
		return false, err
	}
	_, there := m.closed[name]
	delete(m.closed, name)
	return there, nil
}
func (m fakeMachine) guards() ([]string, error) { return slices.Collect(maps.Keys(m.closed)), nil }
func (m fakeMachine) watch(own func(int) bool, signal func()) (func(), error) {
	m.own, m.signal = own, signal
	return func() { m.did("watch-") }, m.did("watch+")
}
func (m fakeMachine) lasting() bool { return true }

func (s *fakeSystem) host(t *testing.T, dir, name string) Host {
	t.Helper()
	h, err := newHost(HostConfig{JournalDir: dir, Name: name, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, fakeMachine{s})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// crash ends a Host as a kill does: its lock is free, and nothing is undone.
func crash(t *testing.T, h Host) {
	t.Helper()
	if err := h.(*machineHost).journal.lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *fakeSystem) cleanUp(t *testing.T, dir string, keep bool) int {
	t.Helper()
	n, err := cleanUpMachine(context.Background(), dir, fakeMachine{s}, func(name string) bool {
		if _, ok := s.closed[name]; !ok {
			t.Errorf("%s is asked about, and closes nothing", name)
		}
		return keep
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// fakePlan is a whole one: all traffic, to a server behind en0.
func fakePlan() routes.Plan {
	return routes.Plan{
		MTU: 1400, Addresses: []netip.Prefix{prefix("10.8.0.2/24")},
		Around: []routes.Route{{Destination: prefix("203.0.113.5/32"), Gateway: netip.MustParseAddr("192.168.1.1"), Device: "en0"}},
		Routes: []routes.Route{{Destination: prefix("0.0.0.0/1")}, {Destination: prefix("128.0.0.0/1")}, {Destination: prefix("::/1"), Unreachable: true}, {Destination: prefix("8000::/1"), Unreachable: true}},
		DNS:    routes.DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("10.8.0.1:53")}},
		Guard:  routes.Guard{Closed: []netip.Prefix{prefix("0.0.0.0/0")}},
	}
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if want = strings.ReplaceAll(strings.TrimSpace(want), "\t", ""); got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

func noJournal(t *testing.T, dir string) {
	t.Helper()
	if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
		t.Errorf("left in the journal directory: %v %v", es, err)
	}
}

// The guard comes first and goes last, what is added comes before what goes, and the zero plan undoes all.
func TestMachineOrder(t *testing.T) {
	s, dir := newFakeSystem(), t.TempDir()
	h := s.host(t, dir, "one")
	tun, err := h.OpenTUN("corp", 1500)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "begin", s.took(), "dns- one\nwatch+\ntun corp 1500")
	ctx, plan := context.Background(), fakePlan()
	if err := h.Apply(ctx, plan); err != nil {
		t.Fatal(err)
	}
	want(t, "first plan", s.took(), `
		guard+ one [0.0.0.0/0]
		mtu utun7 1400
		address+ utun7 10.8.0.2/24
		route+ 203.0.113.5/32 by en0
		route+ 0.0.0.0/1 by utun7
		route+ 128.0.0.0/1 by utun7
		route+ ::/1 by nothing
		route+ 8000::/1 by nothing
		dns+ one utun7 [10.8.0.1:53] true`)
	if tun.MTU() != 1400 {
		t.Errorf("MTU %d", tun.MTU())
	}
	if _, err := h.OpenTUN("", 1500); err == nil {
		t.Error("a second TUN was opened")
	}
	plan.Addresses[0] = prefix("10.8.0.3/24")
	plan.Around[0].Destination = prefix("203.0.113.6/32")
	if err := h.Apply(ctx, plan); err != nil {
		t.Fatal(err)
	}
	want(t, "another plan", s.took(), `
		guard+ one [0.0.0.0/0]
		address+ utun7 10.8.0.3/24
		route+ 203.0.113.6/32 by en0
		route+ 0.0.0.0/1 by utun7
		route+ 128.0.0.0/1 by utun7
		route+ ::/1 by nothing
		route+ 8000::/1 by nothing
		dns+ one utun7 [10.8.0.1:53] true
		route- 203.0.113.5/32 by en0
		address- utun7 10.8.0.2/24
		address+ utun7 10.8.0.3/24
		route+ 203.0.113.6/32 by en0
		route+ 0.0.0.0/1 by utun7
		route+ 128.0.0.0/1 by utun7
		route+ ::/1 by nothing
		route+ 8000::/1 by nothing`)
	s.signal()
	s.signal()
	<-h.Changes()
	if !s.own(7) || s.own(1) || s.own(0) {
		t.Error("the watch does not know the Host's own device")
	}
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	want(t, "close", s.took(), `
		dns- one
		route- 203.0.113.6/32 by en0
		route- 8000::/1 by nothing
		route- ::/1 by nothing
		route- 128.0.0.0/1 by utun7
		route- 0.0.0.0/1 by utun7
		address- utun7 10.8.0.3/24
		guard- one
		watch-`)
	want(t, "left", s.left(), "[] map[] 0")
	noJournal(t, dir)
	if err := h.Apply(ctx, plan); !errors.Is(err, os.ErrClosed) {
		t.Errorf("apply after close: %v", err)
	}
	if _, err := h.Facts(ctx); !errors.Is(err, os.ErrClosed) {
		t.Errorf("facts after close: %v", err)
	}
}

// Whatever fails in the middle, the rest is done, and all of it is undone later.
func TestMachineFailures(t *testing.T) {
	for _, call := range []string{"mtu", "address+", "route+", "dns+", "guard+", "dns-", "route-", "guard-"} {
		s, dir := newFakeSystem(), t.TempDir()
		h := s.host(t, dir, "one")
		if _, err := h.OpenTUN("", 1500); err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		s.fail[call] = fs.ErrPermission
		err := h.Apply(ctx, fakePlan())
		if strings.HasSuffix(call, "-") {
			if err != nil {
				t.Errorf("%s: %v", call, err)
			}
			err = h.Apply(ctx, routes.Plan{})
		}
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s fails, and Apply says %v", call, err)
		}
		if errors.Is(err, ErrDNS) != strings.HasPrefix(call, "dns") || errors.Is(err, ErrGuard) != strings.HasPrefix(call, "guard") {
			t.Errorf("%s fails: %v", call, err)
		}
		if call == "guard+" && len(s.rows)+len(s.dns) > 0 {
			t.Error("routes and DNS without the guard that they need")
		}
		s.fail = map[string]error{}
		if err := h.Close(); err != nil {
			t.Errorf("after %s: %v", call, err)
		}
		want(t, "left after "+call, s.left(), "[] map[] 0")
		noJournal(t, dir)
	}
}

// A crash is undone by the next CleanUp, or the next Host of the name; the guard stays for those who keep it.
func TestMachineCrash(t *testing.T) {
	s, dir := newFakeSystem(), t.TempDir()
	begin := func() Host {
		h := s.host(t, dir, "one")
		if _, err := h.OpenTUN("", 1500); err != nil {
			t.Fatal(err)
		}
		if err := h.Apply(context.Background(), fakePlan()); err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := begin()
	if n := s.cleanUp(t, dir, false); n != 0 {
		t.Errorf("%d changes of a living Host undone", n)
	}
	crash(t, h)
	if n := s.cleanUp(t, dir, true); n != 6 {
		t.Errorf("%d changes undone, want 6", n)
	}
	want(t, "left but the guard", s.left(), "[] map[] 1")
	next := s.host(t, dir, "one")
	if g := next.Guard(); !g.Equal(fakePlan().Guard) {
		t.Errorf("the next Host has %+v", g)
	}
	if err := next.Leave(); err != nil {
		t.Fatal(err)
	}
	want(t, "left after Leave", s.left(), "[] map[] 1")
	if n := s.cleanUp(t, dir, false); n != 1 {
		t.Errorf("%d changes undone, want the guard", n)
	}
	want(t, "left", s.left(), "[] map[] 0")
	noJournal(t, dir)

	crash(t, begin())
	if err := s.host(t, dir, "one").Close(); err != nil {
		t.Fatal(err)
	}
	want(t, "left after the next Host", s.left(), "[] map[] 0")
	noJournal(t, dir)

	// What cannot be undone stays in the journal.
	crash(t, begin())
	s.fail["route-"] = fs.ErrPermission
	if _, err := cleanUpMachine(context.Background(), dir, fakeMachine{s}, func(string) bool { return false }, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("clean up says %v", err)
	}
	s.fail = map[string]error{}
	if n := s.cleanUp(t, dir, false); n != 5 {
		t.Errorf("%d changes undone, want 5 routes", n)
	}
	noJournal(t, dir)
}

// A journal that is gone or cannot be read: DNS and the guard are found by what the system shows; who keeps the guard gets all
// of it closed.
func TestMachineWithoutJournal(t *testing.T) {
	for _, text := range []string{"", "{\"version\": 99}", "[", "\x00\x00"} {
		s, dir := newFakeSystem(), t.TempDir()
		s.closed["one"], s.dns["two"] = routes.Guard{Closed: []netip.Prefix{prefix("10.0.0.0/8")}}, routes.DNS{Search: []string{"corp"}}
		path := filepath.Join(dir, "one.json")
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.cleanUp(t, dir, true)
		if !s.closed["one"].Equal(routes.Everything()) || len(s.dns) > 0 {
			t.Errorf("%q: kept %+v, DNS %v", text, s.closed, s.dns)
		}
		s.cleanUp(t, dir, false)
		want(t, "left", s.left(), "[] map[] 0")
		_, err := os.Stat(path + ".bad")
		if moved := err == nil; moved != strings.ContainsAny(text, "{[") {
			t.Errorf("%q: moved aside: %v", text, moved)
		}
		os.Remove(path + ".bad")
		noJournal(t, dir)
	}
}

// Two tunnels to one server share a row, which goes with the second of them; what was there before both stays.
func TestMachineSharedRow(t *testing.T) {
	s, dir := newFakeSystem(), t.TempDir()
	around := routes.Plan{Around: fakePlan().Around}
	server := around.Around[0].Destination
	apply := func(h Host, p routes.Plan) {
		t.Helper()
		if err := h.Apply(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	a, b := s.host(t, dir, "a"), s.host(t, dir, "b")
	apply(a, around)
	apply(b, around)
	apply(a, routes.Plan{})
	if _, there := s.rows[server]; !there {
		t.Error("the first one took the second one's row")
	}
	crash(t, b)
	apply(a, around)
	s.cleanUp(t, dir, false)
	if _, there := s.rows[server]; !there {
		t.Error("clean up took a living tunnel's row")
	}
	apply(a, routes.Plan{})
	want(t, "left", s.left(), "[] map[] 0")

	s.rows[server] = row{Destination: server, Gateway: around.Around[0].Gateway, link: link{1, "en0"}}
	apply(a, around)
	apply(a, around)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, there := s.rows[server]; !there {
		t.Error("somebody else's row is gone")
	}
	noJournal(t, dir)
}

// What must not reach a system is refused before.
func TestMachineRefuses(t *testing.T) {
	s, dir := newFakeSystem(), t.TempDir()
	h := s.host(t, dir, "one")
	ctx := context.Background()
	if _, err := newHost(HostConfig{JournalDir: dir, Name: "one"}, fakeMachine{s}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second Host of the name: %v", err)
	}
	if _, err := newHost(HostConfig{JournalDir: dir, Name: "../one"}, fakeMachine{s}); err == nil {
		t.Error("a name that is a path was taken")
	}
	if err := h.Apply(ctx, fakePlan()); err == nil {
		t.Error("a plan without a device was applied")
	}
	if _, err := h.OpenTUN("", 1500); err != nil {
		t.Fatal(err)
	}
	s.took()
	bad := routes.Plan{
		Routes: []routes.Route{{Destination: prefix("0.0.0.0/0")}}, Around: []routes.Route{{Destination: prefix("10.0.0.0/8"), Device: "en9"}},
		DNS: routes.DNS{Search: []string{"x\nremove State:/Network/Global/DNS"}},
	}
	if err := h.Apply(ctx, bad); err == nil || !strings.Contains(err.Error(), "en9") || !strings.Contains(err.Error(), "default route") || !errors.Is(err, ErrDNS) {
		t.Errorf("a bad plan: %v", err)
	}
	want(t, "calls of a bad plan", s.took(), "")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	noJournal(t, dir)
}
