package ovpn_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup makes both configurations, ready for one test's changes.
func setup(t *testing.T) (client, server ovpn.Config) {
	t.Helper()
	pki := ovpntest.NewPKI(t)
	client = ovpn.Config{TLS: pki.ClientTLS("alice"), Ping: 10 * time.Second, PingRestart: time.Minute}
	server = ovpn.Config{TLS: pki.ServerTLS(), PeerID: 5, Ping: 10 * time.Second, PingRestart: 2 * time.Minute}
	return client, server
}

func crypt(t *testing.T) wrap.Method {
	t.Helper()
	key, err := wrap.GenerateStaticKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return wrap.TLSCrypt(key)
}

func auth(t *testing.T) (client, server wrap.Method) {
	t.Helper()
	key, err := wrap.GenerateStaticKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = wrap.TLSAuth(key, 1, "SHA256"); err != nil {
		t.Fatal(err)
	}
	if server, err = wrap.TLSAuth(key, 0, "SHA256"); err != nil {
		t.Fatal(err)
	}
	return client, server
}

var (
	quiet = ovpntest.Noise{Delay: 5 * time.Millisecond}
	noisy = ovpntest.Noise{Delay: 20 * time.Millisecond, Jitter: 40 * time.Millisecond, Loss: 0.02, Duplicate: 0.02}
	dirty = ovpntest.Noise{Delay: 20 * time.Millisecond, Jitter: 40 * time.Millisecond, Loss: 0.02, Duplicate: 0.02, Corrupt: 0.01}
	awful = ovpntest.Noise{Delay: 20 * time.Millisecond, Jitter: 200 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Corrupt: 0.05}
)

// inner is an IPv4-looking packet with a number in it.
func inner(n int) []byte {
	b := bytes.Repeat([]byte{0x45}, 100)
	binary.BigEndian.PutUint32(b[20:], uint32(n))
	return b
}

func TestTunnelComesUp(t *testing.T) {
	tlsAuthClient, tlsAuthServer := auth(t)
	shared := crypt(t)
	for _, tc := range []struct {
		name  string
		edit  func(c, s *ovpn.Config)
		noise ovpntest.Noise
		check func(t *testing.T, p *ovpntest.Pair)
	}{
		{"plain", func(c, s *ovpn.Config) {}, quiet, nil},
		{"tls-auth", func(c, s *ovpn.Config) { c.Wrap, s.Wrap = tlsAuthClient, tlsAuthServer }, dirty, nil},
		{"tls-crypt", func(c, s *ovpn.Config) { c.Wrap, s.Wrap = shared, shared }, dirty, nil},
		{"tls-crypt on an awful wire", func(c, s *ovpn.Config) { c.Wrap, s.Wrap = shared, shared }, awful, nil},
		{"plain on an awful wire", func(c, s *ovpn.Config) {}, ovpntest.Noise{Delay: 20 * time.Millisecond, Jitter: 200 * time.Millisecond, Loss: 0.2, Duplicate: 0.1}, nil},
		{"tcp", func(c, s *ovpn.Config) { c.Stream, s.Stream = true, true }, quiet, nil},
		{"tcp with tls-crypt", func(c, s *ovpn.Config) { c.Stream, s.Stream, c.Wrap, s.Wrap = true, true, shared, shared }, quiet, nil},
		{"TLS 1.2", func(c, s *ovpn.Config) { s.TLS.MaxVersion = tls.VersionTLS12 }, noisy, nil},
		{"PRF keys by the server", func(c, s *ovpn.Config) { s.PRF = true }, noisy, nil},
		{"PRF keys by the client", func(c, s *ovpn.Config) { c.PRF = true }, noisy, nil},
		{"P-384 client", func(c, s *ovpn.Config) { c.TLS.CurvePreferences = []tls.CurveID{tls.CurveP384} }, quiet, nil},
		{"small control packets", func(c, s *ovpn.Config) { c.PacketSize, s.PacketSize = 154, 154 }, noisy, nil},
		{"AES-128", func(c, s *ovpn.Config) { s.Ciphers = []string{"AES-128-GCM"} }, quiet, cipherIs("AES-128-GCM")},
		{"server's order decides", func(c, s *ovpn.Config) { s.Ciphers = []string{"CHACHA20-POLY1305", "AES-256-GCM"} }, quiet, cipherIs("CHACHA20-POLY1305")},
		{"AWS's key-method layout", func(c, s *ovpn.Config) {
			c.Encoding, c.Username, c.Password = ovpn.AWS32, "N/A", push.Secret(strings.Repeat("x", 100_000))
		}, noisy, func(t *testing.T, p *ovpntest.Pair) {
			for _, ev := range p.Server.Events {
				if c, ok := ev.(ovpn.Credentials); ok && (c.Username != "N/A" || len(c.Password.Reveal()) != 100_000) {
					t.Errorf("credentials: user %q, %d bytes of password", c.Username, len(c.Password.Reveal()))
				}
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			tc.edit(&c, &s)
			for seed := range uint64(3) {
				p := ovpntest.NewPair(t, c, s, tc.noise, seed)
				if !p.Run(50*time.Second, p.Up) {
					t.Fatalf("seed %d: not up: client %v %v, server %v %v", seed, p.Client.Err, p.Client.Events, p.Server.Err, p.Server.Events)
				}
				if tc.check != nil {
					tc.check(t, p)
				}
				p.Noise = quiet
				p.Run(time.Second, nil)
				for _, dir := range []struct{ from, to *ovpntest.Side }{{p.Client, p.Server}, {p.Server, p.Client}} {
					if !p.Inject(dir.from, inner(7)) {
						t.Fatal("no key to seal with")
					}
					p.Run(time.Second, nil)
					if len(dir.to.Inside) != 1 || !bytes.Equal(dir.to.Inside[0], inner(7)) {
						t.Fatalf("got %d packets", len(dir.to.Inside))
					}
				}
			}
		})
	}
}

func cipherIs(want string) func(*testing.T, *ovpntest.Pair) {
	return func(t *testing.T, p *ovpntest.Pair) {
		for _, ev := range p.Client.Events {
			if r, ok := ev.(ovpn.PushReply); ok && r.Cipher != want {
				t.Errorf("cipher %s, want %s", r.Cipher, want)
			}
		}
	}
}

// up brings a tunnel up and lets it settle.
func up(t *testing.T, c, s ovpn.Config, noise ovpntest.Noise, seed uint64) *ovpntest.Pair {
	t.Helper()
	p := ovpntest.NewPair(t, c, s, noise, seed)
	if !p.Run(50*time.Second, p.Up) {
		t.Fatalf("not up: client %v, server %v", p.Client.Err, p.Server.Err)
	}
	p.Run(time.Second, nil)
	return p
}

// Packets keep flowing in both directions while keys change many times, started
// by either side, and on a wire that only reorders none is lost.
func TestRenegotiationLosesNothing(t *testing.T) {
	for _, tc := range []struct {
		name           string
		client, server time.Duration
		noise          ovpntest.Noise
		exact          bool
	}{
		{"client starts", 20 * time.Second, 0, ovpntest.Noise{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond}, true},
		{"server starts", 0, 20 * time.Second, ovpntest.Noise{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond}, true},
		{"both start", 20 * time.Second, 20 * time.Second, ovpntest.Noise{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond}, true},
		{"2% loss, reordering, duplicates", 20 * time.Second, 0, ovpntest.Noise{Delay: 20 * time.Millisecond, Jitter: 50 * time.Millisecond, Loss: 0.02, Duplicate: 0.02}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			c.Renegotiate, s.Renegotiate = tc.client, tc.server
			p := up(t, c, s, tc.noise, 3)
			p.Run(10*time.Second, nil) // until a lost acknowledgement is made good
			const n = 9000
			for i := range n {
				if c, s := p.Inject(p.Client, inner(i)), p.Inject(p.Server, inner(i)); !c || !s {
					t.Fatalf("packet %d at %v: client can send %v (%v), server %v (%v)", i, p.Now.Sub(ovpntest.Epoch()), c, p.Client.Err, s, p.Server.Err)
				}
				p.Run(20*time.Millisecond, nil)
			}
			p.Run(time.Second, nil)
			if p.Client.Err != nil || p.Server.Err != nil {
				t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
			}
			if k := ovpntest.Count[ovpn.Established](p.Client); k < 8 {
				t.Errorf("only %d keys in three minutes", k)
			}
			for _, side := range []*ovpntest.Side{p.Client, p.Server} {
				seen := map[uint32]bool{}
				for _, b := range side.Inside {
					id := binary.BigEndian.Uint32(b[20:])
					if seen[id] {
						t.Fatalf("packet %d came twice", id)
					}
					seen[id] = true
				}
				if tc.exact && len(seen) != n {
					t.Errorf("%d packets of %d", len(seen), n)
				}
				if float64(len(seen)) < 0.95*n {
					t.Errorf("%d packets of %d", len(seen), n)
				}
			}
		})
	}
}

func TestIdleTunnelRenegotiatesAndLives(t *testing.T) {
	c, s := setup(t)
	c.Renegotiate = 60 * time.Second
	p := up(t, c, s, noisy, 1)
	p.Run(10*time.Minute, nil)
	if p.Client.Err != nil || p.Server.Err != nil {
		t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
	}
	if k := ovpntest.Count[ovpn.Established](p.Server); k < 8 {
		t.Errorf("%d keys", k)
	}
	if !p.Inject(p.Client, inner(1)) {
		t.Fatal("no key")
	}
}

func TestSilentPeerEndsTheSession(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	p.Noise.Loss = 1
	p.Run(5*time.Minute, nil)
	for _, side := range []*ovpntest.Side{p.Client, p.Server} {
		var pe *ovpn.ProtocolError
		if !errors.As(side.Err, &pe) || pe.Cause != ovpn.CausePing {
			t.Errorf("%v", side.Err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	c, s := setup(t)
	c.HandWindow = 10 * time.Second
	p := ovpntest.NewPair(t, c, s, ovpntest.Noise{Loss: 1}, 1)
	start := p.Now
	p.Run(time.Minute, func() bool { return p.Client.Err != nil })
	var pe *ovpn.ProtocolError
	if !errors.As(p.Client.Err, &pe) || pe.Cause != ovpn.CauseNoReply {
		t.Errorf("%v", p.Client.Err)
	}
	if d := p.Now.Sub(start); d != 10*time.Second {
		t.Errorf("took %v", d)
	}
	if p.Client.Sent < 3 || p.Client.Sent > 6 {
		t.Errorf("%d resets sent", p.Client.Sent)
	}
}

// TestPrepare prepares at any time: the tunnel comes up, nothing stays behind, and errors are the same.
func TestPrepare(t *testing.T) {
	c, s := setup(t)
	random := &counter{}
	c.TLS.Rand = random
	p := ovpntest.NewPair(t, c, s, noisy, 1)
	p.Client.Session.Prepare()
	p.Client.Session.Prepare()
	if random.read == 0 {
		t.Error("nothing was prepared")
	}
	before := random.read
	if !p.Run(time.Minute, p.Up) {
		t.Fatal(p.Client.Err, p.Server.Err)
	}
	if random.read != before {
		t.Errorf("%d random bytes for the hello after %d were read", random.read-before, before)
	}
	p.Client.Session.Prepare() // TLS speaks already
	p.Server.Session.Prepare()

	p = ovpntest.NewPair(t, c, s, ovpntest.Noise{Loss: 1}, 1)
	p.Client.Session.Prepare()
	p.Client.Session.Abort() // TestMain looks for what it leaves
	p.Client.Session.Prepare()

	c.TLS.MinVersion, c.TLS.MaxVersion = tls.VersionTLS13, tls.VersionTLS12
	p = ovpntest.NewPair(t, c, s, quiet, 1)
	p.Client.Session.Prepare()
	p.Run(time.Minute, func() bool { return p.Client.Err != nil })
	if p.Client.Err == nil || !strings.Contains(p.Client.Err.Error(), "no supported versions") {
		t.Errorf("without any TLS version: %v", p.Client.Err)
	}
}

// counter is a source of randomness that counts what is read.
type counter struct{ read int }

func (c *counter) Read(b []byte) (int, error) {
	c.read += len(b)
	return rand.Read(b)
}

func TestCertificates(t *testing.T) {
	pki, other := ovpntest.NewPKI(t), ovpntest.NewPKI(t)
	for _, tc := range []struct {
		name       string
		edit       func(c, s *ovpn.Config)
		side, want string
	}{
		{"server of another CA", func(c, s *ovpn.Config) { s.TLS = other.ServerTLS() }, "client", "unknown authority"},
		{"client of another CA", func(c, s *ovpn.Config) {
			cert := other.ClientTLS("mallory").Certificates
			c.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert[0], nil }
		}, "server", "unknown authority"},
		{"no client certificate", func(c, s *ovpn.Config) { c.TLS.Certificates = nil }, "server", "didn't provide a certificate"},
		{"expired client certificate", func(c, s *ovpn.Config) {
			c.TLS.Certificates = []tls.Certificate{pki.Issue("late", x509.ExtKeyUsageClientAuth, func(x *x509.Certificate) {
				x.NotAfter = ovpntest.Epoch().AddDate(0, 0, -1)
			})}
		}, "server", "expired"},
		{"no common TLS version", func(c, s *ovpn.Config) { c.TLS.MaxVersion, s.TLS.MinVersion = tls.VersionTLS12, tls.VersionTLS13 }, "server", "version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := ovpn.Config{TLS: pki.ClientTLS("alice")}
			s := ovpn.Config{TLS: pki.ServerTLS()}
			tc.edit(&c, &s)
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			p.Run(20*time.Second, func() bool { return p.Client.Err != nil && p.Server.Err != nil })
			side := p.Client
			if tc.side == "server" {
				side = p.Server
			}
			var pe *ovpn.ProtocolError
			if !errors.As(side.Err, &pe) || pe.Cause != ovpn.CauseTLS || !strings.Contains(pe.Error(), tc.want) {
				t.Errorf("%s: %v, want %q", tc.side, side.Err, tc.want)
			}
			// The other side learns it from the TLS alert, not by waiting.
			if p.Client.Err == nil || p.Server.Err == nil || p.Now.Sub(ovpntest.Epoch()) > 2*time.Second {
				t.Errorf("client %v, server %v after %v", p.Client.Err, p.Server.Err, p.Now.Sub(ovpntest.Epoch()))
			}
		})
	}
}

func TestServerSaysNo(t *testing.T) {
	for _, tc := range []struct {
		name   string
		edit   func(c, s *ovpn.Config)
		deny   string
		reason string
	}{
		{"denied", func(c, s *ovpn.Config) {}, "wrong password", "wrong password"},
		{"no common cipher", func(c, s *ovpn.Config) {
			c.Ciphers, s.Ciphers = []string{"AES-128-GCM"}, []string{"CHACHA20-POLY1305"}
		}, "", "Data channel cipher negotiation failed (no shared cipher)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			tc.edit(&c, &s)
			p := ovpntest.NewPair(t, c, s, noisy, 2)
			p.OnServer = func(ev ovpn.Event) bool {
				if _, ok := ev.(ovpn.Credentials); ok && tc.deny != "" {
					if err := p.Server.Session.Deny(p.Now, tc.deny); err != nil {
						t.Error(err)
					}
					return true
				}
				return false
			}
			p.Run(30*time.Second, func() bool { return p.Client.Err != nil })
			var got string
			for _, ev := range p.Client.Events {
				if f, ok := ev.(ovpn.AuthFailed); ok {
					got = f.Reason
				}
			}
			if got != tc.reason {
				t.Errorf("reason %q, want %q (client %v, server %v)", got, tc.reason, p.Client.Err, p.Server.Err)
			}
			p.Run(5*time.Second, nil)
			if p.Server.Err == nil {
				t.Error("the server keeps the session")
			}
			if p.Inject(p.Client, inner(1)) {
				t.Error("a refused client can send")
			}
		})
	}
}

// AWS's challenges carry addresses of 2.5 kB; other refusals stay within what every client reads.
func TestLongChallenge(t *testing.T) {
	for _, tc := range []struct {
		name, deny string
		want       int // bytes of the reason that arrive
	}{
		{"AWS's", "CRV1:R:instance-1/1/u:b'Ti9B':https://idp.example.test/?SAMLRequest=" + strings.Repeat("x", 2500), 0},
		{"the longest", "CRV1:R:s:dQ==:" + strings.Repeat("x", 8191-len("AUTH_FAILED,CRV1:R:s:dQ==:")), 0},
		{"too long", "CRV1:R:s:dQ==:" + strings.Repeat("x", 9000), 8191 - len("AUTH_FAILED,")},
		{"no challenge", "because " + strings.Repeat("x", 2500), 1023 - len("AUTH_FAILED,")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			p := ovpntest.NewPair(t, c, s, noisy, 2)
			p.OnServer = func(ev ovpn.Event) bool {
				_, ok := ev.(ovpn.Credentials)
				if ok {
					if err := p.Server.Session.Deny(p.Now, tc.deny); err != nil {
						t.Error(err)
					}
				}
				return ok
			}
			p.Run(30*time.Second, func() bool { return p.Client.Err != nil })
			want := tc.deny
			if tc.want > 0 {
				want = want[:tc.want]
			}
			if got := last[ovpn.AuthFailed](t, p.Client).Reason; got != want {
				t.Errorf("%d bytes arrived (%.40q…), want %d", len(got), got, len(want))
			}
		})
	}
}

func TestPushOfManyRoutes(t *testing.T) {
	c, s := setup(t)
	p := ovpntest.NewPair(t, c, s, noisy, 2)
	for i := range 300 {
		p.Reply.Routes = append(p.Reply.Routes, push.Route{Destination: netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", i/200, i%200))})
	}
	if !p.Run(50*time.Second, p.Up) {
		t.Fatal("not up")
	}
	for _, ev := range p.Client.Events {
		if r, ok := ev.(ovpn.PushReply); ok && len(r.Reply.Routes) != 300 {
			t.Errorf("%d routes", len(r.Reply.Routes))
		}
	}
}

func TestPullFilterRejects(t *testing.T) {
	c, s := setup(t)
	c.Filter = push.Filter{{Action: push.Reject, Prefix: "topology"}}
	p := ovpntest.NewPair(t, c, s, quiet, 2)
	p.Run(20*time.Second, func() bool { return p.Client.Err != nil })
	var pe *ovpn.ProtocolError
	if !errors.As(p.Client.Err, &pe) || pe.Cause != ovpn.CauseRefusedPush {
		t.Errorf("%v", p.Client.Err)
	}
}

func TestExit(t *testing.T) {
	for _, tc := range []struct {
		name  string
		close func(p *ovpntest.Pair) *ovpntest.Side // returns the side that must notice
		kind  string
	}{
		{"client leaves", func(p *ovpntest.Pair) *ovpntest.Side { p.Client.Session.Close(p.Now); return p.Server }, "exit"},
		{"server restarts", func(p *ovpntest.Pair) *ovpntest.Side {
			p.Server.Session.Send(p.Now, "RESTART,maintenance")
			p.Server.Session.Close(p.Now)
			return p.Client
		}, "restart"},
		{"server halts", func(p *ovpntest.Pair) *ovpntest.Side {
			p.Server.Session.Send(p.Now, "HALT,terminated")
			p.Server.Session.Close(p.Now)
			return p.Client
		}, "halt"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			p := up(t, c, s, quiet, 1)
			start := p.Now
			side := tc.close(p)
			p.Run(3*time.Second, func() bool { return side.Err != nil })
			if p.Now.Sub(start) > 100*time.Millisecond {
				t.Errorf("noticed after %v: %v", p.Now.Sub(start), side.Err)
			}
			var got string
			for _, ev := range side.Events {
				if e, ok := ev.(ovpn.PeerExit); ok {
					got = e.Kind
				}
			}
			if got != tc.kind {
				t.Errorf("kind %q", got)
			}
		})
	}
}

func TestForgedPacketsDoNotKill(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	for i := range 2000 {
		b := make([]byte, i%200)
		rand.Read(b)
		if len(b) > 0 {
			b[0] = byte(3+i%9)<<3 | byte(i%8)
		}
		for _, side := range []*ovpntest.Side{p.Client, p.Server} {
			if err := side.Session.Handle(p.Now, b); !errors.Is(err, ovpn.ErrDropped) {
				t.Fatalf("packet %d: %v", i, err)
			}
		}
	}
	p.Inject(p.Client, inner(1))
	p.Run(time.Second, nil)
	if len(p.Server.Inside) != 1 {
		t.Error("tunnel is gone")
	}
}

func TestCVE_2025_13086_GateBelievesNobody(t *testing.T) {
	shared := crypt(t)
	c, _ := setup(t)
	c.Role, c.Wrap = ovpn.Client, shared
	now := ovpntest.Epoch()
	from := netip.MustParseAddrPort("198.51.100.1:1000")
	gate := ovpn.NewGate(ovpn.GateConfig{Wrap: shared})
	// third runs the handshake up to the packet that carries the cookie.
	third := func(t *testing.T) []byte {
		cl, err := ovpn.New(now, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cl.Close(now) })
		reply, hello, err := gate.Handle(now, from, cl.NextPacket(now))
		if err != nil || hello != nil || reply == nil {
			t.Fatalf("reset: %v %v", hello, err)
		}
		if err := cl.Handle(now, reply); err != nil {
			t.Fatal(err)
		}
		return cl.NextPacket(now)
	}
	for _, tc := range []struct {
		name string
		at   time.Duration
		from netip.AddrPort
		ok   bool
	}{
		{"at once", 0, from, true},
		{"one slot later", 30 * time.Second, from, true},
		{"two slots later", 60 * time.Second, from, true},
		{"three slots later", 90 * time.Second, from, false},
		{"from the future", -31 * time.Second, from, false},
		{"other port", 0, netip.MustParseAddrPort("198.51.100.1:1001"), false},
		{"other address", 0, netip.MustParseAddrPort("198.51.100.2:1000"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, hello, err := gate.Handle(now.Add(tc.at), tc.from, third(t))
			if ok := hello != nil; ok != tc.ok || !ok && !errors.Is(err, ovpn.ErrDropped) {
				t.Errorf("hello %v, error %v", hello, err)
			}
		})
	}
	other := ovpn.NewGate(ovpn.GateConfig{Wrap: shared})
	if _, hello, _ := other.Handle(now, from, third(t)); hello != nil {
		t.Error("another server's cookie was taken")
	}
	// A new configuration does not shut out who is half way in.
	if _, hello, err := gate.With(ovpn.GateConfig{Wrap: shared, ForceCookie: true}).Handle(now, from, third(t)); hello == nil {
		t.Errorf("the cookie of before a reload is refused: %v", err)
	}
}

func FuzzHandle(f *testing.F) {
	f.Add([]byte{0x38, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0})
	f.Add([]byte{0x40, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0})
	gate := ovpn.NewGate(ovpn.GateConfig{})
	now := ovpntest.Epoch()
	f.Fuzz(func(t *testing.T, b []byte) {
		gate.Handle(now, netip.MustParseAddrPort("192.0.2.1:1"), b)
		s, err := ovpn.New(now, ovpn.Config{Role: ovpn.Server, TLS: &tls.Config{}, Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 { // a run of packets: each preceded by its length
			n := min(int(b[0])+1, len(b))
			s.Handle(now, b[1:n])
			for s.NextPacket(now) != nil {
			}
			b = b[n:]
		}
		s.Close(now)
		s.Tick(now.Add(time.Hour))
	})
}
