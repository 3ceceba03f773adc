package client

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/platformtest"
	"github.com/adit-vpn/adit/routes"
)

// closed is what a Host's guard closes, in words; empty for nothing.
func closed(h *platformtest.Host) string {
	var out []string
	for _, p := range h.Current().Guard.Closed {
		out = append(out, p.String())
	}
	return strings.Join(out, " ")
}

const everything = "0.0.0.0/0 ::/0"

// TestGuardAuto: nothing is closed before the first push reply, then what belongs into the tunnel, until disconnect.
func TestGuardAuto(t *testing.T) {
	for _, c := range []struct {
		name, profile string
		full          bool
		before, up    string
	}{
		{"split", remoteUDP, false, "", "10.8.0.0/24 10.98.0.0/24"},
		{"full", remoteUDP, true, "", everything},
		{"the profile itself redirects", remoteUDP + "\nredirect-gateway def1", false, everything, everything},
		{"off", remoteUDP, true, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.set(func() { s.silent, s.full = true, c.full })
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile(c.profile))
				if c.name == "off" {
					st.setting(alice, "work", "guard=off")
				}
				st.connect(alice, "work")
				time.Sleep(time.Second)
				h := st.host(0)
				if got := closed(h); got != c.before {
					t.Errorf("before the push reply %q is closed, want %q", got, c.before)
				}
				s.set(func() { s.silent = false })
				st.untilState(alice, "work", api.Connected, 3*time.Minute)
				if got := closed(h); got != c.up {
					t.Errorf("connected, %q is closed, want %q", got, c.up)
				}
				if g := h.Guard(); c.up != "" && (len(g.Outer) != 1 || g.Outer[0].Address.String() != "192.0.2.1" || g.Outer[0].Port != 1194 || g.Outer[0].Transport != "udp") {
					t.Errorf("our own packets may go to %+v", g.Outer)
				}
				s.set(func() { s.silent = true })
				s.crash()
				st.untilState(alice, "work", api.Reconnecting, 5*time.Minute)
				if got := closed(h); got != c.up {
					t.Errorf("reconnecting, %q is closed, want %q", got, c.up)
				}
				if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
					t.Fatal(err)
				}
				if !h.Current().IsZero() {
					t.Errorf("after disconnect %+v", h.Current())
				}
			})
		})
	}
}

// TestGuardFollowsServers: the guard lets our packets to the server of the moment pass, and to no other.
func TestGuardFollowsServers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := roaming(t, s, "remote 192.0.2.1 1194 udp\nremote 192.0.2.2 443 tcp")
		s.set(func() { s.silent = true })
		s.crash()
		h := st.host(0)
		seen := map[string]bool{}
		for range 600 {
			time.Sleep(time.Second)
			for _, e := range h.Guard().Outer {
				seen[e.Address.String()+"/"+e.Transport] = true
			}
		}
		if len(seen) != 2 || !seen["192.0.2.1/udp"] || !seen["192.0.2.2/tcp"] {
			t.Errorf("our packets might go to %v", seen)
		}
	})
}

// TestGuardWakes: a blocked connection tries again when somebody connects, and opens when somebody disconnects.
func TestGuardWakes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := roaming(t, s, remoteUDP)
		halt := func() { s.each(func(o *ovpn.Session) { o.Send(time.Now(), "HALT,go away") }) }
		halt()
		st.blocked(alice, "work", api.CodeSessionEnded)
		h := st.host(0)
		// A killed service finds the guard closed, and whose it is.
		if !st.Keeps(st.nameOf(0)) || st.Keeps("tunnel-0") {
			t.Error("the guard would be opened at the next start")
		}
		if err := st.Connect(bob, api.ConnectRequest{Profile: "work"}); !api.IsCode(err, api.CodeProfileNotFound) {
			t.Errorf("another user wakes it: %v", err)
		}
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work"}); !api.IsCode(err, api.CodeAlreadyConnected) {
			t.Errorf("connected: %v", err)
		}
		for _, p := range h.Plans() {
			if p.IsZero() {
				t.Error("the guard was open in between")
			}
		}
		halt()
		st.blocked(alice, "work", api.CodeSessionEnded)
		if err := st.Rename(alice, "work", "home"); !api.IsCode(err, api.CodeProfileInUse) {
			t.Errorf("rename: %v", err)
		}
		if _, err := st.Set(alice, "work", []string{"guard=off"}); err != nil {
			t.Fatal(err)
		}
		if !h.Current().IsZero() || !h.IsClosed() || len(st.store.wanted()) != 0 {
			t.Errorf("with the guard off: %+v, wishes %v", h.Current(), st.store.wanted())
		}
	})
}

// TestGuardLockdown: closed from the moment of the setting on, before, between and after connections, and after the service.
func TestGuardLockdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		dir := t.TempDir()
		st := newStage(t, s, dir)
		st.add(alice, "work", s.profile(remoteUDP))
		st.setting(alice, "work", "guard=lockdown")
		c := st.untilState(alice, "work", api.Blocked, time.Second)
		if c.Guard != guardLockdown || c.Problem != nil {
			t.Errorf("%+v", c)
		}
		h := st.host(0)
		check := func(when string) {
			t.Helper()
			if got := closed(h); got != everything {
				t.Errorf("%s %q is closed", when, got)
			}
		}
		check("from the start")
		for _, err := range []error{st.Remove(alice, "work"), st.Rename(alice, "work", "home")} {
			if !api.IsCode(err, api.CodeProfileLocked) {
				t.Errorf("changed while it holds the guard: %v", err)
			}
		}
		for i := range 2 {
			// What is set while it is blocked counts from the next connection on.
			own := netip.MustParsePrefix(fmt.Sprintf("10.77.%d.0/24", i))
			st.setting(alice, "work", "route+="+own.String())
			st.connect(alice, "work")
			st.untilState(alice, "work", api.Connected, 5*time.Second)
			check("connected")
			if !slices.ContainsFunc(h.Current().Routes, func(r routes.Route) bool { return r.Destination == own }) {
				t.Errorf("%v is not among the routes %v", own, h.Current().Routes)
			}
			if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
				t.Fatal(err)
			}
			st.untilState(alice, "work", api.Blocked, time.Second)
			check("disconnected")
		}
		// Disconnected in the middle of an attempt.
		s.set(func() { s.silent = true })
		st.connect(alice, "work")
		time.Sleep(time.Second)
		if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "work", api.Blocked, time.Second)
		st.stop()
		check("after the service")
		for _, p := range h.Plans()[1:] {
			if p.Guard.IsZero() {
				t.Error("it was open in between")
			}
		}
		st.left = map[string]routes.Guard{st.nameOf(0): h.Guard()}
		st.start()
		st.untilState(alice, "work", api.Blocked, time.Second)
		h = st.host(0)
		check("in the next run")
		st.setting(alice, "work", "guard=auto")
		synctest.Wait()
		if !h.Current().IsZero() || len(st.Status(alice).Connections) != 0 {
			t.Errorf("after lockdown: %+v, %+v", h.Current(), st.Status(alice).Connections)
		}
		if err := st.Remove(alice, "work"); err != nil {
			t.Error(err)
		}
	})
}

// TestGuardLockdownOfALiveTunnel: it closes at once.
func TestGuardLockdownOfALiveTunnel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := roaming(t, s, remoteUDP)
		if got := closed(st.host(0)); got == everything {
			t.Fatalf("%s is closed before", got)
		}
		st.setting(alice, "work", "guard=lockdown")
		time.Sleep(time.Second)
		if got := closed(st.host(0)); got != everything {
			t.Errorf("%q is closed", got)
		}
		if c := st.untilState(alice, "work", api.Connected, time.Second); c.Guard != guardLockdown {
			t.Errorf("the status says %s", c.Guard)
		}
	})
}

// TestGuardAfterACrash: what the last run left closed stays closed until the tunnel is up again; a wish that cannot be
// resumed leaves nothing.
func TestGuardAfterACrash(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.add(alice, "gone", s.profile(remoteUDP))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		if err := st.store.want(wish{Owner: "1000", Profile: "gone"}, true); err != nil {
			t.Fatal(err)
		}
		st.stop() // the wishes stay, as after a crash
		if err := st.store.remove(key{"1000", "gone"}); err != nil {
			t.Fatal(err)
		}
		s.set(func() { s.silent = true })
		gone := hostOf(key{"1000", "gone"})
		st.left = map[string]routes.Guard{st.nameOf(0): routes.Everything(), gone: routes.Everything()}
		st.start()
		time.Sleep(10 * time.Second)
		h := st.host(0)
		if got := closed(h); got != everything {
			t.Errorf("before it is up again %q is closed", got)
		}
		if h := st.hostCalled(gone); h == nil || !h.Current().IsZero() || !h.IsClosed() {
			t.Error("the guard of a profile that is gone stays")
		}
		s.set(func() { s.silent = false })
		st.untilState(alice, "work", api.Connected, 3*time.Minute)
		if got := closed(h); got == everything || got == "" {
			t.Errorf("up again, %q is closed", got)
		}
		for _, p := range h.Plans() {
			if p.Guard.IsZero() {
				t.Error("it was open in between")
			}
		}
	})
}

// TestGuardAfterACrashWaits: a guard that was left closed for a connection that waits for its person stays closed behind one that is blocked, and
// somebody can open it. It never opens before that person's tunnel is up; without a guard there is nothing to wait behind.
func TestGuardAfterACrashWaits(t *testing.T) {
	for name, by := range map[string]string{"by hand": "", "by itself": "auto", "for everybody": "managed"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				d := newDoor(t, only("alice", "pw"))
				text := d.profile(remoteUDP + "\nauth-user-pass\nredirect-gateway def1")
				k := key{"1000", "work"}
				var st *stage
				if by == "managed" {
					k.owner = managedOwner
					st = newManaged(t, d.server, `{"AutoConnect": "work"}`, map[string]string{"work": text})
				} else {
					st = newStage(t, d.server, t.TempDir())
					st.add(alice, "work", text)
					st.setting(alice, "work", "auto_connect=true")
				}
				c := st.withSignIns()
				host := hostOf(k)
				wanted := wish{Owner: k.owner, OwnerName: "alice", Profile: "work", Auto: by != ""}
				crash := func(accounts ...string) {
					t.Helper()
					st.stop()
					if err := st.store.want(wanted, true); err != nil {
						t.Fatal(err)
					}
					st.left = map[string]routes.Guard{host: routes.Everything()}
					st.start()
					c.are(accounts...)
					time.Sleep(time.Minute)
					all := st.Status(alice).Connections
					if h := st.hostCalled(host); len(all) != 1 || all[0].State != api.Blocked || h == nil || closed(h) != everything {
						t.Fatalf("after the crash: %+v", all)
					}
				}
				crash("0")
				if got := st.Status(bob).Connections; len(got) != 1 || got[0].State != api.Blocked {
					t.Errorf("bob sees %+v", got)
				}
				if err := st.Disconnect(t.Context(), root, "work"); err != nil {
					t.Fatal(err)
				}
				if h := st.hostCalled(host); !h.Guard().IsZero() || !h.IsClosed() || len(st.store.wanted()) != 0 {
					t.Errorf("disconnected it is %+v; wanted: %+v", h.Guard(), st.store.wanted())
				}

				crash("0")
				if got := d.saw(); got != "" {
					t.Errorf("the server saw %q", got)
				}
				c.are("0", "1000")
				st.say(st.asked(api.LoginPassword), api.Answer{Username: "alice", Password: "pw"})
				st.untilState(alice, "work", api.Connected, 10*time.Second)
				for _, p := range st.hostCalled(host).Plans() {
					if p.Guard.IsZero() {
						t.Error("it was open in between")
					}
				}

				st.stop() // in order
				st.left = nil
				st.start()
				c.are("0")
				time.Sleep(time.Minute)
				if got := st.connections(); len(got) != 0 {
					t.Errorf("nothing is closed: %q", got)
				}
				if by == "managed" {
					return
				}
				st.setting(alice, "work", "guard=off")
				st.stop()
				st.left = map[string]routes.Guard{host: routes.Everything()} // of a tunnel that was up when it was set
				st.start()
				c.are("0")
				if h := st.hostCalled(host); !h.Guard().IsZero() || len(st.connections()) != 0 {
					t.Errorf("off: %+v, %q", h.Guard(), st.connections())
				}
			})
		})
	}
}

// TestGuardFails: what says so when the guard cannot be closed.
func TestGuardFails(t *testing.T) {
	if p := hostProblem(api.CodeRoutesFailed, fmt.Errorf("apply: %w: no nftables", platform.ErrGuard)); p.Code != api.CodeGuardFailed || !strings.Contains(p.Hint, "guard=off") {
		t.Errorf("%+v", p)
	}
}

// TestGuardSignIn: past a guard that closes everything the browser reaches the sign-in, only while one is open that a
// person wants.
func TestGuardSignIn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		good := map[string]bool{assertion: true}
		d := newDoor(t, saml(good))
		d.full = true
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+federated))
		st.connect(alice, "work")
		q := st.asked(api.LoginBrowser)
		h := st.host(0)
		if got := closed(h); got != "" {
			t.Errorf("%q is closed before the first tunnel", got)
		}
		st.say(q, api.Answer{Response: assertion})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		shut := func(when string) {
			t.Helper()
			if g := h.Guard(); len(g.Web) > 0 || closed(h) != everything {
				t.Errorf("%s: %+v", when, g)
			}
		}
		expire := func() { // the person has to sign in again
			d.set(func() { clear(good) })
			d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
			again := st.asked(api.LoginAgain)
			shut("nobody wants a sign-in yet")
			st.say(again, api.Answer{})
			q = st.asked(api.LoginBrowser)
			plan := h.Current()
			if len(plan.Guard.Web) != 2 || closed(h) != everything || len(plan.Routes) > 0 || !plan.DNS.IsZero() {
				t.Errorf("during the sign-in %+v", plan)
			}
		}
		expire()
		d.set(func() { good["new"] = true })
		st.say(q, api.Answer{Response: "new"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		shut("after it")
		expire()
		time.Sleep(10*time.Minute + 5*time.Second)
		shut("when nobody came")
	})
}

// TestGuardLockdownSignIn: in lockdown only the sign-in's own host is reached.
func TestGuardLockdownSignIn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, saml(map[string]bool{assertion: true}))
		d.names["idp.example.test"] = addrs("198.51.100.9")
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+federated))
		st.setting(alice, "work", "guard=lockdown")
		st.connect(alice, "work")
		q := st.asked(api.LoginBrowser)
		if web := st.host(0).Guard().Web; len(web) != 1 || web[0].String() != "198.51.100.9/32" {
			t.Errorf("open for %v", web)
		}
		st.say(q, api.Answer{Cancel: true})
		st.blocked(alice, "work", api.CodeSignInCancelled)
		if g := st.host(0).Guard(); len(g.Web) > 0 || closed(st.host(0)) != everything {
			t.Errorf("after it %+v", g)
		}
	})
}

// TestGuardAnnounces: a tunnel whose own guard closes nothing gets past another one's, and takes that back when it opens.
func TestGuardAnnounces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "one", s.profile(remoteUDP))
		st.add(alice, "two", s.profile(remoteUDP))
		st.setting(alice, "two", "guard=off")
		st.connect(alice, "two")
		st.untilState(alice, "two", api.Connected, 5*time.Second)
		h := st.host(0)
		announced := func(want bool, when string) {
			t.Helper()
			time.Sleep(time.Second)
			if g := h.Guard(); len(g.Closed) > 0 || want != (len(g.Outer) == 1) || want == g.IsZero() {
				t.Errorf("%s: %+v", when, g)
			}
		}
		announced(false, "alone")
		st.setting(alice, "one", "guard=lockdown")
		announced(true, "beside a lockdown")
		if x, err := st.Explain(t.Context(), alice, "203.0.113.9"); err != nil || !x.Blocked {
			t.Errorf("explain: %+v, %v", x, err)
		}
		if err := st.Disconnect(t.Context(), alice, "two"); err != nil {
			t.Fatal(err)
		}
		s.set(func() { s.silent = true }) // before the first packet goes
		st.connect(alice, "two")
		synctest.Wait() // until it has its new Host
		h = st.hostCalled(hostOf(key{"1000", "two"}))
		announced(true, "while it connects")
		s.set(func() { s.silent = false })
		st.untilState(alice, "two", api.Connected, 3*time.Minute)
		announced(true, "connected")
		st.setting(alice, "one", "guard=auto")
		announced(false, "alone again")
	})
}

// TestGuardLockdownAnswers: the setting answers when everything is closed, with a tunnel and without one, and says when it is
// not.
func TestGuardLockdownAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		for _, name := range []string{"up", "down"} {
			st.add(alice, name, s.profile(remoteUDP))
		}
		st.connect(alice, "up")
		st.untilState(alice, "up", api.Connected, 5*time.Second)
		for _, name := range []string{"up", "down"} {
			st.setting(alice, name, "guard=lockdown")
			if h := st.hostCalled(hostOf(key{"1000", name})); h == nil || closed(h) != everything {
				t.Errorf("%s: it answers before the guard is closed", name)
			}
			st.setting(alice, name, "guard=auto")
		}
		h := st.hostCalled(hostOf(key{"1000", "up"}))
		h.Fail("Apply", errors.New("no"))
		if _, err := st.Set(alice, "up", []string{"guard=lockdown"}); err == nil {
			t.Error("a guard that cannot be closed counts as closed")
		}
		h.Fail("Apply", nil)
		st.until(alice, "up", "closed in the end", time.Minute, func(api.Connection) bool { return closed(h) == everything })
	})
}
