package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/cedar"
	"github.com/adit-vpn/adit/ovpn/wrap"
	"github.com/adit-vpn/adit/saml/sp"
)

// CheckConfig reads a file and the files that it names, as an endpoint would at its start, and makes
// nothing. Mistakes are ConfigErrors, each with the line that names the file. Files of the PKI in
// data that are not there are none: up makes them. notes say what a person may want to know beside.
func CheckConfig(file string, readFile func(string) ([]byte, error), now time.Time) (cfg Config, notes []string, err error) {
	text, err := readConfig(file)
	if err != nil {
		return Config{}, nil, err
	}
	p := parseConfig(file, text)
	if len(p.errs) == 0 {
		c := checking{parsing: p, read: readFile, now: now}
		if len(p.c.Listen) > 0 {
			c.serverCertificate()
		}
		if err := c.c.checkHandler(); err != nil {
			c.wrong("client_connect_handler.exec", c.c.Path(c.c.Handler.Exec), "cannot be started: %v", reasonOf(err))
		}
		c.policy()
		for i, a := range p.c.Authentication {
			path := "authentication[" + strconv.Itoa(i) + "]"
			switch {
			case a.Mutual != nil:
				c.mutual(path+".mutual", *a.Mutual)
			case a.Directory != nil:
				c.directory(path+".directory", *a.Directory)
			case a.Federated != nil && a.Federated.Metadata != "":
				c.metadata(path+".federated.idp_metadata", a.Federated.Metadata)
			case a.Federated != nil && a.Federated.Users != "":
				c.users(path+".federated.users", a.Federated.Users)
			}
		}
		c.wrapKeys()
		c.tokenSecret()
		c.api()
		notes = c.notes
	}
	cfg, err = p.result()
	return cfg, notes, err
}

// checking is a parsed configuration whose files are looked at.
type checking struct {
	*parsing
	read  func(string) ([]byte, error)
	now   time.Time
	notes []string
}

// wrong reports a mistake in a file. A key that is not written has the line of the one around it.
func (c *checking) wrong(path, file, format string, args ...any) {
	n := c.at[path]
	for at := path; n == nil && at != ""; n = c.at[at] {
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	c.fail(n, path, "%s %s", file, fmt.Sprintf(format, args...))
}

// load reads the file that path names, or else the PKI's, which may be missing.
func (c *checking) load(path, name, ofPKI string) (file string, text []byte, ok bool) {
	if file = ofPKI; name != "" {
		file = c.c.Path(name)
	}
	text, err := c.read(file)
	switch {
	case err == nil:
		return file, text, true
	case name == "" && errors.Is(err, fs.ErrNotExist):
		return file, nil, false
	}
	c.wrong(path, file, "cannot be read: %v", reasonOf(err))
	return file, nil, false
}

// valid reports a certificate that is not valid now, or not for long.
func (c *checking) valid(path, file, what string, cert *x509.Certificate) bool {
	switch name := cert.Subject.String(); {
	case c.now.After(cert.NotAfter):
		c.wrong(path, file, "cannot be used: %s expired on %s", name, cert.NotAfter.Format(time.DateOnly))
		return false
	case c.now.Before(cert.NotBefore):
		c.wrong(path, file, "cannot be used: %s is not valid before %s", name, cert.NotBefore.UTC().Format(time.RFC3339))
		return false
	case cert.NotAfter.Sub(c.now) < soon:
		c.notes = append(c.notes, fmt.Sprintf("the %s %s expires on %s", what, name, cert.NotAfter.Format(time.DateOnly)))
	}
	return true
}

// policy reads an authorization policy that has a file of its own.
func (c *checking) policy() {
	const at = "authorization_policy.file"
	if c.c.AuthorizationPolicy.File == "" {
		return
	}
	if file, text, ok := c.load(at, c.c.AuthorizationPolicy.File, ""); ok {
		if _, err := cedar.Parse(string(text)); err != nil {
			c.wrong(at, file, "%v", err)
		}
	}
}

func (c *checking) serverCertificate() {
	const certAt, keyAt = "server_certificate.cert", "server_certificate.key"
	of := c.c.ServerCertificate
	certFile, cert, hasCert := c.load(certAt, of.Cert, pkiFile(&c.c, "issued", ServerName+".crt"))
	keyFile, key, hasKey := c.load(keyAt, of.Key, pkiFile(&c.c, "private", ServerName+".key"))
	if hasCert {
		certs, err := certificatesIn(cert)
		switch {
		case err != nil:
			c.wrong(certAt, certFile, "%v", err)
			hasCert = false
		case c.valid(certAt, certFile, "server certificate", certs[0]):
			if err := checkServerCertificate(certs[0], c.now); err != nil {
				c.wrong(certAt, certFile, "%v", err)
			}
		}
	}
	if of.Chain != "" {
		if file, text, ok := c.load("server_certificate.chain", of.Chain, ""); ok {
			if _, err := certificatesIn(text); err != nil {
				c.wrong("server_certificate.chain", file, "%v", err)
			}
		}
	}
	if hasKey {
		if why := noKey(key); why != "" {
			c.wrong(keyAt, keyFile, "%s", why)
			hasKey = false
		}
	}
	if !hasCert || !hasKey {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		why := strings.TrimPrefix(err.Error(), "tls: ")
		if strings.Contains(why, "does not match") { // crypto/tls has no typed error
			why = "does not belong to the certificate " + certFile
		}
		c.wrong(keyAt, keyFile, "%s", why)
	}
}

// certificatesIn are the certificates of a PEM file; at least one.
func certificatesIn(text []byte) (list []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("has a certificate that cannot be read: %w", err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("holds no certificate in PEM")
	}
	return list, nil
}

// noKey says why there is no private key in a file that could be used, or "".
func noKey(text []byte) string {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return "needs a passphrase, and nobody is there to ask: take it off with openssl pkey -in OLD -out NEW"
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return ""
		}
	}
	return "holds no private key in PEM"
}

func (c *checking) mutual(path string, m Mutual) {
	caFile, ca, ok := c.load(path+".ca", m.CA, pkiFile(&c.c, "ca.crt"))
	crlFile, crl, listed := c.load(path+".crl", m.CRL, pkiFile(&c.c, "crl.pem"))
	if !ok {
		return
	}
	certs, err := certificatesIn(ca)
	if err != nil {
		c.wrong(path+".ca", caFile, "%v", err)
		return
	}
	for _, cert := range certs {
		if c.valid(path+".ca", caFile, "CA", cert) && cert.BasicConstraintsValid && !cert.IsCA {
			c.wrong(path+".ca", caFile, "has %s, which is not the certificate of a CA", cert.Subject)
		}
	}
	if !listed {
		return
	}
	method, err := auth.NewMutual(ca, crl, func() time.Time { return c.now })
	if err != nil {
		c.wrong(path+".crl", crlFile, "cannot be used: %v", err)
		return
	}
	switch end := method.ListsEnd(); {
	case end.IsZero():
	case c.now.After(end):
		c.wrong(path+".crl", crlFile, "expired on %s: all clients would be refused", end.Format(time.DateOnly))
	case end.Sub(c.now) < soon:
		c.notes = append(c.notes, fmt.Sprintf("the revocation list %s expires on %s: then all clients are refused", crlFile, end.Format(time.DateOnly)))
	}
}

func (c *checking) directory(path string, d Directory) {
	before := len(c.errs)
	if d.Users != "" {
		c.users(path+".users", d.Users)
	}
	if d.CA != "" {
		if file, ca, ok := c.load(path+".ca", d.CA, ""); ok {
			certs, err := certificatesIn(ca)
			if err != nil {
				c.wrong(path+".ca", file, "%v", err)
			}
			for _, cert := range certs {
				c.valid(path+".ca", file, "directory's CA", cert)
			}
		}
	}
	if d.Radius != nil {
		c.filled(path+".radius.secret_file", d.Radius.SecretFile)
	}
	if d.Users != "" || len(c.errs) > before {
		return
	}
	m, err := c.c.activeDirectory(d, nil, c.read, func() time.Time { return c.now })
	if err != nil {
		c.fail(c.at["authentication"], path, "%s", strings.TrimPrefix(err.Error(), "directory: "))
		return
	}
	c.notes = append(c.notes, m.Warnings()...)
}

func (c *checking) users(path, name string) {
	if file, text, ok := c.load(path, name, ""); ok {
		if _, err := auth.NewUsers(text, new(auth.Attempts), func() time.Time { return c.now }); err != nil {
			c.wrong(path, file, "%v", err)
		}
	}
}

// metadata checks the identity provider's file. Certificates follow one another there: the last counts.
func (c *checking) metadata(path, name string) {
	file, text, ok := c.load(path, name, "")
	if !ok {
		return
	}
	m, err := sp.ParseMetadata(text, c.now)
	if err != nil {
		c.wrong(path, file, "cannot be used: %s", strings.TrimPrefix(err.Error(), "saml metadata: "))
		return
	}
	last := m.Signing[0]
	for _, cert := range m.Signing {
		if cert.NotAfter.After(last.NotAfter) {
			last = cert
		}
	}
	c.valid(path, file, "identity provider's certificate", last)
}

// filled reports a file that cannot be read or has nothing in it.
func (c *checking) filled(path, name string) {
	if file, text, ok := c.load(path, name, ""); ok && strings.TrimSpace(string(text)) == "" {
		c.wrong(path, file, "is empty")
	}
}

// api looks at what ARNs and ids of the API stand for.
func (c *checking) api() {
	a := c.c.API
	if a == nil {
		return
	}
	for i, k := range a.Keys {
		c.filled("api.keys["+strconv.Itoa(i)+"].secret_file", k.SecretFile)
	}
	for i, x := range a.Certificates {
		path := "api.certificates[" + strconv.Itoa(i) + "]"
		file, cert, ok := c.load(path+".cert", x.Cert, "")
		if certs, err := certificatesIn(cert); ok && err != nil {
			c.wrong(path+".cert", file, "%v", err)
			ok = false
		} else if ok {
			c.valid(path+".cert", file, "certificate", certs[0])
		}
		if x.Chain != "" {
			if file, text, ok := c.load(path+".chain", x.Chain, ""); ok {
				if _, err := certificatesIn(text); err != nil {
					c.wrong(path+".chain", file, "%v", err)
				}
			}
		}
		if x.Key == "" {
			continue
		}
		if keyFile, key, there := c.load(path+".key", x.Key, ""); there && ok {
			if why := noKey(key); why != "" {
				c.wrong(path+".key", keyFile, "%s", why)
			} else if _, err := tls.X509KeyPair(cert, key); err != nil {
				c.wrong(path+".key", keyFile, "does not fit %s: %v", file, err)
			}
		}
	}
	for i, d := range a.Directories {
		c.directory("api.directories["+strconv.Itoa(i)+"]", d.Directory)
	}
	for i, f := range a.SAMLProviders {
		path := "api.saml_providers[" + strconv.Itoa(i) + "]"
		if f.Metadata != "" {
			c.metadata(path+".idp_metadata", f.Metadata)
		} else if f.Users != "" {
			c.users(path+".users", f.Users)
		}
	}
	for i, h := range a.Handlers {
		of := c.c
		of.Handler = h.Handler
		if err := of.checkHandler(); err != nil {
			c.wrong("api.handlers["+strconv.Itoa(i)+"].exec", c.c.Path(h.Exec), "cannot be started: %v", reasonOf(err))
		}
	}
}

func (c *checking) wrapKeys() {
	w := c.c.ControlWrap
	shared := func(path string, k WrapKey) {
		if file, text, ok := c.load(path, k.Key, ""); ok {
			if _, err := wrap.ParseStaticKey(text); err != nil {
				c.wrong(path, file, "%v", err)
			}
		}
	}
	switch {
	case w.Type == "none":
	case w.Type != "tls-crypt-v2":
		shared("control_wrap.key", WrapKey{Type: w.Type, Key: w.Key})
	default:
		if file, text, ok := c.load("control_wrap.key", w.Key, c.c.wrapKeyFile()); ok {
			if _, err := wrap.ParseServerKey(text); err != nil {
				c.wrong("control_wrap.key", file, "%v", err)
			}
		}
		if w.Also.Type != "" {
			shared("control_wrap.also.key", w.Also)
		}
	}
}

func (c *checking) tokenSecret() {
	t := c.c.AuthToken
	if t.Secret == "" {
		return
	}
	if file, text, ok := c.load("auth_token.secret", t.Secret, ""); ok {
		if _, err := auth.NewTokens(text, t.Lifetime, t.Renewal, func() time.Time { return c.now }); err != nil {
			c.wrong("auth_token.secret", file, "%v", err)
		}
	}
}

// reasonOf leaves out the file that an error of the file system names.
func reasonOf(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
