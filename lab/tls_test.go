//go:build linux

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTLSKinds: what servers and clients in the field use beside our own
// defaults: RSA certificates, TLS 1.2, and each curve.
func TestTLSKinds(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, c := range []struct {
		name, lines, says string
	}{
		{"P-384", "tls-groups secp384r1", "secp384r1"},
		{"P-256", "tls-groups prime256v1", "prime256v1"},
		{"X25519", "tls-groups X25519", "X25519"},
		{"TLS 1.2", "tls-version-max 1.2", "TLSv1.2"},
		{"TLS 1.2 P-384", "tls-version-max 1.2\ntls-groups secp384r1", "TLSv1.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := s.rsaPKI()
			// openvpn's client and our endpoint.
			e := s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
			client := s.openvpn(s.client, clientProfile(p, "udp", "plain", "", "disable-dco", "explicit-exit-notify 1", c.lines))
			s.ok(client.WaitFor("Initialization Sequence Completed", soon))
			s.reaches(s.client, none, hostAddr)
			if out := client.Out.String(); !strings.Contains(out, c.says) || !strings.Contains(out, "RSA") {
				t.Errorf("openvpn does not say %q and RSA", c.says)
			}
			s.terminate(client)
			s.terminate(e)

			// Our client and openvpn's server.
			server := s.openvpn(s.server, openvpnServer(s, p, staticKey(), cell{Transport: "udp", Cipher: "AES-256-GCM"}, c.lines))
			s.ok(server.WaitFor("Initialization Sequence Completed", soon))
			s.aditd()
			s.connect(clientProfile(p, "udp", "plain", ""))
			s.reaches(s.client, none, hostAddr)
			if !strings.Contains(server.Out.String(), c.says) {
				t.Errorf("openvpn does not say %q", c.says)
			}
		})
	}
}

// rsaPKI makes a CA and certificates with RSA keys by our own command.
func (s *site) rsaPKI() pki {
	s.t.Helper()
	s.ok(os.MkdirAll(s.dataDir(), 0o700))
	for _, args := range [][]string{{"init"}, {"server"}, {"client", "alice"}} {
		s.endpointCmd(append([]string{"pki", args[0]}, append(args[1:], "--rsa", "2048")...)...)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(s.dataDir(), "pki", name))
		s.ok(err)
		return string(b)
	}
	return pki{read("ca.crt"), pair{read("issued/server.crt"), read("private/server.key")}, pair{read("issued/alice.crt"), read("private/alice.key")}}
}
