package ovpn_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// cryptV2 makes a server key, and the method of a client whose key has the metadata.
func cryptV2(t testing.TB, m wrap.Metadata, also wrap.Method) (client, server wrap.Method) {
	t.Helper()
	key, err := wrap.GenerateServerKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, key, m), wrap.TLSCryptV2Server(key, also)
}

func clientOf(t testing.TB, key wrap.ServerKey, m wrap.Metadata) wrap.Method {
	t.Helper()
	own, err := key.NewClient(rand.Reader, m)
	if err != nil {
		t.Fatal(err)
	}
	return wrap.TLSCryptV2(own)
}

// unmarked is a client's method without the mark of early negotiation, as
// OpenVPN 2.5 has it: its packet ids begin elsewhere.
type unmarked struct{ wrap.Method }

func (m unmarked) New(server bool, _ uint32) wrap.Wrapper { return m.Method.New(server, 1<<31) }

func opcodes(packets [][]byte) (ops []wire.Opcode) {
	for _, b := range packets {
		op, _ := wire.SplitHeader(b[0])
		ops = append(ops, op)
	}
	return ops
}

func TestTLSCryptV2ComesUp(t *testing.T) {
	static := crypt(t)
	authClient, authServer := auth(t)
	stamp := wrap.TimeMetadata(ovpntest.Epoch().Add(-29 * 24 * time.Hour))
	for _, tc := range []struct {
		name     string
		metadata wrap.Metadata
		edit     func(c, s *ovpn.Config)
		noise    ovpntest.Noise
		keyed    bool
	}{
		{"udp", stamp, func(c, s *ovpn.Config) {}, quiet, true},
		{"udp, dirty", stamp, func(c, s *ovpn.Config) {}, dirty, true},
		{"udp, awful", stamp, func(c, s *ovpn.Config) {}, awful, true},
		{"tcp", stamp, func(c, s *ovpn.Config) { c.Stream, s.Stream = true, true }, quiet, true},
		{"no metadata", nil, func(c, s *ovpn.Config) {}, quiet, true},
		{"most metadata", wrap.UserMetadata(make([]byte, wrap.MaxMetadata-1)), func(c, s *ovpn.Config) {}, noisy, true},
		{"young enough", stamp, func(c, s *ovpn.Config) { s.KeyAge = 30 * 24 * time.Hour }, quiet, true},
		{"without the mark", stamp, func(c, s *ovpn.Config) { c.Wrap = unmarked{c.Wrap} }, dirty, true},
		{"beside tls-crypt", stamp, func(c, s *ovpn.Config) {}, noisy, true},
		{"tls-crypt beside it", nil, func(c, s *ovpn.Config) { c.Wrap = static }, noisy, false},
		{"tls-crypt beside it, tcp", nil, func(c, s *ovpn.Config) { c.Wrap, c.Stream, s.Stream = static, true, true }, quiet, false},
		{"TLS 1.2", stamp, func(c, s *ovpn.Config) { s.TLS.MaxVersion = tls.VersionTLS12 }, noisy, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range uint64(2) {
				if seed > 0 && tc.noise == quiet {
					break
				}
				c, s := setup(t)
				c.Wrap, s.Wrap = cryptV2(t, tc.metadata, static)
				tc.edit(&c, &s)
				p := ovpntest.NewPair(t, c, s, tc.noise, seed)
				if !p.Run(50*time.Second, p.Up) {
					t.Fatalf("seed %d: not up: client %v %v, server %v %v", seed, p.Client.Err, p.Client.Events, p.Server.Err, p.Server.Events)
				}
				m, ok := p.Server.Session.ClientKey()
				if ok != tc.keyed || ok && !bytes.Equal(m, tc.metadata) {
					t.Errorf("metadata %x, %v", m, ok)
				}
				renegotiates(t, p)
			}
		})
	}
	t.Run("tls-auth beside it", func(t *testing.T) {
		c, s := setup(t)
		_, s.Wrap = cryptV2(t, nil, authServer)
		c.Wrap = authClient
		p := up(t, c, s, noisy, 1)
		renegotiates(t, p)
	})
}

// renegotiates asks both sides for a new key in turn, and sends packets after.
func renegotiates(t *testing.T, p *ovpntest.Pair) {
	t.Helper()
	p.Noise.Loss, p.Noise.Corrupt = min(p.Noise.Loss, 0.05), 0
	for i, side := range []*ovpntest.Side{p.Client, p.Server} {
		p.Run(15*time.Second, nil) // the last key is in use on both sides
		before := ovpntest.Count[ovpn.Established](p.Client)
		if err := side.Session.Renegotiate(p.Now); err != nil {
			t.Fatal(err)
		}
		if !p.Run(40*time.Second, func() bool { return ovpntest.Count[ovpn.Established](p.Client) > before }) {
			t.Fatalf("renegotiation %d did not finish: client %v, server %v", i, p.Client.Err, p.Server.Err)
		}
	}
	p.Run(15*time.Second, nil)
	p.Noise = quiet
	p.Client.Inside, p.Server.Inside = nil, nil
	p.Inject(p.Client, inner(1))
	p.Inject(p.Server, inner(2))
	p.Run(time.Second, nil)
	if len(p.Client.Inside) != 1 || len(p.Server.Inside) != 1 {
		t.Errorf("%d packets at the client, %d at the server", len(p.Client.Inside), len(p.Server.Inside))
	}
}

// The wrapped key and a large ClientHello share the first packet: each packet
// stays within the limit, and the key is sent a second time exactly where it must be.
func TestWrappedKeyAndClientHelloFit(t *testing.T) {
	for _, tc := range []struct {
		name           string
		metadata, size int
		limit          int // the largest packet; 0: size
	}{
		{"usual", 9, 1250, 0},
		{"most metadata", wrap.MaxMetadata, 1250, 0},
		{"small packets", 9, 600, 0},
		// Nothing can make the reset smaller; what follows it is as small as possible.
		{"packets smaller than the key", 9, 154, 14 + 40 + 299 + 16 + 8 + 16},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			c.Wrap, s.Wrap = cryptV2(t, make(wrap.Metadata, tc.metadata), nil)
			c.PacketSize, s.PacketSize = tc.size, tc.size
			c.TLS.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519}
			c.TLS.NextProtos = []string{string(bytes.Repeat([]byte("n"), 200)), string(bytes.Repeat([]byte("m"), 200))}
			limit := tc.limit
			if limit == 0 {
				limit = tc.size - 48 // headers of IPv6 and UDP
			}
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			var sent [][]byte
			p.Watch = func(from *ovpntest.Side, b []byte) {
				if from == p.Client && !wire.IsData(b[0]) {
					sent = append(sent, b)
				}
			}
			if !p.Run(10*time.Second, p.Up) {
				t.Fatalf("not up: client %v, server %v", p.Client.Err, p.Server.Err)
			}
			total := 0
			for i, b := range sent {
				if total += len(b); len(b) > limit {
					t.Errorf("packet %d has %d bytes, limit %d", i, len(b), limit)
				}
			}
			if total < 1600 {
				t.Errorf("only %d bytes sent: the ClientHello is not large", total)
			}
			ops := opcodes(sent)
			if ops[0] != wire.HardResetClientV3 || ops[1] != wire.ControlWKCV1 || bytes.Contains(opBytes(ops[2:]), []byte{byte(wire.ControlWKCV1)}) {
				t.Errorf("opcodes %v", ops)
			}
		})
	}
}

func opBytes(ops []wire.Opcode) (b []byte) {
	for _, op := range ops {
		b = append(b, byte(op))
	}
	return b
}

func TestTLSCryptV2IsRefused(t *testing.T) {
	key, err := wrap.GenerateServerKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := cryptV2(t, nil, nil)
	old := ovpntest.Epoch().Add(-31 * 24 * time.Hour)
	static := crypt(t)
	for _, tc := range []struct {
		name           string
		client, server wrap.Method
		age            time.Duration
	}{
		{"another server's key", foreign, wrap.TLSCryptV2Server(key, nil), 0},
		{"too old", clientOf(t, key, wrap.TimeMetadata(old)), wrap.TLSCryptV2Server(key, nil), 30 * 24 * time.Hour},
		{"does not say how old", clientOf(t, key, wrap.UserMetadata([]byte("alice"))), wrap.TLSCryptV2Server(key, nil), 30 * 24 * time.Hour},
		{"no metadata at all", clientOf(t, key, nil), wrap.TLSCryptV2Server(key, nil), 30 * 24 * time.Hour},
		{"tls-crypt server", clientOf(t, key, nil), static, 0},
		{"plain server", clientOf(t, key, nil), nil, 0},
		{"plain client", nil, wrap.TLSCryptV2Server(key, nil), 0},
		{"tls-crypt client", static, wrap.TLSCryptV2Server(key, nil), 0},
		{"plain client beside tls-crypt", nil, wrap.TLSCryptV2Server(key, static), 0},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s stream=%v", tc.name, stream), func(t *testing.T) {
				c, s := setup(t)
				c.Wrap, s.Wrap, s.KeyAge, c.Stream, s.Stream = tc.client, tc.server, tc.age, stream, stream
				p := ovpntest.NewPair(t, c, s, quiet, 1)
				p.Run(65*time.Second, nil)
				if p.Up() || ovpntest.Count[ovpn.Established](p.Client) > 0 {
					t.Error("a tunnel came up")
				}
				var e *ovpn.ProtocolError
				if !errors.As(p.Client.Err, &e) {
					t.Errorf("client: %v", p.Client.Err)
				}
			})
		}
	}
}

// A key that the server wants to be young is looked at only when the client has
// proved its address: the gate answers it like any other.
func TestKeyAgeAfterTheHandshake(t *testing.T) {
	c, s := setup(t)
	c.Wrap, s.Wrap = cryptV2(t, wrap.TimeMetadata(ovpntest.Epoch().Add(-time.Hour)), nil)
	s.KeyAge = time.Minute
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.Run(time.Second, nil)
	var e *ovpn.ProtocolError
	if p.Server.Session == nil || !errors.As(p.Server.Err, &e) {
		t.Fatalf("server: session %v, error %v", p.Server.Session != nil, p.Server.Err)
	}
	if _, ok := p.Server.Session.ClientKey(); !ok {
		t.Error("the session does not know the key that it refused")
	}
}

// Dynamic tls-crypt: after the first key every control packet has a wrapper of
// its own, whatever protected the first key's packets.
func TestDynamicTLSCrypt(t *testing.T) {
	static := crypt(t)
	authClient, authServer := auth(t)
	v2Client, v2Server := cryptV2(t, nil, nil)
	for _, tc := range []struct {
		name           string
		client, server wrap.Method
		edit           func(c, s *ovpn.Config)
		dynamic        bool
	}{
		{"plain", nil, nil, nil, true},
		{"tls-auth", authClient, authServer, nil, true},
		{"tls-crypt", static, static, nil, true},
		{"tls-crypt-v2", v2Client, v2Server, nil, true},
		{"tcp", static, static, func(c, s *ovpn.Config) { c.Stream, s.Stream = true, true }, true},
		{"no exporter at the client", static, static, func(c, s *ovpn.Config) { c.PRF = true }, false},
		{"no exporter at the server", static, static, func(c, s *ovpn.Config) { s.PRF = true }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			c.Wrap, s.Wrap = tc.client, tc.server
			if tc.edit != nil {
				tc.edit(&c, &s)
			}
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			var later [][]byte // control packets of later keys
			p.Watch = func(_ *ovpntest.Side, b []byte) {
				if _, keyID := wire.SplitHeader(b[0]); keyID > 0 && !wire.IsData(b[0]) {
					later = append(later, b)
				}
			}
			if !p.Run(10*time.Second, p.Up) {
				t.Fatalf("not up: client %v, server %v", p.Client.Err, p.Server.Err)
			}
			rounds := 1
			if tc.name == "tls-crypt" {
				rounds = 4 // past the wrap of the key ids
			}
			for range rounds {
				renegotiates(t, p)
			}
			// The static key (or none) opens them exactly when they are not dynamic.
			opened := 0
			for _, b := range later {
				plain, err := b, error(nil)
				if tc.server != nil {
					for _, server := range []bool{false, true} {
						if plain, err = tc.client.New(server, 1).Unwrap(nil, p.Now, b); err == nil {
							break
						}
					}
				}
				if err == nil {
					if c, err := wire.ParseControl(plain); err == nil && len(c.Acks) <= 4 && c.ID < 100 {
						opened++
					}
				}
			}
			if len(later) < 10 || tc.dynamic && opened > 0 || !tc.dynamic && opened < len(later)/2 {
				t.Errorf("%d of %d packets open without the dynamic key, dynamic %v", opened, len(later), tc.dynamic)
			}
		})
	}
}
