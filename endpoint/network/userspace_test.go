package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	gipv4 "gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	gipv6 "gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	gicmp "gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/platform/outputtest"
	"github.com/adit-vpn/adit/platform/userspace"
)

var (
	clientAddr  = netip.MustParseAddr("10.64.0.2")
	clientAddr6 = netip.MustParseAddr("fd64::2")
)

// wanted serves one slice with the given ranges.
func wanted(networks ...string) Wanted {
	w := Wanted{ClientCIDR: netip.MustParsePrefix("10.64.0.0/22"), ClientCIDR6: netip.MustParsePrefix("fd64::/64"),
		Gateways: []netip.Prefix{netip.MustParsePrefix("10.64.0.1/27")}}
	a := Association{Subnet: "subnet-a", Slices: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/27")}}
	for _, n := range networks {
		a.Networks = append(a.Networks, netip.MustParsePrefix(n))
	}
	w.Associations = []Association{a, {Subnet: DemoSubnet, Networks: []netip.Prefix{Demo()}}}
	return w
}

// pair is a client's stack joined to a userspace network.
type pair struct {
	t      *testing.T
	net    *Userspace
	client *stack.Stack
}

func newPair(t *testing.T, c UserspaceConfig, w Wanted) *pair {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	u, err := NewUserspace(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Apply(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	link := userspace.NewLink(1400)
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			gipv4.NewProtocolWithOptions(gipv4.Options{AllowExternalLoopbackTraffic: true}), gipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, gicmp.NewProtocol4},
	})
	if err := s.CreateNIC(1, link.Endpoint()); err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{clientAddr, clientAddr6} {
		proto := gipv4.ProtocolNumber
		if a.Is6() {
			proto = gipv6.ProtocolNumber
		}
		if err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: proto,
			AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
	}
	zero4, _ := tcpip.NewSubnet(tcpip.AddrFrom4([4]byte{}), tcpip.MaskFromBytes(make([]byte, 4)))
	zero6, _ := tcpip.NewSubnet(tcpip.AddrFrom16([16]byte{}), tcpip.MaskFromBytes(make([]byte, 16)))
	s.SetRouteTable([]tcpip.Route{{Destination: zero4, NIC: 1}, {Destination: zero6, NIC: 1}})
	var wg sync.WaitGroup
	wg.Go(func() { pump(t, u.Queues()[0], link) })
	wg.Go(func() { pump(t, link, u.Queues()[0]) })
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		link.Close()
		wg.Wait()
		s.Close()
		s.Wait()
		goleak.VerifyNone(t, ignore)
	})
	return &pair{t, u, s}
}

func pump(t *testing.T, to, from platform.TUN) {
	pkts := make([]offload.Packet, from.BatchSize())
	var cut offload.Train
	for {
		n, err := from.Read(pkts)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				t.Error(err)
			}
			return
		}
		var out [][]byte
		cut.Reset(pkts[:n])
		for p := cut.Next(); p != nil; p = cut.Next() {
			out = append(out, bytes.Clone(p))
		}
		if _, err := to.Write(out); err != nil {
			return
		}
	}
}

func full(a netip.AddrPort) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	proto := gipv4.ProtocolNumber
	if a.Addr().Is6() {
		proto = gipv6.ProtocolNumber
	}
	return tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}, proto
}

func (p *pair) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	to, proto := full(ap)
	if network == "udp" {
		c, err := gonet.DialUDP(p.client, nil, &to, proto)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := gonet.DialContextTCP(ctx, p.client, to, proto)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (p *pair) mustDial(network, addr string) net.Conn {
	p.t.Helper()
	c, err := p.dial(p.t.Context(), network, addr)
	if err != nil {
		p.t.Fatalf("dial %s: %v", addr, err)
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

func (p *pair) get(url string) (string, error) {
	tr := &http.Transport{DialContext: p.dial, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr, Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// ping sends an echo request with an ICMP endpoint of the client's stack.
func (p *pair) ping(to string, data []byte, wait time.Duration) error {
	p.t.Helper()
	var wq waiter.Queue
	ep, terr := p.client.NewEndpoint(gicmp.ProtocolNumber4, gipv4.ProtocolNumber, &wq)
	if terr != nil {
		p.t.Fatal(terr)
	}
	defer ep.Close()
	addr, _ := full(netip.AddrPortFrom(netip.MustParseAddr(to), 0))
	if terr := ep.Connect(addr); terr != nil {
		p.t.Fatal(terr)
	}
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	request, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 7, Seq: 9, Data: data}}).Marshal(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, terr := ep.Write(bytes.NewReader(request), tcpip.WriteOptions{}); terr != nil {
		p.t.Fatal(terr)
	}
	select {
	case <-readable:
	case <-time.After(wait):
		return errors.New("no answer")
	}
	var answer bytes.Buffer
	if _, terr := ep.Read(&answer, tcpip.ReadOptions{}); terr != nil {
		return errors.New(terr.String())
	}
	m, err := icmp.ParseMessage(1, answer.Bytes())
	if err != nil {
		return err
	}
	if echo, ok := m.Body.(*icmp.Echo); !ok || m.Type != ipv4.ICMPTypeEchoReply || echo.Seq != 9 || !bytes.Equal(echo.Data, data) {
		return fmt.Errorf("wrong answer %+v", m)
	}
	return nil
}

func TestDemo(t *testing.T) {
	p := newPair(t, UserspaceConfig{}, wanted())
	page, err := p.get("http://10.98.0.1/hello%3Cb%3E")
	if err != nil || !strings.Contains(page, clientAddr.String()) || !strings.Contains(page, "/hello&lt;b&gt;") {
		t.Errorf("page %q, %v", page, err)
	}
	if ip, err := p.get("http://10.98.0.1/ip"); err != nil || ip != "10.64.0.2\n" {
		t.Errorf("ip %q, %v", ip, err)
	}
	if b, err := p.get("http://10.98.0.1/bytes?n=3000000"); err != nil || len(b) != 3000000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if b, err := p.get("http://10.98.0.1/bytes?n=1073741825"); err != nil || !strings.HasPrefix(b, "n must be") {
		t.Errorf("too many bytes: %q, %v", b, err)
	}
	for _, target := range []string{"10.98.0.1", "10.64.0.1"} {
		if err := p.ping(target, []byte("are you there"), 2*time.Second); err != nil {
			t.Errorf("ping %s: %v", target, err)
		}
	}
	if err := p.ping("10.98.0.2", nil, 50*time.Millisecond); err == nil {
		t.Error("a host that is not there answers")
	}
	for _, addr := range []string{"10.98.0.1:81", "10.98.0.2:80"} {
		if _, err := p.dial(t.Context(), "tcp", addr); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		for name, want := range map[string]dnsmessage.RCode{"demo.adit.test.": 0, "WhoAmI.adit.test.": 0, "example.com.": dnsmessage.RCodeNameError} {
			m := p.lookup(network, name)
			if m.RCode != want || (want == 0) != (len(m.Answers) == 1) {
				t.Errorf("%s over %s: %v", name, network, m.GoString())
			} else if want == 0 && m.Answers[0].Body.(*dnsmessage.AResource).A != DemoAddress().As4() {
				t.Errorf("%s is at %v", name, m.Answers[0].Body)
			}
		}
	}
	// Without the association there is no demo.
	w := wanted()
	w.Associations = w.Associations[:1]
	if err := p.net.Apply(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if _, err := p.get("http://10.98.0.1/"); err == nil {
		t.Error("the demo answers without an association")
	}
}

func (p *pair) lookup(network, name string) dnsmessage.Message {
	p.t.Helper()
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 77, RecursionDesired: true}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, err := q.Pack()
	if err != nil {
		p.t.Fatal(err)
	}
	c := p.mustDial(network, "10.98.0.1:53")
	if network == "tcp" {
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	if _, err := c.Write(b); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, err := c.Read(buf)
	if err != nil {
		p.t.Fatal(err)
	}
	if buf = buf[:n]; network == "tcp" {
		buf = buf[2:]
	}
	var m dnsmessage.Message
	if err := m.Unpack(buf); err != nil || m.ID != 77 {
		p.t.Fatalf("%v, id %d", err, m.ID)
	}
	return m
}

// The server on loopback is there, and stays hidden until its range is named.
func TestLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "secret") })}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	url := "http://" + l.Addr().String()
	own := l.Addr().(*net.TCPAddr).AddrPort()

	p := newPair(t, UserspaceConfig{}, wanted("0.0.0.0/0", "::/0"))
	if b, err := p.get(url); err == nil {
		t.Errorf("0.0.0.0/0 reached loopback: %q", b)
	}
	if err := p.net.Apply(t.Context(), wanted("127.0.0.1/32")); err != nil {
		t.Fatal(err)
	}
	if b, err := p.get(url); err != nil || b != "secret" {
		t.Errorf("the named range: %q, %v", b, err)
	}
	q := newPair(t, UserspaceConfig{Own: []netip.AddrPort{own}}, wanted("127.0.0.0/8"))
	if b, err := q.get(url); err == nil {
		t.Errorf("127.0.0.0/8 reached the endpoint's own listener: %q", b)
	}
}

func TestForward(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan *net.TCPConn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c.(*net.TCPConn)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	p := newPair(t, UserspaceConfig{}, wanted("127.0.0.0/8"))

	// Half close: the client says that it is through, and still hears the answer.
	c := p.mustDial("tcp", l.Addr().String())
	target := <-accepted
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer target.Close()
		got, err := io.ReadAll(target)
		if err != nil || !bytes.Equal(got, big) {
			t.Errorf("target got %d bytes, %v", len(got), err)
		}
		target.Write([]byte("thank you"))
	})
	if _, err := c.Write(big); err != nil {
		t.Fatal(err)
	}
	if err := c.(*gonet.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "thank you" {
		t.Errorf("client got %q, %v", got, err)
	}
	wg.Wait()

	// A reset comes through as a reset.
	c = p.mustDial("tcp", l.Addr().String())
	target = <-accepted
	target.SetLinger(0)
	target.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after a reset: %v", err)
	}

	// Nobody listens: refused, at once.
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	if _, err := p.dial(t.Context(), "tcp", dead.Addr().String()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("closed port: %v", err)
	}

	// What is not served any more is cut.
	c = p.mustDial("tcp", l.Addr().String())
	target = <-accepted
	defer target.Close()
	if err := p.net.Apply(t.Context(), wanted()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived its association")
	}
}

// The next client with the address must not get the answers to this one.
func TestForget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	p := newPair(t, UserspaceConfig{}, wanted("127.0.0.1/32"))
	stream, datagrams := p.mustDial("tcp", l.Addr().String()), p.mustDial("udp", far.LocalAddr().String())
	if _, err := datagrams.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := far.ReadFrom(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	p.net.Forget(netip.MustParseAddr("10.64.0.3"), netip.Addr{})
	if n := p.net.Flows(); n != 2 {
		t.Fatalf("%d flows after another client left", n)
	}
	p.net.Forget(clientAddr, clientAddr6)
	if _, err := stream.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a stream of a client that left: %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); p.net.Flows() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("flows of a client that left stay")
		}
	}
}

func TestForwardUDP(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			server.WriteTo(append([]byte("echo "), buf[:n]...), from)
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
	p := newPair(t, UserspaceConfig{Limits: Limits{UDPIdle: 500 * time.Millisecond, UDPOnce: 500 * time.Millisecond}}, wanted("127.0.0.1/32"))
	c := p.mustDial("udp", server.LocalAddr().String())
	buf := make([]byte, 2000)
	for _, word := range []string{"one", "two"} {
		if _, err := c.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "echo "+word {
			t.Errorf("got %q, %v", buf[:n], err)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); p.net.Flows() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an idle flow stays open")
		}
	}
	// A refused destination answers with port unreachable.
	c = p.mustDial("udp", "192.0.2.1:9")
	c.Write([]byte("x"))
	for deadline := time.Now().Add(5 * time.Second); ; { // gonet does not wake for errors, it only returns them
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := c.Read(buf)
		if err == nil || time.Now().After(deadline) {
			t.Fatalf("refused destination: %v", err)
		}
		if strings.Contains(err.Error(), "refused") {
			break
		}
	}
}

// TestUDPIdle: a flow ends when nothing has moved for its time, counted from the last packet.
func TestUDPIdle(t *testing.T) {
	l := Limits{}.withDefaults()
	packet := func(s *use, n *atomic.Int64) { n.Add(1); s.moved() }
	for name, c := range map[string]struct {
		port uint16
		use  func(s *use)
		want time.Duration // after the last packet
	}{
		"a question":           {443, func(s *use) { packet(s, &s.asked) }, 30 * time.Second},
		"a question to DNS":    {53, func(s *use) { packet(s, &s.asked) }, 30 * time.Second},
		"answered":             {443, func(s *use) { packet(s, &s.asked); packet(s, &s.answered) }, 30 * time.Second},
		"answered by DNS":      {53, func(s *use) { packet(s, &s.asked); packet(s, &s.answered) }, 10 * time.Second},
		"answered by DNS late": {53, func(s *use) { packet(s, &s.asked); time.Sleep(20 * time.Second); packet(s, &s.answered) }, 10 * time.Second},
		"one of two, by DNS":   {53, func(s *use) { packet(s, &s.asked); packet(s, &s.asked); packet(s, &s.answered) }, 2 * time.Minute},
		"something else at DNS's": {53, func(s *use) {
			for range 5 {
				packet(s, &s.asked)
				packet(s, &s.answered)
			}
		}, 2 * time.Minute},
		"one way only": {514, func(s *use) {
			for range 9 {
				packet(s, &s.asked)
				time.Sleep(25 * time.Second)
			}
		}, 5 * time.Second},
		"a conversation": {443, func(s *use) {
			for range 2 {
				packet(s, &s.asked)
				packet(s, &s.answered)
			}
		}, 2 * time.Minute},
		"one that goes on, slowly": {443, func(s *use) {
			for range 3 {
				packet(s, &s.asked)
				packet(s, &s.answered)
				time.Sleep(29 * time.Second)
			}
		}, 91 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newUse()
				over := make(chan time.Duration)
				go func() { s.untilIdle(t.Context(), c.port, &l); over <- time.Since(s.start) }()
				c.use(s)
				last := time.Since(s.start)
				if got := <-over - last; got != c.want {
					t.Errorf("ended %v later, want %v", got, c.want)
				}
			})
		})
	}
}

// TestLimitIsTold: the administrator hears that clients have too much open, and not for each packet.
func TestLimitIsTold(t *testing.T) {
	far, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	log := &outputtest.Output{}
	said := func(what string) int { return strings.Count(log.String(), what) }
	p := newPair(t, UserspaceConfig{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Limits: Limits{UDP: 2, UDPOnce: time.Hour, DNSIdle: time.Hour}}, wanted("127.0.0.1/32"))
	for range 5 {
		if _, err := p.mustDial("udp", far.LocalAddr().String()).Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); said("msg=refused") < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d refused", said("msg=refused"))
		}
	}
	if n := said("level=WARN"); n != 1 || said(`why="2 udp flows are open"`) != 4 {
		t.Errorf("%d warnings: %s", n, log)
	}
}

func TestForwardEcho(t *testing.T) {
	socket, _, _, err := newPinger().socket(true, netip.Addr{})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("this system permits no ICMP sockets: %v", err)
	}
	socket.Close()
	p := newPair(t, UserspaceConfig{}, wanted("127.0.0.1/32"))
	for range 2 {
		if err := p.ping("127.0.0.1", []byte("through a real socket"), 2*time.Second); err != nil {
			t.Error(err)
		}
	}
	if err := p.ping("127.0.0.2", nil, 50*time.Millisecond); err == nil {
		t.Error("127.0.0.2 was not named and answers")
	}
}

func TestLimits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newPair(t, UserspaceConfig{Limits: Limits{PerClient: 2, TCPIdle: time.Second}}, wanted("127.0.0.1/32"))
	first := p.mustDial("tcp", l.Addr().String())
	p.mustDial("tcp", l.Addr().String())
	if _, err := p.dial(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("a third connection of the client was made")
	}
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("an idle connection: %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); p.net.Flows() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("idle connections stay")
		}
	}
	p.mustDial("tcp", l.Addr().String())
}

func TestPolicy(t *testing.T) {
	local := &locals{list: func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(192, 168, 1, 7), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)},
			&net.IPNet{IP: net.ParseIP("2001:db8::7"), Mask: net.CIDRMask(64, 128)}}, nil
	}}
	own := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1194"), netip.MustParseAddrPort("192.168.1.7:8008")}
	for _, c := range []struct {
		named, routed, dst string
		want               bool
	}{
		{"", "", "203.0.113.5:80", false},
		{"203.0.113.0/24", "", "203.0.113.5:80", true},
		{"203.0.113.0/24", "", "203.0.114.5:80", false},
		{"", "0.0.0.0/0", "203.0.113.5:80", true},
		{"", "::/0", "[2001:db8:1::5]:80", true},
		{"", "0.0.0.0/0", "[2001:db8:1::5]:80", false},
		{"0.0.0.0/0", "0.0.0.0/0", "127.0.0.1:80", false},
		{"0.0.0.0/0", "127.0.0.0/8", "127.0.0.1:80", false}, // a route names no range
		{"96.0.0.0/3", "", "127.0.0.1:80", false},
		{"127.0.0.0/8", "", "127.0.0.1:80", true},
		{"127.0.0.2/32", "", "127.0.0.1:80", false},
		{"0.0.0.0/0", "", "169.254.169.254:80", false},
		{"169.254.169.254/32", "", "169.254.169.254:80", true},
		{"::/0", "::/0", "[::1]:80", false},
		{"::1/128", "", "[::1]:80", true},
		{"::/0", "", "[::ffff:127.0.0.1]:80", false},
		{"127.0.0.0/8", "", "[::ffff:127.0.0.1]:80", false},
		{"::/0", "", "[fe80::1]:80", false},
		{"::/0", "", "[ff02::1]:80", false},
		{"::/0", "fd00::/8", "[fd00:ec2::254]:80", false},
		{"fd00:ec2::254/128", "", "[fd00:ec2::254]:80", true},
		{"::/0", "", "[::]:80", false},
		{"0.0.0.0/0", "", "0.0.0.0:80", false},
		{"0.0.0.0/8", "", "0.1.2.3:80", false},
		{"0.0.0.0/0", "", "224.0.0.1:80", false},
		{"0.0.0.0/0", "", "255.255.255.255:80", false},
		{"0.0.0.0/0", "", "10.64.0.9:80", false}, // another client
		{"0.0.0.0/0", "0.0.0.0/0", "192.168.1.7:80", false},
		{"192.168.1.0/24", "", "192.168.1.7:80", true},
		{"::/0", "", "[2001:db8::7]:80", false},
		{"192.168.1.0/24", "", "192.168.1.255:80", false},
		{"192.168.1.0/24", "", "192.168.1.7:1194", false},
		{"192.168.1.0/24", "", "192.168.1.9:1194", true}, // another machine's
		{"192.168.1.7/32", "", "192.168.1.7:1194", true},
		{"192.168.1.0/24", "", "192.168.1.7:8008", false},
		{"127.0.0.0/8", "", "127.0.0.1:1194", false},
	} {
		w := Wanted{ClientCIDR: netip.MustParsePrefix("10.64.0.0/22"), Associations: []Association{{Subnet: "a"}}}
		if c.named != "" {
			w.Associations[0].Networks = []netip.Prefix{netip.MustParsePrefix(c.named)}
		}
		if c.routed != "" {
			w.Routes = []Route{{netip.MustParsePrefix(c.routed), "a"}}
		}
		if got := newPolicy(w, own).allows(netip.MustParseAddrPort(c.dst), local); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func FuzzPackets(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 64, 0, 2, 10, 98, 0, 1, 8, 0, 0xf7, 0xff, 0, 0, 0, 0})
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 8, 58, 64}, make([]byte, 40)...))
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 8, 44, 64}, make([]byte, 40)...))
	u, err := NewUserspace(UserspaceConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { u.Close() })
	if err := u.Apply(f.Context(), wanted()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1500 {
			return
		}
		if n, err := u.Queues()[0].Write([][]byte{b, b}); n != 2 || err != nil {
			t.Fatal(n, err)
		}
	})
}

func FuzzDNS(f *testing.F) {
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 1}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName("demo.adit.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, err := q.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if a := answerDNS(b); len(a) > 600 || a != nil && !bytes.Equal(a[:2], b[:2]) {
			t.Fatalf("%x answered with %x", b, a)
		}
	})
}
