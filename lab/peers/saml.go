//go:build linux

package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// SAML is an identity provider: SimpleSAMLphp under PHP's own web server. It knows AWS Client VPN as
// its service provider, signs responses and assertions, and has two users:
//
//	alice  password alicepw, memberOf VPN-Users and VPN-Admins
//	bob    password bobpw, memberOf VPN-Users
type SAML struct {
	Base     string // where browsers reach it, with a slash at the end
	Metadata []byte
	CA       []byte // PEM, of an https address; nil with http

	dir   string
	place Place
	at    netip.AddrPort // of PHP
	stop  func()
	front *http.Server
	wait  sync.WaitGroup
}

// SAMLHost is the name in the certificate of the https variant.
const SAMLHost = "idp.example.test"

// SAMLConfig says where a SAML runs.
type SAMLConfig struct {
	Dir   string
	Place Place
	At    netip.AddrPort // of the provider over http, and of what is behind Front
	// Front, if there is one, makes it an https provider with the name SAMLHost; Stop closes it.
	Front net.Listener
}

// StartSAML starts the provider.
func StartSAML(c SAMLConfig) (*SAML, error) {
	if err := need("simplesamlphp php-cli php-xml php-mbstring php-curl php-sqlite3", "php", "/usr/share/simplesamlphp/www/index.php"); err != nil {
		return nil, err
	}
	s := &SAML{Base: "http://" + c.At.String() + "/", dir: c.Dir, place: c.Place, at: c.At}
	if c.Front != nil {
		s.Base = fmt.Sprintf("https://%s:%d/", SAMLHost, c.Front.Addr().(*net.TCPAddr).Port)
	}
	if err := s.files(); err != nil {
		return nil, err
	}
	stop, err := c.Place.Run("env", "SIMPLESAMLPHP_CONFIG_DIR="+s.path("config"), "PHP_CLI_SERVER_WORKERS=4",
		"php", "-d", "display_errors=0", "-d", "error_reporting=22527", "-d", "session.save_path="+s.path("sess"), // all but deprecations and notices
		"-S", c.At.String(), "-t", "/usr/share/simplesamlphp/www")
	if err != nil {
		return nil, err
	}
	s.stop = stop
	if err := s.open(c.Front); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *SAML) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// open waits for PHP, puts TLS before it and reads the metadata.
func (s *SAML) open(front net.Listener) error {
	if err := waitPort(s.place, s.at, time.Minute); err != nil {
		return fmt.Errorf("simplesamlphp does not start: %w", err)
	}
	if front != nil {
		if err := s.serveTLS(front); err != nil {
			return err
		}
	}
	client, err := s.browser()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	page, err := get(client, s.Base+"saml2/idp/metadata.php")
	if err != nil {
		return fmt.Errorf("simplesamlphp: %w: %s", err, s.Log())
	}
	s.Metadata = []byte(page.body)
	return nil
}

// files are SimpleSAMLphp's configuration and the signing key.
func (s *SAML) files() error {
	for _, d := range []string{"cert", "log", "data", "tmp", "sess", "metadata", "config"} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return err
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: SAMLHost}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"cert/idp.key":                   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"cert/idp.crt":                   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"config/config.php":              strings.NewReplacer("@DIR@", s.dir, "@BASE@", s.Base).Replace(samlConfig),
		"config/authsources.php":         samlUsers,
		"metadata/saml20-idp-hosted.php": samlHosted,
		"metadata/saml20-sp-remote.php":  samlService,
	} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// serveTLS is the https front.
func (s *SAML) serveTLS(l net.Listener) error {
	ca, err := newAuthority("IdP test CA")
	if err != nil {
		return err
	}
	cert, key, err := ca.server(SAMLHost, s.at.Addr())
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	if _, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok {
		return errors.New("the front's key is of another kind")
	}
	s.CA = ca.pem()
	quiet := log.New(io.Discard, "", 0) // browsers hang up when they like
	proxy := &httputil.ReverseProxy{
		ErrorLog: quiet,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", s.at.String() // Host stays
		},
		Transport: &http.Transport{DialContext: s.dial, DisableKeepAlives: true},
	}
	s.front = &http.Server{Handler: proxy, ErrorLog: quiet, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	s.wait.Go(func() { s.front.ServeTLS(l, "", "") })
	return nil
}

// dial connects to PHP, whatever the address.
func (s *SAML) dial(context.Context, string, string) (net.Conn, error) {
	return s.place.Dial("tcp", s.at.String(), 10*time.Second)
}

// Stop ends it.
func (s *SAML) Stop() {
	if s.front != nil {
		s.front.Close()
		s.wait.Wait()
	}
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// Log is what it said so far.
func (s *SAML) Log() string {
	b, err := os.ReadFile(s.path("log", "ssp.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// ErrSignIn says that the provider did not take user and password.
var ErrSignIn = errors.New("incorrect username or password")

// SignIn does what a browser does with a request's address: it fills in the form and returns the
// fields that would be posted to the service provider.
func (s *SAML) SignIn(address, user, password string) (fields url.Values, err error) {
	client, err := s.browser()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	p, err := get(client, address)
	if err != nil {
		return nil, err
	}
	form := p.fields()
	if !form.Has("AuthState") {
		return nil, fmt.Errorf("no sign-in form at %s: %.300s", p.at, p.body)
	}
	form.Set("username", user)
	form.Set("password", password)
	resp, err := client.PostForm((&url.URL{Scheme: p.at.Scheme, Host: p.at.Host, Path: p.at.Path}).String()+"?", form)
	if err != nil {
		return nil, err
	}
	if p, err = read(resp); err != nil {
		return nil, err
	}
	if fields = p.fields(); fields.Has("SAMLResponse") {
		return fields, nil
	}
	if strings.Contains(p.body, "Incorrect username or password") {
		return nil, ErrSignIn
	}
	return nil, fmt.Errorf("no answer at %s: %.300s", p.at, p.body)
}

// browser is a client with cookies that reaches the provider wherever it runs.
func (s *SAML) browser() (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{DialContext: s.dial}
	if s.CA != nil { // behind the front it is the same server
		t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.dial(ctx, network, address)
		}
	}
	return &http.Client{Jar: jar, Transport: t, Timeout: time.Minute}, nil
}

// page is one answer.
type page struct {
	at   *url.URL
	body string
}

func get(c *http.Client, address string) (page, error) {
	resp, err := c.Get(address)
	if err != nil {
		return page{}, err
	}
	return read(resp)
}

func read(resp *http.Response) (page, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Request.URL, resp.Status)
	}
	return page{resp.Request.URL, string(b)}, err
}

var (
	hiddenField = regexp.MustCompile(`<input type="hidden" [^>]*>`)
	attribute   = regexp.MustCompile(`\b(name|value)="([^"]*)"`)
)

// fields are the hidden ones of a page's form.
func (p page) fields() url.Values {
	out := url.Values{}
	for _, field := range hiddenField.FindAllString(p.body, -1) {
		named := map[string]string{}
		for _, m := range attribute.FindAllStringSubmatch(field, -1) {
			named[m[1]] = html.UnescapeString(m[2])
		}
		out.Set(named["name"], named["value"])
	}
	return out
}

const samlConfig = `<?php $config = ['baseurlpath' => '@BASE@', 'certdir' => '@DIR@/cert/', 'loggingdir' => '@DIR@/log/', 'datadir' => '@DIR@/data/',
 'tempdir' => '@DIR@/tmp', 'metadatadir' => '@DIR@/metadata/', 'technicalcontact_name' => 'na', 'technicalcontact_email' => 'na@example.test',
 'secretsalt' => '0123456789abcdef0123456789abcdef', 'auth.adminpassword' => 'admin', 'admin.protectindexpage' => false, 'timezone' => 'UTC',
 'enable.saml20-idp' => true, 'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
 'session.cookie.secure' => false, 'session.cookie.samesite' => null, 'session.duration' => 28800, 'session.phpsession.cookiename' => 'SSP',
 'session.phpsession.savepath' => '@DIR@/sess', 'store.type' => 'phpsession',
 'logging.level' => SimpleSAML\Logger::INFO, 'logging.handler' => 'file', 'logging.logfile' => 'ssp.log',
 'language.default' => 'en', 'language.available' => ['en'], 'metadata.sources' => [['type' => 'flatfile']], 'theme.use' => 'default',
 'showerrors' => true, 'errorreporting' => false, 'debug' => ['saml' => false], 'assets' => ['caching' => ['max_age' => 86400, 'etag' => false]]];
`

const samlUsers = `<?php $config = ['userpass' => ['exampleauth:UserPass',
 'alice:alicepw' => ['mail' => ['alice@example.test'], 'FirstName' => ['Alice'], 'LastName' => ['A'], 'memberOf' => ['VPN-Users', 'VPN-Admins']],
 'bob:bobpw' => ['mail' => ['bob@example.test'], 'FirstName' => ['Bob'], 'LastName' => ['B'], 'memberOf' => ['VPN-Users']]]];
`

const samlHosted = `<?php $metadata['https://` + SAMLHost + `/metadata'] = ['host' => '__DEFAULT__', 'privatekey' => 'idp.key', 'certificate' => 'idp.crt',
 'auth' => 'userpass', 'signature.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256'];
`

const samlService = `<?php $metadata['urn:amazon:webservices:clientvpn'] = ['AssertionConsumerService' => [
  ['index' => 0, 'isDefault' => true, 'Binding' => 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST', 'Location' => 'http://127.0.0.1:35001']],
 'NameIDFormat' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress', 'simplesaml.nameidattribute' => 'mail', 'simplesaml.attributes' => true,
 'attributes' => ['FirstName', 'LastName', 'memberOf'], 'saml20.sign.assertion' => true, 'saml20.sign.response' => true, 'validate.authnrequest' => false];
`
