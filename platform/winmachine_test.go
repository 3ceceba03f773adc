package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/routes"
)

func open(t *testing.T, h Host, name string) TUN {
	t.Helper()
	tun, err := h.OpenTUN(name, 1500)
	if err != nil {
		t.Fatal(err)
	}
	return tun
}

func apply(t *testing.T, h Host, plan routes.Plan) {
	t.Helper()
	if err := h.Apply(context.Background(), plan); err != nil {
		t.Fatal(err)
	}
}

func addrPorts(s ...string) (out []netip.AddrPort) {
	for _, a := range s {
		out = append(out, netip.AddrPortFrom(netip.MustParseAddr(a), 53))
	}
	return out
}

// splitPlan has two networks, and a domain of its own.
func splitPlan() routes.Plan {
	return routes.Plan{
		MTU: 1400, Addresses: []netip.Prefix{prefix("10.8.0.2/24"), prefix("fd00:8::2/64")},
		Routes: []routes.Route{
			{Destination: prefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.8.0.1")}, {Destination: prefix("fd00:1::/48")},
		},
		DNS: routes.DNS{Servers: addrPorts("10.1.0.2", "fd00:1::2"), Search: []string{"corp.example"}, Split: []string{"Corp.Example.", "lab.example"}},
	}
}

// fullPlan takes all traffic of IPv4, to a server behind the router.
func fullPlan() routes.Plan {
	p := fakePlan()
	p.Around[0].Device = "Ethernet"
	p.DNS = routes.DNS{Servers: addrPorts("10.8.0.1"), Search: []string{"corp.example"}, DNSSEC: "yes"}
	return p
}

func TestWindowsSplit(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	f.late = 2 // Windows attaches IPv4 after a moment
	h, _ := f.host(t, dir, "one")
	f.note("open the device")
	tun := open(t, h, "")
	f.note("connect")
	apply(t, h, splitPlan())
	f.note("the same again")
	apply(t, h, splitPlan())
	f.note("another address, a network less and one more, a metric, other domains, a smaller MTU")
	p := splitPlan()
	p.MTU = 1200
	p.Addresses[0] = prefix("10.8.0.3/24")
	p.Routes[0].Metric = 7
	p.Routes[1] = routes.Route{Destination: prefix("10.2.0.0/16")}
	p.DNS.Split = []string{"other.example"}
	p.DNS.Search = nil
	apply(t, h, p)
	f.note("no names any more")
	p.DNS = routes.DNS{}
	apply(t, h, p)
	f.note("disconnect")
	apply(t, h, routes.Plan{})
	if err := errors.Join(tun.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	f.compare(t, "split")
	f.pristine(t, dir)
}

func TestWindowsFull(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	h, _ := f.host(t, dir, "one")
	tun := open(t, h, "")
	f.note("connect")
	apply(t, h, fullPlan())
	f.note("another server, by another router")
	p := fullPlan()
	p.Around[0] = routes.Route{Destination: prefix("203.0.113.6/32"), Gateway: netip.MustParseAddr("192.168.1.254"), Device: "Ethernet"}
	apply(t, h, p)
	f.note("no longer all traffic, nor all names")
	apply(t, h, splitPlan())
	f.note("leave")
	if err := errors.Join(h.Leave(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	f.note("a guard without a tunnel, which lets nothing pass by the number that the device had")
	h, _ = f.host(t, dir, "one")
	if err := open(t, h, "").Close(); err != nil {
		t.Fatal(err)
	}
	apply(t, h, routes.Plan{Guard: fullPlan().Guard})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	f.compare(t, "full")
	f.pristine(t, dir)
}

// All of a tunnel is found again after a crash, which takes the device away and nothing else.
func TestWindowsCrash(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	begin := func() {
		h, m := f.host(t, dir, "one")
		open(t, h, "")
		apply(t, h, fullPlan())
		crash(t, h)
		f.unplug(m.own.Load())
	}
	cleanUp := func(keep bool) int {
		n, err := cleanUpMachine(context.Background(), dir, f.machine(t, dir, ""), func(string) bool { return keep }, nil)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	f.note("a run that crashes")
	begin()
	f.note("clean up all but the guard")
	if n := cleanUp(true); n != 4 { // names, the way around, two rows that lead nowhere
		t.Errorf("%d undone, want 4", n)
	}
	f.note("clean up")
	if n := cleanUp(false); n != 1 {
		t.Errorf("%d undone, want 1", n)
	}
	f.pristine(t, dir)
	f.note("another one, whose records are lost")
	begin()
	for _, lost := range []string{"one.json", stateName} {
		if err := os.Remove(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
	}
	f.note("clean up: what Windows itself shows to be ours")
	cleanUp(false)
	f.note("the next one of the name")
	begin()
	h, _ := f.host(t, dir, "one")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	f.compare(t, "crash")
	f.pristine(t, dir)
}

// What fails in the middle is undone at the end.
func TestWindowsFailures(t *testing.T) {
	for _, begin := range []string{
		"set up IPv6", "metric of IPv4", "servers of IPv4", "address+ 10", "route+ 203", "route+ 0.0", "route+ ::", "registry+", "tell", "guard+", "registry-", "route- 203", "guard-",
	} {
		f, dir := newFakeWindows(), t.TempDir()
		h, _ := f.host(t, dir, "one")
		tun := open(t, h, "")
		f.fail[begin] = os.ErrPermission
		err := h.Apply(context.Background(), fullPlan())
		if strings.HasPrefix(begin, "registry-") || strings.HasPrefix(begin, "route-") || begin == "guard-" {
			if err != nil {
				t.Errorf("%s: %v", begin, err)
			}
			err = h.Apply(context.Background(), routes.Plan{})
		}
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s fails, and Apply says %v", begin, err)
		}
		if dns := slices.Contains([]string{"metric of IPv4", "servers of IPv4", "registry+", "tell"}, begin); errors.Is(err, ErrDNS) != dns && begin != "registry-" {
			t.Errorf("%s fails: %v", begin, err)
		}
		f.fail = map[string]error{}
		if err := errors.Join(h.Close(), tun.Close()); err != nil {
			t.Errorf("after %s: %v", begin, err)
		}
		f.pristine(t, dir)
	}
}

// Of two tunnels that want all names, the one that takes all traffic has them, and the other its own domains; each name has one rule.
func TestWindowsTwoTunnels(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	one, _ := f.host(t, dir, "one")
	tun1 := open(t, one, "")
	f.note("one: all traffic")
	apply(t, one, fullPlan())
	f.note("two: a second device, to the same server; all names, and some that one has, too")
	two, _ := f.host(t, dir, "two")
	tun2 := open(t, two, "")
	if tun1.Name() == tun2.Name() {
		t.Errorf("both are called %s", tun1.Name())
	}
	p := splitPlan()
	p.Addresses = []netip.Prefix{prefix("10.7.0.2/24")}
	p.Routes = []routes.Route{{Destination: prefix("10.3.0.0/16")}}
	p.Around = fullPlan().Around
	p.DNS = routes.DNS{Servers: addrPorts("10.3.0.2"), Search: []string{"lab.example"}}
	apply(t, two, p)
	facts, err := two.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range facts.Routes {
		if r.Device != "Ethernet" || r.Destination.IsSingleIP() {
			t.Errorf("the underlay of one has a row of the other: %v", r)
		}
	}
	f.note("one ends: its names are the other's, and the way around stays")
	if err := errors.Join(one.Close(), tun1.Close()); err != nil {
		t.Fatal(err)
	}
	f.note("two ends")
	if err := errors.Join(two.Close(), tun2.Close()); err != nil {
		t.Fatal(err)
	}
	f.compare(t, "two")
	f.pristine(t, dir)
}

// Where the group policy has rules, nobody looks at the others.
func TestWindowsPolicyRules(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	f.registry[nrptPolicy] = map[string]any{}
	h, m := f.host(t, dir, "one")
	tun := open(t, h, "")
	f.note("connect")
	apply(t, h, splitPlan())
	if m.dns.lost() {
		t.Error("lost at once")
	}
	f.note("the policy has no rules any more")
	for path := range f.registry {
		if strings.HasPrefix(path, nrptPolicy) {
			delete(f.registry, path)
		}
	}
	f.changed(winEvent{what: winNames})
	select {
	case <-h.Changes():
	default:
		t.Error("no signal")
	}
	apply(t, h, splitPlan())
	f.note("it has some again")
	f.registry[nrptPolicy] = map[string]any{}
	apply(t, h, splitPlan())
	f.note("disconnect")
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	f.compare(t, "policy")
	delete(f.registry, nrptPolicy)
	f.pristine(t, dir)
}

func TestWindowsManyDomains(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	h, _ := f.host(t, dir, "one")
	tun := open(t, h, "")
	p := splitPlan()
	p.DNS.Split = nil
	for i := range 60 {
		p.DNS.Split = append(p.DNS.Split, "d"+string(rune('a'+i/26))+string(rune('a'+i%26))+".example")
	}
	apply(t, h, p)
	names := map[string]bool{}
	for path, v := range f.registry {
		if !strings.Contains(path, "NRPT") && v["DisplayName"] == "Adit" {
			of := v["Name"].([]string)
			if len(of) > nrptMost {
				t.Errorf("%d names in a rule", len(of))
			}
			for _, n := range of {
				names[n] = true
			}
		}
	}
	if len(names) != 120 || !names[".dch.example"] || !names["dch.example"] {
		t.Errorf("%d names: %v", len(names), names)
	}
	p.DNS.Split = p.DNS.Split[:1]
	apply(t, h, p)
	if n, err := f.keys(nrptLocal); err != nil || len(n) != 2 {
		t.Errorf("rules now: %v %v", n, err)
	}
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	f.pristine(t, dir)
}

// What Windows cannot do is an error that says so, and nothing is left of it.
func TestWindowsRefuses(t *testing.T) {
	for want, d := range map[string]routes.DNS{
		"a DNS port other than 53 (10.1.0.2:5353) cannot be set on Windows":    {Servers: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.2:5353")}},
		"DNS over TLS cannot be set on Windows":                                {Servers: addrPorts("10.1.0.2"), Transport: "DoT"},
		`DNS transport "DoH" is not supported`:                                 {Servers: addrPorts("10.1.0.2"), Transport: "DoH"},
		`domain "a\r\nb" is not valid`:                                         {Servers: addrPorts("10.1.0.2"), Split: []string{"a\r\nb"}},
		"a DNS server of a local network (fe80::1%5) cannot be set on Windows": {Servers: addrPorts("fe80::1%5")},
	} {
		f, dir := newFakeWindows(), t.TempDir()
		h, _ := f.host(t, dir, "one")
		tun := open(t, h, "")
		p := splitPlan()
		p.DNS = d
		if err := h.Apply(context.Background(), p); !errors.Is(err, ErrDNS) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if err := errors.Join(h.Close(), tun.Close()); err != nil {
			t.Fatal(err)
		}
		f.pristine(t, dir)
	}
}

// Without IPv6 in the system a tunnel has the other half, and what must not leave by IPv6 cannot.
func TestWindowsWithoutIPv6(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	f.without6 = true
	h, m := f.host(t, dir, "one")
	tun, err := h.OpenTUN("", 0)
	if err != nil {
		t.Fatal(err)
	}
	if m.inet6 || tun.MTU() != winMTU {
		t.Errorf("IPv6 %v, MTU %d", m.inet6, tun.MTU())
	}
	p := fullPlan()
	p.Addresses = append(p.Addresses, prefix("fd00:8::2/64"))
	p.Routes = append(p.Routes, routes.Route{Destination: prefix("fd00:1::/48")})
	apply(t, h, p)
	for _, line := range f.lines {
		if strings.Contains(line, "IPv6") || strings.Contains(line, "::") || strings.Contains(line, "fd00") {
			t.Errorf("done without IPv6: %s", line)
		}
	}
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	f.pristine(t, dir)
}

func TestWindowsFacts(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	h, _ := f.host(t, dir, "one")
	before, err := h.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	router := netip.MustParseAddr("192.168.1.1")
	want := routes.Facts{
		Routes: []routes.UnderlayRoute{
			{Destination: prefix("0.0.0.0/0"), Gateway: router, Device: "Ethernet", Hardware: "02:00:00:00:00:01", Metric: 25},
			{Destination: prefix("192.168.1.0/24"), Device: "Ethernet", Hardware: "02:00:00:00:00:01", Metric: 281},
			{Destination: prefix("fe80::/64"), Device: "Ethernet", Hardware: "02:00:00:00:00:01", Metric: 281},
			{Destination: prefix("10.9.0.0/16"), Gateway: netip.MustParseAddr("192.168.1.9"), Device: "Ethernet", Hardware: "02:00:00:00:00:01", Metric: 35},
		},
		Addresses:  []netip.Prefix{prefix("192.168.1.20/24"), prefix("fe80::20/64")},
		DNS:        []netip.Addr{router},
		DNSManager: "Windows",
	}
	check := func(got routes.Facts) {
		t.Helper()
		if !slices.Equal(got.Routes, want.Routes) || !slices.Equal(got.Addresses, want.Addresses) || !slices.Equal(got.DNS, want.DNS) || got.DNSManager != want.DNSManager {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
	check(before)
	tun := open(t, h, "")
	apply(t, h, fullPlan())
	after, err := h.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	check(after) // nothing of our own
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
}

// What we do is no change of the network; what others do to it is.
func TestWindowsChanges(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	h, m := f.host(t, dir, "one")
	tun := open(t, h, "")
	apply(t, h, fullPlan())
	around := winRoute{destination: prefix("203.0.113.5/32"), gateway: netip.MustParseAddr("192.168.1.1"), luid: luidEthernet}
	own := m.own.Load()
	for _, c := range []struct {
		what  string
		event winEvent
		want  bool
	}{
		{"our device", winEvent{what: winLink, luid: own}, false},
		{"an address of it", winEvent{what: winAddress, luid: own}, false},
		{"a route into it", winEvent{what: winRouteRow, luid: own, route: winRoute{destination: prefix("0.0.0.0/1"), luid: own}}, false},
		{"the way around, added", winEvent{what: winRouteRow, luid: luidEthernet, route: around}, false},
		{"the way around, deleted by another", winEvent{what: winRouteRow, luid: luidEthernet, route: around, removed: true}, true},
		{"multicast", winEvent{what: winRouteRow, luid: luidEthernet, route: winRoute{destination: prefix("224.0.0.0/4"), luid: luidEthernet}}, false},
		{"a default route", winEvent{what: winRouteRow, luid: luidWiFi, route: winRoute{destination: prefix("0.0.0.0/0"), luid: luidWiFi}}, true},
		{"Wi-Fi", winEvent{what: winLink, luid: luidWiFi}, true},
		{"its address", winEvent{what: winAddress, luid: luidWiFi}, true},
		{"our rules are in the registry", winEvent{what: winNames}, false},
	} {
		f.changed(c.event)
		got := false
		select {
		case <-h.Changes():
			got = true
		default:
		}
		if got != c.want {
			t.Errorf("%s: signal %v, want %v", c.what, got, c.want)
		}
	}
	apply(t, h, routes.Plan{})
	f.changed(winEvent{what: winRouteRow, luid: luidEthernet, route: around, removed: true})
	select {
	case <-h.Changes():
		t.Error("a signal when we deleted the way around ourselves")
	default:
	}
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
}

// Rows of others stay as they are, also those with a key of ours.
func TestWindowsOthersRows(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	theirs := winRoute{destination: prefix("203.0.113.5/32"), gateway: netip.MustParseAddr("192.168.1.1"), luid: luidEthernet, metric: 1}
	f.table = append(f.table, theirs)
	h, _ := f.host(t, dir, "one")
	tun := open(t, h, "")
	apply(t, h, fullPlan())
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(f.table, theirs) {
		t.Errorf("it is gone: %v", f.table)
	}
	// One that was changed meanwhile is somebody else's now.
	f = newFakeWindows()
	h, _ = f.host(t, dir, "one")
	tun = open(t, h, "")
	apply(t, h, fullPlan())
	f.table[f.find(theirs)].metric = 1
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(f.table, theirs) {
		t.Errorf("it is gone: %v", f.table)
	}
}

func TestWindowsAddressTaken(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	f.devices[2].addresses = []netip.Prefix{prefix("10.8.0.2/24")}
	h, _ := f.host(t, dir, "one")
	tun := open(t, h, "")
	err := h.Apply(context.Background(), splitPlan())
	if err == nil || !strings.Contains(err.Error(), `add address 10.8.0.2/24 to Adit: the adapter "WLAN" has this address`) {
		t.Error(err)
	}
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestWindowsNames(t *testing.T) {
	all := []winAdapter{{name: "Ethernet"}, {name: "Adit"}, {name: "adit 2"}}
	for wish, want := range map[string]string{
		"": "Adit 3", "tun0": "tun0", "ethernet": "ethernet 2", "a b": "Adit 3", `x\y`: "Adit 3", "ü": "Adit 3", strings.Repeat("x", 65): "Adit 3",
	} {
		if got := freeName(wish, all); got != want {
			t.Errorf("%q: %q, want %q", wish, got, want)
		}
	}
	if a, b := guidOf("adapter", "one"), guidOf("adapter", "two"); a == b || a != guidOf("adapter", "one") || len(a) != 38 {
		t.Errorf("%s %s", a, b)
	}
}

func FuzzParseNRPT(f *testing.F) {
	f.Add([]byte(`{"version":1,"tunnels":[{"name":"one","index":1,"device":"Adit","full":true,"dns":{"servers":["10.0.0.1:53"],"split":["a.example"]}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseNRPT(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, r := range s.rules() {
			for _, n := range r.values["Name"].([]string) {
				if seen[n] || n != "." && !validDomain(strings.TrimPrefix(n, ".")) {
					t.Errorf("rule for %q", n)
				}
				seen[n] = true
			}
		}
	})
}

// routePrint is the table of IPv4 as "route print -4" shows it: each row's metric with its interface's, in Windows' order.
// The rows that Windows itself makes for an address are not in it.
func (f *fakeWindows) routePrint() string {
	rows := slices.DeleteFunc(slices.Clone(f.table), func(r winRoute) bool { return !r.destination.Addr().Is4() })
	slices.SortStableFunc(rows, func(a, b winRoute) int { return a.destination.Compare(b.destination) })
	var b strings.Builder
	fmt.Fprintf(&b, "%19s %16s %16s %16s %6s\n", "Network Destination", "Netmask", "Gateway", "Interface", "Metric")
	for _, r := range rows {
		d := f.devices[f.at(r.luid)]
		gateway, mask := "On-link", net.IP(net.CIDRMask(r.destination.Bits(), 32))
		if r.gateway.IsValid() {
			gateway = r.gateway.String()
		}
		own := d.addresses[slices.IndexFunc(d.addresses, func(p netip.Prefix) bool { return p.Addr().Is4() })].Addr()
		fmt.Fprintf(&b, "%19s %16s %16s %16s %6d\n", r.destination.Addr(), mask, gateway, own, r.metric+d.metric4)
	}
	return b.String()
}

// TestWindowsRoutePrint is what a person sees of a full tunnel: the two halves on the tunnel's interface with its metric, which
// is the lowest, the server by the old gateway, the old default route as it was; and afterwards the table of before.
func TestWindowsRoutePrint(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	before := f.routePrint()
	h, _ := f.host(t, dir, "one")
	tun := open(t, h, "")
	apply(t, h, fullPlan())
	const want = `
Network Destination          Netmask          Gateway        Interface Metric
            0.0.0.0          0.0.0.0      192.168.1.1     192.168.1.20     25
            0.0.0.0        128.0.0.0          On-link         10.8.0.2      1
           10.9.0.0      255.255.0.0      192.168.1.9     192.168.1.20     35
          127.0.0.0        255.0.0.0          On-link        127.0.0.1    331
          128.0.0.0        128.0.0.0          On-link         10.8.0.2      1
        192.168.1.0    255.255.255.0          On-link     192.168.1.20    281
       192.168.1.20  255.255.255.255          On-link     192.168.1.20    281
      192.168.1.255  255.255.255.255          On-link     192.168.1.20    281
        203.0.113.5  255.255.255.255      192.168.1.1     192.168.1.20   9182
          224.0.0.0        240.0.0.0          On-link     192.168.1.20    281
    255.255.255.255  255.255.255.255          On-link     192.168.1.20    281
`
	if got := f.routePrint(); got != want[1:] {
		t.Errorf("route print:\n%s", got)
	}
	if err := errors.Join(h.Leave(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	if got := f.routePrint(); got != before {
		t.Errorf("route print afterwards:\n%sand before:\n%s", got, before)
	}
}
