package profile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
)

// What a server is called, for verify-x509-name; and the chain check that
// tls-cert-profile insecure needs, because crypto/x509 refuses SHA-1.

const maxUsername = 64 // openvpn's TLS_USERNAME_LEN

// usernameField reads x509-username-field: where verify-x509-name's "name" is
// found. Fields are joined by _ (openvpn's ssl_verify.c, verify_cert).
func usernameField(p *parser, d *Directive, a []string) error {
	for _, field := range a {
		if field != "serialNumber" && field != "ext:subjectAltName" && !isAttribute(field) {
			return fmt.Errorf("field %q is unknown", field)
		}
	}
	p.p.UsernameFields = a
	return nil
}

func isAttribute(name string) bool {
	for _, known := range attributeNames() {
		if known == name {
			return true
		}
	}
	return false
}

// username is the name of a certificate by the fields of x509-username-field;
// every one of them must be there (CVE-2026-63650).
func username(c *x509.Certificate, fields []string) (string, error) {
	if len(fields) == 0 {
		return c.Subject.CommonName, nil
	}
	var parts []string
	for _, field := range fields {
		value := ""
		switch field {
		case "serialNumber":
			hex := strings.ToUpper(c.SerialNumber.Text(16))
			value = "0x" + strings.Repeat("0", len(hex)%2) + hex
		case "ext:subjectAltName": // the last address for mail
			for _, mail := range c.EmailAddresses {
				value = mail
			}
		default:
			value = lastAttribute(c.RawSubject, field)
		}
		if value == "" || len(value) > maxUsername {
			return "", fmt.Errorf("%s has no usable %s (x509-username-field)", formatName(c.RawSubject), field)
		}
		parts = append(parts, value)
	}
	return strings.Join(parts, "_"), nil
}

func lastAttribute(subject []byte, field string) (value string) {
	var rdns pkix.RDNSequence
	if _, err := asn1.Unmarshal(subject, &rdns); err != nil {
		return ""
	}
	for _, rdn := range rdns {
		for _, a := range rdn {
			if text, ok := a.Value.(string); ok && attributeName(a.Type.String()) == field {
				value = text
			}
		}
	}
	return value
}

const (
	maxDepth  = 8  // certificates in a chain
	maxChecks = 64 // signatures looked at in all
)

// insecureChain finds a chain from certs[0] to one of the roots as
// x509.Certificate.Verify does, but takes SHA-1 signatures (never MD5). It
// refuses what it does not look at: name constraints and unknown critical extensions.
func (v *verifier) insecureChain(certs []*x509.Certificate) ([]*x509.Certificate, error) {
	checks := 0
	var expired *x509.Certificate
	var up func(chain []*x509.Certificate) []*x509.Certificate
	up = func(chain []*x509.Certificate) []*x509.Certificate {
		c := chain[len(chain)-1]
		if kind, _ := validity(c, v.now()); kind != "" {
			expired = c
			return nil
		}
		if len(c.UnhandledCriticalExtensions) > 0 {
			return nil
		}
		for _, root := range v.cas {
			if root.Equal(c) {
				return chain
			}
		}
		if len(chain) == maxDepth {
			return nil
		}
		for _, issuer := range append(v.cas[:len(v.cas):len(v.cas)], certs[1:]...) {
			if checks++; checks > maxChecks || !mayIssue(issuer, c, len(chain)-1) {
				continue
			}
			if issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
				continue
			}
			if found := up(append(chain[:len(chain):len(chain)], issuer)); found != nil {
				return found
			}
		}
		return nil
	}
	if chain := up(certs[:1:1]); chain != nil {
		return chain, nil
	}
	if expired != nil {
		kind, text := validity(expired, v.now())
		return nil, &VerifyError{Kind: kind, Text: formatName(expired.RawSubject) + " " + text}
	}
	return nil, &VerifyError{Kind: Untrusted, Text: formatName(certs[0].RawSubject) + " is not issued by the profile's CA"}
}

// mayIssue reports whether a certificate may be the issuer of c, with so many
// authorities between it and the server's certificate.
func mayIssue(issuer, c *x509.Certificate, between int) bool {
	old := issuer.Version < 3 && selfIssued(issuer) // before basic constraints existed
	switch {
	case string(issuer.RawSubject) != string(c.RawIssuer), issuer.Equal(c):
		return false
	case !old && !(issuer.BasicConstraintsValid && issuer.IsCA):
		return false
	case issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCertSign == 0:
		return false
	case issuer.BasicConstraintsValid && (issuer.MaxPathLen > 0 || issuer.MaxPathLenZero) && between > issuer.MaxPathLen:
		return false
	}
	for _, ext := range issuer.Extensions {
		if ext.Id.String() == "2.5.29.30" { // name constraints
			return false
		}
	}
	return true
}

// signedWeakly reports a signature that crypto/x509 refuses and insecureChain takes.
func signedWeakly(certs []*x509.Certificate) bool {
	for _, c := range certs {
		if c.SignatureAlgorithm == x509.SHA1WithRSA || c.SignatureAlgorithm == x509.ECDSAWithSHA1 {
			return true
		}
	}
	return false
}
