// Package pki is the endpoint's certificate authority: a CA, server and client
// certificates, renewal and revocation. It keeps them in the directory layout of
// easy-rsa 3 (what easy-rsa calls EASYRSA_PKI), so that easy-rsa can go on in our
// directory and we in its. It does not read encrypted CA keys and does not serve
// the network. It starts no goroutine.
package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// PKI is one directory. Safe for concurrent use: each change takes the
// directory's lock, also against other processes of ours.
type PKI struct {
	dir string
	now func() time.Time
}

// Options say how a certificate is made. The zero value is good.
type Options struct {
	// Days of validity. 0: CA 3650, server 825, client 365; at most 36500. A leaf
	// never outlives its CA: it is cut to the CA's end.
	Days int
	// RSABits 0 makes ECDSA P-256; otherwise RSA of 2048 to 8192 bits.
	RSABits int
	// CommonName is the subject's; default: the name ("Adit CA" for a CA).
	CommonName string
	// Names are the subject alternative names: DNS names or IP addresses. Renew
	// keeps the old ones if there are none.
	Names []string
}

const maxDays = 36500 // 100 years

// Kind is what a certificate is for.
type Kind string

// The kinds.
const (
	KindServer Kind = "server" // EKU serverAuth
	KindClient Kind = "client" // EKU clientAuth
	KindBoth   Kind = "both"   // easy-rsa's serverClient
	KindOther  Kind = "other"
	kindCA     Kind = "ca"
)

// Status is a certificate's state.
type Status string

// The states. Renewed means replaced by a newer one but still good.
const (
	StatusValid   Status = "valid"
	StatusRenewed Status = "renewed"
	StatusRevoked Status = "revoked"
	StatusExpired Status = "expired"
)

// Certificate is one line of List.
type Certificate struct {
	Name      string    `json:"name"` // the file's base name; the common name where the file is gone
	Subject   string    `json:"subject"`
	Kind      Kind      `json:"kind"`
	Status    Status    `json:"status"`
	Serial    string    `json:"serial"` // upper-case hex
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Names     []string  `json:"names,omitempty"`
	CertFile  string    `json:"cert_file,omitempty"`
	KeyFile   string    `json:"key_file,omitempty"`
}

// Bundle is what a profile or a TLS configuration needs, all PEM.
type Bundle struct {
	CA   []byte
	Cert []byte
	Key  push.Secret
}

// Open takes a directory; it need not exist yet (see Exists and Init). If dir is
// easy-rsa's working directory, its pki/ below is meant.
func Open(dir string) (*PKI, error) { return OpenAt(dir, time.Now) }

// OpenAt is Open with a clock.
func OpenAt(dir string, now func() time.Time) (*PKI, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, &Error{Kind: ErrBadName, What: dir, Err: err}
	}
	if sub := filepath.Join(dir, "pki"); !exists(filepath.Join(dir, "ca.crt")) && exists(filepath.Join(sub, "ca.crt")) {
		dir = sub
	}
	return &PKI{dir: dir, now: now}, nil
}

// Dir is the directory with ca.crt in it.
func (p *PKI) Dir() string { return p.dir }

// Exists tells whether there is a CA, or one whose making or replacing was interrupted when it could be finished (Recover).
func (p *PKI) Exists() bool {
	return exists(p.path("ca.crt")) || exists(p.path("private", "ca.key")) || p.beingReplaced() || p.beingWritten()
}

// CAFile, CRLFile, CertFile and KeyFile are where things are, or would be.
func (p *PKI) CAFile() string              { return p.path("ca.crt") }
func (p *PKI) CRLFile() string             { return p.path("crl.pem") }
func (p *PKI) CertFile(name string) string { return p.path("issued", name+".crt") }
func (p *PKI) KeyFile(name string) string  { return p.path("private", name+".key") }
func (p *PKI) reqFile(name string) string  { return p.path("reqs", name+".req") }

func (p *PKI) path(elem ...string) string {
	return filepath.Join(append([]string{p.dir}, elem...)...)
}

// Bundle reads a certificate with its key and CA.
func (p *PKI) Bundle(name string) (Bundle, error) {
	if err := checkName(name); err != nil {
		return Bundle{}, err
	}
	ca, err := p.readCA()
	if err != nil {
		return Bundle{}, err
	}
	cert, err := p.readCert(name)
	if err != nil {
		return Bundle{}, err
	}
	key, err := os.ReadFile(p.KeyFile(name))
	if err != nil {
		return Bundle{}, p.ioError(p.KeyFile(name), err)
	}
	return Bundle{CA: encodeCert(ca.Raw), Cert: encodeCert(cert.Raw), Key: push.Secret(key)}, nil
}

// CA reads the CA's certificate.
func (p *PKI) CA() (*x509.Certificate, error) { return p.readCA() }

func (p *PKI) readCA() (*x509.Certificate, error) {
	text, err := os.ReadFile(p.CAFile())
	if errors.Is(err, fs.ErrNotExist) && p.beingWritten() {
		return nil, &Error{Kind: ErrNoCA, What: p.dir, Hint: "its making was interrupted, finish it: adit-endpoint pki init"}
	}
	if errors.Is(err, fs.ErrNotExist) && p.beingReplaced() {
		return nil, &Error{Kind: ErrNoCA, What: p.dir, Hint: "its replacement was interrupted, finish it: adit-endpoint pki replace-ca"}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Kind: ErrNoCA, What: p.dir, Hint: "make one: adit-endpoint pki init"}
	}
	if err != nil {
		return nil, p.ioError(p.CAFile(), err)
	}
	ca, err := parseCert(text)
	if err != nil {
		return nil, &Error{Kind: ErrCorrupt, What: p.CAFile(), Err: err, Hint: "put the CA's certificate there as PEM"}
	}
	if !ca.BasicConstraintsValid || !ca.IsCA {
		return nil, &Error{Kind: ErrNotCA, What: p.CAFile(), Hint: "put the CA's certificate there, not a server's or client's"}
	}
	return ca, nil
}

// signer reads the CA's certificate and key, and refuses a CA that cannot sign.
func (p *PKI) signer() (*x509.Certificate, crypto.Signer, error) {
	ca, err := p.readCA()
	if err != nil {
		return nil, nil, err
	}
	path := p.path("private", "ca.key")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, &Error{Kind: ErrNoCA, What: path, Err: err, Hint: "signing needs the CA's key; do it where the key is"}
	}
	key, err := parseKey(text)
	switch {
	case errors.Is(err, ErrCAEncrypted):
		return nil, nil, &Error{Kind: ErrCAEncrypted, What: path,
			Hint: "sign with easyrsa, or take the passphrase off: easyrsa set-pass ca nopass (openssl pkey -in ca.key -out ca.key.new)"}
	case err != nil:
		return nil, nil, &Error{Kind: ErrCorrupt, What: path, Err: err, Hint: "put the CA's private key there as PEM"}
	case !sameKey(ca.PublicKey, key):
		return nil, nil, &Error{Kind: ErrCAMismatch, What: path, Hint: "ca.crt and private/ca.key must come from the same CA"}
	case p.now().After(ca.NotAfter):
		return nil, nil, &Error{Kind: ErrCAExpired, What: p.CAFile(), Hint: "make a new CA: adit-endpoint pki replace-ca"}
	}
	return ca, key, nil
}

func (p *PKI) readCert(name string) (*x509.Certificate, error) {
	path := p.CertFile(name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Kind: ErrNotFound, What: name, Hint: "see what there is: adit-endpoint pki list"}
	}
	if err != nil {
		return nil, p.ioError(path, err)
	}
	cert, err := parseCert(text)
	if err != nil {
		return nil, &Error{Kind: ErrCorrupt, What: path, Err: err}
	}
	return cert, nil
}

func (p *PKI) readIndex() ([]entry, error) {
	path := p.path("index.txt")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Kind: ErrCorrupt, What: path, Err: fs.ErrNotExist,
			Hint: "without it revocations are lost; restore it from a backup"}
	}
	if err != nil {
		return nil, p.ioError(path, err)
	}
	entries, err := parseIndex(text)
	if err != nil {
		return nil, &Error{Kind: ErrCorrupt, What: path, Err: err, Hint: "restore it, index.txt.old is the state before the last change"}
	}
	return entries, nil
}

// writeIndex keeps the former one as index.txt.old, as openssl does.
func (p *PKI) writeIndex(entries []entry) error {
	path := p.path("index.txt")
	if err := copyFile(path, path+".old"); err != nil {
		return p.ioError(path, err)
	}
	if err := write(path, formatIndex(entries)); err != nil {
		return p.ioError(path, err)
	}
	return nil
}

func find(entries []entry, serial *big.Int) *entry {
	for i := range entries {
		if entries[i].serial.Cmp(serial) == 0 {
			return &entries[i]
		}
	}
	return nil
}

// checkName refuses what cannot be a file's base name in easy-rsa's layout.
func checkName(name string) error {
	hint := "use up to 64 of a-z, A-Z, 0-9, spaces and . _ - @ +, not starting with - or ."
	bad := name == "" || len(name) > 64 || name[0] == '-' || name[0] == '.' || strings.TrimSpace(name) != name
	for _, r := range name {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("._-@+ ", r) {
			bad = true
		}
	}
	if strings.EqualFold(name, "ca") { // private/ca.key is the CA's
		bad, hint = true, "the name ca belongs to the CA itself"
	}
	if bad {
		return &Error{Kind: ErrBadName, What: quote(name), Hint: hint}
	}
	return nil
}

// checkCommonName: X.520 allows 64 characters; control characters would spoil logs.
func checkCommonName(cn string) error {
	bad := cn == "" || len([]rune(cn)) > 64 || strings.ToValidUTF8(cn, "") != cn
	for _, r := range cn {
		bad = bad || r < ' ' || r == 0x7f
	}
	if bad {
		return &Error{Kind: ErrBadName, What: "common name " + quote(cn), Hint: "use 1 to 64 printable characters"}
	}
	return nil
}

// checkAltName sorts a subject alternative name: an address, or a DNS name.
func checkAltName(s string) (addr netip.Addr, dns string, err error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return addr.Unmap(), "", nil
	}
	bad := s == "" || len(s) > 253
	for i, label := range strings.Split(s, ".") {
		if label == "*" && i == 0 && strings.Count(s, ".") >= 1 {
			continue
		}
		bad = bad || label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-'
		for _, r := range label {
			if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' {
				bad = true
			}
		}
	}
	if bad {
		return addr, "", &Error{Kind: ErrBadName, What: "alternative name " + quote(s), Hint: "use a DNS name (vpn.example.com) or an IP address"}
	}
	return netip.Addr{}, s, nil
}

func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return `"` + string(bytes.ToValidUTF8([]byte(s), []byte("?"))) + `"`
}
