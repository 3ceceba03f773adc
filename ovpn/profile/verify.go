package profile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // verify-hash names SHA-1 fingerprints
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind sorts certificate errors for messages and hints.
type Kind string

// The kinds. The first group is about the server's certificate only.
const (
	Untrusted   Kind = "untrusted"   // not issued by the profile's CA
	Name        Kind = "name"        // verify-x509-name
	Usage       Kind = "usage"       // remote-cert-tls and the like
	Revoked     Kind = "revoked"     // in the CRL, or the CRL is expired
	Fingerprint Kind = "fingerprint" // peer-fingerprint, verify-hash

	Expired  Kind = "expired"
	NotYet   Kind = "not-yet-valid"
	Weak     Kind = "weak"     // SHA-1 signature or short key
	Missing  Kind = "missing"  // no certificate, key or CA
	Mismatch Kind = "mismatch" // key and certificate do not belong together
	Locked   Kind = "locked"   // the key needs a passphrase
	Broken   Kind = "broken"   // cannot be parsed
	OnToken  Kind = "on-token" // pkcs11-id: the key is not in the profile; see WithKey
)

// VerifyError says why the server's certificate was refused.
type VerifyError struct {
	Kind Kind
	Text string
	// Err is crypto/x509's word; it may be nil. It is about dates only where the chain leads to the profile's CA at its time.
	Err error
}

func (e *VerifyError) Error() string { return "server certificate: " + e.Text }

func (e *VerifyError) Unwrap() error { return e.Err }

// CertificateError says what is wrong with the profile's own certificate, key or CA.
type CertificateError struct {
	Kind Kind
	Text string
	Err  error // may be nil

	why *Remark
}

// certificateError words a CertificateError; err may be nil.
func certificateError(kind Kind, why *Remark, err error) *CertificateError {
	return &CertificateError{kind, why.Error(), err, why}
}

func (e *CertificateError) remark() *Remark { return e.why }

func (e *CertificateError) Error() string { return e.Text }

func (e *CertificateError) Unwrap() error { return e.Err }

const (
	oidServerAuth = "1.3.6.1.5.5.7.3.1"
	oidClientAuth = "1.3.6.1.5.5.7.3.2"
	oidKeyUsage   = "2.5.29.15"
	oidExtUsage   = "2.5.29.37"
	oidNetscape   = "2.16.840.1.113730.1.1"
)

// minutes is how the ends of certificates are written.
const minutes = "2006-01-02 15:04 MST"

func validity(c *x509.Certificate, now time.Time) (Kind, string) {
	const layout = minutes
	switch {
	case now.After(c.NotAfter):
		return Expired, "expired on " + c.NotAfter.UTC().Format(layout)
	case now.Before(c.NotBefore):
		return NotYet, fmt.Sprintf("is valid only from %s on; this machine's clock says %s", c.NotBefore.UTC().Format(layout), now.UTC().Format(layout))
	}
	return "", ""
}

// validityArgs are the arguments of a remark about a certificate that is not valid.
func validityArgs(c *x509.Certificate, kind Kind, now time.Time) []string {
	if kind == Expired {
		return []string{"date", c.NotAfter.UTC().Format(minutes)}
	}
	return []string{"date", c.NotBefore.UTC().Format(minutes), "now", now.UTC().Format(minutes)}
}

// verifier checks one server. It is read-only after verifier() and safe for
// concurrent handshakes.
type verifier struct {
	p     *Profile
	roots *x509.CertPool // nil: fingerprints alone decide
	cas   []*x509.Certificate
	lists []*x509.RevocationList
	now   func() time.Time
}

func (p *Profile) verifier(now func() time.Time) (*verifier, error) {
	v := &verifier{p: p, now: now}
	if len(p.CA) == 0 && len(p.Fingerprints) == 0 && p.PKCS12 != "" && p.Key == "" {
		return nil, certificateError(Locked, remark("pkcs12_ca_locked"), nil)
	}
	if len(p.CA) == 0 && len(p.Fingerprints) == 0 {
		return nil, certificateError(Missing, remark("ca_missing"), nil)
	}
	if len(p.CA) > 0 {
		cas, err := certificates(p.CA)
		if err != nil {
			return nil, certificateError(Broken, remark("ca_broken", "detail", err.Error()), err)
		}
		v.roots, v.cas = x509.NewCertPool(), cas
		for _, ca := range cas {
			v.roots.AddCert(ca)
		}
	}
	if len(p.CRL) > 0 {
		lists, err := revocations(p.CRL)
		if err != nil {
			return nil, certificateError(Broken, remark("revocation_list_broken", "detail", err.Error()), err)
		}
		v.lists = lists
	}
	return v, nil
}

func (v *verifier) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return &VerifyError{Kind: Missing, Text: "the server sent none"}
	}
	leaf := cs.PeerCertificates[0]
	chain := cs.PeerCertificates[:1]
	if v.roots != nil {
		chains, err := v.chains(cs.PeerCertificates)
		if err != nil {
			return err
		}
		chain = chains[0]
	}
	if err := v.fingerprints(leaf, chain); err != nil {
		return err
	}
	if err := v.strength(chain); err != nil {
		return err
	}
	if err := v.usage(leaf); err != nil {
		return err
	}
	if err := v.name(leaf); err != nil {
		return err
	}
	return v.revoked(chain)
}

func (v *verifier) chains(certs []*x509.Certificate) ([][]*x509.Certificate, error) {
	opts := x509.VerifyOptions{
		Roots: v.roots, Intermediates: x509.NewCertPool(), CurrentTime: v.now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // usage() is stricter
	}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	chains, err := certs[0].Verify(opts)
	if err == nil {
		return chains, nil
	}
	if v.p.CertProfile == "insecure" && signedWeakly(certs) {
		chain, err := v.insecureChain(certs)
		return [][]*x509.Certificate{chain}, err
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		whose := "it "
		if invalid.Cert != certs[0] {
			whose = "its issuer's certificate " + invalid.Cert.Subject.CommonName + " "
		}
		kind, text := validity(invalid.Cert, opts.CurrentTime)
		// crypto/x509 looks at dates first. Those of a chain that never leads to the CA prove nothing, such as that this
		// machine's clock is wrong: whoever reads the error finds them only where it does.
		out := &VerifyError{Kind: kind, Text: whose + text}
		switch then := v.atItsTime(certs, opts); {
		case then == nil:
			out.Err = err
			return nil, out
		case errors.As(then, &invalid) && invalid.Reason == x509.Expired:
			return nil, out
		default:
			err = then
		}
	}
	for _, c := range certs {
		switch c.SignatureAlgorithm {
		case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
			if !selfIssued(c) {
				return nil, &VerifyError{Weak, fmt.Sprintf("%s is signed with %s, which can be forged", formatName(c.RawSubject), c.SignatureAlgorithm), err}
			}
		}
	}
	return nil, &VerifyError{Untrusted, fmt.Sprintf("%s is not issued by the profile's CA: %s", formatName(certs[0].RawSubject), strings.TrimPrefix(err.Error(), "x509: ")), err}
}

// maxBegins bounds how many certificates of a server's chain are looked at for their dates.
const maxBegins = 8

// atItsTime verifies a chain at the times when its certificates begin. It returns nil if the chain held at any of them: one
// that ever held did so when the last of its certificates began.
func (v *verifier) atItsTime(certs []*x509.Certificate, opts x509.VerifyOptions) error {
	var last error
	for _, c := range slices.Concat(certs[:min(len(certs), maxBegins)], v.cas) {
		opts.CurrentTime = c.NotBefore
		_, err := certs[0].Verify(opts)
		if err == nil {
			return nil
		}
		var invalid x509.CertificateInvalidError
		if last == nil || !errors.As(err, &invalid) || invalid.Reason != x509.Expired { // the better reason
			last = err
		}
	}
	return last
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

func (v *verifier) fingerprints(leaf *x509.Certificate, chain []*x509.Certificate) error {
	if len(v.p.Fingerprints) > 0 {
		sum := sha256.Sum256(leaf.Raw)
		if !slices.ContainsFunc(v.p.Fingerprints, func(f []byte) bool { return bytes.Equal(f, sum[:]) }) {
			return &VerifyError{Kind: Fingerprint, Text: fmt.Sprintf("fingerprint %X is not one of peer-fingerprint", sum)}
		}
	}
	if h := v.p.VerifyHash; h != nil {
		if len(chain) < 2 {
			return &VerifyError{Kind: Fingerprint, Text: "verify-hash: there is no issuer"}
		}
		sum256, sum1 := sha256.Sum256(chain[1].Raw), sha1.Sum(chain[1].Raw)
		sum := sum256[:]
		if h.Algorithm == "SHA1" {
			sum = sum1[:]
		}
		if !bytes.Equal(sum, h.Sum) {
			return &VerifyError{Kind: Fingerprint, Text: fmt.Sprintf("its issuer's fingerprint %X is not verify-hash", sum)}
		}
	}
	return nil
}

// strength is tls-cert-profile.
func (v *verifier) strength(chain []*x509.Certificate) error {
	for _, c := range chain {
		weak := ""
		switch key := c.PublicKey.(type) {
		case *rsa.PublicKey:
			least := 1024
			if v.p.CertProfile == "preferred" {
				least = 2048
			}
			if n := key.N.BitLen(); n < least {
				weak = fmt.Sprintf("an RSA key of %d bits", n)
			}
			if v.p.CertProfile == "suiteb" {
				weak = "an RSA key"
			}
		case *ecdsa.PublicKey:
			if bits := key.Curve.Params().BitSize; v.p.CertProfile == "suiteb" && bits != 256 && bits != 384 {
				weak = fmt.Sprintf("an ECDSA key of %d bits", bits)
			}
		default:
			if v.p.CertProfile == "suiteb" {
				weak = "neither P-256 nor P-384"
			}
		}
		if weak != "" {
			return &VerifyError{Kind: Weak, Text: fmt.Sprintf("%s has %s: refused by tls-cert-profile", formatName(c.RawSubject), weak)}
		}
	}
	return nil
}

// usage is remote-cert-tls, remote-cert-ku, remote-cert-eku and ns-cert-type.
func (v *verifier) usage(leaf *x509.Certificate) error {
	fail := func(format string, a ...any) error {
		return &VerifyError{Kind: Usage, Text: fmt.Sprintf("%s %s", formatName(leaf.RawSubject), fmt.Sprintf(format, a...))}
	}
	ku, hasKU := bitString(leaf, oidKeyUsage)
	eku := extendedUsages(leaf)
	role := map[string]string{"server": oidServerAuth, "client": oidClientAuth}
	if want := v.p.RemoteCertTLS; want != "" {
		if !slices.Contains(eku, role[want]) {
			return fail("is not meant for a %s (remote-cert-tls %s)", want, want)
		}
		const signs, enciphers, agrees = 0x80, 0x20, 0x08
		if hasKU && ku&(signs|enciphers|agrees) == 0 {
			return fail("has a key usage that TLS cannot use (remote-cert-tls %s)", want)
		}
	}
	if want := v.p.RemoteCertKU; len(want) > 0 {
		if !hasKU || !slices.ContainsFunc(want, func(w uint16) bool { return uint16(ku)&w == w }) {
			return fail("has key usage %02x, which remote-cert-ku does not list", ku)
		}
	}
	if want := v.p.RemoteCertEKU; want != "" && !slices.Contains(eku, want) {
		return fail("lacks the extended key usage %s (remote-cert-eku)", want)
	}
	if want := v.p.NSCertType; want != "" {
		const nsClient, nsServer = 0x80, 0x40
		bits, _ := bitString(leaf, oidNetscape)
		bit := map[string]byte{"server": nsServer, "client": nsClient}[want]
		if bits&bit == 0 && !slices.Contains(eku, role[want]) {
			return fail("is not meant for a %s (ns-cert-type %s)", want, want)
		}
	}
	return nil
}

// bitString returns the first eight bits of an extension, most significant first.
func bitString(c *x509.Certificate, oid string) (byte, bool) {
	for _, ext := range c.Extensions {
		if ext.Id.String() != oid {
			continue
		}
		var bits asn1.BitString
		if _, err := asn1.Unmarshal(ext.Value, &bits); err == nil && len(bits.Bytes) > 0 {
			return bits.Bytes[0], true
		}
	}
	return 0, false
}

func extendedUsages(c *x509.Certificate) (oids []string) {
	for _, ext := range c.Extensions {
		var list []asn1.ObjectIdentifier
		if ext.Id.String() != oidExtUsage {
			continue
		}
		if _, err := asn1.Unmarshal(ext.Value, &list); err == nil {
			for _, oid := range list {
				oids = append(oids, oid.String())
			}
		}
	}
	return oids
}

// name is verify-x509-name.
func (v *verifier) name(leaf *x509.Certificate) error {
	want := v.p.VerifyName
	got, err := username(leaf, v.p.UsernameFields)
	if err != nil {
		return &VerifyError{Name, err.Error(), err}
	}
	ok := true
	switch want.Type {
	case "":
		return nil
	case "name":
		ok = got == want.Value
	case "name-prefix":
		ok = strings.HasPrefix(got, want.Value)
	default:
		got = formatName(leaf.RawSubject)
		ok = got == want.Value
	}
	if !ok {
		return &VerifyError{Kind: Name, Text: fmt.Sprintf("its name is %q, but verify-x509-name wants %q (%s)", got, want.Value, want.Type)}
	}
	return nil
}

// revoked looks the chain up in the CRLs of its issuers. Like openvpn it
// accepts issuers without a CRL, and refuses an expired CRL.
func (v *verifier) revoked(chain []*x509.Certificate) error {
	for i := 0; i+1 < len(chain); i++ {
		cert, issuer := chain[i], chain[i+1]
		for _, list := range v.lists {
			if !bytes.Equal(list.RawIssuer, issuer.RawSubject) || list.CheckSignatureFrom(issuer) != nil {
				continue
			}
			if !list.NextUpdate.IsZero() && v.now().After(list.NextUpdate) {
				return &VerifyError{Kind: Revoked, Text: fmt.Sprintf("the revocation list of %s expired on %s", formatName(issuer.RawSubject), list.NextUpdate.UTC().Format(time.DateOnly))}
			}
			for _, entry := range list.RevokedCertificateEntries {
				if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
					return &VerifyError{Kind: Revoked, Text: fmt.Sprintf("%s was revoked on %s", formatName(cert.RawSubject), entry.RevocationTime.UTC().Format(time.DateOnly))}
				}
			}
		}
	}
	return nil
}

// revocations reads all CRLs of PEM text.
func revocations(text []byte) ([]*x509.RevocationList, error) {
	var lists []*x509.RevocationList
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("revocation list %d: %w", len(lists)+1, err)
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		return nil, errors.New("holds no revocation list: truncated or not PEM?")
	}
	return lists, nil
}
