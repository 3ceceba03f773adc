package endpoint

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// What an Expiry is of.
const (
	ExpiryServer = "server" // the server's certificate
	ExpiryCA     = "ca"     // of the clients' certificates, or of the server's
	ExpiryIdP    = "idp"    // the certificate of the identity provider: of several the last
	ExpiryCRL    = "crl"    // the first of the revocation lists
)

// Expiry is a day on which something ends that clients need.
type Expiry struct {
	Kind string
	Name string // the certificate's common name, or whole subject, and its key's digest after others of that name; empty for a revocation list
	End  time.Time

	key [sha256.Size]byte // digest of a CA's public key
}

// expires notes when something ends. Of two with one name the later one counts: one replaces the other.
func (g *generation) expires(kind, name string, end time.Time) {
	g.note(Expiry{Kind: kind, Name: name, End: end})
}

// expiresCA notes when a CA ends. One of the same name replaces it only with the same key: else each has clients of its own.
func (g *generation) expiresCA(c *x509.Certificate) {
	e := Expiry{Kind: ExpiryCA, Name: nameOf(c), End: c.NotAfter, key: sha256.Sum256(c.RawSubjectPublicKeyInfo)}
	if slices.ContainsFunc(g.expiries, func(o Expiry) bool { return o.Kind == e.Kind && o.Name == e.Name && o.key != e.key }) {
		e.Name += " " + hex.EncodeToString(e.key[:4])
	}
	g.note(e)
}

func (g *generation) note(e Expiry) {
	if e.End.IsZero() {
		return
	}
	for i, o := range g.expiries {
		if o.Kind == e.Kind && o.Name == e.Name {
			if e.End.After(o.End) {
				g.expiries[i].End = e.End
			}
			return
		}
	}
	g.expiries = append(g.expiries, e)
}

// nameOf is how people know a certificate.
func nameOf(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	return c.Subject.String()
}

// Expiries are told from soon on, again each day.
const (
	soon        = 30 * 24 * time.Hour
	tellAgain   = 24 * time.Hour
	lookAgain   = time.Hour
	timeInWords = "2006-01-02 15:04 MST"
)

// reminder tells the log what ends soon. Safe for concurrent use.
type reminder struct {
	mu   sync.Mutex
	told map[Expiry]time.Time
}

// tell warns of what ends soon, or has ended, unless it did so within a day.
func (r *reminder) tell(log *slog.Logger, g *generation, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := map[Expiry]time.Time{} // without what is gone
	for _, e := range g.expiries {
		last, was := r.told[e]
		if was && now.Sub(last) < tellAgain {
			told[e] = last
			continue
		}
		if e.End.Sub(now) >= soon {
			continue
		}
		told[e] = now
		log.Warn(words(e, now), "name", e.Name, "end", e.End.UTC().Format(timeInWords), "hint", hintFor(&g.cfg, e.Kind))
	}
	r.told = told
}

// words say what happens when e ends.
func words(e Expiry, now time.Time) string {
	what, then := "the server's certificate", "clients refuse the endpoint"
	switch e.Kind {
	case ExpiryCA:
		what, then = "the CA's certificate", "clients with its certificates are refused, and refuse a server that has one"
	case ExpiryIdP:
		what, then = "the identity provider's certificate", "nobody signs in"
	case ExpiryCRL:
		what, then = "the revocation list", "all clients with certificates are refused"
	}
	if now.After(e.End) {
		return what + " has expired: " + then
	}
	return what + " expires soon: then " + then
}

// hintFor says what helps.
func hintFor(cfg *Config, kind string) string {
	mutual, _, _ := cfg.Methods()
	then := ", then adit-endpoint reload"
	switch {
	case kind == ExpiryServer && cfg.ServerCertificate.Cert == "":
		return "adit-endpoint pki renew " + ServerName + then
	case kind == ExpiryCRL && mutual != nil && mutual.CRL == "":
		return "adit-endpoint pki crl" + then
	case kind == ExpiryCA && (mutual == nil || mutual.CA == ""):
		return "adit-endpoint pki replace-ca" + then + "; and new profiles for all clients"
	}
	return "put a new one into its file" + then
}

// remind tells what ends soon until ctx ends.
func (s *Server) remind(ctx context.Context) {
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	for {
		s.reminder.tell(s.log, s.gen.Load(), s.leave.Now())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
