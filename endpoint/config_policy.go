package endpoint

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/adit-vpn/adit/endpoint/cedar"
)

// PolicyEvery is how often AWS judges sessions again ("How device posture works").
const PolicyEvery = 5 * time.Minute

// Bounds of AuthorizationPolicy.Every, and of the trust providers' texts.
const (
	minPolicyEvery = time.Second
	maxPolicyEvery = time.Hour
	maxTenant      = 255
	maxKeyURL      = 2048
)

func (p *parsing) authorizationPolicy(n *yaml.Node, path string) {
	a := &p.c.AuthorizationPolicy
	a.Every = PolicyEvery
	p.mapping(n, path, fields{
		"file": func(n *yaml.Node, at string) { p.text(n, at, &a.File) },
		"text": p.set(func(n *yaml.Node, at string) { // several lines
			if a.Text = n.Value; n.Kind != yaml.ScalarNode || strings.TrimSpace(a.Text) == "" {
				p.fail(n, at, "must be the text of a policy")
			}
		}),
		"shadow": func(n *yaml.Node, at string) { p.boolean(n, at, &a.Shadow) },
		"every": func(n *yaml.Node, at string) {
			d, err := time.ParseDuration(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil || d < minPolicyEvery || d > maxPolicyEvery {
				p.fail(n, at, "must be a time from %s to %s, not %q", minPolicyEvery, maxPolicyEvery, n.Value)
				return
			}
			a.Every = d
		},
	})
	if (a.File == "") == (a.Text == "") && isMapping(n) {
		p.fail(n, path, "needs file or text, and not both")
	}
}

// checkPolicy parses a policy that is in the file itself; the generation parses one in a file of its own.
func (p *parsing) checkPolicy() {
	if text := p.c.AuthorizationPolicy.Text; text != "" {
		if _, err := cedar.Parse(text); err != nil {
			p.fail(p.at["authorization_policy.text"], "authorization_policy.text", "%v", err)
		}
	}
}

// policyText is the policy's text; file is where it is from, or empty.
func (c *Config) policyText(read func(string) ([]byte, error)) (file, text string, err error) {
	a := c.AuthorizationPolicy
	if a.File == "" {
		return "", a.Text, nil
	}
	file = c.Path(a.File)
	b, err := read(file)
	return file, string(b), err
}

func (p *parsing) trustProvider(n *yaml.Node, path string) {
	var t TrustProvider
	p.mapping(n, path, fields{
		"type":    p.set(func(n *yaml.Node, at string) { p.word(n, at, &t.Type, TrustProviders()...) }),
		"tenant":  p.set(func(n *yaml.Node, at string) { p.text(n, at, &t.Tenant) }),
		"key_url": p.set(func(n *yaml.Node, at string) { p.text(n, at, &t.KeyURL) }),
	})
	p.need(n, path, "type", "tenant")
	if isMapping(n) && t.Type != "" && t.Tenant != "" {
		if err := t.Check(); err != nil {
			p.fail(n, path, "%v", err)
		}
	}
	if slices.ContainsFunc(p.c.DevicePosture, func(o TrustProvider) bool { return o.Type == t.Type }) && t.Type != "" {
		p.fail(n, path, "%s is listed twice", t.Type)
	}
	p.c.DevicePosture = append(p.c.DevicePosture, t)
}

// What can be wrong with a TrustProvider.
var (
	errTrustType   = errors.New("the type is one of " + strings.Join(TrustProviders(), ", "))
	errTrustTenant = errors.New("the tenant has 1 to 255 characters, none of them a space")
	errTrustURL    = errors.New("the public key's address begins with https:// (only jamf needs none)")
)

// Check says what is wrong with it. Only AWS's client asks the provider, so nothing more is known here.
func (t TrustProvider) Check() error {
	u, err := url.Parse(t.KeyURL)
	switch {
	case !slices.Contains(TrustProviders(), t.Type):
		return errTrustType
	case t.Tenant == "" || len(t.Tenant) > maxTenant || strings.ContainsFunc(t.Tenant, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errTrustTenant
	case t.KeyURL == "" && t.Type == "jamf":
		return nil
	case err != nil || u.Scheme != "https" || u.Host == "" || len(t.KeyURL) > maxKeyURL:
		return errTrustURL
	}
	return nil
}
