package ovpn_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// An equal peer is no server: it cannot push (openvpn's forward.c and push.c ask
// whether we pull).
func TestEqualPeersPushNothing(t *testing.T) {
	c, s := setup(t)
	c.PointToPoint, s.PointToPoint = true, true
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.Run(5*time.Second, func() bool { return ovpntest.Count[ovpn.PushReply](p.Server) == 1 })
	p.Run(time.Second, nil)
	for _, text := range []string{
		"PUSH_UPDATE,route 0.0.0.0 128.0.0.0", "PUSH_UPDATE,cipher none", "PUSH_REPLY,auth-token stolen", "PUSH_REPLY,route 1.2.3.4", "AUTH_PENDING,timeout 60",
	} {
		if err := p.Server.Session.Send(p.Now, text); err != nil {
			t.Fatal(err)
		}
		p.Run(time.Second, nil)
	}
	if err := p.Client.Session.Send(p.Now, "PUSH_REQUEST"); err != nil {
		t.Fatal(err)
	}
	p.Run(time.Second, nil)
	if p.Client.Err != nil || p.Server.Err != nil {
		t.Errorf("client %v, server %v", p.Client.Err, p.Server.Err)
	}
	if n := ovpntest.Count[ovpn.PushUpdate](p.Client) + ovpntest.Count[ovpn.AuthToken](p.Client) + ovpntest.Count[ovpn.AuthPending](p.Client); n != 0 {
		t.Errorf("%d orders of an equal peer obeyed", n)
	}
	if ovpntest.Count[ovpn.PushRequest](p.Server) != 0 {
		t.Error("an equal peer asks for a configuration")
	}
	flow(t, p)
	p.Server.Session.Close(p.Now)
	p.Run(3*time.Second, nil)
	if ovpntest.Count[ovpn.PeerExit](p.Client) != 1 {
		t.Errorf("no farewell from the TLS server: %v", p.Client.Err)
	}
}

// A server that has a larger MTU than a client takes pushes it all the same; the client takes its own.
func TestUpdatedMTU(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	p.Run(time.Second, nil)
	if err := p.Server.Session.Send(p.Now, "PUSH_UPDATE,tun-mtu 9000"); err != nil {
		t.Fatal(err)
	}
	p.Run(time.Second, nil)
	if p.Client.Err != nil {
		t.Fatal(p.Client.Err)
	}
	if r := last[ovpn.PushUpdate](t, p.Client).Reply; r.TunMTU != 1600 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "9000") {
		t.Errorf("a tun-mtu of %d, noted as %q", r.TunMTU, r.Notes)
	}
	flow(t, p)
}

// Peers drop messages with control characters as a whole (CVE-2024-5594): the
// client would never learn that it was refused.
func TestDenyReasonIsPrintable(t *testing.T) {
	c, s := setup(t)
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.OnServer = func(ev ovpn.Event) bool {
		if _, ok := ev.(ovpn.Credentials); ok {
			p.Server.Session.Deny(p.Now, "no\nway\x00\x7f")
			return true
		}
		return false
	}
	p.Run(10*time.Second, func() bool { return p.Client.Err != nil })
	if got := last[ovpn.AuthFailed](t, p.Client); got.Reason != "no way  " {
		t.Errorf("reason %q", got.Reason)
	}
	c, s = setup(t)
	p = up(t, c, s, quiet, 1)
	if err := p.Server.Session.Send(p.Now, "RESTART,a\nb"); err == nil {
		t.Error("a control character was sent")
	}
}

// Two ends that count their keys differently and begin at the same time refuse
// each other. They must not do so again and again until the old key ends.
func TestRenegotiationsThatCollide(t *testing.T) {
	for seed := range uint64(3) {
		c, s := setup(t)
		p := up(t, c, s, quiet, seed)
		p.Run(time.Second, nil)
		p.Client.Session.SetNextKey(2)
		p.Server.Session.SetNextKey(3)
		p.Client.Session.Renegotiate(p.Now)
		p.Server.Session.Renegotiate(p.Now)
		p.Run(5*time.Minute, func() bool { return ovpntest.Count[ovpn.Established](p.Client) > 1 })
		if n := ovpntest.Count[ovpn.Established](p.Client); n != 2 {
			t.Fatalf("%d keys; client %v, server %v", n, p.Client.Err, p.Server.Err)
		}
		p.Run(10*time.Second, nil)
		flow(t, p)
	}
}

// What comes out of order waits, but only as much as honest packets hold.
func TestLargePacketsOutOfOrder(t *testing.T) {
	c, s := setup(t)
	c.Stream, s.Stream = true, true
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.Run(time.Second, func() bool { return p.Server.Session != nil && p.Server.Session.Heard() })
	me := p.Client.Session.Peer()
	if me == (wire.SessionID{}) {
		p.Run(time.Second, func() bool { return p.Client.Session.Heard() })
	}
	for id := range uint32(11) {
		b := wire.AppendControl(nil, wire.Control{Op: wire.ControlV1, Session: p.Server.Session.Peer(), ID: 5 + id, Payload: make([]byte, 60000)})
		p.Server.Session.Handle(p.Now, b)
	}
	next := wire.AppendControl(nil, wire.Control{Op: wire.ControlV1, Session: p.Server.Session.Peer(), ID: 1, Payload: make([]byte, 60000)})
	p.Server.Session.Handle(p.Now, next)
	if n := p.Server.Session.Held(); n > 12*2048 {
		t.Errorf("%d bytes wait", n)
	}
	if !p.Run(20*time.Second, p.Up) {
		t.Errorf("client %v, server %v", p.Client.Err, p.Server.Err)
	}
}

// Of a long message with user name, password and peer info nothing stays that the session does not need, neither while its owner
// judges nor later; ciphers are agreed on all the same.
func TestNothingIsKeptOfALongMessage(t *testing.T) {
	for name, judging := range map[string]bool{"judging": true, "up": false} {
		t.Run(name, func(t *testing.T) {
			c, s := setup(t)
			c.Encoding, c.Username, c.Password = ovpn.AWS32, strings.Repeat("u", 60000), push.Secret(strings.Repeat("p", 60000))
			c.PeerInfo = []string{"UV_LONG=" + strings.Repeat("x", 50000), "IV_CIPHERS=AES-128-GCM:" + strings.Repeat("y", 5000)}
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			asked := false
			p.OnServer = func(ev ovpn.Event) bool {
				if ev, ok := ev.(ovpn.Credentials); ok {
					asked = len(ev.Username) == 60000 && len(ev.Password) == 60000 && len(ev.PeerInfo["UV_LONG"]) == 50000
					return judging
				}
				return false
			}
			there := p.Up
			if judging {
				there = func() bool { return asked }
			}
			if !p.Run(20*time.Second, there) || !asked {
				t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
			}
			if n := p.Server.Session.Kept(); n == 0 || n > 4096 {
				t.Errorf("%d bytes are kept", n)
			}
			cipherIs("AES-128-GCM")(t, p) // where there is a push already
		})
	}
}

// An old key's control channel may fail while its data serves on: what still comes for it is dropped, not kept.
func TestNothingIsKeptForAFailedKey(t *testing.T) {
	c, s := setup(t)
	c.Wrap, s.Wrap = nil, nil
	p := up(t, c, s, quiet, 1)
	p.Run(time.Second, nil)
	p.Client.Session.Renegotiate(p.Now)
	p.Run(10*time.Second, nil)
	server := p.Server.Session
	for id := range uint32(2000) {
		b := wire.AppendControl(nil, wire.Control{Op: wire.ControlV1, Session: server.Peer(), ID: id, Payload: make([]byte, 1200)})
		if err := server.Handle(p.Now, b); err != nil && !errors.Is(err, ovpn.ErrDropped) {
			t.Fatal(err)
		}
		for server.NextPacket(p.Now) != nil {
		}
	}
	if n := server.Held(); n > 12*2048 {
		t.Errorf("%d bytes wait", n)
	}
	flow(t, p)
}

// A stranger's reset cannot end an attempt: what it says counts only where
// tls-crypt-v2 protects it.
func TestForgedResetPayload(t *testing.T) {
	c, _ := setup(t)
	c.Role = ovpn.Client
	session, err := ovpn.New(ovpntest.Epoch(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Abort()
	session.NextPacket(ovpntest.Epoch())
	b := wire.AppendControl(nil, wire.Control{Op: wire.HardResetServerV2, Session: wire.SessionID{1}, Payload: []byte{0, 1, 0}})
	if err := session.Handle(ovpntest.Epoch(), b); err != nil {
		t.Error(err)
	}
}

// The answer to CR_TEXT (openvpn's management-notes.txt, cr-response).
func TestChallengeResponse(t *testing.T) {
	c, s := setup(t)
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	var key uint8
	p.OnServer = func(ev ovpn.Event) bool {
		if cr, ok := ev.(ovpn.Credentials); ok {
			key = cr.KeyID
			if err := p.Server.Session.Pending(p.Now, time.Minute, "CR_TEXT:R,E:code?"); err != nil {
				t.Error(err)
			}
			return true
		}
		return false
	}
	if err := p.Client.Session.Respond(p.Now, "123"); err == nil {
		t.Error("answered before there is a channel")
	}
	p.Run(5*time.Second, func() bool { return ovpntest.Count[ovpn.Message](p.Client) == 1 })
	if got := last[ovpn.Message](t, p.Client).Text; got != "INFO_PRE,CR_TEXT:R,E:code?" {
		t.Errorf("asked %q", got)
	}
	if err := p.Client.Session.Respond(p.Now, strings.Repeat("9", 800)); err == nil {
		t.Error("a response over 1024 bytes was sent")
	}
	longest := strings.Repeat("\xff\n", 1008/4*3/2)
	for _, response := range []string{"", "1234 \"ä\"", longest} {
		if err := p.Client.Session.Respond(p.Now, response); err != nil {
			t.Fatal(err)
		}
		p.Run(time.Second, nil)
		if got, want := last[ovpn.Message](t, p.Server).Text, "CR_RESPONSE,"+base64.StdEncoding.EncodeToString([]byte(response)); got != want {
			t.Errorf("got %q", got)
		}
	}
	if err := p.Server.Session.Respond(p.Now, "x"); err == nil {
		t.Error("a server answers itself")
	}
	if err := p.Server.Session.Accept(p.Now, key); err != nil {
		t.Fatal(err)
	}
	if !p.Run(10*time.Second, p.Up) {
		t.Error(p.Client.Err)
	}
}

// Messages that we have no use for are handed on and change nothing: the
// application channel that nobody offered, and information.
func TestOtherMessagesAreIgnored(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	p.Run(time.Second, nil)
	texts := []string{"ACC,protocols,A,6,cck1,x", "ACC,6,A:protocols,", "INFO,OPEN_URL:https://example.net/", "INFO_PRE,WEB_AUTH::https://example.net/", "NONSENSE"}
	for _, text := range texts {
		for _, side := range []*ovpntest.Side{p.Client, p.Server} {
			if err := side.Session.Send(p.Now, text); err != nil {
				t.Fatal(err)
			}
		}
		p.Run(time.Second, nil)
	}
	for _, side := range []*ovpntest.Side{p.Client, p.Server} {
		if n := ovpntest.Count[ovpn.Message](side); n != len(texts) || side.Err != nil {
			t.Errorf("%d messages, %v", n, side.Err)
		}
	}
	flow(t, p)
}

// Clients drop messages over 1024 bytes: one option must fit in one.
func TestPushOfOneLongOption(t *testing.T) {
	c, s := setup(t)
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	var err error
	p.OnServer = func(ev ovpn.Event) bool {
		if _, ok := ev.(ovpn.PushRequest); !ok {
			return false
		}
		reply := p.Reply
		reply.AuthToken = push.Secret(strings.Repeat("a", 1100))
		err = p.Server.Session.Push(p.Now, reply)
		return false // and then one that fits
	}
	if !p.Run(10*time.Second, p.Up) || err == nil {
		t.Errorf("%v; client %v, server %v", err, p.Client.Err, p.Server.Err)
	}
}
