package endpoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
)

// accepts takes everybody for who they say they are.
func accepts(_ context.Context, c auth.Credentials) (auth.Outcome, error) {
	return auth.Accepted{Identity: auth.Identity{Username: c.Username}}, nil
}

// TestTokenStaysWithItsCertificate: with certificates and passwords, the token stands for the
// password alone: it is no good beside another certificate, neither when a client comes back nor
// when it negotiates a new key.
func TestTokenStaysWithItsCertificate(t *testing.T) {
	t.Run("coming back", func(t *testing.T) {
		r := start(t, "udp")
		r.judge(t, method(accepts))
		r.user, r.password = "ann", "secret"
		_, reply := r.connect(t, "ann")
		r.password = reply.AuthToken
		if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "bob"))); ev.Kind != ovpn.SessionExpired {
			t.Errorf("told %+v", ev)
		}
		r.until(t, func() bool { return containsLog(r, "another certificate") })
		r.connect(t, "ann")
	})
	t.Run("renegotiation", func(t *testing.T) {
		r := start(t, "udp")
		r.judge(t, method(accepts))
		r.user, r.password = "ann", "secret"
		ann, bob := r.tlsConfig(t, "ann"), r.tlsConfig(t, "bob")
		var other atomic.Bool
		cfg := ann.Clone()
		cfg.Certificates = nil
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if other.Load() {
				return &bob.Certificates[0], nil
			}
			return &ann.Certificates[0], nil
		}
		d := r.dial(t, cfg)
		d.ping(t, wait[ovpn.PushReply](t, d).Reply.Address.Addr())
		other.Store(true)
		p := r.established(t)
		r.until(t, func() bool {
			select {
			case p.do <- rekey: // nothing happens before the first key is known to work
			default: // it has ended
			}
			return len(d.events) > 0
		})
		wait[ovpn.AuthFailed](t, d)
		r.until(t, func() bool { return len(r.Connections()) == 0 })
	})
}

// TestUsersReloadEndsTokens: who is no longer in the file of users is out, and stays out with a
// token; who is in other groups comes back with those.
func TestUsersReloadEndsTokens(t *testing.T) {
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n"))
	_, dir, _ := r.gen.Load().cfg.Methods()
	r.user, r.password = "ann", "secret"
	d, reply := r.connect(t, "ann")
	text, err := os.ReadFile(dir.Users)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(from, to string, reset int) {
		t.Helper()
		if err := os.WriteFile(dir.Users, []byte(strings.ReplaceAll(string(text), from, to)), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil || n != reset {
			t.Fatalf("reset %d, %v", n, err)
		}
	}
	reload("[admins]", "[guests]", 0)
	r.until(t, func() bool {
		p := r.established(t)
		p.do <- rekey // nothing happens before the first key is known to work
		return fmt.Sprint(p.status.Load().identity.Groups) == "[guests]"
	})
	reload("name: ann", "name: eve", 1)
	wait[ovpn.PeerExit](t, d)
	r.password = reply.AuthToken
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.SessionExpired {
		t.Errorf("told %+v", ev)
	}
}

// TestChangedPasswordEndsTokens: whose password changed in the file of users keeps the session, and has to
// show the new one when a token comes next: at once, and in the endpoint's next run. Other users' tokens are good.
func TestChangedPasswordEndsTokens(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token.key")
	key := pem.EncodeToMemory(&pem.Block{Type: "OpenVPN auth-token server key", Bytes: bytes.Repeat([]byte{7}, 128)})
	if err := os.WriteFile(secret, key, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]func(t *testing.T, r *running){
		"reload": func(t *testing.T, r *running) {
			if n, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil || n != 0 {
				t.Fatalf("reset %d, %v", n, err)
			}
		},
		"next run": func(t *testing.T, r *running) {
			kept, err := r.SignIns()
			if err != nil {
				t.Fatal(err)
			}
			l := r.leave
			l.SignIns = kept
			again, err := New(r.config(t, r.text), l)
			if err != nil {
				t.Fatal(err)
			}
			r.signedIn.mu.Lock()
			defer r.signedIn.mu.Unlock()
			r.signedIn.by, r.signedIn.of = again.signedIn.by, again.signedIn.of
			r.gen.Store(again.gen.Load())
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n")+fmt.Sprintf("auth_token: {secret: %q}\n", secret))
			_, dir, _ := r.gen.Load().cfg.Methods()
			text, err := os.ReadFile(dir.Users)
			if err != nil {
				t.Fatal(err)
			}
			hash, err := bcrypt.GenerateFromPassword([]byte("another"), bcrypt.MinCost)
			if err != nil {
				t.Fatal(err)
			}
			users := string(text) + fmt.Sprintf("  - {name: bob, password: %q}\n", hash)
			write := func(text string) {
				t.Helper()
				if err := os.WriteFile(dir.Users, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(users)
			if _, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil {
				t.Fatal(err)
			}
			r.user, r.password = "bob", "another"
			_, bob := r.connect(t, "bob")
			r.user, r.password = "ann", "secret"
			_, ann := r.connect(t, "ann")
			lines := strings.SplitAfter(users, "\n")
			if !strings.Contains(lines[1], "name: ann") {
				t.Fatal(users)
			}
			_, rest, _ := strings.Cut(lines[1], ", groups")
			lines[1] = fmt.Sprintf("  - {name: ann, password: %q, groups%s", hash, rest)
			write(strings.Join(lines, ""))
			next(t, r)

			r.password = ann.AuthToken
			if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.SessionExpired {
				t.Errorf("told %+v", ev)
			}
			r.until(t, func() bool { return containsLog(r, "before the password of \\\"ann\\\" changed") })
			r.password = "secret"
			if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.Denied {
				t.Errorf("told %+v", ev)
			}
			r.password = "another"
			_, ann = r.connect(t, "ann")
			r.password = ann.AuthToken
			r.connect(t, "ann")
			r.user, r.password = "bob", bob.AuthToken
			r.connect(t, "bob")
		})
	}
}

// TestUserChangesDuringSignIn: who is taken out of the file, or gets another password, between the check and the
// configuration gets none.
func TestUserChangesDuringSignIn(t *testing.T) {
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n"))
	_, dir, _ := r.gen.Load().cfg.Methods()
	r.user, r.password = "ann", "secret"
	r.connect(t, "ann")
	p := r.established(t)
	text, err := os.ReadFile(dir.Users)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.Users, []byte(strings.Replace(string(text), "groups: [admins]", "totp: JBSWY3DPEHPK3PXP", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := newGeneration(r.config(t, r.text), r.gen.Load(), r.leave)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.settle(); !ok {
		t.Error("refused before the change")
	}
	r.gen.Store(next)
	if _, ok := p.settle(); ok {
		t.Error("settled after the change")
	}
}

// TestLateSignInKeepsNoToken: a sign-in that was judged before a reload asks for another proof leaves
// nothing behind that is good after it.
func TestLateSignInKeepsNoToken(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token.key")
	key := pem.EncodeToMemory(&pem.Block{Type: "OpenVPN auth-token server key", Bytes: bytes.Repeat([]byte{7}, 128)})
	if err := os.WriteFile(secret, key, 0o600); err != nil {
		t.Fatal(err)
	}
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n")+fmt.Sprintf("auth_token: {secret: %q}\n", secret))
	before := r.gen.Load()
	r.user, r.password = "ann", "secret"
	d, _ := r.connect(t, "ann")
	p := r.established(t)
	both := strings.Replace(r.text, "authentication:\n", "authentication:\n  - mutual: {}\n", 1)
	if _, err := r.Reload(t.Context(), r.config(t, both)); err != nil {
		t.Fatal(err)
	}
	wait[ovpn.PeerExit](t, d)
	// What p's goroutine would do if the answer came between the reload and its end.
	late := &peer{server: r.Server, ctx: p.ctx}
	late.gen.Store(before)
	if _, err := late.giveToken(time.Now(), &judging{by: before, asked: ovpn.Credentials{Username: "ann", Password: "secret"}, proved: auth.Identity{Username: "ann"}}); err != nil {
		t.Fatal(err)
	}
	outcome := late.byToken(r.gen.Load(), ovpn.Credentials{Username: "ann", Password: late.token}, auth.Identity{})
	if _, denied := outcome.(auth.Denied); !denied {
		t.Errorf("a token of before the reload: %+v", outcome)
	}
	if kept, err := r.SignIns(); err != nil || kept != nil {
		t.Errorf("kept %s, %v", kept, err)
	}
}

// TestTokenExpiresMeanwhile: a token that was good when it was shown, and is not after the connect handler has thought about it, makes no
// new sign-in.
func TestTokenExpiresMeanwhile(t *testing.T) {
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n"))
	r.user, r.password = "ann", "secret"
	_, reply := r.connect(t, "ann")
	first := r.established(t).status.Load().signedIn
	over := *r.gen.Load()
	over.tokens = over.tokens.Lasting(time.Hour, time.Nanosecond)
	late := &peer{server: r.Server}
	late.gen.Store(&over)
	since, err := late.giveToken(time.Now(), &judging{by: &over, asked: ovpn.Credentials{Username: "ann", Password: reply.AuthToken}, proved: auth.Identity{Username: "ann"}})
	if err != nil || !since.Equal(first) || !auth.SameSession(late.token, reply.AuthToken) {
		t.Errorf("signed in %v, was %v; %v", since, first, err)
	}
}

// TestRenewalRevivesNothing: a token that is revoked while it is being renewed stays revoked.
func TestRenewalRevivesNothing(t *testing.T) {
	m := newSignedIn()
	id := auth.TokenSession{1}
	now := time.Now()
	m.put(now, testTokens(t), id, signIn{until: now.Add(time.Hour)})
	if _, ok := m.renew(id, auth.Identity{Username: "ann"}, "", now.Add(2*time.Hour), "a"); !ok {
		t.Fatal("not renewed")
	}
	if s, _ := m.get(id); s.identity.Username != "ann" || !s.until.Equal(now.Add(2*time.Hour)) {
		t.Errorf("renewed %+v", s)
	}
	m.forget(id)
	if _, ok := m.renew(id, auth.Identity{}, "", now.Add(time.Hour), "a"); ok {
		t.Error("renewed what was revoked")
	}
	if _, there := m.get(id); there {
		t.Error("the revoked sign-in is back")
	}
}
