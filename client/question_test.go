package client

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// door is a server that judges credentials; its own goroutine calls judge, one at a time.
type door struct {
	*server
	seen  []string // "user/password" of every negotiation
	judge func(user, password string) string
	token push.Secret
}

// newDoor makes a server whose judge returns "" for yes, a text for AUTH_FAILED, or "pending:…"
// for Session.Pending.
func newDoor(t *testing.T, judge func(user, password string) string) *door {
	d := &door{server: newServer(t), judge: judge}
	d.config = func(cfg *ovpn.Config) { cfg.Renegotiate = time.Hour } // half of which a sign-in may take
	d.answer = func(o *ovpn.Session, ev ovpn.Event) error {
		now := time.Now()
		switch ev := ev.(type) {
		case ovpn.Credentials:
			var verdict string
			d.set(func() {
				d.seen = append(d.seen, ev.Username+"/"+ev.Password.Reveal())
				verdict = d.judge(ev.Username, ev.Password.Reveal())
			})
			if info, ok := strings.CutPrefix(verdict, "pending:"); ok {
				o.Pending(now, 2*time.Minute, info)
				return errHandled
			}
			if verdict != "" {
				o.Deny(now, verdict)
				return errHandled
			}
		case ovpn.PushRequest:
			r := d.reply()
			d.set(func() { r.AuthToken = d.token })
			o.Push(now, r)
			return errHandled
		}
		return nil
	}
	return d
}

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// saw returns what was seen since the last call.
func (d *door) saw() (seen string) {
	d.set(func() { seen, d.seen = strings.Join(d.seen, " "), nil })
	return seen
}

// each is server.each once those sessions are gone that were denied.
func (d *door) each(f func(*ovpn.Session)) {
	time.Sleep(10 * time.Second)
	d.server.each(f)
}

// only accepts one user with one password.
func only(user, password string) func(string, string) string {
	return func(u, p string) string {
		if u == user && p == password {
			return ""
		}
		return "no"
	}
}

// asked waits for a question.
func (st *stage) asked(kind api.LoginKind) api.Login {
	st.t.Helper()
	c := st.until(alice, "work", "asking for "+string(kind), time.Minute, func(c api.Connection) bool { return c.Login != nil && c.Login.Kind == kind })
	if c.State != api.NeedsLogin && c.State != api.Connected {
		st.t.Errorf("asked in state %s", c.State)
	}
	return *c.Login
}

// say answers a question.
func (st *stage) say(q api.Login, a api.Answer) {
	st.t.Helper()
	a.Profile, a.ID = "work", q.ID
	if err := st.Answer(alice, a); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) ends(code string) api.Connection {
	st.t.Helper()
	c := st.untilState(alice, "work", api.Disconnected, time.Minute)
	if c.Problem == nil || c.Problem.Code != code || c.Login != nil {
		st.t.Fatalf("ended with %+v, asking %+v; want %s", c.Problem, c.Login, code)
	}
	if w := st.store.wanted(); len(w) != 0 {
		st.t.Errorf("still wanted: %v", w)
	}
	return c
}

func TestPasswordIsAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "hunter2"))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass\nauth-retry interact"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Timeout: 20 * time.Second}); err != nil {
			t.Fatal(err)
		}
		q := st.asked(api.LoginPassword)
		if !q.NeedUser || q.User != "" || q.Challenge != "" || q.Deadline.Sub(time.Now()) < 9*time.Minute {
			t.Errorf("asked %+v", q)
		}
		d.set(func() {
			if len(d.dialed) != 0 {
				t.Error("dialed before anybody signed in")
			}
		})
		time.Sleep(5 * time.Minute) // the time limit of 20 s stands still
		for _, c := range []struct {
			who api.Caller
			a   api.Answer
		}{
			{bob, api.Answer{Profile: "work", ID: q.ID}}, {root, api.Answer{Profile: "work", ID: q.ID}},
			{alice, api.Answer{Profile: "work", ID: "old"}}, {alice, api.Answer{Profile: "work"}}, {alice, api.Answer{Profile: "other", ID: q.ID}},
		} {
			if err := st.Answer(c.who, c.a); err == nil {
				t.Errorf("%s answered %+v", c.who.Name, c.a)
			}
		}
		st.say(q, api.Answer{Username: "alice", Password: "wrong-1"})
		second := st.asked(api.LoginPassword)
		c := st.until(alice, "work", "refused", 0, func(c api.Connection) bool { return c.Problem != nil })
		if c.Problem.Code != api.CodePasswordRefused || second.User != "alice" || !second.NeedUser || second.ID == q.ID {
			t.Errorf("asked again %+v, problem %+v", second, c.Problem)
		}
		if err := st.Answer(alice, api.Answer{Profile: "work", ID: q.ID, Password: "hunter2"}); !api.IsCode(err, api.CodeQuestionGone) {
			t.Errorf("an answer to the old question: %v", err)
		}
		st.say(second, api.Answer{Password: "hunter2"})
		up := st.untilState(alice, "work", api.Connected, 15*time.Second)
		if up.Login != nil || up.Problem != nil {
			t.Errorf("up with %+v, %+v", up.Login, up.Problem)
		}
		if got := d.saw(); got != "alice/wrong-1 alice/hunter2" {
			t.Errorf("the server saw %s", got)
		}
		if log := st.logged(); strings.Contains(log, "wrong-1") || strings.Contains(log, "hunter2") {
			t.Error("the log tells a password")
		}
	})
}

// TestRefusedPassword: what each auth-retry does.
func TestRefusedPassword(t *testing.T) {
	for retry, want := range map[string]string{"none": "alice/bad", "nointeract": "alice/bad alice/bad", "interact": "alice/bad"} {
		t.Run(retry, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				d := newDoor(t, only("alice", "hunter2"))
				st := newStage(t, d.server, t.TempDir())
				st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass\nauth-retry "+retry))
				if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "bad"}); err != nil {
					t.Fatal(err)
				}
				switch retry {
				case "none":
					st.ends(api.CodePasswordRefused)
				case "interact":
					st.asked(api.LoginPassword)
				case "nointeract":
					time.Sleep(2500 * time.Millisecond)
				}
				if got := d.saw(); got != want && !(retry == "nointeract" && strings.HasPrefix(got, want)) {
					t.Errorf("the server saw %q, want %q", got, want)
				}
			})
		})
	}
}

func TestGivenInAdvance(t *testing.T) {
	for _, c := range []struct {
		name, extra string
		given       api.ConnectRequest
		want        string // what the server sees
		asks        api.LoginKind
	}{
		{"all", "auth-user-pass", api.ConnectRequest{Username: "alice", Password: "pw"}, "alice/pw", ""},
		{"static", "auth-user-pass\nstatic-challenge \"PIN\" 1", api.ConnectRequest{Username: "alice", Password: "pw", OTP: "123"},
			"alice/" + challenge.Static("pw", "123").Reveal(), ""},
		{"concat", "auth-user-pass\nstatic-challenge PIN 0 concat", api.ConnectRequest{Username: "alice", Password: "pw", OTP: "123"}, "alice/pw123", ""},
		{"no password", "auth-user-pass", api.ConnectRequest{Username: "alice"}, "", api.LoginPassword},
		{"no user", "auth-user-pass", api.ConnectRequest{Password: "pw"}, "", api.LoginPassword},
		{"no code", "auth-user-pass\nstatic-challenge PIN 0", api.ConnectRequest{Username: "alice", Password: "pw"}, "", api.LoginOTP},
		{"the profile's", withPassword, api.ConnectRequest{}, "alice/hunter2", ""},
		{"not the profile's", withPassword, api.ConnectRequest{Username: "bob", Password: "pw"}, "bob/pw", ""},
		{"the profile's is another's", withPassword, api.ConnectRequest{Username: "bob"}, "", api.LoginPassword},
		{"nobody needs it", "", api.ConnectRequest{Username: "alice", Password: "pw", OTP: "1"}, "/", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				d := newDoor(t, func(string, string) string { return "" })
				st := newStage(t, d.server, t.TempDir())
				st.add(alice, "work", d.profile(remoteUDP+"\n"+c.extra))
				c.given.Profile = "work"
				if err := st.Connect(alice, c.given); err != nil {
					t.Fatal(err)
				}
				if c.asks == "" {
					st.untilState(alice, "work", api.Connected, 10*time.Second)
				} else {
					st.asked(c.asks)
				}
				if got := d.saw(); got != c.want {
					t.Errorf("the server saw %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestStaticChallengeOnce: the code is sent once, also when the server wants to renegotiate.
func TestStaticChallengeOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, func(string, string) string { return "" })
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass\nstatic-challenge \"Enter MFA code \" 1\nreneg-sec 0"))
		st.connect(alice, "work")
		q := st.asked(api.LoginPassword)
		if q.Challenge != "Enter MFA code " || !q.ChallengeEcho {
			t.Errorf("asked %+v", q)
		}
		st.say(q, api.Answer{Username: "alice", Password: "pw", Response: "111111"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		first := "alice/" + challenge.Static("pw", "111111").Reveal()
		if got := d.saw(); got != first {
			t.Errorf("the server saw %q", got)
		}
		d.each(func(o *ovpn.Session) { o.Renegotiate(time.Now()) })
		q = st.asked(api.LoginOTP)
		if q.Prompt != "Enter MFA code " || !q.Echo || !q.Deadline.IsZero() {
			t.Errorf("asked %+v", q)
		}
		time.Sleep(time.Hour) // nobody is there; the tunnel's routes stay
		if got := d.saw(); got != "" {
			t.Errorf("without a new code the server saw %q", got)
		}
		if len(st.host(0).Current().Addresses) == 0 {
			t.Error("the routes went away while a person is asked")
		}
		st.say(q, api.Answer{Response: "222222"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		if got := d.saw(); got != "alice/"+challenge.Static("pw", "222222").Reveal() {
			t.Errorf("the server saw %q", got)
		}
	})
}

// TestTokenSparesTheCode: with a token nobody is asked at a renegotiation or reconnect.
func TestTokenSparesTheCode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, func(string, string) string { return "" })
		d.token = "token-1"
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass\nauth-nocache\nauth-retry interact\nstatic-challenge PIN 1\nreneg-sec 0"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw", OTP: "1"}); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		d.saw()
		d.each(func(o *ovpn.Session) { o.Renegotiate(time.Now()) })
		time.Sleep(10 * time.Second)
		d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
		time.Sleep(10 * time.Second)
		st.untilState(alice, "work", api.Connected, 0)
		if got := d.saw(); got != "alice/token-1 alice/token-1" {
			t.Errorf("the server saw %q", got)
		}
		// The token expires: one question, and no attempt until it is answered.
		d.set(func() {
			d.token = "token-2"
			d.judge = func(_, password string) string {
				if password == "token-1" {
					return "SESSION:expired"
				}
				return ""
			}
		})
		d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
		q := st.asked(api.LoginPassword)
		time.Sleep(30 * time.Minute)
		if got := d.saw(); got != "alice/token-1" {
			t.Errorf("the server saw %q", got)
		}
		if q.User != "alice" || q.Challenge != "PIN" {
			t.Errorf("asked %+v", q)
		}
		st.say(q, api.Answer{Password: "pw", Response: "2"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
	})
}

// TestNoCache: the password is forgotten once it was used.
func TestNoCache(t *testing.T) {
	for _, noCache := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			d := newDoor(t, func(string, string) string { return "" })
			st := newStage(t, d.server, t.TempDir())
			extra := "\nauth-user-pass"
			if noCache {
				extra += "\nauth-nocache"
			}
			st.add(alice, "work", d.profile(remoteUDP+extra))
			if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw"}); err != nil {
				t.Fatal(err)
			}
			st.untilState(alice, "work", api.Connected, 10*time.Second)
			d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
			if noCache {
				if q := st.asked(api.LoginPassword); q.User != "alice" || q.NeedUser {
					t.Errorf("asked %+v", q)
				}
				return
			}
			time.Sleep(10 * time.Second)
			st.untilState(alice, "work", api.Connected, 0)
			if got := d.saw(); got != "alice/pw alice/pw" {
				t.Errorf("the server saw %q", got)
			}
		})
	}
}

// TestMaySavePassword: programs may keep the password only where the setting says so, and neither the
// profile nor the server forbids it. What the server forbids is known once the tunnel is up.
func TestMaySavePassword(t *testing.T) {
	for _, c := range []struct {
		name, setting, extra, echo string
		asked, up                  bool
		askedBy, upBy              string // who forbids it
	}{
		{name: "by default"},
		{name: "wanted", setting: "save_password=true", asked: true, up: true},
		{name: "auth-nocache", setting: "save_password=true", extra: "\nauth-nocache", askedBy: "profile", upBy: "profile"},
		{name: "forbidden by the profile", setting: "save_password=true", extra: "\necho disable-save-passwords", askedBy: "profile", upBy: "profile"},
		{name: "forbidden, and not wanted", extra: "\nauth-nocache", echo: "forget-passwords", askedBy: "profile", upBy: "profile"},
		{name: "forbidden by the server", setting: "save_password=true", echo: "disable-save-passwords", asked: true, upBy: "server"},
		{name: "to be forgotten", setting: "save_password=true", echo: "forget-passwords", asked: true, upBy: "server"},
		{name: "another echo", setting: "save_password=true", echo: "msg hello", asked: true, up: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				d := newDoor(t, only("alice", "pw"))
				judge := d.answer
				d.answer = func(o *ovpn.Session, ev ovpn.Event) error {
					if _, ok := ev.(ovpn.PushRequest); !ok || c.echo == "" {
						return judge(o, ev)
					}
					r := reply()
					r.Echo = []string{c.echo}
					o.Push(time.Now(), r)
					return errHandled
				}
				st := newStage(t, d.server, t.TempDir())
				st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"+c.extra))
				if c.setting != "" {
					if _, err := st.Set(alice, "work", []string{c.setting}); err != nil {
						t.Fatal(err)
					}
				}
				if list, err := st.Profiles(alice); err != nil || len(list) != 1 || list[0].SaveForbidden != c.askedBy {
					t.Errorf("before anything is connected: %+v, %v", list, err)
				}
				st.connect(alice, "work")
				q := st.asked(api.LoginPassword)
				if got := st.Status(alice).Connections[0]; got.SavePassword != c.asked || got.SaveForbidden != c.askedBy {
					t.Errorf("when asked: %v, forbidden by %q", got.SavePassword, got.SaveForbidden)
				}
				st.say(q, api.Answer{Username: "alice", Password: "pw"})
				if got := st.untilState(alice, "work", api.Connected, 10*time.Second); got.SavePassword != c.up || got.SaveForbidden != c.upBy {
					t.Errorf("when up: %v, forbidden by %q", got.SavePassword, got.SaveForbidden)
				}
			})
		})
	}
}

// TestSavePasswordAtOnce: the setting counts for a sign-in that is under way and for a tunnel that is up, who watches
// hears of it, and it allows nothing that the profile or the server forbids.
func TestSavePasswordAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
		st.add(alice, "never", d.profile(remoteUDP+"\nauth-user-pass\nauth-nocache"))
		for _, name := range []string{"work", "never"} {
			st.connect(alice, name)
		}
		ctx, stop := context.WithCancel(t.Context())
		heard, ended := make(chan bool, 100), make(chan error)
		go func() {
			ended <- st.Watch(ctx, alice, func(s api.Status) error {
				for _, c := range s.Connections {
					if c.Profile == "work" {
						heard <- c.SavePassword
					}
				}
				return nil
			})
		}()
		set := func(on bool) {
			t.Helper()
			for len(heard) > 0 {
				<-heard
			}
			change := fmt.Sprintf("save_password=%v", on)
			for _, name := range []string{"never", "work"} {
				if _, err := st.Set(alice, name, []string{change}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			got := !on
			for len(heard) > 0 {
				got = <-heard
			}
			if got != on {
				t.Errorf("%s: who watches did not hear of it", change)
			}
			for _, c := range st.Status(alice).Connections {
				if c.SavePassword != (on && c.Profile == "work") {
					t.Errorf("%s: %s has %v", change, c.Profile, c.SavePassword)
				}
			}
		}
		q := st.asked(api.LoginPassword)
		synctest.Wait()
		set(true)
		set(false)
		set(true)
		st.say(q, api.Answer{Username: "alice", Password: "pw"})
		if c := st.untilState(alice, "work", api.Connected, 10*time.Second); !c.SavePassword {
			t.Error("forgotten when the tunnel came up")
		}
		synctest.Wait()
		set(false)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// crv1 asks for a code after the password, as openvpn's plugins do.
func crv1(flags, text, code string) func(string, string) string {
	return func(user, password string) string {
		switch state, response, ok := challenge.ParseAnswer(push.Secret(password)); {
		case ok && state == "s1" && response.Reveal() == code && user == "alice":
			return ""
		case ok:
			return "wrong code"
		case password == "pw":
			return "CRV1:" + flags + ":s1:YWxpY2U=:" + text
		}
		return "no"
	}
}

func TestDynamicChallenge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, crv1("R,E", "Code: please", "42"))
		d.names["vpn.example.test"] = addrs("192.0.2.1", "192.0.2.2")
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile("remote vpn.example.test 1194 udp\nremote-random-hostname\nauth-user-pass\nauth-retry interact"))
		d.names["*"] = addrs("192.0.2.1", "192.0.2.2")
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw", Timeout: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
		q := st.asked(api.LoginOTP)
		if q.Prompt != "Code: please" || !q.Echo || q.Deadline.IsZero() {
			t.Errorf("asked %+v", q)
		}
		time.Sleep(3 * time.Minute)
		st.say(q, api.Answer{Response: "41"})
		q = st.asked(api.LoginOTP) // the password is good: it was taken once
		c := st.until(alice, "work", "refused", 0, func(c api.Connection) bool { return c.Problem != nil })
		if c.Problem.Code != api.CodeCodeRefused || c.Problem.Args["reason"] != "wrong code" {
			t.Errorf("problem %+v", c.Problem)
		}
		st.say(q, api.Answer{Response: "42"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		if got := d.saw(); got != "alice/pw alice/CRV1::s1::41 alice/pw alice/CRV1::s1::42" {
			t.Errorf("the server saw %q", got)
		}
		d.set(func() {
			for _, a := range d.dialed {
				if a != d.dialed[0] {
					t.Errorf("dialed %v: the challenge is known to one server only", d.dialed)
				}
			}
			if len(d.asked) != 1 {
				t.Errorf("looked up %v", d.asked)
			}
		})
	})
}

func TestDynamicChallengeWithoutAQuestion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, crv1("", "see your mail", ""))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		// A server that does nothing else ends it.
		d.set(func() { d.judge = func(string, string) string { return "CRV1::s2:YWxpY2U=:again" } })
		d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
		st.blocked(alice, "work", api.CodeProtocolError)
	})
}

// TestOTPInAdvance: --otp answers the first question that wants a code, and no other.
func TestOTPInAdvance(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, crv1("R", "Code", "42"))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass\nauth-retry interact"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw", OTP: "41"}); err != nil {
			t.Fatal(err)
		}
		st.asked(api.LoginOTP)
		if got := d.saw(); got != "alice/pw alice/CRV1::s1::41 alice/pw" {
			t.Errorf("the server saw %q", got)
		}
	})
}

// TestWaitingServer: questions while the session waits.
func TestWaitingServer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got []string
		d := newDoor(t, func(string, string) string { return "pending:CR_TEXT:R,E:Your code" })
		usual := d.answer
		d.answer = func(o *ovpn.Session, ev ovpn.Event) error {
			if m, ok := ev.(ovpn.Message); ok {
				got = append(got, m.Text)
				if strings.HasSuffix(m.Text, "MQ==") { // 1: one more question, in the browser
					o.Pending(time.Now(), time.Minute, "WEB_AUTH::https://idp.example.test/x")
				}
				return errHandled
			}
			return usual(o, ev)
		}
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw", Timeout: 20 * time.Second}); err != nil {
			t.Fatal(err)
		}
		q := st.asked(api.LoginOTP)
		if left := time.Until(q.Deadline); q.Prompt != "Your code" || !q.Echo || left < time.Minute || left > 2*time.Minute {
			t.Errorf("asked %+v, %v left", q, left)
		}
		time.Sleep(40 * time.Second)
		st.say(q, api.Answer{Response: "1"})
		q = st.asked(api.LoginBrowser)
		if q.URL != "https://idp.example.test/x" || q.Callback != 0 {
			t.Errorf("asked %+v", q)
		}
		if s := st.Status(root); s.Connections[0].Login.URL != "" {
			t.Error("root sees the owner's URL")
		}
		if s := st.Status(bob); s.Connections[0].Login != nil {
			t.Error("a stranger sees the question")
		}
		time.Sleep(30 * time.Second)
		d.each(func(o *ovpn.Session) { o.Accept(time.Now(), 0) })
		up := st.untilState(alice, "work", api.Connected, 10*time.Second)
		if up.Login != nil || strings.Join(got, " ") != "CR_RESPONSE,MQ==" {
			t.Errorf("up with %+v; the server got %q", up.Login, got)
		}
		if st.Answer(alice, api.Answer{Profile: "work", ID: q.ID}) == nil {
			t.Error("an answer was taken after the end")
		}
	})
}

// TestFloodOfWindows: a server may have a few browser windows opened while it waits, and no more.
func TestFloodOfWindows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, func(string, string) string { return "pending:CR_TEXT:R:Code" })
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
		st.asked(api.LoginOTP)
		for i := range maxWindows {
			d.server.each(func(o *ovpn.Session) {
				o.Pending(time.Now(), time.Minute, fmt.Sprintf("WEB_AUTH::https://idp.example.test/%d", i))
			})
			time.Sleep(time.Second)
			if q := st.asked(api.LoginBrowser); q.URL != fmt.Sprintf("https://idp.example.test/%d", i) {
				t.Fatalf("asked %+v", q)
			}
		}
		d.server.each(func(o *ovpn.Session) { o.Pending(time.Now(), time.Minute, "WEB_AUTH::https://idp.example.test/last") })
		st.ends(api.CodeBrowserRefused)
	})
}

func TestWaitingServerEnds(t *testing.T) {
	for _, c := range []struct {
		name, judge string
		do          func(st *stage, d *door)
		code        string
	}{
		{"in time", "pending:CR_TEXT:R:Code", func(*stage, *door) { time.Sleep(110 * time.Second) }, ""},
		{"too late", "pending:CR_TEXT:R:Code", func(*stage, *door) { time.Sleep(3 * time.Minute) }, api.CodeSignInTimedOut},
		{"refused", "pending:CR_TEXT:R:Code", func(_ *stage, d *door) {
			d.each(func(o *ovpn.Session) { o.Deny(time.Now(), "wrong code") })
		}, api.CodeCodeRefused},
		{"refused in the browser", "pending:WEB_AUTH::https://idp.example.test/", func(_ *stage, d *door) {
			d.each(func(o *ovpn.Session) { o.Deny(time.Now(), "not you") })
		}, api.CodeBrowserRefused},
		{"cancelled", "pending:WEB_AUTH::https://idp.example.test/", func(st *stage, _ *door) {
			st.say(st.asked(api.LoginBrowser), api.Answer{Cancel: true})
		}, api.CodeSignInCancelled},
		{"a bad address", "pending:WEB_AUTH::file:///etc/passwd", func(*stage, *door) {}, api.CodeProtocolError},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				d := newDoor(t, func(string, string) string { return c.judge })
				st := newStage(t, d.server, t.TempDir())
				st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
				if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw", Timeout: 20 * time.Second}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				c.do(st, d)
				if c.code != "" {
					st.ends(c.code)
				} else {
					st.asked(api.LoginOTP)
				}
			})
		})
	}
}

// TestNobodyAnswers: the question ends after its time, with words; a tunnel that was up waits.
func TestNobodyAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
		st.connect(alice, "work")
		st.asked(api.LoginPassword)
		time.Sleep(answerTime - 10*time.Second)
		q := st.asked(api.LoginPassword)
		time.Sleep(10 * time.Second)
		c := st.ends(api.CodeSignInTimedOut)
		if !strings.Contains(c.Problem.Message, "10m") {
			t.Errorf("problem %+v", c.Problem)
		}
		if err := st.Answer(alice, api.Answer{Profile: "work", ID: q.ID}); !api.IsCode(err, api.CodeQuestionGone) {
			t.Errorf("late answer: %v", err)
		}
	})
}

func TestCancelAndDisconnectWhileAsked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
		st.connect(alice, "work")
		st.say(st.asked(api.LoginPassword), api.Answer{Cancel: true})
		st.ends(api.CodeSignInCancelled)
		st.connect(alice, "work")
		st.asked(api.LoginPassword)
		if err := st.Disconnect(context.Background(), alice, "work"); err != nil {
			t.Error(err)
		}
		if s := st.Status(alice); len(s.Connections) != 0 {
			t.Errorf("left: %+v", s.Connections)
		}
		st.connect(alice, "work")
		q := st.asked(api.LoginPassword)
		// The service ends and comes back: the wish is asked for as long as it takes.
		st.stop()
		st.start()
		fresh := st.asked(api.LoginPassword)
		if fresh.ID == q.ID || !fresh.Deadline.IsZero() {
			t.Errorf("resumed with %+v", fresh)
		}
		time.Sleep(24 * time.Hour)
		st.say(fresh, api.Answer{Username: "alice", Password: "pw"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
	})
}

// TestNoSecretInTheLog at the most talkative level, whatever happens.
func TestNoSecretInTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, crv1("R", "Code", "c0de-secret"))
		st := newStage(t, d.server, t.TempDir())
		var all bytes.Buffer
		st.Service.log = slog.New(slog.NewTextHandler(&all, &slog.HandlerOptions{Level: slog.LevelDebug}))
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass\nauth-retry interact"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pass-secret"}); err != nil {
			t.Fatal(err)
		}
		st.say(st.asked(api.LoginPassword), api.Answer{Password: "pw"})
		st.say(st.asked(api.LoginOTP), api.Answer{Response: "wrong-secret"})
		st.say(st.asked(api.LoginOTP), api.Answer{Response: "c0de-secret"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		synctest.Wait()
		status := fmt.Sprintf("%+v", st.Status(alice))
		st.stop()
		if all.Len() < 500 {
			t.Fatalf("the log is not complete: %s", all.String())
		}
		for _, text := range []string{all.String(), status} {
			if strings.Contains(text, "secret") {
				t.Errorf("a secret in %s", text)
			}
		}
	})
}

// TestNetworkChangesWhileAsked: the ways around the tunnel follow, and the question stays.
func TestNetworkChangesWhileAsked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, func(string, string) string { return "" })
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nredirect-gateway def1\nauth-user-pass\nauth-nocache"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
		q := st.asked(api.LoginPassword)
		other := underlay()
		other.Routes[0].Gateway = netip.MustParseAddr("192.168.1.254")
		st.host(0).SetFacts(other)
		time.Sleep(time.Minute)
		if now := st.asked(api.LoginPassword); now.ID != q.ID {
			t.Error("it is another question")
		}
		around := fmt.Sprintf("%+v", st.host(0).Current().Around)
		if !strings.Contains(around, "192.168.1.254") {
			t.Errorf("the way around is %s", around)
		}
		st.say(q, api.Answer{Password: "pw"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
	})
}

// TestBanner: what the server says is in the status, that of the newest session.
func TestBanner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		said := push.MessageEcho("Authorized use only.\nAll is logged.", "Login banner")
		judge := d.answer
		d.answer = func(o *ovpn.Session, ev ovpn.Event) error {
			if _, ok := ev.(ovpn.PushRequest); !ok {
				return judge(o, ev)
			}
			r := reply()
			r.Echo = said
			o.Push(time.Now(), r)
			return errHandled
		}
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
		for _, want := range []string{"Authorized use only.\nAll is logged.", ""} {
			st.connect(alice, "work")
			st.say(st.asked(api.LoginPassword), api.Answer{Username: "alice", Password: "pw"})
			if got := st.untilState(alice, "work", api.Connected, 10*time.Second).Banner; got != want {
				t.Errorf("banner %q, want %q", got, want)
			}
			if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
				t.Fatal(err)
			}
			said = nil
		}
	})
}
