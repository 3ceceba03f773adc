package model

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/platform/durable"
)

// Certificates that the API brings, as AWS Certificate Manager imports them. They are in the state; below the data
// directory there are copies for the endpoints, which read files.

// The codes of ACM.
const (
	CodeValidation       = "ValidationException"
	CodeResourceNotFound = "ResourceNotFoundException"
	CodeResourceInUse    = "ResourceInUseException"
	CodeLimitExceeded    = "LimitExceededException"
	CodeInvalidTag       = "InvalidTagException"
)

const (
	maxImported        = 100      // AWS has a quota of its own
	maxCertificateText = 32 << 10 // bytes of a certificate (ACM's limit), and of its key
	maxChainText       = 2 << 20  // bytes of a chain
)

// Certificate is what an ARN of ACM stands for.
type Certificate struct {
	ARN         string
	Text, Chain string    // PEM; the chain may be empty
	Imported    time.Time // zero: the file declares it
	Tags        []Tag
	InUse       []string // ids of endpoints
}

// NewCertificate is what ImportCertificate takes: PEM.
type NewCertificate struct {
	ARN              string // one that is to be replaced; empty: a new one
	Text, Key, Chain string // the chain may be empty
	Tags             []Tag  // of a new one
}

// imported is a certificate as the file keeps it.
type imported struct {
	ARN              string
	Text, Key, Chain string
	Imported         time.Time
	Tags             []Tag
}

// handle is where the certificate lies for endpoints: a directory that its content names, so that one that is replaced does not
// change under those who use it.
func (c *imported) handle(cfg *endpoint.Config) (endpoint.APICertificate, error) {
	dir, err := importedDir(cfg)
	if err != nil {
		return endpoint.APICertificate{}, err
	}
	sum := sha256.Sum256([]byte(c.ARN + "\n" + c.Text + "\n" + c.Key + "\n" + c.Chain))
	dir = filepath.Join(dir, hex.EncodeToString(sum[:16]))
	h := endpoint.APICertificate{ARN: c.ARN, Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	if c.Chain != "" {
		h.Chain = filepath.Join(dir, "chain.pem")
	}
	return h, nil
}

// importedDir has a directory for each.
func importedDir(cfg *endpoint.Config) (string, error) {
	dir, err := filepath.Abs(cfg.DataDir())
	return filepath.Join(dir, "imported"), err
}

// writeImported makes the directory what the state says: files may be gone, and a process that was killed may have left some.
func (d *Declared) writeImported() error {
	dir, err := importedDir(&d.Config)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, c := range d.imported {
		h, err := c.handle(&d.Config)
		if err == nil {
			err = c.write(h)
		}
		if err != nil {
			return fmt.Errorf("%s of the API: %w", c.ARN, err)
		}
		known[filepath.Base(filepath.Dir(h.Cert))] = true
	}
	for _, p := range d.providers {
		file, err := p.file(&d.Config)
		if err == nil {
			err = p.write(file)
		}
		if err != nil {
			return fmt.Errorf("%s of the API: %w", p.ARN, err)
		}
		known[filepath.Base(filepath.Dir(file))] = true
	}
	there, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range there {
		if !known[e.Name()] {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// write puts the files there.
func (c *imported) write(h endpoint.APICertificate) error {
	if err := os.MkdirAll(filepath.Dir(h.Cert), 0o700); err != nil {
		return err
	}
	err := errors.Join(durable.Write(h.Cert, []byte(c.Text), 0o600), durable.Write(h.Key, []byte(c.Key), 0o600))
	if h.Chain != "" {
		err = errors.Join(err, durable.Write(h.Chain, []byte(c.Chain), 0o600))
	}
	return err
}

func (n *NewCertificate) check() error {
	switch {
	case n.Text == "" || n.Key == "":
		return errorf(CodeValidation, "Certificate and PrivateKey are required")
	case len(n.Text) > maxCertificateText || len(n.Key) > maxCertificateText || len(n.Chain) > maxChainText:
		return errorf(CodeValidation, "A certificate and its key have at most %d bytes each, a chain %d", maxCertificateText, maxChainText)
	}
	if block, rest := pem.Decode([]byte(n.Text)); block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return errorf(CodeValidation, "Certificate must be one certificate in PEM; the ones that signed it belong into CertificateChain")
	}
	if _, err := tls.X509KeyPair([]byte(n.Text), []byte(n.Key)); err != nil {
		return errorf(CodeValidation, "The certificate and its private key cannot be used: %v", err)
	}
	for rest := []byte(strings.TrimSpace(n.Chain)); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return errorf(CodeValidation, "CertificateChain must be certificates in PEM")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return errorf(CodeValidation, "CertificateChain has a certificate that cannot be read: %v", err)
		}
	}
	if err := checkTags(nil, n.Tags); err != nil {
		return errorf(CodeInvalidTag, "%v", err)
	}
	return nil
}

// ImportCertificate brings a certificate with its key and returns its ARN, or replaces one that was imported: endpoints that
// use it have the new one for new sessions.
func (m *Model) ImportCertificate(ctx context.Context, n NewCertificate) (string, error) {
	if err := n.check(); err != nil {
		return "", err
	}
	m.write.Lock()
	defer m.write.Unlock()
	ctx = context.WithoutCancel(ctx)
	before := m.now.Load()
	c := &imported{ARN: n.ARN, Text: n.Text, Key: n.Key, Chain: n.Chain, Imported: m.o.Now().UTC(), Tags: n.Tags}
	list := slices.Clone(before.declared.imported)
	if n.ARN == "" {
		if len(list) >= maxImported {
			return "", errorf(CodeLimitExceeded, "You have reached the limit of %d imported certificates", maxImported)
		}
		c.ARN = newCertificateARN(before.declared.Config.API)
		list = append(list, c)
	} else {
		i := slices.IndexFunc(list, func(x *imported) bool { return x.ARN == n.ARN })
		if i < 0 {
			return "", before.declared.noCertificate(n.ARN)
		}
		if len(n.Tags) > 0 {
			return "", errorf(CodeValidation, "Tags cannot be given for a certificate that is there already")
		}
		c.Tags = list[i].Tags
		list[i] = c
	}
	next := *before
	next.declared.imported = list
	if err := m.swapCertificates(ctx, before, &next, c.ARN, func() error { return m.store.putCertificate(c) }); err != nil {
		return "", err
	}
	return c.ARN, nil
}

// DeleteCertificate removes one that was imported and that no endpoint uses.
func (m *Model) DeleteCertificate(ctx context.Context, arn string) error {
	m.write.Lock()
	defer m.write.Unlock()
	before := m.now.Load()
	i := slices.IndexFunc(before.declared.imported, func(x *imported) bool { return x.ARN == arn })
	if i < 0 {
		return before.declared.noCertificate(arn)
	}
	if used := before.users(arn); len(used) > 0 {
		return errorf(CodeResourceInUse, "Certificate %s is in use by %s", arn, strings.Join(used, ", "))
	}
	next := *before
	next.declared.imported = slices.Delete(slices.Clone(before.declared.imported), i, i+1)
	return m.swapCertificates(context.WithoutCancel(ctx), before, &next, arn, func() error { return m.store.dropCertificate(arn) })
}

// Certificates are all that the file declares or that were imported. Of one whose file cannot be read the text is empty.
func (m *Model) Certificates() []Certificate {
	s := m.now.Load()
	var out []Certificate
	for _, h := range s.declared.Config.API.Certificates {
		out = append(out, Certificate{ARN: h.ARN, Text: m.text(h.Cert), Chain: m.text(h.Chain), InUse: s.users(h.ARN)})
	}
	for _, c := range s.declared.imported {
		out = append(out, Certificate{ARN: c.ARN, Text: c.Text, Chain: c.Chain, Imported: c.Imported, Tags: slices.Clone(c.Tags), InUse: s.users(c.ARN)})
	}
	return out
}

// text is what is in a file of the configuration.
func (m *Model) text(file string) string {
	if file == "" {
		return ""
	}
	text, err := m.o.ReadFile(m.now.Load().declared.Config.Path(file))
	if err != nil {
		m.o.Log.Warn("a certificate cannot be shown", "error", err)
	}
	return string(text)
}

// noCertificate is why a certificate cannot be changed or deleted.
func (d *Declared) noCertificate(arn string) error {
	if _, ok := d.certificate(arn); ok {
		return errorf(CodeValidation, "Certificate %s is declared in %s: change it there, then adit-endpoint reload", arn, d.Config.File)
	}
	return errorf(CodeResourceNotFound, "Could not find certificate %s", arn)
}

// users are the endpoints that use a certificate.
func (s *snapshot) users(arn string) (ids []string) {
	for _, r := range s.sorted() {
		if r.Deleted.IsZero() && (r.Settings.ServerCertificate == arn || slices.ContainsFunc(r.Settings.Authentication, func(a Authentication) bool { return a.RootChain == arn })) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// swapCertificates is swap for one imported certificate.
func (m *Model) swapCertificates(ctx context.Context, before, next *snapshot, arn string, commit func() error) error {
	now, isThere, err := next.declared.importedHandle(arn)
	if err != nil {
		return errorf(CodeInternal, "%v", err)
	}
	old, wasThere, err := before.declared.importedHandle(arn)
	if err != nil {
		return errorf(CodeInternal, "%v", err)
	}
	if isThere {
		if err := next.declared.importedCertificate(arn).write(now); err != nil {
			m.o.Log.Error("a certificate cannot be written", "error", err)
			return errorf(CodeInternal, "the certificate cannot be written: %s", said(err))
		}
	}
	if err := m.swap(ctx, before, next, next.users(arn), CodeValidation, commit); err != nil {
		if isThere && now != old {
			m.removeCertificate(now)
		}
		return err
	}
	if wasThere && old != now {
		m.removeCertificate(old)
	}
	return nil
}

// swap goes from one state to another that differs in something that endpoints use, whose files are written: those endpoints follow, then
// the change is on disk, then it is everybody's. When a step fails all is as before; code is for what an endpoint does not take.
func (m *Model) swap(ctx context.Context, before, next *snapshot, ids []string, code string, commit func() error) error {
	var done []*record
	back := func(err *Error) error {
		for _, r := range done {
			cfg, again := m.compile(&before.declared, r)
			if again == nil {
				again = m.rt.Apply(ctx, r.ID, cfg)
			}
			if again != nil {
				m.o.Log.Error("an endpoint does not run as the API says until the next start", "endpoint", r.ID, "error", again)
			}
		}
		return err
	}
	for _, id := range ids {
		r := next.records[id]
		cfg, err := m.compile(&next.declared, r)
		if err != nil {
			return back(errorf(code, "%s", said(err)))
		}
		if !r.runs() {
			continue
		}
		if err := m.rt.Apply(ctx, id, cfg); err != nil {
			m.o.Log.Error("an endpoint of the API cannot take a change of what it uses", "endpoint", id, "error", err)
			return back(errorf(code, "Client VPN endpoint %s cannot use it: %s", id, said(err)))
		}
		done = append(done, r)
	}
	if err := commit(); err != nil {
		m.o.Log.Error("the API's state cannot be written", "error", err)
		return back(errorf(CodeInternal, "the change could not be written: %s", said(err)))
	}
	m.now.Store(next)
	return nil
}

// removeCertificate removes the files of a certificate that nobody uses. What cannot be removed stays, and is said.
func (m *Model) removeCertificate(h endpoint.APICertificate) {
	if err := os.RemoveAll(filepath.Dir(h.Cert)); err != nil {
		m.o.Log.Warn("a certificate stays behind", "arn", h.ARN, "error", err)
	}
}

func (d *Declared) importedCertificate(arn string) *imported {
	for _, c := range d.imported {
		if c.ARN == arn {
			return c
		}
	}
	return nil
}

// importedHandle is where an imported certificate lies; false when there is none.
func (d *Declared) importedHandle(arn string) (endpoint.APICertificate, bool, error) {
	c := d.importedCertificate(arn)
	if c == nil {
		return endpoint.APICertificate{}, false, nil
	}
	h, err := c.handle(&d.Config)
	return h, err == nil, err
}

// newCertificateARN is one that nobody has.
func newCertificateARN(a *endpoint.API) string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a random UUID, RFC 9562
	h := hex.EncodeToString(b[:])
	return fmt.Sprintf("arn:aws:acm:%s:%s:certificate/%s-%s-%s-%s-%s", a.Region, a.Account, h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}
