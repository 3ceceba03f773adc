package ovpn_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// All clients share the control channel's key, so a packet of another session is
// authentic; a later one must not make the session's own packets look like replays.
func TestForeignPacketsLeaveTheReplayWindowAlone(t *testing.T) {
	c, s := setup(t)
	shared := crypt(t)
	c.Wrap, s.Wrap = shared, shared
	victim := up(t, c, s, quiet, 1)
	foreign := shared.New(true, 1).Wrap(nil, victim.Now.Add(time.Hour), wire.AppendControl(nil, wire.Control{
		Op: wire.ControlV1, Session: wire.SessionID{1, 2, 3}, ID: 7, Payload: []byte("of a later session"),
	}))
	if err := victim.Client.Session.Handle(victim.Now, foreign); !errors.Is(err, ovpn.ErrDropped) {
		t.Fatalf("foreign packet: %v", err)
	}
	victim.Client.Session.Renegotiate(victim.Now)
	if !victim.Run(5*time.Second, func() bool { return ovpntest.Count[ovpn.Established](victim.Client) == 2 }) {
		t.Error("the session is deaf after another session's packet")
	}
}

// The owner waits for Deadline and calls Tick: a peer that stops answering must
// not make that a busy loop.
func TestDeadlineMovesWhilePeerIsSilent(t *testing.T) {
	c, s := setup(t)
	s.Ping, s.Renegotiate = time.Second, 2*time.Second
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	pushed := false
	p.OnServer = func(ev ovpn.Event) bool {
		if _, ok := ev.(ovpn.PushRequest); ok {
			pushed, p.Noise.Loss = true, 1
		}
		return false
	}
	if !p.Run(20*time.Second, func() bool { return pushed }) {
		t.Fatal("no push request")
	}
	session, now := p.Server.Session, p.Now
	end := now.Add(time.Minute)
	for n := 0; now.Before(end); n++ {
		if n > 3000 {
			t.Fatalf("%d wakings in %v", n, now.Sub(p.Now))
		}
		if d := session.Deadline(); d.After(now) {
			now = d
		}
		if err := session.Tick(now); err != nil {
			t.Fatal(err)
		}
		for session.NextPacket(now) != nil {
		}
	}
}

// A server that only sends, to a client that only listens and changes keys faster
// than the server moves to a new one, always has a key to send with.
func TestQuickRenegotiationsKeepTheServerSending(t *testing.T) {
	c, s := setup(t)
	c.Renegotiate, c.Ping = 5*time.Second, 0
	p := ovpntest.NewPair(t, c, s, quiet, 3)
	p.Reply.Ping, p.Reply.PingRestart = 0, 0
	if !p.Run(20*time.Second, p.Up) {
		t.Fatal("not up")
	}
	p.Run(time.Second, nil)
	for i := range 2000 {
		if !p.Inject(p.Server, inner(i)) {
			t.Fatalf("no key to send with after %v", p.Now.Sub(ovpntest.Epoch()))
		}
		p.Run(20*time.Millisecond, nil)
	}
	if n := len(p.Client.Inside); n != 2000 {
		t.Errorf("%d packets of 2000", n)
	}
	if n := ovpntest.Count[ovpn.Established](p.Client); n < 6 {
		t.Errorf("%d keys", n)
	}
}

// The last word arrives although its first copies are lost.
func TestLastWordIsRepeated(t *testing.T) {
	for _, tc := range []struct {
		name   string
		outage time.Duration
		say    func(p *ovpntest.Pair)
		heard  func(p *ovpntest.Pair) bool
	}{
		{"AUTH_FAILED", time.Second, func(p *ovpntest.Pair) { p.Server.Session.Deny(p.Now, "no") },
			func(p *ovpntest.Pair) bool { return ovpntest.Count[ovpn.AuthFailed](p.Client) == 1 }},
		{"RESTART", 300 * time.Millisecond, func(p *ovpntest.Pair) {
			p.Server.Session.Send(p.Now, "RESTART,later")
			p.Server.Session.Close(p.Now)
		}, func(p *ovpntest.Pair) bool { return ovpntest.Count[ovpn.PeerExit](p.Client) == 1 }},
		{"EXIT", 300 * time.Millisecond, func(p *ovpntest.Pair) { p.Client.Session.Close(p.Now) },
			func(p *ovpntest.Pair) bool { return ovpntest.Count[ovpn.PeerExit](p.Server) == 1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			p := up(t, c, s, quiet, 1)
			p.Noise.Loss = 1
			tc.say(p)
			p.Run(tc.outage, nil)
			p.Noise.Loss = 0
			if !p.Run(5*time.Second, func() bool { return tc.heard(p) }) {
				t.Errorf("not heard: client %v, server %v", p.Client.Err, p.Server.Err)
			}
			p.Run(5*time.Second, nil)
			if p.Client.Err == nil || p.Server.Err == nil {
				t.Errorf("still there: client %v, server %v", p.Client.Err, p.Server.Err)
			}
		})
	}
}

// After Deny nothing makes a session usable, and no packet passes either way.
func TestDenyIsFinal(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	session := p.Server.Session
	if err := session.Deny(p.Now, "go away"); err != nil {
		t.Fatal(err)
	}
	if session.Accept(p.Now, 0) == nil || session.Push(p.Now, p.Reply) == nil || session.Send(p.Now, "INFO,x") == nil {
		t.Error("a denied session takes orders")
	}
	if p.Inject(p.Server, inner(1)) {
		t.Error("a denied session sends packets")
	}
	p.Inject(p.Client, inner(2))
	p.Run(5*time.Second, nil)
	if len(p.Server.Inside) != 0 {
		t.Error("a denied client's packet came through")
	}

	// Denied while it asks for its configuration.
	p = ovpntest.NewPair(t, c, s, quiet, 1)
	p.OnServer = func(ev ovpn.Event) bool {
		if _, ok := ev.(ovpn.Credentials); ok {
			p.Server.Session.Deny(p.Now, "no")
			if err := p.Server.Session.Accept(p.Now, 0); !errors.Is(err, ovpn.ErrClosed) {
				t.Errorf("accept after deny: %v", err)
			}
			return true
		}
		return false
	}
	p.Run(20*time.Second, nil)
	if ovpntest.Count[ovpn.PushRequest](p.Server) != 0 || ovpntest.Count[ovpn.AuthFailed](p.Client) != 1 {
		t.Errorf("server %v, client %v", p.Server.Events, p.Client.Events)
	}
}

// A session that is being closed takes acknowledgements and nothing else.
func TestNothingBeginsWhileClosing(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	client, server := p.Client.Session, p.Server.Session
	server.Send(p.Now, "HALT,done")
	server.Close(p.Now)
	for server.NextPacket(p.Now) != nil { // lost
	}
	client.Renegotiate(p.Now)
	client.Send(p.Now, "EXIT")
	for b := client.NextPacket(p.Now); b != nil; b = client.NextPacket(p.Now) {
		if err := server.Handle(p.Now, b); err != nil && !errors.Is(err, ovpn.ErrDropped) {
			t.Fatal(err)
		}
	}
	if ev := server.NextEvent(); ev != nil {
		t.Errorf("event %T while closing", ev)
	}
	if err := server.Tick(p.Now.Add(2 * time.Second)); !errors.Is(err, ovpn.ErrClosed) {
		t.Errorf("after the farewell: %v", err)
	}
}

// A client whose certificate is refused at a renegotiation lives on the old key
// no longer than that key's window, however often it tries again.
func TestRefusedRenegotiationEndsTheSession(t *testing.T) {
	c, s := setup(t)
	revoked := false
	s.TLS.VerifyConnection = func(tls.ConnectionState) error {
		if revoked {
			return errors.New("certificate revoked")
		}
		return nil
	}
	c.Renegotiate, s.TranWindow = time.Minute, 10*time.Minute
	p := up(t, c, s, quiet, 1)
	revoked = true
	start := p.Now
	p.Run(time.Hour, func() bool { return p.Server.Err != nil })
	var pe *ovpn.ProtocolError
	if !errors.As(p.Server.Err, &pe) || pe.Cause != ovpn.CauseKeys {
		t.Fatalf("server: %v", p.Server.Err)
	}
	if d := p.Now.Sub(start); d < 9*time.Minute || d > 12*time.Minute {
		t.Errorf("ended after %v", d)
	}
	if p.Inject(p.Server, inner(1)) {
		t.Error("a dead session sends")
	}
}

// One side's attempt that the other never saw does not spoil later ones.
func TestRenegotiationAfterOneThatFailed(t *testing.T) {
	for _, byServer := range []bool{false, true} {
		t.Run(fmt.Sprintf("server tried %v", byServer), func(t *testing.T) {
			c, s := setup(t)
			c.PingRestart, s.PingRestart = 0, 0
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			p.Reply.PingRestart = 0
			if !p.Run(20*time.Second, p.Up) {
				t.Fatal("not up")
			}
			p.Run(time.Second, nil)
			side := p.Client
			if byServer {
				side = p.Server
			}
			p.Noise.Loss = 1
			side.Session.Renegotiate(p.Now)
			p.Run(61*time.Second, nil)
			p.Noise.Loss = 0
			for i := range 4 {
				side := []*ovpntest.Side{p.Client, p.Server}[i%2]
				side.Session.Renegotiate(p.Now)
				p.Run(15*time.Second, nil)
				if n := ovpntest.Count[ovpn.Established](p.Client); n != i+2 {
					t.Fatalf("%d keys after %d attempts: client %v, server %v", n, i+1, p.Client.Err, p.Server.Err)
				}
			}
			p.Inject(p.Client, inner(1))
			p.Run(time.Second, nil)
			if len(p.Server.Inside) != 1 {
				t.Error("packet lost")
			}
		})
	}
}

// Renegotiations for ever: key ids go 7 → 1, never 0.
func TestKeyIDsWrap(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	for range 17 {
		p.Client.Session.Renegotiate(p.Now)
		p.Server.Session.Renegotiate(p.Now)
		p.Run(12*time.Second, nil)
	}
	var ids []uint8
	for _, ev := range p.Client.Events {
		if e, ok := ev.(ovpn.Established); ok {
			ids = append(ids, e.KeyID)
		}
	}
	if want := []uint8{0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3}; !bytes.Equal(ids, want) {
		t.Errorf("key ids %v, want %v", ids, want)
	}
}

// Packets that fit a live session but ask for what it does not do are dropped.
func TestForeignOpcodesDoNotKill(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	for id := range uint32(40) {
		for _, op := range []wire.Opcode{wire.HardResetClientV3, wire.ControlWKCV1} {
			b := wire.AppendControl(nil, wire.Control{Op: op, Session: p.Server.Session.Peer(), ID: id, Payload: []byte("x")})
			if err := p.Server.Session.Handle(p.Now, b); !errors.Is(err, ovpn.ErrDropped) {
				t.Fatalf("opcode %d, id %d: %v", op, id, err)
			}
		}
	}
}

func TestPasswordTooLongForTheLayout(t *testing.T) {
	c, s := setup(t)
	c.Username, c.Password = "u", push.Secret(strings.Repeat("x", 70_000))
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.Run(20*time.Second, func() bool { return p.Client.Err != nil })
	if p.Client.Err == nil || !strings.Contains(p.Client.Err.Error(), "70000 bytes") {
		t.Errorf("%v", p.Client.Err)
	}
}

// A handshake of more packets than any window holds, on a wire that loses some.
func TestLargeCertificates(t *testing.T) {
	pki := ovpntest.NewPKI(t)
	names := func(x *x509.Certificate) {
		for i := range 1200 {
			x.DNSNames = append(x.DNSNames, fmt.Sprintf("host-%d.example.com", i))
		}
	}
	c, s := ovpn.Config{TLS: pki.ClientTLS("alice")}, ovpn.Config{TLS: pki.ServerTLS()}
	big := pki.Issue("alice", x509.ExtKeyUsageClientAuth, names)
	c.TLS.Certificates = []tls.Certificate{big}
	if len(big.Certificate[0]) < 24_000 {
		t.Fatalf("only %d bytes", len(big.Certificate[0]))
	}
	for seed := range uint64(3) {
		p := ovpntest.NewPair(t, c, s, noisy, seed)
		if !p.Run(59*time.Second, p.Up) {
			t.Errorf("seed %d: client %v, server %v", seed, p.Client.Err, p.Server.Err)
		}
	}
}

// Sessions that end in any state leave no goroutine; TestMain looks.
func TestAbandonedInEveryState(t *testing.T) {
	c, s := setup(t)
	for n := range 40 {
		p := ovpntest.NewPair(t, c, s, quiet, 1)
		steps := 0
		p.Run(time.Minute, func() bool { steps++; return steps > n })
		if n > 30 {
			p.Client.Session.Renegotiate(p.Now)
			p.Run(time.Duration(n-30)*5*time.Millisecond, nil)
		}
		for _, side := range []*ovpntest.Side{p.Client, p.Server} {
			if side.Session == nil {
				continue
			}
			if n%2 == 0 {
				side.Session.Abort()
			} else {
				side.Session.Close(p.Now)
				side.Session.Tick(p.Now.Add(time.Hour))
			}
			if err := side.Session.Tick(p.Now); !errors.Is(err, ovpn.ErrClosed) {
				t.Errorf("after %d steps: %v", n, err)
			}
		}
	}
}

// Whatever fits the session ids, in whatever order, a live session lives on or
// ends with an error; it never panics and never says that a stranger may pass.
func FuzzLiveSession(f *testing.F) {
	f.Add(uint8(0), []byte{4<<3 | 0, 2, 0, 5, 22, 3, 3, 0, 1})
	f.Add(uint8(1), []byte{3<<3 | 1, 0, 0, 0, 4<<3 | 1, 1, 0, 9, 22, 3, 1, 0, 4, 1, 0, 0, 0})
	f.Add(uint8(2), []byte{7 << 3, 0, 1, 0, 8 << 3, 1, 1, 0, 5 << 3, 0, 3, 0})
	clientTLS, serverTLS := cheapTLS(f)
	f.Fuzz(func(t *testing.T, state uint8, b []byte) {
		p := ovpntest.NewPair(t, ovpn.Config{TLS: clientTLS}, ovpn.Config{TLS: serverTLS}, quiet, 1)
		n := 0
		p.Run(10*time.Second, func() bool { n++; return n > int(state%24) })
		if p.Server.Session == nil {
			return
		}
		requests := ovpntest.Count[ovpn.Credentials](p.Server)
		for _, side := range []*ovpntest.Side{p.Client, p.Server} {
			other := p.Server.Session
			if side == p.Server {
				other = p.Client.Session
			}
			me := other.Peer() // my id, as the other side knows it
			// Records of opcode and key id, message id, number of acks, payload length.
			for rest := b; len(rest) >= 4; {
				h, id, acks, n := rest[0], rest[1], rest[2]%9, int(rest[3])
				rest = rest[4:]
				n = min(n, len(rest))
				op, key := wire.SplitHeader(h)
				ctl := wire.Control{Op: op, KeyID: key, Session: side.Session.Peer(), Peer: me, ID: uint32(id), Payload: rest[:n]}
				for i := range acks {
					ctl.Acks = append(ctl.Acks, uint32(i))
				}
				rest = rest[n:]
				side.Session.Handle(p.Now, wire.AppendControl(nil, ctl))
				for side.Session.NextPacket(p.Now) != nil {
				}
				if d := side.Session.Deadline(); !d.IsZero() && d.Before(p.Now.Add(time.Hour)) {
					side.Session.Tick(p.Now)
				}
			}
		}
		more := 0
		p.Run(time.Second, func() bool { more++; return more > 6 })
		if got := ovpntest.Count[ovpn.Credentials](p.Server); got > requests+1 {
			t.Errorf("%d key exchanges out of garbage", got-requests)
		}
	})
}

// A server that has begun a renegotiation reads no control packets of the old key
// (openvpn 2.6 and 2.7): a client that leaves just then says so in the data channel, too.
func TestLeaveDuringRenegotiation(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	p.Run(time.Second, nil)
	client, server := p.Client.Session, p.Server.Session
	server.Renegotiate(p.Now)
	for b := server.NextPacket(p.Now); b != nil; b = server.NextPacket(p.Now) {
		if err := client.Handle(p.Now, b); err != nil {
			t.Fatal(err)
		}
	}
	client.Close(p.Now)
	data := 0
	for b := client.NextPacket(p.Now); b != nil; b = client.NextPacket(p.Now) {
		if wire.IsData(b[0]) {
			data++
			server.Data().Open(p.Now, [][]byte{bytes.Clone(b)})
		}
	}
	server.Tick(p.Now)
	exits := 0
	for ev := server.NextEvent(); ev != nil; ev = server.NextEvent() {
		if _, ok := ev.(ovpn.PeerExit); ok {
			exits++
		}
	}
	if data == 0 || exits != 1 {
		t.Errorf("%d data packets, the server sees %d exits", data, exits)
	}
}
