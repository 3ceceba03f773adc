package radius

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

var testSecret = []byte("testing123")

// fake is a RADIUS server: answer decides what it sends back, and may send itself.
func fake(t *testing.T, answer func(c *net.UDPConn, from *net.UDPAddr, request []byte) []byte) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, maxPacket)
		for {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if b := answer(c, from, buf[:n]); b != nil {
				c.WriteToUDP(b, from)
			}
		}
	})
	t.Cleanup(func() { c.Close(); wg.Wait() })
	return c.LocalAddr().String()
}

func client(t *testing.T, change func(*Config), servers ...string) *Client {
	t.Helper()
	cfg := Config{Servers: servers, Secret: push.Secret(testSecret), Protocol: PAP, Timeout: 300 * time.Millisecond, Retries: 1}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Answers that are not the asked server's good answer to this request are as none.
func TestDropped(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(c *net.UDPConn, from *net.UDPAddr, request []byte) []byte
		want   string
	}{
		{"bad authenticator", func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
			return answer(codeAccept, q, []byte("another12"), true)
		}, "shared secret"},
		{"no Message-Authenticator", func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
			return answer(codeAccept, q, testSecret, false)
		}, "CVE-2024-3596"},
		{"another port of the server", func(_ *net.UDPConn, from *net.UDPAddr, q []byte) []byte {
			o, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, from)
			if err != nil {
				panic(err)
			}
			defer o.Close()
			o.Write(answer(codeAccept, q, testSecret, true))
			return nil
		}, "asked 2 times"},
		{"another address", func(c *net.UDPConn, from *net.UDPAddr, q []byte) []byte {
			o, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 99), Port: c.LocalAddr().(*net.UDPAddr).Port}, from)
			if err != nil {
				return nil // not Linux: there is no such address
			}
			defer o.Close()
			o.Write(answer(codeAccept, q, testSecret, true))
			return nil
		}, "asked 2 times"},
		{"another identifier", func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
			b := answer(codeAccept, q, testSecret, true)
			b[1]++
			return b
		}, "identifier"},
		{"cut off", func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
			return answer(codeAccept, q, testSecret, true)[:30]
		}, "malformed"},
		{"its own request", func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte { return q }, "code 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a, err := client(t, nil, fake(t, tc.answer)).Ask(t.Context(), Question{User: "alice", Password: "123456"})
			if !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%+v, %v, want %q", a, err, tc.want)
			}
			if strings.Contains(err.Error(), "123456") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

// A good answer counts, however many bad ones come before it.
func TestGoodAfterBad(t *testing.T) {
	server := fake(t, func(c *net.UDPConn, from *net.UDPAddr, q []byte) []byte {
		for range 20 {
			c.WriteToUDP(answer(codeReject, q, []byte("another12"), true), from)
		}
		return answer(codeAccept, q, testSecret, true)
	})
	a, err := client(t, nil, server).Ask(t.Context(), Question{User: "alice", Password: "1"})
	if err != nil || a.Verdict != Accepted {
		t.Errorf("%+v %v", a, err)
	}
}

func TestUnsignedIfWanted(t *testing.T) {
	server := fake(t, func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte { return answer(codeAccept, q, testSecret, false) })
	c := client(t, func(c *Config) { c.Unsigned = true }, server)
	if a, err := c.Ask(t.Context(), Question{User: "alice", Password: "1"}); err != nil || a.Verdict != Accepted {
		t.Errorf("%+v %v", a, err)
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "CVE-2024-3596") {
		t.Errorf("warnings %q", w)
	}
	forged := fake(t, func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
		b := answer(codeReject, q, testSecret, true)
		b[0] = codeAccept
		return reseal(b, q, testSecret)
	})
	if a, err := client(t, func(c *Config) { c.Unsigned = true }, forged).Ask(t.Context(), Question{User: "alice", Password: "1"}); err == nil {
		t.Errorf("a wrong Message-Authenticator is worse than none: %+v", a)
	}
}

// The same packet is sent again, and a lost answer costs one timeout.
func TestRetry(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	server := fake(t, func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if seen = append(seen, string(q)); len(seen) < 3 {
			return nil
		}
		return answer(codeReject, q, testSecret, true, attribute{attrReplyMessage, []byte("no\nsuch \x1b[31mcode ")})
	})
	a, err := client(t, func(c *Config) { c.Retries = 2 }, server).Ask(t.Context(), Question{User: "alice", Password: "1"})
	if err != nil || a.Verdict != Rejected || a.Message != "no such [31mcode" {
		t.Fatalf("%+v %v", a, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 3 || seen[0] != seen[1] || seen[1] != seen[2] {
		t.Errorf("%d requests, not three that are the same", len(seen))
	}
}

// A silent server is passed over, and asked last the next time; an answer ends the search.
func TestNextServer(t *testing.T) {
	var mute, second, third atomic.Int32
	a := fake(t, func(*net.UDPConn, *net.UDPAddr, []byte) []byte { mute.Add(1); return nil })
	b := fake(t, func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
		second.Add(1)
		return answer(codeReject, q, testSecret, true)
	})
	c := fake(t, func(*net.UDPConn, *net.UDPAddr, []byte) []byte { third.Add(1); return nil })
	k := client(t, nil, a, b, c)
	for range 3 {
		if got, err := k.Ask(t.Context(), Question{User: "alice", Password: "1"}); err != nil || got.Verdict != Rejected {
			t.Fatalf("%+v %v", got, err)
		}
	}
	if mute.Load() != 2 || second.Load() != 3 || third.Load() != 0 {
		t.Errorf("the servers were asked %d, %d and %d times", mute.Load(), second.Load(), third.Load())
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := l.LocalAddr().String()
	l.Close()
	mute := fake(t, func(*net.UDPConn, *net.UDPAddr, []byte) []byte { return nil })
	a, err := client(t, nil, server, mute).Ask(t.Context(), Question{User: "alice", Password: "1"})
	if !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), server) || !strings.Contains(err.Error(), mute) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%+v %v", a, err)
	}
}

// However it is configured, silence ends within the budget.
func TestBudget(t *testing.T) {
	c := client(t, func(c *Config) { c.Timeout, c.Retries = 50*time.Second, 10 }, "127.0.0.1:1", "127.0.0.1:2")
	if total := c.wait * 22; total > Budget {
		t.Errorf("%v in all", total)
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "50s") {
		t.Errorf("warnings %q", w)
	}
	ctx, cancel := context.WithCancel(t.Context())
	mute := fake(t, func(*net.UDPConn, *net.UDPAddr, []byte) []byte { cancel(); return nil })
	began := time.Now()
	_, err := client(t, func(c *Config) { c.Timeout = 50 * time.Second; c.Retries = 0 }, mute).Ask(ctx, Question{User: "alice", Password: "1"})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
		t.Errorf("cancelled after %v: %v", time.Since(began), err)
	}
}

// MS-CHAPv2 proves both ends: who does not know the password cannot accept.
func TestMSCHAP2Success(t *testing.T) {
	server := fake(t, func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
		proof := append([]byte{0, 0, 1, 0x37, msCHAP2Success, 45, 7}, "S=407A5589115FD0D6209F510FE9C04566932CDA56"...)
		return answer(codeAccept, q, testSecret, true, attribute{attrVendor, proof})
	})
	c := client(t, func(c *Config) { c.Protocol = MSCHAPv2 }, server)
	if a, err := c.Ask(t.Context(), Question{User: "alice", Password: "1"}); !errors.Is(err, errNoSuccess) {
		t.Errorf("%+v %v", a, err)
	}
}

func TestUnfit(t *testing.T) {
	asked := fake(t, func(_ *net.UDPConn, _ *net.UDPAddr, q []byte) []byte {
		t.Error("the server was asked")
		return answer(codeAccept, q, testSecret, true)
	})
	c := client(t, nil, asked)
	for _, q := range []Question{
		{User: "alice"}, {Password: "1"}, {User: strings.Repeat("a", 254), Password: "1"},
		{User: "alice", Password: push.Secret(strings.Repeat("1", 129))}, {User: "alice", Password: "123456\x00"},
	} {
		if _, err := c.Ask(t.Context(), q); !errors.Is(err, ErrUnfit) {
			t.Errorf("%q: %v", q.User, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
	}{
		{"no server", func(c *Config) { c.Servers = nil }},
		{"no port", func(c *Config) { c.Servers = []string{"127.0.0.1"} }},
		{"no host", func(c *Config) { c.Servers = []string{":1812"} }},
		{"port 0", func(c *Config) { c.Servers = []string{"127.0.0.1:0"} }},
		{"a short secret", func(c *Config) { c.Secret = "1234567" }},
		{"no timeout", func(c *Config) { c.Timeout = 0 }},
		{"a long timeout", func(c *Config) { c.Timeout = time.Minute }},
		{"many retries", func(c *Config) { c.Retries = 11 }},
		{"another protocol", func(c *Config) { c.Protocol = "eap" }},
	} {
		cfg := Config{Servers: []string{"127.0.0.1:1812"}, Secret: "testing123", Protocol: PAP, Timeout: time.Second}
		if _, err := New(cfg); err != nil {
			t.Fatal(err)
		}
		tc.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "radius: ") {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
