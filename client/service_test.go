package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/platformtest"
	"github.com/adit-vpn/adit/routes"
)

const remoteUDP = "remote 192.0.2.1 1194 udp"

func TestConnectAndDisconnect(t *testing.T) {
	for _, remote := range []string{remoteUDP, "remote 192.0.2.1 443 tcp"} {
		t.Run(remote, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile(remote))
				st.connect(alice, "work")
				c := st.untilState(alice, "work", api.Connected, 5*time.Second)
				if got := c.Tunnel.Addresses; len(got) != 1 || got[0] != netip.MustParsePrefix("10.8.0.2/24") {
					t.Errorf("addresses %v", got)
				}
				if want := (api.Protection{TLS: "TLS 1.3", Control: "plain, dynamic tls-crypt", Data: "AES-256-GCM epoch keys"}); c.Protection != want {
					t.Errorf("protection %+v", c.Protection)
				}
				if c.Server.Address != "192.0.2.1" || c.FullTunnel || c.Problem != nil || c.Tunnel.Device != "tun0" {
					t.Errorf("status %+v", c)
				}
				if len(c.DNS.Servers) != 1 || c.DNS.Servers[0] != "10.98.0.1" {
					t.Errorf("DNS %v", c.DNS)
				}
				h := st.host(0)
				if !ping(t, h, "an inner packet, long enough to look like one") {
					t.Error("the packet did not come back")
				}
				if n := st.Status(alice).Connections[0].Counters; n.TxPackets != 1 || n.RxPackets != 1 || n.TxBytes == 0 || n.WireTxBytes < n.TxBytes+1000 || n.WireRxBytes < n.RxBytes+1000 {
					t.Errorf("counters %+v", n)
				}
				if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
					t.Fatal(err)
				}
				if !h.Current().IsZero() || !h.IsClosed() {
					t.Errorf("left behind: %+v", h.Current())
				}
				if got := st.Status(alice).Connections; len(got) != 0 {
					t.Errorf("still shown: %+v", got)
				}
				if w := st.store.wanted(); len(w) != 0 {
					t.Errorf("still wanted: %v", w)
				}
				if err := st.Disconnect(t.Context(), alice, "work"); !api.IsCode(err, api.CodeNotConnected) {
					t.Errorf("second disconnect: %v", err)
				}
			})
		})
	}
}

func TestReconnectKeepsThePlan(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		h := st.host(0)
		ping(t, h, "before")
		s.crash() // ping-restart must notice
		s.set(func() { s.silent = true })
		st.untilState(alice, "work", api.Reconnecting, 70*time.Second)
		if h.Current().IsZero() {
			t.Error("the plan was undone while reconnecting: traffic leaks")
		}
		if ping(t, h, "lost") {
			t.Error("a packet came back without a server")
		}
		s.set(func() { s.silent = false })
		st.untilState(alice, "work", api.Connected, 3*time.Minute)
		if n := st.Status(alice).Connections[0].Counters; n.TxPackets < 1 {
			t.Errorf("counters were lost: %+v", n)
		}
		opened := 0
		for _, call := range h.Calls() {
			if call == "OpenTUN" {
				opened++
			}
		}
		if opened != 1 {
			t.Errorf("the TUN was opened %d times", opened)
		}
		for i, p := range h.Plans() {
			if p.IsZero() {
				t.Errorf("plan %d is zero: a gap", i)
			}
		}
	})
}

func TestServerRestartIsNoticedAtOnce(t *testing.T) {
	for _, message := range []string{"RESTART,maintenance", "EXIT"} {
		t.Run(message, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile(remoteUDP))
				st.connect(alice, "work")
				st.untilState(alice, "work", api.Connected, 5*time.Second)
				s.each(func(o *ovpn.Session) {
					if err := o.Send(time.Now(), message); err != nil {
						t.Error(err)
					}
				})
				st.untilState(alice, "work", api.Reconnecting, 2*time.Second)
				st.untilState(alice, "work", api.Connected, 10*time.Second)
			})
		})
	}
}

func TestHaltStops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		s.each(func(o *ovpn.Session) { o.Send(time.Now(), "HALT,go away") })
		c := st.blocked(alice, "work", api.CodeSessionEnded)
		if c.Problem.Args["reason"] != "go away" || c.Problem.Hint != "connect again with: adit connect work" {
			t.Errorf("problem %+v", c.Problem)
		}
		if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
			t.Fatal(err)
		}
		if !st.host(0).Current().IsZero() {
			t.Error("the plan stays")
		}
		if len(st.store.wanted()) != 0 {
			t.Error("the wish stays")
		}
	})
}

// TestProblems: each failure gets its own word within the time that --timeout would give.
func TestProblems(t *testing.T) {
	tlsKey := func() string { return "<tls-crypt>\n" + staticKey('a') + "</tls-crypt>\n" }
	cases := []struct {
		name    string
		code    string
		extra   string
		prepare func(s *server)
		edit    func(*x509.Certificate)
		timeout time.Duration // 0: it must stop by itself
		failed  map[string]error
	}{
		{name: "auth failed", code: api.CodeAuthFailed, prepare: func(s *server) {
			s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
				if _, ok := ev.(ovpn.Credentials); ok {
					o.Deny(time.Now(), "no such user")
					return errHandled
				}
				return nil
			}
		}},
		{name: "no free address", code: api.CodeAddressPoolEmpty, timeout: 20 * time.Second, prepare: func(s *server) {
			s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
				if _, ok := ev.(ovpn.Credentials); ok {
					o.Deny(time.Now(), "no free address")
					return errHandled
				}
				return nil
			}
		}},
		{name: "silent", code: api.CodeServerUnreachable, timeout: 40 * time.Second, prepare: func(s *server) { s.silent = true }},
		{name: "refused", code: api.CodeServerUnreachable, timeout: 10 * time.Second, prepare: func(s *server) { s.refused = true }},
		{name: "refused TCP", code: api.CodeServerUnreachable, extra: "remote 192.0.2.1 443 tcp", timeout: 10 * time.Second, prepare: func(s *server) { s.refused = true }},
		{name: "unknown name", code: api.CodeServerNameUnknown, extra: "remote nowhere.example.test 1194", timeout: 10 * time.Second, prepare: func(s *server) {}},
		{name: "control key", code: api.CodeControlKeyWrong, extra: "remote 192.0.2.1 443 tcp\n" + tlsKey(), prepare: func(s *server) { s.silent = true }},
		{name: "untrusted server", code: api.CodeCertificateUntrusted, prepare: func(s *server) {
			other := ovpntest.NewPKI(s.t)
			s.config = func(c *ovpn.Config) {
				c.TLS = c.TLS.Clone()
				c.TLS.Certificates = other.ServerTLS().Certificates
			}
		}},
		{name: "expired server", code: api.CodeCertificateExpired, prepare: func(s *server) {
			issued := s.pki.Issue("server", x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.NotAfter = ovpntest.Epoch().Add(-time.Hour) })
			s.config = func(c *ovpn.Config) { c.TLS = c.TLS.Clone(); c.TLS.Certificates = []tls.Certificate{issued} }
		}},
		{name: "a clock in the past", code: api.CodeClockWrong, timeout: 10 * time.Second, prepare: func(s *server) {
			issued := s.pki.Issue("server", x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.NotBefore = ovpntest.Epoch().AddDate(3, 0, 0) })
			s.config = func(c *ovpn.Config) { c.TLS = c.TLS.Clone(); c.TLS.Certificates = []tls.Certificate{issued} }
		}},
		{name: "a clock in the past, by the own certificate", code: api.CodeClockWrong, timeout: 10 * time.Second, prepare: func(*server) {},
			edit: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(25 * time.Hour) }},
		{name: "a clock a little behind", code: api.CodeCertificateExpired, timeout: 10 * time.Second, prepare: func(s *server) {
			issued := s.pki.Issue("server", x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.NotBefore = ovpntest.Epoch().Add(time.Hour) })
			s.config = func(c *ovpn.Config) { c.TLS = c.TLS.Clone(); c.TLS.Certificates = []tls.Certificate{issued} }
		}},
		{name: "a clock far in the future", code: api.CodeClockWrong, timeout: 10 * time.Second, prepare: func(s *server) {
			issued := s.pki.Issue("server", x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = ovpntest.Epoch().AddDate(-13, 0, 0), ovpntest.Epoch().AddDate(-11, 0, 0)
			})
			s.config = func(c *ovpn.Config) { c.TLS = c.TLS.Clone(); c.TLS.Certificates = []tls.Certificate{issued} }
		}},
		{name: "a stranger with dates far off", code: api.CodeCertificateUntrusted, prepare: func(s *server) {
			other := ovpntest.NewPKI(s.t)
			issued := other.Issue("server", x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.NotBefore = ovpntest.Epoch().AddDate(3, 0, 0) })
			s.config = func(c *ovpn.Config) { c.TLS = c.TLS.Clone(); c.TLS.Certificates = []tls.Certificate{issued} }
		}},
		{name: "a client poses as server", code: api.CodeCertificateUsage, prepare: func(s *server) {
			issued := s.pki.Issue("server", x509.ExtKeyUsageClientAuth, nil)
			s.config = func(c *ovpn.Config) { c.TLS = c.TLS.Clone(); c.TLS.Certificates = []tls.Certificate{issued} }
		}},
		{name: "another name", code: api.CodeCertificateName, extra: remoteUDP + "\nverify-x509-name other name", prepare: func(s *server) {}},
		{name: "own certificate refused", code: api.CodeOwnCertificateRefused, prepare: func(s *server) {
			other := ovpntest.NewPKI(s.t)
			s.config = func(c *ovpn.Config) { c.TLS = c.TLS.Clone(); c.TLS.ClientCAs = other.Pool() }
		}},
		{name: "no common cipher", code: api.CodeNoCommonCipher, extra: remoteUDP + "\ndata-ciphers AES-128-GCM", prepare: func(s *server) {
			s.config = func(c *ovpn.Config) { c.Ciphers = []string{"CHACHA20-POLY1305"} }
		}},
		{name: "rejected push", code: api.CodePushRejected, extra: remoteUDP + "\npull-filter reject \"route 10.98\"", prepare: func(s *server) {}},
		{name: "no TUN", code: api.CodeTUNNotPermitted, prepare: func(s *server) {}, failed: map[string]error{"OpenTUN": platform.ErrTUNNotPermitted}},
		{name: "no routes", code: api.CodeRoutesFailed, prepare: func(s *server) {}, failed: map[string]error{"Facts": errors.New("netlink says no")}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				c.prepare(s)
				st := newStage(t, s, t.TempDir())
				st.failed = c.failed
				extra := c.extra
				if extra == "" {
					extra = remoteUDP
				}
				st.add(alice, "work", s.profileWith(extra, c.edit))
				if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Timeout: c.timeout}); err != nil {
					t.Fatal(err)
				}
				wait := c.timeout + 2*time.Second
				if c.timeout == 0 {
					wait = 40 * time.Second
				}
				got := st.untilState(alice, "work", api.Disconnected, wait)
				if got.Problem == nil || got.Problem.Code != c.code {
					t.Fatalf("problem %+v, want %s", got.Problem, c.code)
				}
				t.Log(got.Problem.Message)
				if h := st.host(0); !h.Current().IsZero() || !h.IsClosed() {
					t.Error("something is left behind")
				}
				if len(st.store.wanted()) != 0 {
					t.Error("the wish stays")
				}
			})
		})
	}
}

func staticKey(c byte) string {
	line := strings.Repeat(string(c)+"1", 16) + "\n"
	return "-----BEGIN OpenVPN Static key V1-----\n" + strings.Repeat(line, 16) + "-----END OpenVPN Static key V1-----\n"
}

// TestRefusedAtOnce: what the profile alone shows needs no attempt.
func TestRefusedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "expired", s.profileWith(remoteUDP, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }))
		other, _ := ovpntest.PEM(t, s.pki.Issue("other", x509.ExtKeyUsageClientAuth, nil))
		text := s.profile(remoteUDP)
		at, end := strings.Index(text, "<cert>\n"), strings.Index(text, "</cert>")
		st.add(alice, "mismatch", text[:at]+"<cert>\n"+string(other)+text[end:])
		for name, code := range map[string]string{
			"expired": api.CodeOwnCertificateExpired, "mismatch": api.CodeOwnKeyMismatch,
			"missing": api.CodeProfileNotFound,
		} {
			if err := st.Connect(alice, api.ConnectRequest{Profile: name}); !api.IsCode(err, code) {
				t.Errorf("%s: %v, want %s", name, err, code)
			}
		}
		if w := st.store.wanted(); len(w) != 0 {
			t.Errorf("wishes for what cannot be: %v", w)
		}
	})
}

// TestLockdownOfTheUnfit: a guard in lockdown is closed from the start on also where its profile cannot be connected, and its status says why. It is as
// it was when somebody connects, and the profile can be connected once it is mended.
func TestLockdownOfTheUnfit(t *testing.T) {
	for name, c := range map[string]struct{ policy, code string }{
		"expired":             {code: api.CodeOwnCertificateExpired},
		"mismatch":            {code: api.CodeOwnKeyMismatch},
		"unsupported":         {code: api.CodeProfileUnsupported},
		"the policy's holder": {policy: `{"BlockWhenDisconnected": true}`, code: api.CodeOwnCertificateExpired},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				good := s.profile(remoteUDP)
				other, _ := ovpntest.PEM(t, s.pki.Issue("other", x509.ExtKeyUsageClientAuth, nil))
				at, end := strings.Index(good, "<cert>\n"), strings.Index(good, "</cert>")
				bad := map[string]string{
					api.CodeOwnCertificateExpired: s.profileWith(remoteUDP, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }),
					api.CodeOwnKeyMismatch:        good[:at] + "<cert>\n" + string(other) + good[end:],
					api.CodeProfileUnsupported:    s.profile(remoteUDP) + "dev tap\n",
				}[c.code]
				var st *stage
				if c.policy != "" {
					st = newManaged(t, s, c.policy, map[string]string{"lab": bad})
				} else {
					st = newStage(t, s, t.TempDir())
					st.add(alice, "lab", good)
					if _, err := st.store.update(key{"1000", "lab"}, func(r *record) error { r.Text = bad; return nil }); err != nil {
						t.Fatal(err)
					}
					st.setting(alice, "lab", "guard=lockdown")
				}
				closes := func(when string) {
					t.Helper()
					if got := st.untilState(alice, "lab", api.Blocked, time.Second); when == "start" && (got.Problem == nil || got.Problem.Code != c.code) {
						t.Errorf("%s: %+v", when, got)
					}
					if h := st.host(0); h == nil || closed(h) != everything {
						t.Errorf("%s: it is open", when)
					}
				}
				closes("set")
				time.Sleep(2 * time.Hour)
				st.stop()
				st.mu.Lock()
				clear(st.hosts) // the machine starts, too
				st.mu.Unlock()
				st.start()
				closes("start")
				refused(t, "connect", st.Connect(alice, api.ConnectRequest{Profile: "lab"}), c.code)
				closes("connect")
				if w := st.store.wanted(); len(w) != 0 {
					t.Errorf("wishes for what cannot be: %v", w)
				}
				if c.policy != "" {
					st.write("profiles/lab.ovpn", good)
					time.Sleep(2 * managedInterval)
				} else if _, err := st.store.update(key{"1000", "lab"}, func(r *record) error { r.Text = good; return nil }); err != nil {
					t.Fatal(err)
				}
				st.connect(alice, "lab")
				st.untilState(alice, "lab", api.Connected, 5*time.Second)
			})
		})
	}
}

// TestClockMayBeSet: a connection whose own certificate shows that the clock is wrong, as at the start of a machine without
// one, goes on trying; each attempt looks at the clock again.
func TestClockMayBeSet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		text := s.profileWith(remoteUDP, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(48 * time.Hour) })
		st.add(alice, "early", text)
		st.connect(alice, "early")
		time.Sleep(time.Hour)
		st.until(alice, "early", "the clock", time.Second, func(c api.Connection) bool {
			return c.State == api.Connecting && c.Problem != nil && c.Problem.Code == api.CodeClockWrong
		})
		if err := st.Disconnect(t.Context(), alice, "early"); err != nil {
			t.Fatal(err)
		}

		p, err := profile.Parse("early", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		sp, err := specOf(p, api.Settings{}, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sp.session(sp.remotes[0], credentials{}); !api.IsCode(err, api.CodeClockWrong) {
			t.Errorf("before: %v", err)
		}
		time.Sleep(48 * time.Hour)
		if _, err := sp.session(sp.remotes[0], credentials{}); err != nil {
			t.Errorf("once it is set: %v", err)
		}
	})
}

// TestClockBehind: certificates that are valid from a little later on, as with a clock that was set by another time zone, are
// tried until they are; and at once when the clock is set. A guard that is closed meanwhile says what to do.
func TestClockBehind(t *testing.T) {
	later := func(by time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore = time.Now().Add(by) }
	}
	for _, c := range []struct {
		name, code, extra, hint string
		prepare                 func(*server)
		edit                    func(*x509.Certificate)
	}{
		{name: "own", code: api.CodeOwnCertificateExpired, extra: remoteUDP, edit: later(20 * time.Minute), prepare: func(*server) {}},
		{name: "server's", code: api.CodeCertificateExpired, extra: remoteUDP, prepare: func(s *server) {
			issued := s.pki.Issue("server", x509.ExtKeyUsageServerAuth, later(20*time.Minute))
			s.config = func(c *ovpn.Config) { c.TLS = c.TLS.Clone(); c.TLS.Certificates = []tls.Certificate{issued} }
		}},
		{name: "behind a guard", code: api.CodeOwnCertificateExpired, extra: remoteUDP + "\nredirect-gateway def1", edit: later(20 * time.Minute), prepare: func(*server) {},
			hint: "the guard of work stops time servers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				c.prepare(s)
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profileWith(c.extra, c.edit))
				st.connect(alice, "work")
				time.Sleep(5 * time.Minute)
				got := st.until(alice, "work", "the certificate", time.Second, func(n api.Connection) bool { return n.Problem != nil && n.Problem.Code == c.code })
				if got.State != api.Connecting || strings.Contains(got.Problem.Hint, "time servers") != (c.hint != "") || !strings.Contains(got.Problem.Hint, c.hint) {
					t.Errorf("%s: %s", got.State, got.Problem.Hint)
				}
				if !strings.Contains(got.Problem.Message, "this machine's clock says") {
					t.Errorf("%s", got.Problem.Message)
				}
				st.untilState(alice, "work", api.Connected, 25*time.Minute)
			})
		})
	}
}

// TestClockIsSet: whoever waits to try again does so at once.
func TestClockIsSet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.silent = true
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP+"\nconnect-retry 3600"))
		st.connect(alice, "work")
		attempts := func() (n int) { s.set(func() { n = len(s.dialed) }); return n }
		time.Sleep(3 * time.Minute) // the first has failed
		for _, step := range []struct {
			by   time.Duration
			more int
		}{{30 * time.Second, 0}, {time.Hour, 1}, {-time.Hour, 1}} {
			before := attempts()
			st.mu.Lock()
			st.stepped += step.by
			st.mu.Unlock()
			time.Sleep(3 * time.Second)
			if got := attempts() - before; got != step.more {
				t.Errorf("%d attempts after a step of %s, want %d", got, step.by, step.more)
			}
			time.Sleep(3 * time.Minute) // as above
		}
	})
}

// TestDisconnectInEveryState: whatever goes on, disconnect ends it within a few seconds.
func TestDisconnectInEveryState(t *testing.T) {
	states := []struct {
		name    string
		prepare func(s *server)
		wait    func(st *stage)
	}{
		{"connecting", func(s *server) { s.silent = true }, func(st *stage) { time.Sleep(3 * time.Second) }},
		{"between attempts", func(s *server) { s.refused = true }, func(st *stage) { time.Sleep(20 * time.Second) }},
		{"connected", func(*server) {}, func(st *stage) { st.untilState(alice, "work", api.Connected, 5*time.Second) }},
		{"reconnecting", func(*server) {}, func(st *stage) {
			st.untilState(alice, "work", api.Connected, 5*time.Second)
			st.server.set(func() { st.server.silent = true })
			st.server.crash()
			st.untilState(alice, "work", api.Reconnecting, 2*time.Minute)
		}},
		{"at once", func(*server) {}, func(*stage) {}},
	}
	for _, c := range states {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				c.prepare(s)
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile(remoteUDP))
				st.connect(alice, "work")
				c.wait(st)
				begin := time.Now()
				if err := st.Disconnect(t.Context(), alice, ""); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(begin); d > 3*time.Second {
					t.Errorf("it took %v", d)
				}
				if h := st.host(0); h != nil && (!h.Current().IsZero() || !h.IsClosed()) {
					t.Error("something is left behind")
				}
				if len(st.Status(alice).Connections) != 0 || len(st.store.wanted()) != 0 {
					t.Error("the connection is still there")
				}
			})
		})
	}
}

// slowUndo is a Host whose undoing waits.
type slowUndo struct {
	*platformtest.Host
	entered, release chan struct{}
}

func (h slowUndo) Apply(ctx context.Context, p routes.Plan) error {
	if p.IsZero() {
		close(h.entered)
		<-h.release
	}
	return h.Host.Apply(ctx, p)
}

// A new wish while the old tunnel is being taken down is a tunnel afterwards.
func TestConnectWhileDisconnecting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		entered, release := make(chan struct{}), make(chan struct{})
		quick := st.cfg.Hosts
		st.cfg.Hosts = func(string, *slog.Logger) (platform.Host, error) {
			st.cfg.Hosts = quick
			return slowUndo{platformtest.NewHost(underlay()), entered, release}, nil
		}
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		gone := make(chan error, 1)
		go func() { gone <- st.Disconnect(t.Context(), alice, "work") }()
		<-entered
		again := make(chan error, 1)
		go func() { again <- st.Connect(alice, api.ConnectRequest{Profile: "work"}) }()
		time.Sleep(time.Second)
		close(release)
		if err := errors.Join(<-gone, <-again); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		if w := st.store.wanted(); len(w) != 1 {
			t.Errorf("wishes %v", w)
		}
	})
}

// A wish that cannot be kept is none: nothing stays of the connection that began meanwhile.
func TestWishNotWritten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		// A file cannot take the place of a directory.
		if err := os.MkdirAll(filepath.Join(st.dir, "wishes.json", "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work"}); !api.IsCode(err, api.CodeProfileStoreError) {
			t.Fatalf("connect: %v", err)
		}
		if c := st.Status(alice).Connections; len(c) != 0 {
			t.Errorf("connections %+v", c)
		}
		if err := os.RemoveAll(filepath.Join(st.dir, "wishes.json")); err != nil {
			t.Fatal(err)
		}
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
	})
}

// One that fails while the wish is still being written leaves none either.
func TestNoWishAfterFailingBeforeItIsWritten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.cfg.Hosts = func(string, *slog.Logger) (platform.Host, error) { return nil, platform.ErrTUNNotPermitted }
		st.add(alice, "work", s.profile(remoteUDP))
		w := wish{Owner: ownerOf(alice), Profile: "work"}
		l, err := st.Service.start(w.key(), w, api.ConnectRequest{}, beginning{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it has failed
		if err := st.store.want(w, true); err != nil {
			t.Fatal(err)
		}
		close(l.recorded)
		<-l.done
		if w := st.store.wanted(); len(w) != 0 {
			t.Errorf("wishes %v", w)
		}
	})
}

// A connection that fails at once leaves no wish, so that the next start does not try it again.
func TestNoWishAfterFailingAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.failed["OpenTUN"] = platform.ErrTUNNotPermitted
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Disconnected, 5*time.Second)
		if w := st.store.wanted(); len(w) != 0 {
			t.Errorf("wishes %v", w)
		}
		if err := st.Disconnect(t.Context(), alice, ""); err != nil {
			t.Fatal(err)
		}
		if c := st.Status(alice).Connections; len(c) != 0 {
			t.Errorf("the failure is still shown: %+v", c)
		}
	})
}

func TestWishesSurviveTheService(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		st.stop()
		if h := st.host(0); !h.Current().IsZero() || !h.IsClosed() {
			t.Error("the service ended and left something behind")
		}
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work"}); !api.IsCode(err, api.CodeServiceStopping) {
			t.Errorf("connect to a stopped service: %v", err)
		}
		st.start()
		st.untilState(alice, "work", api.Connected, 5*time.Second)
	})
}

// TestWishTakenBack: a wish of the last run that somebody has taken back before it was resumed begins nothing, and the guard
// that it had left closed opens, but for lockdown.
func TestWishTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		w := wish{Owner: ownerOf(alice), Profile: "work"}
		st.left = map[string]routes.Guard{hostOf(w.key()): routes.Everything()}
		if err := st.store.want(w, true); err != nil {
			t.Fatal(err)
		}
		if err := st.Disconnect(t.Context(), alice, "work"); !api.IsCode(err, api.CodeNotConnected) {
			t.Errorf("disconnect: %v", err)
		}
		st.goOn(w)
		synctest.Wait()
		if got := st.Status(alice).Connections; len(got) != 0 {
			t.Errorf("it was resumed: %+v", got)
		}
		if h := st.host(0); !h.Current().IsZero() || !h.IsClosed() {
			t.Errorf("the guard stays: %+v", h.Current())
		}

		st.setting(alice, "work", "guard=lockdown")
		st.untilState(alice, "work", api.Blocked, 5*time.Second)
		st.goOn(w)
		time.Sleep(time.Minute)
		st.untilState(alice, "work", api.Blocked, 0)
		if err := st.store.want(w, true); err != nil {
			t.Fatal(err)
		}
		st.goOn(w)
		st.untilState(alice, "work", api.Connected, 5*time.Second)
	})
}

func TestTwoUsers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)

		got := st.Status(bob).Connections
		if len(got) != 1 || got[0].Profile != "" || got[0].Server.Address != "" || len(got[0].Routes) != 0 || got[0].State != api.Connected {
			t.Errorf("bob sees %+v", got)
		}
		if list, _ := st.Profiles(bob); len(list) != 0 {
			t.Errorf("bob lists %v", list)
		}
		for what, err := range map[string]error{
			"show":       second(st.Show(bob, "work")),
			"export":     second(st.Export(bob, "work")),
			"rename":     st.Rename(bob, "work", "mine"),
			"remove":     st.Remove(bob, "work"),
			"set":        second(st.Set(bob, "work", []string{"auto_connect=true"})),
			"connect":    st.Connect(bob, api.ConnectRequest{Profile: "work"}),
			"disconnect": st.Disconnect(t.Context(), bob, "work"),
		} {
			if !api.IsCode(err, api.CodeProfileNotFound) {
				t.Errorf("%s by bob: %v", what, err)
			}
		}
		if err := st.Disconnect(t.Context(), bob, ""); err != nil {
			t.Errorf("bob's own nothing: %v", err)
		}
		st.untilState(alice, "work", api.Connected, 0)
		var seen []string
		st.Logs(t.Context(), bob, false, func(l api.LogLine) error { seen = append(seen, l.Profile+l.Text); return nil })
		if all := strings.Join(seen, "\n"); strings.Contains(all, "work") || strings.Contains(all, "192.0.2.1") {
			t.Errorf("bob reads alice's log: %s", all)
		}
		x, err := st.Explain(t.Context(), bob, "10.98.0.1")
		if err != nil || x.Way != "tunnel" || x.Profile != "" {
			t.Errorf("bob's explanation: %+v, %v", x, err)
		}
		// The same name is bob's to use too.
		st.add(bob, "work", s.profile(remoteUDP))
		st.connect(bob, "work")
		st.untilState(bob, "work", api.Connected, 5*time.Second)
		if err := st.Disconnect(t.Context(), root, "work"); err != nil {
			t.Errorf("root: %v", err)
		}
		if n := len(st.Status(root).Connections); n != 0 {
			t.Errorf("%d tunnels after root's disconnect", n)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestAtMostFive(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.silent = true
		st := newStage(t, s, t.TempDir())
		names := []string{"a", "b", "c", "d", "e", "f"}
		for i, name := range names {
			st.add(alice, name, s.profile(remoteUDP))
			err := st.Connect(alice, api.ConnectRequest{Profile: name})
			if i < maxConnections && err != nil || i == maxConnections && !api.IsCode(err, api.CodeTooManyConnections) {
				t.Errorf("connection %d: %v", i+1, err)
			}
		}
		if err := st.Connect(alice, api.ConnectRequest{Profile: "a"}); !api.IsCode(err, api.CodeAlreadyConnected) {
			t.Errorf("already there: %v", err)
		}
	})
}

func TestNetworkChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP+"\nredirect-gateway def1"))
		st.connect(alice, "work")
		c := st.untilState(alice, "work", api.Connected, 5*time.Second)
		if !c.FullTunnel {
			t.Error("not a full tunnel")
		}
		h := st.host(0)
		before := h.Current()
		facts := underlay()
		facts.Routes[0].Gateway = netip.MustParseAddr("192.168.1.254")
		h.SetFacts(facts)
		time.Sleep(time.Second)
		after := h.Current()
		if after.Equal(before) || after.IsZero() {
			t.Fatalf("the plan did not follow the network: %+v", after)
		}
		found := false
		for _, r := range after.Around {
			found = found || r.Gateway == netip.MustParseAddr("192.168.1.254")
		}
		if !found {
			t.Errorf("no way around by the new gateway: %+v", after.Around)
		}
	})
}

func TestRemotesTakeTurns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.refused = true
		s.names["*"] = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile("remote vpn.example.test 1194 udp\nremote 192.0.2.9 1195 udp\nremote-random-hostname"))
		st.connect(alice, "work")
		time.Sleep(30 * time.Second)
		s.set(func() {
			want := []string{"192.0.2.7:1194", "[2001:db8::7]:1194", "192.0.2.9:1195", "192.0.2.7:1194"}
			if len(s.dialed) < len(want) {
				t.Fatalf("dialed %v", s.dialed)
			}
			for i, w := range want {
				if s.dialed[i].String() != w {
					t.Errorf("attempt %d went to %v, want %s", i+1, s.dialed[i], w)
				}
			}
			if len(s.asked) < 2 || s.asked[0] == s.asked[1] {
				t.Errorf("asked for %v", s.asked)
			}
			label, rest, _ := strings.Cut(s.asked[0], ".")
			if len(label) != 12 || rest != "vpn.example.test" {
				t.Errorf("asked for %q", s.asked[0])
			}
		})
	})
}

func TestDeviceTakenAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		st.Service.mu.Lock()
		tun := st.live[key{"1000", "work"}].conn.out.tun
		st.Service.mu.Unlock()
		tun.Close()
		st.blocked(alice, "work", api.CodeTUNFailed)
	})
}

func TestWatchIsNewestWins(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		ctx, cancel := context.WithCancel(t.Context())
		var got []api.Status
		done := make(chan error)
		go func() {
			done <- st.Watch(ctx, alice, func(s api.Status) error {
				got = append(got, s)
				time.Sleep(2 * time.Second) // a slow screen
				return nil
			})
		}()
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(got) < 2 || len(got) > 6 {
			t.Fatalf("%d snapshots", len(got))
		}
		for i := 1; i < len(got); i++ {
			if got[i].Sequence < got[i-1].Sequence {
				t.Errorf("sequence goes back: %d, %d", got[i-1].Sequence, got[i].Sequence)
			}
		}
		if last := got[len(got)-1].Connections; len(last) != 1 || last[0].State != api.Connected {
			t.Errorf("the last snapshot is %+v", last)
		}
	})
}

// eager is a machine whose programs use the first route at once.
type eager struct{ *platformtest.Host }

func (h eager) Apply(ctx context.Context, plan routes.Plan) error {
	err := h.Host.Apply(ctx, plan)
	if !plan.IsZero() {
		err = errors.Join(err, h.Outside().Send([]byte("early")))
		time.Sleep(time.Millisecond) // DNS
	}
	return err
}

// What goes into the tunnel before all of it is in place waits, and is not lost.
func TestFirstPacket(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		h := eager{platformtest.NewHost(underlay())}
		st.cfg.Hosts = func(string, *slog.Logger) (platform.Host, error) { return h, nil }
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		out := h.Outside()
		got := make(chan string, 1)
		go func() {
			p, _ := out.Receive()
			got <- string(p)
		}()
		select {
		case p := <-got:
			if p != "early" {
				t.Errorf("%q came back", p)
			}
		case <-time.After(3 * time.Second):
			t.Error("the first packet is lost")
			out.Close()
			<-got
		}
	})
}
