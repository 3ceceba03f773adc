package idp_test

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"encoding/pem"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/saml/idp"
	"github.com/adit-vpn/adit/saml/sp"
)

var clock = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func now() time.Time { return clock }

const base = "http://127.0.0.1:8080"

var alice = idp.Person{Name: "alice@example.com", Groups: []string{"demo-users", `R&D "<all>"`}}

// newProvider makes a provider with one user and the service provider that knows it.
func newProvider(t testing.TB) (*idp.Provider, *idp.Key, *sp.Provider) {
	t.Helper()
	key, err := idp.NewKey(clock)
	if err != nil {
		t.Fatal(err)
	}
	p, err := idp.New(idp.Config{Base: base, Audience: sp.EntityID, ACS: sp.ACS, Key: key, Now: now,
		SignIn: func(_ context.Context, name, password, code string) (idp.Person, bool) {
			return alice, name == "alice@example.com" && password == "secret" && code == ""
		},
		Shown: []idp.Account{{Person: alice, Password: "secret"}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := sp.ParseMetadata(p.Metadata(), clock)
	if err != nil {
		t.Fatal(err)
	}
	return p, key, sp.New(m, now)
}

// fetch asks p; form nil is a GET.
func fetch(p *idp.Provider, address string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", address, nil)
	if form != nil {
		r = httptest.NewRequest("POST", address, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

// fields are the hidden ones of a page.
func fields(page string) url.Values {
	out := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		out.Set(m[1], html.UnescapeString(m[2]))
	}
	return out
}

func TestSignIn(t *testing.T) {
	p, key, service := newProvider(t)
	request := sp.Request{ID: "_0123", Expires: clock.Add(time.Minute)}
	relay := `state"><script>alert(1)</script>`
	w := fetch(p, service.URL(request, relay), nil)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "<script>alert") {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), `name="code"`) {
		t.Error("a code is asked for")
	}
	form := fields(w.Body.String())
	form.Set("username", `"><b>alice`)
	form.Set("password", "wrong")
	if w = fetch(p, base+"/sso", form); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "Wrong user name") ||
		strings.Contains(w.Body.String(), "<b>alice") || strings.Contains(w.Body.String(), "SAMLResponse") {
		t.Fatalf("wrong password: %d: %s", w.Code, w.Body)
	}
	form = fields(w.Body.String())
	form.Set("username", "alice@example.com")
	form.Set("password", "secret")
	w = fetch(p, base+"/sso", form)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "<script>alert") {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.HasSuffix(policy, "form-action "+sp.ACS) {
		t.Errorf("policy %s", policy)
	}
	answer := fields(w.Body.String())
	if got := answer.Get("RelayState"); got != relay {
		t.Errorf("RelayState %q", got)
	}
	text, err := base64.StdEncoding.DecodeString(answer.Get("SAMLResponse"))
	if err != nil {
		t.Fatal(err)
	}
	who, err := service.Check(text, request)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if who.Name != alice.Name || !slices.Equal(who.Groups, alice.Groups) {
		t.Errorf("%+v", who)
	}
	verified(t, text, key)
}

// TestSignInWithCode: the form asks for a code, and hands it on.
func TestSignInWithCode(t *testing.T) {
	key, err := idp.NewKey(clock)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	p, err := idp.New(idp.Config{Base: base, Audience: sp.EntityID, ACS: sp.ACS, Key: key, Now: now, AsksCode: true,
		SignIn: func(_ context.Context, name, password, code string) (idp.Person, bool) {
			got = append(got, name+"/"+password+"/"+code)
			return alice, code == "123456"
		}})
	if err != nil {
		t.Fatal(err)
	}
	_, _, service := newProvider(t)
	w := fetch(p, service.URL(sp.Request{ID: "_1", Expires: clock.Add(time.Minute)}, "state"), nil)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `name="code"`) {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	form := fields(w.Body.String())
	form.Set("username", "ann")
	form.Set("password", "secret")
	if w = fetch(p, base+"/sso", form); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "one-time code. Each code is good once") ||
		!strings.Contains(w.Body.String(), `name="code"`) {
		t.Errorf("without a code: %d: %s", w.Code, w.Body)
	}
	form.Set("code", "123456")
	if w = fetch(p, base+"/sso", form); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "SAMLResponse") {
		t.Errorf("with a code: %d: %s", w.Code, w.Body)
	}
	if want := []string{"ann/secret/", "ann/secret/123456"}; !slices.Equal(got, want) {
		t.Errorf("judged %q, want %q", got, want)
	}
}

// verified asks another implementation about both signatures.
func verified(t *testing.T, text []byte, key *idp.Key) {
	t.Helper()
	if _, err := exec.LookPath("xmlsec1"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Log("left out: xmlsec1 is not installed")
		return
	}
	dir := t.TempDir()
	cert, response := filepath.Join(dir, "idp.crt"), filepath.Join(dir, "response.xml")
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key.Certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(response, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"urn:oasis:names:tc:SAML:2.0:protocol:Response", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion"} {
		local := name[strings.LastIndex(name, ":")+1:]
		out, err := exec.Command("xmlsec1", "--verify", "--enabled-key-data", "x509,rsa", "--pubkey-cert-pem", cert, "--id-attr:ID", name,
			"--node-xpath", "//*[local-name()='"+local+"']/*[local-name()='Signature']", response).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", local, err, out)
		}
	}
}

func pack(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	w.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestRefusedRequests(t *testing.T) {
	p, _, _ := newProvider(t)
	good := `<p:AuthnRequest xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol" ID="_1" Version="2.0" Destination="` + base + `/sso" AssertionConsumerServiceURL="` + sp.ACS + `"><Issuer xmlns="urn:oasis:names:tc:SAML:2.0:assertion">` + sp.EntityID + `</Issuer></p:AuthnRequest>`
	ask := func(packed, relay string) *httptest.ResponseRecorder {
		return fetch(p, base+"/sso?"+url.Values{"SAMLRequest": {packed}, "RelayState": {relay}}.Encode(), nil)
	}
	if w := ask(pack(t, good), ""); w.Code != http.StatusOK {
		t.Fatalf("the good one: %d: %s", w.Code, w.Body)
	}
	if w := ask(pack(t, strings.ReplaceAll(good, `ID="_1"`, `ID="`+strings.Repeat("a", 256)+`"`)), ""); w.Code != http.StatusOK {
		t.Fatalf("the longest ID: %d: %s", w.Code, w.Body)
	}
	for _, tc := range []struct{ name, packed, relay, want string }{
		{"none", "", "", "begin at the VPN client"},
		{"no base64", "?", "", "not base64"},
		{"not deflated", "AAAA", "", "cannot be unpacked"},
		{"a bomb", pack(t, strings.Repeat(" ", 1<<20)), "", "cannot be unpacked"},
		{"too long", strings.Repeat("A", 20<<10), "", "too long"},
		{"a long state", pack(t, good), strings.Repeat("s", 2000), "too long"},
		{"no XML", pack(t, "hello"), "", "no AuthnRequest"},
		{"another message", pack(t, strings.ReplaceAll(good, "AuthnRequest", "LogoutRequest")), "", "no AuthnRequest"},
		{"a long ID", pack(t, strings.ReplaceAll(good, `ID="_1"`, `ID="`+strings.Repeat("a", 257)+`"`)), "", "no ID"},
		{"no ID", pack(t, strings.ReplaceAll(good, `ID="_1"`, `ID="&quot;"`)), "", "no ID"},
		{"another provider", pack(t, strings.ReplaceAll(good, base, "https://idp.example.test")), "", "another identity provider"},
		{"another service", pack(t, strings.ReplaceAll(good, sp.EntityID, "urn:evil")), "", "urn:evil"},
		{"another answer address", pack(t, strings.ReplaceAll(good, sp.ACS, "https://evil.example.test/&lt;b&gt;")), "", "evil.example.test/&lt;b&gt;"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := ask(tc.packed, tc.relay)
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), tc.want) || strings.Contains(w.Body.String(), "<form") {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
			form := url.Values{"SAMLRequest": {tc.packed}, "RelayState": {tc.relay}, "username": {"alice@example.com"}, "password": {"secret"}}
			if w := fetch(p, base+"/sso", form); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "SAMLResponse") {
				t.Errorf("with a password: %d: %s", w.Code, w.Body)
			}
		})
	}
}

func TestPages(t *testing.T) {
	p, _, _ := newProvider(t)
	for _, tc := range []struct {
		method, address string
		code            int
		want            string
	}{
		{"GET", base + "/", http.StatusOK, "alice@example.com"},
		{"GET", base + "/metadata", http.StatusOK, "IDPSSODescriptor"},
		{"GET", base + "/other", http.StatusNotFound, ""},
		{"DELETE", base + "/sso", http.StatusMethodNotAllowed, ""},
		{"GET", "http://evil.example.test:8080/", http.StatusMisdirectedRequest, ""},
		{"POST", "http://evil.example.test:8080/sso", http.StatusMisdirectedRequest, ""},
		{"GET", "http://localhost:8080/", http.StatusMisdirectedRequest, ""},
	} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(tc.method, tc.address, nil))
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s %s: %d: %s", tc.method, tc.address, w.Code, w.Body)
		}
		if h := w.Header(); !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'; frame-ancestors 'none'") || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", tc.address, h)
		}
	}
}

func FuzzRequest(f *testing.F) {
	p, _, service := newProvider(f)
	u, err := url.Parse(service.URL(sp.Request{ID: "_1", Expires: clock.Add(time.Minute)}, ""))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(u.Query().Get("SAMLRequest"), "state")
	f.Add("AAAA", "")
	f.Fuzz(func(t *testing.T, packed, relay string) {
		form := url.Values{"SAMLRequest": {packed}, "RelayState": {relay}, "username": {"alice@example.com"}, "password": {"secret"}}
		if w := fetch(p, base+"/sso", form); w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
	})
}
