package endpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/outputtest"
)

// TestTokenKeepsIdentity: who comes back with a token is who signed in, groups included, whatever
// the name that was typed; until the administrator ends it.
func TestTokenKeepsIdentity(t *testing.T) {
	r := start(t, "udp")
	calls := 0
	r.judge(t, method(func(context.Context, auth.Credentials) (auth.Outcome, error) {
		calls++
		return auth.Accepted{Identity: auth.Identity{Username: "ann@example.test", Groups: []string{"admins"}}}, nil
	}))
	r.user, r.password = "Ann", "secret"
	d, reply := r.connect(t, "ann")
	d.cancel()
	<-d.done
	r.until(t, func() bool { return len(r.Connections()) == 0 })
	r.password = reply.AuthToken
	d, reply = r.connect(t, "ann")
	st := r.established(t).status.Load()
	if st.identity.Username != "ann@example.test" || !slices.Equal(st.identity.Groups, []string{"admins"}) || calls != 1 {
		t.Errorf("came back as %+v after %d checks", st.identity, calls)
	}
	if !st.signedIn.Before(st.since) {
		t.Errorf("signed in %v, here since %v", st.signedIn, st.since)
	}
	if ids, n := r.Terminate("", "ann@example.test"); len(ids) != 1 || n != 1 {
		t.Errorf("terminated %v, %d sign-ins", ids, n)
	}
	if ev := wait[ovpn.PeerExit](t, d); ev.Kind != "halt" {
		t.Errorf("told %+v", ev)
	}
	r.password = reply.AuthToken
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.SessionExpired {
		t.Errorf("told %+v", ev)
	}
}

// TestTerminateAsleep: the sign-in of somebody whose machine sleeps is revoked by the user's name, or by the id of the connection
// that was the last one; nobody else's is.
func TestTerminateAsleep(t *testing.T) {
	r := start(t, "udp")
	r.judge(t, method(func(_ context.Context, c auth.Credentials) (auth.Outcome, error) {
		return auth.Accepted{Identity: auth.Identity{Username: c.Username}}, nil
	}))
	tokens := map[string]push.Secret{}
	sleeps := func(name string) (id string) {
		t.Helper()
		if r.user, r.password = name, tokens[name]; r.password == "" {
			r.password = "secret"
		}
		d, reply := r.connect(t, "ann")
		tokens[name] = reply.AuthToken
		id = r.established(t).name
		d.cancel()
		<-d.done
		r.until(t, func() bool { return len(r.Connections()) == 0 })
		return id
	}
	refused := func(name string) {
		t.Helper()
		r.user, r.password = name, tokens[name]
		if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.SessionExpired {
			t.Errorf("%s was told %+v", name, ev)
		}
	}
	sleeps("ann")
	bobs := sleeps("bob")
	control := httptest.NewServer(ControlHandler(one{Server: r.Server}))
	defer control.Close()
	for _, answer := range []string{`{"terminated":[],"sign_ins_revoked":1}`, `{"error":"no connection of ANN, and nobody who could come back without signing in"}`} {
		res, err := http.Post(control.URL+"/v1/terminate", "application/json", strings.NewReader(`{"user":"ANN"}`))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if strings.TrimSpace(string(got)) != answer {
			t.Errorf("answered %s, want %s", got, answer)
		}
	}
	refused("ann")
	if r.SignedIn("", "ann") || !r.SignedIn("", "bob") || !r.SignedIn(bobs, "") {
		t.Error("not ann's sign-in was revoked")
	}
	last := sleeps("bob") // without a password
	if ids, n := r.Terminate(bobs, ""); len(ids) != 0 || n != 0 {
		t.Errorf("an old connection's id: terminated %v, %d sign-ins", ids, n)
	}
	if ids, n := r.Terminate(last, ""); len(ids) != 0 || n != 1 {
		t.Errorf("the last connection's id: terminated %v, %d sign-ins", ids, n)
	}
	refused("bob")

	// Revoked just before the client would be given its configuration.
	delete(tokens, "bob")
	r.user, r.password = "bob", "secret"
	r.connect(t, "ann")
	p := r.established(t)
	p.server.signedIn.forget(p.status.Load().session)
	if _, ok := p.settle(); ok {
		t.Error("a revoked sign-in is settled")
	}
}

// TestTokenTakesOver: a client that comes back with its token gets its address at once, and its old session
// ends; another sign-in of the same person is another client.
func TestTokenTakesOver(t *testing.T) {
	r := start(t, "udp")
	r.judge(t, method(func(_ context.Context, c auth.Credentials) (auth.Outcome, error) {
		return auth.Accepted{Identity: auth.Identity{Username: c.Username}}, nil
	}))
	r.user, r.password = "ann", "secret"
	d, first := r.connect(t, "ann")
	d.ping(t, first.Address.Addr())
	_, other := r.connect(t, "ann")
	if other.Address == first.Address {
		t.Error("two sign-ins have one address")
	}
	r.password = first.AuthToken
	again, reply := r.connect(t, "ann")
	if reply.Address != first.Address {
		t.Errorf("came back as %s, was %s", reply.Address, first.Address)
	}
	again.ping(t, reply.Address.Addr())
	if ev := wait[ovpn.PeerExit](t, d); ev.Kind != "restart" || !ev.KeepCredentials {
		t.Errorf("told %+v", ev)
	}
	r.until(t, func() bool { return len(r.Connections()) == 2 })
}

// TestSessionTimeout: a session ends when its time is over, counted from the sign-in; what the client
// does then is the endpoint's choice. A shorter time holds for those who are there.
func TestSessionTimeout(t *testing.T) {
	for _, tt := range []struct {
		disconnect bool
		kind       string
	}{{true, "halt"}, {false, "restart"}} {
		t.Run(tt.kind, func(t *testing.T) {
			r := start(t, "udp")
			cfg := r.config(t, r.text)
			cfg.DisconnectOnTimeout = tt.disconnect
			accept := method(func(_ context.Context, c auth.Credentials) (auth.Outcome, error) {
				return auth.Accepted{Identity: auth.Identity{Username: c.Username}}, nil
			})
			r.gen.Store(r.withMethod(t, cfg, accept))
			r.user, r.password = "ann", "secret"
			d, reply := r.connect(t, "ann")
			d.ping(t, reply.Address.Addr())
			cfg.SessionTimeout = time.Millisecond
			if next := r.withMethod(t, cfg, accept); !r.established(t).adopt(next) {
				t.Fatal("reset")
			}
			if ev := wait[ovpn.PeerExit](t, d); ev.Kind != tt.kind || !strings.Contains(ev.Reason, "session time is over") {
				t.Errorf("told %+v", ev)
			}
			r.password = reply.AuthToken
			if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.SessionExpired {
				t.Errorf("told %+v", ev)
			}
		})
	}
}

// TestSignInsOutliveTheEndpoint: with a secret in a file, tokens are good in the next run, unless
// people must prove themselves in another way then. Without one they are not.
func TestSignInsOutliveTheEndpoint(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token.key")
	text := pem.EncodeToMemory(&pem.Block{Type: "OpenVPN auth-token server key", Bytes: bytes.Repeat([]byte{7}, 128)})
	if err := os.WriteFile(secret, text, 0o600); err != nil {
		t.Fatal(err)
	}
	methods := withUsers(t, "  - directory: {users: USERS}\n")
	for _, tt := range []struct {
		name, more, then string
		ok               bool
	}{
		{"secret", fmt.Sprintf("auth_token: {secret: %q}\n", secret), "", true},
		{"no secret", "", "", false},
		{"another method", fmt.Sprintf("auth_token: {secret: %q}\n", secret), "  - mutual: {}\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := startWith(t, "udp", methods+tt.more)
			r.user, r.password = "ann", "secret"
			d, reply := r.connect(t, "ann")
			d.cancel()
			<-d.done
			kept, err := r.SignIns()
			if err != nil || (kept != nil) != (tt.more != "") || bytes.Contains(kept, []byte(reply.AuthToken)) {
				t.Fatalf("kept %s, %v", kept, err)
			}
			l := r.leave
			l.SignIns = kept
			cfg := r.config(t, strings.Replace(r.text, "authentication:\n", "authentication:\n"+tt.then, 1))
			next, err := New(cfg, l)
			if err != nil {
				t.Fatal(err)
			}
			who, ok := next.signedIn.get(auth.SessionOf(reply.AuthToken))
			good := next.gen.Load().tokens.Verify("ann", reply.AuthToken) == nil
			if (ok && good) != tt.ok || ok && (who.identity.Username != "ann" || !slices.Equal(who.identity.Groups, []string{"admins"}) || who.since.IsZero() || who.last == "") {
				t.Errorf("in the next run: %+v %v, token %v", who, ok, good)
			}
			// A file that is damaged, in its middle or at its end, is one line in the log, and nobody is signed in.
			if !tt.ok {
				return
			}
			whole := strings.TrimSuffix(string(kept), "]}")
			for _, text := range []string{"{", "\x00", whole, whole + `,{"session":"zz"}]}`, whole + `,{"session":7}]}`} {
				log := &outputtest.Output{}
				l.SignIns, l.Log = []byte(text), slog.New(slog.NewTextHandler(log, nil))
				next, err := New(cfg, l)
				if err != nil || len(next.signedIn.by) != 0 {
					t.Errorf("after a damaged file %s: %v", text, err)
				}
				if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "people must sign in again") {
					t.Errorf("the log after a damaged file: %s", log)
				}
			}
		})
	}
}

// TestOtherMethodsEndTokens: a reload that makes people prove themselves otherwise ends their tokens.
func TestOtherMethodsEndTokens(t *testing.T) {
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n"))
	r.user, r.password = "ann", "secret"
	d, reply := r.connect(t, "ann")
	both := strings.Replace(r.text, "authentication:\n", "authentication:\n  - mutual: {}\n", 1)
	if n, err := r.Reload(t.Context(), r.config(t, both)); err != nil || n != 1 {
		t.Fatalf("reset %d, %v", n, err)
	}
	wait[ovpn.PeerExit](t, d)
	r.password = reply.AuthToken
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.SessionExpired {
		t.Errorf("told %+v", ev)
	}
	r.password = "secret"
	r.connect(t, "ann")
}

// TestCertificatesKeepTokens: which list and which CA certificates are judged by is no matter of passwords. A list of another name is
// another list, as each import by the API is, and resets the session, which comes back without a password. A CA that is in another
// file, as after the renewal of an imported certificate that has it in its chain, is the same CA.
func TestCertificatesKeepTokens(t *testing.T) {
	r := startWith(t, "udp", withUsers(t, "  - mutual: {}\n  - directory: {users: USERS}\n"))
	list, err := r.pki.CRL(0)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(r.pki.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	r.reloads(t, 0)
	moved := map[string]string{}
	for name, text := range map[string][]byte{"crl-1.pem": list, "crl-2.pem": list, "chain.pem": ca} {
		moved[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(moved[name], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := r.text
	r.user, r.password = "ann", "secret"
	d, reply := r.connect(t, "ann")
	for _, tt := range []struct {
		mutual string
		reset  int
	}{
		{fmt.Sprintf("{crl: %q}", moved["crl-1.pem"]), 1},
		{fmt.Sprintf("{crl: %q}", moved["crl-2.pem"]), 1},
		{fmt.Sprintf("{crl: %q, ca: %q}", moved["crl-2.pem"], moved["chain.pem"]), 0},
	} {
		r.text = strings.Replace(before, "mutual: {}", "mutual: "+tt.mutual, 1)
		r.reloads(t, tt.reset)
		if tt.reset > 0 {
			wait[ovpn.PeerExit](t, d)
			r.password = reply.AuthToken
			d, reply = r.connect(t, "ann")
		}
		d.ping(t, reply.Address.Addr())
	}
}

// testTokens last for a session of eight hours, each for sixteen.
func testTokens(t *testing.T) *auth.Tokens {
	t.Helper()
	tokens, err := auth.NewTokens(nil, 8*time.Hour, 8*time.Hour, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// number makes the id of a sign-in.
func number(n int) (id auth.TokenSession) {
	binary.BigEndian.PutUint32(id[:], uint32(n))
	return id
}

// TestOwnSignInsGo: who signs in again and again loses sign-ins of his own, that which was used longest ago first, and nobody else's;
// and many of one person hold one list of groups.
func TestOwnSignInsGo(t *testing.T) {
	m, now, tokens := newSignedIn(), time.Now(), testTokens(t)
	sign := func(n int, name string) {
		id := number(n)
		m.put(now, tokens, id, signIn{identity: auth.Identity{Username: name, Groups: []string{"a", "b"}}, since: now, until: now.Add(time.Hour)})
	}
	there := func(n int) bool { _, ok := m.get(number(n)); return ok }
	sign(0, "bob")
	for n := range maxOfOne {
		sign(1+n, "ann")
	}
	if _, ok := m.renew(number(1), auth.Identity{Username: "ann", Groups: []string{"a", "b"}}, "", now.Add(time.Hour), ""); !ok || !there(1) || !there(2) {
		t.Fatal("some are missing")
	}
	sign(1+maxOfOne, "ann")
	if there(2) || !there(1) || !there(3) || !there(0) {
		t.Error("not the one that was used longest ago has gone")
	}
	groups := func(n int) *string { s, _ := m.get(number(n)); return &s.identity.Groups[0] }
	if groups(1) != groups(3) || groups(1) != groups(1+maxOfOne) || groups(0) == groups(1) {
		t.Error("groups are there more than once")
	}
	// Full: of whoever has most. Others have two at the most.
	for n := len(m.by); n < maxSignedIn; n++ {
		sign(10000+n, fmt.Sprint("user", n/2))
	}
	for n := range 200 {
		sign(1_000_000+n, fmt.Sprint("new", n))
	}
	if len(m.by) != maxSignedIn || len(m.of["ann"]) != maxOfOne-200 || !there(0) || !there(1_000_000) || !there(1+maxOfOne) {
		t.Errorf("%d in all, %d of ann", len(m.by), len(m.of["ann"]))
	}
	for name, list := range m.of {
		for _, id := range list {
			if s, ok := m.by[id]; !ok || s.identity.Name() != name {
				t.Fatalf("%s has %x", name, id)
			}
		}
	}
	m.clear()
	sign(1, "ann")
	m.forget(number(1))
	if len(m.by)+len(m.of) != 0 {
		t.Errorf("%v %v", m.by, m.of)
	}
}

// TestSignInsOver: a sign-in whose session time is over is none that somebody could come back with, however long its token could be
// renewed; and one that was terminated then does not come back with a longer time.
func TestSignInsOver(t *testing.T) {
	r := start(t, "udp")
	r.judge(t, method(func(_ context.Context, c auth.Credentials) (auth.Outcome, error) {
		return auth.Accepted{Identity: auth.Identity{Username: c.Username}}, nil
	}))
	r.user, r.password = "ann", "secret"
	d, reply := r.connect(t, "ann")
	d.cancel()
	<-d.done
	r.until(t, func() bool { return len(r.Connections()) == 0 })
	fresh := r.gen.Load()
	over := *fresh
	over.tokens = over.tokens.Lasting(time.Millisecond, time.Hour)
	over.lasting.Secret = "there" // so that they would be kept
	time.Sleep(2 * time.Millisecond)
	if !r.SignedIn("", "ann") {
		t.Error("it is over already")
	}
	r.gen.Store(&over)
	if kept, err := r.SignIns(); r.SignedIn("", "ann") || err != nil || kept != nil {
		t.Errorf("it is not over: %s, %v", kept, err)
	}
	if ids, n := r.Terminate("", "ann"); len(ids) != 0 || n != 0 {
		t.Errorf("terminated %v, %d sign-ins", ids, n)
	}
	r.gen.Store(fresh)
	r.password = reply.AuthToken
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Kind != ovpn.SessionExpired {
		t.Errorf("told %+v", ev)
	}
	m, id, now := newSignedIn(), number(1), time.Now()
	m.put(now, testTokens(t), id, signIn{since: now.Add(-9 * time.Hour), until: now.Add(7 * time.Hour)})
	m.put(now.Add(sweepEvery), testTokens(t), number(2), signIn{since: now, until: now.Add(time.Hour)})
	if _, ok := m.get(id); ok {
		t.Error("it is remembered")
	}
}

func FuzzSignIns(f *testing.F) {
	f.Add([]byte(`{"proof":"p","list":[{"session":"000102030405060708090a0b","user":"ann","groups":["a"]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := newSignedIn()
		if err := m.restore("p", text); err != nil {
			return
		}
		for id := range m.by {
			if s, ok := m.get(id); !ok || len(m.by) > maxSignedIn || !slices.Contains(m.of[s.identity.Name()], id) {
				t.Fatalf("%d sign-ins", len(m.by))
			}
		}
	})
}
