package profile

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Severity sorts findings.
type Severity string

// The severities. Only an Error makes a profile unusable.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityInfo    Severity = "info"
)

// Finding is one remark about a profile. Line 0 means the whole of it.
type Finding struct {
	Line     int      `json:"line"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"` // in English
	// Code and Args say the same in a stable form, but for the directive that Text begins with.
	Code      Code              `json:"code"`
	Args      map[string]string `json:"args,omitempty"`
	Directive string            `json:"directive,omitempty"` // empty: it is not about one alone
	Ignored   bool              `json:"ignored,omitempty"`   // the directive is
}

// Certificate describes one certificate of a profile.
type Certificate struct {
	Role      string    `json:"role"` // "ca", "client", "extra"
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Key       string    `json:"key"` // "RSA 2048", "ECDSA P-256", …
}

// Traffic says what will go through the tunnel.
type Traffic struct {
	Mode     string   `json:"mode"` // "all", "listed", "server"
	Networks []string `json:"networks,omitempty"`
	Text     string   `json:"text"`
}

// Report is what adit check prints. Its lists are never nil: in JSON, one without anything is [].
type Report struct {
	Name         string        `json:"name"`
	Usable       bool          `json:"usable"`
	Servers      []string      `json:"servers"` // "host:port/proto", with a proxy " through kind://host:port"
	Auth         string        `json:"auth"`    // certificate, password, certificate+password, browser, …
	Traffic      Traffic       `json:"traffic"`
	Certificates []Certificate `json:"certificates"`
	Directives   []Directive   `json:"directives"`
	Problems     []Finding     `json:"problems"`
}

// ExpiresSoon is how long before its end a certificate is warned of.
const ExpiresSoon = 30 * 24 * time.Hour

const weakRSA = 2048 // bits below it are called weak

// Check is the lint of one profile at a time.
func (p *Profile) Check(now time.Time) Report {
	r := &report{Report: Report{Name: p.Name, Directives: p.explained(), Auth: p.AuthKind(), Traffic: p.traffic(),
		Servers: p.Servers(), Certificates: []Certificate{}, Problems: []Finding{}}}
	for _, e := range p.errs {
		f := finding(e.Line, SeverityError, e.remark())
		if f.Text = e.Text; e.Directive != "" {
			f.Text, f.Directive = e.Directive+": "+e.Text, e.Directive
		}
		r.Problems = append(r.Problems, f)
	}
	for _, d := range p.Directives {
		f := Finding{Line: d.Line, Code: d.Code, Args: d.Args, Directive: d.Words[0], Ignored: d.Verdict == Ignored}
		switch d.Verdict {
		case Unsupported:
			f.Severity, f.Text = SeverityError, d.Words[0]+": "+d.Note
		case Ignored:
			f.Severity, f.Text = SeverityInfo, d.Words[0]+" is ignored: "+d.Note
		default:
			continue
		}
		r.Problems = append(r.Problems, f)
	}
	r.certificates(p, now)
	if _, err := p.TLSConfig(func() time.Time { return now }); err != nil {
		var e *CertificateError
		if errors.As(err, &e) && e.Kind == OnToken {
			r.find(p.lineOf("pkcs11-id"), SeverityWarning, e.remark())
		} else if errors.As(err, &e) {
			r.find(p.lineOf(map[Kind]string{Mismatch: "key", Locked: "key"}[e.Kind], "cert", "ca"), SeverityError, e.remark())
		} else {
			r.find(0, SeverityError, remarkOf(err))
		}
	}
	if why := p.unseen(); why != "" {
		r.find(p.lineOf("key", "pkcs12"), SeverityInfo, remark(why))
	}
	if !p.checksServer() {
		r.find(0, SeverityWarning, remark("no_server_check"))
	}
	if p.ExitNotify > 0 && slices.ContainsFunc(p.Remotes, func(r Remote) bool { return strings.HasPrefix(r.Proto, "tcp") }) {
		r.find(p.lineOf("explicit-exit-notify"), SeverityInfo, remark("exit_notify_over_tcp"))
	}
	slices.SortStableFunc(r.Problems, func(a, b Finding) int { return a.Line - b.Line })
	r.Usable = !slices.ContainsFunc(r.Problems, func(f Finding) bool { return f.Severity == SeverityError })
	return r.Report
}

// CheckUnlocked is Check with the private key open, and with what is beside it in a PKCS#12 file.
// Lines are those of p. The error wraps ErrPassphrase when another passphrase may help.
func (p *Profile) CheckUnlocked(now time.Time, passphrase push.Secret) (Report, error) {
	q, err := p.Unlock(passphrase)
	if err != nil {
		return Report{}, err
	}
	u := *p
	u.Key, u.Cert, u.CA, u.ExtraCerts = q.Key, q.Cert, q.CA, q.ExtraCerts
	u.Directives = slices.Clone(p.Directives)
	for i := range u.Directives {
		if d := &u.Directives[i]; d.Code == lockedCode {
			d.Verdict, d.Note, d.Code = Used, "the passphrase opens it; adit import stores the key without", ""
		}
	}
	return u.Check(now), nil
}

// unseen says what a passphrase keeps from Check, or "".
func (p *Profile) unseen() Code {
	switch {
	case !p.Locked():
		return ""
	case p.PKCS12 != "":
		return "unseen_pkcs12"
	}
	return "unseen_key"
}

type report struct{ Report }

func (r *report) find(line int, s Severity, why *Remark) {
	r.Problems = append(r.Problems, finding(line, s, why))
}

func finding(line int, s Severity, why *Remark) Finding {
	return Finding{Line: line, Severity: s, Text: why.Error(), Code: why.Code, Args: why.Args}
}

// checksServer reports that more than "issued by the CA" is demanded.
func (p *Profile) checksServer() bool {
	return p.RemoteCertTLS == "server" || p.VerifyName.Type != "" || len(p.Fingerprints) > 0 ||
		p.RemoteCertEKU != "" || p.NSCertType == "server"
}

// lineOf returns the line of the first of these directives that is there.
func (p *Profile) lineOf(names ...string) int {
	for _, name := range names {
		for _, d := range p.Directives {
			if d.Words[0] == name {
				return d.Line
			}
		}
	}
	return 0
}

// Servers are the remotes as "host:port/proto", with " through http://host:port" or " through
// socks5://host:port" behind one with a proxy.
func (p *Profile) Servers() []string {
	servers := []string{}
	for _, r := range p.Remotes {
		server := net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port))) + "/" + r.Proto
		if x := r.Proxy; x != nil {
			server += " through " + x.Kind + "://" + net.JoinHostPort(x.Host, strconv.Itoa(int(x.Port)))
		}
		servers = append(servers, server)
	}
	return servers
}

// AuthKind names what the user signs in with, joined by "+".
func (p *Profile) AuthKind() string {
	var kinds []string
	if len(p.Cert) > 0 || p.PKCS12 != "" || p.PKCS11ID != "" || !p.AuthUserPass && !p.AuthFederate && !p.NoClientCert {
		kinds = append(kinds, "certificate")
	}
	switch {
	case p.AuthFederate:
		kinds = append(kinds, "browser")
	case p.AuthUserPass:
		kinds = append(kinds, "password")
	}
	return strings.Join(kinds, "+")
}

// Expires is when the client certificate ends; the zero time when there is none.
func (p *Profile) Expires() time.Time {
	certs, err := certificates(p.Cert)
	if err != nil {
		return time.Time{}
	}
	return certs[0].NotAfter
}

func (r *report) certificates(p *Profile, now time.Time) {
	for _, source := range []struct {
		role, directive string
		text            []byte
	}{{"client", "cert", p.Cert}, {"extra", "extra-certs", p.ExtraCerts}, {"ca", "ca", p.CA}} {
		certs, err := certificates(source.text)
		if err != nil {
			continue // the directive's own error is there already
		}
		line := p.lineOf(source.directive, "pkcs12")
		for i, c := range certs {
			r.Certificates = append(r.Certificates, Certificate{
				Role: source.role, Subject: formatName(c.RawSubject), Issuer: formatName(c.RawIssuer),
				NotBefore: c.NotBefore, NotAfter: c.NotAfter, Key: describeKey(c),
			})
			about := func(code Code, args ...string) *Remark {
				return remark(code, append(args, "role", source.role, "subject", formatName(c.RawSubject))...)
			}
			kind, _ := validity(c, now)
			leaf := source.role == "client" && i == 0
			switch {
			case kind != "" && !leaf: // the client's own is an error of TLSConfig
				r.find(line, SeverityWarning, about(map[Kind]Code{Expired: "certificate_expired", NotYet: "certificate_not_yet"}[kind], validityArgs(c, kind, now)...))
			case kind == "" && c.NotAfter.Sub(now) < ExpiresSoon:
				r.find(line, SeverityWarning, about("certificate_ends", "date", c.NotAfter.UTC().Format(time.DateOnly)))
			}
			if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < weakRSA {
				r.find(line, SeverityWarning, about("weak_key", "bits", strconv.Itoa(key.N.BitLen())))
			}
			if (c.SignatureAlgorithm == x509.SHA1WithRSA || c.SignatureAlgorithm == x509.ECDSAWithSHA1) && !selfIssued(c) {
				r.find(line, SeverityWarning, about("sha1"))
			}
		}
	}
	r.clientChain(p, now)
}

// clientChain remarks on a client certificate that the profile's CA did not
// issue: legal (the server may trust another CA for clients), but rarely meant.
func (r *report) clientChain(p *Profile, now time.Time) {
	certs, err := certificates(p.Cert)
	if err != nil {
		return
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.CA) {
		return
	}
	between.AppendCertsFromPEM(p.Cert)
	between.AppendCertsFromPEM(p.ExtraCerts)
	_, err = certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		r.find(p.lineOf("cert", "pkcs12"), SeverityWarning, remark("other_ca"))
	}
}

func describeKey(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	}
	return c.PublicKeyAlgorithm.String()
}

func (p *Profile) traffic() Traffic {
	var networks []string
	for _, route := range p.Own.Routes {
		if route.GatewayWord == "net_gateway" {
			continue // goes past the tunnel
		}
		if route.Word != "" {
			networks = append(networks, route.Word)
		} else {
			networks = append(networks, route.Destination.String())
		}
	}
	list := strings.Join(networks, ", ")
	switch {
	case p.Own.Redirect != nil && !p.Own.Redirect.Private:
		return Traffic{"all", networks, "all traffic goes through the tunnel"}
	case p.RouteNoPull && len(networks) == 0:
		return Traffic{"listed", nil, "only the tunnel's own network goes through it: route-nopull, and no route is listed"}
	case p.RouteNoPull:
		return Traffic{"listed", networks, "only these networks go through the tunnel: " + list}
	case len(networks) > 0:
		return Traffic{"server", networks, "what goes through the tunnel is decided by the server, and also these networks do: " + list}
	}
	return Traffic{"server", nil, "what goes through the tunnel is decided by the server"}
}
