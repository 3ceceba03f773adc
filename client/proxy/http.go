package proxy

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/Azure/go-ntlmssp"
	"github.com/icholy/digest"
)

// maxSteps bounds one sign-in: a request without credentials, NTLM's two, a Digest with a new nonce,
// and one connection that was closed in between.
const maxSteps = 6

// connectHTTP asks, and signs in when the proxy wants it:
//  1. CONNECT, with credentials if the method sends them unasked
//  2. at 407: answer the best challenge that Auth permits, on the same connection while it lasts
//  3. at 2xx: the connection is the stream
func (c *Config) connectHTTP(ctx context.Context, dial Dial, target Target) (_ net.Conn, err error) {
	s := &signIn{c: c, target: target.String()}
	if err := s.begin(); err != nil {
		return nil, err
	}
	var conn net.Conn
	var r *bufio.Reader
	var free func() error
	leave := func() {
		if conn != nil {
			_ = free()
			_ = conn.Close()
			conn = nil
		}
	}
	defer func() {
		if err != nil {
			leave()
		}
	}()
	for range maxSteps {
		fresh := conn == nil
		if fresh {
			if s.pinned { // NTLM signs in a connection, not a request
				return nil, &Error{Cause: Broken, Text: "the proxy closes the connection between the steps of NTLM"}
			}
			if conn, err = dial(ctx); err != nil {
				conn = nil
				return nil, unreachable(err)
			}
			free = bound(ctx, conn)
			r = bufio.NewReaderSize(conn, 4<<10)
		}
		h, err := s.ask(conn, r)
		switch {
		case errors.Is(err, errHead):
			return nil, &Error{Cause: Broken, Text: err.Error(), Err: err}
		case err != nil && fresh || err != nil && ctx.Err() != nil:
			return nil, unreachable(err)
		case err != nil: // it was closed after the last answer
			leave()
			continue
		case h.status >= 200 && h.status < 300:
			if err := free(); err != nil {
				_ = conn.Close()
				conn = nil
				return nil, unreachable(err)
			}
			if r.Buffered() == 0 {
				return conn, nil
			}
			return &ahead{Conn: conn, r: r}, nil
		case h.status != 407:
			return nil, &Error{Cause: TargetRefused, Text: strings.TrimSpace(fmt.Sprintf("%d %s", h.status, h.reason))}
		}
		if err := s.challenged(h); err != nil {
			return nil, err
		}
		if !h.again(r) {
			leave()
		}
	}
	return nil, &Error{Cause: CredentialsRefused, Text: "the proxy asks for credentials without end"}
}

// ahead is a connection of which more was read than the proxy's answer.
type ahead struct {
	net.Conn
	r *bufio.Reader // nil once it is empty
}

func (a *ahead) Read(b []byte) (int, error) {
	if a.r == nil {
		return a.Conn.Read(b)
	}
	n, err := a.r.Read(b[:min(len(b), a.r.Buffered())])
	if a.r.Buffered() == 0 {
		a.r = nil
	}
	return n, err
}

// signIn is what we say about ourselves, request by request.
type signIn struct {
	c      *Config
	target string

	credentials string // of the next request: the value of Proxy-Authorization
	sent        string // the scheme of the last one that should have been enough
	waiting     bool   // for NTLM's second message
	pinned      bool   // the next request belongs on the same connection
	renewed     bool   // a Digest was sent again with a new nonce
}

// begin prepares the first request.
func (s *signIn) begin() error {
	switch s.c.Auth {
	case Basic:
		return s.basic()
	case NTLM2:
		return s.negotiate()
	}
	return nil
}

// ask sends one request and reads the head of the answer.
func (s *signIn) ask(conn net.Conn, r *bufio.Reader) (head, error) {
	version := s.c.Version
	if version == "" {
		version = "1.1"
	}
	var b strings.Builder
	line := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	b.WriteString("CONNECT " + s.target + " HTTP/" + version + "\r\n")
	own := false
	for _, h := range s.c.Headers {
		line(h.Name, string(h.Value))
		own = own || strings.EqualFold(h.Name, "Host")
	}
	if !own {
		line("Host", s.target)
	}
	if s.c.Agent != "" {
		line("User-Agent", s.c.Agent)
	}
	line("Proxy-Connection", "Keep-Alive") // HTTP/1.0 proxies close otherwise, and NTLM cannot work then
	if s.credentials != "" {
		line("Proxy-Authorization", s.credentials)
	}
	b.WriteString("\r\n")
	if _, err := conn.Write([]byte(b.String())); err != nil {
		return head{}, err
	}
	for range 5 {
		if h, err := readHead(r); err != nil || h.status >= 200 {
			return h, err
		}
	}
	return head{}, fmt.Errorf("%w: only interim ones come", errHead)
}

// challenged prepares the next request after a 407, or says why there is none.
func (s *signIn) challenged(h head) error {
	offered := func(scheme string) (challenge, bool) {
		for _, c := range h.challenges {
			if c.scheme == scheme {
				return c, true
			}
		}
		return challenge{}, false
	}
	if s.waiting {
		s.waiting = false
		c, ok := offered("ntlm")
		if !ok || c.rest() == "" {
			return &Error{Cause: Broken, Text: "the proxy does not go on with NTLM" + offers(h)}
		}
		return s.authenticate(c.rest())
	}
	d, best := bestDigest(h.challenges)
	if s.sent != "" && !(s.sent == "digest" && best && d.Stale && !s.renewed) {
		if _, ok := offered(s.sent); !ok {
			return &Error{Cause: CredentialsNeeded, Text: "the proxy does not take " + s.sent + offers(h)}
		}
		return &Error{Cause: CredentialsRefused, Text: "the proxy does not accept the user name and password"}
	}
	_, ntlm := offered("ntlm")
	_, basic := offered("basic")
	auth := s.c.Auth
	auto := auth == Auto || auth == AutoSafe
	switch {
	case s.c.User == "" || auth == None || auth == "":
		return &Error{Cause: CredentialsNeeded, Text: "the proxy asks for a user name and password" + offers(h)}
	case best && (auto || auth == Digest):
		s.renewed = s.sent == "digest"
		return s.digest(d)
	case ntlm && auto:
		return s.negotiate()
	case basic && auth == Auto:
		return s.basic()
	case basic && auth == AutoSafe:
		return &Error{Cause: CredentialsNeeded, Text: "the proxy wants the password in clear text (Basic), which auto-nct forbids"}
	}
	return &Error{Cause: CredentialsNeeded, Text: "the proxy offers no method that may be used" + offers(h)}
}

// offers lists a proxy's methods for a message.
func offers(h head) string {
	var names []string
	for _, c := range h.challenges {
		names = append(names, printable(c.scheme))
	}
	if len(names) == 0 {
		return ""
	}
	return " (it offers " + strings.Join(names[:min(len(names), 5)], ", ") + ")"
}

// need says that there is nothing to sign in with.
func (s *signIn) need() error {
	if s.c.User == "" {
		return &Error{Cause: CredentialsNeeded, Text: "there is no user name and password for the proxy"}
	}
	return nil
}

// basic is RFC 7617.
func (s *signIn) basic() error {
	if err := s.need(); err != nil {
		return err
	}
	if strings.Contains(s.c.User, ":") {
		return &Error{Cause: CredentialsRefused, Text: "Basic cannot carry a user name with a colon"}
	}
	s.sent = "basic"
	s.credentials = "Basic " + base64.StdEncoding.EncodeToString([]byte(s.c.User+":"+string(s.c.Password)))
	return nil
}

// bestDigest returns the strongest Digest challenge that can be answered (RFC 7616).
func bestDigest(list []challenge) (best *digest.Challenge, ok bool) {
	rank := func(d *digest.Challenge) int {
		switch strings.ToUpper(d.Algorithm) {
		case "SHA-512-256", "SHA-512":
			return 3
		case "SHA-256":
			return 2
		}
		return 1
	}
	for _, c := range list {
		if c.scheme != "digest" {
			continue
		}
		d, err := digest.ParseChallenge(c.text)
		if err != nil || d.Nonce == "" {
			continue
		}
		for i := range d.QOP {
			d.QOP[i] = strings.TrimSpace(d.QOP[i])
		}
		// A CONNECT has no body for auth-int to protect.
		if digest.CanDigest(d) && (len(d.QOP) == 0 || d.SupportsQOP("auth")) && (best == nil || rank(d) > rank(best)) {
			best = d
		}
	}
	return best, best != nil
}

func (s *signIn) digest(d *digest.Challenge) error {
	answer, err := digest.Digest(d, digest.Options{
		Method: "CONNECT", URI: s.target, Count: 1, Username: s.c.User, Password: string(s.c.Password),
	})
	if err != nil {
		return &Error{Cause: Broken, Text: printable(err.Error()), Err: err}
	}
	s.sent, s.credentials = "digest", answer.String()
	return nil
}

// negotiate is NTLM's first message (MS-NLMP, 2.2.1.1).
func (s *signIn) negotiate() error {
	if err := s.need(); err != nil {
		return err
	}
	m, err := ntlmssp.NewNegotiateMessage("", "")
	if err != nil {
		return &Error{Cause: Broken, Text: "NTLM: " + err.Error(), Err: err}
	}
	s.waiting, s.credentials = true, "NTLM "+base64.StdEncoding.EncodeToString(m)
	return nil
}

// authenticate is NTLM's third message, always with an NTLMv2 response (MS-NLMP, 3.3.2).
func (s *signIn) authenticate(text string) error {
	m, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		m, err = ntlmssp.NewAuthenticateMessage(m, s.c.User, string(s.c.Password), nil)
	}
	if err != nil {
		return &Error{Cause: Broken, Text: "the proxy's NTLM challenge cannot be answered: " + printable(err.Error()), Err: err}
	}
	s.pinned, s.sent, s.credentials = true, "ntlm", "NTLM "+base64.StdEncoding.EncodeToString(m)
	return nil
}
