// Package idp is a SAML 2.0 identity provider for testers: a page with a form, on loopback, that
// signs in users out of a list. It serves one service provider, whose requests need not be
// signed. It is no place for real passwords: it speaks plain HTTP and limits no attempts.
//
// The package starts no goroutine; the Provider is an http.Handler, safe for concurrent use.
package idp

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"time"
)

// Person is who signed in: what the assertion says.
type Person struct {
	Name   string   // NameID, in the form of an e-mail address
	Groups []string // memberOf
}

// Account is a user that the page shows with the password, so that a tester need not look it up.
type Account struct {
	Person
	Password string
}

// Config is what a Provider needs; all but AsksCode and Shown is required.
type Config struct {
	Base     string // http://127.0.0.1:PORT, where the Provider is reached
	Audience string // entity id of the service provider
	ACS      string // where its answers go
	Key      *Key
	// SignIn says who has this name and password, and one-time code, which is empty unless AsksCode. It may
	// be called from any goroutine.
	SignIn   func(ctx context.Context, name, password, code string) (Person, bool)
	AsksCode bool // the form has a field for it, which may stay empty
	Shown    []Account
	Now      func() time.Time
}

// Provider is the identity provider.
type Provider struct {
	cfg  Config
	host string // of Base
	mux  *http.ServeMux
}

// The paths of a Provider.
const (
	ssoPath      = "/sso"
	metadataPath = "/metadata"
)

// Bounds of what a browser may bring.
const (
	maxBody    = 64 << 10
	maxPacked  = 16 << 10 // a request in base64
	maxRequest = 64 << 10 // the same, inflated
	maxRelay   = 1024
)

// New makes a Provider.
func New(cfg Config) (*Provider, error) {
	u, err := url.Parse(cfg.Base)
	if err != nil || u.Host == "" || u.Path != "" {
		return nil, fmt.Errorf("identity provider: %q is no address like http://127.0.0.1:8080", cfg.Base)
	}
	p := &Provider{cfg: cfg, host: u.Host, mux: http.NewServeMux()}
	p.mux.HandleFunc("GET /{$}", p.welcome)
	p.mux.HandleFunc("GET "+metadataPath, p.serveMetadata)
	p.mux.HandleFunc("GET "+ssoPath, p.ask)
	p.mux.HandleFunc("POST "+ssoPath, p.answer)
	return p, nil
}

// EntityID is the provider's name.
func (p *Provider) EntityID() string { return p.cfg.Base + metadataPath }

// ServeHTTP serves browsers that name the provider's own address: another name for loopback
// would be a foreign page's (DNS rebinding).
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if r.Host != p.host {
		http.Error(w, "this is "+p.cfg.Base, http.StatusMisdirectedRequest)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// Metadata is the provider's metadata file.
func (p *Provider) Metadata() []byte {
	var b bytes.Buffer
	escape := func(s string) { xml.EscapeText(&b, []byte(s)) }
	b.WriteString(`<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="`)
	escape(p.EntityID())
	b.WriteString(`"><md:IDPSSODescriptor WantAuthnRequestsSigned="false" protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">` +
		`<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>` +
		base64.StdEncoding.EncodeToString(p.cfg.Key.Certificate.Raw) + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>` +
		`<md:NameIDFormat>` + emailFormat + `</md:NameIDFormat>` +
		`<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="`)
	escape(p.cfg.Base + ssoPath)
	b.WriteString(`"/></md:IDPSSODescriptor></md:EntityDescriptor>`)
	return b.Bytes()
}

func (p *Provider) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	w.Write(p.Metadata())
}

// page is what all templates get.
type page struct {
	Title   string
	Nonce   string
	Problem string
	Shown   []Account
	Name    string // as typed before
	Code    bool   // is asked for
	Audience,
	Metadata string

	Action   string
	Request  string // as it came
	Relay    string
	Response string
}

// render shows one page. formAction is where its form may go.
func (p *Provider) render(w http.ResponseWriter, t *template.Template, code int, formAction string, data page) {
	data.Nonce, data.Audience, data.Metadata = rand.Text(), p.cfg.Audience, p.EntityID()
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; style-src 'nonce-"+data.Nonce+
		"'; script-src 'nonce-"+data.Nonce+"'; form-action "+formAction)
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

func (p *Provider) welcome(w http.ResponseWriter, _ *http.Request) {
	p.render(w, welcomePage, http.StatusOK, "'none'", page{Title: "Test identity provider", Shown: p.cfg.Shown})
}

// ask shows the form for a request.
func (p *Provider) ask(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	packed, relay := q.Get("SAMLRequest"), q.Get("RelayState")
	if _, err := p.request(packed, relay); err != nil {
		p.refuse(w, err)
		return
	}
	p.form(w, http.StatusOK, page{Request: packed, Relay: relay})
}

func (p *Provider) form(w http.ResponseWriter, code int, data page) {
	data.Title, data.Action, data.Shown, data.Code = "Sign in", ssoPath, p.cfg.Shown, p.cfg.AsksCode
	p.render(w, formPage, code, "'self'", data)
}

func (p *Provider) refuse(w http.ResponseWriter, err error) {
	p.render(w, refusedPage, http.StatusBadRequest, "'none'", page{Title: "Not a request that is served here", Problem: err.Error()})
}

// answer checks name, password and code, and sends the browser on with the response.
func (p *Provider) answer(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		p.refuse(w, errors.New("the form cannot be read"))
		return
	}
	f := r.PostForm
	packed, relay, name := f.Get("SAMLRequest"), f.Get("RelayState"), f.Get("username")
	id, err := p.request(packed, relay)
	if err != nil {
		p.refuse(w, err)
		return
	}
	code, problem := "", "Wrong user name or password."
	if p.cfg.AsksCode {
		code, problem = f.Get("code"), "Wrong user name, password or one-time code. Each code is good once."
	}
	who, ok := p.cfg.SignIn(r.Context(), name, f.Get("password"), code)
	if !ok {
		p.form(w, http.StatusUnauthorized, page{Request: packed, Relay: relay, Name: name, Problem: problem})
		return
	}
	response, err := p.response(id, who)
	if err != nil {
		http.Error(w, "the response cannot be signed", http.StatusInternalServerError)
		return
	}
	p.render(w, postPage, http.StatusOK, p.cfg.ACS, page{Title: "Signed in", Action: p.cfg.ACS, Relay: relay, Name: who.Name,
		Response: base64.StdEncoding.EncodeToString(response)})
}

const maxID = 256

// xmlID leaves the length alone: a counted expression costs as much as it counts, at each start of the program.
var xmlID = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// request reads a request out of the redirect binding (SAML bindings, 3.4.4.1) and returns its id.
func (p *Provider) request(packed, relay string) (id string, err error) {
	if packed == "" {
		return "", errors.New("there is no SAMLRequest: begin at the VPN client")
	}
	if len(packed) > maxPacked || len(relay) > maxRelay {
		return "", errors.New("the request is too long")
	}
	deflated, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		return "", errors.New("the request is not base64")
	}
	inflate := flate.NewReader(bytes.NewReader(deflated))
	defer inflate.Close()
	text, err := io.ReadAll(io.LimitReader(inflate, maxRequest+1))
	if err != nil || len(text) > maxRequest {
		return "", errors.New("the request cannot be unpacked")
	}
	var r struct {
		XMLName     xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:protocol AuthnRequest"`
		ID          string   `xml:"ID,attr"`
		Version     string   `xml:"Version,attr"`
		Destination string   `xml:"Destination,attr"`
		ACS         string   `xml:"AssertionConsumerServiceURL,attr"`
		Issuer      string   `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	}
	switch err := xml.Unmarshal(text, &r); {
	case err != nil:
		return "", errors.New("the request is no AuthnRequest")
	case len(r.ID) > maxID || !xmlID.MatchString(r.ID), r.Version != "2.0":
		return "", errors.New("the request has no ID, or is not of SAML 2.0")
	case r.Destination != "" && r.Destination != p.cfg.Base+ssoPath:
		return "", errors.New("the request is for another identity provider")
	case r.Issuer != p.cfg.Audience:
		return "", fmt.Errorf("the request is from %q, not from %s", r.Issuer, p.cfg.Audience)
	case r.ACS != "" && r.ACS != p.cfg.ACS:
		return "", fmt.Errorf("the answer would go to %q, not to %s", r.ACS, p.cfg.ACS)
	}
	return r.ID, nil
}
