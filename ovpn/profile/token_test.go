package profile

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestKeyOnAToken: a profile with pkcs11-id can be checked, connects only with a key from elsewhere,
// and that key must be the certificate's.
func TestKeyOnAToken(t *testing.T) {
	ca := newAuthority(t, "ca")
	me, srv := issue(t, &ca, "me", client), issue(t, &ca, "srv", server)
	p := mustParse(t, fmt.Sprintf("remote h\nclient\nremote-cert-tls server\npkcs11-id 'pkcs11:id=%%01'\n<ca>\n%s</ca>\n", ca.pem), nil)
	if p.PKCS11ID != "pkcs11:id=%01" || p.AuthKind() != "certificate" || p.Locked() {
		t.Errorf("id %q, sign-in %q, locked %v", p.PKCS11ID, p.AuthKind(), p.Locked())
	}
	var e *CertificateError
	if _, err := p.TLSConfig(testNow); !errors.As(err, &e) || e.Kind != OnToken {
		t.Fatalf("without the token: %v", err)
	}
	r := p.Check(testNow())
	warned := false
	for _, f := range r.Problems {
		warned = warned || f.Severity == SeverityWarning && f.Line == 4 && strings.Contains(f.Text, "--pkcs11 MODULE")
	}
	if !r.Usable || !warned {
		t.Errorf("check: usable %v, %+v", r.Usable, r.Problems)
	}

	with := p.WithKey(me.cert, me.key)
	cfg, err := with.TLSConfig(testNow)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	if err := handshake(t, cfg, srv, pool); err != nil {
		t.Error(err)
	}
	if !with.Expires().Equal(me.cert.NotAfter) || len(p.Cert) != 0 {
		t.Errorf("ends %v; the profile itself has changed: %v", with.Expires(), len(p.Cert) != 0)
	}
	other := issue(t, &ca, "other", client)
	old := issue(t, &ca, "old", func(c *x509.Certificate) { client(c); c.NotAfter = testNow().AddDate(0, 0, -1) })
	for _, c := range []struct {
		q    *Profile
		want Kind
	}{{p.WithKey(me.cert, other.key), Mismatch}, {p.WithKey(old.cert, old.key), Expired}} {
		if _, err := c.q.TLSConfig(testNow); !errors.As(err, &e) || e.Kind != c.want {
			t.Errorf("want %s, got %v", c.want, err)
		}
	}
}
