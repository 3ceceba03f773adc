package pki

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// crlDays is how long a CRL is good: easy-rsa's default.
const crlDays = 180

// reasons are openssl's words for RFC 5280 5.3.1.
var reasons = map[string]int{"unspecified": 0, "keyCompromise": 1, "CACompromise": 2, "affiliationChanged": 3,
	"superseded": 4, "cessationOfOperation": 5, "certificateHold": 6, "removeFromCRL": 8,
	"holdInstruction": 6, "keyTime": 1, "CAkeyTime": 2}

// copyOf is one certificate of a name, current or renewed, with its companions.
type copyOf struct {
	cert          *x509.Certificate
	crt, key, req string
}

// renewedFiles are where a replaced certificate, its key and its request are kept.
func renewedFiles(dir, base string) copyOf {
	return copyOf{crt: filepath.Join(dir, "issued", base+".crt"), key: filepath.Join(dir, "private", base+".key"),
		req: filepath.Join(dir, "reqs", base+".req")}
}

// copies lists name's current certificate and those that renewals replaced.
func (p *PKI) copies(name string) ([]copyOf, error) {
	var found []copyOf
	add := func(crt, key, req string, same func(*x509.Certificate) bool) error {
		text, err := os.ReadFile(crt)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return p.ioError(crt, err)
		}
		cert, err := parseCert(text)
		if err != nil {
			return &Error{Kind: ErrCorrupt, What: crt, Err: err, Hint: "move that file away"}
		}
		if same == nil || same(cert) {
			found = append(found, copyOf{cert, crt, key, req})
		}
		return nil
	}
	if err := add(p.CertFile(name), p.KeyFile(name), p.reqFile(name), nil); err != nil {
		return nil, err
	}
	r := renewedFiles(p.path("renewed"), name)
	if err := add(r.crt, r.key, r.req, nil); err != nil {
		return nil, err
	}
	older, err := filepath.Glob(p.path("renewed", "issued", "*.crt"))
	if err != nil {
		return nil, p.ioError(p.path("renewed"), err)
	}
	for _, crt := range older {
		base := strings.TrimSuffix(filepath.Base(crt), ".crt")
		serial, ok := strings.CutPrefix(base, name+".")
		if !ok {
			continue
		}
		r := renewedFiles(p.path("renewed"), base)
		if err := add(r.crt, r.key, r.req, func(c *x509.Certificate) bool { return formatSerial(c.SerialNumber) == serial }); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Revoke takes name's certificate back, and those that renewals replaced, since
// they would still let their holder in; then it writes the CRL. The files go to
// revoked/, and the name is free again. A Revoke that was interrupted can be repeated.
func (p *PKI) Revoke(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := p.readCA(); err != nil {
		return err
	}
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	// Without the CA's key there would be a revocation that nobody hears of.
	if _, _, err := p.signer(); err != nil {
		return err
	}
	copies, err := p.copies(name)
	if err != nil {
		return err
	}
	if len(copies) == 0 {
		return &Error{Kind: ErrNotFound, What: name, Hint: "see what there is: adit-endpoint pki list"}
	}
	entries, err := p.readIndex()
	if err != nil {
		return err
	}
	now := p.now().UTC().Truncate(time.Second)
	for _, c := range copies {
		e := find(entries, c.cert.SerialNumber)
		if e == nil { // as openssl: a certificate that the index does not know is entered first
			entries = append(entries, entry{expires: c.cert.NotAfter, serial: c.cert.SerialNumber,
				file: "unknown", subject: oneLine(c.cert.RawSubject)})
			e = &entries[len(entries)-1]
		}
		if e.status != 'R' {
			e.status, e.revoked = 'R', now
		}
	}
	if err := p.writeIndex(entries); err != nil {
		return err
	}
	if _, err := p.writeCRL(entries, crlDays); err != nil {
		return err
	}
	for i := len(copies) - 1; i >= 0; i-- { // the current one last, so that a repetition still finds the name
		c := copies[i]
		serial := formatSerial(c.cert.SerialNumber)
		// The certificate after its key, for the same reason.
		for _, m := range []struct{ from, to string }{
			{c.key, p.path("revoked", "private_by_serial", serial+".key")},
			{c.req, p.path("revoked", "reqs_by_serial", serial+".req")},
			{c.crt, p.path("revoked", "certs_by_serial", serial+".crt")},
		} {
			if err := move(m.from, m.to); err != nil {
				return p.ioError(m.from, err)
			}
		}
		for _, f := range []string{p.path("certs_by_serial", serial+".pem"), p.path(name + ".creds")} {
			if err := os.Remove(f); err != nil && !os.IsNotExist(err) {
				return p.ioError(f, err)
			}
		}
	}
	return p.dropWrapClient(name)
}

// CRL writes crl.pem anew, good for so many days (0: 180), and returns it as PEM.
func (p *PKI) CRL(days int) ([]byte, error) {
	if days == 0 {
		days = crlDays
	}
	if days < 0 || days > maxDays {
		return nil, &Error{Kind: ErrBadOption, What: fmt.Sprintf("%d days", days), Hint: fmt.Sprintf("use 1 to %d", maxDays)}
	}
	if _, err := p.readCA(); err != nil {
		return nil, err
	}
	unlock, err := p.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := p.readIndex()
	if err != nil {
		return nil, err
	}
	return p.writeCRL(entries, days)
}

func (p *PKI) writeCRL(entries []entry, days int) ([]byte, error) {
	ca, key, err := p.signer()
	if err != nil {
		return nil, err
	}
	now := p.now().UTC().Truncate(time.Second)
	// The number must grow. easy-rsa writes none, so the clock gives it, and the
	// former CRL where it is ahead.
	number := big.NewInt(now.Unix())
	if text, err := os.ReadFile(p.CRLFile()); err == nil {
		if old, err := parseCRL(text); err == nil && old.Number != nil && old.Number.Cmp(number) >= 0 {
			number = new(big.Int).Add(old.Number, big.NewInt(1))
		}
	}
	list := &x509.RevocationList{Number: number, ThisUpdate: now, NextUpdate: now.AddDate(0, 0, days)}
	for _, e := range entries {
		if e.status == 'R' {
			word, _, _ := strings.Cut(e.reason, ",")
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: e.serial, RevocationTime: e.revoked, ReasonCode: reasons[word]})
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, ca, key)
	if err != nil {
		return nil, &Error{Kind: ErrNotCA, What: p.CAFile(), Err: err, Hint: "the CA certificate must allow cRLSign and have a subject key identifier"}
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	if err := write(p.CRLFile(), text); err != nil {
		return nil, p.ioError(p.CRLFile(), err)
	}
	return text, nil
}

// List returns every certificate that the index knows, by name, newest first.
// It takes no lock: index.txt is replaced atomically.
func (p *PKI) List() ([]Certificate, error) {
	if _, err := p.readCA(); err != nil {
		return nil, err
	}
	entries, err := p.readIndex()
	if err != nil {
		return nil, err
	}
	type place struct {
		cert     *x509.Certificate
		crt, key string
		renewed  bool
		named    bool // the file's base name is the certificate's name
	}
	places := map[string]place{}
	for _, d := range []struct {
		crt, key       string
		renewed, named bool
	}{
		{"issued", "private", false, true},
		{"renewed/issued", "renewed/private", true, true},
		{"revoked/certs_by_serial", "revoked/private_by_serial", false, false},
	} {
		files, err := filepath.Glob(p.path(filepath.FromSlash(d.crt), "*.crt"))
		if err != nil {
			return nil, p.ioError(p.path(d.crt), err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				if os.IsNotExist(err) { // moved meanwhile
					continue
				}
				return nil, p.ioError(f, err)
			}
			cert, err := parseCert(text)
			if err != nil {
				continue // not ours; List shows what the index knows
			}
			serial := formatSerial(cert.SerialNumber)
			if _, known := places[serial]; known {
				continue
			}
			pl := place{cert: cert, crt: f, renewed: d.renewed, named: d.named}
			if key := p.path(filepath.FromSlash(d.key), strings.TrimSuffix(filepath.Base(f), ".crt")+".key"); exists(key) {
				pl.key = key
			}
			places[serial] = pl
		}
	}
	now := p.now()
	list := make([]Certificate, 0, len(entries))
	for _, e := range entries {
		c := Certificate{Subject: e.subject, Kind: KindOther, Status: StatusValid, Serial: formatSerial(e.serial),
			NotAfter: e.expires, RevokedAt: e.revoked, Name: commonName(e.subject)}
		pl, found := places[c.Serial]
		if found {
			c.fill(pl.cert)
			c.CertFile, c.KeyFile = pl.crt, pl.key
			if pl.named {
				c.Name = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(pl.crt), ".crt"), "."+c.Serial)
			}
		}
		switch {
		case e.status == 'R':
			c.Status = StatusRevoked
		case e.status == 'E' || now.After(e.expires):
			c.Status = StatusExpired
		case pl.renewed:
			c.Status = StatusRenewed
		}
		list = append(list, c)
	}
	sort.SliceStable(list, func(i, j int) bool {
		if list[i].Name != list[j].Name {
			return list[i].Name < list[j].Name
		}
		return list[i].NotBefore.After(list[j].NotBefore)
	})
	return list, nil
}

// describe is the List line of a certificate that was just made.
func (p *PKI) describe(name string) (Certificate, error) {
	cert, err := p.readCert(name)
	if err != nil {
		return Certificate{}, err
	}
	c := Certificate{Name: name, Status: StatusValid, CertFile: p.CertFile(name), KeyFile: p.KeyFile(name)}
	c.fill(cert)
	c.Name = name
	return c, nil
}

func (c *Certificate) fill(cert *x509.Certificate) {
	c.Subject, c.Kind, c.Serial = oneLine(cert.RawSubject), kindOf(cert), formatSerial(cert.SerialNumber)
	c.NotBefore, c.NotAfter, c.Names = cert.NotBefore, cert.NotAfter, altNames(cert)
	c.Name = cert.Subject.CommonName
}

func kindOf(cert *x509.Certificate) Kind {
	var server, client bool
	for _, u := range cert.ExtKeyUsage {
		server = server || u == x509.ExtKeyUsageServerAuth
		client = client || u == x509.ExtKeyUsageClientAuth
	}
	switch {
	case server && client:
		return KindBoth
	case server:
		return KindServer
	case client:
		return KindClient
	}
	return KindOther
}

func altNames(cert *x509.Certificate) []string {
	names := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// inherit fills in from the certificate that is renewed.
func (o *Options) inherit(old *x509.Certificate) {
	if o.CommonName == "" {
		o.CommonName = old.Subject.CommonName
	}
	if len(o.Names) == 0 {
		o.Names = altNames(old)
	}
	if key, ok := old.PublicKey.(*rsa.PublicKey); ok && o.RSABits == 0 {
		o.RSABits = max(key.N.BitLen(), 2048)
	}
}

// commonName picks the common name out of openssl's one-line form.
func commonName(subject string) string {
	_, cn, ok := strings.Cut(subject, "/CN=")
	if !ok {
		return subject
	}
	cn, _, _ = strings.Cut(cn, "/")
	return cn
}
