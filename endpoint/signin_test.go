package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
)

// withMethod is a generation of cfg that judges passwords by m.
func (r *running) withMethod(t *testing.T, cfg Config, m auth.Method) *generation {
	t.Helper()
	g, err := newGeneration(cfg, r.gen.Load(), r.leave)
	if err != nil {
		t.Fatal(err)
	}
	g.sign = m
	if err := g.loadTokens(nil, r.leave); err != nil {
		t.Fatal(err)
	}
	return g
}

// judge puts m in force for clients that come from now on.
func (r *running) judge(t *testing.T, m auth.Method) {
	t.Helper()
	r.gen.Store(r.withMethod(t, r.config(t, r.text), m))
}

// method is a Method out of a function.
type method func(ctx context.Context, c auth.Credentials) (auth.Outcome, error)

func (m method) Check(ctx context.Context, c auth.Credentials) (auth.Outcome, error) {
	return m(ctx, c)
}

// silent never answers.
func silent(ctx context.Context, _ auth.Credentials) (auth.Outcome, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// slowly waits for a word before it accepts or denies, and counts.
type slowly struct {
	mu    sync.Mutex
	calls int
	word  chan bool
}

func (m *slowly) Check(ctx context.Context, c auth.Credentials) (auth.Outcome, error) {
	m.mu.Lock()
	m.calls++
	m.mu.Unlock()
	select {
	case yes := <-m.word:
		if yes {
			return auth.Accepted{Identity: auth.Identity{Username: c.Username}}, nil
		}
		return auth.Denied{Reason: "no", Tell: "no"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *slowly) called() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// withUsers is a list of authentication with the test directory's file.
func withUsers(t *testing.T, methods string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users.yaml")
	text := fmt.Sprintf("users:\n  - {name: ann, password: %q, groups: [admins]}\n  - {name: otto, password: %q, totp: JBSWY3DPEHPK3PXP}\n", hash, hash)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "authentication:\n" + strings.ReplaceAll(methods, "USERS", fmt.Sprintf("%q", file))
}

// TestCombinations: who gets in with which methods, how both kinds of clients write their
// messages, and what the others are told.
func TestCombinations(t *testing.T) {
	const (
		mutual    = "  - mutual: {}\n"
		directory = "  - directory: {users: USERS}\n"
	)
	for _, tt := range []struct {
		name, methods string
		certificate   bool
		password      push.Secret
		client        string // empty: TLS refuses
		told          string
	}{
		{"mutual", mutual, true, "", "bob", ""},
		{"mutual without", mutual, false, "", "", ""},
		{"mutual and a password that nobody asked for", mutual, true, "x", "bob", ""},
		{"directory", directory, false, "secret", "ann", ""},
		{"directory, a certificate that nobody asked for", directory, true, "secret", "ann", ""},
		{"directory, wrong password", directory, false, "x", "-", "Invalid username or password"},
		{"directory, no password", directory, true, "", "-", "Invalid username or password"},
		{"both", mutual + directory, true, "secret", "ann", ""},
		{"both in the other order", directory + mutual, true, "secret", "ann", ""},
		{"both, no certificate", mutual + directory, false, "secret", "", ""},
		{"both, wrong password", mutual + directory, true, "x", "-", "Invalid username or password"},
	} {
		for i, transport := range []string{"udp", "tcp"} {
			t.Run(tt.name+"/"+transport, func(t *testing.T) {
				r := startWith(t, transport, withUsers(t, tt.methods))
				if r.password = tt.password; tt.password != "" {
					r.user = "ann"
				}
				r.client = func(c *ovpn.Config) { c.Encoding = []ovpn.Encoding{ovpn.Stock, ovpn.AWS32}[i] }
				cfg := r.tlsConfig(t, "bob")
				if !tt.certificate {
					cfg.Certificates = nil
				}
				d := r.dial(t, cfg)
				switch tt.client {
				case "":
					r.until(t, func() bool { return containsLog(r, "client didn't provide a certificate") })
				case "-":
					if ev := wait[ovpn.AuthFailed](t, d); ev.Reason != tt.told || ev.Kind != ovpn.Denied {
						t.Errorf("told %+v", ev)
					}
				default:
					reply := wait[ovpn.PushReply](t, d).Reply
					d.ping(t, reply.Address.Addr())
					if list := r.Connections(); len(list) != 1 || list[0].Client != tt.client || strings.Contains(tt.methods, "mutual") != (list[0].Cert == "bob") {
						t.Errorf("connections %+v", list)
					}
					if (reply.AuthToken != "") != strings.Contains(tt.methods, "directory") {
						t.Errorf("token %v", reply.AuthToken)
					}
				}
				if containsLog(r, "secret") {
					t.Error("the password is in the log")
				}
			})
		}
	}
}

// CVE-2020-15078: a client asks for its configuration while it is being judged. It gets none
// before every method has said yes, and none at all after a no.
func TestCVE_2020_15078_PushOnlyAfterSignIn(t *testing.T) {
	for _, yes := range []bool{true, false} {
		t.Run(fmt.Sprint(yes), func(t *testing.T) {
			r := start(t, "udp")
			m := &slowly{word: make(chan bool)}
			r.judge(t, m) // and a certificate, which has passed
			r.user, r.password = "ann", "secret"
			d := r.dial(t, r.tlsConfig(t, "ann"))
			wait[ovpn.Established](t, d)
			r.until(t, func() bool { return m.called() == 1 })
			p := r.peers.all()[0]
			asked := make(chan error, 1)
			for range 3 { // whatever else makes it go on
				p.do <- func(now time.Time, s *ovpn.Session) error {
					asked <- s.Push(now, push.Reply{})
					return nil
				}
				if err := <-asked; err == nil {
					t.Error("it can be configured")
				}
			}
			select {
			case ev := <-d.events:
				t.Errorf("too early: %T", ev)
			case <-time.After(300 * time.Millisecond):
			}
			if p.status.Load() != nil || len(r.Connections()) != 0 {
				t.Error("it counts as connected")
			}
			m.word <- yes
			if yes {
				reply := wait[ovpn.PushReply](t, d).Reply
				d.ping(t, reply.Address.Addr())
				return
			}
			if ev := wait[ovpn.AuthFailed](t, d); ev.Reason != "no" {
				t.Errorf("told %+v", ev)
			}
			if err := <-d.done; err == nil {
				t.Error("the session goes on")
			}
			for len(d.events) > 0 {
				if ev := <-d.events; ev != nil {
					t.Errorf("after the end: %T", ev)
				}
			}
		})
	}
}

// CVE-2022-0547: the answer to one sign-in is not that to another: neither a method's for
// the next one, nor that for a key that is gone.
func TestCVE_2022_0547_AnswersStayWithTheirKey(t *testing.T) {
	r := start(t, "udp")
	m := &slowly{word: make(chan bool)}
	r.judge(t, m)
	r.user, r.password = "ann", "secret"
	d := r.dial(t, r.tlsConfig(t, "ann"))
	r.until(t, func() bool { return m.called() == 1 })
	p := r.peers.all()[0]
	do := func(f func(now time.Time, s *ovpn.Session) error) {
		t.Helper()
		done := make(chan error, 1)
		p.do <- func(now time.Time, s *ovpn.Session) error { done <- f(now, s); return nil }
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	do(func(now time.Time, s *ovpn.Session) error {
		// A yes to a check that nobody waits for any more.
		old := &judging{asked: p.judging.asked}
		return p.judged(now, s, old, auth.Accepted{Identity: auth.Identity{Username: "eve"}}, nil)
	})
	do(func(now time.Time, s *ovpn.Session) error {
		// Again the credentials, of another negotiation: the first check ends, the second decides.
		return p.authenticate(now, s, p.judging.asked)
	})
	r.until(t, func() bool { return m.called() == 2 })
	if p.status.Load() != nil {
		t.Fatal("it counts as connected")
	}
	m.word <- true
	wait[ovpn.PushReply](t, d)
	if got := p.status.Load().identity; got.Username != "ann" || got.CommonName != "ann" {
		t.Errorf("it is %+v", got)
	}
}

// A client that is told why it is refused may hang up before its session has ended: the log says why all the same.
func TestWhy(t *testing.T) {
	refused := &ovpn.ProtocolError{Cause: ovpn.CauseTLS, Text: "no certificate"}
	live := t.Context()
	gone, cancel := context.WithCancelCause(live)
	cancel(errHangUp)
	for _, c := range []struct {
		ctx       context.Context
		err, want error
	}{{live, nil, nil}, {live, refused, refused}, {gone, refused, refused}, {gone, net.ErrClosed, errHangUp}, {gone, nil, errHangUp}} {
		if got := why(c.ctx, c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

// TestSlowSignIns: 200 clients whose directory never answers are in nobody's way.
func TestSlowSignIns(t *testing.T) {
	r := startWith(t, "tcp", "connect_freq: {sessions: 10000, seconds: 1}\n")
	var mu sync.Mutex
	waiting := 0
	r.judge(t, method(func(ctx context.Context, c auth.Credentials) (auth.Outcome, error) {
		if c.Username == "quick" {
			return auth.Accepted{Identity: auth.Identity{Username: "quick"}}, nil
		}
		mu.Lock()
		waiting++
		mu.Unlock()
		defer func() {
			mu.Lock()
			waiting--
			mu.Unlock()
		}()
		return silent(ctx, c)
	}))
	r.user, r.password = "quick", "x"
	live, reply := r.connect(t, "ann")
	const many = 200
	var crowd []*dialer
	for i := range many {
		r.user = fmt.Sprint("user", i)
		crowd = append(crowd, r.dial(t, r.tlsConfig(t, "ann")))
	}
	r.until(t, func() bool {
		r.signins.mu.Lock()
		defer r.signins.mu.Unlock()
		return r.signins.total == many
	})

	mu.Lock()
	if waiting != maxChecksSource {
		t.Errorf("%d checks run, want %d", waiting, maxChecksSource)
	}
	mu.Unlock()

	// A live session, somebody with another source, and somebody with a certificate alone.
	before := time.Now()
	live.ping(t, reply.Address.Addr())
	if took := time.Since(before); took > time.Second {
		t.Errorf("a ping took %v", took)
	}
	r.source, r.user = "127.0.0.2", "quick"
	_, other := r.connect(t, "bob")
	if !other.Address.IsValid() {
		t.Errorf("given %+v", other)
	}
	r.source = ""
	g, err := newGeneration(r.config(t, r.text), r.gen.Load(), r.leave)
	if err != nil {
		t.Fatal(err)
	}
	r.gen.Store(g) // certificates alone
	r.user, r.password = "", ""
	d, reply := r.connect(t, "bob")
	d.ping(t, reply.Address.Addr())

	// They go, and their checks with them.
	for _, d := range crowd {
		d.conn.Close()
	}
	r.until(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		r.signins.mu.Lock()
		defer r.signins.mu.Unlock()
		return waiting == 0 && r.signins.total == 0
	})
}

// TestMethodFails: a directory that cannot be asked is not the client's fault, and nobody gets in.
func TestMethodFails(t *testing.T) {
	r := start(t, "udp")
	for name, m := range map[string]auth.Method{
		"error": method(func(context.Context, auth.Credentials) (auth.Outcome, error) {
			return nil, errors.New("connection refused")
		}),
		"nothing": method(func(context.Context, auth.Credentials) (auth.Outcome, error) { return nil, nil }),
		"yes and error": method(func(context.Context, auth.Credentials) (auth.Outcome, error) {
			return auth.Accepted{Identity: auth.Identity{Username: "ann"}}, errors.New("half a yes")
		}),
	} {
		t.Run(name, func(t *testing.T) {
			r.judge(t, m)
			r.user, r.password = "ann", "secret"
			if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Reason != tellCannot {
				t.Errorf("told %+v", ev)
			}
		})
	}
	if !containsLog(r, "connection refused") {
		t.Error("the log does not say why")
	}
	failures := r.Metrics().AuthenticationFailures
	r.judge(t, method(func(context.Context, auth.Credentials) (auth.Outcome, error) { return nil, errCrowded }))
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); "TEMP:"+ev.Reason != tellCrowded && ev.Reason != tellCrowded {
		t.Errorf("told %+v", ev)
	}
	if now := r.Metrics().AuthenticationFailures; now != failures || now == 0 {
		t.Errorf("%d failed after %d: nothing was checked", now, failures)
	}
	if len(r.Connections()) != 0 {
		t.Error("somebody is in")
	}
}

// TestChallenge: what a method asks for arrives as it is.
func TestChallenge(t *testing.T) {
	r := start(t, "udp")
	r.judge(t, method(func(_ context.Context, c auth.Credentials) (auth.Outcome, error) {
		if c.Password == "CRV1::state::42" {
			return auth.Accepted{Identity: auth.Identity{Username: c.Username}}, nil
		}
		return auth.Challenge{Text: "CRV1:R,E:state:YW5u:How many?"}, nil
	}))
	r.user, r.password = "ann", "secret"
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.Challenge || ev.Reason != "CRV1:R,E:state:YW5u:How many?" {
		t.Errorf("told %+v", ev)
	}
	r.password = "CRV1::state::42"
	r.connect(t, "ann")
}

// noToken makes clients go on with their password.
func noToken(c *ovpn.Config) { c.Filter = push.Filter{{Action: push.Ignore, Prefix: "auth-token"}} }

// established is the peer of the one client that is connected.
func (r *running) established(t *testing.T) *peer {
	t.Helper()
	list := slices.DeleteFunc(r.peers.all(), func(p *peer) bool { return p.status.Load() == nil })
	if len(list) != 1 {
		t.Fatalf("%d clients", len(list))
	}
	return list[0]
}

func rekey(now time.Time, s *ovpn.Session) error { return s.Renegotiate(now) }

// rekey begins a new key, once the first one is known to work: nothing would happen before.
func (r *running) rekey(t *testing.T, p *peer) {
	t.Helper()
	r.until(t, p.data.Ready)
	p.do <- rekey
}

// TestRenegotiation: data flows while a password is checked again; a no ends the session.
func TestRenegotiation(t *testing.T) {
	for _, yes := range []bool{true, false} {
		t.Run(fmt.Sprint(yes), func(t *testing.T) {
			r := start(t, "udp")
			m := &slowly{word: make(chan bool, 1)}
			r.judge(t, m)
			r.user, r.password, r.client = "ann", "secret", noToken
			m.word <- true
			d, reply := r.connect(t, "ann")
			me := reply.Address.Addr()
			d.ping(t, me)
			p := r.established(t)
			r.rekey(t, p)
			r.until(t, func() bool { return m.called() == 2 })
			d.ping(t, me)
			m.word <- yes
			if !yes {
				if ev := wait[ovpn.AuthFailed](t, d); ev.Reason != "no" {
					t.Errorf("told %+v", ev)
				}
				r.until(t, func() bool { return len(r.Connections()) == 0 })
				return
			}
			r.until(t, func() bool {
				done := make(chan bool, 1)
				p.do <- func(time.Time, *ovpn.Session) error { done <- p.judging == nil; return nil }
				return <-done
			})
			d.ping(t, me)
		})
	}
}

// TestIdentityStays: a session cannot become another person's; groups may change.
func TestIdentityStays(t *testing.T) {
	for _, tt := range []struct {
		name string
		next auth.Identity
		ok   bool
	}{
		{"other groups", auth.Identity{Username: "ann", Groups: []string{"b"}}, true},
		{"another user", auth.Identity{Username: "eve"}, false},
		{"another certificate", auth.Identity{Username: "ann", CommonName: "eve"}, false},
		{"nobody", auth.Identity{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, "udp")
			who := make(chan auth.Identity, 2)
			r.judge(t, method(func(context.Context, auth.Credentials) (auth.Outcome, error) {
				return auth.Accepted{Identity: <-who}, nil
			}))
			r.user, r.password, r.client = "ann", "secret", noToken
			who <- auth.Identity{Username: "ann", Groups: []string{"a"}}
			who <- tt.next
			d, reply := r.connect(t, "ann")
			d.ping(t, reply.Address.Addr())
			p := r.established(t)
			r.rekey(t, p)
			if tt.ok {
				r.until(t, func() bool { return slices.Equal(p.status.Load().identity.Groups, tt.next.Groups) })
				d.ping(t, reply.Address.Addr())
				return
			}
			if ev := wait[ovpn.AuthFailed](t, d); ev.Reason != "the identity changed" {
				t.Errorf("told %+v", ev)
			}
			r.until(t, func() bool { return len(r.Connections()) == 0 })
		})
	}
}

// TestUsersReload: a file of users is read again without a reset; another way to sign in is one.
func TestUsersReload(t *testing.T) {
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n"))
	_, d, _ := r.gen.Load().cfg.Methods()
	r.user, r.password = "eve", "secret"
	none := func() *tls.Config {
		c := r.tlsConfig(t, "ann")
		c.Certificates = nil
		return c
	}
	wait[ovpn.AuthFailed](t, r.dial(t, none()))
	text, err := os.ReadFile(d.Users)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Users, []byte(strings.ReplaceAll(string(text), "ann", "eve")), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil || n != 0 {
		t.Fatalf("reset %d, %v", n, err)
	}
	c := r.dial(t, none())
	wait[ovpn.PushReply](t, c)
	if err := os.WriteFile(d.Users, []byte("users: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reload(t.Context(), r.config(t, r.text)); err == nil || !strings.Contains(err.Error(), "no users in it") {
		t.Errorf("got %v", err)
	}
	if len(r.Connections()) != 1 {
		t.Error("a failed reload ended a session")
	}
	both := strings.Replace(r.text, "authentication:\n", "authentication:\n  - mutual: {}\n", 1)
	if err := os.WriteFile(d.Users, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Reload(t.Context(), r.config(t, both)); err != nil || n != 1 {
		t.Errorf("reset %d, %v", n, err)
	}
}
