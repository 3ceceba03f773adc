package profile

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"time"
)

// TLSConfig is the client side of the TLS handshake as the profile demands it.
// now is the session's clock. The server is checked by VerifyConnection alone
// (ServerName stays empty: OpenVPN does not match host names); handshakes fail
// with a *VerifyError. TLSConfig itself returns a *CertificateError.
func (p *Profile) TLSConfig(now func() time.Time) (*tls.Config, error) {
	v, err := p.verifier(now)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		Time:                   now,
		MinVersion:             max(p.TLSMin, tls.VersionTLS12),
		MaxVersion:             p.TLSMax,
		CipherSuites:           slices.Clone(p.TLSCiphers),
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // VerifyConnection checks instead
		VerifyConnection:       v.verify,
	}
	for _, name := range p.TLSGroups {
		if id, ok := curve(name); ok {
			cfg.CurvePreferences = append(cfg.CurvePreferences, id)
		}
	}
	cert, err := p.clientCertificate(now())
	if err != nil {
		return nil, err
	}
	if cert != nil { // sent whatever CAs the server names: it decides
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return cfg, nil
}

// clientCertificate returns nil when the profile works without one.
func (p *Profile) clientCertificate(now time.Time) (*tls.Certificate, error) {
	switch {
	case p.signer != nil:
		return p.signedBy(p.signer, now)
	case p.PKCS11ID != "" && p.Key == "":
		return nil, certificateError(OnToken, remark("key_on_token"), nil)
	case len(p.Cert) == 0 && p.Key == "" && (p.AuthUserPass || p.AuthFederate || p.NoClientCert):
		return nil, nil
	case len(p.Cert) == 0 && p.PKCS12 != "":
		return nil, certificateError(Locked, remark("pkcs12_locked"), nil)
	case len(p.Cert) == 0:
		return nil, certificateError(Missing, remark("certificate_missing"), nil)
	case p.Key == "":
		return nil, certificateError(Missing, remark("key_missing"), nil)
	}
	if locked(p.Key.Reveal()) {
		return nil, certificateError(Locked, remark("key_locked"), nil)
	}
	certs, err := certificates(p.Cert)
	if err != nil {
		return nil, certificateError(Broken, remark("certificate_broken", "detail", err.Error()), err)
	}
	chain := append(slices.Clone(p.Cert), '\n')
	pair, err := tls.X509KeyPair(append(chain, p.ExtraCerts...), []byte(p.Key.Reveal()))
	switch {
	case err != nil && strings.Contains(err.Error(), "match"): // crypto/tls has no typed error
		return nil, certificateError(Mismatch, remark("key_mismatch"), err)
	case err != nil:
		return nil, certificateError(Broken, remark("key_broken", "detail", strings.TrimPrefix(err.Error(), "tls: ")), err)
	}
	if kind, _ := validity(certs[0], now); kind != "" {
		why := map[Kind]Code{Expired: "own_expired", NotYet: "own_not_yet"}[kind]
		return nil, certificateError(kind, remark(why, validityArgs(certs[0], kind, now)...), nil)
	}
	return &pair, nil
}

// WithKey returns the profile with a client certificate whose private key is elsewhere: on a token,
// or in another process. The certificate takes the place of the profile's own.
func (p *Profile) WithKey(cert *x509.Certificate, key crypto.Signer) *Profile {
	q := *p
	q.Cert, q.Key, q.signer = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), "", key
	return &q
}

func (p *Profile) signedBy(key crypto.Signer, now time.Time) (*tls.Certificate, error) {
	certs, err := certificates(append(slices.Clone(p.Cert), p.ExtraCerts...))
	if err != nil {
		return nil, certificateError(Broken, remark("certificate_broken", "detail", err.Error()), err)
	}
	if kind, _ := validity(certs[0], now); kind != "" {
		why := map[Kind]Code{Expired: "own_expired", NotYet: "own_not_yet"}[kind]
		return nil, certificateError(kind, remark(why, validityArgs(certs[0], kind, now)...), nil)
	}
	public, ok := certs[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, certificateError(Mismatch, remark("key_mismatch"), nil)
	}
	pair := &tls.Certificate{PrivateKey: key, Leaf: certs[0]}
	for _, c := range certs {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}
