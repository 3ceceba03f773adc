package endpoint

import (
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/adit-vpn/adit/ovpn"
)

// Legacy is what clients need that cannot negotiate, or whose files cannot be changed. AWS
// Client VPN has none of it; the zero values are its behaviour.
type Legacy struct {
	Fallback string // data_ciphers_fallback: cipher of clients that cannot negotiate; empty = they are refused
	Auth     string // digest beside ciphers that do not authenticate by themselves; empty = SHA1
	Compress string // framing, as ovpn.Config.Compress; empty = none
	Fragment int    // largest datagram body, bytes; 0 = off
	Insecure bool   // legacy.insecure: Ciphers and Fallback may have broken ones
}

// AuthToken is auth_token: tokens that take the place of passwords.
type AuthToken struct {
	Lifetime time.Duration // since the sign-in; 0 = no end
	Renewal  time.Duration // 0 = no tokens
	Secret   string        // file; empty = random at each start
}

// Bounds of numbers in the file.
const (
	minFragment = 68 // options.c
	maxFragment = 65000
	maxSeconds  = 10 * 365 * 24 * 3600
)

// cipher reads the name of one cipher in its usual spelling; "" after a mistake.
func (p *parsing) cipher(n *yaml.Node, path string) string {
	switch c, ok := ovpn.LookupCipher(n.Value); {
	case !ok || n.Kind != yaml.ScalarNode:
		p.fail(n, path, "unknown cipher %q: choose from %s, AES-256-CBC, AES-128-CBC", n.Value, strings.Join(ovpn.DefaultCiphers(), ", "))
	case c.Insecure && !c.Broken():
		p.fail(n, path, "%s protects nothing: choose from %s, AES-256-CBC, AES-128-CBC", c.Name, strings.Join(ovpn.DefaultCiphers(), ", "))
	default:
		if c.Broken() {
			p.broken = append(p.broken, brokenCipher{c.Name, path, n})
		}
		return c.Name
	}
	return ""
}

// brokenCipher is one that needs legacy.insecure, and where the file names it.
type brokenCipher struct {
	name, path string
	node       *yaml.Node
}

func (p *parsing) ciphers(n *yaml.Node, path string) {
	var list []string
	p.list(n, path, func(n *yaml.Node, path string) {
		switch name := p.cipher(n, path); {
		case name == "":
		case slices.Contains(list, name):
			p.fail(n, path, "%s is listed twice", name)
		default:
			list = append(list, name)
		}
	})
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		p.fail(n, path, "is empty")
	}
	p.c.Ciphers = list
}

// legacy are the keys of Legacy, topology, mssfix and tls_version_min.
func (p *parsing) legacy(known fields) {
	c := &p.c
	known["data_ciphers_fallback"] = p.set(func(n *yaml.Node, at string) { c.Legacy.Fallback = p.cipher(n, at) })
	known["auth"] = p.set(func(n *yaml.Node, at string) {
		var name string
		p.text(n, at, &name)
		digests := []string{"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"}
		i := slices.IndexFunc(digests, func(d string) bool { return strings.EqualFold(d, name) })
		switch {
		case name == "":
		case i < 0:
			p.fail(n, at, "%q is not one of %s", name, strings.Join(digests, ", "))
		default:
			c.Legacy.Auth = digests[i]
		}
	})
	known["compress"] = p.set(func(n *yaml.Node, at string) {
		var v string
		p.word(n, at, &v, "none", "lzo-no", "stub", "stub-v2", "migrate")
		if v != "none" {
			c.Legacy.Compress = v
		}
	})
	known["fragment"] = p.set(func(n *yaml.Node, at string) {
		if n.Value != "0" {
			p.number(n, at, minFragment, maxFragment, &c.Legacy.Fragment)
		}
	})
	known["mssfix"] = p.set(func(n *yaml.Node, at string) {
		c.Mssfix = 0
		if n.Value != "0" {
			p.number(n, at, 576, 65535, &c.Mssfix)
		}
	})
	known["topology"] = p.set(func(n *yaml.Node, at string) { p.word(n, at, &c.Topology, "subnet", "net30", "p2p") })
	known["tls_version_min"] = p.set(func(n *yaml.Node, at string) {
		versions := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
		var v string
		if p.word(n, at, &v, "1.0", "1.1", "1.2", "1.3"); v != "" {
			c.TLSVersionMin = versions[v]
		}
	})
	known["auth_token"] = p.set(p.authToken)
	known["legacy"] = p.set(func(n *yaml.Node, at string) {
		p.mapping(n, at, fields{"insecure": func(n *yaml.Node, at string) { p.boolean(n, at, &c.Legacy.Insecure) }})
	})
}

// minRenewal is openvpn's, in seconds: twice its --hand-window. A token that is good for less could end while the
// handshake that brings it goes on.
const minRenewal = 120

// authToken is openvpn's auth-gen-token: times are in seconds.
func (p *parsing) authToken(n *yaml.Node, path string) {
	seconds := func(low int, into *time.Duration) func(*yaml.Node, string) {
		return func(n *yaml.Node, at string) {
			var v int
			p.number(n, at, low, maxSeconds, &v)
			*into = time.Duration(v) * time.Second
		}
	}
	t := &p.c.AuthToken
	t.Renewal = renegotiate
	p.mapping(n, path, fields{
		"lifetime": seconds(0, &t.Lifetime),
		"renewal":  seconds(minRenewal, &t.Renewal),
		"secret":   p.set(func(n *yaml.Node, at string) { p.text(n, at, &t.Secret) }),
	})
}

// checkLegacy is what concerns more than one of these keys.
func (p *parsing) checkLegacy() {
	c := &p.c
	if _, given := p.at["mssfix"]; !given {
		switch {
		case c.Legacy.Fragment > 0:
			c.Mssfix = c.Legacy.Fragment
		case c.TunMTU != defaultMTU: // the tunnel's own MTU is the limit
			c.Mssfix = 0
		}
	}
	for _, b := range p.broken {
		if !c.Legacy.Insecure {
			p.fail(b.node, b.path, "%s is broken (CVE-2016-6329): choose from %s, AES-256-CBC, AES-128-CBC; legacy.insecure allows it for clients that have nothing better",
				b.name, strings.Join(ovpn.DefaultCiphers(), ", "))
		}
	}
	if c.Legacy.Fragment > 0 && c.Transport == "tcp" {
		p.fail(p.at["fragment"], "fragment", "is for transport udp: a stream has no datagrams")
	}
	if c.AuthToken.Renewal > 0 && !c.hasPasswords() {
		p.fail(p.at["auth_token"], "auth_token", "takes the place of passwords, and no method of authentication asks for one")
	}
	if f := c.Legacy.Fallback; f != "" && slices.Contains(c.Ciphers, f) && len(c.Ciphers) == 1 {
		p.fail(p.at["data_ciphers_fallback"], "data_ciphers_fallback", "%s is the only one of ciphers already", strconv.Quote(f))
	}
}
