package endpoint

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/adit-vpn/adit/endpoint/auth"
)

// loadMethods makes what cfg.Authentication names.
func (g *generation) loadMethods(l Leaves) error {
	if what, at := g.cfg.testOnly(); what != "" { // flags may have moved the listener
		return fmt.Errorf("%s is for testers: it works on loopback listeners only, not on %s", what, at)
	}
	mutual, directory, federated := g.cfg.Methods()
	if mutual != nil {
		m, trust, err := loadMutual(&g.cfg, *mutual, l)
		if err != nil {
			return err
		}
		m.Configure(g.tls)
		g.methods = append(g.methods, m)
		g.trust += trust
	}
	var m auth.Method
	var err error
	switch {
	case directory != nil:
		m, err = loadDirectory(&g.cfg, *directory, l)
	case federated != nil:
		m, err = loadFederated(&g.cfg, *federated, l)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	g.methods = append(g.methods, m)
	return nil
}

// loadDirectory makes the method of a directory.
func loadDirectory(cfg *Config, d Directory, l Leaves) (auth.Method, error) {
	if d.Users != "" {
		return nil, errors.New("directory: the test directory is not built in yet")
	}
	return nil, errors.New("directory: LDAP is not built in yet")
}

// loadFederated makes the method of an identity provider.
func loadFederated(cfg *Config, f Federated, l Leaves) (auth.Method, error) {
	return nil, errors.New("federated: SAML is not built in yet")
}

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
	return method, string(ca) + string(crl), nil
}

// loadTokens makes the tokens of auth_token. A random secret lives as long as the
// endpoint and the settings.
func (g *generation) loadTokens(before *generation, l Leaves) error {
	t := g.cfg.AuthToken
	switch {
	case t.Renewal == 0:
		return nil
	case t.Secret == "" && before != nil && before.cfg.AuthToken == t:
		g.tokens = before.tokens
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
