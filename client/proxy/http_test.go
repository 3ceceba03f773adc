package proxy

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	user   = `LAB\ali"ce`
	secret = "pass word:geheim"
)

// fakeProxy answers each request of a connection by answer, which returns a raw answer; an empty one
// ends the connection without a word, one with "Connection: close" after it.
type fakeProxy struct {
	t        *testing.T
	answer   func(connection, request int, r *http.Request) string
	dialled  atomic.Int32
	requests []*http.Request // read after Connect
	raw      strings.Builder // the same as bytes
}

func (f *fakeProxy) dial(context.Context) (net.Conn, error) {
	n := int(f.dialled.Add(1))
	here, there := net.Pipe()
	done := make(chan struct{})
	f.t.Cleanup(func() { here.Close(); <-done })
	go func() {
		defer close(done)
		defer there.Close()
		r := bufio.NewReader(io.TeeReader(there, &f.raw))
		for i := 1; ; i++ {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			f.requests = append(f.requests, req)
			a := f.answer(n, i, req)
			if a == "" {
				return
			}
			if _, err := io.WriteString(there, a); err != nil || strings.Contains(a, "close\r\n") {
				return
			}
			if strings.HasPrefix(a, "HTTP/1.1 2") {
				b := make([]byte, 4)
				if _, err := io.ReadFull(r, b); err == nil {
					_, _ = there.Write([]byte(strings.ToUpper(string(b))))
				}
				return
			}
		}
	}()
	return here, nil
}

const established = "HTTP/1.1 200 Connection established\r\nX-Cache: MISS\r\n\r\n"

// asks is a 407.
func asks(more string, challenges ...string) string {
	s := "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 5\r\n" + more
	for _, c := range challenges {
		s += "Proxy-Authenticate: " + c + "\r\n"
	}
	return s + "\r\nsorry"
}

func connect(t *testing.T, f *fakeProxy, c Config, host string) (net.Conn, error) {
	t.Helper()
	f.t = t
	c.Kind, c.Host, c.Port = HTTP, "proxy.example", 3128
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return c.Connect(ctx, f.dial, Target{Host: host, Port: 1194})
}

// works demands that the stream carries bytes both ways.
func works(t *testing.T, conn net.Conn, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 4)
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "PING" {
		t.Fatalf("read %q, %v", b, err)
	}
}

func causeIs(t *testing.T, err error, want Cause, text string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Cause != want || !strings.Contains(e.Text, text) {
		t.Fatalf("got %#v, want cause %d and text %q", err, want, text)
	}
	if strings.Contains(err.Error(), "geheim") {
		t.Fatalf("the error shows the password: %v", err)
	}
}

func TestRequestWithoutCredentials(t *testing.T) {
	for host, want := range map[string]string{"vpn.example": "vpn.example:1194", "192.0.2.1": "192.0.2.1:1194", "2001:db8::1": "[2001:db8::1]:1194"} {
		f := &fakeProxy{answer: func(int, int, *http.Request) string { return established }}
		conn, err := connect(t, f, Config{Version: "1.0", Agent: "Mozilla/5.0 (x)", Headers: []Header{{"X-Ticket", "7 of 9"}}}, host)
		works(t, conn, err)
		r := f.requests[0]
		if r.Method != "CONNECT" || r.RequestURI != want || r.Host != want || r.Proto != "HTTP/1.0" || r.UserAgent() != "Mozilla/5.0 (x)" ||
			r.Header.Get("X-Ticket") != "7 of 9" || r.Header.Get("Proxy-Authorization") != "" {
			t.Errorf("request %s %s %s %v", r.Method, r.RequestURI, r.Proto, r.Header)
		}
	}
}

func TestOwnHostHeader(t *testing.T) {
	f := &fakeProxy{answer: func(int, int, *http.Request) string { return established }}
	conn, err := connect(t, f, Config{Headers: []Header{{"host", "front.example"}}}, "vpn.example")
	works(t, conn, err)
	if raw := f.raw.String(); !strings.Contains(raw, "\r\nhost: front.example\r\n") || strings.Contains(raw, "\r\nHost:") {
		t.Errorf("request %q", raw)
	}
}

// The server's first bytes may come in one segment with the proxy's answer.
func TestBytesBehindTheAnswer(t *testing.T) {
	f := &fakeProxy{answer: func(int, int, *http.Request) string { return established + "early" }}
	conn, err := connect(t, f, Config{}, "vpn.example")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "early" {
		t.Fatalf("read %q, %v", b, err)
	}
	works(t, conn, nil)
}

func basicFits(r *http.Request) bool {
	return r.Header.Get("Proxy-Authorization") == "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
}

func TestBasic(t *testing.T) {
	f := &fakeProxy{answer: func(_, _ int, r *http.Request) string {
		if !basicFits(r) {
			return asks("", "Basic realm=\"lab\"")
		}
		return established
	}}
	conn, err := connect(t, f, Config{Auth: Basic, User: user, Password: secret}, "vpn.example")
	works(t, conn, err)
	if len(f.requests) != 1 {
		t.Errorf("%d requests; Basic goes with the first", len(f.requests))
	}
	f.requests = nil
	conn, err = connect(t, f, Config{Auth: Auto, User: user, Password: secret}, "vpn.example")
	works(t, conn, err)
	if len(f.requests) != 2 {
		t.Errorf("%d requests; auto asks first", len(f.requests))
	}
	_, err = connect(t, f, Config{Auth: Basic, User: user, Password: "geheim, but wrong"}, "vpn.example")
	causeIs(t, err, CredentialsRefused, "does not accept")
	_, err = connect(t, f, Config{Auth: Auto, User: user, Password: "geheim, but wrong"}, "vpn.example")
	causeIs(t, err, CredentialsRefused, "does not accept")
	_, err = connect(t, f, Config{Auth: Auto}, "vpn.example")
	causeIs(t, err, CredentialsNeeded, "basic")
	_, err = connect(t, f, Config{Auth: None, User: user, Password: secret}, "vpn.example")
	causeIs(t, err, CredentialsNeeded, "basic")
	_, err = connect(t, f, Config{Auth: Digest, User: user, Password: secret}, "vpn.example")
	causeIs(t, err, CredentialsNeeded, "basic")
	_, err = connect(t, f, Config{Auth: Basic}, "vpn.example")
	causeIs(t, err, CredentialsNeeded, "no user name")
	_, err = connect(t, f, Config{Auth: Basic, User: "a:b", Password: secret}, "vpn.example")
	causeIs(t, err, CredentialsRefused, "colon")
}

// auto-nct never shows the password to the wire, whatever a proxy offers and in whatever order.
func TestAutoNCTNeverSendsBasic(t *testing.T) {
	f := &fakeProxy{answer: func(_, _ int, r *http.Request) string {
		if strings.HasPrefix(strings.ToLower(r.Header.Get("Proxy-Authorization")), "basic") {
			return established
		}
		return asks("", "Basic realm=\"lab\"", "Negotiate")
	}}
	_, err := connect(t, f, Config{Auth: AutoSafe, User: user, Password: secret}, "vpn.example")
	causeIs(t, err, CredentialsNeeded, "auto-nct")
	for _, r := range f.requests {
		if r.Header.Get("Proxy-Authorization") != "" {
			t.Errorf("sent %q", r.Header.Get("Proxy-Authorization"))
		}
	}
}

// digestFits computes RFC 7616's response by itself.
func digestFits(r *http.Request, nonce, algorithm string) bool {
	text, ok := strings.CutPrefix(r.Header.Get("Proxy-Authorization"), "Digest ")
	if !ok {
		return false
	}
	v := map[string]string{}
	for _, p := range splitQuoted(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		value = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.Trim(value, `"`))
		if p := strings.TrimSpace(p); strings.HasSuffix(p, `\""`) {
			value += `"`
		}
		v[name] = value
	}
	h := func(s string) string {
		if algorithm == "SHA-256" {
			return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
		}
		return fmt.Sprintf("%x", md5.Sum([]byte(s)))
	}
	want := h(strings.Join([]string{h(user + ":lab, and more:" + secret), nonce, v["nc"], v["cnonce"], "auth", h("CONNECT:" + r.RequestURI)}, ":"))
	return v["username"] == user && v["uri"] == r.RequestURI && v["nonce"] == nonce && v["opaque"] == "zz==" && v["response"] == want
}

func TestDigest(t *testing.T) {
	offer := func(nonce, algorithm, more string) string {
		return fmt.Sprintf(`Digest realm="lab, and more", qop="auth-int, auth", nonce="%s", opaque="zz==", algorithm=%s%s`, nonce, algorithm, more)
	}
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		for _, auth := range []Auth{Digest, Auto, AutoSafe} {
			f := &fakeProxy{answer: func(_, _ int, r *http.Request) string {
				switch {
				case digestFits(r, "fresh", algorithm):
					return established
				case digestFits(r, "old", algorithm):
					return asks("", offer("fresh", algorithm, ", stale=true"))
				}
				// The stronger one wins; several may share a line.
				return asks("", "Basic realm=\"x\", "+offer("unused", "MD5-sess", ""), offer("old", algorithm, ""))
			}}
			conn, err := connect(t, f, Config{Auth: auth, User: user, Password: secret}, "2001:db8::1")
			works(t, conn, err)
			if len(f.requests) != 3 || f.dialled.Load() != 1 {
				t.Errorf("%s: %d requests on %d connections", auth, len(f.requests), f.dialled.Load())
			}
			_, err = connect(t, f, Config{Auth: auth, User: user, Password: "geheim!"}, "vpn.example")
			causeIs(t, err, CredentialsRefused, "does not accept")
		}
	}
	f := &fakeProxy{answer: func(int, int, *http.Request) string {
		return asks("", offer("a", "SHA-256", ""), offer("b", "MD5", ""))
	}}
	_, err := connect(t, f, Config{Auth: Digest, User: user, Password: secret}, "vpn.example")
	causeIs(t, err, CredentialsRefused, "")
	if !digestFits(f.requests[1], "a", "SHA-256") {
		t.Errorf("the weaker challenge was answered: %s", f.requests[1].Header)
	}
}

// Proxies close after a 407, with and without saying so, or send a body without an end.
func TestProxyClosesBetweenTheSteps(t *testing.T) {
	for name, refuse := range map[string]func(connection, request int) string{
		"says so":  func(int, int) string { return asks("Connection: close\r\n", "Basic realm=x") },
		"HTTP/1.0": func(int, int) string { return strings.Replace(asks("", "Basic realm=x"), "/1.1", "/1.0", 1) },
		"no length": func(int, int) string {
			return strings.Replace(asks("", "Basic realm=x"), "Content-Length: 5\r\n", "", 1)
		},
		"chunked":    func(int, int) string { return asks("Transfer-Encoding: chunked\r\n", "Basic realm=x") },
		"in silence": func(int, int) string { return asks("", "Basic realm=x") },
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeProxy{answer: func(connection, request int, r *http.Request) string {
				switch {
				case connection == 2:
					return established
				case request == 2:
					return ""
				}
				return refuse(connection, request)
			}}
			conn, err := connect(t, f, Config{Auth: Auto, User: user, Password: secret}, "vpn.example")
			works(t, conn, err)
			if last := f.requests[len(f.requests)-1]; !basicFits(last) || f.dialled.Load() != 2 {
				t.Errorf("%d connections, the last request %v", f.dialled.Load(), last.Header)
			}
		})
	}
}

func TestProxyThatNeverEnds(t *testing.T) {
	f := &fakeProxy{answer: func(_, _ int, r *http.Request) string {
		if r.Header.Get("Proxy-Authorization") == "" {
			return asks("Connection: close\r\n", `Digest realm="x", nonce="1"`)
		}
		return asks("", `Digest realm="x", nonce="2", stale=true`)
	}}
	_, err := connect(t, f, Config{Auth: Auto, User: user, Password: secret}, "vpn.example")
	causeIs(t, err, CredentialsRefused, "")
	if len(f.requests) > maxSteps {
		t.Errorf("%d requests", len(f.requests))
	}
}

func TestProxyAnswersThatRefuse(t *testing.T) {
	long := strings.Repeat("x", 20<<10)
	for _, c := range []struct {
		answer string
		cause  Cause
		text   string
	}{
		{"HTTP/1.1 403 Forbidden\r\n\r\n", TargetRefused, "403 Forbidden"},
		{"HTTP/1.1 503 \x1b[31mService\x07 Unavailable\r\n\r\n", TargetRefused, "503 [31mService  Unavailable"},
		{"HTTP/1.1 502\r\n\r\n", TargetRefused, "502"},
		{"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n", TargetRefused, "302"},
		{"SSH-2.0-OpenSSH_9.2\r\n\r\n", Broken, "SSH-2.0"},
		{"HTTP/1.1 2000 OK\r\n\r\n", Broken, "not HTTP"},
		{"HTTP/1.1 -20 OK\r\n\r\n", Broken, "not HTTP"},
		{"HTTP/1.1 200 OK\r\nX: " + long + "\r\n\r\n", Broken, "larger"},
		{"HTTP/1.1 200 " + long, Broken, "larger"},
		{"HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 101) + "\r\n", Broken, "lines"},
		{strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 6), Broken, "interim"},
		{"HTTP/1.1 200 OK\r\nX: y close\r\n", Unreachable, "EOF"}, // and it hangs up
		{"", Unreachable, "EOF"},
	} {
		f := &fakeProxy{answer: func(int, int, *http.Request) string { return c.answer }}
		_, err := connect(t, f, Config{Auth: Auto, User: user, Password: secret}, "vpn.example")
		causeIs(t, err, c.cause, c.text)
	}
}

func TestProxyThatIsSilentOrGone(t *testing.T) {
	c := Config{Kind: HTTP, Host: "p", Port: 1}
	here, there := net.Pipe()
	defer there.Close()
	go func() { _, _ = io.Copy(io.Discard, there) }()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Connect(ctx, func(context.Context) (net.Conn, error) { return here, nil }, Target{"h", 1})
	causeIs(t, err, Unreachable, "timeout")
	_, err = c.Connect(ctx, func(context.Context) (net.Conn, error) { return nil, errors.New("no route") }, Target{"h", 1})
	causeIs(t, err, Unreachable, "no route")
}

func TestCheckFindsWhatWouldBreakRequests(t *testing.T) {
	good := Config{Kind: HTTP, Host: "p", Port: 1, Auth: Auto, Version: "1.0", Headers: []Header{{"X-A", "b c"}}}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for i, spoil := range []func(c *Config){
		func(c *Config) { c.Kind = 0 },
		func(c *Config) { c.Host = "" },
		func(c *Config) { c.Host = "a b" },
		func(c *Config) { c.Port = 0 },
		func(c *Config) { c.Auth = "ntlm" },
		func(c *Config) { c.Version = "1.1\r\nX: y" },
		func(c *Config) { c.User = "a\r\nb" },
		func(c *Config) { c.Password = "a\nb" },
		func(c *Config) { c.Agent = "a\nb" },
		func(c *Config) { c.Headers = []Header{{"X A", "b"}} },
		func(c *Config) { c.Headers = []Header{{"X-A", "b\r\nProxy-Authorization: x"}} },
		func(c *Config) { c.Kind, c.User = SOCKS5, strings.Repeat("u", 256) },
	} {
		c := good
		spoil(&c)
		if c.Check() == nil {
			t.Errorf("case %d passes", i)
		}
	}
	c := Config{Kind: HTTP, Host: "p", Port: 1, User: "alice", Password: "geheim", Headers: []Header{{"X-Key", "geheim"}}}
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", &c), fmt.Sprintf("%#v", c), fmt.Sprintf("%q", c.Headers)} {
		if strings.Contains(s, "geheim") {
			t.Errorf("printing shows the secret: %s", s)
		}
	}
}

// FuzzHead reads answers of proxies: CVE-2017-7520 and CVE-2026-11771 are about those of NTLM.
func FuzzHead(f *testing.F) {
	f.Add([]byte(established))
	f.Add([]byte(asks("Connection: close\r\n", "Basic realm=\"a, b\"", `Digest realm="x", nonce="\"", qop="auth"`, "NTLM TlRMTVNTUAACAAAA", "Negotiate")))
	f.Add([]byte("HTTP/1.0 407\r\nProxy-Authenticate: NTLM TlRMTVNTUAACAAAAAAAAADgAAAABggii4fHDYxETtXIAAAAAAAAAAAAAAAA4AAAABgEAAAAAAA8=\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1000 {
			return // adds nothing but time to make it small; TestProxyAnswersThatRefuse knows the limits
		}
		r := bufio.NewReaderSize(strings.NewReader(string(b)), 4<<10)
		h, err := readHead(r)
		if err != nil {
			return
		}
		for _, auth := range []Auth{Auto, Digest, NTLM2} {
			s := signIn{c: &Config{Auth: auth, User: user, Password: secret}, target: "h:1"}
			if s.begin() != nil {
				t.Fatal("begin")
			}
			for range 3 {
				if err := s.challenged(h); err != nil {
					if strings.Contains(err.Error(), "geheim") {
						t.Fatal(err)
					}
					break
				}
			}
			if strings.ContainsAny(s.credentials, "\r\n\x00") {
				t.Fatalf("the next request has a line break: %q", s.credentials)
			}
		}
	})
}
