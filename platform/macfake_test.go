package platform

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeMac is macOS in memory. It writes down what changes something, and outlives the machines over it.
type fakeMac struct {
	lines    []string
	fail     map[string]error // by the first words of a line
	devices  []macLink
	rows     []macRoute
	store    map[string]map[string]any // of SystemConfiguration: a []string, or a string
	mute     bool                      // the store takes nothing
	main     []string                  // PF's main ruleset
	pf       map[string]string         // the text of each anchor
	enabled  bool
	tokens   map[string]bool
	last     int // token
	deaf     bool
	heard    chan []macNote
	closed   chan struct{}
	watching sync.Once
	ticks    chan time.Time
	mu       sync.Mutex // held while a program runs: the watch runs some, too
}

func newFakeMac() *fakeMac {
	return &fakeMac{
		fail: map[string]error{}, store: map[string]map[string]any{}, pf: map[string]string{}, tokens: map[string]bool{},
		heard: make(chan []macNote), ticks: make(chan time.Time), closed: make(chan struct{}),
		main: []string{`scrub-anchor "com.apple/*" all fragment reassemble`, `anchor "com.apple/*" all`},
		devices: []macLink{
			{Index: 1, Name: "lo0", Addresses: []netip.Prefix{prefix("127.0.0.1/8"), prefix("::1/128"), prefix("fe80::1/64")}},
			{Index: 4, Name: "en0", Hardware: "a4:83:e7:00:00:01", Addresses: []netip.Prefix{prefix("192.168.1.50/24"), prefix("fe80::50/64")}},
			{Index: 5, Name: "en1", Hardware: "a4:83:e7:00:00:02"},
		},
		rows: []macRoute{
			{prefix("0.0.0.0/0"), netip.MustParseAddr("192.168.1.1"), 4, rtfUp | rtfGateway | rtfStatic},
			{prefix("0.0.0.0/0"), netip.MustParseAddr("172.16.0.1"), 5, rtfUp | rtfGateway | rtfStatic | rtfScoped},
			{prefix("127.0.0.0/8"), netip.MustParseAddr("127.0.0.1"), 1, rtfUp | rtfStatic},
			{prefix("192.168.1.0/24"), netip.Addr{}, 4, rtfUp | 0x100},
			{prefix("192.168.1.1/32"), netip.Addr{}, 4, rtfUp | rtfHost | rtfLinkInfo | rtfCloned},
			{prefix("224.0.0.0/4"), netip.Addr{}, 4, rtfUp | rtfMulticast},
			{prefix("255.255.255.255/32"), netip.Addr{}, 4, rtfUp | rtfHost | rtfBroadcast},
			{prefix("::/0"), netip.MustParseAddr("fe80::1"), 4, rtfUp | rtfGateway},
			{prefix("fe80::/64"), netip.Addr{}, 4, rtfUp},
		},
	}
}

func (f *fakeMac) did(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	for words, err := range f.fail {
		if err != nil && strings.HasPrefix(line, words) {
			return err
		}
	}
	f.lines = append(f.lines, line)
	return nil
}

func (f *fakeMac) note(format string, args ...any) {
	f.lines = append(f.lines, "", "# "+fmt.Sprintf(format, args...))
}

// golden compares what was written down with a file.
func (f *fakeMac) golden(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", "macos", name+".txt")
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

// state is all of it that a Host changes.
func (f *fakeMac) state() string {
	return fmt.Sprint(f.devices, f.rows, f.store, f.main, f.pf, f.enabled, f.tokens)
}

func (f *fakeMac) host(t *testing.T, dir, name string) Host {
	t.Helper()
	h, err := newHost(HostConfig{JournalDir: dir, Name: name, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, f.machine())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// machine has an id of its own in the recordings, wherever the test's directory is; dir is set by those who need it.
func (f *fakeMac) machine() *macMachine {
	m := newMacMachine(f, "/var/lib/adit/journal", nil)
	m.id = "0123abcd"
	return m
}

type fakeUTUN struct {
	fakeTUN
	f *fakeMac
	l macLink
}

func (t *fakeUTUN) Name() string { return t.l.Name }

// Close takes the device away with what is on it, as the kernel does.
func (t *fakeUTUN) Close() error {
	t.f.devices = slices.DeleteFunc(t.f.devices, func(l macLink) bool { return l.Index == t.l.Index })
	t.f.rows = slices.DeleteFunc(t.f.rows, func(r macRoute) bool { return r.Index == t.l.Index })
	return nil
}

func (f *fakeMac) openTUN(name string, mtu int) (TUN, error) {
	index := 10
	for slices.ContainsFunc(f.devices, func(l macLink) bool { return l.Index == index }) {
		index++
	}
	l := macLink{Index: index, Name: fmt.Sprintf("utun%d", index-6)}
	if err := f.did("utun+ %s, MTU %d", l.Name, mtu); err != nil {
		return nil, err
	}
	f.devices = append(f.devices, l)
	return &fakeUTUN{fakeTUN{mtu}, f, l}, nil
}

func (f *fakeMac) setMTU(device string, mtu int) error { return f.did("MTU of %s: %d", device, mtu) }

func (f *fakeMac) ioctl(family int, request uint, argument []byte) error {
	if err := f.did("ioctl %#x of family %d, %d bytes: %s", request, family, len(argument), hex.EncodeToString(argument)); err != nil {
		return err
	}
	at, size := 20, 4 // of the address, behind the name and the head of a sockaddr
	if family == macInet6 {
		at, size = 24, 16
	}
	a, _ := netip.AddrFromSlice(argument[at : at+size])
	name := strings.TrimRight(string(argument[:16]), "\x00")
	for i := range f.devices {
		d := &f.devices[i]
		if d.Name != name {
			continue
		}
		d.Addresses = slices.DeleteFunc(slices.Clone(d.Addresses), func(p netip.Prefix) bool { return p.Addr() == a })
		if request == siocAddAddress || request == siocAddAddress6 {
			ones := 0
			mask := argument[16+2*(len(sockaddr(a)))+at-16:][:size]
			for _, b := range mask {
				ones += bits.OnesCount8(b)
			}
			d.Addresses = append(d.Addresses, netip.PrefixFrom(a, ones))
		}
	}
	return nil
}

func (f *fakeMac) links() ([]macLink, error) { return f.devices, f.fail["links"] }

func (f *fakeMac) table() ([]macRoute, error) { return slices.Clone(f.rows), f.fail["table"] }

func (f *fakeMac) change(kind int, r macRoute) error {
	at := slices.IndexFunc(f.rows, func(x macRoute) bool { return x.Destination == r.Destination && x.Flags&rtfScoped == 0 })
	word := "RTM_ADD"
	if kind == macRouteDelete {
		word = "RTM_DELETE"
		if at < 0 {
			return syscall.ESRCH
		}
	} else if at >= 0 && f.rows[at].Flags&rtfCloned == 0 {
		return syscall.EEXIST
	}
	way := fmt.Sprintf("link#%d", r.Index)
	if r.Gateway.IsValid() {
		way = fmt.Sprintf("%s link#%d", r.Gateway, r.Index)
	}
	if err := f.did("%s %s by %s, flags %#x", word, r.Destination, way, r.Flags); err != nil {
		return err
	}
	if kind == macRouteDelete {
		f.rows = slices.Delete(f.rows, at, at+1)
		return nil
	}
	if r.Index == 0 {
		r.Index = 1 // of the gateway 127.0.0.1
	}
	f.rows = append(f.rows, r)
	return nil
}

type fakeNotes struct{ f *fakeMac }

func (f *fakeMac) notes() (macNotes, error) { return fakeNotes{f}, f.fail["notes"] }

func (n fakeNotes) read() ([]macNote, error) {
	select {
	case heard := <-n.f.heard:
		return heard, nil
	case <-n.f.closed:
		return nil, os.ErrClosed
	}
}

func (n fakeNotes) close() error {
	n.f.watching.Do(func() { close(n.f.closed) })
	return nil
}

func (f *fakeMac) every(time.Duration) (<-chan time.Time, func()) { return f.ticks, func() {} }

func (f *fakeMac) run(_ context.Context, program string, args []string, text string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch program {
	case "/usr/sbin/scutil":
		return f.scutil(text)
	case "/sbin/pfctl":
		return f.pfctl(args, text)
	}
	return "", fmt.Errorf("%s is not one of the two programs", program)
}

// scutil does what scutil.tproj does with such scripts.
func (f *fakeMac) scutil(script string) (string, error) {
	if err := f.fail["scutil"]; err != nil {
		return "", err
	}
	var out strings.Builder
	value := map[string]any{}
	var changes []string
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.Split(line, " ")
		switch words[0] {
		case "d.init":
			value = map[string]any{}
			changes = append(changes, line)
		case "d.add":
			changes = append(changes, line)
			rest := words[2:]
			list := false
			for len(rest) > 0 && (rest[0] == "*" || rest[0] == "#") {
				list = list || rest[0] == "*"
				rest = rest[1:]
			}
			for i, w := range rest {
				rest[i] = strings.Trim(w, `"`)
			}
			if list {
				value[words[1]] = slices.Clone(rest)
			} else {
				value[words[1]] = rest[0]
			}
		case "set", "remove":
			if f.mute {
				out.WriteString("  Permission denied\n")
				continue
			}
			changes = append(changes, line)
			delete(f.store, words[1])
			if words[0] == "set" {
				f.store[words[1]] = value
			}
		case "show":
			f.show(&out, words[1:])
		case "quit":
		default:
			return "", fmt.Errorf("scutil does not know %q", line)
		}
	}
	if len(changes) > 0 {
		if err := f.did("scutil"); err != nil {
			return "", err
		}
		for _, c := range changes {
			f.lines = append(f.lines, "  "+c)
		}
	}
	return out.String(), nil
}

func (f *fakeMac) show(out *strings.Builder, words []string) {
	if len(words) == 1 {
		v, ok := f.store[words[0]]
		if !ok {
			out.WriteString("  No such key\n")
			return
		}
		showDictionary(out, "", v)
		return
	}
	pattern := regexp.MustCompile("^" + words[0] + "$")
	out.WriteString("<dictionary> {\n")
	for _, key := range slices.Sorted(maps.Keys(f.store)) {
		if pattern.MatchString(key) {
			fmt.Fprintf(out, "  %s : ", key)
			showDictionary(out, "  ", f.store[key])
		}
	}
	out.WriteString("}\n")
}

func showDictionary(out *strings.Builder, indent string, v map[string]any) {
	out.WriteString("<dictionary> {\n")
	for _, key := range slices.Sorted(maps.Keys(v)) {
		switch x := v[key].(type) {
		case []string:
			fmt.Fprintf(out, "%s  %s : <array> {\n", indent, key)
			for i, w := range x {
				fmt.Fprintf(out, "%s    %d : %s\n", indent, i, w)
			}
			fmt.Fprintf(out, "%s  }\n", indent)
		default:
			fmt.Fprintf(out, "%s  %s : %v\n", indent, key, x)
		}
	}
	fmt.Fprintf(out, "%s}\n", indent)
}

// pfctl knows the calls that we make, and no other.
func (f *fakeMac) pfctl(args []string, text string) (string, error) {
	const noise = "No ALTQ support in kernel\nALTQ related functions disabled\n"
	line := "pfctl " + strings.Join(args, " ")
	change := func() error {
		if err := f.did("%s", line); err != nil {
			return err
		}
		for l := range strings.Lines(text) {
			f.lines = append(f.lines, "  "+strings.TrimSuffix(l, "\n"))
		}
		return nil
	}
	switch {
	case line == "pfctl -s rules":
		return noise + strings.Join(f.main, "\n") + "\n", nil
	case line == "pfctl -a com.apple -s Anchors":
		out := noise + "  com.apple/250.ApplicationFirewall\n"
		for _, a := range slices.Sorted(maps.Keys(f.pf)) {
			out += "  " + a + "\n"
		}
		return out, f.fail["anchors"]
	case line == "pfctl -s info":
		if f.enabled {
			return noise + "Status: Enabled for 0 days 00:00:10           Debug: Urgent\n", nil
		}
		return noise + "Status: Disabled                              Debug: Urgent\n", nil
	case line == "pfctl -s References":
		out := noise + "TOKENS:\nPID      Process Name                 TOKEN                    TIMESTAMP\n"
		for _, token := range slices.Sorted(maps.Keys(f.tokens)) {
			out += "77       pfctl                        " + token + "              0 days 00:00:10\n"
		}
		return out, nil
	case line == "pfctl -E":
		if err := change(); err != nil {
			return "", err
		}
		f.last++
		token := fmt.Sprint(11111111110 + f.last)
		f.enabled, f.tokens[token] = true, true
		if f.deaf {
			return noise + "pf enabled\n", nil
		}
		return noise + "pf enabled\nToken : " + token + "\n", nil
	case len(args) == 2 && args[0] == "-X":
		if !f.tokens[args[1]] {
			return "pfctl: pf token not found", errors.New("exit status 1")
		}
		delete(f.tokens, args[1])
		f.enabled = len(f.tokens) > 0
		return "", change()
	case line == "pfctl -F states":
		return "", change()
	case len(args) == 4 && args[0] == "-a" && args[2] == "-f" && args[3] == "-":
		if err := change(); err != nil {
			return "", err
		}
		f.pf[args[1]] = text
		return noise, nil
	case len(args) == 4 && args[0] == "-a" && args[2] == "-F" && args[3] == "all":
		if err := change(); err != nil {
			return "", err
		}
		delete(f.pf, args[1])
		return "", nil
	}
	return "", fmt.Errorf("nobody expects %q", line)
}
