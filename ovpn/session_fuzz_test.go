package ovpn_test

import (
	"crypto/tls"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
)

// FuzzSession plays with the wire between two sessions: each byte of the script
// delivers, drops, repeats, swaps or damages the next packet of one side, turns
// the clock, or makes an owner act. Whatever happens, no session panics, none is
// configured before its client is accepted, and none answers after its end.
func FuzzSession(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 1, 0, 2, 0, 0, 3, 0, 0, 0, 0})
	f.Add(uint8(3), []byte{0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 14, 15})
	f.Add(uint8(7), []byte{0, 0, 0, 0, 0, 0, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0})
	clientTLS, serverTLS := cheapTLS(f)
	f.Fuzz(func(t *testing.T, mode uint8, script []byte) {
		if len(script) > 128 {
			return
		}
		c := ovpn.Config{Role: ovpn.Client, TLS: clientTLS, Stream: true, Ping: time.Second, Renegotiate: time.Minute, Classic: mode&1 != 0, PointToPoint: mode&2 != 0}
		s := ovpn.Config{Role: ovpn.Server, TLS: serverTLS, Stream: true, Ping: time.Second, Renegotiate: time.Minute, PointToPoint: mode&2 != 0}
		if mode&4 != 0 {
			c.Username, c.Password, s.Compress = "u", "p", "stub-v2"
		}
		w := newFuzzWire(t, c, s)
		defer w.close()
		for _, b := range script {
			w.step(b)
		}
		for range 10 { // and then everything arrives
			w.step(0)
			w.step(1)
		}
	})
}

// cheapTLS is what a handshake needs at least: one certificate, which nobody checks, and one curve.
// Fuzzing is about what is around it.
func cheapTLS(t testing.TB) (client, server *tls.Config) {
	server = ovpntest.NewPKI(t).ServerTLS()
	server.ClientAuth, server.CurvePreferences = tls.NoClientCert, []tls.CurveID{tls.CurveP256}
	return &tls.Config{InsecureSkipVerify: true, CurvePreferences: server.CurvePreferences}, server
}

// fuzzWire is two sessions and what lies between them.
type fuzzWire struct {
	t        *testing.T
	now      time.Time
	sides    [2]*ovpn.Session // client, server
	queue    [2][][]byte      // packets from each side
	ended    [2]error
	accepted bool
	pending  []uint8 // keys that wait for an answer
}

func newFuzzWire(t *testing.T, c, s ovpn.Config) *fuzzWire {
	w := &fuzzWire{t: t, now: ovpntest.Epoch()}
	for i, cfg := range []ovpn.Config{c, s} {
		session, err := ovpn.New(w.now, cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.sides[i] = session
	}
	w.drain()
	return w
}

func (w *fuzzWire) close() {
	for _, s := range w.sides {
		s.Abort()
	}
}

// step does what one byte says: bit 0 is the side, the rest is the deed.
func (w *fuzzWire) step(b byte) {
	side := int(b & 1)
	s := w.sides[side]
	switch b >> 1 & 15 {
	case 0, 1, 2, 3: // deliver up to four packets of side to the other
		for range int(b>>1&15) + 1 {
			w.deliver(side, w.take(side))
		}
	case 4: // lose one
		w.take(side)
	case 5: // twice
		p := w.take(side)
		w.deliver(side, p)
		w.deliver(side, p)
	case 6: // later
		if p := w.take(side); p != nil {
			w.queue[side] = append(w.queue[side], p)
		}
	case 7: // damaged
		if p := w.take(side); len(p) > 0 {
			p[int(b)*7%len(p)] ^= b | 1
			w.deliver(side, p)
		}
	case 8:
		w.turn(time.Duration(b) * 10 * time.Millisecond)
	case 9:
		w.turn(time.Duration(b) * time.Second)
	case 10:
		w.note(side, s.Renegotiate(w.now))
	case 11:
		if len(w.pending) > 0 {
			id := w.pending[len(w.pending)-1]
			w.pending = w.pending[:len(w.pending)-1]
			w.accepted = true
			w.note(1, w.sides[1].Accept(w.now, id))
		}
	case 12:
		s.Send(w.now, []string{"RESTART,[P]x", "PUSH_UPDATE,route 10.0.0.0", "PUSH_REQUEST", "EXIT", "AUTH_PENDING,timeout 9"}[int(b>>5)%5])
	case 13:
		w.sides[1].Pending(w.now, time.Minute, "WEB_AUTH::x")
	case 14:
		if b>>5 == 7 {
			w.sides[1].Deny(w.now, "no")
		} else {
			w.sides[1].PushToken(w.now, "token")
		}
	case 15:
		if b>>5 == 7 {
			s.Close(w.now)
		}
	}
	w.drain()
}

func (w *fuzzWire) take(side int) (p []byte) {
	if len(w.queue[side]) > 0 {
		p, w.queue[side] = w.queue[side][0], w.queue[side][1:]
	}
	return p
}

func (w *fuzzWire) deliver(from int, p []byte) {
	if len(p) == 0 {
		return
	}
	to := w.sides[1-from]
	if op := p[0] >> 3; op == 6 || op == 9 {
		to.Data().Open(w.now, [][]byte{append([]byte(nil), p...)})
		return
	}
	w.note(1-from, to.Handle(w.now, p))
	w.drain()
}

func (w *fuzzWire) turn(d time.Duration) {
	w.now = w.now.Add(d)
	for i, s := range w.sides {
		if at := s.Deadline(); !at.IsZero() && !at.After(w.now) {
			w.note(i, s.Tick(w.now))
		}
	}
}

// note remembers the end of a session; what ended stays so.
func (w *fuzzWire) note(side int, err error) {
	if w.ended[side] != nil {
		if err == nil {
			w.t.Errorf("side %d lives again after %v", side, w.ended[side])
		}
		return
	}
	if tick := w.sides[side].Deadline(); err != nil && !isDropped(err) && tick.Equal(time.Unix(0, 1)) && w.sides[side].Tick(w.now) == err {
		w.ended[side] = err
	}
}

// drain collects packets and answers events as an owner does.
func (w *fuzzWire) drain() {
	for side, s := range w.sides {
		for ev := s.NextEvent(); ev != nil; ev = s.NextEvent() {
			switch ev := ev.(type) {
			case ovpn.Credentials:
				w.pending = append(w.pending, ev.KeyID)
			case ovpn.PushRequest:
				if !w.accepted {
					w.t.Error("asked for a configuration before the client was accepted")
				}
				s.Push(w.now, emptyReply())
			case ovpn.PushReply:
				if side == 1 && !w.accepted {
					w.t.Error("up before the client was accepted")
				}
			}
		}
		for p := s.NextPacket(w.now); p != nil; p = s.NextPacket(w.now) {
			if len(w.queue[side]) < 64 {
				w.queue[side] = append(w.queue[side], p)
			}
		}
	}
}

func emptyReply() push.Reply {
	return push.Reply{Topology: "subnet", Address: netip.MustParsePrefix("10.8.0.2/24"), RouteGateway: netip.MustParseAddr("10.8.0.1"), Ping: time.Second}
}

// CVE-2026-40215, CVE-2026-12996, CVE-2026-13117: queued packets and packets in
// the making outlive the key or the session that made them. Under -race.
func TestKeysChangeUnderTraffic(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	var stop atomic.Bool
	var loops sync.WaitGroup
	datagrams := make(chan []byte, 64)
	loops.Go(func() {
		defer close(datagrams)
		for n := 0; !stop.Load(); n++ {
			b, sizes := p.Client.Session.Data().Seal(ovpntest.Epoch(), nil, 0, &ovpn.List{inner(n)}, nil)
			if len(sizes) == 1 {
				datagrams <- b
			}
		}
	})
	loops.Go(func() {
		for b := range datagrams {
			p.Server.Session.Data().Open(ovpntest.Epoch(), [][]byte{b})
		}
	})
	var held [][]byte // packets that were handed out belong to the caller for good
	var copies []string
	p.Watch = func(_ *ovpntest.Side, b []byte) {
		held, copies = append(held, b), append(copies, string(b))
	}
	for range 6 {
		p.Client.Session.Renegotiate(p.Now)
		p.Run(15*time.Second, nil)
	}
	p.Client.Session.Renegotiate(p.Now) // with sends pending
	p.Server.Session.Abort()
	p.Client.Session.Abort()
	stop.Store(true)
	loops.Wait()
	for i := range held {
		if string(held[i]) != copies[i] {
			t.Fatalf("packet %d changed after it was sent", i)
		}
	}
	if n := ovpntest.Count[ovpn.Established](p.Client); n < 7 {
		t.Errorf("%d keys", n)
	}
}
