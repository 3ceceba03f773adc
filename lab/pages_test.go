//go:build linux

package lab

import (
	"strings"
	"testing"
)

// The pages for one machine: the endpoint, the client and the person are on it.

// TestPageDirectory follows "Sign in with a password and a one-time code".
func TestPageDirectory(t *testing.T) {
	t.Parallel()
	needs(t, "curl")
	s := newSite(t)
	p := s.page("sign-in-directory.md", map[string]*Node{"": s.client})
	p.Stays = []string{"adit-endpoint up", "adit connect"}
	_, password, _ := strings.Cut(p.step(), "with the password ")
	password, _, _ = strings.Cut(password, "\n")
	s.write(s.client, "password", password+"\n")
	p.Swap = [][2]string{{"--user tester", "--user tester --password-file password"}} // the page's reader is asked
	p.step()
	p.Swap = nil
	for p.next < len(p.commands) {
		p.step()
	}
}

// TestPageSAML follows "Sign in with a browser (SAML)".
func TestPageSAML(t *testing.T) {
	t.Parallel()
	needs(t, "chromium", "curl", "script")
	s := newSite(t)
	p := s.page("sign-in-saml.md", map[string]*Node{"": s.client})
	p.Stays = []string{"adit-endpoint up", "adit connect"}
	p.Wrap = map[string]func([]string) []string{"adit connect": func(argv []string) []string {
		return append(s.signedIn("alice@example.com", "alice-demo"), onTerminal(argv...)...)
	}}
	for p.next < len(p.commands) {
		p.step()
	}
}
