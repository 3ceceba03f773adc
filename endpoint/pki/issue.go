package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// backdate lets machines whose clock is a little slow use a certificate at once.
const backdate = 5 * time.Minute

// Init makes the directory and a CA in it, without a passphrase.
func (p *PKI) Init(o Options) error {
	if o.CommonName == "" {
		o.CommonName = "Adit CA"
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return p.ioError(p.dir, err)
	}
	begun := p.beingWritten() && !exists(p.CAFile())
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if begun && exists(p.CAFile()) { // this was asked for before, and is done now
		return nil
	}
	if p.Exists() || exists(p.path("index.txt")) {
		return &Error{Kind: ErrCAExists, What: p.dir, Hint: "use it as it is, replace it (adit-endpoint pki replace-ca), or choose another directory with --data DIR"}
	}
	return p.init(o)
}

// init is Init in a directory that is there, with the lock held.
func (p *PKI) init(o Options) error {
	for _, d := range []string{"private", "reqs", "issued", "certs_by_serial", "renewed", "revoked/certs_by_serial",
		"revoked/private_by_serial", "revoked/reqs_by_serial"} {
		if err := os.MkdirAll(p.path(filepath.FromSlash(d)), 0o700); err != nil {
			return p.ioError(p.path(d), err)
		}
	}
	key, err := newKey(o.RSABits)
	if err != nil {
		return fmt.Errorf("pki: make CA key: %w", err)
	}
	tmpl, err := p.template(kindCA, o, key.Public())
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return fmt.Errorf("pki: sign CA certificate: %w", err)
	}
	keyText, err := encodeKey(key)
	if err != nil {
		return fmt.Errorf("pki: encode CA key: %w", err)
	}
	if cnf := p.path("openssl-easyrsa.cnf"); !exists(cnf) { // easy-rsa's own stays
		if err := write(cnf, []byte(opensslCnf)); err != nil {
			return p.ioError(cnf, err)
		}
	}
	// ca.crt comes last: its presence says that the rest is there.
	return p.writeAll([]file{
		{p.path("index.txt.attr"), []byte("unique_subject = no\n")},
		{p.path("index.txt"), nil},
		{p.path("serial"), []byte("01\n")},
		{p.path("private", "ca.key"), keyText},
		{p.CAFile(), encodeCert(der)},
	})
}

// Server makes a key and a certificate for a server. o.Names should hold its DNS
// name or address: clients of AWS and browsers look there.
func (p *PKI) Server(name string, o Options) (Certificate, error) {
	return p.create(KindServer, name, o)
}

// Client makes a key and a certificate for a client.
func (p *PKI) Client(name string, o Options) (Certificate, error) {
	return p.create(KindClient, name, o)
}

func (p *PKI) create(kind Kind, name string, o Options) (Certificate, error) {
	var none Certificate
	if err := checkName(name); err != nil {
		return none, err
	}
	if o.CommonName == "" {
		o.CommonName = name
	}
	if err := o.check(); err != nil {
		return none, err
	}
	if _, err := p.readCA(); err != nil { // before the lock, which needs the directory
		return none, err
	}
	unlock, err := p.lock()
	if err != nil {
		return none, err
	}
	defer unlock()
	if exists(p.CertFile(name)) {
		return none, &Error{Kind: ErrExists, What: name, Hint: "replace it: adit-endpoint pki renew " + name + ", or revoke it first"}
	}
	for _, f := range []string{p.KeyFile(name), p.reqFile(name)} {
		if exists(f) {
			return none, &Error{Kind: ErrExists, What: f, Hint: "a key or request without a certificate: move it away, or sign it with easyrsa sign-req"}
		}
	}
	files, err := p.sign(kind, name, nil, o)
	if err != nil {
		return none, err
	}
	if err := p.writeAll(files); err != nil {
		return none, err
	}
	return p.describe(name)
}

// Renew replaces name's certificate and key in one step. The old ones go to
// renewed/ and stay good until they expire or name is revoked. Subject and
// use are kept; alternative names and the kind of key are kept unless o says otherwise.
func (p *PKI) Renew(name string, o Options) (Certificate, error) {
	var none Certificate
	if err := checkName(name); err != nil {
		return none, err
	}
	if _, err := p.readCA(); err != nil {
		return none, err
	}
	unlock, err := p.lock()
	if err != nil {
		return none, err
	}
	defer unlock()
	old, err := p.readCert(name)
	if err != nil {
		return none, err
	}
	kind := kindOf(old)
	if kind == KindOther {
		return none, &Error{Kind: ErrBadOption, What: name, Hint: "only server and client certificates are renewed here; use easyrsa for others"}
	}
	if o.CommonName != "" {
		return none, &Error{Kind: ErrBadOption, What: "common name", Hint: "a renewal keeps the subject; make a new certificate instead"}
	}
	o.inherit(old)
	if err := o.check(); err != nil {
		return none, err
	}
	files, err := p.sign(kind, name, old.RawSubject, o)
	if err != nil {
		return none, err
	}
	// easy-rsa keeps the last replaced certificate under its name and would refuse
	// the next renewal; the one before becomes NAME.SERIAL, which its
	// revoke-renewed takes too. The certificate moves last: while it is there, this is repeated.
	r := renewedFiles(p.path("renewed"), name)
	if text, err := os.ReadFile(r.crt); err == nil {
		older, err := parseCert(text)
		if err != nil {
			return none, &Error{Kind: ErrCorrupt, What: r.crt, Err: err, Hint: "move that file away"}
		}
		to := renewedFiles(p.path("renewed"), name+"."+formatSerial(older.SerialNumber))
		for _, m := range [][2]string{{r.key, to.key}, {r.req, to.req}, {r.crt, to.crt}} {
			if err := move(m[0], m[1]); err != nil {
				return none, p.ioError(m[0], err)
			}
		}
	}
	for _, m := range [][2]string{{p.KeyFile(name), r.key}, {p.reqFile(name), r.req}, {p.CertFile(name), r.crt}} {
		if err := copyFile(m[0], m[1]); err != nil {
			return none, p.ioError(m[1], err)
		}
	}
	if err := p.writeAll(files); err != nil {
		return none, err
	}
	// easy-rsa takes away the copy by serial of what it renewed.
	if err := os.Remove(p.path("certs_by_serial", formatSerial(old.SerialNumber)+".pem")); err != nil && !os.IsNotExist(err) {
		return none, p.ioError(p.path("certs_by_serial"), err)
	}
	if err := p.dropWrapClient(name); err != nil {
		return none, err
	}
	return p.describe(name)
}

// sign makes a key and a certificate, and returns all that is to be written, the index among it. subject nil means o.CommonName.
func (p *PKI) sign(kind Kind, name string, subject []byte, o Options) ([]file, error) {
	ca, caKey, err := p.signer()
	if err != nil {
		return nil, err
	}
	entries, err := p.readIndex()
	if err != nil {
		return nil, err
	}
	key, err := newKey(o.RSABits)
	if err != nil {
		return nil, fmt.Errorf("pki: make key for %s: %w", name, err)
	}
	tmpl, err := p.template(kind, o, key.Public())
	if err != nil {
		return nil, err
	}
	tmpl.RawSubject = subject
	for find(entries, tmpl.SerialNumber) != nil { // 127 random bits: never, unless the index is odd
		tmpl.SerialNumber.Add(tmpl.SerialNumber, big.NewInt(1))
	}
	if tmpl.NotAfter.After(ca.NotAfter) {
		tmpl.NotAfter = ca.NotAfter
	}
	if tmpl.NotBefore.Before(ca.NotBefore) {
		tmpl.NotBefore = ca.NotBefore
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("pki: sign %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("pki: read back %s: %w", name, err)
	}
	req, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: tmpl.Subject,
		RawSubject: cert.RawSubject, DNSNames: tmpl.DNSNames, IPAddresses: tmpl.IPAddresses}, key)
	if err != nil {
		return nil, fmt.Errorf("pki: make request for %s: %w", name, err)
	}
	keyText, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("pki: encode key of %s: %w", name, err)
	}
	serial := formatSerial(cert.SerialNumber)
	next := formatSerial(new(big.Int).Add(cert.SerialNumber, big.NewInt(1)))
	former, index := formatIndex(entries), formatIndex(append(entries, entry{status: 'V', expires: cert.NotAfter, serial: cert.SerialNumber,
		file: "unknown", subject: oneLine(cert.RawSubject)}))
	return []file{
		{p.path("serial"), []byte(next + "\n")}, // for easy-rsa with EASYRSA_RAND_SN=no, which takes it as it is
		{p.path("index.txt.old"), former},       // as openssl keeps it
		{p.path("index.txt"), index},
		{p.path("certs_by_serial", serial+".pem"), encodeCert(der)},
		{p.reqFile(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: req})},
		{p.KeyFile(name), keyText},
		{p.CertFile(name), encodeCert(der)},
	}, nil
}

// template fills in what easy-rsa's x509-types say about the kind.
func (p *PKI) template(kind Kind, o Options, pub crypto.PublicKey) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	rand.Read(serial)
	serial[0] &= 0x7f // no leading zero byte in DER, so that all tools print the same
	serial[0] |= 0x01 // never short either
	id, err := keyID(pub)
	if err != nil {
		return nil, err
	}
	days := o.Days
	if days == 0 {
		days = map[Kind]int{kindCA: 3650, KindServer: 825, KindBoth: 825, KindClient: 365}[kind]
	}
	now := p.now().UTC().Truncate(time.Second)
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: o.CommonName},
		NotBefore: now.Add(-backdate), NotAfter: now.AddDate(0, 0, days),
		BasicConstraintsValid: true, SubjectKeyId: id, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	switch kind {
	case kindCA:
		t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	case KindServer, KindBoth:
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if o.RSABits > 0 { // RSA key transport; an EC key cannot
			t.KeyUsage |= x509.KeyUsageKeyEncipherment
		}
	}
	if kind == KindClient || kind == KindBoth {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, n := range o.Names {
		addr, dns, err := checkAltName(n)
		if err != nil {
			return nil, err
		}
		if dns != "" {
			t.DNSNames = append(t.DNSNames, dns)
		} else {
			t.IPAddresses = append(t.IPAddresses, net.IP(addr.AsSlice()))
		}
	}
	return t, nil
}

// keyID is RFC 5280 4.2.1.2 method 1, what openssl's "hash" computes: SHA-1 names the key, it protects nothing.
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("pki: encode public key: %w", err)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, fmt.Errorf("pki: decode public key: %w", err)
	}
	sum := sha1.Sum(spki.Key.Bytes)
	return sum[:], nil
}

func (o Options) check() error {
	if o.Days < 0 || o.Days > maxDays {
		return &Error{Kind: ErrBadOption, What: fmt.Sprintf("%d days", o.Days), Hint: fmt.Sprintf("use 1 to %d", maxDays)}
	}
	if o.RSABits != 0 && (o.RSABits < 2048 || o.RSABits > 8192) {
		return &Error{Kind: ErrBadOption, What: fmt.Sprintf("RSA key of %d bits", o.RSABits), Hint: "use 2048 to 8192, or ECDSA (the default)"}
	}
	if len(o.Names) > 100 {
		return &Error{Kind: ErrBadOption, What: fmt.Sprintf("%d alternative names", len(o.Names)), Hint: "use at most 100"}
	}
	for _, n := range o.Names {
		if _, _, err := checkAltName(n); err != nil {
			return err
		}
	}
	return checkCommonName(o.CommonName)
}
