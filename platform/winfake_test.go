package platform

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/routes"
)

var update = flag.Bool("update", false, "write the recordings in testdata anew, to be read before they are committed")

// The devices of fakeWindows, by what the upper bits of a LUID say: the kind of the device (iftypes of IANA).
const (
	luidLoopback = 24 << 48
	luidEthernet = 6<<48 | 1<<24
	luidWiFi     = 71<<48 | 1<<24
	luidTunnel   = 53<<48 | 1<<24
)

// fakeWindows is Windows in memory. It writes down what changes something, and outlives the machines over it.
type fakeWindows struct {
	lines    []string
	fail     map[string]error // by the first words of a line
	devices  []winAdapter
	table    []winRoute
	registry map[string]map[string]any
	without6 bool // IPv6 is switched off
	late     int  // how often a new adapter is asked for before it has IPv4
	walls    map[string]uint64
	changed  func(winEvent)
	created  int
}

func newFakeWindows() *fakeWindows {
	return &fakeWindows{
		fail: map[string]error{}, walls: map[string]uint64{}, registry: map[string]map[string]any{
			`SOFTWARE\Policies\Microsoft`: {}, nrptLocal: {},
			// Somebody else's rule.
			nrptLocal + `\{0E2D8E1C-0000-4000-8000-000000000001}`: {"Name": []string{".other.example"}, "GenericDNSServers": "192.0.2.1", "Comment": "theirs"},
		},
		devices: []winAdapter{
			{luid: luidLoopback, name: "Loopback Pseudo-Interface 1", description: "Software Loopback Interface 1", loopback: true, up: true,
				addresses: []netip.Prefix{prefix("127.0.0.1/8"), prefix("::1/128")}, metric4: 75, metric6: 75},
			{luid: luidEthernet, name: "Ethernet", description: "Intel(R) Ethernet", up: true, hardware: "02:00:00:00:00:01", metric4: 25, metric6: 25,
				addresses: []netip.Prefix{prefix("192.168.1.20/24"), prefix("fe80::20/64")}, dns: []netip.Addr{netip.MustParseAddr("192.168.1.1")}},
			{luid: luidWiFi, name: "WLAN", description: "Wi-Fi", metric4: 50, metric6: 50, dns: []netip.Addr{netip.MustParseAddr("fec0:0:0:ffff::1")}},
		},
		table: []winRoute{
			{prefix("127.0.0.0/8"), netip.Addr{}, luidLoopback, 256},
			{prefix("0.0.0.0/0"), netip.MustParseAddr("192.168.1.1"), luidEthernet, 0},
			{prefix("192.168.1.0/24"), netip.Addr{}, luidEthernet, 256},
			{prefix("192.168.1.20/32"), netip.Addr{}, luidEthernet, 256},
			{prefix("192.168.1.255/32"), netip.Addr{}, luidEthernet, 256},
			{prefix("224.0.0.0/4"), netip.Addr{}, luidEthernet, 256},
			{prefix("255.255.255.255/32"), netip.Addr{}, luidEthernet, 256},
			{prefix("fe80::/64"), netip.Addr{}, luidEthernet, 256},
			{prefix("10.9.0.0/16"), netip.MustParseAddr("192.168.1.9"), luidEthernet, 10},
		},
	}
}

// did writes a line down, unless it fails.
func (f *fakeWindows) did(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	for begin, err := range f.fail {
		if strings.HasPrefix(line, begin) {
			f.lines = append(f.lines, line+": "+err.Error())
			return err
		}
	}
	f.lines = append(f.lines, line)
	return nil
}

func (f *fakeWindows) note(text string) { f.lines = append(f.lines, "", "# "+text) }

func (f *fakeWindows) at(luid uint64) int {
	return slices.IndexFunc(f.devices, func(a winAdapter) bool { return a.luid == luid })
}

func (f *fakeWindows) called(luid uint64) string {
	if i := f.at(luid); i >= 0 {
		return f.devices[i].name
	}
	return "a device that is gone"
}

// fakeWintun takes its device away when it is closed.
type fakeWintun struct {
	fakeTUN
	name  string
	close func()
}

func (t fakeWintun) Name() string { return t.name }
func (t fakeWintun) Close() error { t.close(); return nil }

func (f *fakeWindows) createAdapter(name, guid string, mtu int) (TUN, uint64, error) {
	if err := f.did("adapter+ %q %s", name, guid); err != nil {
		return nil, 0, err
	}
	f.created++
	luid := uint64(luidTunnel + f.created<<24)
	kind := "Adit Tunnel"
	if f.created > 1 {
		kind = fmt.Sprintf("Adit Tunnel #%d", f.created)
	}
	f.devices = append(f.devices, winAdapter{luid: luid, name: name, description: kind, up: true, metric4: 5, metric6: 5})
	return fakeWintun{fakeTUN{mtu}, name, func() { f.unplug(luid) }}, luid, nil
}

// unplug takes a device away, and all that was on it.
func (f *fakeWindows) unplug(luid uint64) {
	f.devices = slices.DeleteFunc(f.devices, func(a winAdapter) bool { return a.luid == luid })
	f.table = slices.DeleteFunc(f.table, func(r winRoute) bool { return r.luid == luid })
}

func (f *fakeWindows) adapters() ([]winAdapter, error) { return slices.Clone(f.devices), nil }
func (f *fakeWindows) routes() ([]winRoute, error)     { return slices.Clone(f.table), nil }

// has says whether a device has a family.
func (f *fakeWindows) has(luid uint64, inet6 bool) error {
	if f.at(luid) < 0 || inet6 && f.without6 {
		return errWinMissing
	}
	return nil
}

func ipv(inet6 bool) string { return map[bool]string{false: "IPv4", true: "IPv6"}[inet6] }

func (f *fakeWindows) setUp(luid uint64, inet6 bool, mtu int) error {
	if f.late--; f.late >= 0 {
		return errWinMissing
	}
	if err := f.has(luid, inet6); err != nil {
		return err
	}
	return f.did("set up %s of %s, MTU %d", ipv(inet6), f.called(luid), mtu)
}

func (f *fakeWindows) setMetric(luid uint64, inet6 bool, metric int) error {
	if err := f.has(luid, inet6); err != nil {
		return err
	}
	if err := f.did("metric of %s of %s: %d", ipv(inet6), f.called(luid), metric); err != nil {
		return err
	}
	if d := &f.devices[f.at(luid)]; inet6 {
		d.metric6 = metric
	} else {
		d.metric4 = metric
	}
	return nil
}

func (f *fakeWindows) setInterfaceDNS(luid uint64, inet6 bool, servers []netip.Addr, search []string) error {
	if err := f.has(luid, inet6); err != nil {
		return err
	}
	if err := f.did("servers of %s of %s: %v, search %q", ipv(inet6), f.called(luid), servers, search); err != nil {
		return err
	}
	d := &f.devices[f.at(luid)].dns
	*d = append(slices.DeleteFunc(*d, func(a netip.Addr) bool { return a.Is6() == inet6 }), servers...)
	return nil
}

func (f *fakeWindows) addAddress(luid uint64, p netip.Prefix) error {
	if err := f.has(luid, p.Addr().Is6()); err != nil {
		return err
	}
	for _, a := range f.devices {
		if slices.ContainsFunc(a.addresses, func(o netip.Prefix) bool { return o.Addr() == p.Addr() }) {
			return errWinExists
		}
	}
	if err := f.did("address+ %s on %s", p, f.called(luid)); err != nil {
		return err
	}
	i := f.at(luid)
	f.devices[i].addresses = append(f.devices[i].addresses, p)
	return nil
}

func (f *fakeWindows) removeAddress(luid uint64, p netip.Prefix) error {
	i := f.at(luid)
	if i < 0 || !slices.Contains(f.devices[i].addresses, p) {
		return errWinMissing
	}
	f.devices[i].addresses = slices.DeleteFunc(f.devices[i].addresses, func(o netip.Prefix) bool { return o == p })
	return f.did("address- %s on %s", p, f.called(luid))
}

func (f *fakeWindows) row(r winRoute) string {
	way := "on-link"
	if r.gateway.IsValid() {
		way = "via " + r.gateway.String()
	}
	return fmt.Sprintf("%s %s by %s metric %d", r.destination, way, f.called(r.luid), r.metric)
}

func (f *fakeWindows) find(r winRoute) int {
	return slices.IndexFunc(f.table, func(o winRoute) bool { return o.key() == r.key() })
}

func (f *fakeWindows) addRoute(r winRoute) error {
	if err := f.has(r.luid, r.destination.Addr().Is6()); err != nil {
		return err
	}
	if f.find(r) >= 0 {
		return errWinExists
	}
	if err := f.did("route+ %s", f.row(r)); err != nil {
		return err
	}
	f.table = append(f.table, r)
	return nil
}

func (f *fakeWindows) setRoute(r winRoute) error {
	i := f.find(r)
	if i < 0 {
		return errWinMissing
	}
	f.table[i] = r
	return f.did("route= %s", f.row(r))
}

func (f *fakeWindows) route(r winRoute) (winRoute, error) {
	if i := f.find(r); i >= 0 {
		return f.table[i], nil
	}
	return winRoute{}, errWinMissing
}

func (f *fakeWindows) removeRoute(r winRoute) error {
	i := f.find(r)
	if i < 0 {
		return errWinMissing
	}
	if err := f.did("route- %s", f.row(f.table[i])); err != nil {
		return err
	}
	f.table = slices.Delete(f.table, i, i+1)
	return nil
}

// shortPath keeps the lines of recordings short.
func shortPath(path string) string {
	return strings.NewReplacer(nrptLocal, "NRPT", nrptPolicy, "policy's NRPT").Replace(path)
}

func (f *fakeWindows) keys(path string) (names []string, err error) {
	if _, ok := f.registry[path]; !ok {
		return nil, errWinMissing
	}
	for k := range f.registry {
		if name, ok := strings.CutPrefix(k, path+`\`); ok && !strings.Contains(name, `\`) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (f *fakeWindows) values(path string) (map[string]any, error) {
	v, ok := f.registry[path]
	if !ok {
		return nil, errWinMissing
	}
	return maps.Clone(v), nil
}

func (f *fakeWindows) setKey(path string, values map[string]any) error {
	var text []string
	for _, k := range slices.Sorted(maps.Keys(values)) {
		text = append(text, fmt.Sprintf("%s=%v", k, values[k]))
	}
	if err := f.did(`registry+ %s: %s`, shortPath(path), strings.Join(text, ", ")); err != nil {
		return err
	}
	if f.registry[path] == nil {
		f.registry[path] = map[string]any{}
	}
	maps.Copy(f.registry[path], values)
	return nil
}

func (f *fakeWindows) removeKey(path string) error {
	if _, ok := f.registry[path]; !ok {
		return errWinMissing
	}
	if err := f.did("registry- %s", shortPath(path)); err != nil {
		return err
	}
	delete(f.registry, path)
	return nil
}

func (f *fakeWindows) refreshDNS(policy bool) error {
	if policy {
		return f.did("tell the DNS client, and that the policy has changed")
	}
	return f.did("tell the DNS client")
}

func (f *fakeWindows) watch(changed func(winEvent)) (func(), error) {
	f.changed = changed
	return func() {}, nil
}

// fakeWall is the firewall of fakeWindows.
type fakeWall struct{ *fakeWindows }

func (w fakeWall) Shut(name string, g routes.Guard, tunnel uint64) error {
	way := "no tunnel"
	if tunnel != 0 {
		way = w.called(tunnel)
	}
	if err := w.did("guard+ %s %v but by %s", name, g.Closed, way); err != nil {
		return err
	}
	w.walls[name] = tunnel
	return nil
}

func (w fakeWall) Open(name string) (bool, error) {
	if _, ok := w.walls[name]; !ok {
		return false, nil
	}
	if err := w.did("guard- %s", name); err != nil {
		return false, err
	}
	delete(w.walls, name)
	return true, nil
}

func (w fakeWall) Names() ([]string, error) { return slices.Sorted(maps.Keys(w.walls)), nil }

func (f *fakeWindows) machine(t *testing.T, dir, name string) *winMachine {
	return newWinMachine(f, fakeWall{f}, dir, name, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func (f *fakeWindows) host(t *testing.T, dir, name string) (Host, *winMachine) {
	t.Helper()
	m := f.machine(t, dir, name)
	h, err := newHost(HostConfig{JournalDir: dir, Name: name, Log: m.log}, m)
	if err != nil {
		t.Fatal(err)
	}
	return h, m
}

// compare holds what was written down to the recording of the test.
func (f *fakeWindows) compare(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", "windows", name+".txt")
	got := strings.TrimSpace(strings.Join(f.lines, "\n")) + "\n"
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s says otherwise (go test -update writes it anew):\n%s", path, got)
	}
}

// pristine fails the test when something of ours is left.
func (f *fakeWindows) pristine(t *testing.T, dir string) {
	t.Helper()
	fresh := newFakeWindows()
	if fmt.Sprint(f.devices) != fmt.Sprint(fresh.devices) {
		t.Errorf("devices left: %v", f.devices)
	}
	if !slices.Equal(f.table, fresh.table) {
		t.Errorf("routes left: %v", f.table)
	}
	for path, v := range f.registry {
		if c, _ := v["Comment"].(string); strings.HasPrefix(c, nrptComment) {
			t.Errorf("left in the registry: %s %v", path, v)
		}
	}
	if len(f.walls) > 0 {
		t.Errorf("guards left: %v", f.walls)
	}
	noJournal(t, dir)
}
