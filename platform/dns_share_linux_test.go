package platform

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/adit-vpn/adit/routes"
)

// dnsOf is the DNS of a tunnel with one server.
func dnsOf(server string, search ...string) routes.DNS {
	return routes.DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort(server + ":53")}, Search: search}
}

// allTraffic are the routes of a full tunnel without IPv6.
var allTraffic = []routes.Route{
	{Destination: netip.MustParsePrefix("0.0.0.0/1")}, {Destination: netip.MustParsePrefix("128.0.0.0/1")},
	{Destination: netip.MustParsePrefix("::/1"), Unreachable: true}, {Destination: netip.MustParsePrefix("8000::/1"), Unreachable: true},
}

func TestOneFileSeveralTunnels(t *testing.T) {
	enterNS(t)
	etc, dir, ctx := etcDir(t), t.TempDir(), context.Background()
	path := filepath.Join(etc, "resolv.conf")
	before, err := os.ReadFile(path)
	must(t, err)
	a, b, c := openHost(t, dir, "a", etc), openHost(t, dir, "b", etc), openHost(t, dir, "c", etc)
	holds := func(when, want string) {
		t.Helper()
		text, err := os.ReadFile(path)
		must(t, err)
		if got := strings.ReplaceAll(strings.TrimSpace(strings.TrimPrefix(string(text), fileMark)), "\n", "; "); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	must(t, a.Apply(ctx, routes.Plan{DNS: dnsOf("10.0.0.1", "a.example")}))
	must(t, b.Apply(ctx, routes.Plan{DNS: dnsOf("10.0.0.2", "b.example")}))
	holds("the newest is first", "search b.example; nameserver 10.0.0.2; options edns0")
	must(t, a.Apply(ctx, routes.Plan{DNS: dnsOf("10.0.0.11", "a.example")}))
	holds("who changes keeps its place", "search b.example; nameserver 10.0.0.2; options edns0")
	must(t, c.Apply(ctx, routes.Plan{DNS: routes.DNS{Search: []string{"c.example"}}}))
	holds("domains alone take no place", "search b.example c.example; nameserver 10.0.0.2; options edns0")
	tun, err := a.OpenTUN("", 1500)
	must(t, err)
	must(t, a.Apply(ctx, routes.Plan{DNS: dnsOf("10.0.0.11", "a.example"), Routes: allTraffic}))
	holds("who takes all traffic is first", "search a.example c.example; nameserver 10.0.0.11; options edns0")
	if f, err := b.Facts(ctx); err != nil || len(f.DNS) != 1 || f.DNS[0].String() != "192.168.1.1" || f.DNSManager != "/etc/resolv.conf" {
		t.Errorf("facts: %v %q %v", f.DNS, f.DNSManager, err)
	}
	kill(a)                                                     // and only a: what it left is no obstacle to the others
	if n, err := CleanUp(ctx, dir, nil); n != 3 || err != nil { // two unreachable halves and DNS
		t.Errorf("CleanUp: %d, %v", n, err)
	}
	tun.Close()
	holds("after the first was killed", "search b.example c.example; nameserver 10.0.0.2; options edns0")
	must(t, b.Close())
	holds("domains alone keep the system's servers", "search c.example; nameserver 192.168.1.1; options edns0")
	must(t, c.Close())
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("after: %s %v", after, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in the journal: %v", left)
	}
}

// Another program puts its own file there while the tunnel is up: ours is put there again, theirs is the
// new ground, and what comes back in the end.
func TestFileTakenOver(t *testing.T) {
	enterNS(t)
	etc, ctx := etcDir(t), context.Background()
	path := filepath.Join(etc, "resolv.conf")
	h := openHost(t, t.TempDir(), "one", etc)
	must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
	for i, theirs := range []string{"nameserver 8.8.8.8\n", "# by hand\nnameserver 9.9.9.9\n"} {
		if i > 0 { // the next Apply finds out, too, as after a sleep
			h.dnsWatch.close()
		}
		must(t, os.WriteFile(path+".new", []byte(theirs), 0o644))
		must(t, os.Rename(path+".new", path))
		for text := []byte(nil); i == 0 && !strings.Contains(string(text), "nameserver 10.1.0.2\n"); time.Sleep(10 * time.Millisecond) {
			text, _ = os.ReadFile(path) // until the test's own time is up
		}
		must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
		if text, _ := os.ReadFile(path); !strings.Contains(string(text), "nameserver 10.1.0.2\n") || strings.Contains(string(text), "8.8.8.8") {
			t.Errorf("after Apply: %s", text)
		}
		if f, err := h.Facts(ctx); err != nil || !slices.Equal(f.DNS, nameservers([]byte(theirs))) {
			t.Errorf("facts: %v %v", f.DNS, err)
		}
	}
	select {
	case <-h.Changes():
		t.Error("DNS is no change of the underlay")
	default:
	}
	must(t, h.Close())
	if text, _ := os.ReadFile(path); string(text) != "# by hand\nnameserver 9.9.9.9\n" {
		t.Errorf("after: %s", text)
	}
}

// A crash after the record and before the change leaves nothing to undo.
func TestCrashBeforeTheChange(t *testing.T) {
	enterNS(t)
	etc, dir, ctx := etcDir(t), t.TempDir(), context.Background()
	path := filepath.Join(etc, "resolv.conf")
	r := &resolver{dir: dir, etc: etc, log: orSilent(nil)}
	saved, err := saveFile(path)
	must(t, err)
	must(t, r.save(&dnsState{Kind: dnsFile, Etc: etc, File: saved, Tunnels: []tunnelDNS{{Name: "one", DNS: corpDNS}}}))
	must(t, os.WriteFile(filepath.Join(dir, "."+stateName+".adit-1"), []byte("{"), 0o600)) // and a record that was being written
	must(t, os.WriteFile(filepath.Join(etc, ".resolv.conf.adit-1"), []byte("nameserv"), 0o600))
	if n, err := CleanUp(ctx, dir, nil); n != 0 || err != nil {
		t.Errorf("CleanUp: %d, %v", n, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != string(saved.Data) {
		t.Errorf("after: %s %v", text, err)
	}
	for _, d := range []string{dir, etc} {
		if left, _ := filepath.Glob(filepath.Join(d, ".*")); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// A file that cannot be written is an error that names it, and leaves no record.
func TestFileReadOnly(t *testing.T) {
	enterNS(t)
	dir, ctx := t.TempDir(), context.Background()
	h := openHost(t, dir, "one", "/proc/self") // no file can be made there, whoever asks
	err := h.Apply(ctx, routes.Plan{DNS: corpDNS})
	if err == nil || !strings.Contains(err.Error(), "resolv.conf") {
		t.Errorf("got %v", err)
	}
	if left, err := h.dns.names(); len(left) > 0 || err != nil {
		t.Errorf("left %v %v", left, err)
	}
}

func TestSettingsOfLinks(t *testing.T) {
	split := dnsOf("10.0.0.3")
	split.Split = []string{"c.example"}
	a, b, c := tunnelDNS{Name: "a", DNS: dnsOf("10.0.0.1", "a.example")}, tunnelDNS{Name: "b", DNS: dnsOf("10.0.0.2")}, tunnelDNS{Name: "c", DNS: split}
	full := func(t tunnelDNS) tunnelDNS { t.Full = true; return t }
	every := linkDomain{".", true}
	for _, x := range []struct {
		name    string
		tunnels []tunnelDNS
		want    map[string][]linkDomain
		all     string
	}{
		{"one", []tunnelDNS{a}, map[string][]linkDomain{"a": {{"a.example", false}, every}}, "a"},
		{"split beside", []tunnelDNS{c, a}, map[string][]linkDomain{"a": {{"a.example", false}, every}, "c": {{"c.example", true}}}, "a"},
		{"two that want all", []tunnelDNS{b, a}, map[string][]linkDomain{"a": {{"a.example", false}, every}, "b": {every}}, "ab"},
		{"all traffic wins", []tunnelDNS{b, full(a)}, map[string][]linkDomain{"a": {{"a.example", false}, every}, "b": {}}, "a"},
		{"the newest of two", []tunnelDNS{full(b), full(a)}, map[string][]linkDomain{"a": {{"a.example", false}}, "b": {every}}, "b"},
		{"all traffic, some names", []tunnelDNS{b, full(c)}, map[string][]linkDomain{"b": {every}, "c": {{"c.example", true}}}, "b"},
	} {
		s := &dnsState{Tunnels: x.tunnels}
		all := ""
		for _, t1 := range x.tunnels {
			l := s.settings(t1)
			if !reflect.DeepEqual(l.domains, x.want[t1.Name]) {
				t.Errorf("%s: %s has %v", x.name, t1.Name, l.domains)
			}
			if l.all {
				all = t1.Name + all
			}
		}
		if all != x.all {
			t.Errorf("%s: all names go to %q", x.name, all)
		}
	}
}

func TestChoose(t *testing.T) {
	bin := t.TempDir()
	program := filepath.Join(bin, "resolvconf")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	must(t, os.Symlink("resolvectl", filepath.Join(bin, "resolvectl-resolvconf")))
	bus := privateBus(t, &resolve1{state: map[string]any{}})
	const silent = "unix:path=/nonexistent"
	for _, c := range []struct {
		name, link, text, nsswitch, bus, program string
		was, want                                string
	}{
		{"the stub", "../run/systemd/resolve/stub-resolv.conf", "", "", bus, program, "", dnsResolved},
		{"the stub by address", "", "nameserver 127.0.0.53\noptions edns0\n", "", bus, program, "", dnsResolved},
		{"the stub, static", "/usr/lib/systemd/resolv.conf", "", "", bus, program, "", dnsResolved},
		{"the stub and another", "", "nameserver 127.0.0.53\nnameserver 9.9.9.9\n", "", bus, "", "", dnsFile},
		{"the list of all servers", "/run/systemd/resolve/resolv.conf", "", "hosts: files dns\n", bus, "", "", dnsFile},
		{"the same with nss-resolve", "/run/systemd/resolve/resolv.conf", "", "hosts: files resolve [!UNAVAIL=return] dns\n", bus, "", "", dnsResolved},
		{"a stub without resolved", "../run/systemd/resolve/stub-resolv.conf", "", "", silent, "", "", dnsFile},
		{"resolved just restarts", "../run/systemd/resolve/stub-resolv.conf", "", "", silent, "", dnsResolved, dnsResolved},
		{"NetworkManager that is gone", "", "# Generated by NetworkManager\nnameserver 9.9.9.9\n", "", silent, "", "", dnsFile},
		{"NetworkManager just restarts", "/run/NetworkManager/resolv.conf", "", "", silent, "", dnsNetworkManager, dnsNetworkManager},
		{"Debian's resolvconf", "../run/resolvconf/resolv.conf", "", "", silent, program, "", dnsResolvconf},
		{"openresolv", "", "# Generated by resolvconf\nnameserver 9.9.9.9\n", "", silent, program, "", dnsResolvconf},
		{"resolvconf beside a file of one's own", "", "nameserver 9.9.9.9\n", "", silent, program, "", dnsFile},
		{"resolved's resolvconf", "", "# Generated by resolvconf\n", "", silent, filepath.Join(bin, "resolvectl-resolvconf"), "", dnsFile},
		{"a comment further down", "", "nameserver 9.9.9.9\n# Generated by resolvconf\n", "", silent, program, "", dnsFile},
		{"our own file", "", fileMark + "nameserver 127.0.0.53\n", "", bus, program, dnsFile, dnsFile},
		{"nothing", "", "", "", silent, program, "", dnsFile},
	} {
		etc := t.TempDir()
		path := filepath.Join(etc, "resolv.conf")
		switch {
		case c.link != "":
			must(t, os.Symlink(c.link, path))
		case c.text != "":
			must(t, os.WriteFile(path, []byte(c.text), 0o644))
		}
		must(t, os.WriteFile(filepath.Join(etc, "nsswitch.conf"), []byte(c.nsswitch), 0o644))
		r := &resolver{etc: etc, bus: c.bus, resolvconf: c.program, log: orSilent(nil)}
		if got, _ := r.choose(context.Background(), &dnsState{Kind: c.was}); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestGlobalDNS(t *testing.T) {
	for _, g := range []globalDNS{
		{},
		{Searches: []string{"a.example"}, Options: []string{"edns0"}, Domains: map[string]globalDomain{"*": {Servers: []string{"10.0.0.1", "fd64::1"}}, "b.example": {Servers: []string{"10.0.0.2"}, Options: []string{"x"}}}},
	} {
		if got, err := readGlobal(g.variant()); err != nil || !got.equal(g) {
			t.Errorf("%+v came back as %+v, %v", g, got, err)
		}
	}
	for _, v := range []dbus.Variant{dbus.MakeVariant("x"), dbus.MakeVariant(map[string]dbus.Variant{"domains": dbus.MakeVariant(1)}), dbus.MakeVariant(map[string]dbus.Variant{"searches": dbus.MakeVariant(1)})} {
		if got, err := readGlobal(v); err == nil {
			t.Errorf("%v was read as %+v", v, got)
		}
	}
}

func FuzzDNSState(f *testing.F) {
	f.Add([]byte(`{"version":1,"kind":"file","etc":"/etc","file":{"path":"/etc/resolv.conf","data":"eA=="},"tunnels":[{"name":"a","dns":{"servers":["10.0.0.1:53"]}}]}`))
	f.Add([]byte(`{"version":1,"kind":"networkmanager","previous":{"domains":{"*":{}}},"underlay":["fe80::1%x"],"tunnels":[{"name":"../a","dns":{"search":["a b"]}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseState(text)
		if err != nil {
			return
		}
		d, first := s.plain()
		if first != "" && s.Tunnels.index(first) < 0 {
			t.Errorf("%q is first and not there", first)
		}
		for line := range strings.Lines(string(resolvConfText(d, nil))) {
			if !strings.HasPrefix(line, "search ") && !strings.HasPrefix(line, "nameserver ") {
				t.Errorf("a line of another kind: %q", line)
			}
		}
		for _, x := range s.Tunnels {
			s.settings(x)
		}
		s.global()
	})
}

// A record of a NetworkManager that was removed since must not stop every start.
func TestNetworkManagerIsGone(t *testing.T) {
	r := &resolver{dir: t.TempDir(), log: orSilent(nil)}
	must(t, r.save(&dnsState{Kind: dnsNetworkManager, Bus: "unix:path=/nonexistent", Tunnels: []tunnelDNS{{Name: "one", DNS: corpDNS}}}))
	did, err := r.remove(t.Context(), "one")
	if left, e := r.names(); did || err != nil || len(left) > 0 || e != nil {
		t.Errorf("got %v, %v; left %v, %v", did, err, left, e)
	}
}
