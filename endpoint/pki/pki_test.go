package pki

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// noon is the tests' clock.
var noon = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

func newPKI(t *testing.T, o Options) *PKI {
	t.Helper()
	p, err := OpenAt(filepath.Join(t.TempDir(), "ca"), func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Init(o); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustRead(t *testing.T, p *PKI, name string) *x509.Certificate {
	t.Helper()
	c, err := p.readCert(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIssue(t *testing.T) {
	p := newPKI(t, Options{Days: maxDays})
	ca, err := p.CA()
	if err != nil {
		t.Fatal(err)
	}
	if got := ca.NotAfter; !got.Equal(noon.AddDate(0, 0, maxDays)) || got.Year() < 2100 {
		t.Errorf("CA ends %v", got)
	}
	if _, ok := ca.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("CA key is %T", ca.PublicKey)
	}
	if _, err := p.Server("server", Options{Names: []string{"vpn.example.com", "192.0.2.1", "2001:db8::1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Client("alice", Options{RSABits: 2048, Days: 7}); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	server, client := mustRead(t, p, "server"), mustRead(t, p, "alice")
	for _, c := range []struct {
		cert *x509.Certificate
		host string
		use  x509.ExtKeyUsage
	}{{server, "vpn.example.com", x509.ExtKeyUsageServerAuth}, {server, "2001:db8::1", x509.ExtKeyUsageServerAuth},
		{client, "", x509.ExtKeyUsageClientAuth}} {
		if _, err := c.cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: c.host, CurrentTime: noon,
			KeyUsages: []x509.ExtKeyUsage{c.use}}); err != nil {
			t.Error(err)
		}
	}
	if _, err := client.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a client certificate serves")
	}
	if client.KeyUsage != x509.KeyUsageDigitalSignature || client.NotAfter != noon.AddDate(0, 0, 7) {
		t.Errorf("client: usage %v, ends %v", client.KeyUsage, client.NotAfter)
	}
	if k, ok := client.PublicKey.(*rsa.PublicKey); !ok || k.N.BitLen() != 2048 {
		t.Errorf("client key is %T", client.PublicKey)
	}
	b, err := p.Bundle("alice")
	if err != nil {
		t.Fatal(err)
	}
	if key, err := parseKey([]byte(b.Key)); err != nil || !sameKey(client.PublicKey, key) {
		t.Errorf("bundle's key: %v", err)
	}
	if s := fmt.Sprintf("%v %+v", b.Key, b); strings.Contains(s, "PRIVATE") {
		t.Error("a bundle prints its key")
	}
	err = filepath.WalkDir(p.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := fs.FileMode(0o600); !d.IsDir() && info.Mode().Perm() != want || d.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".adit-") {
			t.Errorf("left behind: %s", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLeafEndsWithCA(t *testing.T) {
	p := newPKI(t, Options{Days: 10})
	c, err := p.Client("alice", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ca, _ := p.CA(); !c.NotAfter.Equal(ca.NotAfter) {
		t.Errorf("leaf ends %v, CA %v", c.NotAfter, ca.NotAfter)
	}
	late, _ := OpenAt(p.Dir(), func() time.Time { return noon.AddDate(0, 0, 11) })
	if _, err := late.Client("bob", Options{}); !errors.Is(err, ErrCAExpired) {
		t.Errorf("got %v", err)
	}
}

func TestRenewAndRevoke(t *testing.T) {
	p := newPKI(t, Options{})
	first, err := p.Server("server", Options{Names: []string{"vpn.example.com"}, RSABits: 2048})
	if err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(p.KeyFile("server"))
	second, err := p.Renew("server", Options{})
	if err != nil {
		t.Fatal(err)
	}
	third, err := p.Renew("server", Options{Names: []string{"new.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(second.Names, first.Names) || !slices.Equal(third.Names, []string{"new.example.com"}) {
		t.Errorf("names %v %v", second.Names, third.Names)
	}
	if _, ok := mustRead(t, p, "server").PublicKey.(*rsa.PublicKey); !ok {
		t.Error("the kind of key changed")
	}
	if kept, err := os.ReadFile(p.path("renewed", "private", "server."+first.Serial+".key")); err != nil || string(kept) != string(old) {
		t.Errorf("the first key is gone: %v", err)
	}
	status := func() string {
		t.Helper()
		list, err := p.List()
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, want := range []string{first.Serial, second.Serial, third.Serial} {
			for _, c := range list {
				if c.Serial == want {
					s = append(s, c.Name+" "+string(c.Kind)+" "+string(c.Status))
				}
			}
		}
		return strings.Join(s, ", ")
	}
	if got, want := status(), "server server renewed, server server renewed, server server valid"; got != want {
		t.Errorf("got %s", got)
	}
	if _, err := p.Server("server.x", Options{}); err != nil { // shares the prefix, must survive
		t.Fatal(err)
	}
	if err := p.Revoke("server"); err != nil {
		t.Fatal(err)
	}
	if got, want := status(), "server server revoked, server server revoked, server server revoked"; got != want {
		t.Errorf("got %s", got)
	}
	crl := readCRL(t, p)
	if len(crl.RevokedCertificateEntries) != 3 || !crl.NextUpdate.Equal(noon.AddDate(0, 0, crlDays)) {
		t.Errorf("CRL has %d entries until %v", len(crl.RevokedCertificateEntries), crl.NextUpdate)
	}
	if err := p.Revoke("server"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Server("server", Options{}); err != nil {
		t.Errorf("the name is not free again: %v", err)
	}
	before := readCRL(t, p).Number
	if _, err := p.CRL(1); err != nil {
		t.Fatal(err)
	}
	if after := readCRL(t, p).Number; after.Cmp(before) <= 0 {
		t.Errorf("CRL number went from %v to %v", before, after)
	}
}

func readCRL(t *testing.T, p *PKI) *x509.RevocationList {
	t.Helper()
	text, err := os.ReadFile(p.CRLFile())
	if err != nil {
		t.Fatal(err)
	}
	crl, err := parseCRL(text)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := p.CA()
	if err != nil {
		t.Fatal(err)
	}
	if err := crl.CheckSignatureFrom(ca); err != nil {
		t.Fatal(err)
	}
	return crl
}

// A revocation that stopped after the index was written is finished by the next one.
func TestRevokeTwiceAfterCrash(t *testing.T) {
	p := newPKI(t, Options{})
	c, err := p.Client("alice", Options{})
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := p.readIndex()
	entries[0].status, entries[0].revoked = 'R', noon.Add(-time.Hour)
	if err := p.writeIndex(entries); err != nil {
		t.Fatal(err)
	}
	if err := p.Revoke("alice"); err != nil {
		t.Fatal(err)
	}
	if e := readCRL(t, p).RevokedCertificateEntries; len(e) != 1 || !e[0].RevocationTime.Equal(noon.Add(-time.Hour)) {
		t.Errorf("CRL has %v", e)
	}
	if !exists(p.path("revoked", "certs_by_serial", c.Serial+".crt")) || !exists(p.path("revoked", "private_by_serial", c.Serial+".key")) {
		t.Error("the files were not moved")
	}
}

func TestRefusals(t *testing.T) {
	empty, _ := OpenAt(t.TempDir(), time.Now)
	p := newPKI(t, Options{})
	if _, err := p.Client("alice", Options{}); err != nil {
		t.Fatal(err)
	}
	foreign := newPKI(t, Options{})
	swapped := newPKI(t, Options{})
	if err := copyFile(foreign.path("private", "ca.key"), swapped.path("private", "ca.key")); err != nil {
		t.Fatal(err)
	}
	spoilt := newPKI(t, Options{})
	if err := os.WriteFile(spoilt.path("index.txt"), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	leafCA := newPKI(t, Options{})
	if err := copyFile(p.CertFile("alice"), leafCA.CAFile()); err != nil {
		t.Fatal(err)
	}
	create := func(p *PKI, name string, o Options) func() error {
		return func() error { _, err := p.Client(name, o); return err }
	}
	long := strings.Repeat("a", 65)
	for what, c := range map[string]struct {
		do   func() error
		kind error
	}{
		"no ca":          {create(empty, "x", Options{}), ErrNoCA},
		"list no ca":     {func() error { _, err := empty.List(); return err }, ErrNoCA},
		"revoke no ca":   {func() error { return empty.Revoke("x") }, ErrNoCA},
		"second init":    {func() error { return p.Init(Options{}) }, ErrCAExists},
		"taken":          {create(p, "alice", Options{}), ErrExists},
		"path":           {create(p, "../alice", Options{}), ErrBadName},
		"ca":             {create(p, "CA", Options{}), ErrBadName},
		"dash":           {create(p, "-x", Options{}), ErrBadName},
		"dot":            {create(p, ".x", Options{}), ErrBadName},
		"empty":          {create(p, "", Options{}), ErrBadName},
		"long":           {create(p, long, Options{}), ErrBadName},
		"long cn":        {create(p, "x", Options{CommonName: long}), ErrBadName},
		"cn newline":     {create(p, "x", Options{CommonName: "a\nb"}), ErrBadName},
		"san":            {create(p, "x", Options{Names: []string{"a b"}}), ErrBadName},
		"days":           {create(p, "x", Options{Days: maxDays + 1}), ErrBadOption},
		"negative days":  {create(p, "x", Options{Days: -1}), ErrBadOption},
		"weak":           {create(p, "x", Options{RSABits: 1024}), ErrBadOption},
		"mismatch":       {create(swapped, "x", Options{}), ErrCAMismatch},
		"spoilt index":   {create(spoilt, "x", Options{}), ErrCorrupt},
		"leaf as ca":     {create(leafCA, "x", Options{}), ErrNotCA},
		"renew unknown":  {func() error { _, err := p.Renew("bob", Options{}); return err }, ErrNotFound},
		"revoke unknown": {func() error { return p.Revoke("bob") }, ErrNotFound},
		"bundle unknown": {func() error { _, err := p.Bundle("bob"); return err }, ErrNotFound},
	} {
		err := c.do()
		var e *Error
		if !errors.Is(err, c.kind) || !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if list, err := p.List(); err != nil || len(list) != 1 {
		t.Errorf("refusals left %v, %v", list, err)
	}
}

// Two handles stand for two processes: flock works between open files.
func TestConcurrent(t *testing.T) {
	p := newPKI(t, Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			q, err := OpenAt(p.Dir(), func() time.Time { return noon })
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := q.Client(fmt.Sprintf("c%d", i), Options{}); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				if err := q.Revoke(fmt.Sprintf("c%d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := p.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 8 || len(readCRL(t, p).RevokedCertificateEntries) != 4 {
		t.Errorf("%d certificates, %d revoked", len(list), len(readCRL(t, p).RevokedCertificateEntries))
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte("V\t350101000000Z\t\t01\tunknown\t/CN=alice\n"))
	f.Add([]byte("R\t20750101000000Z\t260101000000Z,keyCompromise\tABCDEF\tunknown\t/C=DE/CN=a\\\tb\n# note\n"))
	f.Add([]byte("E\t500101000000Z\t\t00\tunknown\t/CN=\\xC3\\xA4\r\n"))
	f.Add([]byte("E\t000101000000Z\t\t00\t\t\r\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		entries, err := parseIndex(b)
		if err != nil {
			return
		}
		var out []byte
		for _, e := range entries {
			out = appendIndex(out, e)
		}
		again, err := parseIndex(out)
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%q became %q: %v", b, out, err)
		}
		var out2 []byte
		for _, e := range again {
			out2 = appendIndex(out2, e)
		}
		if string(out) != string(out2) {
			t.Fatalf("%q became %q", out, out2)
		}
	})
}

func FuzzKey(f *testing.F) {
	key, err := newKey(0)
	if err != nil {
		f.Fatal(err)
	}
	text, err := encodeKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		if key, err := parseKey(b); (key == nil) == (err == nil) {
			t.Fatalf("%v, %v", key, err)
		}
		if c, err := parseCert(b); (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
	})
}
