package endpoint

import (
	"cmp"
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/adit-vpn/adit/ovpn/wrap"
)

func (p *parsing) controlWrap(n *yaml.Node, path string) {
	w := &p.c.ControlWrap
	*w = ControlWrap{}
	var v2 *yaml.Node // the last key that only tls-crypt-v2 has
	p.mapping(n, path, fields{
		"type": func(n *yaml.Node, at string) { p.word(n, at, &w.Type, "none", "tls-auth", "tls-crypt", "tls-crypt-v2") },
		"key":  p.set(func(n *yaml.Node, at string) { p.text(n, at, &w.Key) }),
		"also": func(n *yaml.Node, at string) { v2 = n; p.wrapKey(n, at, &w.Also) },
		"max_age_days": func(n *yaml.Node, at string) {
			v2 = n
			p.number(n, at, 1, maxKeyDays, &w.MaxAgeDays)
		},
		"force_cookie": func(n *yaml.Node, at string) { v2 = n; p.boolean(n, at, &w.ForceCookie) },
	})
	switch {
	case w.Type == "" && isMapping(n) && len(p.errs) == 0:
		p.fail(n, path+".type", "is missing")
	case w.Type == "none" && w.Key != "":
		p.fail(n, path, "type none takes no key")
	case (w.Type == "tls-auth" || w.Type == "tls-crypt") && w.Key == "":
		p.fail(n, path+".key", "is missing: %s needs a key file", w.Type)
	case w.Type != "" && w.Type != "tls-crypt-v2" && v2 != nil:
		p.fail(v2, path, "also, max_age_days and force_cookie belong to tls-crypt-v2")
	}
}

// wrapKey is the method beside tls-crypt-v2.
func (p *parsing) wrapKey(n *yaml.Node, path string, into *WrapKey) {
	p.mapping(n, path, fields{
		"type": func(n *yaml.Node, at string) { p.word(n, at, &into.Type, "tls-auth", "tls-crypt") },
		"key":  p.set(func(n *yaml.Node, at string) { p.text(n, at, &into.Key) }),
	})
	if isMapping(n) && len(p.errs) == 0 && (into.Type == "" || into.Key == "") {
		p.fail(n, path, "needs type and key")
	}
}

// wrapKeyFile is the key of the method proper.
func (c *Config) wrapKeyFile() string {
	if c.ControlWrap.Key == "" {
		return pkiFile(c, "private", "tls-crypt-v2", "server.key")
	}
	return c.Path(c.ControlWrap.Key)
}

// KeyAge is how old a client's tls-crypt-v2 key may be; 0: any age.
func (w *ControlWrap) KeyAge() time.Duration { return time.Duration(w.MaxAgeDays) * 24 * time.Hour }

// loadWrap reads the key of the control channel's protection.
func (g *generation) loadWrap(l Leaves) (err error) {
	w := g.cfg.ControlWrap
	switch w.Type {
	case "none":
		return nil
	case "tls-auth", "tls-crypt":
		g.wrap, err = loadSharedKey(&g.cfg, WrapKey{Type: w.Type, Key: w.Key}, l)
		return err
	}
	var also wrap.Method
	if w.Also.Type != "" {
		if also, err = loadSharedKey(&g.cfg, w.Also, l); err != nil {
			return err
		}
	}
	file := g.cfg.wrapKeyFile()
	text, err := l.ReadFile(file)
	if err != nil {
		return fmt.Errorf("control_wrap key: %w", err)
	}
	key, err := wrap.ParseServerKey(text)
	if err != nil {
		return fmt.Errorf("control_wrap key %s: %w", file, err)
	}
	g.wrap = wrap.TLSCryptV2Server(key, also)
	return nil
}

// loadSharedKey reads a key that all clients have. tls-auth has the server's
// direction 0 and the digest of auth.
func loadSharedKey(cfg *Config, w WrapKey, l Leaves) (wrap.Method, error) {
	file := cfg.Path(w.Key)
	text, err := l.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("control_wrap key: %w", err)
	}
	key, err := wrap.ParseStaticKey(text)
	if err != nil {
		return nil, fmt.Errorf("control_wrap key %s: %w", file, err)
	}
	if w.Type == "tls-auth" {
		return wrap.TLSAuth(key, 0, cmp.Or(cfg.Legacy.Auth, "SHA1"))
	}
	return wrap.TLSCrypt(key), nil
}
