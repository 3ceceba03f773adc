package pki

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// easyrsa runs the distribution's easy-rsa in a directory of its own.
type easyrsa struct {
	t    *testing.T
	work string
	dir  string
	env  []string
}

func newEasyRSA(t *testing.T, dir string, env ...string) *easyrsa {
	t.Helper()
	const path = "/usr/share/easy-rsa/easyrsa"
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("easy-rsa is not installed")
		}
		t.Skip("easy-rsa is not installed")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal(err)
	}
	return &easyrsa{t: t, work: t.TempDir(), dir: dir, env: env}
}

func (e *easyrsa) run(args ...string) {
	e.t.Helper()
	e.cmd("/usr/share/easy-rsa/easyrsa", args...)
}

func (e *easyrsa) cmd(name string, args ...string) string {
	e.t.Helper()
	c := exec.Command(name, args...)
	c.Dir = e.work
	c.Env = append([]string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + e.work, "EASYRSA_BATCH=1", "EASYRSA_PKI=" + e.dir}, e.env...)
	out, err := c.CombinedOutput()
	if err != nil {
		e.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// verify asks openssl about each certificate: "good" or "revoked".
func (e *easyrsa) verify(want string, purpose string, certs ...string) {
	e.t.Helper()
	for _, cert := range certs {
		out, err := exec.Command("openssl", "verify", "-crl_check", "-purpose", purpose, "-CAfile", filepath.Join(e.dir, "ca.crt"),
			"-CRLfile", filepath.Join(e.dir, "crl.pem"), cert).CombinedOutput()
		got := "good"
		if err != nil {
			got = "bad"
			if strings.Contains(string(out), "certificate revoked") {
				got = "revoked"
			}
		}
		if got != want {
			e.t.Errorf("%s is %s instead of %s: %s", cert, got, want, out)
		}
	}
}

func TestEasyRSAGoesOnInOurs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	e := newEasyRSA(t, dir, "EASYRSA_ALGO=ec", "EASYRSA_CURVE=prime256v1")
	p, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Init(Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Server("server", Options{Names: []string{"vpn.example.com", "192.0.2.1"}}); err != nil {
		t.Fatal(err)
	}
	var clients []Certificate
	for _, name := range []string{"alice", "bob", "carol"} {
		o := Options{}
		if name == "carol" {
			o.Days = 5 // easy-rsa renews only what ends soon
		}
		c, err := p.Client(name, o)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	e.run("build-client-full", "dave", "nopass")
	e.run("revoke", "bob")
	e.run("gen-crl")
	e.verify("good", "sslserver", p.CertFile("server"))
	e.verify("good", "sslclient", p.CertFile("alice"), p.CertFile("dave"))
	e.verify("revoked", "sslclient", p.path("revoked", "certs_by_serial", clients[1].Serial+".crt"))
	e.run("renew", "carol", "nopass")
	// What we renewed, easy-rsa can revoke; and what it renewed, we.
	if _, err := p.Renew("alice", Options{}); err != nil {
		t.Fatal(err)
	}
	second := mustRead(t, p, "alice")
	if _, err := p.Renew("alice", Options{}); err != nil {
		t.Fatal(err)
	}
	e.run("revoke-renewed", "alice")
	e.run("revoke-renewed", "alice."+clients[0].Serial)
	if err := p.Revoke("carol"); err != nil {
		t.Fatal(err)
	}
	revoked := func(serial string) string { return p.path("revoked", "certs_by_serial", serial+".crt") }
	e.verify("good", "sslclient", p.CertFile("alice"))
	if _, err := os.Stat(revoked(formatSerial(second.SerialNumber))); err != nil {
		t.Error(err)
	}
	if _, err := p.CRL(0); err != nil {
		t.Fatal(err)
	}
	e.verify("revoked", "sslclient", revoked(clients[0].Serial), revoked(clients[1].Serial), revoked(clients[2].Serial))
	status := map[string]int{}
	list, err := p.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		status[c.Name+" "+string(c.Status)]++
	}
	for what, n := range map[string]int{"alice valid": 1, "alice revoked": 2, "bob revoked": 1, "carol revoked": 2, "dave valid": 1, "server valid": 1} {
		if status[what] != n {
			t.Errorf("%d × %s instead of %d; all: %v", status[what], what, n, status)
		}
	}
	// Sequential serials go on from the serial file that we wrote.
	e.env = append(e.env, "EASYRSA_RAND_SN=no")
	if _, err := p.Client("erin", Options{}); err != nil {
		t.Fatal(err)
	}
	e.run("build-client-full", "frank", "nopass")
	e.run("show-cert", "frank")
	e.cmd("openssl", "ca", "-config", filepath.Join(dir, "safessl-easyrsa.cnf"), "-updatedb")
	e.verify("good", "sslclient", p.CertFile("frank"), p.CertFile("erin"))
}

func TestWeGoOnInEasyRSAs(t *testing.T) {
	for _, algo := range []struct {
		name string
		env  []string
	}{
		{"rsa", []string{"EASYRSA_ALGO=rsa", "EASYRSA_KEY_SIZE=2048"}},
		{"ec", []string{"EASYRSA_ALGO=ec", "EASYRSA_CURVE=secp384r1"}},
		{"org", []string{"EASYRSA_ALGO=ec", "EASYRSA_CURVE=prime256v1", "EASYRSA_DN=org", "EASYRSA_REQ_ORG=Müller & Co"}},
	} {
		t.Run(algo.name, func(t *testing.T) {
			t.Parallel()
			work := t.TempDir()
			dir := filepath.Join(work, "pki")
			e := newEasyRSA(t, dir, append(algo.env, "EASYRSA_CA_EXPIRE=36500")...)
			e.run("init-pki")
			e.run("build-ca", "nopass")
			e.run("--subject-alt-name=DNS:vpn.example.com", "build-server-full", "server", "nopass")
			e.run("build-client-full", "alice", "nopass")
			e.run("build-client-full", "bob", "nopass")
			e.run("revoke", "bob", "keyCompromise")
			p, err := Open(work) // finds pki/ below
			if err != nil {
				t.Fatal(err)
			}
			if p.Dir() != dir {
				t.Fatalf("opened %s", p.Dir())
			}
			old := mustRead(t, p, "server")
			if _, err := p.Renew("server", Options{}); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Client("carol", Options{}); err != nil {
				t.Fatal(err)
			}
			if err := p.Revoke("alice"); err != nil {
				t.Fatal(err)
			}
			server := mustRead(t, p, "server")
			if string(server.RawSubject) != string(old.RawSubject) || server.VerifyHostname("vpn.example.com") != nil {
				t.Errorf("renewed server is %s for %v", server.Subject, server.DNSNames)
			}
			e.verify("good", "sslserver", p.CertFile("server"), p.path("renewed", "issued", "server.crt"))
			e.verify("good", "sslclient", p.CertFile("carol"))
			for _, entry := range readCRL(t, p).RevokedCertificateEntries {
				e.verify("revoked", "sslclient", p.path("revoked", "certs_by_serial", formatSerial(entry.SerialNumber)+".crt"))
			}
			list, err := p.List()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				// Our subject must be openssl's, which wrote the other lines.
				if algo.name == "org" && !strings.HasPrefix(c.Subject, "/C=US/ST=California/L=San Francisco/O=M\\xC3\\xBCller & Co/") && c.Name != "carol" {
					t.Errorf("%s has subject %s", c.Name, c.Subject)
				}
			}
			if len(list) != 5 {
				t.Errorf("the list has %d lines", len(list))
			}
			e.run("revoke", "carol")
			e.run("gen-crl")
			if n := len(readCRL(t, p).RevokedCertificateEntries); n != 3 {
				t.Errorf("easy-rsa's CRL has %d entries", n)
			}
		})
	}
}

func TestEncryptedCAKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	e := newEasyRSA(t, dir, "EASYRSA_ALGO=ec", "EASYRSA_PASSOUT=pass:secret", "EASYRSA_PASSIN=pass:secret")
	e.run("init-pki")
	e.run("build-ca")
	p, err := OpenAt(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{
		"client": func() error { _, err := p.Client("alice", Options{}); return err },
		"crl":    func() error { _, err := p.CRL(0); return err },
	} {
		var e *Error
		if err := do(); !errors.Is(err, ErrCAEncrypted) || !errors.As(err, &e) || !strings.Contains(e.Hint, "passphrase") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	// The traditional form says so in a header.
	e.cmd("openssl", "ec", "-in", p.path("private", "ca.key"), "-passin", "pass:secret", "-aes256", "-passout", "pass:secret", "-out", p.path("private", "ca.key"))
	if _, err := p.Client("alice", Options{}); !errors.Is(err, ErrCAEncrypted) {
		t.Errorf("got %v", err)
	}
}
