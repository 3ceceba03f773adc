package model

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair is a certificate that signs itself, and its key.
func pair(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func fails(t *testing.T, what string, err error, code string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// files are the directories of imported certificates.
func (b *bench) files() (dirs []string) {
	b.t.Helper()
	found, err := filepath.Glob(filepath.Join(b.dir, "data", "imported", "*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// TestImportedCertificate from its import over its renewal to its end.
func TestImportedCertificate(t *testing.T) {
	b, ctx := open(t, ""), context.Background()
	cert, key := pair(t, "one")
	arn, err := b.m.ImportCertificate(ctx, NewCertificate{Text: cert, Key: key, Chain: cert, Tags: []Tag{{"a", "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	n := mutual()
	n.ServerCertificate, n.Authentication[0].RootChain = &arn, arn
	e, err := b.m.CreateEndpoint(ctx, Call{}, n)
	if err != nil {
		t.Fatal(err)
	}
	b.associate(e.ID, "subnet-0a1")
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(b.fleet.running[e.ID].ServerCertificate.Cert)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if read() != cert || b.fleet.running[e.ID].Authentication[0].Mutual.CA != b.fleet.running[e.ID].ServerCertificate.Chain {
		t.Errorf("it runs with %+v", b.fleet.running[e.ID].ServerCertificate)
	}
	fails(t, "one in use", b.m.DeleteCertificate(ctx, arn), CodeResourceInUse)

	// A start finds it, and puts the files back.
	os.RemoveAll(filepath.Join(b.dir, "data", "imported"))
	if err := os.MkdirAll(filepath.Join(b.dir, "data", "imported", "left-behind"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.again()
	if read() != cert || len(b.files()) != 1 {
		t.Errorf("after a start: %q, %q", read(), b.files())
	}

	// A renewal has another file, so that what runs is told; the old one is gone.
	second, secondKey := pair(t, "one")
	applied := b.fleet.applied
	if again, err := b.m.ImportCertificate(ctx, NewCertificate{ARN: arn, Text: second, Key: secondKey}); err != nil || again != arn {
		t.Fatal(again, err)
	}
	if read() != second || b.fleet.applied != applied+1 || len(b.files()) != 1 {
		t.Errorf("after a renewal: %q, %d, %q", read(), b.fleet.applied-applied, b.files())
	}
	list := b.m.Certificates()
	if c := list[len(list)-1]; len(list) != 3 || c.ARN != arn || c.Text != second || c.Chain != "" || len(c.InUse) != 1 || len(c.Tags) != 1 || list[0].ARN != certARN || list[0].Text != "" {
		t.Errorf("%+v", list)
	}

	// Another file knows it, too.
	if _, err := b.m.Redeclare(ctx, declared(t, b.dir, ""), follow); err != nil || read() != second {
		t.Errorf("after a reload: %v, %q", err, read())
	}

	// One that the endpoint refuses changes nothing.
	b.fleet.fail = errors.New("open " + filepath.Join(b.dir, "key.pem") + ": no")
	_, err = b.m.ImportCertificate(ctx, NewCertificate{ARN: arn, Text: cert, Key: key})
	fails(t, "one that the endpoint refuses", err, CodeValidation)
	if strings.Contains(err.Error(), b.dir) || !strings.Contains(err.Error(), "key.pem: no") {
		t.Errorf("with a path: %v", err)
	}
	b.fleet.fail = nil
	if read() != second || len(b.files()) != 1 {
		t.Errorf("after a refusal: %q, %q", read(), b.files())
	}

	b.remove(e.ID)
	if err := b.m.DeleteCertificate(ctx, arn); err != nil {
		t.Fatal(err)
	}
	if len(b.files()) != 0 {
		t.Errorf("left behind: %q", b.files())
	}
	fails(t, "one that is gone", b.m.DeleteCertificate(ctx, arn), CodeResourceNotFound)
	b.again()
	fails(t, "one that was gone before a start", b.m.DeleteCertificate(ctx, arn), CodeResourceNotFound)
}

func TestImportIsChecked(t *testing.T) {
	b, ctx := open(t, ""), context.Background()
	cert, key := pair(t, "one")
	other, _ := pair(t, "two")
	for name, c := range map[string]struct {
		n    NewCertificate
		code string
	}{
		"nothing":                     {NewCertificate{}, CodeValidation},
		"no key":                      {NewCertificate{Text: cert}, CodeValidation},
		"another's key":               {NewCertificate{Text: other, Key: key}, CodeValidation},
		"a path":                      {NewCertificate{Text: "/etc/ssl/cert.pem", Key: key}, CodeValidation},
		"two certificates":            {NewCertificate{Text: cert + other, Key: key}, CodeValidation},
		"a key for a chain":           {NewCertificate{Text: cert, Key: key, Chain: key}, CodeValidation},
		"a chain with words":          {NewCertificate{Text: cert, Key: key, Chain: cert + "and so on"}, CodeValidation},
		"a large one":                 {NewCertificate{Text: cert + strings.Repeat("\n", maxCertificateText), Key: key}, CodeValidation},
		"tags of AWS":                 {NewCertificate{Text: cert, Key: key, Tags: []Tag{{"aws:x", "y"}}}, CodeInvalidTag},
		"in place of one of nobody":   {NewCertificate{ARN: strayARN, Text: cert, Key: key}, CodeResourceNotFound},
		"in place of one of the file": {NewCertificate{ARN: certARN, Text: cert, Key: key}, CodeValidation},
	} {
		_, err := b.m.ImportCertificate(ctx, c.n)
		fails(t, name, err, c.code)
	}
	fails(t, "deleting one of the file", b.m.DeleteCertificate(ctx, certARN), CodeValidation)
	if len(b.files()) != 0 {
		t.Errorf("left behind: %q", b.files())
	}
}
