// Package ovpntest joins two real Sessions by a wire that loses, repeats,
// reorders and damages packets under a clock that the test turns. It also makes
// throw-away certificates. For tests only.
package ovpntest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync/atomic"
	"testing"
	"time"
)

// Epoch is when the fake clocks start; certificates are valid around it.
func Epoch() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

// PKI is a certificate authority that lives as long as the test. Safe for concurrent use.
type PKI struct {
	t    testing.TB
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	next atomic.Int64 // serial number
}

// NewPKI makes a CA, valid from a year before Epoch for twenty years.
func NewPKI(t testing.TB) *PKI {
	t.Helper()
	p := &PKI{t: t}
	p.key = p.newKey()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"},
		NotBefore: Epoch().AddDate(-20, 0, 0), NotAfter: Epoch().AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, p.key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	p.ca, _ = x509.ParseCertificate(der)
	return p
}

func (p *PKI) newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

// CA is the authority's certificate in PEM.
func (p *PKI) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.ca.Raw})
}

// Pool holds the authority.
func (p *PKI) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.ca)
	return pool
}

// Issue makes a leaf certificate; edit (may be nil) changes the template first.
func (p *PKI) Issue(name string, usage x509.ExtKeyUsage, edit func(*x509.Certificate)) tls.Certificate {
	p.t.Helper()
	key := p.newKey()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1 + p.next.Add(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: Epoch().AddDate(-1, 0, 0), NotAfter: Epoch().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	if edit != nil {
		edit(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.ca, key.Public(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// PEM returns a leaf's certificate and key as text.
func PEM(t testing.TB, c tls.Certificate) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// ServerTLS is a server that demands certificates of this authority.
func (p *PKI) ServerTLS() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{p.Issue("server", x509.ExtKeyUsageServerAuth, nil)},
		ClientCAs:    p.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS12,
	}
}

// ClientTLS is a client that trusts this authority, whatever the server's name.
func (p *PKI) ClientTLS(name string) *tls.Config {
	cfg := &tls.Config{
		Certificates:       []tls.Certificate{p.Issue(name, x509.ExtKeyUsageClientAuth, nil)},
		InsecureSkipVerify: true, // the chain is checked below, without a host name
		MinVersion:         tls.VersionTLS12,
	}
	pool := p.Pool()
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: pool, CurrentTime: Epoch(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		return err
	}
	return cfg
}

// CRL is the authority's list of revoked certificates in PEM, valid until until.
func (p *PKI) CRL(until time.Time, revoked ...tls.Certificate) []byte {
	p.t.Helper()
	tmpl := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: Epoch().AddDate(0, 0, -7), NextUpdate: until}
	for _, c := range revoked {
		tmpl.RevokedCertificateEntries = append(tmpl.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: c.Leaf.SerialNumber, RevocationTime: Epoch().AddDate(0, 0, -8),
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, tmpl, p.ca, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}
