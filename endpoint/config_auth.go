package endpoint

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Authentication is one way to prove who one is. Exactly one field is set.
type Authentication struct {
	Mutual    *Mutual
	Directory *Directory
	Federated *Federated
}

// Mutual is authentication by client certificate.
type Mutual struct {
	CA  string // file; empty: the PKI's
	CRL string // file; empty: the PKI's, if there is one
}

// Directory is authentication by user name and password. Users names the built-in test
// directory; else the rest is an Active Directory.
type Directory struct {
	Users string // file of test users

	URLs     []string // ldap:// or ldaps:// with host and perhaps port, asked in order; all of one kind
	StartTLS bool     // they are ldap:// ones: nothing is asked in the clear
	CA       string   // file of the servers' CAs; empty: the system's
	BaseDN   string   // where users and groups are
	Realm    string   // users sign in as user@realm
	Radius   *Radius
}

// Radius is what checks one-time codes.
type Radius struct {
	Servers    []string // host:port, asked in order
	SecretFile string
	Protocol   string        // "pap", "chap", "mschapv1" or "mschapv2"
	Timeout    time.Duration // of one try
	Retries    int           // after the first try, at each server
	// RequireMessageAuthenticator refuses answers without one (BlastRADIUS, CVE-2024-3596).
	RequireMessageAuthenticator bool
}

// Federated is authentication in the browser, by SAML. Metadata or Demo is set.
type Federated struct {
	Metadata string // file of the identity provider's metadata
	Demo     bool   // the built-in test identity provider
	Users    string // with Demo: file of its users, as Directory's; empty: two that everybody knows
}

// The defaults and bounds of RADIUS: AWS Directory Service's.
const (
	radiusTimeout    = 5 * time.Second
	maxRadiusTimeout = 50 * time.Second
	radiusRetries    = 2
	maxRadiusRetries = 10
	maxRadiusServers = 8
	maxDirectories   = 8
)

// Methods finds the configured ways; nil where one is not asked for.
func (c *Config) Methods() (m *Mutual, d *Directory, f *Federated) {
	for _, a := range c.Authentication {
		switch {
		case a.Mutual != nil:
			m = a.Mutual
		case a.Directory != nil:
			d = a.Directory
		case a.Federated != nil:
			f = a.Federated
		}
	}
	return m, d, f
}

// hasPasswords says whether a method of authentication asks for a user name and a password.
func (c *Config) hasPasswords() bool {
	_, d, f := c.Methods()
	return d != nil || f != nil
}

// testOnly names what only testers may use and a listener that others can reach; "" when
// there is no such pair.
func (c *Config) testOnly() (what string, at netip.AddrPort) {
	switch _, d, f := c.Methods(); {
	case d != nil && d.Users != "":
		what = "the built-in test directory (users)"
	case f != nil && f.Demo:
		what = "the built-in test identity provider (idp: demo)"
	default:
		return "", at
	}
	i := slices.IndexFunc(c.Listen, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
	if i < 0 {
		return "", at
	}
	return what, c.Listen[i]
}

func (p *parsing) authentication(n *yaml.Node, path string) {
	p.c.Authentication = nil
	p.list(n, path, func(n *yaml.Node, path string) {
		if !isMapping(n) || len(n.Content) != 2 {
			p.fail(n, path, "must be one method: mutual, directory or federated")
			return
		}
		add := func(a Authentication, n *yaml.Node, path string) {
			m, d, f := p.c.Methods()
			switch {
			case a.Mutual != nil && m != nil:
				p.fail(n, path, "is listed twice")
			case a.Mutual == nil && (d != nil || f != nil):
				p.fail(n, path, "there is one beside mutual already: directory or federated")
			}
			p.c.Authentication = append(p.c.Authentication, a)
		}
		p.mapping(n, path, fields{
			"mutual": func(n *yaml.Node, path string) {
				m := &Mutual{}
				if !isNull(n) {
					p.mapping(n, path, fields{
						"ca":  p.set(func(n *yaml.Node, at string) { p.text(n, at, &m.CA) }),
						"crl": p.set(func(n *yaml.Node, at string) { p.text(n, at, &m.CRL) }),
					})
				}
				add(Authentication{Mutual: m}, n, path)
			},
			"directory": func(n *yaml.Node, path string) { add(Authentication{Directory: p.directory(n, path, nil)}, n, path) },
			"federated": func(n *yaml.Node, path string) { add(Authentication{Federated: p.federated(n, path, nil)}, n, path) },
		})
	})
	if len(p.c.Authentication) == 0 && len(p.errs) == 0 {
		p.fail(n, path, "needs at least one method")
	}
}

// directory reads one, with more keys beside.
func (p *parsing) directory(n *yaml.Node, path string, more fields) *Directory {
	d := &Directory{}
	var startTLS *yaml.Node
	asked := false
	text := func(into *string) func(*yaml.Node, string) {
		return p.set(func(n *yaml.Node, at string) { p.text(n, at, into) })
	}
	known := fields{
		"users": text(&d.Users),
		"url": p.set(func(n *yaml.Node, at string) {
			if n.Kind == yaml.ScalarNode {
				p.ldapURL(n, at, d)
				return
			}
			p.list(n, at, func(n *yaml.Node, at string) { p.ldapURL(n, at, d) })
		}),
		"start_tls": func(n *yaml.Node, at string) { startTLS = n; p.boolean(n, at, &asked) },
		"ca":        text(&d.CA),
		"base_dn":   text(&d.BaseDN),
		"realm":     text(&d.Realm),
		"radius":    p.set(func(n *yaml.Node, at string) { d.Radius = p.radius(n, at) }),
	}
	maps.Copy(known, more)
	p.mapping(n, path, known)
	if !isMapping(n) {
		return d
	}
	switch {
	case d.Users != "" && len(n.Content) > 2+2*len(more):
		p.fail(n, path, "users is the whole built-in test directory: nothing else belongs beside it")
	case d.Users == "" && p.at[path+".url"] == nil:
		p.fail(n, path, "needs url, or users for the built-in test directory")
	case d.Users == "":
		p.need(n, path, "base_dn", "realm")
	}
	if urls, given := p.at[path+".url"]; given && len(urls.Content) > maxDirectories {
		p.fail(urls, path+".url", "at most %d servers", maxDirectories)
	} else if given && urls.Kind == yaml.SequenceNode && len(urls.Content) == 0 {
		p.fail(urls, path+".url", "is empty")
	}
	switch {
	case startTLS == nil || len(d.URLs) == 0:
	case asked && !d.StartTLS:
		p.fail(startTLS, path+".start_tls", "is for ldap:// addresses")
	case !asked && d.StartTLS:
		p.fail(startTLS, path+".start_tls", "passwords would be sent in the clear: leave it on, or use ldaps://")
	}
	return d
}

// ldapURL checks that an address names a scheme and a server, and nothing else.
func (p *parsing) ldapURL(n *yaml.Node, path string, d *Directory) {
	var text string
	if p.text(n, path, &text); text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" {
		p.fail(n, path, "%q is not an address like ldaps://dc1.example.com:636", text)
		return
	}
	if plain := u.Scheme == "ldap"; len(d.URLs) == 0 {
		d.StartTLS = plain
	} else if d.StartTLS != plain {
		p.fail(n, path, "ldap:// and ldaps:// addresses cannot be mixed")
	}
	d.URLs = append(d.URLs, text)
}

func (p *parsing) radius(n *yaml.Node, path string) *Radius {
	r := &Radius{Protocol: "pap", Timeout: radiusTimeout, Retries: radiusRetries, RequireMessageAuthenticator: true}
	server := func(n *yaml.Node, at string) {
		var v string
		p.text(n, at, &v)
		host, port, err := net.SplitHostPort(v)
		number, bad := strconv.ParseUint(port, 10, 16)
		switch {
		case v == "":
		case err != nil || host == "" || bad != nil || number == 0:
			p.fail(n, at, "%q is not a server with a port, like 10.0.0.3:1812", v)
		default:
			r.Servers = append(r.Servers, v)
		}
	}
	p.mapping(n, path, fields{
		"server":      p.set(server),
		"servers":     p.set(func(n *yaml.Node, at string) { p.list(n, at, server) }),
		"secret_file": p.set(func(n *yaml.Node, at string) { p.text(n, at, &r.SecretFile) }),
		"protocol":    func(n *yaml.Node, at string) { p.word(n, at, &r.Protocol, "pap", "chap", "mschapv1", "mschapv2") },
		"timeout": func(n *yaml.Node, at string) {
			d, err := time.ParseDuration(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil || d < time.Second || d > maxRadiusTimeout {
				p.fail(n, at, "must be a time from 1s to %s, not %q", maxRadiusTimeout, n.Value)
				return
			}
			r.Timeout = d
		},
		"retries":                       func(n *yaml.Node, at string) { p.number(n, at, 0, maxRadiusRetries, &r.Retries) },
		"require_message_authenticator": func(n *yaml.Node, at string) { p.boolean(n, at, &r.RequireMessageAuthenticator) },
	})
	if !isMapping(n) {
		return r
	}
	_, one := p.at[path+".server"]
	_, list := p.at[path+".servers"]
	switch {
	case one == list:
		p.fail(n, path, "needs server, or servers")
	case len(r.Servers) > maxRadiusServers:
		p.fail(n, path, "at most %d servers", maxRadiusServers)
	case len(r.Servers) == 0 && list:
		p.fail(n, path, "servers is empty")
	}
	p.need(n, path, "secret_file")
	return r
}

// federated reads an identity provider, with more keys beside.
func (p *parsing) federated(n *yaml.Node, path string, more fields) *Federated {
	f := &Federated{}
	known := fields{
		"idp_metadata": p.set(func(n *yaml.Node, at string) { p.text(n, at, &f.Metadata) }),
		"idp": func(n *yaml.Node, at string) {
			var v string
			p.word(n, at, &v, "demo")
			f.Demo = v == "demo"
		},
		"users": p.set(func(n *yaml.Node, at string) { p.text(n, at, &f.Users) }),
	}
	maps.Copy(known, more)
	p.mapping(n, path, known)
	switch {
	case !isMapping(n):
	case (f.Metadata != "") == f.Demo:
		p.fail(n, path, "needs idp_metadata, or idp: demo")
	case f.Users != "" && !f.Demo:
		p.fail(p.at[path+".users"], path+".users", "is for idp: demo; another identity provider has its own users")
	}
	return f
}

// checkAuth is what concerns more than the methods alone.
func (p *parsing) checkAuth() {
	if what, at := p.c.testOnly(); what != "" {
		p.fail(p.at["authentication"], "authentication", "%s is for testers: it works on loopback listeners only, not on %s", what, at)
	}
}

// sessionKeys are the keys of how long a sign-in holds.
func (p *parsing) sessionKeys(known fields) {
	c := &p.c
	known["session_timeout_hours"] = p.set(func(n *yaml.Node, at string) {
		var v string
		p.word(n, at, &v, "8", "10", "12", "24") // as AWS
		if hours, err := strconv.Atoi(v); err == nil {
			c.SessionTimeout = time.Duration(hours) * time.Hour
		}
	})
	known["disconnect_on_session_timeout"] = p.set(func(n *yaml.Node, at string) { p.boolean(n, at, &c.DisconnectOnTimeout) })
}

// methodsText is the list of authentication as BuiltinText writes it: mutual for none.
func methodsText(methods []Authentication) string {
	if len(methods) == 0 {
		methods = []Authentication{{Mutual: &Mutual{}}}
	}
	var b strings.Builder
	for _, a := range methods {
		switch {
		case a.Directory != nil:
			fmt.Fprintf(&b, "  - directory: {users: %q}\n", a.Directory.Users)
		case a.Federated != nil && a.Federated.Users != "":
			fmt.Fprintf(&b, "  - federated: {idp: demo, users: %q}\n", a.Federated.Users)
		case a.Federated != nil && a.Federated.Demo:
			b.WriteString("  - federated: {idp: demo}\n")
		case a.Federated != nil:
			fmt.Fprintf(&b, "  - federated: {idp_metadata: %q}\n", a.Federated.Metadata)
		default:
			b.WriteString("  - mutual: {}\n")
		}
	}
	return b.String()
}
