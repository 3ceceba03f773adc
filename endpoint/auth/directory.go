package auth

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/adit-vpn/adit/endpoint/auth/radius"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// DirectoryConfig is an Active Directory and, optionally, the RADIUS servers that judge one-time
// codes.
type DirectoryConfig struct {
	Servers  []string // ldaps://host[:port], or ldap:// with StartTLS; the next one is asked when one cannot be reached
	StartTLS bool
	CA       []byte // PEM; empty: the system's
	BaseDN   string // where users and groups are
	Realm    string // completes a bare user name: user@realm
	Radius   *radius.Config
	// Memory outlives the Directory; nil: a new one.
	Memory *Memory
	Now    func() time.Time
}

// Directory signs users in with name and password by a bind at an Active Directory over TLS, and
// with a one-time code that RADIUS servers judge. The groups are security identifiers, nested
// ones included.
//
// A sign-in binds once and at one server: wrong passwords count for the account's lock-out.
type Directory struct {
	servers []ldapServer
	tls     *tls.Config
	base    string
	realm   string
	radius  *radius.Client // nil: no one-time codes
	memory  *Memory
	now     func() time.Time
	last    atomic.Int32 // the server that answered last: asked first
}

// SignInBudget is the longest that a sign-in takes, however many servers are silent.
const SignInBudget = 13 * time.Second

// The time for the directory; what it leaves is for RADIUS.
const directoryBudget = 9 * time.Second

const (
	maxDirectories = 8
	maxSecretLen   = 1024 // bytes of a password
	// tellDenied is AWS's one text for whatever was wrong.
	tellDenied = "Invalid username or password"
	// askCode is what AWS's profiles ask, for a server that asks nothing by itself.
	askCode = "Enter MFA code"
)

// NewDirectory checks cfg. It connects to nothing.
func NewDirectory(cfg DirectoryConfig) (*Directory, error) {
	d := &Directory{base: cfg.BaseDN, realm: cfg.Realm, memory: cfg.Memory, now: cfg.Now}
	if n := len(cfg.Servers); n == 0 || n > maxDirectories {
		return nil, fmt.Errorf("directory: %d servers, not 1 to %d", n, maxDirectories)
	}
	for _, text := range cfg.Servers {
		s, err := parseServer(text, cfg.StartTLS)
		if err != nil {
			return nil, err
		}
		d.servers = append(d.servers, s)
	}
	switch {
	case !strings.Contains(cfg.BaseDN, "="):
		return nil, fmt.Errorf("directory: base DN %q is not like DC=example,DC=com", cfg.BaseDN)
	case !realmForm.MatchString(cfg.Realm):
		return nil, fmt.Errorf("directory: realm %q is not like example.com", cfg.Realm)
	}
	d.tls = &tls.Config{MinVersion: tls.VersionTLS12, Time: cfg.Now}
	if len(cfg.CA) > 0 {
		cas, err := parseCertificates(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("directory: CA: %w", err)
		}
		d.tls.RootCAs = x509.NewCertPool()
		for _, c := range cas {
			d.tls.RootCAs.AddCert(c)
		}
	}
	if cfg.Radius != nil {
		var err error
		if d.radius, err = radius.New(*cfg.Radius); err != nil {
			return nil, fmt.Errorf("directory: %w", err)
		}
	}
	if d.memory == nil {
		d.memory = NewMemory()
	}
	return d, nil
}

// Warnings are what an administrator should know about the settings, for the log.
func (d *Directory) Warnings() []string {
	if d.radius == nil {
		return nil
	}
	return d.radius.Warnings()
}

// Check implements Method. The user name may be user, user@realm or DOMAIN\user; with one-time codes
// the password must carry one (SCRV1), or answer a question of the RADIUS server's (CRV1).
func (d *Directory) Check(ctx context.Context, c Credentials) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, SignInBudget)
	defer cancel()
	o, err := d.check(ctx, c)
	if r := (refusal{}); errors.As(err, &r) {
		return Denied{Reason: fmt.Sprintf("directory: user %q: %s", clip(c.Username), r.reason), Tell: tellDenied}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("directory: user %q: %w", clip(c.Username), err)
	}
	return o, nil
}

func (d *Directory) check(ctx context.Context, c Credentials) (Outcome, error) {
	if id, answer, ok := challenge.ParseAnswer(c.Password); ok {
		return d.goOn(ctx, c, id, answer)
	}
	a, err := parseAccount(c.Username, d.realm)
	if err != nil {
		return nil, refusal{err.Error()}
	}
	password, code, static, err := challenge.ParseStatic(c.Password)
	switch {
	case err != nil:
		return nil, refusal{err.Error()}
	case !static:
		password = c.Password
	}
	switch {
	case d.radius != nil && !static:
		return nil, refusal{"no one-time code: the profile needs static-challenge"}
	case d.radius == nil && static:
		return nil, refusal{"a one-time code, but no RADIUS server is configured"}
	case password == "": // which a directory takes for a sign-in without a name
		return nil, refusal{"empty password"}
	case len(password) > maxSecretLen:
		return nil, refusal{fmt.Sprintf("a password of %d bytes", len(password))}
	}
	if d.radius != nil {
		if code, err = cleanCode(code); err != nil {
			return nil, err
		}
	}
	p, err := d.bind(ctx, a, password)
	if err != nil {
		return nil, err
	}
	if p.principal == "" {
		p.principal = p.account + "@" + d.realm
	}
	if d.radius == nil {
		return d.accept(p), nil
	}
	return d.judge(ctx, c, p, code, nil)
}

func (d *Directory) accept(p person) Outcome {
	return Accepted{Identity{Username: p.principal, Groups: p.groups}}
}

// bind asks the servers one after another until one can be reached, and that one only.
func (d *Directory) bind(ctx context.Context, a account, password push.Secret) (person, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryBudget)
	defer cancel()
	first := int(d.last.Load())
	var failed error
	for i := range d.servers {
		n := (first + i) % len(d.servers)
		s := d.servers[n]
		conn, err := s.dial(ctx, d.tls)
		if err == nil {
			d.last.Store(int32(n))
			defer conn.Close()
			p, err := signIn(ctx, conn, d.base, a, password)
			if err != nil && !errors.As(err, new(refusal)) {
				err = fmt.Errorf("%s: %w", s, err)
			}
			return p, err
		}
		if err = fmt.Errorf("%s: %w", s, plain(err)); failed != nil {
			err = fmt.Errorf("%w; %w", failed, err)
		}
		failed = err
		if ctx.Err() != nil {
			break
		}
	}
	return person{}, failed
}

// cleanCode takes the space around and inside of a code off ("123 456").
func cleanCode(code push.Secret) (push.Secret, error) {
	code = push.Secret(strings.Join(strings.Fields(string(code)), ""))
	switch {
	case code == "":
		return "", refusal{"empty one-time code"}
	case strings.ContainsFunc(string(code), unicode.IsControl):
		return "", refusal{"control characters in the one-time code"}
	}
	return code, nil
}

// judge lets RADIUS decide about a code of a user whose password was right.
func (d *Directory) judge(ctx context.Context, c Credentials, p person, code push.Secret, state *radius.State) (Outcome, error) {
	done, ok := d.memory.take(p.sid, code, d.now())
	if !ok {
		return nil, refusal{"the one-time code was used before"}
	}
	accepted := false
	defer func() { done(accepted, d.now()) }()
	var from netip.Addr
	if c.From.IsValid() {
		from = c.From.Addr()
	}
	a, err := d.radius.Ask(ctx, radius.Question{User: p.account, Password: code, From: from, State: state})
	switch {
	case errors.Is(err, radius.ErrUnfit):
		return nil, refusal{err.Error()}
	case err != nil:
		return nil, err
	}
	switch a.Verdict {
	case radius.Accepted:
		accepted = true
		return d.accept(p), nil
	case radius.Challenged:
		return d.question(c, p, a)
	}
	if a.Message != "" {
		return nil, refusal{fmt.Sprintf("the RADIUS server refuses the code: %q", a.Message)}
	}
	return nil, refusal{"the RADIUS server refuses the code"}
}

// How long the answer to a RADIUS server's question is awaited, unless it says so itself.
const (
	questionLife    = time.Minute
	maxQuestionLife = 5 * time.Minute
)

// question passes a RADIUS server's question on, as a dynamic challenge.
func (d *Directory) question(c Credentials, p person, a radius.Answer) (Outcome, error) {
	life := questionLife
	if a.Lifetime > 0 {
		life = min(a.Lifetime, maxQuestionLife)
	}
	text := a.Message
	if text == "" {
		text = askCode
	}
	var random [16]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	if !d.memory.ask(id, question{name: c.Username, person: p, state: a.State, until: d.now().Add(life)}, d.now()) {
		return nil, errors.New("too many sign-ins wait for an answer")
	}
	return Challenge{challenge.Dynamic{Response: true, Echo: a.Echo, State: id, Username: c.Username, Text: text}.String()}, nil
}

// goOn is the next round after question.
func (d *Directory) goOn(ctx context.Context, c Credentials, id string, answer push.Secret) (Outcome, error) {
	if d.radius == nil {
		return nil, refusal{"an answer, but nothing was asked"}
	}
	q, ok := d.memory.answered(id, c.Username, d.now())
	if !ok {
		return nil, refusal{"an answer to no question of this user, or too late"}
	}
	code, err := cleanCode(answer)
	if err != nil {
		return nil, err
	}
	return d.judge(ctx, c, q.person, code, q.state)
}

// clip bounds what a client chose, for the log.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
