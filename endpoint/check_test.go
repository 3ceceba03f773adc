package endpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// TestCheckConfig: each file that a configuration names is looked at, and what is wrong with it has
// the line and the field that name it.
func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		p, err := pki.Open(filepath.Join(dir, name))
		made(err)
		made(p.Init(pki.Options{}))
		_, err = p.Server("server", pki.Options{Days: 90})
		made(err)
		_, err = p.Client("ann", pki.Options{})
		made(err)
		_, err = p.CRL(0)
		made(err)
	}
	key, err := wrap.GenerateStaticKey(strings.NewReader(strings.Repeat("x", 256)))
	made(err)
	write("ta.key", string(key.Text()))
	write("empty", "")
	write("short", "abc\n")
	write("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	p, err := pki.Open(filepath.Join(dir, "a"))
	made(err)
	v2, err := p.WrapServer()
	made(err)
	client, err := p.WrapClient("ann", v2, 0)
	made(err)
	write("v2.key", string(v2.Text()))
	write("client.key", string(client.Text()))

	const good = `listen: 127.0.0.1:1194
client_cidr: 10.64.0.0/22
server_certificate:
  cert: a/issued/server.crt
  key: a/private/server.key
control_wrap:
  type: tls-crypt
  key: ta.key
authentication:
  - mutual:
      ca: a/ca.crt
      crl: a/crl.pem
`
	v2of := func(key, also string) [2]string {
		return [2]string{"  type: tls-crypt\n  key: ta.key", "  type: tls-crypt-v2\n  key: " + key + "\n  also: {type: tls-auth, key: " + also + "}"}
	}
	for _, tt := range []struct {
		name  string
		edit  [2]string
		after time.Duration
		want  []string // "LINE: FIELD: … text"
	}{
		{name: "good"},
		{name: "good v2", edit: v2of("v2.key", "ta.key")},
		{name: "no PKI yet", edit: [2]string{good, "listen: 127.0.0.1:1194\nclient_cidr: 10.64.0.0/22\ncontrol_wrap: {type: tls-crypt-v2}\n"}},
		{"missing", [2]string{"a/issued/server.crt", "none.crt"}, 0, []string{"4: server_certificate.cert: none.crt cannot be read: no such file"}},
		{"several", [2]string{"a/private/server.key\ncontrol_wrap:\n  type: tls-crypt\n  key: ta.key", "none.key\ncontrol_wrap:\n  type: tls-crypt\n  key: empty"}, 0,
			[]string{"5: server_certificate.key: none.key cannot be read", "8: control_wrap.key: empty "}},
		{"no certificate", [2]string{"a/issued/server.crt", "empty"}, 0, []string{"4: server_certificate.cert: empty holds no certificate"}},
		{"a client's", [2]string{"a/issued/server.crt\n  key: a/private/server.key", "a/issued/ann.crt\n  key: a/private/ann.key"}, 0,
			[]string{"4: server_certificate.cert: a/issued/ann.crt cannot be used: it is not a server certificate"}},
		{"another key", [2]string{"a/private/server.key", "b/private/server.key"}, 0, []string{"5: server_certificate.key: b/private/server.key does not belong to the certificate"}},
		{"no key", [2]string{"a/private/server.key", "a/issued/server.crt"}, 0, []string{"5: server_certificate.key: a/issued/server.crt holds no private key"}},
		{"a locked key", [2]string{"a/private/server.key", "locked.key"}, 0, []string{"5: server_certificate.key: locked.key needs a passphrase"}},
		{"expired", [2]string{"", ""}, 100 * 24 * time.Hour, []string{"4: server_certificate.cert: a/issued/server.crt cannot be used: CN=server expired on "}},
		{"CA", [2]string{"ca: a/ca.crt", "ca: a/issued/server.crt"}, 0, []string{"11: authentication[0].mutual.ca: a/issued/server.crt has CN=server, which is not the certificate of a CA",
			"12: authentication[0].mutual.crl: a/crl.pem cannot be used: "}},
		{"another CA's list", [2]string{"crl: a/crl.pem", "crl: b/crl.pem"}, 0, []string{"12: authentication[0].mutual.crl: b/crl.pem cannot be used: revocation list of "}},
		{"no list", [2]string{"crl: a/crl.pem", "crl: a/ca.crt"}, 0, []string{"12: authentication[0].mutual.crl: a/ca.crt cannot be used: revocation list: "}},
		{"directory", [2]string{"  - mutual:", "  - directory: {url: \"ldaps://dc1\", base_dn: b, realm: r, ca: empty, radius: {server: \"a:1\", secret_file: empty}}\n  - mutual:"}, 0,
			[]string{"10: authentication[0].directory.ca: empty holds no certificate", "10: authentication[0].directory.radius.secret_file: empty is empty"}},
		{"a short secret", [2]string{"  - mutual:", "  - directory: {url: \"ldaps://dc1\", base_dn: \"DC=x\", realm: r, radius: {server: \"a:1\", secret_file: short}}\n  - mutual:"}, 0,
			[]string{"10: authentication[0].directory: radius: the shared secret has 3 characters"}},
		{"no base", [2]string{"  - mutual:", "  - directory: {url: \"ldaps://dc1\", base_dn: b, realm: r}\n  - mutual:"}, 0,
			[]string{"10: authentication[0].directory: base DN \"b\" is not like"}},
		{"identity provider", [2]string{"  - mutual:", "  - federated: {idp_metadata: none.xml}\n  - mutual:"}, 0, []string{"10: authentication[0].federated.idp_metadata: none.xml cannot be read"}},
		{"wrap", [2]string{"key: ta.key", "key: v2.key"}, 0, []string{"8: control_wrap.key: v2.key "}},
		{"wrap v2", v2of("client.key", "empty"), 0, []string{"8: control_wrap.key: client.key tls-crypt-v2 server key: the file holds an OpenVPN tls-crypt-v2 client key", "9: control_wrap.also.key: empty "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write("f.yaml", strings.Replace(good, tt.edit[0], tt.edit[1], 1))
			cfg, _, err := CheckConfig(filepath.Join(dir, "f.yaml"), os.ReadFile, time.Now().Add(tt.after))
			var all ConfigErrors
			if err != nil && !errors.As(err, &all) {
				t.Fatal(err)
			}
			if len(all) == 0 && cfg.ClientCIDR.Bits() != 22 {
				t.Errorf("configuration %+v", cfg)
			}
			if tt.after > 0 { // the revocation list may have expired, too
				all = all[:1]
			}
			if len(all) != len(tt.want) {
				t.Fatalf("%d mistakes %v, want %q", len(all), all, tt.want)
			}
			for i, e := range all {
				if got := fmt.Sprintf("%d: %s: %s", e.Line, e.Field, strings.TrimPrefix(e.Text, dir+"/")); !strings.HasPrefix(got, tt.want[i]) {
					t.Errorf("%q, want %q", got, tt.want[i])
				}
			}
		})
	}
	write("f.yaml", good)
	if _, notes, err := CheckConfig(filepath.Join(dir, "f.yaml"), os.ReadFile, time.Now().Add(70*24*time.Hour)); len(notes) != 1 || !strings.HasPrefix(notes[0], "the server certificate CN=server expires on ") {
		t.Errorf("notes %q, %v", notes, err)
	}
	_, err = p.CRL(80)
	made(err)
	if _, notes, err := CheckConfig(filepath.Join(dir, "f.yaml"), os.ReadFile, time.Now().Add(70*24*time.Hour)); len(notes) != 2 || !strings.HasPrefix(notes[1], "the revocation list ") || !strings.Contains(notes[1], "a/crl.pem expires on ") {
		t.Errorf("notes %q, %v", notes, err)
	}
}
