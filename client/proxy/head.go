package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	maxHead   = 16 << 10 // bytes of an answer's status line and header
	maxBody   = 64 << 10 // bytes of an answer's body that are read to use the connection again
	maxHeader = 100      // lines
)

// head is what matters of an answer to CONNECT (RFC 9112).
type head struct {
	status     int
	reason     string
	challenges []challenge
	body       int  // bytes that follow; -1: unknown
	keep       bool // the connection may be used again
}

// challenge is one Proxy-Authenticate (RFC 9110, 11.3).
type challenge struct {
	scheme string // lower case
	text   string // as sent, with the scheme
}

// rest is what follows the scheme.
func (c challenge) rest() string { return strings.TrimSpace(c.text[len(c.scheme):]) }

var errHead = errors.New("the proxy's answer is not HTTP")

// readHead reads one answer and leaves r at its body. It reads at most maxHead bytes of it.
func readHead(r *bufio.Reader) (head, error) {
	left := maxHead
	line := func() (string, error) {
		var b []byte
		for {
			part, err := r.ReadSlice('\n')
			b = append(b, part...)
			if left -= len(part); left < 0 {
				return "", fmt.Errorf("%w: its header is larger than %d bytes", errHead, maxHead)
			}
			if err == nil {
				return strings.TrimRight(string(b), "\r\n"), nil
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				if errors.Is(err, io.EOF) && len(b) > 0 {
					err = io.ErrUnexpectedEOF
				}
				return "", err
			}
		}
	}
	text, err := line()
	if err != nil {
		return head{}, err
	}
	h, err := statusLine(text)
	if err != nil {
		return head{}, err
	}
	for n := 0; ; n++ {
		text, err := line()
		switch {
		case err != nil:
			return head{}, err
		case text == "":
			return h, nil
		case n == maxHeader:
			return head{}, fmt.Errorf("%w: more than %d header lines", errHead, maxHeader)
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			continue // folded or broken lines say nothing that we need
		}
		h.field(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value))
	}
}

// statusLine reads "HTTP/1.1 407 Proxy Authentication Required".
func statusLine(s string) (head, error) {
	version, rest, _ := strings.Cut(s, " ")
	code, reason, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	n, err := strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || len(code) != 3 || n < 100 {
		return head{}, fmt.Errorf("%w: it begins with %q", errHead, printable(s))
	}
	return head{status: n, reason: printable(reason), body: -1, keep: version != "HTTP/1.0"}, nil
}

// field takes one header line; name is in lower case.
func (h *head) field(name, value string) {
	switch name {
	case "proxy-authenticate":
		h.challenges = append(h.challenges, challenges(value)...)
	case "content-length":
		h.body = -1
		if n, err := strconv.Atoi(value); err == nil && n >= 0 && n <= maxBody {
			h.body = n
		}
	case "transfer-encoding":
		h.keep = false // simpler than to decode a page that nobody reads
	case "connection", "proxy-connection":
		switch lower := strings.ToLower(value); {
		case strings.Contains(lower, "close"):
			h.keep = false
		case strings.Contains(lower, "keep-alive"):
			h.keep = true
		}
	}
}

// challenges splits one field, which may hold several: a word that is followed by a space and no "=", or
// by nothing, begins the next.
func challenges(value string) []challenge {
	var out []challenge
	for _, part := range splitQuoted(value) {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		word, after, _ := strings.Cut(part, " ")
		if strings.Contains(word, "=") || strings.HasPrefix(strings.TrimSpace(after), "=") {
			if n := len(out); n > 0 { // a parameter of the one before
				out[n-1].text += ", " + part
			}
			continue
		}
		out = append(out, challenge{scheme: strings.ToLower(word), text: part})
	}
	return out
}

// splitQuoted splits at commas outside of quotes.
func splitQuoted(s string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// again reads the body of an answer away and says whether the connection can carry another request.
func (h *head) again(r *bufio.Reader) bool {
	if !h.keep || h.body < 0 {
		return false
	}
	_, err := r.Discard(h.body)
	return err == nil
}
