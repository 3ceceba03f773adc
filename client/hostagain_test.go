package client

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
)

var errFull = errors.New("no space left on device")

// TestSystemRefusesForAWhile: what the system refuses a tunnel that is up ends nothing; it follows once the system lets it.
func TestSystemRefusesForAWhile(t *testing.T) {
	for _, call := range []string{"Facts", "Apply"} {
		for _, mode := range []string{"auto", "off"} {
			t.Run(call+"/"+mode, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					s := newServer(t)
					s.float = true
					st := newStage(t, s, t.TempDir())
					st.add(alice, "work", s.profile(remoteUDP+"\nredirect-gateway def1"))
					st.setting(alice, "work", "guard="+mode)
					st.connect(alice, "work")
					st.untilState(alice, "work", api.Connected, 5*time.Second)
					h := st.host(0)
					was := closed(h)
					h.Fail(call, errFull)
					st.move(elsewhere())
					for range 180 {
						time.Sleep(time.Second)
						c := st.Status(alice).Connections
						if len(c) != 1 || c[0].State != api.Connected && c[0].State != api.Reconnecting || closed(h) != was {
							t.Fatalf("%+v, %q is closed", c, closed(h))
						}
					}
					if c := st.Status(alice).Connections[0]; c.Problem == nil {
						t.Error("the status does not say what is wrong")
					}
					if len(st.store.wanted()) != 1 {
						t.Error("the wish is gone")
					}
					h.Fail(call, nil)
					st.until(alice, "work", "in the new network", 20*time.Second, func(c api.Connection) bool {
						around := h.Current().Around
						return c.State == api.Connected && c.Problem == nil && len(around) == 1 && around[0].Gateway == netip.MustParseAddr("172.16.0.1")
					})
					if !ping(t, h, "from the new network") {
						t.Error("the packet did not come back")
					}
				})
			})
		}
	}
}

// TestSystemRefusesAReconnect: so it is with what a new session of a tunnel that was up needs.
func TestSystemRefusesAReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := roaming(t, s, remoteUDP)
		h := st.host(0)
		was := closed(h)
		h.Fail("Apply", errFull)
		s.crash()
		c := st.until(alice, "work", "refused by the system", 5*time.Minute, func(c api.Connection) bool {
			return c.Problem != nil && c.Problem.Code == api.CodeRoutesFailed
		})
		if c.State != api.Reconnecting {
			t.Errorf("it is %s", c.State)
		}
		time.Sleep(10 * time.Minute)
		if c := st.untilState(alice, "work", api.Reconnecting, time.Minute); closed(h) != was {
			t.Errorf("%+v, %q is closed", c, closed(h))
		}
		h.Fail("Apply", nil)
		st.untilState(alice, "work", api.Connected, 6*time.Minute)
	})
}

// TestSystemRefusesTheFirst: who waits for a tunnel that was never up hears of it.
func TestSystemRefusesTheFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.failed["Apply"] = errFull
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		if c := st.untilState(alice, "work", api.Disconnected, 5*time.Second); c.Problem == nil || c.Problem.Code != api.CodeRoutesFailed {
			t.Errorf("%+v", c)
		}
	})
}

// TestSystemRefusesAfterAStart: what the service begins by itself, and nobody waits for, is tried again until the system lets it. Its wish stays, and
// whoever disconnects it meanwhile is heeded.
func TestSystemRefusesAfterAStart(t *testing.T) {
	for _, call := range []string{"Hosts", "Facts", "Apply", "OpenTUN"} {
		for _, mode := range []string{"off", "auto", "lockdown"} {
			t.Run(call+"/"+mode, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					s := newServer(t)
					st := newStage(t, s, t.TempDir())
					st.add(alice, "work", s.profile(remoteUDP+"\nredirect-gateway def1"))
					st.setting(alice, "work", "guard="+mode)
					fails := func(err error) {
						st.mu.Lock()
						defer st.mu.Unlock()
						st.failed[call] = err
						for _, h := range st.hosts {
							h.Fail(call, err)
						}
					}
					refused := func(end string) {
						t.Helper()
						st.connect(alice, "work")
						st.untilState(alice, "work", api.Connected, 5*time.Second)
						st.stop()
						fails(errFull)
						st.start()
						for range 120 {
							time.Sleep(time.Second)
							if c := st.Status(alice).Connections; len(c) != 1 || c[0].State != api.Connecting {
								t.Fatalf("%s: %+v", end, c)
							}
						}
						c := st.untilState(alice, "work", api.Connecting, 0)
						if c.Problem == nil || len(st.store.wanted()) != 1 {
							t.Errorf("%s: the problem is %v, wanted: %+v", end, c.Problem, st.store.wanted())
						}
					}
					refused("goes on")
					fails(nil)
					st.untilState(alice, "work", api.Connected, time.Minute)
					if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
						t.Fatal(err)
					}
					if call == "Apply" && mode == "off" { // nor is its device undone then
						return
					}

					refused("ends")
					err := st.Disconnect(t.Context(), alice, "work")
					if closes := mode != "lockdown" || call == "OpenTUN"; (err == nil) != closes {
						t.Errorf("disconnected: %v", err)
					}
					if len(st.store.wanted()) != 0 {
						t.Errorf("wanted: %+v", st.store.wanted())
					}
					fails(nil)
					time.Sleep(alwaysInterval + lockdownTime)
					want := map[string][]string{"lockdown": {"work blocked"}}[mode]
					if got := st.connections(); !slices.Equal(got, want) {
						t.Errorf("in the end %q, want %q", got, want)
					}
				})
			})
		}
	}
}

// TestSystemRefusesDuringAQuestion: a question stays open meanwhile.
func TestSystemRefusesDuringAQuestion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		good := map[string]bool{assertion: true}
		d := newDoor(t, saml(good))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+federated))
		st.connect(alice, "work")
		st.say(st.asked(api.LoginBrowser), api.Answer{Response: assertion})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		h := st.host(0)
		d.set(func() { clear(good) })
		d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
		q := st.asked(api.LoginBrowser)
		h.Fail("Apply", errFull)
		st.move(elsewhere())
		time.Sleep(time.Minute)
		if again := st.asked(api.LoginBrowser); again.ID != q.ID {
			t.Error("it is asked anew")
		}
		h.Fail("Apply", nil)
		time.Sleep(2 * hostRetry)
		if local := h.Guard().Local; !slices.Contains(local, netip.MustParsePrefix("172.16.0.0/24")) {
			t.Errorf("the guard is that of another network: %+v", local)
		}
	})
}

// TestMovesWhileReconnecting: the way around the tunnel is the new network's, though the change came while a server did not answer.
func TestMovesWhileReconnecting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := roaming(t, s, remoteUDP+"\nredirect-gateway def1")
		s.set(func() { s.silent = true })
		s.crash()
		st.untilState(alice, "work", api.Reconnecting, 5*time.Minute)
		dialed, _ := st.reconnects()
		for now := dialed; now == dialed; now, _ = st.reconnects() { // in the middle of an attempt
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		st.move(elsewhere())
		time.Sleep(10 * time.Second)
		if around := st.host(0).Current().Around; len(around) != 1 || around[0].Gateway != netip.MustParseAddr("172.16.0.1") {
			t.Errorf("the way around: %+v", around)
		}
	})
}
