//go:build linux

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/lab/peers"
)

// person builds the program that does a person's and a browser's part of a sign-in (lab/peers/browser),
// once; it is its own directory's xdg-open.
var person = sync.OnceValues(func() (string, error) {
	file := filepath.Join(os.TempDir(), "person", "xdg-open")
	out, err := exec.Command("go", "build", "-o", file, "./peers/browser").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the browser's driver: %w\n%s", err, out)
	}
	return file, nil
})

// simpleSAML starts SimpleSAMLphp at one of a node's addresses.
func (s *site) simpleSAML(n *Node, addr netip.Addr, https bool) *peers.SAML {
	s.t.Helper()
	c := peers.SAMLConfig{Dir: filepath.Join(n.Dir, "saml"), Place: in(n), At: netip.AddrPortFrom(addr, 8880)}
	if https {
		s.ok(n.Do(func() (err error) {
			c.Front, err = net.Listen("tcp", netip.AddrPortFrom(addr, 8843).String())
			return err
		}))
	}
	idp, err := peers.StartSAML(c)
	s.ok(err)
	s.t.Cleanup(idp.Stop)
	return idp
}

// signedIn is a command's environment in which xdg-open is a person of this name.
func (s *site) signedIn(user, password string) []string {
	s.t.Helper()
	file, err := person()
	s.ok(err)
	return []string{"env", "PATH=" + filepath.Dir(file) + ":" + os.Getenv("PATH"), "BROWSER_USER=" + user, "BROWSER_PASSWORD=" + password,
		"BROWSER_HOSTS=MAP " + peers.SAMLHost + " " + serverOuter.String(), "BROWSER_UNTRUSTED=1"}
}

// onTerminal runs a command where it finds a terminal.
func onTerminal(argv ...string) []string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return []string{"script", "--quiet", "--return", "--command", strings.Join(quoted, " "), "/dev/null"}
}

// federatedProfile is a profile as AWS exports it for SAML.
func federatedProfile(p pki, transport string) string {
	return fmt.Sprintf("client\ndev tun\nproto %s\nremote %s %d\nnobind\nremote-cert-tls server\nverb 3\n<ca>\n%s</ca>\nauth-user-pass\nauth-federate\nauth-retry interact\nauth-nocache\nreneg-sec 0\n",
		transport, serverOuter, port, p.ca)
}

// TestFederated is story W3, step 1: connect opens the browser on the identity provider's page by itself, the
// person signs in there, and the tunnel is up. The provider is SimpleSAMLphp, the browser Chromium.
func TestFederated(t *testing.T) {
	t.Parallel()
	needs(t, "chromium", "php", "script")
	for _, c := range []struct {
		transport string
		https     bool // of the provider
		mutual    bool // a certificate is needed, too
	}{{"udp", false, false}, {"tcp", true, true}} {
		t.Run(c.transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.ok(s.server.Forward())
			s.ok(s.host.Route("", serverInner.String()))
			idp := s.simpleSAML(s.server, serverOuter, c.https)
			s.write(s.server, "idp.xml", string(idp.Metadata))
			p := newPKI(t)
			config := s.yaml(p, "", endpointConfig{Transport: c.transport, Rules: vpcRules()})
			methods, profile := "{federated: {idp_metadata: idp.xml}}", federatedProfile(p, c.transport)
			if c.mutual {
				methods = "{mutual: {ca: ca.crt}}, " + methods
				profile += "<cert>\n" + p.client.Cert + "</cert>\n<key>\n" + p.client.Key + "</key>\n"
			}
			up := s.endpointUp(strings.Replace(config, "[{mutual: {ca: ca.crt}}]", "["+methods+"]", 1))
			s.aditd()
			before := s.system()
			s.adit("import", s.write(s.client, "lab.ovpn", profile))

			connect := onTerminal(bin(t, "adit"), "connect", "lab", "--timeout", "90s")
			out := s.run(s.client, append(s.signedIn("alice", "alicepw"), connect...)...)
			s.reaches(s.client, none, hostAddr)
			list := s.connections()
			if len(list) != 1 || list[0].Username != "alice@example.test" || (list[0].Cert != "") != c.mutual {
				t.Errorf("connected: %+v\n%s", list, out)
			}
			s.adit("disconnect", "lab")
			s.same("after the connection", before, s.system())

			// Another person, without a terminal: the address is printed, and opened by hand.
			again := s.start(s.client, "adit connect", bin(t, "adit"), "connect", "lab", "--no-browser", "--timeout", "90s")
			var address string
			s.until(soon, "adit prints the address", func() bool {
				address = regexp.MustCompile(`https?://\S+SAMLRequest=\S+`).FindString(again.Out.String())
				return address != ""
			})
			file, err := person()
			s.ok(err)
			s.run(s.client, append(s.signedIn("bob", "bobpw"), file, address)...)
			select {
			case <-again.Done():
			case <-time.After(2 * soon):
				t.Fatal("adit connect does not end")
			}
			s.ok(again.Err())
			s.reaches(s.client, none, hostAddr)
			if list := s.connections(); len(list) != 1 || list[0].Client != "bob@example.test" {
				t.Errorf("connected: %+v", list)
			}
			s.adit("disconnect", "lab")
			s.same("after the second connection", before, s.system())
			for _, text := range []string{up.Out.String(), out, again.Out.String()} {
				if strings.Contains(text, "SAMLResponse") || strings.Contains(text, "CRV1::") {
					t.Error("an answer of the identity provider is in a log")
				}
			}
		})
	}
}

// TestFederatedDemo is what a tester does on one machine, without root in real life: the endpoint with its own
// identity provider, the client, and the browser.
func TestFederatedDemo(t *testing.T) {
	t.Parallel()
	needs(t, "chromium", "curl", "script")
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			data := filepath.Join(s.client.Dir, "data")
			up := s.start(s.client, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--data", data, "--proto", transport, "--auth", "federated", "--idp", "demo")
			s.ok(up.WaitFor("sign in as: alice@example.com with the password alice-demo", soon))
			connect := onTerminal(bin(t, "adit"), "connect", filepath.Join(data, "client.ovpn"), "--userspace", "--forward", "127.0.0.1:8080=10.98.0.1:80", "--timeout", "90s")
			tunnel := s.start(s.client, "adit connect", append(s.signedIn("alice@example.com", "alice-demo"), connect...)...)
			var page string
			s.until(90*time.Second, "the demo network's page comes through the tunnel", func() bool {
				select {
				case <-tunnel.Done():
					t.Fatalf("adit connect ended: %v\n%s", tunnel.Err(), tunnel.Out)
				default:
				}
				var err error
				page, err = s.try(s.client, "curl", "-sS", "--max-time", "5", "http://127.0.0.1:8080/")
				return err == nil
			})
			if !strings.Contains(page, "10.64.0.") {
				t.Errorf("the page: %s", page)
			}
			if out := s.run(s.client, bin(t, "adit-endpoint"), "--data", data, "connections"); !strings.Contains(out, "alice@example.com") {
				t.Errorf("connections: %s", out)
			}
			s.terminate(tunnel)
			s.terminate(up)
		})
	}
}
