package auth

import (
	"context"
	"encoding/base64"
	"html"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/saml/idp"
	"github.com/adit-vpn/adit/saml/sp"
)

// federation is a Federated with its identity provider, under one clock.
type federation struct {
	*testing.T
	now    time.Time
	idp    *idp.Provider
	method *Federated
}

func newFederation(t *testing.T) *federation {
	t.Helper()
	f := &federation{T: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return f.now }
	key, err := idp.NewKey(f.now)
	if err != nil {
		t.Fatal(err)
	}
	f.idp, err = idp.New(idp.Config{Base: "http://127.0.0.1:8080", Audience: sp.EntityID, ACS: sp.ACS, Key: key, Now: clock,
		SignIn: func(_ context.Context, name, _, _ string) (idp.Person, bool) {
			return idp.Person{Name: name, Groups: []string{"VPN-Users"}}, name != "nobody"
		}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := sp.ParseMetadata(f.idp.Metadata(), f.now)
	if err != nil {
		t.Fatal(err)
	}
	f.method = NewFederated(m, clock)
	return f
}

func (f *federation) check(password string) Outcome {
	f.Helper()
	out, err := f.method.Check(context.Background(), Credentials{Username: challenge.AWSUser, Password: push.Secret(password)})
	if err != nil {
		f.Fatal(err)
	}
	return out
}

// ask begins a sign-in.
func (f *federation) ask() challenge.Dynamic {
	f.Helper()
	c, ok := f.check(challenge.AWSHello).(Challenge)
	if !ok {
		f.Fatal("no challenge")
	}
	d, err := challenge.ParseDynamic(c.Text)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

var responseField = regexp.MustCompile(`name="SAMLResponse" value="([^"]*)"`)

// browse does what person and browser do; it returns the SAMLResponse.
func (f *federation) browse(d challenge.Dynamic, name string) string {
	f.Helper()
	address, ok := d.URL()
	if !ok {
		f.Fatalf("no address in %q", d.Text)
	}
	u, err := url.Parse(address)
	if err != nil {
		f.Fatal(err)
	}
	form := u.Query()
	form.Set("username", name)
	form.Set("password", "x")
	r := httptest.NewRequest("POST", "http://127.0.0.1:8080/sso", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	f.idp.ServeHTTP(w, r)
	m := responseField.FindStringSubmatch(w.Body.String())
	if m == nil {
		f.Fatalf("no response in %s", w.Body)
	}
	return html.UnescapeString(m[1])
}

func (f *federation) denied(what string, out Outcome, reason string) {
	f.Helper()
	d, ok := out.(Denied)
	if !ok || d.Tell != "Invalid username or password" || !strings.Contains(d.Reason, reason) {
		f.Errorf("%s: %#v, want the reason %q", what, out, reason)
	}
}

var awsState = regexp.MustCompile(`^CRV1:R:instance-\d+/\d+/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}:b'Ti9B':http://127\.0\.0\.1:8080/sso\?SAMLRequest=[^&]+&RelayState=`)

func TestFederated(t *testing.T) {
	for _, form := range []struct {
		name   string
		encode func(response string) string
	}{
		{"raw", func(s string) string { return s }},
		{"url-encoded", url.QueryEscape},
		{"with line breaks", func(s string) string { return s[:76] + "\r\n" + s[76:] }},
		{"without padding", func(s string) string { return strings.TrimRight(s, "=") }},
	} {
		t.Run(form.name, func(t *testing.T) {
			f := newFederation(t)
			c, ok := f.check("ACS::35001").(Challenge)
			if !ok || !awsState.MatchString(c.Text) {
				t.Fatalf("%#v", c)
			}
			d := f.ask()
			f.now = f.now.Add(2 * time.Minute)
			password := d.Answer(push.Secret(form.encode(f.browse(d, "alice@example.com")))).Reveal()
			got, ok := f.check(password).(Accepted)
			if !ok || got.Identity.Username != "alice@example.com" || got.Identity.CommonName != "" || !slices.Equal(got.Identity.Groups, []string{"VPN-Users"}) {
				t.Fatalf("%#v", got)
			}
			f.denied("the same again", f.check(password), "answered already")
		})
	}
}

func TestFederatedRefuses(t *testing.T) {
	f := newFederation(t)
	d, other := f.ask(), f.ask()
	if d.State == other.State || d.Text == other.Text {
		t.Fatal("two challenges are the same")
	}
	response := f.browse(d, "alice@example.com")
	answer := func(state, response string) Outcome {
		return f.check(challenge.Dynamic{State: state}.Answer(push.Secret(response)).Reveal())
	}
	f.denied("no password", f.check(""), "neither")
	f.denied("a password", f.check("secret"), "neither")
	f.denied("another port", f.check("ACS::35002"), "35002")
	f.denied("a port without end", f.check("ACS::"+strings.Repeat("1", 1000)), "11111111")
	f.denied("another state", answer(other.State, response), "not the answer to this request")
	f.denied("no state", answer("x", response), "did not ask")
	f.denied("the other's MAC", answer(d.State[:len(instance)+timeDigits+randomDigits]+other.State[len(instance)+timeDigits+randomDigits:], response), "did not ask")
	f.denied("a state from the future", answer(strings.Replace(d.State, "/0", "/9", 1), response), "did not ask")
	f.denied("the state of another endpoint", answer(newFederation(t).ask().State, response), "did not ask")
	f.denied("no answer", answer(d.State, ""), "not complete")
	f.denied("no base64", answer(d.State, "?"), "not base64")
	f.denied("no URL encoding", answer(d.State, "%zz"), "URL")
	f.denied("too large", answer(d.State, strings.Repeat("A", 2*sp.MaxResponse)), "larger than")
	f.denied("no XML", answer(d.State, base64.StdEncoding.EncodeToString([]byte("hello"))), "malformed")
	long := "<" + strings.Repeat("a", 5000) + "></x>"
	if d := answer(d.State, base64.StdEncoding.EncodeToString([]byte(long))).(Denied); len(d.Reason) > maxReason+len("…") {
		t.Errorf("the log gets %d bytes", len(d.Reason))
	}
	f.denied("another provider's", answer(d.State, newFederation(t).browse(d, "alice@example.com")), "signature")
	f.now = f.now.Add(SignInTime)
	f.denied("late", answer(d.State, response), "more than 5m0s after")
	f.now = f.now.Add(-time.Second)
	if got, ok := answer(d.State, response).(Accepted); !ok {
		t.Errorf("in time: %#v", got)
	}
}

// A challenge with the longest address that metadata may have fits into one message.
func TestFederatedChallengeFits(t *testing.T) {
	f := NewFederated(sp.Metadata{SSO: "https://idp.example.test/" + strings.Repeat("s", 2000)}, time.Now)
	if n := len(f.ask()); n > 4096 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzFederated(f *testing.F) {
	method := NewFederated(sp.Metadata{EntityID: "idp", SSO: "https://idp.example.test/sso"}, time.Now)
	d, err := challenge.ParseDynamic(method.ask())
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"ACS::35001", "ACS::", "x", d.Answer("PGEvPg==").Reveal(), d.Answer("%50").Reveal(), "CRV1::instance-1/1/2::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, password string) {
		out, err := method.Check(t.Context(), Credentials{Password: push.Secret(password)})
		if err != nil {
			t.Fatal(err)
		}
		switch o := out.(type) {
		case Accepted:
			t.Errorf("%q is accepted as %+v", password, o)
		case Challenge:
			if password != challenge.AWSHello {
				t.Errorf("%q is a beginning", password)
			}
		case Denied:
			if o.Tell != awsRefusal || o.Reason == "" || len(o.Reason) > maxReason+len("…") {
				t.Errorf("%q: %+v", password, o)
			}
		}
	})
}
