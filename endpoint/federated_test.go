package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"html"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/saml/idp"
	"github.com/adit-vpn/adit/saml/sp"
)

// federate gives r an identity provider, whose metadata is in a file, and methods that name it.
func (r *running) federate(t *testing.T, methods string) *idp.Provider {
	t.Helper()
	key, err := idp.NewKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p, err := idp.New(idp.Config{Base: "http://127.0.0.1:8080", Audience: sp.EntityID, ACS: sp.ACS, Key: key, Now: time.Now,
		SignIn: func(_ context.Context, name, _, _ string) (idp.Person, bool) { return idp.Person{Name: name}, true }})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "idp.xml"), p.Metadata(), 0o600); err != nil {
		t.Fatal(err)
	}
	r.text = strings.Replace(r.text, "  - mutual: {}\n", methods, 1)
	if _, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil {
		t.Fatal(err)
	}
	return p
}

// says waits until the log has something.
func (r *running) says(t *testing.T, what *regexp.Regexp) {
	t.Helper()
	for late := time.Now().Add(patience); !what.MatchString(r.log.String()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the log does not say %s", what)
		}
	}
}

var samlResponse = regexp.MustCompile(`name="SAMLResponse" value="([^"]*)"`)

// browse is the browser's part of a sign-in: it returns the next session's password.
func browse(t *testing.T, p *idp.Provider, refusal, name string) push.Secret {
	t.Helper()
	d, err := challenge.ParseDynamic(refusal)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(d.Text)
	if err != nil {
		t.Fatal(err)
	}
	form := u.Query()
	form.Set("username", name)
	q := httptest.NewRequest("POST", "http://127.0.0.1:8080/sso", strings.NewReader(form.Encode()))
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, q)
	m := samlResponse.FindStringSubmatch(w.Body.String())
	if m == nil {
		t.Fatalf("no response in %s", w.Body)
	}
	return d.Answer(push.Secret(url.QueryEscape(html.UnescapeString(m[1]))))
}

// TestFederatedSession signs in as AWS's clients do: two sessions, the browser between them.
func TestFederatedSession(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		for name, methods := range map[string]string{
			"alone":              "  - federated: {idp_metadata: idp.xml}\n",
			"with a certificate": "  - mutual: {}\n  - federated: {idp_metadata: idp.xml}\n",
		} {
			t.Run(transport+" "+name, func(t *testing.T) {
				r := start(t, transport)
				p := r.federate(t, methods)
				with := r.tlsConfig(t, "ann")
				without := &tls.Config{RootCAs: with.RootCAs, ServerName: ServerName}
				cfg := without
				r.user, r.password = challenge.AWSUser, challenge.AWSHello
				if name != "alone" {
					var pe *ovpn.ProtocolError
					if err := <-r.dial(t, without).done; !errors.As(err, &pe) || pe.Cause != ovpn.CauseTLS {
						t.Errorf("without a certificate: %v", err)
					}
					cfg = with
				}
				first := wait[ovpn.AuthFailed](t, r.dial(t, cfg))
				if first.Kind != ovpn.Challenge {
					t.Fatalf("told %+v", first)
				}
				answer := browse(t, p, first.Reason, "alice@example.com")
				r.password = answer
				// A reload that changes nothing for the provider does not lose the sign-in.
				if _, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil {
					t.Fatal(err)
				}
				d := r.dial(t, cfg)
				reply := wait[ovpn.PushReply](t, d).Reply
				d.ping(t, reply.Address.Addr())
				var user string
				for _, p := range r.peers.all() {
					if st := p.status.Load(); st != nil {
						user = st.identity.Name()
					}
				}
				if user != "alice@example.com" {
					t.Errorf("signed in as %q", user)
				}
				// The answer is good once.
				if ev := wait[ovpn.AuthFailed](t, r.dial(t, cfg)); ev.Kind != ovpn.Denied || ev.Reason != "Invalid username or password" {
					t.Errorf("told %+v", ev)
				}
				r.says(t, regexp.MustCompile("answered already"))
				if strings.Contains(r.log.String(), "user="+challenge.AWSUser) {
					t.Errorf("the log calls somebody %s:\n%s", challenge.AWSUser, r.log)
				}
				// The endpoint's token is good in its place, and for the same person.
				r.password = reply.AuthToken
				again := wait[ovpn.PushReply](t, r.dial(t, cfg)).Reply
				if !auth.IsToken(r.password) || !auth.SameSession(r.password, again.AuthToken) {
					t.Errorf("with the token: %+v", again)
				}
				r.says(t, regexp.MustCompile(`(?s)msg="client connected".* client=alice@example\.com .*msg="client connected"[^\n]* client=alice@example\.com `))
				if _, answer, _ := challenge.ParseAnswer(answer); strings.Contains(r.log.String(), answer.Reveal()[:40]) {
					t.Error("the response is in the log")
				}
			})
		}
	}
}

func TestFederatedFiles(t *testing.T) {
	r := start(t, "udp")
	r.federate(t, "  - federated: {idp_metadata: idp.xml}\n")
	for _, tc := range []struct{ name, methods, want string }{
		{"no file", "  - federated: {idp_metadata: other.xml}\n", "other.xml"},
		{"another file", "  - federated: {idp_metadata: adit-endpoint.key}\n", "saml metadata: malformed"},
		{"no built-in provider", "  - federated: {idp: demo}\n", "does not run"},
	} {
		if err := os.WriteFile(filepath.Join(r.dir, "adit-endpoint.key"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(r.text, "  - federated: {idp_metadata: idp.xml}\n", tc.methods, 1)
		if _, err := r.Reload(t.Context(), r.config(t, text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// TestCheckFederated: adit-endpoint check reads the metadata.
func TestCheckFederated(t *testing.T) {
	dir := t.TempDir()
	key, err := idp.NewKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p, err := idp.New(idp.Config{Base: "http://127.0.0.1:8080", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"idp.xml": string(p.Metadata()), "bad.xml": "<x/>",
		"good.yaml":  strings.Replace(BuiltinText(DefaultListen(), "udp", "userspace"), "  - mutual: {}\n", "  - federated: {idp_metadata: idp.xml}\n", 1),
		"none.yaml":  strings.Replace(BuiltinText(DefaultListen(), "udp", "userspace"), "  - mutual: {}\n", "  - federated: {idp_metadata: no.xml}\n", 1),
		"bad.yaml":   strings.Replace(BuiltinText(DefaultListen(), "udp", "userspace"), "  - mutual: {}\n", "  - federated: {idp_metadata: bad.xml}\n", 1),
		"users.yaml": strings.Replace(BuiltinText(DefaultListen(), "udp", "userspace"), "  - mutual: {}\n", "  - federated: {idp: demo, users: bad.xml}\n", 1),
		"demo.yaml":  strings.Replace(BuiltinText(DefaultListen(), "udp", "userspace"), "  - mutual: {}\n", "  - federated: {idp: demo}\n", 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		file string
		at   time.Time
		want string // mistake
		note string
	}{
		{"good.yaml", time.Now(), "", ""},
		{"users.yaml", time.Now(), "bad.xml", ""},
		{"demo.yaml", time.Now(), "", ""},
		{"none.yaml", time.Now(), "no.xml cannot be read", ""},
		{"bad.yaml", time.Now(), "bad.xml cannot be used", ""},
		{"good.yaml", key.Certificate.NotAfter.Add(-time.Hour), "", "the identity provider's certificate"},
		{"good.yaml", key.Certificate.NotAfter.Add(time.Hour), "expired on", ""},
	} {
		_, notes, err := CheckConfig(filepath.Join(dir, tc.file), os.ReadFile, tc.at)
		var mistakes ConfigErrors
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.file, err)
		case tc.want != "" && (!errors.As(err, &mistakes) || !strings.Contains(err.Error(), tc.want) || mistakes[0].Line == 0 || !strings.Contains(mistakes[0].Field, ".federated.")):
			t.Errorf("%s: %v, want %q", tc.file, err, tc.want)
		}
		if !strings.Contains(strings.Join(notes, "\n"), tc.note) || tc.note == "" && len(notes) > 0 {
			t.Errorf("%s: notes %q", tc.file, notes)
		}
	}
}
