package radius

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Protocol is how a request proves that we know the password.
type Protocol string

// The protocols; the words are those of the configuration.
const (
	PAP      Protocol = "pap"
	CHAP     Protocol = "chap"
	MSCHAPv1 Protocol = "mschapv1"
	MSCHAPv2 Protocol = "mschapv2"
)

// Config is which servers to ask and how. New checks it.
type Config struct {
	Servers  []string // host:port; the next one is asked when one is silent
	Secret   push.Secret
	Protocol Protocol
	Timeout  time.Duration // until a request is sent again
	Retries  int           // how often it is sent again, to each server
	// Unsigned takes answers without Message-Authenticator, which others can forge.
	Unsigned bool
}

// Budget is the longest that Ask takes, however many servers are silent.
const Budget = 10 * time.Second

// Bounds, AWS Directory Service's where it has them.
const (
	minSecret   = 8
	maxSecret   = 512
	maxTimeout  = 50 * time.Second
	maxRetries  = 10
	maxServers  = 8
	maxPassword = 128 // of PAP (RFC 2865 §5.2)
	maxMessage  = 200 // bytes of Reply-Message that are passed on
)

// Client asks the servers of one Config.
type Client struct {
	cfg  Config
	wait time.Duration // for each request
	last atomic.Int32  // the server that answered last: asked first
}

// New checks cfg.
func New(cfg Config) (*Client, error) {
	switch {
	case len(cfg.Servers) == 0 || len(cfg.Servers) > maxServers:
		return nil, fmt.Errorf("radius: %d servers, not 1 to %d", len(cfg.Servers), maxServers)
	case len(cfg.Secret) < minSecret || len(cfg.Secret) > maxSecret:
		return nil, fmt.Errorf("radius: the shared secret has %d characters, not %d to %d", len(cfg.Secret), minSecret, maxSecret)
	case cfg.Timeout <= 0 || cfg.Timeout > maxTimeout:
		return nil, fmt.Errorf("radius: timeout %v is not between 0 and %v", cfg.Timeout, maxTimeout)
	case cfg.Retries < 0 || cfg.Retries > maxRetries:
		return nil, fmt.Errorf("radius: %d retries, not 0 to %d", cfg.Retries, maxRetries)
	}
	switch cfg.Protocol {
	case PAP, CHAP, MSCHAPv1, MSCHAPv2:
	default:
		return nil, fmt.Errorf("radius: protocol %q is not pap, chap, mschapv1 or mschapv2", cfg.Protocol)
	}
	for _, s := range cfg.Servers {
		host, port, err := net.SplitHostPort(s)
		if n, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("radius: server %q is not host:port", s)
		}
	}
	tries := time.Duration((cfg.Retries + 1) * len(cfg.Servers))
	return &Client{cfg: cfg, wait: min(cfg.Timeout, Budget/tries)}, nil
}

// Warnings are what an administrator should know about the settings.
func (c *Client) Warnings() []string {
	var out []string
	if c.cfg.Unsigned {
		out = append(out, "radius: answers without Message-Authenticator are taken: a machine between here and the server can forge them (CVE-2024-3596)")
	}
	if c.wait < c.cfg.Timeout {
		out = append(out, fmt.Sprintf("radius: waiting %v for each answer, not %v: %d servers with %d retries must be done in %v",
			c.wait.Round(time.Millisecond), c.cfg.Timeout, len(c.cfg.Servers), c.cfg.Retries, Budget))
	}
	return out
}

// Question is one thing to ask.
type Question struct {
	User     string
	Password push.Secret // or code
	From     netip.Addr  // of the client, for the server's log; may be invalid
	State    *State      // of the challenge that Password answers; nil: none
}

// State is a server's challenge; only that server is asked.
type State struct {
	server int
	value  []byte
}

// Verdict is what a server decided.
type Verdict int

// The verdicts.
const (
	Rejected Verdict = iota
	Accepted
	Challenged
)

// Answer is what a server said. Message is one printable line and may be empty.
type Answer struct {
	Verdict Verdict
	Message string
	// Of Challenged only.
	Echo     bool          // what is typed may be shown
	Lifetime time.Duration // of State; 0: the server does not say
	State    *State
}

// What Ask returns beside answers.
var (
	// ErrSilent wraps that no server gave a good answer.
	ErrSilent = errors.New("no answer from a RADIUS server")
	// ErrUnfit wraps a user name or password that RADIUS cannot carry; nobody was asked.
	ErrUnfit = errors.New("cannot be sent to a RADIUS server")
)

// Ask asks the servers one after another until one decides.
func (c *Client) Ask(ctx context.Context, q Question) (Answer, error) {
	if err := c.fits(q); err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	if q.State != nil {
		return c.askOne(ctx, q, q.State.server)
	}
	first := int(c.last.Load())
	var failed error
	for i := range c.cfg.Servers {
		n := (first + i) % len(c.cfg.Servers)
		a, err := c.askOne(ctx, q, n)
		if err == nil {
			c.last.Store(int32(n))
			return a, nil
		}
		if failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return Answer{}, failed
}

func (c *Client) fits(q Question) error {
	switch {
	case q.User == "" || len(q.User) > maxValue:
		return fmt.Errorf("%w: a user name of %d bytes", ErrUnfit, len(q.User))
	case len(q.Password) == 0 || len(q.Password) > maxPassword:
		return fmt.Errorf("%w: a code of %d bytes", ErrUnfit, len(q.Password))
	case strings.ContainsFunc(string(q.Password), unicode.IsControl): // PAP cannot tell a NUL from its padding
		return fmt.Errorf("%w: a code with control characters", ErrUnfit)
	}
	return nil
}

// proof is a request and what its Accept must carry.
type proof struct {
	packet  []byte
	success string // MS-CHAPv2
	ident   byte
}

func (c *Client) build(q Question) proof {
	var authenticator [16]byte
	var ids [2]byte
	rand.Read(authenticator[:])
	rand.Read(ids[:])
	r := newRequest(ids[0], authenticator, []byte(c.cfg.Secret))
	p := proof{ident: ids[1]}
	r.add(attrUserName, []byte(q.User))
	password := []byte(q.Password)
	switch c.cfg.Protocol {
	case PAP:
		r.password(password)
	case CHAP:
		var challenge [16]byte
		rand.Read(challenge[:])
		h := md5.New()
		h.Write([]byte{p.ident})
		h.Write(password)
		h.Write(challenge[:])
		r.add(attrCHAPPassword, h.Sum([]byte{p.ident}))
		r.add(attrCHAPChallenge, challenge[:])
	case MSCHAPv1:
		var challenge [challenge1Len]byte
		rand.Read(challenge[:])
		r.mschap1(password, challenge, p.ident)
	case MSCHAPv2:
		var challenge, peer [challenge2Len]byte
		rand.Read(challenge[:])
		rand.Read(peer[:])
		p.success = r.mschap2(q.User, password, challenge, peer, p.ident)
	}
	if q.State != nil && q.State.value != nil {
		r.add(attrState, q.State.value)
	}
	r.add(attrNASIdentifier, []byte("adit-endpoint"))
	r.number(attrNASPortType, virtual)
	if q.From.IsValid() {
		r.add(attrCallingStation, []byte(q.From.Unmap().String()))
	}
	p.packet = r.bytes()
	return p
}

// askOne asks one server. The same packet is sent again, so that the server
// can see that it is the same question: it judges a code once.
func (c *Client) askOne(ctx context.Context, q Question, n int) (Answer, error) {
	server := c.cfg.Servers[n]
	began := time.Now()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", server) // connected: answers of others do not reach us
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrSilent, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	p := c.build(q)
	buf := make([]byte, maxPacket)
	var dropped error
	sent := 0
	for sent <= c.cfg.Retries && ctx.Err() == nil {
		if _, err := conn.Write(p.packet); err != nil {
			return Answer{}, fmt.Errorf("%w: %s: %w", ErrSilent, server, unwrapNet(err))
		}
		sent++
		conn.SetReadDeadline(time.Now().Add(c.wait))
		if ctx.Err() != nil { // the other deadline came first and was undone
			break
		}
		for {
			size, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil { // nobody listens there
				return Answer{}, fmt.Errorf("%w: %s: %w", ErrSilent, server, unwrapNet(err))
			}
			r, err := parseReply(buf[:size], p.packet, []byte(c.cfg.Secret), !c.cfg.Unsigned)
			if err == nil && r.code == codeAccept && p.success != "" && !r.provesSuccess(p.ident, p.success) {
				err = errNoSuccess
			}
			if err != nil {
				dropped = err
				continue
			}
			return answerOf(r, n), nil
		}
	}
	text := fmt.Sprintf("%s, asked %d times in %v", server, sent, time.Since(began).Round(time.Second/10))
	if dropped != nil {
		return Answer{}, fmt.Errorf("%w: %s; an answer was dropped: %w", ErrSilent, text, dropped)
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return Answer{}, err
	}
	return Answer{}, fmt.Errorf("%w: %s", ErrSilent, text)
}

var errNoSuccess = errors.New("the server did not prove that it knows the password (MS-CHAP2-Success)")

// unwrapNet takes "read udp a->b:" off.
func unwrapNet(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

func answerOf(r reply, server int) Answer {
	a := Answer{Message: messageOf(r)}
	switch r.code {
	case codeAccept:
		a.Verdict = Accepted
	case codeChallenge:
		a.Verdict = Challenged
		a.State = &State{server: server, value: r.first(attrState)}
		v, ok := r.number(attrPrompt)
		a.Echo = ok && v == 1
		if s, ok := r.number(attrSessionTimeout); ok {
			a.Lifetime = time.Duration(s) * time.Second
		}
	}
	return a
}

// messageOf joins the Reply-Messages to one printable line.
func messageOf(r reply) string {
	var b strings.Builder
	for _, a := range r.attributes {
		if a.kind == attrReplyMessage {
			b.Write(a.value)
		}
	}
	text := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(b.String(), "?"))
	text = strings.Join(strings.Fields(text), " ")
	for len(text) > maxMessage {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text
}
