package userspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var quiet = slog.New(slog.DiscardHandler)

// start serves a front on loopback until the test ends, and checks that Serve then
// returns nil soon.
func start(t testing.TB, front func(context.Context, net.Listener) error) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- front(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Serve goes on after its context ended")
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func through(t testing.TB, proxy string) *http.Transport {
	t.Helper()
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(u)}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func TestSOCKS5Fetch(t *testing.T) {
	w := newWorld(t)
	w.serveDNS(t)
	w.serveHTTP(t, "10.9.0.1:80")
	w.serveHTTP(t, "[fd09::1]:80")
	addr, _ := start(t, NewSOCKS5(w.near, quiet, nil).Serve)
	transport := through(t, "socks5://"+addr)
	for _, host := range []string{"10.9.0.1", "[fd09::1]", "web.example"} {
		if got := fetchWith(t, transport, "http://"+host+"/page"); !strings.Contains(got, "path /page host "+host) {
			t.Errorf("%s: %q", host, got)
		}
	}
	if got := fetchWith(t, transport, "http://10.9.0.1/big"); len(got) != 1<<20 {
		t.Errorf("%d bytes of a large page", len(got))
	}
}

func TestSOCKS5Curl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("curl is not installed")
	}
	w := newWorld(t)
	w.serveDNS(t)
	w.serveHTTP(t, "10.9.0.1:80")
	open, _ := start(t, NewSOCKS5(w.near, quiet, nil).Serve)
	guarded, _ := start(t, NewSOCKS5(w.near, quiet, &Credentials{"me", "secret"}).Serve)
	proxy, _ := start(t, NewHTTPProxy(w.near, quiet, &Credentials{"me", "secret"}).Serve)
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"name", 0, []string{"--socks5-hostname", open, "http://web.example/x"}},
		{"search domain", 0, []string{"--socks5-hostname", open, "http://intranet/x"}},
		{"address", 0, []string{"--socks5", open, "http://10.9.0.1/x"}},
		{"no route", 97, []string{"--socks5-hostname", open, "http://198.51.100.1/x"}},
		{"credentials", 0, []string{"--socks5-hostname", guarded, "--proxy-user", "me:secret", "http://web.example/x"}},
		{"wrong credentials", 97, []string{"--socks5-hostname", guarded, "--proxy-user", "me:wrong", "http://web.example/x"}},
		{"no credentials", 97, []string{"--socks5-hostname", guarded, "http://web.example/x"}},
		{"proxy", 0, []string{"--proxy", "http://" + proxy, "--proxy-user", "me:secret", "http://web.example/x"}},
		{"proxy tunnel", 0, []string{"--proxy", "http://" + proxy, "--proxytunnel", "--proxy-user", "me:secret", "http://web.example/x"}},
		{"proxy, wrong credentials", 22, []string{"--fail", "--proxy", "http://" + proxy, "--proxy-user", "me:wrong", "http://web.example/x"}},
	} {
		cmd := exec.CommandContext(within(t), curl, append([]string{"-q", "-s", "--noproxy", "", "--max-time", "4"}, c.args...)...)
		cmd.Env = []string{}
		out, err := cmd.Output()
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != c.code || code == 0 && !bytes.Contains(out, []byte("path /x")) {
			t.Errorf("%s: exit code %d, want %d: %q", c.name, code, c.code, out)
		}
	}
}

// talk sends bytes to a SOCKS server and returns what it answers until it closes or
// has said as much as wanted.
func talk(t testing.TB, addr string, wanted int, parts ...[]byte) []byte {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	c.Write(bytes.Join(parts, nil))
	got := make([]byte, wanted)
	n, _ := io.ReadFull(c, got)
	return got[:n]
}

func TestSOCKS5Replies(t *testing.T) {
	w := newWorld(t)
	w.serveDNS(t)
	addr, _ := start(t, NewSOCKS5(w.near, quiet, nil).Serve)
	hello := []byte{5, 1, 0}
	for name, c := range map[string]struct {
		request []byte
		code    byte
	}{
		"BIND":         {[]byte{5, 2, 0, 1, 10, 9, 0, 1, 0, 80}, 7},
		"no command":   {[]byte{5, 9, 0, 1, 10, 9, 0, 1, 0, 80}, 7},
		"address type": {[]byte{5, 1, 0, 2}, 8},
		"no route":     {[]byte{5, 1, 0, 1, 198, 51, 100, 1, 0, 80}, 3},
		"loopback":     {[]byte{5, 1, 0, 1, 127, 0, 0, 1, 0, 80}, 3},
		"refused":      {[]byte{5, 1, 0, 1, 10, 9, 0, 1, 0, 9}, 5},
		"no host":      {append(append([]byte{5, 1, 0, 3, 14}, "nobody.example"...), 0, 80), 4},
	} {
		got := talk(t, addr, 12, hello, c.request)
		if want := []byte{5, 0, 5, c.code, 0, 1, 0, 0, 0, 0, 0, 0}; !bytes.Equal(got, want) {
			t.Errorf("%s: answer % x, want % x", name, got, want)
		}
	}
	if got := talk(t, addr, 9, []byte{4, 1, 0, 80}); len(got) != 0 {
		t.Errorf("answer to SOCKS 4: % x", got)
	}
	if got := talk(t, addr, 9, []byte{5, 1, 1}); !bytes.Equal(got, []byte{5, 0xff}) {
		t.Errorf("answer to an unknown method: % x", got)
	}
}

func TestSOCKS5UDP(t *testing.T) {
	w := newWorld(t)
	w.serveDNS(t)
	addr, stop := start(t, NewSOCKS5(w.near, quiet, nil).Serve)
	control, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	control.SetDeadline(time.Now().Add(5 * time.Second))
	control.Write([]byte{5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0})
	var reply [12]byte
	if _, err := io.ReadFull(control, reply[:]); err != nil || reply[3] != 0 {
		t.Fatalf("association: % x, %v", reply, err)
	}
	relay := netip.AddrPortFrom(netip.AddrFrom4([4]byte(reply[6:10])), uint16(reply[10])<<8|uint16(reply[11]))
	u, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(relay))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.SetDeadline(time.Now().Add(5 * time.Second))

	question := new(dns.Msg).SetQuestion("web.example.", dns.TypeA)
	packed, err := question.Pack()
	if err != nil {
		t.Fatal(err)
	}
	name := append(append([]byte{0, 0, 0, 3, 11}, "web.example"...), 0, 53)
	for what, header := range map[string][]byte{
		"address": {0, 0, 0, 1, 10, 9, 0, 1, 0, 53}, "name": name, "name again": name,
	} {
		u.Write([]byte{0, 0})                                              // too short
		u.Write(append([]byte{0, 0, 1, 1, 10, 9, 0, 1, 0, 53}, packed...)) // a fragment
		u.Write(append([]byte{0, 0, 0, 1, 127, 0, 0, 1, 0, 53}, packed...))
		u.Write(append(bytes.Clone(header), packed...))
		buf := make([]byte, 2000)
		n, err := u.Read(buf)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if want := []byte{0, 0, 0, 1, 10, 9, 0, 1, 0, 53}; !bytes.HasPrefix(buf[:n], want) {
			t.Fatalf("%s: answer begins % x, want % x", what, buf[:min(n, 10)], want)
		}
		a := new(dns.Msg)
		if err := a.Unpack(buf[10:n]); err != nil || a.Id != question.Id || len(addresses(a)) != 1 {
			t.Errorf("%s: %v, %v", what, a, err)
		}
	}

	// Another port of the same machine may not use the association.
	thief, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(relay))
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	thief.Write(append([]byte{0, 0, 0, 1, 10, 9, 0, 1, 0, 53}, packed...))
	thief.SetDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := thief.Read(make([]byte, 2000)); err == nil {
		t.Errorf("a stranger got %d bytes", n)
	}
	stop() // with the association open
}

// TestAddressChanges: a new session of the tunnel may bring another address. What is open through a front ends then, so that
// programs begin anew; what has its address still goes on.
func TestAddressChanges(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(t, "10.9.0.1:80")
	w.serveDNS(t)
	for _, at := range []string{"10.9.0.1:7", "[fd09::1]:7"} {
		l := w.listen(t, at)
		var all sync.WaitGroup
		all.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() { io.Copy(c, c); c.Close() })
			}
		})
		t.Cleanup(func() { l.Close(); w.farTUN.Close(); all.Wait() })
	}
	// begin sends what a server answers with as many bytes as wanted.
	begin := func(front func(context.Context, net.Listener) error, wanted int, parts ...[]byte) net.Conn {
		t.Helper()
		addr, _ := start(t, front)
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(5 * time.Second))
		c.Write(bytes.Join(parts, nil))
		if _, err := io.ReadFull(c, make([]byte, wanted)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	socks := NewSOCKS5(w.near, quiet, nil).Serve
	open := map[string]net.Conn{
		"forward": begin(NewForwarder(w.near, quiet, "10.9.0.1:7").Serve, 5, []byte("hello")),
		"socks":   begin(socks, 2+10+5, []byte{5, 1, 0}, []byte{5, 1, 0, 1, 10, 9, 0, 1, 0, 7}, []byte("hello")),
		"CONNECT": begin(NewHTTPProxy(w.near, quiet, nil).Serve, len("HTTP/1.1 200 Connection established\r\n\r\n")+5, []byte("CONNECT 10.9.0.1:7 HTTP/1.1\r\nHost: x\r\n\r\n"), []byte("hello")),
	}
	other := begin(NewForwarder(w.near, quiet, "[fd09::1]:7").Serve, 5, []byte("hello"))

	addr, _ := start(t, socks)
	control, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	control.SetDeadline(time.Now().Add(5 * time.Second))
	control.Write([]byte{5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0})
	var reply [12]byte
	if _, err := io.ReadFull(control, reply[:]); err != nil {
		t.Fatal(err)
	}
	u, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte(reply[6:10])), uint16(reply[10])<<8|uint16(reply[11]))))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.SetDeadline(time.Now().Add(5 * time.Second))
	question, err := new(dns.Msg).SetQuestion("web.example.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	u.Write(append([]byte{0, 0, 0, 1, 10, 9, 0, 1, 0, 53}, question...))
	if _, err := u.Read(make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	open["association"] = control

	proxy, _ := start(t, NewHTTPProxy(w.near, quiet, nil).Serve)
	pages := through(t, "http://"+proxy)
	if got := fetchWith(t, pages, "http://10.9.0.1/"); !strings.Contains(got, "from 10.8.0.2:") {
		t.Fatal(got)
	}

	plan := w.plan
	plan.Addresses = []netip.Prefix{netip.MustParsePrefix("10.8.0.9/24"), w.plan.Addresses[1]}
	if err := w.near.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	for name, c := range open {
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read %d bytes, %v; want its end", name, n, err)
		}
	}
	if got := fetchWith(t, pages, "http://10.9.0.1/"); !strings.Contains(got, "from 10.8.0.9:") {
		t.Errorf("the next page: %s", got)
	}
	other.Write([]byte("again"))
	if _, err := io.ReadFull(other, make([]byte, 5)); err != nil {
		t.Errorf("IPv6, whose address stayed: %v", err)
	}
}

func TestHTTPProxy(t *testing.T) {
	w := newWorld(t)
	w.serveDNS(t)
	w.serveHTTP(t, "10.9.0.1:80")
	addr, _ := start(t, NewHTTPProxy(w.near, quiet, nil).Serve)
	transport := through(t, "http://"+addr)
	if got := fetchWith(t, transport, "http://web.example/a?b=c;d"); !strings.Contains(got, "path /a host web.example") {
		t.Errorf("got %q", got)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, "POST http://10.9.0.1/post HTTP/1.1\r\nHost: 10.9.0.1\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n"+
		"Connection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 1\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 3\r\n\r\nabc")
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	got := string(all)
	for text, want := range map[string]bool{
		"200 OK": true, "body abc": true, "header X-End": true, "header X-Forwarded-For": true,
		"header X-Hop": false, "header Proxy": false, "header Connection": false,
	} {
		if strings.Contains(got, text) != want {
			t.Errorf("%q in the answer: %v, want %v\n%s", text, !want, want, got)
		}
	}
	for request, status := range map[string]string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                                   "400",
		"GET https://10.9.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n":                   "400",
		"CONNECT 198.51.100.1:443 HTTP/1.1\r\nHost: 198.51.100.1:443\r\n\r\n": "502",
		"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n":           "502",
		"nonsense\r\n\r\n": "400",
	} {
		if got := string(talk(t, addr, 12, []byte(request))); got != "HTTP/1.1 "+status {
			t.Errorf("%q: answer %q, want %s", request, got, status)
		}
	}
}

func TestHTTPProxyCredentials(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(t, "10.9.0.1:80")
	addr, _ := start(t, NewHTTPProxy(w.near, quiet, &Credentials{"me", "a:b"}).Serve)
	for user, want := range map[string]string{"me:a%3Ab@": "200 OK", "me:wrong@": "407 Proxy Authentication Required", "": "407 Proxy Authentication Required"} {
		request, err := http.NewRequestWithContext(within(t), "GET", "http://10.9.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := through(t, "http://"+user+addr).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.Status != want {
			t.Errorf("%q: %s, want %s", user, response.Status, want)
		}
	}
}

// TestHalfClose sends, closes its half, and still gets the answer, through each front.
func TestHalfClose(t *testing.T) {
	w := newWorld(t)
	l := w.listen(t, "10.9.0.1:99")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			fmt.Fprintf(c, "%d bytes", len(b))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	for name, c := range map[string]struct {
		front func(context.Context, net.Listener) error
		ask   string
		skip  int
	}{
		"forward": {NewForwarder(w.near, quiet, "10.9.0.1:99").Serve, "", 0},
		"socks":   {NewSOCKS5(w.near, quiet, nil).Serve, "\x05\x01\x00\x05\x01\x00\x01\x0a\x09\x00\x01\x00\x63", 12},
		"http":    {NewHTTPProxy(w.near, quiet, nil).Serve, "CONNECT 10.9.0.1:99 HTTP/1.1\r\nHost: x\r\n\r\n", 39},
	} {
		addr, _ := start(t, c.front)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(conn, c.ask+strings.Repeat("x", 100000)) // data right behind the request, too
		conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		if err != nil || len(got) < c.skip || string(got[c.skip:]) != "100000 bytes" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		conn.Close()
	}
}

func TestStopWhileTransferring(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(t, "10.9.0.1:80")
	for name, c := range map[string]struct {
		front func(context.Context, net.Listener) error
		ask   string
	}{
		"forward":      {NewForwarder(w.near, quiet, "10.9.0.1:80").Serve, "GET /endless HTTP/1.0\r\n\r\n"},
		"http":         {NewHTTPProxy(w.near, quiet, nil).Serve, "GET http://10.9.0.1/endless HTTP/1.0\r\n\r\n"},
		"http connect": {NewHTTPProxy(w.near, quiet, nil).Serve, "CONNECT 10.9.0.1:80 HTTP/1.1\r\nHost: x\r\n\r\nGET /endless HTTP/1.0\r\n\r\n"},
	} {
		addr, stop := start(t, c.front)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(conn, c.ask)
		if _, err := io.CopyN(io.Discard, conn, 1<<20); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		stop()
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: connection is open after the end of Serve", name)
		}
		conn.Close()
	}
}

func TestUDPNeverBypasses(t *testing.T) {
	w := newWorld(t)
	c, err := w.near.listenUDP(true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 53}); err == nil {
		t.Error("the stack itself sent a datagram that no route covers")
	}
}

func TestCheckBind(t *testing.T) {
	for addr, want := range map[string][2]bool{ // without credentials, with
		"127.0.0.1:1080": {true, true}, "[::1]:0": {true, true}, "localhost:1": {true, true}, "127.9.9.9:1": {true, true},
		"0.0.0.0:1080": {false, true}, ":1080": {false, true}, "192.0.2.1:1": {false, true}, "[::]:1": {false, true}, "example.com:1": {false, true},
		"127.0.0.1": {false, false}, "127.0.0.1:x": {false, false}, "127.0.0.1:70000": {false, false}, "": {false, false},
	} {
		for i, with := range []bool{false, true} {
			if err := CheckBind(addr, with); (err == nil) != want[i] {
				t.Errorf("CheckBind(%q, %v): %v", addr, with, err)
			}
		}
	}
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	c := Credentials{"me", "hush"}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "c", c)
	if all := fmt.Sprintf("%v %+v %#v %s", c, c, c, &log); strings.Contains(all, "hush") {
		t.Errorf("password shows in %s", all)
	}
	if (Credentials{}).match("", "") {
		t.Error("empty credentials match")
	}
}

func TestParseForward(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8080=10.0.0.5:80":    "127.0.0.1:8080=10.0.0.5:80",
		"8080=db.corp.example:5432":     "127.0.0.1:8080=db.corp.example:5432",
		"[::1]:0=[fd00::5]:22":          "[::1]:0=[fd00::5]:22",
		"localhost:80=h_1:080":          "localhost:80=h_1:80",
		"8080":                          "",
		"8080=":                         "",
		"=10.0.0.5:80":                  "",
		"8080=10.0.0.5":                 "",
		"8080=10.0.0.5:0":               "",
		"8080=:80":                      "",
		":8080=10.0.0.5:80":             "",
		"example.com:8080=10.0.0.5:80":  "",
		"99999=10.0.0.5:80":             "",
		"8080=fd00::5:80":               "",
		"8080=a..b:80":                  "",
		"8080=a b:80":                   "",
		"8080=10.0.0.5:80=10.0.0.6:80":  "",
		"127.0.0.1:1=h:1\r\nX-Bad: yes": "",
	} {
		got, err := ParseForward(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q was taken as %v", text, got)
		case want == "" && !strings.Contains(err.Error(), "bad forward"):
			t.Errorf("%q: %v", text, err)
		case want != "" && (err != nil || got.String() != want):
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
}

func FuzzParseForward(f *testing.F) {
	for _, seed := range []string{"8080=10.0.0.5:80", "[::1]:1=h.example:2", "=", "a=b", "1=[fe80::1%eth0]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		forward, err := ParseForward(text)
		if err != nil {
			return
		}
		again, err := ParseForward(forward.String())
		if err != nil || again != forward {
			t.Errorf("%q gives %v, which gives %v, %v", text, forward, again, err)
		}
	})
}

func FuzzSOCKS5(f *testing.F) {
	f.Add([]byte{5, 1, 0, 1, 10, 9, 0, 1, 0, 80})
	f.Add([]byte{5, 1, 0, 4, 19: 1, 21: 80})
	f.Add(append(append([]byte{5, 3, 0, 3, 11}, "web.example"...), 0, 53))
	f.Add([]byte{0, 0, 0, 1, 10, 9, 0, 1, 0, 53, 'x'})
	f.Add([]byte{1, 2, 'm', 'e', 2, 'p', 'w'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1024 {
			return
		}
		check := func(d destination, err error) {
			if err == nil && d.addr.IsValid() == (d.name != "") {
				t.Errorf("% x: neither or both of %v and %q", b, d.addr, d.name)
			}
			if err == nil && d.addr.IsValid() {
				again, err := readDestination(bytes.NewReader(appendDestination(nil, netip.AddrPortFrom(d.addr, d.port))))
				if err != nil || again != d {
					t.Errorf("%v reads back as %v, %v", d, again, err)
				}
			}
		}
		_, to, err := readRequest(bytes.NewReader(b))
		check(to, err)
		to, payload, err := parseDatagram(b)
		check(to, err)
		if err == nil && !bytes.HasSuffix(b, payload) {
			t.Errorf("payload % x is not the end of % x", payload, b)
		}
		readGreeting(bytes.NewReader(b))
		if user, password, err := readPassword(bytes.NewReader(b)); err == nil && len(user)+len(password)+3 > len(b) {
			t.Errorf("% x gave %q and %q", b, user, password)
		}
	})
}
