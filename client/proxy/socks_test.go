package proxy

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/udp"
)

// script is the other end of a conversation: "<" lines are expected, ">" lines are sent, in hex.
func script(t *testing.T, lines ...string) Dial {
	here, there := connection(t)
	done := make(chan struct{})
	t.Cleanup(func() { here.Close(); <-done })
	go func() {
		defer close(done)
		defer there.Close()
		for _, l := range lines {
			b, err := hex.DecodeString(strings.ReplaceAll(l[1:], " ", ""))
			if err != nil {
				t.Error(err)
			}
			if l[0] == '>' {
				if _, err := there.Write(b); err != nil {
					return
				}
				continue
			}
			got := make([]byte, len(b))
			if _, err := io.ReadFull(there, got); err != nil || !bytes.Equal(got, b) {
				t.Errorf("got %x (%v), want %x", got, err, b)
				return
			}
		}
	}()
	return func(context.Context) (net.Conn, error) { return here, nil }
}

// connection gives the two ends of a TCP connection. A pipe would not do: its end refuses a deadline
// as soon as the other end is closed.
func connection(t *testing.T) (here, there net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return here, there
}

func TestSOCKSConnect(t *testing.T) {
	const greet, greet2, free, password = "<05 01 00", "<05 02 00 02", ">05 00", ">05 02"
	const toName = "<05 01 00 03 03 766e70 04aa"
	const ok = ">05 00 00 01 0a000001 1234"
	for name, c := range map[string]struct {
		user  string
		host  string
		lines []string
		cause Cause
		text  string // empty: it works
	}{
		"name":           {"", "vnp", []string{greet, free, toName, ok}, 0, ""},
		"IPv4":           {"", "192.0.2.1", []string{greet, free, "<05 01 00 01 c0000201 04aa", ok}, 0, ""},
		"IPv6":           {"", "2001:db8::1", []string{greet, free, "<05 01 00 04 20010db8000000000000000000000001 04aa", ">05 00 00 04 20010db8000000000000000000000001 1234"}, 0, ""},
		"answer by name": {"", "vnp", []string{greet, free, toName, ">05 00 00 03 05 70726f7879 1234"}, 0, ""},
		"empty name":     {"", "vnp", []string{greet, free, toName, ">05 00 00 03 00 1234"}, 0, ""},
		"password":       {"al", "vnp", []string{greet2, password, "<01 02 616c 06 67656865696d", ">01 00", toName, ok}, 0, ""},
		"old password":   {"al", "vnp", []string{greet2, password, "<01 02 616c 06 67656865696d", ">05 00", toName, ok}, 0, ""},
		"not needed":     {"al", "vnp", []string{greet2, free, toName, ok}, 0, ""},

		"wrong password":  {"al", "vnp", []string{greet2, password, "<01 02 616c 06 67656865696d", ">01 01"}, CredentialsRefused, "does not accept"},
		"hangs up on it":  {"al", "vnp", []string{greet2, password, "<01 02 616c 06 67656865696d"}, CredentialsRefused, "hangs up"},
		"password needed": {"", "vnp", []string{greet, ">05 ff"}, CredentialsNeeded, "user name"},
		"chooses wrongly": {"", "vnp", []string{greet, ">05 02"}, CredentialsNeeded, "user name"},
		"only GSSAPI":     {"al", "vnp", []string{greet2, ">05 01"}, CredentialsNeeded, "no sign-in"},
		"SOCKS4":          {"", "vnp", []string{greet, ">00 5b"}, Broken, "SOCKS5"},
		"HTTP":            {"", "vnp", []string{greet, ">48 54"}, Broken, "SOCKS5"},
		"rules":           {"", "vnp", []string{greet, free, toName, ">05 02 00 01 00000000 0000"}, TargetRefused, "rules"},
		"refused, short":  {"", "vnp", []string{greet, free, toName, ">05 05 00 00"}, TargetRefused, "refused"},
		"no such command": {"", "vnp", []string{greet, free, toName, ">05 07 00 01 00000000 0000"}, Broken, "command"},
		"unknown code":    {"", "vnp", []string{greet, free, toName, ">05 63 00 01 00000000 0000"}, TargetRefused, "99"},
		"address type":    {"", "vnp", []string{greet, free, toName, ">05 00 00 02 00000000 0000"}, Broken, "type 2"},
		"cut":             {"", "vnp", []string{greet, free, toName, ">05 00 00 01 0000"}, Unreachable, "EOF"},
		"cut name":        {"", "vnp", []string{greet, free, toName, ">05 00 00 03 ff 00"}, Unreachable, "EOF"},
		"silence":         {"", "vnp", []string{greet}, Unreachable, "EOF"},
		"other version":   {"", "vnp", []string{greet, free, toName, ">04 00 00 01 00000000 0000"}, Broken, "SOCKS5"},
		"long name":       {"", strings.Repeat("n", 256), []string{greet, free}, Broken, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Kind: SOCKS5, Host: "p", Port: 1080, User: c.user, Password: "geheim"}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if c.text == "" {
				c.lines = append(c.lines, ">68656c6c6f") // the server's bytes
			}
			conn, err := cfg.Connect(ctx, script(t, c.lines...), Target{c.host, 1194})
			if c.text != "" {
				causeIs(t, err, c.cause, c.text)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(conn); string(b) != "hello" {
				t.Errorf("the stream begins with %q", b)
			}
		})
	}
}

// hung is a UDP socket that is only opened and closed.
type hung struct{ udp.Conn }

func (hung) Close() error { return nil }

func TestAssociate(t *testing.T) {
	proxyAt := netip.MustParseAddr("198.51.100.7")
	target := Target{"192.0.2.1", 1194}
	for name, c := range map[string]struct {
		answer string
		relay  string
		text   string
	}{
		"here":         {">05 00 00 01 c6336407 1f90", "198.51.100.7:8080", ""},
		"unspecified":  {">05 00 00 01 00000000 1f90", "198.51.100.7:8080", ""},
		"unspecified6": {">05 00 00 04 00000000000000000000000000000000 1f90", "198.51.100.7:8080", ""},
		"a name":       {">05 00 00 03 01 70 1f90", "", "no port"},
		"no port":      {">05 00 00 01 c6336407 0000", "", "no port"},
		"elsewhere":    {">05 00 00 01 0a000001 1f90", "", "another machine, 10.0.0.1:8080"},
		"not possible": {">05 07 00 01 00000000 0000", "", "UDP ASSOCIATE"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Kind: SOCKS5, Host: "p", Port: 1080}
			dialled := ""
			dialUDP := func(_ context.Context, relay netip.AddrPort) (udp.Conn, error) {
				dialled = relay.String()
				return hung{}, nil
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			a, err := cfg.Associate(ctx, script(t, "<05 01 00", ">05 00", "<05 03 00 01 00000000 0000", c.answer), dialUDP, proxyAt, target)
			if c.text != "" {
				causeIs(t, err, Broken, c.text)
				return
			}
			if err != nil || dialled != c.relay {
				t.Fatalf("%v, dialled %s", err, dialled)
			}
			causeIs(t, a.Wait(), Unreachable, "ended the relay") // the script is at its end
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	cfg := Config{Kind: HTTP, Host: "p", Port: 3128}
	_, err := cfg.Associate(context.Background(), nil, nil, proxyAt, target)
	causeIs(t, err, Broken, "TCP only")
}

func TestRelayHeaders(t *testing.T) {
	for target, size := range map[string]int{"192.0.2.1": 10, "2001:db8::1": 22, "vpn.example": 18} {
		header, err := appendTarget(make([]byte, 3), Target{target, 1194})
		if err != nil {
			t.Fatal(err)
		}
		a := &Association{header: header}
		if a.HeaderSize() != size {
			t.Errorf("%s: header of %d bytes", target, a.HeaderSize())
		}
		buf, sizes := []byte{}, []int{5, 5, 3}
		for i, n := range sizes {
			buf = append(buf, make([]byte, size)...)
			buf = append(buf, bytes.Repeat([]byte{byte('a' + i)}, n)...)
		}
		want := ""
		for i, n := range []int{5, 5, 3} {
			want += string(a.Append(nil, bytes.Repeat([]byte{byte('a' + i)}, n)))
		}
		n := a.PutEach(buf, sizes)
		if n != len(buf) || string(buf) != want || sizes[0] != 5+size || sizes[2] != 3+size {
			t.Errorf("%s: %d bytes, sizes %v: %x", target, n, sizes, buf)
		}
		if got := Payload(buf[:sizes[0]]); string(got) != "aaaaa" {
			t.Errorf("%s: payload %q", target, got)
		}
		if n := testing.AllocsPerRun(100, func() {
			sizes[0], sizes[1], sizes[2] = 5, 5, 3
			a.PutEach(buf, sizes)
			Payload(buf)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	for _, bad := range []string{"", "00000001", "0000010100000000000061", "000000010000000000", "00000001000000000000", "00000003000000", "00000003ff616161", "0000000200000000000061"} {
		b, _ := hex.DecodeString(bad)
		if got := Payload(b); len(got) != 0 {
			t.Errorf("%s: payload %x", bad, got)
		}
	}
	b, _ := hex.DecodeString("0000000303616161000161")
	if got := Payload(b); string(got) != "a" {
		t.Errorf("payload behind a name: %q", got)
	}
}

// replay answers every read from one text.
type replay struct{ *bytes.Reader }

func (replay) Write(b []byte) (int, error) { return len(b), nil }

// FuzzSOCKS reads what a proxy says and what a relay sends.
func FuzzSOCKS(f *testing.F) {
	for _, s := range []string{"0500050000010a0000011234", "050201000500000300ff", "05000500000400000000000000000000000000000000ffff", "05ff"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, u := range []string{"", "u"} {
			c := Config{Kind: SOCKS5, User: u, Password: push.Secret("geheim")}
			r := bytes.NewReader(b)
			a, err := c.talk(replay{r}, commandAssociate, Target{Host: "0.0.0.0"})
			if err != nil && a.IsValid() || err != nil && strings.Contains(err.Error(), "geheim") {
				t.Fatal(a, err)
			}
		}
		if p := Payload(b); len(p) > 0 && !bytes.HasSuffix(b, p) {
			t.Fatalf("%x is not the end of %x", p, b)
		}
	})
}
