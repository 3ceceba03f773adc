package profile

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Directives about ciphers, TLS and who the server is.

func auth(p *parser, d *Directive, a []string) error {
	p.p.Auth = strings.TrimPrefix(strings.ToUpper(a[0]), "RSA-") // OpenSSL's older names
	if p.p.Auth == "NONE" {
		return remark("no_digest")
	}
	return nil
}

// finishAuth knows who uses auth: tls-auth, and ciphers without their own
// authentication.
func (p *parser) finishAuth() {
	q := p.p
	tlsAuth := slices.ContainsFunc(p.allKeys(), func(k *ControlKeys) bool { return k.TLSAuth != "" })
	old := slices.ContainsFunc(append(slices.Clone(q.Ciphers), q.Fallback), func(c string) bool { return c != "" && classify(c) == legacy })
	for i := range q.Directives {
		d := &q.Directives[i]
		if d.Words[0] != "auth" || d.Verdict != Used {
			continue
		}
		switch {
		case !tlsAuth && !old:
			d.say(Ignored, remark("auth_unused"))
		case !slices.Contains([]string{"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"}, q.Auth):
			d.say(Unsupported, remark("digest_unsupported", "digest", q.Auth))
		}
	}
}

func cipherName(p *parser, d *Directive, a []string) error {
	name := strings.ToUpper(a[0])
	switch classify(name) {
	case aead, legacy:
		if !p.fallback {
			p.p.Fallback = name
		}
		if p.fallback && p.p.Fallback != name {
			d.say(Ignored, remark("fallback_replaces"))
		} else if classify(name) == legacy {
			d.Note = "offered last: AES-GCM or ChaCha20-Poly1305 is better"
		}
	case broken:
		p.addBroken(name)
		if p.p.BrokenFallback == "" {
			p.p.BrokenFallback = name
		}
		d.say(Ignored, remark("cipher_refused", "cipher", name))
	case weak:
		if name == "NONE" {
			return remark("no_encryption")
		}
		d.say(Ignored, remark("cipher_broken", "cipher", name))
	case foreign:
		d.say(Ignored, remark("cipher_other", "cipher", name))
	default:
		return remark("unknown_cipher", "cipher", strconv.Quote(a[0]))
	}
	return nil
}

func (p *parser) addBroken(name string) {
	if !slices.Contains(p.p.Broken, name) {
		p.p.Broken = append(p.p.Broken, name)
	}
}

// fallback is data-ciphers-fallback, which goes before cipher.
func fallback(p *parser, d *Directive, a []string) error {
	p.fallback = false
	err := cipherName(p, d, a)
	p.fallback = err == nil && d.Verdict == Used
	return err
}

func dataCiphers(p *parser, d *Directive, a []string) error {
	var list, skipped []string
	kinds := map[cipherKind]int{}
	for name := range strings.SplitSeq(strings.ToUpper(a[0]), ":") {
		optional := strings.HasPrefix(name, "?")
		name = strings.TrimPrefix(name, "?")
		if name == "DEFAULT" {
			list = append(list, "AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
			continue
		}
		switch kind := classify(name); {
		case kind == aead || kind == legacy:
			list = append(list, name)
		case kind == strange && !optional:
			return remark("unknown_cipher", "cipher", strconv.Quote(name))
		default:
			if kind == broken {
				p.addBroken(name)
			}
			kinds[kind]++
			skipped = append(skipped, name)
		}
	}
	switch {
	case len(list) > 0:
		p.p.Ciphers = dedupe(list)
		if len(skipped) > 0 {
			d.Note = "not offered: " + strings.Join(dedupe(skipped), ", ")
		}
		if kinds[broken] > 0 {
			d.Note += " (broken ones are refused; an administrator can enable them with aditd --allow-insecure-ciphers)"
		}
	case kinds[foreign] > 0:
		d.say(Unsupported, remark("ciphers_unsupported", "ciphers", strings.Join(skipped, ", ")))
	case kinds[broken] > 0:
		d.say(Ignored, remark("ciphers_default", "ciphers", strings.Join(dedupe(skipped), ", ")))
	default:
		return remark("only_broken", "ciphers", strings.Join(skipped, ", "))
	}
	return nil
}

func dedupe(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func keyMethod(p *parser, d *Directive, a []string) error {
	if a[0] != "2" {
		return errors.New("key-method 1 has no forward secrecy")
	}
	return nil
}

func tlsMin(p *parser, d *Directive, a []string) error {
	v, err := tlsVersion(a[0])
	if err != nil {
		return err
	}
	if v < tls.VersionTLS12 {
		d.Note = "TLS 1.2 is the oldest that is spoken"
		v = tls.VersionTLS12
	}
	p.p.TLSMin = v
	return p.versions()
}

func tlsMax(p *parser, d *Directive, a []string) error {
	v, err := tlsVersion(a[0])
	if err != nil {
		return err
	}
	if v < tls.VersionTLS12 {
		return fmt.Errorf("TLS %s is broken; 1.2 is the oldest that is spoken", a[0])
	}
	p.p.TLSMax = v
	return p.versions()
}

func (p *parser) versions() error {
	if p.p.TLSMax != 0 && p.p.TLSMin > p.p.TLSMax {
		return errors.New("tls-version-min is above tls-version-max")
	}
	return nil
}

func tlsCipher(p *parser, d *Directive, a []string) error {
	if p.p.TLSCiphers = suites(a[0]); len(p.p.TLSCiphers) == 0 {
		d.say(Ignored, remark("no_suite"))
	}
	return nil
}

func tlsGroups(p *parser, d *Directive, a []string) error {
	p.p.TLSGroups = nil
	for name := range strings.SplitSeq(a[0], ":") {
		if _, ok := curve(name); ok {
			p.p.TLSGroups = append(p.p.TLSGroups, name)
		} else {
			d.Note = "not available: " + name
		}
	}
	if len(p.p.TLSGroups) == 0 {
		d.say(Ignored, remark("no_group"))
	}
	return nil
}

func certProfile(p *parser, d *Directive, a []string) error {
	if a[0] == "insecure" {
		d.Note = "certificates signed with SHA-1 are taken: they can be forged"
	}
	p.p.CertProfile = a[0]
	return oneOf("profile", a[0], "legacy", "preferred", "suiteb", "insecure")
}

func remoteCertTLS(p *parser, d *Directive, a []string) error {
	p.p.RemoteCertTLS = a[0]
	return oneOf("type", a[0], "server", "client")
}

func remoteCertKU(p *parser, d *Directive, a []string) error {
	p.p.RemoteCertKU = []uint16{}
	if len(a) == 0 {
		p.p.RemoteCertKU = append(p.p.RemoteCertKU, 0) // any, but there must be one
	}
	for _, s := range a {
		n, err := strconv.ParseUint(s, 16, 16)
		if err != nil {
			return fmt.Errorf("usage %q is not hexadecimal", s)
		}
		p.p.RemoteCertKU = append(p.p.RemoteCertKU, uint16(n))
	}
	return nil
}

func remoteCertEKU(p *parser, d *Directive, a []string) error {
	names := map[string]string{"TLS Web Server Authentication": oidServerAuth, "serverAuth": oidServerAuth,
		"TLS Web Client Authentication": oidClientAuth, "clientAuth": oidClientAuth}
	p.p.RemoteCertEKU = a[0]
	if oid, ok := names[a[0]]; ok {
		p.p.RemoteCertEKU = oid
	}
	if !strings.Contains(p.p.RemoteCertEKU, ".") || strings.Trim(p.p.RemoteCertEKU, "0123456789.") != "" {
		return fmt.Errorf("usage %q is neither an OID nor a known name", a[0])
	}
	return nil
}

func nsCertType(p *parser, d *Directive, a []string) error {
	p.p.NSCertType = a[0]
	d.Note = "remote-cert-tls has replaced it"
	return oneOf("type", a[0], "server", "client")
}

func verifyName(p *parser, d *Directive, a []string) error {
	v := VerifyName{Type: "subject", Value: a[0]}
	if len(a) > 1 {
		v.Type = a[1]
	}
	if v.Value == "" {
		return errors.New("the name is empty")
	}
	p.p.VerifyName = v
	return oneOf("type", v.Type, "subject", "name", "name-prefix")
}

func verifyHash(p *parser, d *Directive, a []string) (err error) {
	h := &VerifyHash{Algorithm: "SHA1"}
	if len(a) > 1 {
		h.Algorithm = strings.ToUpper(a[1])
	}
	size := map[string]int{"SHA1": 20, "SHA256": 32}[h.Algorithm]
	if size == 0 {
		return oneOf("algorithm", h.Algorithm, "SHA1", "SHA256")
	}
	h.Sum, err = fingerprint(a[0], size)
	p.p.VerifyHash = h
	return err
}

func peerFingerprint(p *parser, d *Directive, a []string) error {
	for _, s := range a {
		sum, err := fingerprint(s, 32)
		if err != nil {
			return err
		}
		p.p.Fingerprints = append(p.p.Fingerprints, sum)
	}
	return nil
}
