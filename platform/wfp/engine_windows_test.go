package wfp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"github.com/adit-vpn/adit/routes"
)

// TestEngine closes guards in the system's own filtering engine, for networks that nobody has, finds them and opens
// them. It needs an administrator, and takes a second of the machine's connections anew.
//
// Under wine it needs testdata/fwpuclnt.c, and FWPUCLNT_LOG set to a file that is not there: then what the stand-in read by Microsoft's
// structures is compared with what was meant.
func TestEngine(t *testing.T) {
	f, err := New(Config{Dir: `C:\adit test`, Service: "aditd"})
	must(t, err)
	if exe, err := os.Executable(); err != nil || !strings.EqualFold(f.config.App, exe) || !strings.HasPrefix(f.config.User, "S-1-5-") {
		t.Errorf("this is %q of %s (%v)", f.config.App, f.config.User, err)
	}
	said := &teller{engine: f.engine}
	f.engine = said
	outer := []routes.Endpoint{{Address: netip.MustParseAddr("198.51.100.7"), Port: 1194, Transport: "udp"}, {Address: netip.MustParseAddr("2001:db8:ffff::7"), Transport: "tcp"}}
	g := routes.Guard{Closed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:ffff::/48")}, Outer: outer,
		Past: []netip.Prefix{netip.MustParsePrefix("192.0.2.128/25")}, Resolvers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Web: []netip.Prefix{netip.MustParsePrefix("192.0.2.80/32")},
		Inside: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	names := func(want ...string) {
		t.Helper()
		if got, err := f.Names(); err != nil || !slices.Equal(got, want) {
			t.Errorf("names: %q, %v, want %q", got, err, want)
		}
	}
	names()
	for range 2 {
		must(t, f.Shut("test", g, 1))
		names("test")
	}
	must(t, f.Shut("other", routes.Guard{Outer: outer[:1]}, 2))
	names("other", "test")
	g.Web, g.Closed = nil, append(g.Closed, netip.MustParsePrefix("198.18.0.0/15"))
	must(t, f.Shut("test", g, 1))
	for _, name := range []string{"test", "other"} {
		if did, err := f.Open(name); !did || err != nil {
			t.Errorf("opened %s: %t, %v", name, did, err)
		}
	}
	names()

	log := os.Getenv("FWPUCLNT_LOG")
	if log == "" {
		return
	}
	heard, err := os.ReadFile(filepath.Clean(log))
	must(t, err)
	got, want := strings.Split(strings.TrimSpace(string(heard)), "\n"), said.lines
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d: heard\n%s\nmeant\n%s", i, at(got, i), at(want, i))
		}
	}
	t.Logf("%d calls were heard as they were meant", len(want))
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}

// teller is an engine that says what each call means, in the words of testdata/fwpuclnt.c.
type teller struct {
	engine
	lines []string
}

func (l *teller) say(err error, format string, args ...any) error {
	if err == nil {
		l.lines = append(l.lines, fmt.Sprintf(format, args...))
	}
	return err
}

func (l *teller) open() (session, error) {
	s, err := l.engine.open()
	return &told{s, l}, l.say(err, "open Adit wait 5000")
}

type told struct {
	session
	l *teller
}

func (s *told) begin() error  { return s.l.say(s.session.begin(), "begin 0") }
func (s *told) commit() error { return s.l.say(s.session.commit(), "commit") }
func (s *told) close() error  { return s.l.say(s.session.close(), "close") }

func (s *told) addProvider(service string) error {
	return s.l.say(s.session.addProvider(service), "provider %x Adit flags 1 service %s", provider.bytes(), service)
}

func (s *told) deleteProvider() error {
	return s.l.say(s.session.deleteProvider(), "no provider %x", provider.bytes())
}

func (s *told) addSublayer(sub sublayer) error {
	return s.l.say(s.session.addSublayer(sub), "sublayer %x %s flags 1 weight 65535 data %x", sub.key.bytes(), sub.name, sub.data)
}

func (s *told) deleteSublayer(key guid) error {
	return s.l.say(s.session.deleteSublayer(key), "no sublayer %x", key.bytes())
}

func (s *told) addFilter(key guid, f filter) error {
	action, flagged := 0x1002, 1
	if f.block {
		action = 0x1001
	}
	if f.boot {
		flagged = 2
	}
	out := fmt.Sprintf("filter %x in %x at %x weight 1 %d action %x flags %d Adit: %s data %x", key.bytes(), f.sublayer.bytes(), layerKeys[f.layer].bytes(), f.weight, action, flagged, f.name, f.data)
	for _, c := range f.conditions {
		match, kind, what := 0, 0, fmt.Sprint(c.value.number)
		switch c.field {
		case flags:
			match, kind = 6, 3
		case protocol:
			kind = 1
		case remotePort, localPort:
			kind = 2
		case device, outDevice:
			kind = 4
		case program:
			kind, what = 12, hex.EncodeToString([]byte(c.value.text))
		case user:
			sd, err := descriptor(c.value.text)
			if err != nil {
				return err
			}
			kind, what = 14, hex.EncodeToString(sd)
		default:
			p := c.value.prefix
			if ip := p.Addr(); ip.Is4() {
				b := ip.As4()
				kind, what = 0x100, fmt.Sprintf("%08x/%08x", binary.BigEndian.Uint32(b[:]), ^uint32(0)<<(32-p.Bits()))
			} else {
				kind, what = 0x101, fmt.Sprintf("%x/%d", ip.As16(), p.Bits())
			}
		}
		out += fmt.Sprintf(" [%x %d %d %s]", fieldKeys[c.field].bytes(), match, kind, what)
	}
	return s.l.say(s.session.addFilter(key, f), "%s", out)
}

func (s *told) deleteFilter(key guid) error {
	return s.l.say(s.session.deleteFilter(key), "no filter %x", key.bytes())
}

// TestDescriptor: one right, for one SID, in the form that the engine takes.
func TestDescriptor(t *testing.T) {
	b, err := descriptor(service)
	must(t, err)
	sd, err := windows.SecurityDescriptorFromString("D:(A;;CC;;;" + service + ")")
	must(t, err)
	control, _, err := sd.Control()
	must(t, err)
	if control&windows.SE_SELF_RELATIVE == 0 || len(b) != int(sd.Length()) || b[0] != 1 {
		t.Errorf("%x, control %x", b, control)
	}
	if _, err := descriptor("nobody at all"); err == nil {
		t.Error("no SID at all made a descriptor")
	}
}
