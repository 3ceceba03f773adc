package ovpn_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// said are the messages that a side received, in order.
func said(side *ovpntest.Side) (texts []string) {
	for _, ev := range side.Events {
		if m, ok := ev.(ovpn.Message); ok {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

// stalled is a tunnel in the middle of its first renegotiation: the side that answers has
// just seen the other's soft reset.
func stalled(t *testing.T, c, s ovpn.Config, noise ovpntest.Noise, seed uint64, byServer bool) *ovpntest.Pair {
	t.Helper()
	p := up(t, c, s, noise, seed)
	starts, answers := p.Client, p.Server
	if byServer {
		starts, answers = p.Server, p.Client
	}
	begun := false
	p.Watch = func(from *ovpntest.Side, b []byte) {
		if op, keyID := wire.SplitHeader(b[0]); from == answers && op == wire.SoftResetV1 && keyID == 1 {
			begun = true
		}
	}
	if err := starts.Session.Renegotiate(p.Now); err != nil {
		t.Fatal(err)
	}
	if !p.Run(10*time.Second, func() bool { return begun }) {
		t.Fatal("no negotiation begins")
	}
	p.Watch = nil
	return p
}

// Peers such as openvpn read no control packet on the old key once they negotiate a new one.
func TestMessagesWaitForTheNewKey(t *testing.T) {
	shared := crypt(t)
	for _, tc := range []struct {
		name     string
		byServer bool // the renegotiation
		toServer bool // the messages
		noise    ovpntest.Noise
	}{
		{"server starts, server says", true, false, quiet},
		{"server starts, client says", true, true, quiet},
		{"client starts, server says", false, false, quiet},
		{"client starts, client says", false, true, quiet},
		{"on an awful wire, server says", true, false, awful},
		{"on an awful wire, client says", false, true, awful},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, s := setup(t)
			c.Wrap, s.Wrap = shared, shared
			c.PingRestart = 5 * time.Minute
			for seed := range uint64(3) {
				p := stalled(t, c, s, tc.noise, seed, tc.byServer)
				from, to := p.Server, p.Client
				if tc.toServer {
					from, to = to, from
				}
				p.Watch = func(side *ovpntest.Side, b []byte) {
					if op, keyID := wire.SplitHeader(b[0]); side == from && op == wire.ControlV1 && keyID == 0 && tc.noise == quiet {
						t.Error("control data on the old key")
					}
				}
				var want []string
				for i := range 20 {
					want = append(want, fmt.Sprintf("HELLO,%d", i))
					if err := from.Session.Send(p.Now, want[i]); err != nil {
						t.Fatal(err)
					}
					p.Run(7*time.Millisecond, nil) // some wait, some do not
				}
				p.Run(100*time.Second, func() bool { return len(said(to)) >= len(want) })
				if got := said(to); !slices.Equal(got, want) {
					t.Errorf("seed %d: got %q: client %v, server %v", seed, got, p.Client.Err, p.Server.Err)
				}
				if n := ovpntest.Count[ovpn.Established](to); n != 2 {
					t.Errorf("seed %d: %d keys", seed, n)
				}
			}
		})
	}
}

func TestMessagesGoOnTheOldKeyWhenThereIsNoNewOne(t *testing.T) {
	for _, toServer := range []bool{false, true} {
		c, s := setup(t)
		c.HandWindow, s.HandWindow = 10*time.Second, 10*time.Second
		c.PingRestart = 2 * time.Minute
		p := up(t, c, s, quiet, 1)
		from, to := p.Server, p.Client
		if toServer {
			from, to = to, from
		}
		p.Reply.PingRestart = 0
		p.Noise.Loss = 1
		from.Session.Renegotiate(p.Now)
		want := []string{"HELLO,1", "HELLO,2"}
		for _, m := range want {
			if err := from.Session.Send(p.Now, m); err != nil {
				t.Fatal(err)
			}
		}
		p.Run(10*time.Second+time.Millisecond, nil)
		p.Noise.Loss = 0
		p.Run(4*time.Second, nil)
		if got := said(to); !slices.Equal(got, want) {
			t.Errorf("to server %v: got %q: client %v, server %v", toServer, got, p.Client.Err, p.Server.Err)
		}
	}
}

// What an owner says last arrives although a key is being negotiated.
func TestEndDuringRenegotiation(t *testing.T) {
	kindOf := func(side *ovpntest.Side) string {
		for _, ev := range side.Events {
			switch ev := ev.(type) {
			case ovpn.PeerExit:
				return ev.Kind
			case ovpn.AuthFailed:
				return "denied " + ev.Reason
			}
		}
		return ""
	}
	for _, tc := range []struct {
		name   string
		end    func(p *ovpntest.Pair) (to *ovpntest.Side)
		stream bool
		want   string
	}{
		{"server restarts", func(p *ovpntest.Pair) *ovpntest.Side {
			p.Server.Session.Send(p.Now, "RESTART,maintenance")
			p.Server.Session.Close(p.Now)
			return p.Client
		}, false, "restart"},
		{"server denies", func(p *ovpntest.Pair) *ovpntest.Side {
			p.Server.Session.Deny(p.Now, "banned")
			return p.Client
		}, false, "denied banned"},
		{"client leaves", func(p *ovpntest.Pair) *ovpntest.Side { p.Client.Session.Close(p.Now); return p.Server }, false, "exit"},
		{"client leaves, TCP", func(p *ovpntest.Pair) *ovpntest.Side { p.Client.Session.Close(p.Now); return p.Server }, true, "exit"},
	} {
		for _, byServer := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, server starts %v", tc.name, byServer), func(t *testing.T) {
				t.Parallel()
				c, s := setup(t)
				c.Stream, s.Stream = tc.stream, tc.stream
				p := stalled(t, c, s, quiet, 1, byServer)
				asked := ovpntest.Count[ovpn.Credentials](p.Server)
				start, to := p.Now, tc.end(p)
				p.Run(10*time.Second, func() bool { return p.Client.Err != nil && p.Server.Err != nil })
				if got := kindOf(to); got != tc.want {
					t.Errorf("%q: client %v, server %v", got, p.Client.Err, p.Server.Err)
				}
				if d := p.Now.Sub(start); d > 3*time.Second || p.Client.Err == nil || p.Server.Err == nil {
					t.Errorf("ended after %v: client %v, server %v", d, p.Client.Err, p.Server.Err)
				}
				if tc.want != "exit" && ovpntest.Count[ovpn.Credentials](p.Server) != asked {
					t.Error("the owner of a session that ends was asked")
				}
			})
		}
	}
}

// A peer that never finishes its negotiation holds no end up and fills no memory.
func TestWaitingMessagesAreBounded(t *testing.T) {
	c, s := setup(t)
	p := stalled(t, c, s, quiet, 1, false)
	p.Noise.Loss = 1
	server := p.Server.Session
	for _, tc := range []struct {
		name    string
		message string
		least   int
	}{
		{"short ones", "HELLO", 500},
		{"long ones", "HELLO," + strings.Repeat("x", 1000), 0},
	} {
		n, err := 0, error(nil)
		for ; err == nil && n < 3000; n++ {
			err = server.Send(p.Now, tc.message)
		}
		if err == nil || !strings.Contains(err.Error(), "no room") || n < tc.least {
			t.Errorf("%s: %d were taken, %v", tc.name, n, err)
		}
	}
	// An update is taken whole or not at all.
	reply := p.Reply
	for i := range 2000 {
		reply.Routes = append(reply.Routes, push.Route{Destination: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)})
	}
	if err := server.Update(p.Now, reply); err == nil {
		t.Error("an update found room")
	}
	start := p.Now
	server.Close(p.Now)
	p.Run(10*time.Second, func() bool { return p.Server.Err != nil })
	if d := p.Now.Sub(start); d != time.Second {
		t.Errorf("lingered %v: %v", d, p.Server.Err)
	}
}

func TestUpdateDuringRenegotiation(t *testing.T) {
	c, s := setup(t)
	p := stalled(t, c, s, noisy, 1, true)
	reply := p.Reply
	for i := range 2000 {
		reply.Routes = append(reply.Routes, push.Route{Destination: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)})
	}
	if err := p.Server.Session.Update(p.Now, reply); err != nil {
		t.Fatal(err)
	}
	p.Run(50*time.Second, func() bool { return ovpntest.Count[ovpn.PushUpdate](p.Client) > 0 })
	if got := last[ovpn.PushUpdate](t, p.Client).Reply.Routes; len(got) != 2000 {
		t.Errorf("%d routes: client %v, server %v", len(got), p.Client.Err, p.Server.Err)
	}
}
