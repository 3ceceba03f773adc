package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/routes"
)

var corpDNS = routes.DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.2:53"), netip.MustParseAddrPort("[fd64::53]:53")}, Search: []string{"corp.example", "example"}}

const corpText = "# Made by Adit for a tunnel. The file that was here comes back when the tunnel ends.\n" +
	"search corp.example example\nnameserver 10.1.0.2\nnameserver fd64::53\n"

func TestResolvConfFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		make   func(t *testing.T, path string)
		during string
	}{
		{"a file", func(t *testing.T, p string) {
			must(t, os.WriteFile(p, []byte("nameserver 9.9.9.9\noptions edns0\n"), 0o640))
		}, corpText + "options edns0\n"},
		{"a link", func(t *testing.T, p string) {
			must(t, os.WriteFile(filepath.Join(filepath.Dir(p), "real.conf"), []byte("nameserver 9.9.9.9\n"), 0o644))
			must(t, os.Symlink("real.conf", p))
		}, corpText},
		{"a dangling link", func(t *testing.T, p string) { must(t, os.Symlink("../run/none", p)) }, corpText},
		{"no file", func(*testing.T, string) {}, corpText},
	} {
		t.Run(c.name, func(t *testing.T) {
			enterNS(t)
			etc, dir, ctx := t.TempDir(), t.TempDir(), context.Background()
			path := filepath.Join(etc, "resolv.conf")
			c.make(t, path)
			look := func() string {
				st, err := os.Lstat(path)
				if errors.Is(err, fs.ErrNotExist) {
					return "absent"
				}
				must(t, err)
				link, _ := os.Readlink(path)
				text, _ := os.ReadFile(path)
				return st.Mode().String() + " " + link + "\n" + string(text)
			}
			before := look()
			h := openHost(t, dir, "one", etc)
			for range 2 {
				must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
			}
			if text, _ := os.ReadFile(path); string(text) != c.during {
				t.Errorf("during:\n%s", text)
			}
			if _, err := saveFile(path); err == nil {
				t.Error("another Adit may take the file over")
			}
			must(t, h.Apply(ctx, routes.Plan{}))
			if got := look(); got != before {
				t.Errorf("before %q, after %q", before, got)
			}
			// The same after a kill.
			must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
			kill(h)
			if n, err := CleanUp(ctx, dir, nil); n != 1 || err != nil {
				t.Errorf("CleanUp undid %d, %v", n, err)
			}
			if got := look(); got != before {
				t.Errorf("before %q, after CleanUp %q", before, got)
			}
			if left, _ := filepath.Glob(filepath.Join(etc, ".*")); len(left) != 0 {
				t.Errorf("left in etc: %v", left)
			}
		})
	}
}

func TestCVE_2026_13379_ResolvConfChangedByOthers(t *testing.T) {
	enterNS(t)
	etc, ctx := etcDir(t), context.Background()
	path := filepath.Join(etc, "resolv.conf")
	h := openHost(t, t.TempDir(), "one", etc)
	must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
	must(t, os.WriteFile(path, []byte("nameserver 8.8.8.8\n"), 0o644)) // a DHCP client writes
	must(t, h.Apply(ctx, routes.Plan{}))
	if text, _ := os.ReadFile(path); string(text) != "nameserver 8.8.8.8\n" {
		t.Errorf("somebody else's file was overwritten: %s", text)
	}
	if left, err := h.dns.names(); len(left) > 0 || err != nil {
		t.Errorf("the record still wants to undo it: %v, %v", left, err)
	}
}

// A crash between truncating a file that is a mount of its own and writing it.
func TestResolvConfCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for _, left := range []string{"", "# Made by Ad"} {
		must(t, os.WriteFile(path, []byte("nameserver 9.9.9.9\n"), 0o644))
		saved, err := saveFile(path)
		must(t, err)
		must(t, os.WriteFile(path, []byte(left), 0o644))
		did, err := saved.restore(orSilent(nil))
		got, rerr := os.ReadFile(path)
		must(t, errors.Join(err, rerr))
		if !did || string(got) != "nameserver 9.9.9.9\n" {
			t.Errorf("after %q: %v, %q", left, did, got)
		}
	}
}

// A record of a resolvconf that was removed since must not stop every start.
func TestResolvconfIsGone(t *testing.T) {
	r := &resolver{dir: t.TempDir(), log: orSilent(nil)}
	must(t, r.save(&dnsState{Kind: dnsResolvconf, Program: filepath.Join(t.TempDir(), "resolvconf"), Tunnels: []tunnelDNS{{Name: "one", DNS: corpDNS}}}))
	did, err := r.remove(t.Context(), "one")
	if left, e := r.names(); did || err != nil || len(left) > 0 || e != nil {
		t.Errorf("got %v, %v; left %v, %v", did, err, left, e)
	}
}

// In containers resolv.conf is a mount of its own, which cannot be renamed over, and often the only thing in /etc
// that may be written.
func TestResolvConfIsAMount(t *testing.T) {
	enterNS(t)
	must(t, unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	etc, ctx := t.TempDir(), context.Background()
	must(t, unix.Mount("tmpfs", etc, "tmpfs", 0, ""))
	path := filepath.Join(etc, "resolv.conf")
	must(t, os.WriteFile(path, nil, 0o644))
	source := filepath.Join(t.TempDir(), "source")
	must(t, os.WriteFile(source, []byte("nameserver 9.9.9.9\n"), 0o644))
	must(t, unix.Mount(source, path, "", unix.MS_BIND, ""))
	for _, flags := range []uintptr{0, unix.MS_RDONLY} {
		must(t, unix.Mount("", etc, "", unix.MS_REMOUNT|flags, ""))
		h := openHost(t, t.TempDir(), "one", etc)
		must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
		if text, _ := os.ReadFile(source); string(text) != corpText {
			t.Errorf("during: %s", text)
		}
		must(t, h.Close())
		if text, _ := os.ReadFile(source); string(text) != "nameserver 9.9.9.9\n" {
			t.Errorf("after: %s", text)
		}
	}
	must(t, unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	h := openHost(t, t.TempDir(), "one", etc)
	if err := h.Apply(ctx, routes.Plan{DNS: corpDNS}); !errors.Is(err, ErrDNS) || !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), path) {
		t.Errorf("a read-only file: %v", err)
	}
	must(t, h.Close())
	must(t, unix.Unmount(path, 0))
	must(t, unix.Unmount(etc, 0))
}

func TestPlainResolversRefuse(t *testing.T) {
	enterNS(t)
	etc, ctx := etcDir(t), context.Background()
	h := openHost(t, t.TempDir(), "one", etc)
	for want, f := range map[string]func(*routes.DNS){
		"some domains only":  func(d *routes.DNS) { d.Split = []string{"corp.example"} },
		"over TLS":           func(d *routes.DNS) { d.Transport = "DoT" },
		"DoH":                func(d *routes.DNS) { d.Transport = "DoH" },
		"DNSSEC":             func(d *routes.DNS) { d.DNSSEC = "yes" },
		"other than 53":      func(d *routes.DNS) { d.Servers = []netip.AddrPort{netip.MustParseAddrPort("10.1.0.2:5353")} },
		"domain \"a b\"":     func(d *routes.DNS) { d.Search = []string{"a b"} },
		"nameserver 6.6.6.6": func(d *routes.DNS) { d.Search = []string{"x\nnameserver 6.6.6.6"} },
	} {
		must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
		d := corpDNS
		f(&d)
		err := h.Apply(ctx, routes.Plan{DNS: d})
		if !errors.Is(err, ErrDNS) || !strings.Contains(strings.ReplaceAll(err.Error(), `\n`, " "), strings.ReplaceAll(want, `\n`, " ")) {
			t.Errorf("%s: %v", want, err)
		}
		if text, _ := os.ReadFile(filepath.Join(etc, "resolv.conf")); strings.Contains(string(text), "Adit") {
			t.Errorf("%s: the former DNS stays: %s", want, text)
		}
	}
	// Search domains alone keep the system's servers.
	must(t, h.Apply(ctx, routes.Plan{DNS: routes.DNS{Search: []string{"corp.example"}}}))
	text, _ := os.ReadFile(filepath.Join(etc, "resolv.conf"))
	if !strings.Contains(string(text), "search corp.example\nnameserver 192.168.1.1\n") {
		t.Errorf("search only: %s", text)
	}
}

func TestResolvconfProgram(t *testing.T) {
	enterNS(t)
	bin, etc, dir, ctx := t.TempDir(), etcDir(t), t.TempDir(), context.Background()
	must(t, os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte("# Generated by resolvconf\nnameserver 10.1.0.2\n"), 0o644))
	calls := filepath.Join(bin, "calls")
	program := filepath.Join(bin, "resolvconf")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n{ echo \"args: $*\"; echo \"home: $HOME\"; /bin/cat; } >>"+calls+"\n[ ! -e "+bin+"/broken ] || { echo it broke >&2; exit 3; }\n"), 0o755))
	cfg := HostConfig{JournalDir: dir, Name: "one", Etc: etc, Bus: "unix:path=/nonexistent", Resolvconf: program}
	open := func() (*linuxHost, TUN) {
		x, err := NewHost(cfg)
		must(t, err)
		tun, err := x.OpenTUN("", 1500)
		must(t, err)
		return x.(*linuxHost), tun
	}
	took := func() string {
		text, _ := os.ReadFile(calls)
		os.Remove(calls)
		return string(text)
	}
	const added = "args: -a tun0.adit -m 0 -x\nhome: \nsearch corp.example example\nnameserver 10.1.0.2\nnameserver fd64::53\n"
	h, tun := open()
	must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
	if got := took(); got != added {
		t.Errorf("add: %q", got)
	}
	must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
	if got := took(); got != "" {
		t.Errorf("again: %q", got)
	}
	tun.Close()
	must(t, h.Close())
	if got := took(); got != "args: -d tun0.adit -f\nhome: \n" {
		t.Errorf("undo: %q", got)
	}
	h, _ = open()
	must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
	took()
	kill(h)
	if n, err := CleanUp(ctx, dir, nil); n != 1 || err != nil || took() != "args: -d tun0.adit -f\nhome: \n" {
		t.Errorf("CleanUp: %d, %v", n, err)
	}
	h, tun = open()
	must(t, os.WriteFile(filepath.Join(bin, "broken"), nil, 0o644))
	if err := h.Apply(ctx, routes.Plan{DNS: corpDNS}); !errors.Is(err, ErrDNS) || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("broken: %v", err)
	}
	must(t, os.Remove(filepath.Join(bin, "broken")))
	tun.Close()
	must(t, h.Close())
	if _, err := runResolvconf(ctx, filepath.Join(bin, "other"), nil); err == nil {
		t.Error("another program than resolvconf was run")
	}
}

// resolve1 stands for systemd-resolved on a private bus: it knows the method
// signatures of org.freedesktop.resolve1(5), which D-Bus checks, and records values.
type resolve1 struct {
	mu    sync.Mutex
	state map[string]any
}

func (r *resolve1) set(k string, v any) *dbus.Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v == nil {
		clear(r.state)
	} else {
		r.state[k] = v
	}
	return nil
}
func (r *resolve1) SetLinkDNS(i int32, a []linkDNS) *dbus.Error        { return r.set("dns", a) }
func (r *resolve1) SetLinkDNSEx(i int32, a []linkDNSEx) *dbus.Error    { return r.set("dns", a) }
func (r *resolve1) SetLinkDomains(i int32, a []linkDomain) *dbus.Error { return r.set("domains", a) }
func (r *resolve1) SetLinkDefaultRoute(i int32, b bool) *dbus.Error    { return r.set("default", b) }
func (r *resolve1) SetLinkDNSSEC(i int32, s string) *dbus.Error        { return r.set("dnssec", s) }
func (r *resolve1) SetLinkDNSOverTLS(i int32, s string) *dbus.Error    { return r.set("tls", s) }
func (r *resolve1) FlushCaches() *dbus.Error                           { return nil }
func (r *resolve1) RevertLink(i int32) *dbus.Error                     { return r.set("", nil) }
func (r *resolve1) GetLink(i int32) (dbus.ObjectPath, *dbus.Error) {
	return resolvedPath + "/link", nil
}

// GetAll is the link's properties, which show port 53 as 0.
func (r *resolve1) GetAll(string) (map[string]dbus.Variant, *dbus.Error) {
	now := r.snapshot()
	servers, _ := now["dns"].([]linkDNSEx)
	plain, _ := now["dns"].([]linkDNS)
	for _, s := range plain {
		servers = append(servers, linkDNSEx{s.Family, s.Address, 0, ""})
	}
	domains, _ := now["domains"].([]linkDomain)
	all, _ := now["default"].(bool)
	return map[string]dbus.Variant{"DNSEx": dbus.MakeVariant(servers), "Domains": dbus.MakeVariant(domains), "DefaultRoute": dbus.MakeVariant(all)}, nil
}

func (r *resolve1) snapshot() map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := map[string]any{}
	for k, v := range r.state {
		m[k] = v
	}
	return m
}

// privateBus starts a dbus-daemon of the test's own with resolve1 on it.
func privateBus(t *testing.T, r *resolve1) string {
	t.Helper()
	path, err := exec.LookPath("dbus-daemon")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no dbus-daemon")
	}
	dir := t.TempDir()
	address := "unix:path=" + filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "bus.conf")
	must(t, os.WriteFile(conf, []byte(`<busconfig><type>custom</type><listen>`+address+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="false"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`), 0o600))
	cmd := exec.Command(path, "--config-file="+conf, "--nofork", "--nopidfile", "--print-address")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	_, err = out.Read(make([]byte, 1)) // it listens once it prints
	must(t, err)
	conn, err := dbus.Connect(address)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.Export(r, resolvedPath, resolvedName+".Manager"))
	must(t, conn.Export(r, resolvedPath+"/link", "org.freedesktop.DBus.Properties"))
	must(t, conn.ExportMethodTable(map[string]any{"Get": func(iface, name string) (dbus.Variant, *dbus.Error) {
		if iface != "org.freedesktop.resolve1.Manager" || name != "DNS" {
			return dbus.Variant{}, dbus.MakeFailedError(errors.New("no such property"))
		}
		servers, _ := r.snapshot()["of all links"].([]serverOfLink)
		return dbus.MakeVariant(servers), nil
	}}, resolvedPath, "org.freedesktop.DBus.Properties"))
	if _, err := conn.RequestName(resolvedName, 0); err != nil {
		t.Fatal(err)
	}
	return address
}

func TestResolved(t *testing.T) {
	r := &resolve1{state: map[string]any{}}
	bus := privateBus(t, r)
	nl := enterNS(t)
	etc, dir, ctx := t.TempDir(), t.TempDir(), context.Background()
	must(t, os.Symlink("../run/systemd/resolve/stub-resolv.conf", filepath.Join(etc, "resolv.conf")))
	x, err := NewHost(HostConfig{JournalDir: dir, Name: "one", Etc: etc, Bus: bus})
	must(t, err)
	h := x.(*linuxHost)
	tun, err := h.OpenTUN("", 1500)
	must(t, err)
	check := func(want map[string]any) {
		t.Helper()
		if got := r.snapshot(); !reflect.DeepEqual(got, want) {
			t.Errorf("resolved has %v, want %v", got, want)
		}
	}
	must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
	six := netip.MustParseAddr("fd64::53").AsSlice()
	check(map[string]any{"dns": []linkDNS{{2, []byte{10, 1, 0, 2}}, {10, six}}, "default": true, "dnssec": "", "tls": "",
		"domains": []linkDomain{{"corp.example", false}, {"example", false}, {".", true}}})
	split := routes.DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.2:853")}, Split: []string{"corp.example"}, Transport: "DoT", SNI: "dns.example", DNSSEC: "optional"}
	must(t, h.Apply(ctx, routes.Plan{DNS: split}))
	check(map[string]any{"dns": []linkDNSEx{{2, []byte{10, 1, 0, 2}, 853, "dns.example"}}, "default": false, "dnssec": "allow-downgrade", "tls": "yes",
		"domains": []linkDomain{{"corp.example", true}}})
	must(t, h.Apply(ctx, routes.Plan{}))
	check(map[string]any{})
	// After a kill the link is gone, and resolved forgets by itself; another link with
	// its index must not lose anything.
	must(t, h.Apply(ctx, routes.Plan{DNS: split}))
	state, err := h.dns.record().load()
	must(t, err)
	tun.Close()
	kill(h)
	lo, _ := nl.LinkByName("lo")
	other := state.Tunnels[0]
	other.Index = lo.Attrs().Index
	m, err := h.dns.manager(state)
	must(t, err)
	if did, err := m.forget(ctx, &dnsState{}, other); did || err != nil || len(r.snapshot()) == 0 {
		t.Errorf("another link was reverted: %v %v", did, err)
	}
	if n, err := CleanUp(ctx, dir, nil); n != 0 || err != nil {
		t.Errorf("CleanUp: %d, %v", n, err)
	}
	if text, err := os.Readlink(filepath.Join(etc, "resolv.conf")); err != nil || !strings.Contains(text, "stub") {
		t.Errorf("the link was touched: %v", err)
	}
}

// The network has a server that the tunnel has, too: it stays one of the network's.
func TestResolvedSameServer(t *testing.T) {
	r := &resolve1{state: map[string]any{}}
	bus := privateBus(t, r)
	nl := enterNS(t)
	etc, dir, ctx := t.TempDir(), t.TempDir(), context.Background()
	must(t, os.Symlink("../run/systemd/resolve/stub-resolv.conf", filepath.Join(etc, "resolv.conf")))
	x, err := NewHost(HostConfig{JournalDir: dir, Name: "one", Etc: etc, Bus: bus})
	must(t, err)
	h := x.(*linuxHost)
	defer h.Close()
	_, err = h.OpenTUN("", 1500)
	must(t, err)
	lo, err := nl.LinkByName("lo")
	must(t, err)
	tun, err := nl.LinkByName("tun0")
	must(t, err)
	outside, inside := int32(lo.Attrs().Index), int32(tun.Attrs().Index)
	six := netip.MustParseAddr("fe80::1")
	for _, c := range []struct {
		has  []serverOfLink
		want string
	}{
		{[]serverOfLink{{0, 2, []byte{9, 9, 9, 9}}, {inside, 2, []byte{10, 1, 0, 2}}, {outside, 2, []byte{10, 1, 0, 2}}, {outside, 10, six.AsSlice()}, {outside, 2, []byte{9, 9, 9, 9}}},
			"9.9.9.9 10.1.0.2 fe80::1%lo"},
		{[]serverOfLink{{inside, 2, []byte{10, 1, 0, 2}}}, ""},
		{[]serverOfLink{{outside, 2, nil}, {inside + 7, 2, []byte{10, 1, 0, 2}}}, "10.1.0.2"},
	} {
		must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
		r.set("of all links", c.has)
		f, err := h.Facts(ctx)
		must(t, err)
		if got := strings.Trim(fmt.Sprint(f.DNS), "[]"); got != c.want {
			t.Errorf("with %v: %s, want %s", c.has, got, c.want)
		}
	}
	must(t, h.Apply(ctx, routes.Plan{}))
}

// resolvconf's other entries are the network's, whatever of them is in resolv.conf.
func TestResolvconfSameServer(t *testing.T) {
	enterNS(t)
	bin, etc, ctx := t.TempDir(), etcDir(t), context.Background()
	conf, program, list := filepath.Join(etc, "resolv.conf"), filepath.Join(bin, "resolvconf"), filepath.Join(bin, "list")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n[ \"$1\" != -l ] || exec /bin/cat "+list+"\n"), 0o755))
	x, err := NewHost(HostConfig{JournalDir: t.TempDir(), Name: "one", Etc: etc, Bus: "unix:path=/nonexistent", Resolvconf: program})
	must(t, err)
	h := x.(*linuxHost)
	defer h.Close()
	_, err = h.OpenTUN("", 1500)
	must(t, err)
	const generated, ours = "# Generated by resolvconf\n", "# resolv.conf from tun0.adit\nsearch corp.example\nnameserver 10.1.0.2\nnameserver fd64::53\n\n"
	for _, c := range []struct{ name, file, list, want string }{
		{"before", "nameserver 192.168.1.1\n", "", "192.168.1.1"},
		{"a cache of this machine, before", "nameserver 127.0.0.1\n", "# resolv.conf from lo.dnsmasq\nnameserver 127.0.0.1\n# resolv.conf from eth0\nnameserver 192.168.1.1\n", "127.0.0.1 192.168.1.1"},
		{"no other is shown", "nameserver 10.1.0.2\n", ours + "# resolv.conf from eth0\nnameserver 192.168.1.1\n", "192.168.1.1"},
		{"the same", "nameserver 10.1.0.2\n", "# resolv.conf from eth0\nnameserver 10.1.0.2\n" + ours + "# resolv.conf from eth1\nnameserver 192.168.1.1\n", "10.1.0.2 192.168.1.1"},
	} {
		must(t, os.WriteFile(conf, []byte(generated+c.file), 0o644))
		must(t, os.WriteFile(list, []byte(c.list), 0o644))
		if strings.Contains(c.file, "10.1.0.2") {
			must(t, h.Apply(ctx, routes.Plan{DNS: corpDNS}))
		}
		f, err := h.Facts(ctx)
		must(t, err)
		if got := strings.Trim(fmt.Sprint(f.DNS), "[]"); got != c.want || f.DNSManager != "resolvconf" {
			t.Errorf("%s: %s by %s, want %s", c.name, got, f.DNSManager, c.want)
		}
	}
}

func TestCreateTUN(t *testing.T) {
	nl := enterNS(t)
	create := func(name string, mtu, queues int) []TUN {
		all, err := CreateTUN(name, mtu, queues)
		must(t, err)
		for _, q := range all {
			if len(all) != queues || q.Name() != all[0].Name() || q.MTU() != all[0].MTU() {
				t.Errorf("%d queues, wanted %d: %s %d beside %s %d", len(all), queues, q.Name(), q.MTU(), all[0].Name(), all[0].MTU())
			}
		}
		return all
	}
	as := create("office", 1400, 2)
	a, b, c := as[0], create("", 1300, 1)[0], create("office", 0, 1)[0]
	defer c.Close()
	for _, q := range create("office", 1500, 2) { // a device that shares its queues with nobody, though it could
		if q.Name() != "tun2" {
			t.Errorf("the name of another device is taken: %s", q.Name())
		}
		defer q.Close()
	}
	if a.Name() != "office" || b.Name() != "tun0" || c.Name() != "tun1" || a.MTU() != 1400 || b.MTU() != 1300 || c.MTU() != 1500 || a.BatchSize() < 2 {
		t.Errorf("%s %d, %s %d, %s %d", a.Name(), a.MTU(), b.Name(), b.MTU(), c.Name(), c.MTU())
	}
	if l, err := nl.LinkByName("office"); err != nil || l.Attrs().MTU != 1400 || l.Attrs().Flags&1 == 0 {
		t.Errorf("%v %v", l, err)
	}
	_, err := a.Write([][]byte{make([]byte, 50)})
	if err == nil || errors.Is(err, os.ErrClosed) {
		t.Errorf("a packet of zeros: %v", err)
	}
	// Close ends a blocked Read.
	done := make(chan error)
	go func() {
		pkts := make([]offload.Packet, a.BatchSize())
		for {
			if _, err := a.Read(pkts); err != nil {
				done <- err
				return
			}
		}
	}()
	must(t, a.Close())
	must(t, a.Close())
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := a.Write([][]byte{make([]byte, 50)}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if _, err := nl.LinkByName("office"); err != nil {
		t.Errorf("the device went with one of its queues: %v", err)
	}
	must(t, as[1].Close())
	var gone netlink.LinkNotFoundError
	if _, err := nl.LinkByName("office"); !errors.As(err, &gone) {
		t.Errorf("the device stays: %v", err)
	}
	// Somebody else deletes the device.
	l, _ := nl.LinkByName(b.Name())
	must(t, nl.LinkDel(l))
	for err = nil; err == nil; {
		_, err = b.Read(make([]offload.Packet, b.BatchSize()))
	}
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read of a deleted device: %v", err)
	}
	b.Close()
	// Without rights: this thread alone becomes nobody, and is thrown away after the test.
	runtime.LockOSThread()
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
		t.Fatal(e)
	}
	if _, err := CreateTUN("", 1500, 1); !errors.Is(err, ErrTUNNotPermitted) {
		t.Errorf("as nobody: %v", err)
	}
}
