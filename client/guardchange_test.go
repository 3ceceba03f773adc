package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/routes"
)

// TestGuardLockdownAtAnyTime: whatever a connection does at the moment, the setting closes everything.
func TestGuardLockdownAtAnyTime(t *testing.T) {
	for _, c := range []struct {
		name, profile string
		reach         func(st *stage, s *server)
	}{
		{"its first server is silent", remoteUDP, func(st *stage, s *server) {
			s.set(func() { s.silent = true })
			st.connect(alice, "work")
			time.Sleep(time.Second)
		}},
		{"between attempts", remoteUDP, func(st *stage, s *server) {
			s.set(func() { s.refused = true })
			st.connect(alice, "work")
			time.Sleep(10 * time.Second)
		}},
		{"it asks for a password", remoteUDP + "\nauth-user-pass", func(st *stage, _ *server) {
			st.connect(alice, "work")
			st.untilState(alice, "work", api.NeedsLogin, time.Second)
		}},
		{"blocked", remoteUDP, func(st *stage, s *server) {
			st.connect(alice, "work")
			st.untilState(alice, "work", api.Connected, 5*time.Second)
			s.each(func(o *ovpn.Session) { o.Send(time.Now(), "HALT,go away") })
			st.blocked(alice, "work", api.CodeSessionEnded)
		}},
		{"reconnecting", remoteUDP, func(st *stage, s *server) {
			st.connect(alice, "work")
			st.untilState(alice, "work", api.Connected, 5*time.Second)
			s.set(func() { s.silent = true })
			s.crash()
			st.untilState(alice, "work", api.Reconnecting, 5*time.Minute)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile(c.profile))
				c.reach(st, s)
				if got := closed(st.host(0)); got == everything {
					t.Fatalf("%s is closed before", got)
				}
				st.setting(alice, "work", "guard=lockdown")
				synctest.Wait()
				if got := closed(st.host(0)); got != everything {
					t.Errorf("%q is closed", got)
				}
			})
		})
	}
}

// TestGuardStaysClosedOnErrors: a machine whose state cannot be read or changed opens nothing.
func TestGuardStaysClosedOnErrors(t *testing.T) {
	for _, call := range []string{"Facts", "Apply"} {
		t.Run(call, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := roaming(t, s, remoteUDP)
				h := st.host(0)
				s.each(func(o *ovpn.Session) { o.Send(time.Now(), "HALT,go away") })
				st.blocked(alice, "work", api.CodeSessionEnded)
				was := closed(h)
				check := func(h func() routes.Guard, when string, state api.State) {
					t.Helper()
					if st.untilState(alice, "work", state, time.Second); h().IsZero() {
						t.Errorf("%s it is open", when)
					}
				}
				h.Fail(call, errors.New("no space left on device"))
				h.SetFacts(routes.Facts{})
				time.Sleep(20 * time.Second)
				check(h.Guard, "blocked, in a new network,", api.Blocked)
				h.Fail(call, nil)
				time.Sleep(hostRetry + time.Second)
				if g := h.Guard(); closed(h) != was || len(g.Local) > 0 {
					t.Errorf("in the new network: %+v", g)
				}
				st.stop() // the wish stays, as after a crash
				st.left = map[string]routes.Guard{st.nameOf(0): routes.Everything()}
				st.failed[call] = errors.New("no space left on device")
				st.start()
				time.Sleep(time.Second)
				h = st.host(0)
				check(h.Guard, "in the next run", api.Connecting)
				h.Fail(call, nil)
				st.untilState(alice, "work", api.Connected, hostRetry+5*time.Second)
			})
		})
	}
}

// TestBerth: whoever has been told to wake up, and not begun yet, can still be told to stay.
func TestBerth(t *testing.T) {
	roused := func() *berth {
		b := &berth{}
		wake := b.enter()
		b.rouse(call{})
		<-wake
		<-b.park()
		return b
	}
	b := roused()
	ctx, cancel := b.leave(t.Context())
	defer cancel()
	if ctx.Err() == nil {
		t.Error("it begins attempts after it was parked")
	}
	b.enter()
	if b.rouse(call{}) == nil {
		t.Error("it does not wake again")
	}
	b = roused()
	b.rouse(call{})
	ctx, cancel = b.leave(t.Context())
	defer cancel()
	if ctx.Err() != nil {
		t.Error("who was woken after the parking stays")
	}
}

// TestGuardRush: connect, disconnect and settings at once leave a wish for what is there, and for nothing else.
func TestGuardRush(t *testing.T) {
	for range 30 {
		inBubble(t, func(t *testing.T) {
			s := newServer(t)
			st := roaming(t, s, remoteUDP)
			s.each(func(o *ovpn.Session) { o.Send(time.Now(), "HALT,go away") })
			st.blocked(alice, "work", api.CodeSessionEnded)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() { _ = st.Connect(alice, api.ConnectRequest{Profile: "work"}) })
				wg.Go(func() { _ = st.Disconnect(context.Background(), alice, "work") })
			}
			wg.Wait()
			synctest.Wait()
			wanted, there := len(st.store.wanted()) > 0, len(st.Status(alice).Connections) > 0
			if wanted != there {
				t.Errorf("wanted %t, there %t", wanted, there)
			}
			wg.Go(func() { _, _ = st.Set(alice, "work", []string{"guard=lockdown"}) })
			wg.Go(func() { _ = st.Connect(alice, api.ConnectRequest{Profile: "work"}) })
			wg.Go(func() { _ = st.Disconnect(context.Background(), alice, "work") })
			wg.Wait()
			time.Sleep(time.Second)
			if got := closed(st.host(0)); got != everything {
				t.Errorf("in lockdown %q is closed", got)
			}
			st.setting(alice, "work", "guard=auto")
			if err := st.Disconnect(context.Background(), alice, "work"); err != nil && !api.IsCode(err, api.CodeNotConnected) {
				t.Error(err)
			}
			if n := len(st.store.wanted()); n > 0 || !st.host(0).Current().IsZero() {
				t.Errorf("in the end %d wishes, %+v", n, st.host(0).Current())
			}
		})
	}
}

// names answers questions for addresses in place of the network's resolvers.
type names struct {
	*server
	address netip.Addr
}

func (n names) DialPast(context.Context, string, netip.AddrPort, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	n.wg.Go(func() {
		defer theirs.Close()
		buf := make([]byte, 2048)
		size, err := theirs.Read(buf)
		var q dnsmessage.Message
		if err != nil || size < 2 || q.Unpack(buf[2:size]) != nil || len(q.Questions) != 1 {
			return
		}
		q.Response, q.RecursionAvailable, q.Additionals = true, true, nil
		if q.Questions[0].Type == dnsmessage.TypeA {
			q.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 60},
				Body: &dnsmessage.AResource{A: n.address.As4()}}}
		}
		if b, err := q.Pack(); err == nil {
			_, _ = theirs.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
		}
	})
	return ours, nil
}

// TestGuardLockdownSignInName: the sign-in's host is looked up as the server is, since the system's way is closed.
func TestGuardLockdownSignInName(t *testing.T) {
	s := newServer(t)
	defer s.wg.Wait()
	w := wiring{asleep: func() time.Duration { return 0 }, resolver: s, dialer: names{s, netip.MustParseAddr("198.51.100.9")}, log: slog.New(slog.DiscardHandler)}
	c := newConnection(w)
	s.noDNS = true
	facts := underlay()
	facts.DNS = []netip.Addr{netip.MustParseAddr("192.168.1.1")}
	c.seen = explainable{plan: routes.Plan{Guard: routes.Everything()}, facts: facts}
	if got := c.signInHosts(t.Context(), "https://idp.example.test/login"); !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("198.51.100.9/32")}) {
		t.Errorf("it is open for %v", got)
	}
	// The policy's hosts, too.
	c.wiring.rules = func() Policy { return Policy{SignInHosts: []string{"192.0.2.7", "cdn.example.test"}} }
	got := c.signInHosts(t.Context(), "https://idp.example.test/login")
	if want := []netip.Prefix{netip.MustParsePrefix("198.51.100.9/32"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("198.51.100.9/32")}; !slices.Equal(got, want) {
		t.Errorf("with SignInHosts it is open for %v", got)
	}
}

// TestGuardWebEnds: a server that wants one browser window after the other does not keep web pages open while nobody is there.
func TestGuardWebEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, func(string, string) string { return "pending:WEB_AUTH::https://idp.example.test/0" })
		judge := d.answer
		d.answer = func(o *ovpn.Session, ev ovpn.Event) error {
			if _, ok := ev.(ovpn.Credentials); ok {
				o.Pending(time.Now(), time.Hour, "WEB_AUTH::https://idp.example.test/0")
				return errHandled
			}
			return judge(o, ev)
		}
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nredirect-gateway def1"))
		st.connect(alice, "work")
		st.asked(api.LoginBrowser)
		h := st.host(0)
		if len(h.Guard().Web) == 0 {
			t.Fatal("web pages are not open at all")
		}
		open := 0 * time.Second
		for i := range 60 {
			time.Sleep(time.Minute)
			if len(h.Guard().Web) > 0 {
				open += time.Minute
			}
			if i%3 > 0 { // not too many windows
				continue
			}
			d.server.each(func(o *ovpn.Session) { o.Pending(time.Now(), time.Hour, "WEB_AUTH::https://idp.example.test/1") })
		}
		if open > webTime || closed(h) != everything {
			t.Errorf("web pages were open for %v, %q is closed", open, closed(h))
		}
	})
}

// TestGuardLockdownOfABrokenProfile: what cannot be started in lockdown opens nothing, until somebody takes the lockdown back.
func TestGuardLockdownOfABrokenProfile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.setting(alice, "work", "guard=lockdown")
		st.stop()
		if _, err := st.store.update(key{"1000", "work"}, func(r *record) error { r.Text = "client"; return nil }); err != nil {
			t.Fatal(err)
		}
		name := st.nameOf(0)
		delete(st.hosts, name)
		st.left = map[string]routes.Guard{name: routes.Everything()}
		st.start()
		if h := st.hostCalled(name); h != nil && h.Guard().IsZero() {
			t.Error("the guard was opened")
		}
		st.setting(alice, "work", "guard=auto")
		if h := st.hostCalled(name); h == nil || !h.Guard().IsZero() {
			t.Error("the guard stays closed")
		}
	})
}

// TestGuardLockdownLater: a person's guard that cannot be closed, as it is set or as the service starts, is tried again, with the profile's wish.
func TestGuardLockdownLater(t *testing.T) {
	for _, call := range []string{"Facts", "Apply"} {
		for _, wanted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", call, wanted), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					s := newServer(t)
					st := newStage(t, s, t.TempDir())
					st.add(alice, "work", s.profile(remoteUDP))
					fails := func(err error) {
						st.mu.Lock()
						defer st.mu.Unlock()
						st.failed[call] = err
						if len(st.named) > 0 {
							st.hosts[st.named[0]].Fail(call, err)
						}
					}
					closes := func(when string, state api.State) {
						t.Helper()
						time.Sleep(2 * alwaysInterval)
						if h := st.host(0); !h.Guard().IsZero() {
							t.Fatalf("%s: it is closed before", when)
						}
						if c := st.until(alice, "work", "refused", 0, func(c api.Connection) bool { return c.Problem != nil }); c.State == api.Blocked {
							t.Errorf("%s: it is called blocked", when)
						}
						fails(nil)
						time.Sleep(alwaysInterval + lockdownTime)
						if h := st.host(0); closed(h) != everything {
							t.Errorf("%s: %q is closed", when, closed(h))
						}
						st.untilState(alice, "work", state, 5*time.Second)
					}
					fails(errFull)
					if _, err := st.Set(alice, "work", []string{"guard=lockdown"}); err == nil {
						t.Error("nobody says that it is not closed")
					}
					closes("set", api.Blocked)
					then := api.Blocked
					if wanted {
						then = api.Connected
						st.connect(alice, "work")
						st.untilState(alice, "work", then, 5*time.Second)
					}
					st.stop()
					fails(errFull)
					st.start()
					closes("a start", then)
				})
			})
		}
	}
}
