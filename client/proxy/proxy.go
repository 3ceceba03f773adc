// Package proxy goes through an HTTP proxy (CONNECT, RFC 9110 9.3.6) or a SOCKS5
// proxy (RFC 1928) to a server: as a stream through both, as datagrams through
// SOCKS5. It opens no socket itself, resolves no names, logs nothing and starts no
// goroutine; what a proxy sends is bounded before it is looked at.
package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Kind is the protocol that a proxy speaks.
type Kind uint8

// The kinds.
const (
	HTTP Kind = iota + 1
	SOCKS5
)

func (k Kind) String() string {
	switch k {
	case HTTP:
		return "http"
	case SOCKS5:
		return "socks5"
	}
	return "none"
}

// Auth is how to sign in at an HTTP proxy (openvpn(8), --http-proxy).
type Auth string

// The methods. A SOCKS5 proxy chooses between none and user and password itself.
const (
	None     Auth = "none"     // never
	Basic    Auth = "basic"    // with the first request, as openvpn does
	Digest   Auth = "digest"   // MD5, SHA-256 or SHA-512, when asked
	NTLM2    Auth = "ntlm2"    // NTLMv2
	Auto     Auth = "auto"     // what the proxy offers: Digest, else NTLMv2, else Basic
	AutoSafe Auth = "auto-nct" // the same, and never Basic, which shows the password to the wire
)

// Auths are all methods.
func Auths() []Auth { return []Auth{None, Basic, Digest, NTLM2, Auto, AutoSafe} }

// Header is one line that an HTTP request has beside its own.
type Header struct {
	Name  string
	Value push.Secret // often a ticket of some kind
}

// Config is one proxy. It is a plain value; printing it shows no secret.
type Config struct {
	Kind Kind
	Host string // name or IP literal
	Port uint16

	Auth     Auth   // HTTP; empty: None
	User     string // empty: no credentials. NTLM: DOMAIN\user or user@domain
	Password push.Secret

	Version string   // of HTTP in requests: "1.0" or "1.1"; empty: 1.1
	Agent   string   // User-Agent
	Headers []Header // further ones
}

// Address is host and port, for messages.
func (c *Config) Address() string { return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) }

// String is how messages name the proxy.
func (c *Config) String() string { return c.Kind.String() + "://" + c.Address() }

// Check finds what would break a request: values that end a line or a field early.
func (c *Config) Check() error {
	switch {
	case c.Kind != HTTP && c.Kind != SOCKS5:
		return fmt.Errorf("unknown kind of proxy %d", c.Kind)
	case c.Host == "" || len(c.Host) > 255 || strings.ContainsFunc(c.Host, isControlOrSpace):
		return fmt.Errorf("%q is no host name", c.Host)
	case c.Port == 0:
		return fmt.Errorf("the port is missing")
	case c.Auth != "" && !slices.Contains(Auths(), c.Auth):
		return fmt.Errorf("unknown method %q; want none, basic, digest, ntlm2, auto or auto-nct", string(c.Auth))
	case c.Version != "" && c.Version != "1.0" && c.Version != "1.1":
		return fmt.Errorf("HTTP version %q is not 1.0 or 1.1", c.Version)
	case strings.ContainsFunc(c.User+string(c.Password), isControl):
		return fmt.Errorf("user name or password has a control character")
	case c.Kind == SOCKS5 && (len(c.User) > 255 || len(c.Password) > 255):
		return fmt.Errorf("SOCKS5 takes at most 255 bytes of user name and of password")
	case strings.ContainsFunc(c.Agent, isControl):
		return fmt.Errorf("AGENT has a control character")
	}
	for _, h := range c.Headers {
		if h.Name == "" || strings.ContainsFunc(h.Name, notToken) || strings.ContainsFunc(string(h.Value), isControl) {
			return fmt.Errorf("CUSTOM-HEADER %q is no header of HTTP", h.Name)
		}
	}
	return nil
}

func isControl(r rune) bool        { return r < ' ' || r == 0x7f }
func isControlOrSpace(r rune) bool { return r <= ' ' || r == 0x7f }

// notToken finds what may not be in a header's name (RFC 9110, 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// Target is the server behind the proxy: a name, which the proxy looks up, or an address.
type Target struct {
	Host string
	Port uint16
}

func (t Target) String() string { return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))) }

// address is the target's address when it is one.
func (t Target) address() (netip.Addr, bool) {
	a, err := netip.ParseAddr(t.Host)
	return a.Unmap().WithZone(""), err == nil
}

// Dial opens one TCP connection to the proxy.
type Dial func(ctx context.Context) (net.Conn, error)

// Connect returns a stream to target through the proxy; bytes that came behind the proxy's answer are its
// first. It dials more than once when the proxy closes between the steps of a sign-in. ctx bounds
// all of it. Its errors are *Error.
func (c *Config) Connect(ctx context.Context, dial Dial, target Target) (net.Conn, error) {
	if err := c.Check(); err != nil {
		return nil, &Error{Cause: Broken, Text: err.Error()}
	}
	if c.Kind == SOCKS5 {
		return c.connectSOCKS(ctx, dial, target)
	}
	return c.connectHTTP(ctx, dial, target)
}

// Cause is what kept us from going through a proxy.
type Cause uint8

// The causes.
const (
	Unreachable        Cause = iota // it does not answer, or ended the connection
	CredentialsNeeded               // it wants to know who we are, in a way that we may use
	CredentialsRefused              // it does not accept who we are
	TargetRefused                   // it does not connect to the server
	Broken                          // it does not speak the protocol, or only what we do not
)

// Error is why a proxy was of no use. Its text names no secret.
type Error struct {
	Cause Cause
	Text  string
	Err   error // may be nil
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

// unreachable says that the connection to the proxy failed or broke.
func unreachable(err error) *Error { return &Error{Cause: Unreachable, Text: err.Error(), Err: err} }

// bound makes ctx end all reading and writing of conn; free undoes it and reports whether ctx had ended.
func bound(ctx context.Context, conn net.Conn) (free func() error) {
	if d, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(d) // a closed connection shows at the next read
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() error {
		if !stop() {
			return context.Cause(ctx)
		}
		return conn.SetDeadline(time.Time{})
	}
}

// printable keeps foreign text to one short line.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "…"
	}
	return strings.TrimSpace(s)
}
