package signin

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ssoURL is an identity provider's address with an AuthnRequest.
func ssoURL(t testing.TB, base, id string) string {
	t.Helper()
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, `<?xml version="1.0"?><samlp:AuthnRequest xmlns:samlp="%s" ID="%s" Version="2.0"></samlp:AuthnRequest>`, protocolNS, id)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return base + "?SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed.Bytes()))
}

// samlResponse is a form field that answers the request with this ID ("": none).
func samlResponse(id string) string {
	to := ""
	if id != "" {
		to = ` InResponseTo="` + id + `"`
	}
	return base64.StdEncoding.EncodeToString([]byte(`<samlp:Response xmlns:samlp="` + protocolNS + `" ID="_r"` + to + `><x/></samlp:Response>`))
}

// freePort returns a port that nobody had a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// send makes one request to the port as it is written, and returns the answer.
func send(t *testing.T, port int, head, body string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	head = strings.ReplaceAll(head, "PORT", strconv.Itoa(port))
	if body != "" {
		head += "\nContent-Length: " + strconv.Itoa(len(body))
	}
	go func() { _, _ = io.WriteString(conn, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+body) }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp
}

const formHead = "POST / HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Type: application/x-www-form-urlencoded"

func formBody(response string) string {
	return url.Values{"SAMLResponse": {response}, "RelayState": {"x"}}.Encode()
}

// waiting is a sign-in under way.
type waiting struct {
	port   int
	id     string
	notes  chan string
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned
	answer push.Secret
	err    error
}

// begin starts a sign-in and returns when the browser was asked for. The test ends it.
func begin(t *testing.T, port int, id string) *waiting {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &waiting{port: port, id: id, notes: make(chan string, 10), cancel: cancel, done: make(chan struct{})}
	address := "https://idp.example.test/sso"
	if id != "" {
		address = ssoURL(t, address, id)
	}
	opened := make(chan string, 1)
	go func() {
		defer close(w.done)
		w.answer, w.err = Run(ctx, Config{URL: address, Port: port,
			Open:   func(u string) error { opened <- u; return nil },
			Notify: func(text string) { w.notes <- text }})
	}()
	t.Cleanup(func() { cancel(); <-w.done })
	select {
	case u := <-opened:
		if u != address {
			t.Errorf("the browser got %s", u)
		}
	case <-w.done:
		t.Fatalf("ended before the browser opened: %v", w.err)
	}
	return w
}

// TestAnswer: one POST of a form whose response answers our request ends the wait.
func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name, id, response string
		head               string // "": formHead
	}{
		{name: "answers the request", id: "_a1", response: samlResponse("_a1")},
		{name: "without a request any response counts", response: samlResponse("")},
		{name: "without a request a response to one counts, too", response: samlResponse("_z")},
		{name: "a browser's headers", id: "_a2", response: samlResponse("_a2"),
			head: "POST / HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: null\nCookie: a=b\nSec-Fetch-Site: cross-site\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8"},
		{name: "as large as AWS lets it be", id: "_a3", response: large("_a3", maxResponse)},
		{name: "base64 in lines", id: "_a4", response: strings.Join(strings.SplitAfter(samlResponse("_a4"), "="), "\r\n")},
		{name: "other spelling", id: "_a5", response: base64.StdEncoding.EncodeToString([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?><!-- c --><Response InResponseTo='_a5' xmlns="` + protocolNS + `"/>`))},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := begin(t, freePort(t), c.id)
			head := c.head
			if head == "" {
				head = formHead
			}
			resp := send(t, w.port, head, formBody(c.response))
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "Authentication details received, processing details. You may close this window at any time.") {
				t.Fatalf("%d %s", resp.StatusCode, text)
			}
			<-w.done
			if w.err != nil || w.answer.Reveal() != c.response {
				t.Fatalf("got %d bytes, want %d; %v", len(w.answer), len(c.response), w.err)
			}
			if note := <-w.notes; !strings.Contains(note, "idp.example.test") || strings.Contains(note, "SAMLRequest") {
				t.Errorf("the person was told %q", note)
			}
			if conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port))); err == nil {
				conn.Close()
				t.Error("the port still answers")
			}
		})
	}
}

// large is a response of so many bytes in base64.
func large(id string, size int) string {
	head := `<samlp:Response xmlns:samlp="` + protocolNS + `" InResponseTo="` + id + `">`
	tail := "</samlp:Response>"
	return base64.StdEncoding.EncodeToString([]byte(head + strings.Repeat("a", size/4*3-len(head)-len(tail)) + tail))
}

// TestWhatIsNoAnswer: everything else gets 400, repeats nothing of what came, and the
// wait goes on for the real answer.
func TestWhatIsNoAnswer(t *testing.T) {
	good := formBody(samlResponse("_ours"))
	w := begin(t, freePort(t), "_ours")
	for _, c := range []struct{ name, head, body string }{
		{"GET", "GET / HTTP/1.1\nHost: 127.0.0.1:PORT", ""},
		{"GET with the answer in the address", "GET /?" + good + " HTTP/1.1\nHost: 127.0.0.1:PORT", ""},
		{"PUT", strings.Replace(formHead, "POST", "PUT", 1), good},
		{"another path", strings.Replace(formHead, "/ ", "/saml ", 1), good},
		{"two slashes", strings.Replace(formHead, "/ ", "// ", 1), good},
		{"localhost", strings.Replace(formHead, "127.0.0.1", "localhost", 1), good},
		{"a name that resolves to us", strings.Replace(formHead, "127.0.0.1", "evil.example.test", 1), good},
		{"another port in Host", strings.Replace(formHead, "127.0.0.1:PORT", "127.0.0.1", 1), good},
		{"no Host", "POST / HTTP/1.0\nContent-Type: application/x-www-form-urlencoded", good},
		{"an answer to another sign-in", formHead, formBody(samlResponse("_theirs"))},
		{"an answer to none", formHead, formBody(samlResponse(""))},
		{"longer ID", formHead, formBody(samlResponse("_ours2"))},
		{"our ID in another namespace", formHead, formBody(base64.StdEncoding.EncodeToString([]byte(
			`<samlp:Response xmlns:samlp="` + protocolNS + `" xmlns:x="urn:x" x:InResponseTo="_ours" InResponseTo="_theirs"/>`)))},
		{"our ID twice", formHead, formBody(base64.StdEncoding.EncodeToString([]byte(
			`<samlp:Response xmlns:samlp="` + protocolNS + `" InResponseTo="_theirs" InResponseTo="_ours"/>`)))},
		{"our ID inside", formHead, formBody(base64.StdEncoding.EncodeToString([]byte(
			`<x><samlp:Response xmlns:samlp="` + protocolNS + `" InResponseTo="_ours"/></x>`)))},
		{"a logout response", formHead, formBody(base64.StdEncoding.EncodeToString([]byte(
			`<samlp:LogoutResponse xmlns:samlp="` + protocolNS + `" InResponseTo="_ours"/>`)))},
		{"not SAML's Response", formHead, formBody(base64.StdEncoding.EncodeToString([]byte(`<Response InResponseTo="_ours"/>`)))},
		{"a document type", formHead, formBody(base64.StdEncoding.EncodeToString([]byte(
			`<!DOCTYPE r [<!ENTITY e "_ours">]><samlp:Response xmlns:samlp="` + protocolNS + `" InResponseTo="&e;"/>`)))},
		{"not base64", formHead, formBody("<samlp:Response/>")},
		{"not XML", formHead, formBody(base64.StdEncoding.EncodeToString([]byte("_ours")))},
		{"empty field", formHead, "SAMLResponse="},
		{"no field", formHead, "RelayState=x"},
		{"two fields", formHead, good + "&" + good},
		{"no form", strings.Replace(formHead, "application/x-www-form-urlencoded", "text/plain", 1), good},
		{"no type", "POST / HTTP/1.1\nHost: 127.0.0.1:PORT", good},
		{"JSON", strings.Replace(formHead, "x-www-form-urlencoded", "json", 1), `{"SAMLResponse":"x"}`},
		{"broken escapes", formHead, good + "&x=%zz"},
		{"larger than a response may be", formHead, formBody(large("_ours", maxResponse+4))},
		{"larger than a body may be", formHead, good + "&x=" + strings.Repeat("a", maxBody)},
		{"no body", formHead + "\nContent-Length: 0", ""},
		{"CONNECT", "CONNECT 127.0.0.1:PORT HTTP/1.1\nHost: 127.0.0.1:PORT", ""},
	} {
		resp := send(t, w.port, c.head, c.body)
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", c.name, resp.StatusCode, text)
		}
		if strings.Contains(string(text), "_ours") || strings.Contains(string(text), "_theirs") || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: the answer tells too much: %s %v", c.name, text, resp.Header)
		}
	}
	select {
	case <-w.done:
		t.Fatalf("one of them ended the wait: %v", w.err)
	default:
	}
	if resp := send(t, w.port, formHead, good); resp.StatusCode != http.StatusOK {
		t.Fatalf("the real answer got %d", resp.StatusCode)
	}
	<-w.done
	if w.err != nil || w.answer.Reveal() != samlResponse("_ours") {
		t.Fatalf("got %d bytes, %v", len(w.answer), w.err)
	}
}

func TestPreflight(t *testing.T) {
	w := begin(t, freePort(t), "_p")
	const ask = "OPTIONS / HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: https://idp.example.test\nAccess-Control-Request-Method: POST\nAccess-Control-Request-Private-Network: true"
	for _, c := range []struct {
		name, head, grant string
	}{
		{"Chromium's question", ask, "Access-Control-Allow-Private-Network"},
		{"with a null origin", strings.Replace(ask, "https://idp.example.test", "null", 1), "Access-Control-Allow-Private-Network"},
		{"the later name", strings.Replace(ask, "Private", "Local", 1), "Access-Control-Allow-Local-Network"},
		{"not about the network", strings.Replace(ask, "\nAccess-Control-Request-Private-Network: true", "", 1), ""},
		{"another method", strings.Replace(ask, "POST", "PUT", 1), ""},
		{"another path", strings.Replace(ask, "/ ", "/x ", 1), ""},
		{"another host", strings.Replace(ask, "127.0.0.1", "localhost", 1), ""},
		{"no origin", strings.Replace(ask, "Origin: https://idp.example.test\n", "", 1), ""},
	} {
		resp := send(t, w.port, c.head, "")
		if c.grant == "" {
			if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %d %v", c.name, resp.StatusCode, resp.Header)
			}
			continue
		}
		origin := "https://idp.example.test"
		if strings.Contains(c.head, "Origin: null") {
			origin = "null"
		}
		h := resp.Header
		if resp.StatusCode != http.StatusNoContent || h.Get(c.grant) != "true" || h.Get("Access-Control-Allow-Origin") != origin ||
			h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("%s: %d %v", c.name, resp.StatusCode, h)
		}
	}
	select {
	case <-w.done:
		t.Fatalf("a question ended the wait: %v", w.err)
	default:
	}
}

// TestBusyPort: whoever has the port first, on whichever address of this machine, keeps it. We say
// so, open nothing and send nothing.
func TestBusyPort(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		t.Run(addr, func(t *testing.T) {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Skipf("no such address here: %v", err)
			}
			defer l.Close()
			port := l.Addr().(*net.TCPAddr).Port
			_, err = Run(t.Context(), Config{URL: ssoURL(t, "https://idp.example.test/", "_b"), Port: port,
				Open:   func(string) error { t.Error("the browser was opened"); return nil },
				Notify: func(text string) { t.Errorf("said %q", text) }})
			var busy *BusyError
			if !errors.As(err, &busy) || busy.Port != port || !strings.Contains(err.Error(), strconv.Itoa(port)) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v", err)
			}
			_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
			if conn, err := l.Accept(); err == nil {
				conn.Close()
				t.Error("somebody connected to the other one")
			}
		})
	}
}

// TestTwoAtOnce: the second sign-in says that the port is taken; the first goes on, and
// answers are not mixed up, also when the second comes after the first.
func TestTwoAtOnce(t *testing.T) {
	port := freePort(t)
	first := begin(t, port, "_first")
	_, err := Run(t.Context(), Config{URL: ssoURL(t, "https://idp.example.test/", "_second"), Port: port,
		Open: func(string) error { t.Error("opened a browser whose answer nobody can catch"); return nil }, Notify: func(string) {}})
	var busy *BusyError
	if !errors.As(err, &busy) {
		t.Fatalf("got %v", err)
	}
	if resp := send(t, port, formHead, formBody(samlResponse("_first"))); resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d", resp.StatusCode)
	}
	<-first.done
	second := begin(t, port, "_second") // the port is free at once
	if resp := send(t, port, formHead, formBody(samlResponse("_first"))); resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("the first one's answer got %d", resp.StatusCode)
	}
	send(t, port, formHead, formBody(samlResponse("_second")))
	<-second.done
	if second.err != nil || second.answer.Reveal() != samlResponse("_second") {
		t.Fatal(second.err)
	}
}

// TestEndFreesThePort: cancel and timeout, with connections open.
func TestEndFreesThePort(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want error
	}{
		{"cancel", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled},
		{"timeout", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		}, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := freePort(t)
			address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
			ctx, cancel := c.end(t.Context())
			defer cancel()
			var conn net.Conn
			_, err := Run(ctx, Config{URL: "https://idp.example.test/", Port: port, Notify: func(string) {
				var err error
				if conn, err = net.Dial("tcp4", address); err != nil { // bound before the person hears of it
					t.Error(err)
				}
			}})
			if conn != nil {
				defer conn.Close()
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			l, err := net.Listen("tcp4", address)
			if err != nil {
				t.Fatalf("the port is not free: %v", err)
			}
			l.Close()
		})
	}
}

// TestSlowConnections: connections that say nothing do not keep the answer out.
func TestSlowConnections(t *testing.T) {
	w := begin(t, freePort(t), "_s")
	for range maxConnections + 8 {
		conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	if resp := send(t, w.port, formHead, formBody(samlResponse("_s"))); resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d", resp.StatusCode)
	}
	<-w.done
	if w.err != nil {
		t.Fatal(w.err)
	}
}

// TestNoBrowser: without one, and when none starts, the person gets the whole address.
func TestNoBrowser(t *testing.T) {
	for _, port := range []int{0, freePort(t)} {
		for name, open := range map[string]func(string) error{"none wanted": nil, "none there": func(string) error { return errors.New("no display") }} {
			t.Run(fmt.Sprint(name, " ", port != 0), func(t *testing.T) {
				address := ssoURL(t, "https://idp.example.test/", "_n")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				told := ""
				_, err := Run(ctx, Config{URL: address, Port: port, Open: open, Notify: func(text string) {
					if told += text; strings.Contains(text, address) {
						cancel()
					}
				}})
				if !errors.Is(err, context.Canceled) || open != nil && !strings.Contains(told, "no display") {
					t.Fatalf("%v; told %q", err, told)
				}
			})
		}
	}
}

// TestBadAddresses: what no browser shall see is refused before anything happens.
func TestBadAddresses(t *testing.T) {
	long := "https://idp.example.test/?" + strings.Repeat("a", maxURL)
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, flate.BestCompression)
	_, _ = w.Write(bytes.Repeat([]byte(" "), 10<<20))
	_ = w.Close()
	for name, address := range map[string]string{
		"a program": "file:///bin/sh", "a script": "javascript:alert(1)", "an option": "--version", "too long": long,
		"a request that is not base64":  "https://idp.example.test/?SAMLRequest=%2A",
		"a request that is not packed":  "https://idp.example.test/?SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("<x/>"))),
		"a request twice":               ssoURL(t, "https://idp.example.test/", "_1") + "&" + strings.TrimPrefix(ssoURL(t, "", "_2"), "?"),
		"a request without an ID":       ssoURL(t, "https://idp.example.test/", ""),
		"a request that unpacks to MiB": "https://idp.example.test/?SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(bomb.Bytes())),
		"an unreadable parameter":       "https://idp.example.test/?a;SAMLRequest=x",
	} {
		for _, port := range []int{0, freePort(t)} {
			if port == 0 && strings.HasPrefix(name, "a request") || port == 0 && strings.HasPrefix(name, "an unreadable") {
				continue // nothing is caught, nothing is compared
			}
			_, err := Run(t.Context(), Config{URL: address, Port: port,
				Open: func(string) error { t.Errorf("%s: opened", name); return nil }, Notify: func(string) {}})
			if !errors.Is(err, challenge.ErrMalformed) || len(err.Error()) > 200 {
				t.Errorf("%s: got %.300v", name, err)
			}
		}
	}
	if err := NewBrowser()("file:///etc/passwd"); !errors.Is(err, challenge.ErrMalformed) {
		t.Errorf("the browser took a file: %v", err)
	}
}

func FuzzSAML(f *testing.F) {
	f.Add(ssoURL(f, "https://idp.example.test/", "_1"), samlResponse("_1"))
	f.Add("https://idp.example.test/?SAMLRequest=", "PCFET0NUWVBFPg==")
	f.Add("http://a.test/?x=%zz&SAMLRequest=abcd", base64.StdEncoding.EncodeToString([]byte(`<?xml encoding="x"?><a:Response xmlns:a="`+protocolNS+`" InResponseTo="&#x41;"/>`)))
	f.Fuzz(func(t *testing.T, address, response string) {
		if id, err := requestID(address); err == nil && id != "" && !strings.Contains(address, "SAMLRequest") && !strings.Contains(address, "%") {
			t.Fatalf("%q out of an address without a request", id)
		}
		if to, err := responseTo(response); err == nil {
			plain, err := base64.StdEncoding.DecodeString(trimSpace(response))
			if err != nil || !bytes.Contains(plain, []byte("Response")) || len(to) > len(plain) {
				t.Fatalf("%q out of %q", to, plain)
			}
		}
	})
}
