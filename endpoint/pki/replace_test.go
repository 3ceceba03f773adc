package pki

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReplace: another CA, whose servers are the ones that there were; all else of the old one is aside.
func TestReplace(t *testing.T) {
	p := newPKI(t, Options{})
	if _, err := p.Server("server", Options{CommonName: "VPN", Names: []string{"vpn.example.com", "192.0.2.1"}, RSABits: 2048}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Client("alice", Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Client("bob", Options{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Revoke("bob"); err != nil {
		t.Fatal(err)
	}
	key, err := p.WrapServer()
	if err != nil {
		t.Fatal(err)
	}
	oldCA, err := p.CA()
	if err != nil {
		t.Fatal(err)
	}
	old := mustRead(t, p, "server")
	aside, servers, err := p.Replace(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(servers) != 1 || servers[0].Name != "server" || servers[0].Kind != KindServer {
		t.Errorf("servers %+v", servers)
	}
	ca, err := p.CA()
	if err != nil {
		t.Fatal(err)
	}
	now := mustRead(t, p, "server")
	if string(now.RawSubject) != string(old.RawSubject) || now.VerifyHostname("vpn.example.com") != nil || now.VerifyHostname("192.0.2.1") != nil || now.PublicKeyAlgorithm != x509.RSA {
		t.Errorf("the server is %s for %v, by %v", now.Subject, now.DNSNames, now.PublicKeyAlgorithm)
	}
	if now.CheckSignatureFrom(ca) != nil || now.CheckSignatureFrom(oldCA) == nil || ca.Subject.CommonName == oldCA.Subject.CommonName {
		t.Errorf("signed by %s, after %s", ca.Subject, oldCA.Subject)
	}
	if _, err := p.Bundle("alice"); !errors.Is(err, ErrNotFound) {
		t.Errorf("alice: %v", err)
	}
	if again, err := p.WrapServer(); err != nil || string(again.Text()) != string(key.Text()) {
		t.Errorf("the key of tls-crypt-v2 is another one: %v", err)
	}
	if _, err := os.Stat(p.CRLFile()); !os.IsNotExist(err) {
		t.Errorf("the old revocation list is there: %v", err)
	}
	if list, err := p.List(); err != nil || len(list) != 1 {
		t.Errorf("the list is %v, %v", list, err)
	}
	// The old one is whole where it is.
	before, err := Open(aside)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := before.List(); err != nil || len(list) != 3 {
		t.Errorf("the old list is %v, %v", list, err)
	}
	if _, err := before.Bundle("alice"); err != nil {
		t.Error(err)
	}
	if err := before.Revoke("alice"); err != nil {
		t.Error(err)
	}
	// Again, in the same second: nothing is written over.
	second, _, err := p.Replace(Options{CommonName: "Third"})
	if err != nil || second == aside {
		t.Errorf("%s, %v", second, err)
	}
	if ca, err := p.CA(); err != nil || ca.Subject.CommonName != "Third" {
		t.Errorf("%v, %v", ca, err)
	}
	empty, _ := OpenAt(t.TempDir(), time.Now)
	if _, _, err := empty.Replace(Options{}); !errors.Is(err, ErrNoCA) {
		t.Errorf("without a CA: %v", err)
	}
}

// TestReplaceInEasyRSAs: easy-rsa goes on with the new CA, and with its own settings.
func TestReplaceInEasyRSAs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	e := newEasyRSA(t, dir, "EASYRSA_ALGO=ec", "EASYRSA_CURVE=prime256v1")
	e.run("init-pki")
	e.run("build-ca", "nopass")
	e.run("--subject-alt-name=DNS:vpn.example.com", "build-server-full", "server", "nopass")
	e.run("build-client-full", "alice", "nopass")
	e.run("gen-crl")
	cnf, err := os.ReadFile(filepath.Join(dir, "openssl-easyrsa.cnf"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, servers, err := p.Replace(Options{}); err != nil || len(servers) != 1 || strings.Join(servers[0].Names, " ") != "vpn.example.com" {
		t.Fatalf("%+v, %v", servers, err)
	}
	if now, err := os.ReadFile(filepath.Join(dir, "openssl-easyrsa.cnf")); err != nil || string(now) != string(cnf) {
		t.Errorf("easy-rsa's settings changed: %v", err)
	}
	e.run("build-client-full", "alice", "nopass")
	e.run("build-client-full", "bob", "nopass")
	e.run("revoke", "bob")
	e.run("gen-crl")
	e.verify("good", "sslserver", p.CertFile("server"))
	e.verify("good", "sslclient", p.CertFile("alice"))
	if n := len(readCRL(t, p).RevokedCertificateEntries); n != 1 {
		t.Errorf("%d are revoked", n)
	}
}

// TestReplaceInterrupted: wherever it is cut, the former CA stays in force, or the next one is whole after Recover.
func TestReplaceInterrupted(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) *PKI {
		p := newPKI(t, Options{})
		if _, err := p.Server("server", Options{Names: []string{"vpn.example.com"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Client("alice", Options{}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	parts := []string{"renewed", "revoked", "certs_by_serial", "reqs", "serial", "index.txt", "index.txt.attr", "private/server.key", "private/ca.key", "issued", "ca.crt"}
	cut := func(t *testing.T, from, to string, n int) {
		for _, part := range parts[:n] {
			if err := move(filepath.Join(from, part), filepath.Join(to, part)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range 2*len(parts) + 2 {
		p := begin(t)
		old, err := p.CA()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.prepareNext(Options{CommonName: "Next"}, "then"); err != nil {
			t.Fatal(err)
		}
		aside := p.path(replacedDir, "then")
		if n <= len(parts) {
			cut(t, p.dir, aside, n)
		} else {
			if err := p.moveCA(p.dir, aside); err != nil {
				t.Fatal(err)
			}
			if err := p.writeStep(replacing{Aside: "then", In: true}); err != nil {
				t.Fatal(err)
			}
			cut(t, p.path(replacingDir, replacingNew), p.dir, n-len(parts)-1)
		}
		if !p.Exists() {
			t.Errorf("cut %d: no CA is there", n)
		}
		if err := p.Init(Options{}); !errors.Is(err, ErrCAExists) { // it has the lock, and finishes what is begun
			t.Errorf("cut %d: init: %v", n, err)
		}
		ca, err := p.CA()
		if err != nil || ca.Subject.CommonName != "Next" {
			t.Fatalf("cut %d: %v, %v", n, ca, err)
		}
		b, err := p.Bundle("server")
		if err != nil {
			t.Fatalf("cut %d: %v", n, err)
		}
		if server := mustRead(t, p, "server"); server.CheckSignatureFrom(ca) != nil || server.VerifyHostname("vpn.example.com") != nil || len(b.Key) == 0 {
			t.Errorf("cut %d: the server's certificate is %s", n, server.Issuer)
		}
		if exists(p.path(replacingDir)) || p.Recover() != nil {
			t.Errorf("cut %d: something is left to do", n)
		}
		if _, err := p.Client("alice", Options{}); err != nil {
			t.Errorf("cut %d: %v", n, err)
		}
		former, err := Open(aside)
		if err != nil {
			t.Fatal(err)
		}
		if was, err := former.CA(); err != nil || !was.Equal(old) {
			t.Errorf("cut %d: aside is %v, %v", n, was, err)
		}
		if _, err := former.Bundle("alice"); err != nil {
			t.Errorf("cut %d: %v", n, err)
		}
	}

	// Before the next one is whole, nothing has happened; asking again does it.
	p := begin(t)
	old, _ := p.CA()
	if err := p.prepareNext(Options{CommonName: "Lost"}, "then"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.path(replacingDir, replacingAt)); err != nil {
		t.Fatal(err)
	}
	if ca, err := p.CA(); err != nil || !ca.Equal(old) {
		t.Errorf("%v, %v", ca, err)
	}
	if _, servers, err := p.Replace(Options{CommonName: "Next"}); err != nil || len(servers) != 1 {
		t.Errorf("%v, %v", servers, err)
	}
	// A half one is finished by asking again, and not replaced once more.
	if err := p.prepareNext(Options{CommonName: "Last"}, "again"); err != nil {
		t.Fatal(err)
	}
	cut(t, p.dir, p.path(replacedDir, "again"), len(parts))
	var said *Error
	if _, err := p.CA(); !errors.As(err, &said) || said.Kind != ErrNoCA || !strings.Contains(said.Hint, "replace-ca") {
		t.Errorf("without a CA in place: %v", err)
	}
	aside, servers, err := p.Replace(Options{CommonName: "Not this"})
	if ca, _ := p.CA(); err != nil || len(servers) != 1 || filepath.Base(aside) != "again" || ca.Subject.CommonName != "Last" {
		t.Errorf("%s, %v, %v, %v", aside, servers, ca, err)
	}
}
