//go:build linux

package lab

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adit-vpn/adit/saml/idp"
	"github.com/adit-vpn/adit/saml/sp"
)

// fields are the form of an identity provider's page.
func fields(page string) url.Values {
	form := url.Values{}
	for _, f := range regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`).FindAllStringSubmatch(page, -1) {
		form.Set(f[1], html.UnescapeString(f[2]))
	}
	return form
}

// surf does what a browser in the client node does with an address: it signs in as alice, and takes the answer, as
// change makes it, to where it goes. It returns what the page there says.
func (s *site) surf(address string, change func([]byte) []byte) (page string, err error) {
	transport := &http.Transport{DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
		return s.client.Dial(network, addr, soon)
	}}
	defer transport.CloseIdleConnections()
	browser := &http.Client{Transport: transport, Timeout: soon}
	read := func(resp *http.Response, err error) (string, error) {
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return string(b), err
	}
	if page, err = read(browser.Get(address)); err != nil {
		return "", err
	}
	form := fields(page)
	form.Set("username", "alice")
	form.Set("password", "alicepw")
	sso, _, _ := strings.Cut(address, "?")
	if page, err = read(browser.PostForm(sso, form)); err != nil {
		return "", err
	}
	form = fields(page)
	answer, err := base64.StdEncoding.DecodeString(form.Get("SAMLResponse"))
	if err != nil || len(answer) == 0 {
		return "", fmt.Errorf("no answer of the identity provider: %v\n%s", err, page)
	}
	form.Set("SAMLResponse", base64.StdEncoding.EncodeToString(change(answer)))
	return read(browser.PostForm(sp.ACS, form))
}

// TestFederatedRefused: an answer of the browser that the endpoint does not take ends the command with AWS's words and
// exit code 1. The browser is opened once for each command, and the cause is in the endpoint's log.
func TestFederatedRefused(t *testing.T) {
	t.Parallel()
	needs(t, "script")
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.ok(s.server.Forward())
			s.ok(s.host.Route("", serverInner.String()))
			l, err := s.server.Listen("tcp", netip.AddrPortFrom(serverOuter, 8880).String())
			s.ok(err)
			provider := func(audience string) *idp.Provider {
				key, err := idp.NewKey(time.Now())
				s.ok(err)
				p, err := idp.New(idp.Config{Base: "http://" + l.Addr().String(), Audience: audience, ACS: sp.ACS, Key: key, Now: time.Now,
					SignIn: func(_ context.Context, name, password, _ string) (idp.Person, bool) {
						return idp.Person{Name: name + "@example.test"}, name == "alice" && password == "alicepw"
					}})
				s.ok(err)
				return p
			}
			ours, foreign := provider(sp.EntityID), provider(sp.EntityID)
			var present atomic.Pointer[idp.Provider] // that answers at the address
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { present.Load().ServeHTTP(w, r) })}
			served := make(chan error, 1)
			go func() { served <- server.Serve(l) }()
			t.Cleanup(func() {
				server.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
			s.write(s.server, "idp.xml", string(ours.Metadata()))
			p := newPKI(t)
			config := s.yaml(p, "", endpointConfig{Transport: transport, Rules: vpcRules()})
			up := s.endpointUp(strings.Replace(config, "[{mutual: {ca: ca.crt}}]", "[{federated: {idp_metadata: idp.xml}}]", 1))
			s.aditd()
			before := s.system()
			s.adit("import", s.write(s.client, "lab.ovpn", federatedProfile(p, transport)))

			// The browser notes each address that it is opened with.
			opened := filepath.Join(s.client.Dir, "opened")
			browser := s.write(s.client, "xdg-open", "#!/bin/sh\nprintf '%s\\n' \"$1\" >>"+opened+"\n")
			s.ok(os.Chmod(browser, 0o700))
			addresses := func() []string {
				b, err := os.ReadFile(opened)
				if err != nil {
					return nil
				}
				return strings.Fields(string(b))
			}
			connect := append([]string{"env", "PATH=" + filepath.Dir(browser) + ":" + os.Getenv("PATH")},
				onTerminal(bin(t, "adit"), "connect", "lab", "--timeout", "90s")...)
			unchanged := func(b []byte) []byte { return b }
			for i, tt := range []struct {
				name   string
				answer *idp.Provider
				change func([]byte) []byte
				cause  string // in the endpoint's log; empty: it is right
			}{
				{"signed with a foreign key", foreign, unchanged, "not of a key in the identity provider's metadata"},
				{"another name in it", ours, func(b []byte) []byte {
					return bytes.Replace(b, []byte("alice@example.test"), []byte("admin@example.test"), 1)
				}, "was changed after it was signed"},
				{"right", ours, unchanged, ""},
			} {
				present.Store(tt.answer)
				c := s.start(s.client, "adit connect", connect...)
				s.until(2*soon, tt.name+": the browser is opened", func() bool { return len(addresses()) == i+1 })
				page, err := s.surf(addresses()[i], tt.change)
				s.ok(err)
				select {
				case <-c.Done():
				case <-time.After(4 * soon):
					t.Fatalf("%s: adit connect does not end: %s", tt.name, c.Out)
				}
				if n := len(addresses()); n != i+1 {
					t.Errorf("%s: the browser was opened %d times", tt.name, n-i)
				}
				if tt.cause == "" {
					s.ok(c.Err())
					s.reaches(s.client, none, hostAddr)
					if list := s.connections(); len(list) != 1 || list[0].Client != "alice@example.test" {
						t.Errorf("connected: %+v", list)
					}
					s.adit("disconnect", "lab")
					continue
				}
				var exit *exec.ExitError
				if !errors.As(c.Err(), &exit) || exit.ExitCode() != 1 {
					t.Errorf("%s: ended with %v", tt.name, c.Err())
				}
				if text := c.Out.String(); !strings.Contains(text, "adit: the server did not accept the sign-in of the browser: Invalid username or password") || !strings.Contains(text, "hint: ") || strings.Contains(text, tt.cause) {
					t.Errorf("%s: adit says\n%s\nand the browser %s", tt.name, text, page)
				}
				if log := up.Out.String(); strings.Count(log, tt.cause) != 1 {
					t.Errorf("%s: the endpoint's log:\n%s", tt.name, log)
				}
				if c := s.status(); c.State != "disconnected" {
					t.Errorf("%s: left in state %s", tt.name, c.State)
				}
				s.same(tt.name, before, s.system())
			}
		})
	}
}
