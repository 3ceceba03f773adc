package client

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/sessions"
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
