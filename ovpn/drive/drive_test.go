package drive_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/drive"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// end is one side of a pair of loops.
type end struct {
	session *ovpn.Session
	cfg     drive.Config
	ctx     context.Context
	cancel  context.CancelCauseFunc
	up      chan struct{} // closed at the PushReply or the Push
	exit    chan string   // the peer left
	result  chan error
}

// run starts both loops, with channels for wires; edit may change the callbacks.
func run(t *testing.T, edit func(client, server *end)) (client, server *end) {
	t.Helper()
	pki := ovpntest.NewPKI(t)
	start := func(cfg ovpn.Config) *end {
		cfg.Stream = true
		s, err := ovpn.New(time.Now(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		e := &end{session: s, up: make(chan struct{}), exit: make(chan string, 1), result: make(chan error, 1)}
		e.ctx, e.cancel = context.WithCancelCause(context.Background())
		return e
	}
	client = start(ovpn.Config{TLS: pki.ClientTLS("alice"), HandWindow: 5 * time.Second})
	server = start(ovpn.Config{Role: ovpn.Server, TLS: pki.ServerTLS(), HandWindow: 5 * time.Second})
	toClient, toServer := make(chan []byte, 64), make(chan []byte, 64)
	send := func(to chan<- []byte) func([]byte) error {
		return func(b []byte) error {
			if wire.IsData(b[0]) {
				return nil
			}
			select {
			case to <- b:
			default:
			}
			return nil
		}
	}
	client.cfg = drive.Config{In: toClient, Send: send(toServer), Handle: func(_ time.Time, _ *ovpn.Session, ev ovpn.Event) error {
		switch ev := ev.(type) {
		case ovpn.PushReply:
			close(client.up)
		case ovpn.PeerExit:
			client.exit <- ev.Kind
		case ovpn.AuthFailed:
			return errors.New("refused: " + ev.Reason)
		}
		return nil
	}}
	server.cfg = drive.Config{In: toServer, Send: send(toClient), Handle: func(now time.Time, s *ovpn.Session, ev ovpn.Event) error {
		switch ev := ev.(type) {
		case ovpn.Credentials:
			return s.Accept(now, ev.KeyID)
		case ovpn.PushRequest:
			close(server.up)
			return s.Push(now, push.Reply{Topology: "subnet", Address: netip.MustParsePrefix("10.8.0.2/24"), RouteGateway: netip.MustParseAddr("10.8.0.1")})
		case ovpn.PeerExit:
			server.exit <- ev.Kind
		}
		return nil
	}}
	if edit != nil {
		edit(client, server)
	}
	for _, e := range []*end{client, server} {
		go func() { e.result <- drive.Run(e.ctx, e.session, e.cfg) }()
		t.Cleanup(func() { e.cancel(nil) })
	}
	return client, server
}

// wait takes one value within the time that a graceful end may take.
func wait[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(4 * time.Second):
		t.Fatalf("%s: nothing within four seconds", what)
	}
	return v
}

// dead checks that Run left nothing behind.
func (e *end) dead(t *testing.T) {
	t.Helper()
	if err := e.session.Tick(time.Now()); err == nil {
		t.Error("the session outlives its loop")
	}
}

func TestCancelEndsBothSides(t *testing.T) {
	for _, byServer := range []bool{false, true} {
		client, server := run(t, nil)
		wait(t, "client up", client.up)
		wait(t, "server up", server.up)
		leaver, other := client, server
		if byServer {
			leaver, other = server, client
		}
		why := errors.New("the user said so")
		leaver.cancel(why)
		if err := wait(t, "result", leaver.result); err != why {
			t.Errorf("result %v, want the cause", err)
		}
		leaver.dead(t)
		if !byServer { // a server says what it wants to say before it closes
			if kind := wait(t, "exit", other.exit); kind != "exit" {
				t.Errorf("the other side saw %q", kind)
			}
		}
		other.cancel(nil)
		wait(t, "other result", other.result)
		other.dead(t)
	}
}

func TestHandleErrorEndsGracefully(t *testing.T) {
	why := errors.New("no TUN")
	client, server := run(t, func(c, _ *end) {
		handle := c.cfg.Handle
		c.cfg.Handle = func(now time.Time, s *ovpn.Session, ev ovpn.Event) error {
			handle(now, s, ev)
			if _, ok := ev.(ovpn.PushReply); ok {
				return why
			}
			return nil
		}
	})
	if err := wait(t, "result", client.result); err != why {
		t.Errorf("result %v", err)
	}
	client.dead(t)
	if kind := wait(t, "exit", server.exit); kind != "exit" {
		t.Errorf("server saw %q", kind)
	}
	if err := wait(t, "server result", server.result); err == nil {
		t.Error("the server's loop ended without a reason")
	}
}

func TestDeniedClient(t *testing.T) {
	client, server := run(t, func(_, s *end) {
		s.cfg.Handle = func(now time.Time, s *ovpn.Session, ev ovpn.Event) error {
			if _, ok := ev.(ovpn.Credentials); ok {
				return s.Deny(now, "who are you")
			}
			return nil
		}
	})
	if err := wait(t, "result", client.result); err == nil || err.Error() != "refused: who are you" {
		t.Errorf("client: %v", err)
	}
	if err := wait(t, "server result", server.result); !errors.Is(err, ovpn.ErrClosed) {
		t.Errorf("server: %v", err)
	}
	client.dead(t)
	server.dead(t)
}

// What came in one piece with the end of a stream still counts: here, why the server refuses.
func TestLastWords(t *testing.T) {
	for i := range 4 { // either may be seen first
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			var denied atomic.Bool
			do, in := make(chan func(time.Time, *ovpn.Session) error), make(chan []byte, 64)
			held := make(chan []byte, 64)
			client, server := run(t, func(c, s *end) {
				c.cfg.Do = do
				from := c.cfg.In
				c.cfg.In = in
				go func() { // the wire
					for {
						select {
						case b := <-from:
							if denied.Load() {
								held <- b
							} else {
								in <- b
							}
						case <-c.ctx.Done():
							return
						}
					}
				}()
				s.cfg.Handle = func(now time.Time, s *ovpn.Session, ev ovpn.Event) error {
					if _, ok := ev.(ovpn.Credentials); ok {
						denied.Store(true)
						return s.Deny(now, "who are you")
					}
					return nil
				}
			})
			wait(t, "server result", server.result) // it has said all
			entered, release := make(chan struct{}), make(chan struct{})
			do <- func(time.Time, *ovpn.Session) error { close(entered); <-release; return nil }
			<-entered
			for len(held) > 0 {
				in <- <-held
			}
			client.cancel(errors.New("the stream ended"))
			close(release)
			if err := wait(t, "result", client.result); err == nil || err.Error() != "refused: who are you" {
				t.Fatalf("client: %v", err)
			}
		})
	}
}

func TestWorkFromOutside(t *testing.T) {
	do := make(chan func(time.Time, *ovpn.Session) error)
	client, server := run(t, func(_, s *end) { s.cfg.Do = do })
	wait(t, "client up", client.up)
	do <- func(now time.Time, s *ovpn.Session) error { return s.Send(now, "RESTART,now") }
	if kind := wait(t, "exit", client.exit); kind != "restart" {
		t.Errorf("client saw %q", kind)
	}
	if err := wait(t, "client result", client.result); err == nil {
		t.Error("the client's loop ended without a reason")
	}
	why := errors.New("enough")
	do <- func(time.Time, *ovpn.Session) error { return why }
	if err := wait(t, "server result", server.result); err != why {
		t.Errorf("server: %v", err)
	}
}

func TestBrokenWireEndsTheSession(t *testing.T) {
	client, server := run(t, func(c, _ *end) {
		send, n := c.cfg.Send, 0
		c.cfg.Send = func(b []byte) error {
			if n++; n > 3 { // in the middle of the TLS handshake
				return net.ErrClosed
			}
			return send(b)
		}
	})
	if err := wait(t, "result", client.result); !errors.Is(err, net.ErrClosed) {
		t.Errorf("result %v", err)
	}
	client.dead(t)
	server.cancel(nil)
	wait(t, "server result", server.result)
	server.dead(t)
}

func TestSilenceEndsTheLoop(t *testing.T) {
	s, err := ovpn.New(time.Now(), ovpn.Config{TLS: ovpntest.NewPKI(t).ClientTLS("alice"), HandWindow: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var sent int
	err = drive.Run(t.Context(), s, drive.Config{Send: func([]byte) error { sent++; return nil }})
	var pe *ovpn.ProtocolError
	if !errors.As(err, &pe) || pe.Cause != ovpn.CauseNoReply || sent == 0 {
		t.Errorf("%d packets, then %v", sent, err)
	}
}

// TestTogether: what has come behind a packet is worked on with it, and answered once.
func TestTogether(t *testing.T) {
	pki := ovpntest.NewPKI(t)
	begin := func(role ovpn.Role, tls *tls.Config) *ovpn.Session {
		s, err := ovpn.New(time.Now(), ovpn.Config{Role: role, TLS: tls})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	client, server := begin(ovpn.Client, pki.ClientTLS("alice")), begin(ovpn.Server, pki.ServerTLS())
	reset := client.NextPacket(time.Now())
	in := make(chan []byte, 4)
	for range cap(in) { // three of them say nothing new
		in <- reset
	}
	var turns, sent int
	stop := errors.New("enough")
	err := drive.Run(t.Context(), server, drive.Config{
		In:     in,
		Around: func(work func()) { turns++; work() },
		Send: func([]byte) error {
			if sent++; len(in) > 0 {
				t.Errorf("%d packets wait", len(in))
			}
			return stop
		},
	})
	if err != stop || turns != 1 || sent != 1 {
		t.Errorf("%d turns, %d packets sent, %v", turns, sent, err)
	}
}
