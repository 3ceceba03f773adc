package client

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/sessions"
	"github.com/adit-vpn/adit/routes"
)

// signIns is a machine on which people sign in and leave.
type signIns chan []sessions.User

func (c signIns) watch(ctx context.Context, changed func([]sessions.User)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case users := <-c:
			changed(users)
		}
	}
}

func (c signIns) are(accounts ...string) {
	users := []sessions.User{}
	for _, a := range accounts {
		users = append(users, sessions.User{Account: a, Person: len(a) == 4})
	}
	c <- users
	time.Sleep(time.Second)
	synctest.Wait()
}

// withSignIns starts the service of st anew on such a machine.
func (st *stage) withSignIns() signIns {
	c := make(signIns)
	st.stop()
	st.sessions = c.watch
	st.start()
	return c
}

// TestSignInBegins: what needs a person begins when its owner signs in, once for each time; what needs none with the
// service.
func TestSignInBegins(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "cert", s.profile(remoteUDP))
		st.add(alice, "pass", s.profile(remoteUDP+"\nauth-user-pass"))
		st.add(bob, "other", s.profile(remoteUDP+"\nauth-user-pass"))
		for who, names := range map[*api.Caller][]string{&alice: {"cert", "pass"}, &bob: {"other"}} {
			for _, name := range names {
				st.setting(*who, name, "auto_connect=true")
			}
		}
		c := st.withSignIns()
		c.are()
		st.untilState(alice, "cert", api.Connected, 5*time.Second)
		c.are("0", "120")
		if got := st.connections(); !slices.Equal(got, []string{"cert connected"}) {
			t.Errorf("before anybody came: %q", got)
		}
		c.are("0", "1000")
		st.untilState(alice, "pass", api.NeedsLogin, 5*time.Second)
		if got := st.Status(bob).Connections; slices.ContainsFunc(got, func(c api.Connection) bool { return c.Profile == "other" }) {
			t.Errorf("bob's begins with alice: %+v", got)
		}
		if err := st.Disconnect(t.Context(), alice, "pass"); err != nil {
			t.Fatal(err)
		}
		c.are("0", "1000", "1001")
		st.untilState(bob, "other", api.NeedsLogin, 5*time.Second)
		if got := st.connections(); !slices.Contains(got, "cert connected") || slices.Contains(got, "pass needs_login") {
			t.Errorf("what alice ended is back: %q", got)
		}
		c.are("1001")
		c.are("1000", "1001")
		st.untilState(alice, "pass", api.NeedsLogin, 5*time.Second)
	})
}

// TestSignInAutoConnect: the policy's profile begins with the first person's session, and with the service when it is
// always on, or when nobody can tell who signs in.
func TestSignInAutoConnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"AutoConnect": "corp"}`, map[string]string{"corp": s.profile(remoteUDP)})
		st.untilState(bob, "corp", api.Connected, 5*time.Second) // nobody can tell
		c := st.withSignIns()
		c.are("0", "120")
		time.Sleep(time.Minute)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("before anybody came: %q", got)
		}
		c.are("0", "1001")
		st.untilState(alice, "corp", api.Connected, 5*time.Second)
		if err := st.Disconnect(t.Context(), bob, "corp"); err != nil {
			t.Fatal(err)
		}
		c.are("1001")
		time.Sleep(time.Minute)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("what bob ended is back: %q", got)
		}
		c.are()
		st.decide(`{"AutoConnect": "corp", "AlwaysOn": true}`)
		st.untilState(alice, "corp", api.Connected, 5*time.Second)
		c = st.withSignIns()
		st.untilState(alice, "corp", api.Connected, 5*time.Second)

		// The end of what tells counts as everybody's sign-in.
		st.decide(`{}`)
		if err := st.Disconnect(t.Context(), alice, "corp"); err != nil && !api.IsCode(err, api.CodeNotConnected) {
			t.Fatal(err)
		}
		st.decide(`{"AutoConnect": "corp"}`)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("nobody is there: %q", got)
		}
		st.stop()
		st.sessions = func(context.Context, func([]sessions.User)) error { return sessions.ErrNotSupported }
		st.start()
		st.untilState(alice, "corp", api.Connected, 5*time.Second)
	})
}

// TestPersonLeft: a managed connection that waits for a person who has left the machine is everybody's to end or to take over, also after a
// restart. What is taken over starts anew behind the same guard. As long as its person is there, or it is up, it stays that one's.
func TestPersonLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("bob", "pw"))
		st := newManaged(t, d.server, "", map[string]string{"work": d.profile(remoteUDP + "\nauth-user-pass\nredirect-gateway def1")})
		c := st.withSignIns()
		asks := func(who api.Caller, user string) {
			t.Helper()
			got := st.until(who, "work", "asking", time.Minute, func(c api.Connection) bool { return c.Login != nil })
			if got.Login.User != user {
				t.Errorf("%s is asked for the password of %q", who.Name, got.Login.User)
			}
		}
		wants := func(person string) {
			t.Helper()
			if got := st.store.wanted(); len(got) != 1 || got[0].Person != person {
				t.Errorf("wanted: %+v", got)
			}
		}
		begin := func() {
			t.Helper()
			if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice"}); err != nil {
				t.Fatal(err)
			}
			asks(alice, "alice")
		}
		hers := func(when string) {
			t.Helper()
			refused(t, when+": bob disconnects", st.Disconnect(t.Context(), bob, "work"), api.CodeNotOwner)
			refused(t, when+": bob connects", st.Connect(bob, api.ConnectRequest{Profile: "work"}), api.CodeAnotherSignsIn)
			refused(t, when+": alice connects again", st.Connect(alice, api.ConnectRequest{Profile: "work"}), api.CodeAlreadyConnected)
			if got := st.Status(bob).Connections; len(got) != 1 || got[0].Login != nil || got[0].Problem == nil || got[0].Problem.Code != api.CodeAnotherSignsIn {
				t.Errorf("%s: bob sees %+v", when, got)
			}
			if got := st.Status(alice).Connections; len(got) != 1 || got[0].Login == nil || got[0].Problem != nil {
				t.Errorf("%s: alice sees %+v", when, got)
			}
			wants("1000")
		}
		begin()
		hers("nobody knows who is there")
		c.are("1000", "1001")
		hers("alice is there")
		c.are("1001")
		refused(t, "a daemon disconnects", st.Disconnect(t.Context(), daemon, "work"), api.CodeNotOwner)
		if got := st.Status(bob).Connections; len(got) != 1 || got[0].Login != nil {
			t.Errorf("bob sees alice's question: %+v", got)
		}
		if err := st.Disconnect(t.Context(), bob, "work"); err != nil {
			t.Error(err)
		}
		if got := st.store.wanted(); len(got) != 0 {
			t.Errorf("wanted: %+v", got)
		}

		// The machine is started anew, and somebody else comes.
		c.are("1000")
		begin()
		st.stop()
		st.start()
		c.are("0")
		h := st.hostCalled(hostOf(key{managedOwner, "work"}))
		before := len(h.Plans())
		if closed(h) != everything {
			t.Errorf("closed: %s", closed(h))
		}
		c.are("1001")
		st.connect(bob, "work")
		asks(bob, "")
		wants("1001")
		for _, p := range h.Plans()[before:] {
			if !p.Guard.Full() {
				t.Errorf("the guard was open: %+v", p.Guard)
			}
		}
		got := st.untilState(bob, "work", api.NeedsLogin, 0)
		if err := st.Answer(bob, api.Answer{Profile: "work", ID: got.Login.ID, Username: "bob", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
		st.untilState(bob, "work", api.Connected, 10*time.Second)
		c.are("1000")
		refused(t, "alice ends bob's", st.Disconnect(t.Context(), alice, "work"), api.CodeNotOwner)
	})
}

// TestPersonNeverSeen: who has had no session since the wish, such as root by sudo, has not left; and nobody takes one's own place. A service that
// is started again at once remembers that; else the wish of the last service is everybody's then, until that one acts.
func TestPersonNeverSeen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		st := newManaged(t, d.server, `{"AutoConnect": "work"}`, map[string]string{"work": d.profile(remoteUDP + "\nauth-user-pass")})
		c := st.withSignIns()
		question := func(who api.Caller) api.Login {
			t.Helper()
			return *st.until(who, "work", "asking", time.Minute, func(c api.Connection) bool { return c.Login != nil }).Login
		}
		stays := func(who api.Caller, q api.Login, when string) {
			t.Helper()
			refused(t, when+": bob disconnects", st.Disconnect(t.Context(), bob, "work"), api.CodeNotOwner)
			refused(t, when+": bob connects", st.Connect(bob, api.ConnectRequest{Profile: "work"}), api.CodeAnotherSignsIn)
			refused(t, when+": once more", st.Connect(who, api.ConnectRequest{Profile: "work"}), api.CodeAlreadyConnected)
			if now := question(who); now.ID != q.ID {
				t.Errorf("%s: the question is another one", when)
			}
		}
		c.are()
		st.connect(root, "work")
		q := question(root)
		stays(root, q, "root")
		c.are("1001") // the policy's AutoConnect
		stays(root, q, "bob has come")
		c.are("1000", "1001")
		if err := st.Disconnect(t.Context(), root, "work"); err != nil {
			t.Fatal(err)
		}
		c.are("1001") // alice leaves, and connects without a session
		time.Sleep(time.Second)
		st.connect(alice, "work")
		q = question(alice)
		stays(alice, q, "alice, who has left before")
		c.are("1000", "1001")
		c.are("1001")
		refused(t, "alice connects twice", st.Connect(alice, api.ConnectRequest{Profile: "work"}), api.CodeAlreadyConnected)
		if now := question(alice); now.ID != q.ID {
			t.Error("alice has taken her own place")
		}

		st.stop()
		st.start()
		c.are()
		st.connect(alice, "work")
		q = question(alice)
		stays(alice, q, "alice has connected after the restart")
		// A service that is started again at once knows that she has none; and when she leaves one, she has left.
		for range 2 {
			st.stopFor(ErrRestart)
			st.start()
			c.are("1001")
			q = question(alice)
			stays(alice, q, "alice, after the service was started again")
		}
		c.are("1000", "1001")
		st.stopFor(ErrRestart)
		st.start()
		c.are("1001")
		left := func(when string) {
			t.Helper()
			st.Service.mu.Lock()
			defer st.Service.mu.Unlock()
			if !st.abandonedLocked(st.live[key{managedOwner, "work"}]) {
				t.Errorf("%s: it is alice's, who has left", when)
			}
		}
		left("during a restart")
		st.stopFor(ErrRestart)
		st.start()
		c.are("1001")
		left("before a restart")
		if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
			t.Fatal(err)
		}
		st.connect(alice, "work")
		q = question(alice)
		stays(alice, q, "alice has connected again")
		st.stop() // and so with a restart of the machine
		st.start()
		c.are("1001")
		st.until(bob, "work", "everybody's", time.Minute, func(c api.Connection) bool { return c.Login != nil })
	})
}

// TestPersonLeftAutoConnect: what the policy connects waits for whoever comes, and no longer for somebody who has left, as long as that takes.
func TestPersonLeftAutoConnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("bob", "pw"))
		st := newManaged(t, d.server, `{"AutoConnect": "work"}`, map[string]string{"work": d.profile(remoteUDP + "\nauth-user-pass")})
		c := st.withSignIns()
		c.are("1000")
		st.asked(api.LoginPassword)
		if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
			t.Fatal(err)
		}
		st.connect(alice, "work")
		st.asked(api.LoginPassword)
		c.are("1001")
		time.Sleep(2 * answerTime)
		got := st.until(bob, "work", "asking", 0, func(c api.Connection) bool { return c.Login != nil })
		if err := st.Answer(bob, api.Answer{Profile: "work", ID: got.Login.ID, Username: "bob", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
		st.untilState(bob, "work", api.Connected, 10*time.Second)
	})
}

// TestRestartEnded: a service that is started again at once goes on where the last one ended. What somebody has ended stays so as long as that one is
// there; what was open goes on whoever is there; and all begins for who comes, or when the administrator decides otherwise.
func TestRestartEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"AutoConnect": "corp"}`, map[string]string{"corp": s.profile(remoteUDP), "other": s.profile(remoteUDP)})
		c := st.withSignIns()
		restart := func(accounts ...string) {
			st.stopFor(ErrRestart)
			st.start()
			c.are(accounts...)
			time.Sleep(time.Minute)
		}
		ends := func(who api.Caller, names ...string) {
			t.Helper()
			for _, name := range names {
				if err := st.Disconnect(t.Context(), who, name); err != nil {
					t.Fatal(err)
				}
			}
		}
		are := func(when string, want ...string) {
			t.Helper()
			if got := st.connections(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		c.are("1001")
		are("bob has come", "corp connected")
		restart()
		are("whoever is there", "corp connected")
		c.are("1001")
		ends(bob, "corp")
		restart("1001")
		are("bob has ended it")
		restart("1001")
		are("and again")
		c.are()
		c.are("1001")
		are("bob has come again", "corp connected")
		ends(bob, "corp")
		restart("1001", "1002")
		are("carol has come", "corp connected")
		ends(bob, "corp")
		st.stopFor(ErrRestart)
		st.write("policy.json", `{"AutoConnect": "other"}`)
		st.start()
		c.are("1001", "1002")
		time.Sleep(time.Second)
		are("another one", "other connected")
		ends(bob, "other")

		st.decide(`{}`)
		st.add(alice, "cert", s.profile(remoteUDP))
		st.add(alice, "pass", s.profile(remoteUDP+"\nauth-user-pass"))
		st.setting(alice, "cert", "auto_connect=true")
		st.setting(alice, "pass", "auto_connect=true")
		c.are("1000")
		are("alice has come", "cert connected", "pass needs_login")
		restart()
		are("alice's, whoever is there", "cert connected", "pass needs_login")
		c.are("1000")
		ends(alice, "cert", "pass")
		restart("1000")
		are("alice has ended them")
		st.stop() // and not at once
		st.start()
		c.are("1000")
		time.Sleep(time.Second)
		are("a start", "cert connected", "pass needs_login")
		ends(alice, "cert", "pass")

		// Nobody can tell who is there.
		st.decide(`{"AutoConnect": "corp"}`)
		st.stop()
		st.sessions = nil
		st.start()
		time.Sleep(time.Second)
		are("a start", "corp connected")
		ends(bob, "corp")
		st.stopFor(ErrRestart)
		st.start()
		time.Sleep(time.Minute)
		are("somebody has ended it")
	})
}

// TestRestartTrusted: the same where networks are trusted; who leaves one has all begin.
func TestRestartTrusted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newOffice(t)
		st := newManaged(t, o.server, o.policy(`, "AutoConnect": "corp"`), map[string]string{"corp": o.profile(remoteUDP)})
		c := st.withSignIns()
		c.are("1001")
		time.Sleep(2 * trustTime)
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
		if err := st.Disconnect(t.Context(), bob, "corp"); err != nil {
			t.Fatal(err)
		}
		st.stopFor(ErrRestart)
		st.start()
		c.are("1001")
		time.Sleep(time.Minute)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("what bob has ended is back: %q", got)
		}
		o.answers(&o.good)
		st.network("192.168.1.21/24")
		o.answers(nil)
		st.network("192.168.1.22/24")
		st.untilState(bob, "corp", api.Connected, 2*trustTime)
	})
}

// TestRestartNotBegun: what was not allowed to begin before a restart begins after it, as soon as it may. What somebody has ended stays so where
// nothing may begin for a while.
func TestRestartNotBegun(t *testing.T) {
	cases := map[string]struct {
		policy        string
		there, begins []string
	}{
		"the policy's":      {`"AutoConnect": "corp"`, []string{"1000"}, []string{"corp connected"}},
		"people's own":      {`"AllowUserProfiles": true`, []string{"1000"}, []string{"cert connected", "pass needs_login"}},
		"with nobody there": {`"AllowUserProfiles": true`, nil, []string{"cert connected"}},
	}
	restart := func(st *stage, c signIns, there []string) {
		st.stopFor(ErrRestart)
		st.start()
		c.are(there...)
	}
	are := func(st *stage, when string, want []string) {
		st.t.Helper()
		time.Sleep(2 * trustTime)
		if got := st.connections(); !slices.Equal(got, want) {
			st.t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	for name, k := range cases {
		begin := func(t *testing.T, s *server, policy string) (*stage, signIns) {
			st := newManaged(t, s, policy, map[string]string{"corp": s.profile(remoteUDP)})
			st.add(alice, "cert", s.profile(remoteUDP))
			st.add(alice, "pass", s.profile(remoteUDP+"\nauth-user-pass"))
			for _, own := range []string{"cert", "pass"} { // whatever the policy pins
				if _, err := st.store.update(key{"1000", own}, func(r *record) error { r.Settings.AutoConnect = true; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			c := st.withSignIns()
			c.are(k.there...)
			return st, c
		}
		t.Run(name+", without a network", func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				o := newOffice(t)
				o.answers(&o.good)
				st, c := begin(t, o.server, o.policy(", "+k.policy))
				are(st, "in the office", nil)
				st.facts = routes.Facts{}
				restart(st, c, k.there)
				are(st, "no network", nil)
				restart(st, c, k.there)
				o.answers(nil)
				st.network("192.168.1.21/24")
				are(st, "elsewhere", k.begins)

				for _, b := range k.begins {
					name, _, _ := strings.Cut(b, " ")
					if err := st.Disconnect(t.Context(), alice, name); err != nil {
						t.Fatal(err)
					}
				}
				restart(st, c, k.there)
				restart(st, c, k.there)
				st.network("192.168.1.22/24")
				are(st, "what alice has ended", nil)

				restart(st, c, k.there)
				o.answers(&o.good)
				st.network("192.168.1.23/24")
				are(st, "in the office again", nil)
				restart(st, c, k.there)
				o.answers(nil)
				st.network("192.168.1.24/24")
				are(st, "elsewhere again", k.begins)
			})
		})
		for when, texts := range map[string][2]string{"before": {"{", "{" + k.policy + "}"}, "after": {"{}", "{"}, "before and after": {"{", "{"}} {
			t.Run(name+", with a broken policy "+when, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					st, c := begin(t, newServer(t), "")
					st.stop()
					st.write("policy.json", texts[0])
					st.start()
					c.are(k.there...)
					st.stopFor(ErrRestart)
					st.write("policy.json", texts[1])
					st.start()
					c.are(k.there...)
					st.decide("{" + k.policy + "}")
					time.Sleep(time.Second)
					for _, b := range k.begins {
						name, state, _ := strings.Cut(b, " ")
						st.untilState(alice, name, api.State(state), time.Minute)
					}
				})
			})
		}
	}
}
