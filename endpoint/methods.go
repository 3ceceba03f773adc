package endpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/saml/sp"
)

// loadMethods makes what cfg.Authentication names. What must not be forgotten comes from before,
// which may be nil.
func (g *generation) loadMethods(before *generation, l Leaves) error {
	if what, at := g.cfg.testOnly(); what != "" { // flags may have moved the listener
		return fmt.Errorf("%s is for testers: it works on loopback listeners only, not on %s", what, at)
	}
	if g.attempts = new(auth.Attempts); before != nil {
		g.attempts = before.attempts
	}
	mutual, directory, federated := g.cfg.Methods()
	if mutual != nil {
		m, trust, err := loadMutual(&g.cfg, *mutual, l)
		if err != nil {
			return err
		}
		m.Configure(g.tls)
		g.certificate = m
		for _, c := range m.CAs() {
			g.expiresCA(c)
		}
		g.expires(ExpiryCRL, "", m.ListsEnd())
		g.trust += trust
	}
	var err error
	switch {
	case directory != nil:
		g.sign, err = g.loadDirectory(*directory, before, l)
	case federated != nil:
		g.sign, err = g.loadFederated(*federated, before, l)
	}
	if g.federated != nil {
		c := g.federated.Certificate()
		g.expires(ExpiryIdP, nameOf(c), c.NotAfter)
	}
	g.proof = g.makeProof()
	return err
}

// loadDirectory makes the method of a directory. Used codes, attempts and open questions outlive a reload.
func (g *generation) loadDirectory(d Directory, before *generation, l Leaves) (auth.Method, error) {
	if d.Users != "" {
		return g.cfg.loadUsers(d, g.attempts, l)
	}
	if before != nil {
		g.memory = before.memory
	}
	if g.memory == nil {
		g.memory = auth.NewMemory()
	}
	m, err := g.cfg.activeDirectory(d, g.memory, l.ReadFile, l.Now)
	if err != nil {
		return nil, err
	}
	for _, w := range m.Warnings() {
		l.Log.Warn(w)
	}
	return m, nil
}

// makeProof is text that changes when people must prove themselves in another way, or to somebody else. What certificates are
// judged by is no part of it: a client shows its own each time.
func (g *generation) makeProof() string {
	ways := slices.Clone(g.cfg.Authentication)
	for i := range ways {
		if ways[i].Mutual != nil {
			ways[i].Mutual = &Mutual{}
		}
	}
	text, err := json.Marshal(ways)
	if err != nil {
		panic(err) // plain values
	}
	sum := sha256.Sum256(append(text, g.idp...))
	return hex.EncodeToString(sum[:])
}

// digest is what the test directory's file says that a user must show; empty with other methods.
func (g *generation) digest(who auth.Identity) string {
	if u, here := g.sign.(*auth.Users); here {
		return u.Digest(who.Username)
	}
	return ""
}

// loadFederated makes the method of an identity provider. It stays when the provider is the
// same, so that a reload loses no sign-in that is under way.
func (g *generation) loadFederated(f Federated, before *generation, l Leaves) (auth.Method, error) {
	file, text := g.cfg.Path(f.Metadata), l.TestIdP
	if f.Demo {
		file = "the built-in identity provider"
		if text == nil {
			return nil, errors.New("the built-in identity provider (idp: demo) does not run: stop the endpoint and start it again")
		}
	} else {
		var err error
		if text, err = l.ReadFile(file); err != nil {
			return nil, fmt.Errorf("identity provider's metadata: %w", err)
		}
	}
	g.trust += string(text)
	if before != nil && before.federated != nil && bytes.Equal(before.idp, text) {
		g.federated, g.idp = before.federated, text
		return g.federated, nil
	}
	m, err := sp.ParseMetadata(text, l.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	g.federated, g.idp = auth.NewFederated(m, l.Now), text
	return g.federated, nil
}

func (c *Config) loadUsers(d Directory, attempts *auth.Attempts, l Leaves) (*auth.Users, error) {
	file := c.Path(d.Users)
	text, err := l.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("test directory: %w", err)
	}
	u, err := auth.NewUsers(text, attempts, l.Now)
	if err != nil {
		return nil, fmt.Errorf("test directory %s: %w", file, err)
	}
	return u, nil
}

// AsksForCode says whether clients must show a one-time code with their password.
func (c *Config) AsksForCode(l Leaves) (bool, error) {
	_, d, _ := c.Methods()
	switch {
	case d == nil:
		return false, nil
	case d.Users == "":
		return d.Radius != nil, nil
	}
	u, err := c.loadUsers(*d, new(auth.Attempts), l)
	return err == nil && u.MFA(), err
}

// loadMutual makes the method of client certificates. A list of another name is another list to trust, whatever is in it.
func loadMutual(cfg *Config, m Mutual, l Leaves) (method *auth.Mutual, trust string, err error) {
	caFile, crlFile := cfg.Path(m.CA), cfg.Path(m.CRL)
	if caFile == "" {
		caFile = pkiFile(cfg, "ca.crt")
	}
	ca, err := l.ReadFile(caFile)
	if err != nil {
		return nil, "", fmt.Errorf("client CA: %w", err)
	}
	var crl []byte
	if crlFile == "" { // the PKI's own list need not exist
		crlFile = pkiFile(cfg, "crl.pem")
		if crl, err = l.ReadFile(crlFile); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		crl, err = l.ReadFile(crlFile)
	}
	if err != nil {
		return nil, "", fmt.Errorf("revocation list: %w", err)
	}
	method, err = auth.NewMutual(ca, crl, l.Now)
	if err != nil {
		return nil, "", fmt.Errorf("client certificates (%s, %s): %w", caFile, crlFile, err)
	}
	return method, string(ca) + m.CRL + string(crl), nil
}

// loadTokens makes the tokens that take the place of passwords. None is good for longer than a session
// lasts. A random secret lives as long as the endpoint.
func (g *generation) loadTokens(before *generation, l Leaves) error {
	if g.sign == nil {
		return nil
	}
	t := g.cfg.AuthToken
	if t.Lifetime == 0 || t.Lifetime > g.cfg.SessionTimeout {
		t.Lifetime = g.cfg.SessionTimeout
	}
	if t.Renewal == 0 {
		t.Renewal = t.Lifetime
	}
	if g.lasting = t; before != nil && before.tokens != nil && t.Secret == "" && before.lasting.Secret == "" {
		g.tokens = before.tokens.Lasting(t.Lifetime, t.Renewal)
		return nil
	}
	var secret []byte
	file := g.cfg.Path(t.Secret)
	var err error
	if file != "" {
		if secret, err = l.ReadFile(file); err != nil {
			return fmt.Errorf("auth_token secret: %w", err)
		}
	}
	if g.tokens, err = auth.NewTokens(secret, t.Lifetime, t.Renewal, l.Now); err != nil {
		return fmt.Errorf("auth_token %s: %w", file, err)
	}
	return nil
}
