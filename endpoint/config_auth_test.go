package endpoint

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// withAuth is the whole file with other methods, each on a line that begins at 16.
func withAuth(methods string) []byte {
	return []byte(strings.Replace(whole, "  - mutual: {ca: ca.crt, crl: crl.pem}\n", methods, 1))
}

func TestParseMethods(t *testing.T) {
	certificates := Authentication{Mutual: &Mutual{}}
	for _, tt := range []struct {
		name, text string
		want       []Authentication
	}{
		{"test directory", "  - directory: {users: u.yaml}\n", []Authentication{{Directory: &Directory{Users: "u.yaml"}}}},
		{"directory", "  - mutual:\n  - directory: {url: \"ldaps://dc1.example.test:636\", ca: ad.pem, base_dn: \"DC=x\", realm: example.test, radius: {server: \"127.0.0.1:1812\", secret_file: s}}\n",
			[]Authentication{certificates, {Directory: &Directory{URLs: []string{"ldaps://dc1.example.test:636"}, CA: "ad.pem", BaseDN: "DC=x", Realm: "example.test",
				Radius: &Radius{Servers: []string{"127.0.0.1:1812"}, SecretFile: "s", Protocol: "pap", Timeout: 5 * time.Second, Retries: 2, RequireMessageAuthenticator: true}}}}},
		{"starttls", "  - directory: {url: \"ldap://dc1\", base_dn: \"DC=x\", realm: r, radius: {servers: [\"a:1\", \"[::1]:2\"], secret_file: s, protocol: mschapv2, timeout: 3s, retries: 0, require_message_authenticator: false}}\n  - mutual: {}\n",
			[]Authentication{{Directory: &Directory{URLs: []string{"ldap://dc1"}, StartTLS: true, BaseDN: "DC=x", Realm: "r",
				Radius: &Radius{Servers: []string{"a:1", "[::1]:2"}, SecretFile: "s", Protocol: "mschapv2", Timeout: 3 * time.Second}}}, certificates}},
		{"servers", "  - directory: {url: [\"ldap://dc1:389/\", \"ldap://dc2\"], start_tls: true, base_dn: \"DC=x\", realm: r, radius: {server: \"a:1\", secret_file: s, protocol: mschapv1}}\n",
			[]Authentication{{Directory: &Directory{URLs: []string{"ldap://dc1:389/", "ldap://dc2"}, StartTLS: true, BaseDN: "DC=x", Realm: "r",
				Radius: &Radius{Servers: []string{"a:1"}, SecretFile: "s", Protocol: "mschapv1", Timeout: 5 * time.Second, Retries: 2, RequireMessageAuthenticator: true}}}}},
		{"identity provider", "  - federated: {idp_metadata: idp.xml}\n", []Authentication{{Federated: &Federated{Metadata: "idp.xml"}}}},
		{"demo with users", "  - federated: {idp: demo, users: u.yaml}\n", []Authentication{{Federated: &Federated{Demo: true, Users: "u.yaml"}}}},
		{"demo", "  - mutual: {}\n  - federated: {idp: demo}\n", []Authentication{certificates, {Federated: &Federated{Demo: true}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseConfig("f.yaml", withAuth(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c.Authentication, tt.want) {
				t.Errorf("got %+v", c.Authentication)
			}
			if c.SessionTimeout != 24*time.Hour || !c.DisconnectOnTimeout {
				t.Errorf("sessions last %v, %v", c.SessionTimeout, c.DisconnectOnTimeout)
			}
		})
	}
}

func TestBadMethods(t *testing.T) {
	ldap := "url: \"ldaps://dc1\", base_dn: \"DC=x\", realm: r"
	radius := "  - directory: {" + ldap + ", radius: {"
	for _, tt := range []struct{ name, text, want string }{
		{"mutual twice", "  - mutual: {}\n  - mutual: {}\n", "f.yaml:17: authentication[1].mutual: is listed twice"},
		{"two others", "  - directory: {users: u}\n  - federated: {idp: demo}\n", "f.yaml:17: authentication[1].federated: there is one beside mutual already"},
		{"directory twice", "  - directory: {users: u}\n  - directory: {users: u}\n", "f.yaml:17: authentication[1].directory: there is one beside mutual already"},
		{"none", "  []\n", "f.yaml:16: authentication: needs at least one method"},
		{"two in one", "  - {mutual: {}, directory: {users: u}}\n", "f.yaml:16: authentication[0]: must be one method"},
		{"empty directory", "  - directory: {}\n", "f.yaml:16: authentication[0].directory: needs url, or users"},
		{"users and more", "  - directory: {users: u, realm: r}\n", "f.yaml:16: authentication[0].directory: users is the whole"},
		{"no base", "  - directory: {url: \"ldaps://dc1\", realm: r}\n", "f.yaml:16: authentication[0].directory.base_dn: is missing"},
		{"http", "  - directory: {url: \"http://dc1\", base_dn: b, realm: r}\n", `f.yaml:16: authentication[0].directory.url: "http://dc1" is not an address like ldaps://`},
		{"user in the address", "  - directory: {url: \"ldap://u@dc1\", base_dn: b, realm: r}\n", "f.yaml:16: authentication[0].directory.url:"},
		{"plain LDAP", "  - directory: {url: \"ldap://dc1\", start_tls: false, base_dn: b, realm: r}\n", "f.yaml:16: authentication[0].directory.start_tls: passwords would be sent in the clear"},
		{"mixed", "  - directory: {url: [\"ldap://dc1\", \"ldaps://dc2\"], base_dn: b, realm: r}\n", "f.yaml:16: authentication[0].directory.url[1]: ldap:// and ldaps://"},
		{"no server", "  - directory: {url: [], base_dn: b, realm: r}\n", "f.yaml:16: authentication[0].directory.url: is empty"},
		{"starttls in tls", "  - directory: {start_tls: true, " + ldap + "}\n", "f.yaml:16: authentication[0].directory.start_tls: is for ldap:// addresses"},
		{"no RADIUS server", radius + "secret_file: s}}\n", "f.yaml:16: authentication[0].directory.radius: needs server, or servers"},
		{"both RADIUS servers", radius + "server: \"a:1\", servers: [\"b:1\"], secret_file: s}}\n", "f.yaml:16: authentication[0].directory.radius: needs server, or servers"},
		{"empty RADIUS servers", radius + "servers: [], secret_file: s}}\n", "f.yaml:16: authentication[0].directory.radius: servers is empty"},
		{"RADIUS without a port", radius + "server: a, secret_file: s}}\n", `f.yaml:16: authentication[0].directory.radius.server: "a" is not a server with a port`},
		{"RADIUS without a secret", radius + "server: \"a:1\"}}\n", "f.yaml:16: authentication[0].directory.radius.secret_file: is missing"},
		{"RADIUS protocol", radius + "server: \"a:1\", secret_file: s, protocol: eap}}\n", "f.yaml:16: authentication[0].directory.radius.protocol:"},
		{"RADIUS timeout", radius + "server: \"a:1\", secret_file: s, timeout: 2m}}\n", "f.yaml:16: authentication[0].directory.radius.timeout: must be a time from 1s to 50s"},
		{"RADIUS retries", radius + "server: \"a:1\", secret_file: s, retries: 11}}\n", "f.yaml:16: authentication[0].directory.radius.retries:"},
		{"no identity provider", "  - federated: {}\n", "f.yaml:16: authentication[0].federated: needs idp_metadata, or idp: demo"},
		{"two identity providers", "  - federated: {idp: demo, idp_metadata: f}\n", "f.yaml:16: authentication[0].federated: needs idp_metadata, or idp: demo"},
		{"users of another identity provider", "  - federated: {idp_metadata: f, users: u}\n", "f.yaml:16: authentication[0].federated.users: is for idp: demo"},
		{"another identity provider", "  - federated: {idp: other}\n", "f.yaml:16: authentication[0].federated.idp:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig("f.yaml", withAuth(tt.text))
			var list ConfigErrors
			if !errors.As(err, &list) {
				t.Fatalf("got %v", err)
			}
			for _, e := range list {
				if strings.HasPrefix(e.Error(), tt.want) {
					return
				}
			}
			t.Errorf("got %q, want %q", list.Error(), tt.want)
		})
	}
}

// TestTestersOnly: what is built in for tests is not for the network.
func TestTestersOnly(t *testing.T) {
	for _, method := range []string{"  - directory: {users: u.yaml}\n", "  - mutual: {}\n  - federated: {idp: demo}\n"} {
		text := strings.Replace(string(withAuth(method)), "[127.0.0.1:1194, ", "[127.0.0.1:1194, 192.0.2.1:1194, ", 1)
		if _, err := ParseConfig("f.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "loopback listeners only, not on 192.0.2.1:1194") {
			t.Errorf("%s: %v", method, err)
		}
	}
}
