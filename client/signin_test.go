package client

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
)

const withPassword = "\n<auth-user-pass>\nalice\nhunter2\n</auth-user-pass>\n"

// TestTokenStandsInForThePassword: on the next attempt, until the server wants it no more.
func TestTokenStandsInForThePassword(t *testing.T) {
	for _, refusal := range []string{"SESSION:your session has expired", "no"} {
		t.Run(refusal, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				var seen []string
				refuse := false
				s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
					switch ev := ev.(type) {
					case ovpn.Credentials:
						s.set(func() { seen = append(seen, ev.Username+"/"+ev.Password.Reveal()) })
						if refuse && ev.Password != "hunter2" {
							o.Deny(time.Now(), refusal)
							return errHandled
						}
					case ovpn.PushRequest:
						r := reply()
						r.AuthToken, r.TokenUser = "token-1", "alice@example.test"
						o.Push(time.Now(), r)
						return errHandled
					}
					return nil
				}
				st := roaming(t, s, remoteUDP+withPassword)
				again := func(want ...string) {
					t.Helper()
					s.set(func() { seen = nil })
					s.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
					time.Sleep(10 * time.Second)
					st.untilState(alice, "work", api.Connected, 0)
					s.set(func() {
						if strings.Join(seen, " ") != strings.Join(want, " ") {
							t.Errorf("signed in as %q, want %q", seen, want)
						}
					})
				}
				again("alice@example.test/token-1")
				s.set(func() { refuse = true })
				again("alice@example.test/token-1", "alice/hunter2")
				if strings.Contains(st.logged(), "token-1") {
					t.Error("the log tells the token")
				}
				// RESTART without P: what was kept is not to be used again.
				s.set(func() { seen = nil })
				s.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART") })
				time.Sleep(10 * time.Second)
				s.set(func() {
					if len(seen) != 1 || seen[0] != "alice/hunter2" {
						t.Errorf("after RESTART without P signed in as %q", seen)
					}
				})
			})
		})
	}
}

// TestAuthFailed: what each kind of refusal does to the next attempt.
func TestAuthFailed(t *testing.T) {
	for _, c := range []struct {
		reason, extra string
		first, second string        // the servers that are dialed
		pause         time.Duration // between the two, at least
		stops         bool
	}{
		{"TEMP[backoff 42,advance no]:busy", "", "192.0.2.1:1194", "192.0.2.1:1194", 42 * time.Second, false},
		{"TEMP[backoff 7,advance remote]:busy", "", "192.0.2.1:1194", "192.0.2.3:1196", 7 * time.Second, false},
		{"TEMP[advance addr]:busy", "", "192.0.2.1:1194", "192.0.2.2:1194", 0, false},
		{"TEMP:busy", "", "192.0.2.1:1194", "192.0.2.2:1194", 0, false},
		{"the endpoint cannot check who you are at the moment", "", "192.0.2.1:1194", "192.0.2.2:1194", 0, false},
		{"wrong password", "auth-retry nointeract", "192.0.2.1:1194", "192.0.2.2:1194", 0, false},
		{"wrong password", "", "192.0.2.1:1194", "", 0, true},
	} {
		t.Run(c.reason+" "+c.extra, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.names["vpn.example.test"] = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
				denied := time.Time{}
				s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
					if _, ok := ev.(ovpn.Credentials); ok && denied.IsZero() {
						denied = time.Now()
						o.Deny(denied, c.reason)
						return errHandled
					}
					return nil
				}
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile("remote vpn.example.test 1194 udp\nremote 192.0.2.3 1196 udp\n"+c.extra+withPassword))
				st.connect(alice, "work")
				if c.stops {
					got := st.untilState(alice, "work", api.Disconnected, 10*time.Second)
					if got.Problem.Code != api.CodePasswordRefused || got.Problem.Args["reason"] != c.reason {
						t.Errorf("problem %+v", got.Problem)
					}
					return
				}
				st.untilState(alice, "work", api.Connected, time.Minute)
				if d := time.Since(denied); d < c.pause || d > c.pause+3*time.Second {
					t.Errorf("the second attempt came after %v", d)
				}
				s.set(func() {
					if len(s.dialed) != 2 || s.dialed[0].String() != c.first || s.dialed[1].String() != c.second {
						t.Errorf("dialed %v", s.dialed)
					}
				})
			})
		})
	}
}

// TestRestartToTheNextRemote: the flag N of RESTART.
func TestRestartToTheNextRemote(t *testing.T) {
	for flag, want := range map[string]string{"RESTART,[N]elsewhere": "192.0.2.3:1196", "RESTART,here": "192.0.2.1:1194"} {
		inBubble(t, func(t *testing.T) {
			s := newServer(t)
			st := roaming(t, s, remoteUDP+"\nremote 192.0.2.3 1196 udp")
			s.each(func(o *ovpn.Session) { o.Send(time.Now(), flag) })
			time.Sleep(5 * time.Second)
			st.untilState(alice, "work", api.Connected, 0)
			s.set(func() {
				if got := s.dialed[len(s.dialed)-1].String(); got != want || len(s.dialed) != 2 {
					t.Errorf("%s: dialed %v", flag, s.dialed)
				}
			})
		})
	}
}

// TestRestartOfTheServer: a RESTART without a reason announces that openvpn's server ends in two
// seconds; openvpn 2.4 and 2.5 would still take a client that comes back before, and then leave it alone.
func TestRestartOfTheServer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := roaming(t, s, remoteUDP)
		s.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART") })
		time.Sleep(2900 * time.Millisecond)
		s.set(func() {
			if len(s.dialed) != 1 {
				t.Errorf("dialed %v while the server was still running", s.dialed)
			}
		})
		time.Sleep(2 * time.Second)
		st.untilState(alice, "work", api.Connected, 0)
		s.set(func() {
			if len(s.dialed) != 2 {
				t.Errorf("dialed %v", s.dialed)
			}
		})
	})
}
