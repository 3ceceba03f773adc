package userspace

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/routes"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is two hosts joined back to back: near is the one under test, far has
// 10.9.0.1 and fd09::1 and runs servers.
type world struct {
	near, far       *Host
	nearTUN, farTUN platform.TUN
	plan            routes.Plan
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{near: NewHost(slog.New(slog.DiscardHandler)), far: NewHost(slog.New(slog.DiscardHandler))}
	var err error
	if w.nearTUN, err = w.near.OpenTUN("", 1420); err != nil {
		t.Fatal(err)
	}
	if w.farTUN, err = w.far.OpenTUN("", 1420); err != nil {
		t.Fatal(err)
	}
	w.plan = routes.Plan{
		MTU:       1400,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.8.0.2/24"), netip.MustParsePrefix("fd08::2/64")},
		Routes: []routes.Route{
			{Destination: netip.MustParsePrefix("10.9.0.0/16")},
			{Destination: netip.MustParsePrefix("10.9.66.0/24"), Unreachable: true, Reason: "blocked"},
			{Destination: netip.MustParsePrefix("fd09::/32")},
		},
		Around: []routes.Route{{Destination: netip.MustParsePrefix("10.9.0.77/32"), Reason: "the server's own address"}},
		DNS:    routes.DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:53")}, Search: []string{"corp.example"}},
	}
	if err := w.near.Apply(t.Context(), w.plan); err != nil {
		t.Fatal(err)
	}
	farPlan := routes.Plan{
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/32"), netip.MustParsePrefix("fd09::1/128")},
		Routes: []routes.Route{
			{Destination: netip.MustParsePrefix("0.0.0.0/0")}, {Destination: netip.MustParsePrefix("::/0")},
		},
	}
	if err := w.far.Apply(t.Context(), farPlan); err != nil {
		t.Fatal(err)
	}
	join(t, w.nearTUN, w.farTUN)
	return w
}

// listen opens a TCP port on the far side.
func (w *world) listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	a := netip.MustParseAddrPort(addr)
	l, err := gonet.ListenTCP(w.far.net.stack, fullAddress(a), protocolOf(a.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveHTTP runs a web server on the far side, which answers with its caller's
// address and the request's path, host and headers.
func (w *world) serveHTTP(t testing.TB, addr string) {
	t.Helper()
	l := w.listen(t, addr)
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			rw.Write(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
			return
		case "/endless":
			for {
				if _, err := rw.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "from %s path %s host %s body %s\n", r.RemoteAddr, r.URL.Path, r.Host, body)
		for name := range r.Header {
			fmt.Fprintf(rw, "header %s\n", name)
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
}

// serveDNS runs a DNS server on the far side, by UDP and TCP.
func (w *world) serveDNS(t testing.TB) {
	t.Helper()
	zone := map[string][]string{
		"web.example.":           {"web.example. 60 IN A 10.9.0.1", "web.example. 60 IN AAAA fd09::1"},
		"six.example.":           {"six.example. 60 IN AAAA fd09::1"},
		"alias.example.":         {"alias.example. 60 IN CNAME web.example.", "web.example. 60 IN A 10.9.0.1"},
		"outside.example.":       {"outside.example. 60 IN A 198.51.100.7"},
		"partly.example.":        {"partly.example. 60 IN A 198.51.100.7", "partly.example. 60 IN A 10.9.0.1"},
		"intranet.corp.example.": {"intranet.corp.example. 60 IN A 10.9.0.1"},
	}
	var large []string
	for i := range 200 {
		large = append(large, fmt.Sprintf("large.example. 60 IN A 10.9.1.%d", i+1))
	}
	zone["large.example."] = large
	handler := dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		records, ok := zone[strings.ToLower(q.Question[0].Name)]
		if !ok {
			a.Rcode = dns.RcodeNameError
		}
		if q.Question[0].Name == "broken.example." {
			a.Rcode = dns.RcodeServerFailure
		}
		for _, text := range records {
			r, err := dns.NewRR(text)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				return
			}
			if kind := r.Header().Rrtype; kind == q.Question[0].Qtype || kind == dns.TypeCNAME {
				a.Answer = append(a.Answer, r)
			} else if a.Answer != nil && kind == q.Question[0].Qtype {
				a.Answer = append(a.Answer, r)
			}
		}
		if _, udp := rw.RemoteAddr().(*net.UDPAddr); udp {
			a.Truncate(udpPayload)
		}
		rw.WriteMsg(a)
	})
	local := fullAddress(netip.MustParseAddrPort("10.9.0.1:53"))
	pc, err := gonet.DialUDP(w.far.net.stack, &local, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*dns.Server{
		{PacketConn: pc, Handler: handler},
		{Listener: w.listen(t, "10.9.0.1:53"), Handler: handler},
	} {
		ready, done := make(chan struct{}), make(chan struct{})
		srv.NotifyStartedFunc = func() { close(ready) }
		go func() { defer close(done); srv.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() { srv.Shutdown(); <-done })
	}
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestPing(t *testing.T) {
	w := newWorld(t)
	for _, addr := range []string{"10.9.0.1", "fd09::1", "::ffff:10.9.0.1"} {
		took, err := w.near.Ping(within(t), netip.MustParseAddr(addr))
		if err != nil || took <= 0 {
			t.Errorf("%s: %v, %v", addr, took, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := w.near.Ping(short, netip.MustParseAddr("10.9.0.99")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping of nobody: %v", err)
	}
}

func TestNoRouteIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, addr := range []string{
		"198.51.100.1", "2001:db8::1", "127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "10.9.66.1", "10.9.0.77",
	} {
		a := netip.MustParseAddr(addr)
		for _, network := range []string{"tcp", "udp"} {
			c, err := w.near.DialContext(within(t), network, netip.AddrPortFrom(a, 80).String())
			if !errors.Is(err, ErrNoRoute) {
				t.Errorf("%s %s: %v, want no route", network, addr, err)
			}
			if c != nil {
				c.Close()
			}
		}
		if _, err := w.near.Ping(within(t), a); !errors.Is(err, ErrNoRoute) {
			t.Errorf("ping %s: %v, want no route", addr, err)
		}
	}
}

func TestPlanFollowed(t *testing.T) {
	w := newWorld(t)
	target := netip.MustParseAddr("10.9.0.1")
	if got := w.nearTUN.MTU(); got != 1400 {
		t.Errorf("MTU is %d, want the plan's 1400", got)
	}
	if err := w.near.Apply(t.Context(), w.plan); err != nil {
		t.Errorf("the same plan again: %v", err)
	}
	other := w.plan
	other.Addresses = []netip.Prefix{netip.MustParsePrefix("10.8.0.9/24")}
	if err := w.near.Apply(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	w.serveHTTP(t, "10.9.0.1:80")
	if got := fetch(t, w.near.DialContext, "http://10.9.0.1/"); !strings.Contains(got, "from 10.8.0.9:") {
		t.Errorf("after the address changed: %q", got)
	}
	if err := w.near.Apply(t.Context(), routes.Plan{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.near.Ping(within(t), target); !errors.Is(err, ErrNoRoute) {
		t.Errorf("after the zero plan: %v", err)
	}
	if _, err := w.near.OpenTUN("", 1400); err == nil {
		t.Error("a second TUN was opened")
	}
	if err := w.near.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.near.Ping(within(t), target); !errors.Is(err, ErrDown) {
		t.Errorf("after Close: %v", err)
	}
	if err := w.near.Apply(t.Context(), w.plan); err == nil {
		t.Error("a closed host took a plan")
	}
}

func TestReopen(t *testing.T) {
	h := NewHost(slog.New(slog.DiscardHandler))
	plan := routes.Plan{Addresses: []netip.Prefix{netip.MustParsePrefix("10.8.0.2/24")}}
	if err := h.Apply(t.Context(), plan); err == nil {
		t.Error("a plan was applied without a TUN")
	}
	for range 2 {
		tun, err := h.OpenTUN("ignored", 1500)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Apply(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		tun.Close()
		tun.Close()
		if _, err := tun.Read(make([]offload.Packet, 1)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
		if err := h.Apply(t.Context(), routes.Plan{}); err != nil {
			t.Errorf("the zero plan after Close: %v", err)
		}
		if _, err := h.DialContext(within(t), "tcp", "10.8.0.1:80"); !errors.Is(err, ErrDown) {
			t.Errorf("dial after Close: %v", err)
		}
	}
	if _, err := h.OpenTUN("", 100); err == nil {
		t.Error("an MTU of 100 was taken")
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func fetch(t testing.TB, dial dialFunc, url string) string {
	t.Helper()
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	return fetchWith(t, transport, url)
}

func fetchWith(t testing.TB, transport *http.Transport, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return string(body)
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	w.serveDNS(t)
	w.serveHTTP(t, "10.9.0.1:80")
	w.serveHTTP(t, "[fd09::1]:80")
	for name, from := range map[string]string{
		"web.example": "10.8.0.2", "six.example": "[fd08::2]", "alias.example": "10.8.0.2",
		"intranet": "10.8.0.2", "partly.example": "10.8.0.2", "WEB.example.": "10.8.0.2",
	} {
		if got := fetch(t, w.near.DialContext, "http://"+name+"/x"); !strings.Contains(got, "from "+from+":") {
			t.Errorf("%s: %q, want from %s", name, got, from)
		}
	}
	large, err := w.near.LookupHost(within(t), "large.example")
	if err != nil || len(large) != 200 {
		t.Errorf("a long answer: %d addresses, %v", len(large), err)
	}
	for name, want := range map[string]string{
		"nobody.example": "no such host", "broken.example": "SERVFAIL", "outside.example": "no route", "bad..name": "not a host name",
	} {
		c, err := w.near.DialContext(within(t), "tcp", name+":80")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if c != nil {
			c.Close()
		}
	}
	without := w.plan
	without.DNS = routes.DNS{}
	if err := w.near.Apply(t.Context(), without); err != nil {
		t.Fatal(err)
	}
	if _, err := w.near.LookupHost(within(t), "web.example"); err == nil || !strings.Contains(err.Error(), "no DNS server") {
		t.Errorf("without DNS servers: %v", err)
	}
}

func TestBadDial(t *testing.T) {
	w := newWorld(t)
	for _, c := range [][2]string{
		{"tcp", "10.9.0.1"}, {"tcp", "10.9.0.1:0"}, {"tcp", "10.9.0.1:x"}, {"tcp6", "10.9.0.1:80"}, {"unix", "10.9.0.1:80"}, {"tcp", "10.9.0.1:9"},
	} {
		if conn, err := w.near.DialContext(within(t), c[0], c[1]); err == nil {
			conn.Close()
			t.Errorf("dialled %v", c)
		}
	}
}

func TestUDP(t *testing.T) {
	w := newWorld(t)
	for _, addr := range []string{"10.9.0.1:7", "[fd09::1]:7"} {
		a := netip.MustParseAddrPort(addr)
		local := fullAddress(a)
		number := ipv4.ProtocolNumber
		if a.Addr().Is6() {
			number = ipv6.ProtocolNumber
		}
		far, err := gonet.DialUDP(w.far.net.stack, &local, nil, number)
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		c, err := w.near.DialContext(within(t), "udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		far.SetDeadline(time.Now().Add(5 * time.Second))
		// Larger than the MTU: fragments go through as well.
		sent := make([]byte, 4000)
		rand.Read(sent)
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 5000)
		n, from, err := far.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:n], sent) {
			t.Fatalf("%s: %d bytes, %v", addr, n, err)
		}
		far.WriteTo([]byte("back"), from)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "back" {
			t.Fatalf("%s: %q, %v", addr, buf[:n], err)
		}
	}
}

// TestStream moves 8 MiB in one TCP stream and checks that all arrives. How fast is
// for BenchmarkStream: a test's machine may be busy.
func TestStream(t *testing.T) {
	w := newWorld(t)
	w.stream(t, 8<<20)
	if n := w.near.net.link.Dropped(); n > 0 {
		t.Logf("%d packets dropped at the sender's link", n)
	}
}

func BenchmarkStream(b *testing.B) {
	w := newWorld(b)
	const block = 64 << 20
	b.SetBytes(block)
	for b.Loop() {
		w.stream(b, block)
	}
}

// stream sends total bytes, a multiple of 256 KiB, from near to far.
func (w *world) stream(t testing.TB, total int) {
	t.Helper()
	l := w.listen(t, "10.9.0.1:0")
	defer l.Close()
	received := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			received <- -1
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		received <- n
	}()
	c, err := w.near.DialContext(within(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 256<<10)
	for sent := 0; sent < total; sent += len(block) {
		if _, err := c.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if n := <-received; n != int64(total) {
		t.Fatalf("%d bytes arrived, want %d", n, total)
	}
}

func TestCloseWhileTransferring(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(t, "10.9.0.1:80")
	c, err := w.near.DialContext(within(t), "tcp", "10.9.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /endless HTTP/1.0\r\n\r\n")
	if _, err := io.CopyN(io.Discard, c, 1<<20); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, c); done <- err }()
	w.nearTUN.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("the cut stream ended as if it were whole")
		}
	case <-time.After(5 * time.Second):
		t.Error("a read outlived its tunnel")
	}
}
