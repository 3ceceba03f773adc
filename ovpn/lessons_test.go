package ovpn_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// Tests of what went wrong elsewhere; docs/security-lessons.md has the list.

// openvpn ended itself when a first packet carried more than it had room for.
func TestCVE_2017_7478_LargeFirstPackets(t *testing.T) {
	_, cfg := setup(t)
	cfg.Role, cfg.Stream = ovpn.Server, true
	now := ovpntest.Epoch()
	for _, method := range []wrap.Method{nil, crypt(t)} {
		gate := ovpn.NewGate(ovpn.GateConfig{Wrap: method, Resets: 1000, Source: 1000})
		cfg.Wrap = method
		for _, op := range []wire.Opcode{wire.HardResetClientV2, wire.HardResetClientV3, wire.ControlV1, wire.ControlWKCV1, wire.AckV1, wire.SoftResetV1} {
			for _, size := range []int{0, 1, 1500, 9000, 65000} {
				b := wire.AppendControl(nil, wire.Control{Op: op, Session: wire.SessionID{1}, Payload: bytes.Repeat([]byte{0x16}, size)})
				if method != nil {
					b = method.New(false, 1).Wrap(nil, now, b)
				}
				reply, _, err := gate.Handle(now, strangers(size), b)
				if len(reply) > 128 || err != nil && !errors.Is(err, ovpn.ErrDropped) {
					t.Errorf("opcode %d with %d bytes: answer of %d bytes, %v", op, size, len(reply), err)
				}
				s, err := ovpn.New(now, cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Handle(now, b); err != nil && !errors.Is(err, ovpn.ErrDropped) {
					t.Errorf("opcode %d with %d bytes to a session: %v", op, size, err)
				}
				for p := s.NextPacket(now); p != nil; p = s.NextPacket(now) {
					if len(p) > 128 {
						t.Errorf("opcode %d with %d bytes: the session answers with %d", op, size, len(p))
					}
				}
				s.Abort()
			}
		}
	}
}

// openvpn ended itself when a control packet was shorter than its parts. Before each packet of
// both sides comes every beginning of it that is too short, and the tunnel comes up and renegotiates.
func TestCVE_2014_8104_ShortPackets(t *testing.T) {
	tlsAuthClient, tlsAuthServer := auth(t)
	shared := crypt(t)
	v2Client, v2Server := cryptV2(t, nil, nil)
	for _, m := range []struct {
		name           string
		client, server wrap.Method
	}{{"none", nil, nil}, {"tls-auth", tlsAuthClient, tlsAuthServer}, {"tls-crypt", shared, shared}, {"tls-crypt-v2", v2Client, v2Server}} {
		c, s := setup(t)
		c.Wrap, s.Wrap = m.client, m.server
		p := ovpntest.NewPair(t, c, s, quiet, 1)
		short := 0
		p.Watch = func(from *ovpntest.Side, b []byte) {
			to := p.Server
			if from == p.Server {
				to = p.Client
			}
			if to.Session == nil || to.Err != nil {
				return
			}
			for n := range len(b) {
				if m.client == nil && !wire.IsData(b[0]) {
					if whole, err := wire.ParseControl(b); err == nil && n >= len(b)-len(whole.Payload) {
						break // with less of its payload it is another good packet
					}
				}
				short++
				if n > 0 && wire.IsData(b[0]) {
					if got, _ := to.Session.Data().Open(p.Now, [][]byte{bytes.Clone(b[:n])}); got != 0 {
						t.Errorf("%s: %d of %d bytes are a packet", m.name, n, len(b))
					}
				} else if err := to.Session.Handle(p.Now, bytes.Clone(b[:n])); !errors.Is(err, ovpn.ErrDropped) {
					t.Errorf("%s: %d of %d bytes of opcode %d: %v", m.name, n, len(b), b[0]>>3, err)
				}
			}
		}
		if !p.Run(20*time.Second, p.Up) {
			t.Fatalf("%s: not up; client %v, server %v", m.name, p.Client.Err, p.Server.Err)
		}
		renegotiates(t, p)
		if short < 1000 {
			t.Errorf("%s: only %d short packets", m.name, short)
		}
	}
}

// A reset of a live session, or another MTU, changed sizes that buffers already had. Here sessions
// with fragments get another tun-mtu, renegotiate and are replaced while packets are under way.
func TestCVE_2023_46849_2023_46850_SizesChangeUnderWay(t *testing.T) {
	c, s := setup(t)
	c.MTU, s.MTU, c.Fragment, s.Fragment = 1500, 1500, 400, 400
	p := up(t, c, s, noisy, 3)
	var earlier [][]byte
	for i, mtu := range []int{1600, 600, 1500, 100, 1400} {
		reply := p.Reply
		reply.TunMTU = mtu
		for range 20 {
			p.Inject(p.Client, bytes.Repeat([]byte{0x45}, 1500))
			p.Inject(p.Server, bytes.Repeat([]byte{0x45}, 1500))
		}
		if err := p.Server.Session.Update(p.Now, reply); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			p.Server.Session.Renegotiate(p.Now)
		}
		p.Watch = func(_ *ovpntest.Side, b []byte) { earlier = append(earlier, bytes.Clone(b)) }
		p.Run(15*time.Second, nil)
		if got := last[ovpn.PushUpdate](t, p.Client).Reply.TunMTU; got != mtu {
			t.Errorf("tun-mtu %d, want %d", got, mtu)
		}
	}
	if p.Client.Err != nil || p.Server.Err != nil {
		t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
	}
	p.Noise = quiet
	p.Run(time.Second, nil)
	flow(t, p)
	// The server starts again: what was under way to the session before reaches the new one.
	p.Server.Session.Abort()
	next := up(t, c, s, quiet, 4)
	for _, side := range []*ovpntest.Side{next.Client, next.Server} {
		for _, b := range earlier {
			if wire.IsData(b[0]) {
				if n, _ := side.Session.Data().Open(next.Now, [][]byte{bytes.Clone(b)}); n != 0 {
					t.Fatal("a packet of another session was opened")
				}
			} else if err := side.Session.Handle(next.Now, b); !errors.Is(err, ovpn.ErrDropped) {
				t.Fatalf("a packet of another session: %v", err)
			}
		}
	}
	flow(t, next)
}
