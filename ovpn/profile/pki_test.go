package profile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// testNow is the clock of all tests.
func testNow() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  string
}

type issued struct {
	cert      *x509.Certificate
	key       crypto.Signer
	pem, kpem string
}

func newAuthority(t testing.TB, cn string) authority {
	t.Helper()
	is := issue(t, nil, cn, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	})
	return authority{is.cert, is.key, is.pem}
}

func issue(t testing.TB, ca *authority, cn string, change func(c *x509.Certificate)) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Country: []string{"DE"}, Organization: []string{"Example"}, CommonName: cn},
		NotBefore: testNow().AddDate(-1, 0, 0), NotAfter: testNow().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, crypto.Signer(key)
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{cert, key, toPEM("CERTIFICATE", der), toPEM("PRIVATE KEY", pkcs8)}
}

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func server(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }

func client(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

const staticKeyText = `#
# 2048 bit OpenVPN static key
#
-----BEGIN OpenVPN Static key V1-----
00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
-----END OpenVPN Static key V1-----
`

// encodePKCS12 writes the certificates in this order.
func encodePKCS12(t *testing.T, key crypto.Signer, password string, certs ...*x509.Certificate) []byte {
	t.Helper()
	der, err := pkcs12.Modern.Encode(key, certs[0], certs[1:], password)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
