package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Mutual is authentication by client certificate. The TLS handshake itself
// refuses bad certificates (Configure); Check takes the name out of good ones.
// Immutable.
type Mutual struct {
	roots *x509.CertPool
	cas   []*x509.Certificate // in it
	crls  []crl
	now   func() time.Time
}

// crl is one checked revocation list.
type crl struct {
	issuer  []byte // raw subject
	until   time.Time
	revoked map[string]time.Time // by serial number
}

// The reasons why a certificate is refused, beside those of crypto/x509.
var (
	ErrRevoked    = errors.New("the client certificate is revoked")
	ErrCRLExpired = errors.New("the certificate revocation list has expired")
	ErrNoName     = errors.New("the client certificate has no common name")
)

// maxRevoked is AWS's limit for one list.
const maxRevoked = 20000

// NewMutual checks client certificates against the CAs in caPEM and, unless it is
// empty, the revocation lists in crlPEM (PEM, or one in DER). now is the clock for the lists.
func NewMutual(caPEM, crlPEM []byte, now func() time.Time) (*Mutual, error) {
	m := &Mutual{roots: x509.NewCertPool(), now: now}
	cas, err := parseCertificates(caPEM)
	if err != nil {
		return nil, err
	}
	m.cas = cas
	for _, c := range cas {
		m.roots.AddCert(c)
	}
	if len(bytes.TrimSpace(crlPEM)) == 0 {
		return m, nil
	}
	m.crls, err = parseCRLs(crlPEM, cas)
	return m, err
}

func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no CA certificate in it")
	}
	return out, nil
}

func parseCRLs(text []byte, cas []*x509.Certificate) ([]crl, error) {
	var ders [][]byte
	for rest := text; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type == "X509 CRL" {
			ders = append(ders, block.Bytes)
		}
	}
	if len(ders) == 0 {
		ders = [][]byte{text} // DER
	}
	var out []crl
	for _, der := range ders {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("revocation list: %w", err)
		}
		if len(list.RevokedCertificateEntries) > maxRevoked {
			return nil, fmt.Errorf("revocation list: more than %d entries", maxRevoked)
		}
		issuer := issuerOf(list, cas)
		if issuer == nil {
			return nil, fmt.Errorf("revocation list of %q is not signed by one of the CAs", list.Issuer)
		}
		c := crl{issuer: issuer.RawSubject, until: list.NextUpdate, revoked: map[string]time.Time{}}
		for _, e := range list.RevokedCertificateEntries {
			c.revoked[serialKey(e.SerialNumber)] = e.RevocationTime
		}
		out = append(out, c)
	}
	return out, nil
}

func issuerOf(list *x509.RevocationList, cas []*x509.Certificate) *x509.Certificate {
	for _, ca := range cas {
		if bytes.Equal(ca.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

func serialKey(n *big.Int) string { return string(n.Bytes()) }

// ListsEnd is when the first of the revocation lists expires: from then on clients of its CA are
// refused. The zero time means never.
func (m *Mutual) ListsEnd() (first time.Time) {
	for _, l := range m.crls {
		if !l.until.IsZero() && (first.IsZero() || l.until.Before(first)) {
			first = l.until
		}
	}
	return first
}

// CAs are those that may have signed clients' certificates.
func (m *Mutual) CAs() []*x509.Certificate { return m.cas }

// Configure makes cfg demand a good client certificate: chain to the CAs, usage
// clientAuth, in its time, a common name, not revoked.
func (m *Mutual) Configure(cfg *tls.Config) {
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.ClientCAs = m.roots
	cfg.VerifyConnection = func(s tls.ConnectionState) error { return m.verify(s) }
}

// verify is what crypto/tls does not do: names and revocation, on every chain.
func (m *Mutual) verify(s tls.ConnectionState) error {
	if len(s.VerifiedChains) == 0 {
		return errors.New("no client certificate")
	}
	if s.PeerCertificates[0].Subject.CommonName == "" {
		return ErrNoName
	}
	var refused error
	for _, chain := range s.VerifiedChains {
		err := m.revoked(chain)
		if err == nil {
			return nil // one good chain is enough
		}
		refused = err
	}
	return refused
}

func (m *Mutual) revoked(chain []*x509.Certificate) error {
	for _, cert := range chain {
		for _, l := range m.crls {
			if !bytes.Equal(l.issuer, cert.RawIssuer) {
				continue
			}
			if _, bad := l.revoked[serialKey(cert.SerialNumber)]; bad {
				return fmt.Errorf("%w: %s", ErrRevoked, cert.Subject.CommonName)
			}
			if !l.until.IsZero() && m.now().After(l.until) {
				return fmt.Errorf("%w: on %s", ErrCRLExpired, l.until.Format(time.DateOnly))
			}
		}
	}
	return nil
}

// Check implements Method: the certificate passed already, its name is the identity.
func (m *Mutual) Check(_ context.Context, c Credentials) (Outcome, error) {
	if err := m.verify(c.TLS); err != nil {
		return Denied{Reason: err.Error()}, nil
	}
	return Accepted{Identity{CommonName: c.TLS.PeerCertificates[0].Subject.CommonName}}, nil
}
