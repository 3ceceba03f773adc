package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/drive"
	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
	"github.com/adit-vpn/adit/platform/outputtest"
	"github.com/adit-vpn/adit/platform/udp"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// running is an endpoint on loopback with the demo network.
type running struct {
	*Server
	dir      string
	pki      *pki.PKI
	log      *outputtest.Output
	journal  *outputtest.Output // the connection log
	text     string             // of the configuration
	via      net.Addr           // where clients dial to; nil: the listener
	key      string             // name of the clients' tls-crypt-v2 key; empty: one that is not kept
	unmarked bool               // clients cannot send their key twice
	// What clients sign in with.
	user     string
	password push.Secret
	client   func(*ovpn.Config) // changes what clients do; nil: nothing
	source   string             // address that TCP clients come from; empty: any
	peerInfo []string           // what clients say about themselves
}

// start runs an endpoint until the test ends.
func start(t *testing.T, transport string) *running { return startWith(t, transport, "") }

// startWith adds more to the configuration.
func startWith(t *testing.T, transport, more string) *running {
	t.Helper()
	return startOn(t, DefaultListen(), transport, more)
}

// startLogged has its connection log written elsewhere.
func startLogged(t *testing.T, transport string, to io.Writer) *running {
	t.Helper()
	return startAll(t, DefaultListen(), transport, "", to)
}

// startOn listens on an address; the port is any.
func startOn(t *testing.T, listen netip.AddrPort, transport, more string) *running {
	t.Helper()
	return startAll(t, listen, transport, more, nil)
}

// startAll is startOn, with the connection log in journal where it goes nowhere else.
func startAll(t *testing.T, listen netip.AddrPort, transport, more string, to io.Writer) *running {
	t.Helper()
	return startChanged(t, listen, transport, more, to, func(*Leaves) {})
}

// startChanged is startAll with other leaves.
func startChanged(t *testing.T, listen netip.AddrPort, transport, more string, to io.Writer, change func(*Leaves)) *running {
	t.Helper()
	r := &running{dir: t.TempDir(), log: &outputtest.Output{}, journal: &outputtest.Output{}}
	if to == nil {
		to = r.journal
	}
	var err error
	if r.pki, err = pki.Open(filepath.Join(r.dir, "pki")); err != nil {
		t.Fatal(err)
	}
	if err := r.pki.Init(pki.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.pki.Server(ServerName, pki.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		if _, err := r.pki.Client(name, pki.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.pki.WrapServer(); err != nil {
		t.Fatal(err)
	}
	r.text = BuiltinText(listen, transport, "userspace")
	if methods, ok := strings.CutPrefix(more, "authentication:"); ok { // in place of mutual
		more = ""
		r.text = strings.Replace(r.text, "authentication:\n  - mutual: {}\n", "authentication:"+methods, 1)
	}
	r.text += more
	cfg := r.config(t, r.text)
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	nw, err := network.NewUserspace(network.UserspaceConfig{MTU: cfg.TunMTU, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	anyPort := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }
	ctx, cancel := context.WithCancel(context.Background())
	leaves := Leaves{
		Log: log, Now: time.Now, ReadFile: os.ReadFile, Network: nw, ConnectionLog: to, EndpointID: EndpointID("test"),
		ListenUDP: func(a netip.AddrPort) ([]udp.Conn, error) {
			return udp.ListenShared(ctx, anyPort(a), 2, udp.Options{})
		},
		ListenTCP: func(a netip.AddrPort) (net.Listener, error) { return net.Listen("tcp", anyPort(a).String()) },
	}
	change(&leaves)
	r.Server, err = New(cfg, leaves)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	select {
	case <-r.Ready():
	case err := <-done:
		t.Fatalf("endpoint ended: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("endpoint: %v", err)
			}
		case <-time.After(patience):
			t.Error("the endpoint does not stop")
		}
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

// clientWrap is a client's control channel protection, with a key of its own.
func (r *running) clientWrap(t *testing.T) wrap.Method {
	t.Helper()
	server, err := r.pki.WrapServer()
	if err != nil {
		t.Fatal(err)
	}
	key, err := r.pki.WrapClient(r.key, server, 0)
	if err != nil {
		t.Fatal(err)
	}
	if r.unmarked {
		return unmarked{wrap.TLSCryptV2(key)}
	}
	return wrap.TLSCryptV2(key)
}

// unmarked is a client's method without the mark of early negotiation, as OpenVPN 2.5 has it:
// the endpoint begins a session for its first packet.
type unmarked struct{ wrap.Method }

func (m unmarked) New(server bool, _ uint32) wrap.Wrapper { return m.Method.New(server, 1<<31) }

func (r *running) config(t *testing.T, text string) Config {
	t.Helper()
	cfg, err := ParseConfig(filepath.Join(r.dir, "adit-endpoint.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// dialer is one client: a Session, its socket, and what came of it.
type dialer struct {
	events chan ovpn.Event
	inner  chan []byte // packets out of the tunnel
	done   chan error
	cancel context.CancelFunc
	conn   net.Conn
	stream bool
	data   *ovpn.Data
	mute   atomic.Bool // it is cut off, and nobody notices
}

func (r *running) tlsConfig(t *testing.T, name string) *tls.Config {
	t.Helper()
	b, err := r.pki.Bundle(name)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(b.Cert, []byte(b.Key))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.CA)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: ServerName}
}

// dial starts a client; it ends with the test.
func (r *running) dial(t *testing.T, cfg *tls.Config) *dialer {
	t.Helper()
	addr := r.Addrs()[0]
	if r.via != nil {
		addr = r.via
	}
	var from net.Dialer
	if r.source != "" {
		from.LocalAddr = &net.TCPAddr{IP: net.ParseIP(r.source)}
	}
	conn, err := from.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	// The name is not in the certificate as a subject alternative: check the chain alone.
	cfg = cfg.Clone()
	roots := cfg.RootCAs
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return err
	}
	d := &dialer{events: make(chan ovpn.Event, 16), inner: make(chan []byte, 64), done: make(chan error, 1), conn: conn, stream: addr.Network() == "tcp"}
	side := ovpn.Config{Role: ovpn.Client, TLS: cfg, Wrap: r.clientWrap(t), Stream: d.stream, ExitNotify: true, Username: r.user, Password: r.password, PeerInfo: r.peerInfo}
	if r.client != nil {
		r.client(&side)
	}
	s, err := ovpn.New(time.Now(), side)
	if err != nil {
		t.Fatal(err)
	}
	d.data = s.Data()
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	in := make(chan []byte, 64)
	var both sync.WaitGroup
	both.Go(func() { d.read(in) })
	both.Go(func() {
		d.done <- drive.Run(ctx, s, drive.Config{In: in, Send: d.send, Handle: func(_ time.Time, _ *ovpn.Session, ev ovpn.Event) error {
			d.events <- ev
			return nil
		}})
		conn.Close()
	})
	t.Cleanup(func() {
		cancel()
		both.Wait()
	})
	return d
}

func (d *dialer) send(p []byte) error {
	if d.mute.Load() {
		return nil
	}
	if d.stream {
		p = framing.Append(nil, p)
	}
	d.conn.Write(p)
	return nil
}

func (d *dialer) read(in chan<- []byte) {
	packet := func(b []byte) {
		if d.mute.Load() {
			return
		}
		b = append(make([]byte, 0, len(b)+64), b...)
		if !wire.IsData(b[0]) {
			in <- b
			return
		}
		pkts := [][]byte{b}
		if n, _ := d.data.Open(time.Now(), pkts); n == 1 {
			d.inner <- pkts[0]
		}
	}
	if d.stream {
		r := framing.NewReader(d.conn)
		for {
			got, err := r.ReadBatch(make([][]byte, 0, 16))
			for _, b := range got {
				packet(b)
			}
			if err != nil {
				return
			}
		}
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := d.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if n > 0 {
			packet(buf[:n])
		}
	}
}

// tunnel seals and sends one inner packet.
func (d *dialer) tunnel(t *testing.T, inner []byte) {
	t.Helper()
	sealed, sizes := d.data.Seal(time.Now(), nil, 0, &ovpn.List{inner}, nil)
	if len(sizes) != 1 {
		t.Fatal("no keys")
	}
	d.send(sealed)
}

// wait takes events until one of type E.
func wait[E ovpn.Event](t *testing.T, d *dialer) E {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case ev := <-d.events:
			if e, ok := ev.(E); ok {
				return e
			}
		case <-late:
			var e E
			t.Fatalf("no %T", e)
			return e
		}
	}
}

// connect dials and waits for the configuration.
func (r *running) connect(t *testing.T, name string) (*dialer, push.Reply) {
	t.Helper()
	d := r.dial(t, r.tlsConfig(t, name))
	return d, wait[ovpn.PushReply](t, d).Reply
}

// echo is an ICMP echo request.
func echo(src, dst netip.Addr, seq uint16) []byte {
	b := make([]byte, 28)
	b[0], b[8], b[9] = 0x45, 64, 1
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(b[:20]))
	b[20] = 8
	binary.BigEndian.PutUint16(b[24:], 77)
	binary.BigEndian.PutUint16(b[26:], seq)
	binary.BigEndian.PutUint16(b[22:], checksum(b[20:]))
	return b
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ping asks the demo host until it answers: an answer may come before the
// endpoint knows that the client has its keys, and is lost then.
func (d *dialer) ping(t *testing.T, me netip.Addr) {
	t.Helper()
	d.pingTo(t, me, network.DemoAddress())
}

func (d *dialer) pingTo(t *testing.T, me, dst netip.Addr) {
	t.Helper()
	late := time.After(patience)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for seq := uint16(1000); ; {
		d.tunnel(t, echo(me, dst, seq))
		select {
		case p := <-d.inner:
			if len(p) >= 28 && p[9] == 1 && netip.AddrFrom4([4]byte(p[12:])) == dst && p[20] == 0 && binary.BigEndian.Uint16(p[26:]) >= 1000 {
				return
			}
		case <-again.C:
			seq++
		case <-late:
			t.Fatal("no answer to pings")
		}
	}
}

func TestTunnel(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			t.Run("story", func(t *testing.T) { tunnelStory(t, transport) })
		})
	}
}

func tunnelStory(t *testing.T, transport string) {
	r := start(t, transport)
	d, reply := r.connect(t, "ann")
	if reply.Address != netip.MustParsePrefix("10.64.0.2/27") || reply.RouteGateway != netip.MustParseAddr("10.64.0.1") ||
		len(reply.Routes) != 1 || reply.Routes[0].Destination != network.Demo() || reply.Redirect != nil {
		t.Errorf("given %+v", reply)
	}
	me := reply.Address.Addr()

	// Spoofed and unauthorized packets come first: when the last one is answered, they
	// were seen and dropped.
	d.tunnel(t, echo(netip.MustParseAddr("10.64.0.9"), network.DemoAddress(), 1))
	d.tunnel(t, echo(me, netip.MustParseAddr("192.0.2.1"), 2))
	d.tunnel(t, echo(me, netip.MustParseAddr("10.64.0.3"), 3))
	d.ping(t, me)
	if s, n := r.drops.spoofed.Load(), r.drops.denied.Load(); s != 1 || n != 2 {
		t.Errorf("%d spoofed and %d denied packets, want 1 and 2", s, n)
	}

	// The endpoint's own address answers pings and nothing else; the one that other clients see is not this one's.
	gateway := reply.RouteGateway
	other, answer, part := echo(me, netip.MustParseAddr("10.64.0.33"), 4), echo(me, gateway, 5), echo(me, gateway, 6)
	answer[20], part[6] = 0, 0x20
	for _, p := range [][]byte{other, answer, part} {
		d.tunnel(t, p)
	}
	d.pingTo(t, me, gateway)
	if n := r.drops.denied.Load(); n != 5 {
		t.Errorf("%d denied packets, want 5", n)
	}

	list := r.Connections()
	if len(list) != 1 || list[0].Client != "ann" || list[0].Address != me || list[0].RxPackets < 4 || list[0].TxPackets < 1 || !strings.HasPrefix(list[0].Format, "AES-256-GCM") {
		t.Fatalf("connections %+v", list)
	}

	// A second client gets the next address, and its own end gives it back.
	bob, second := r.connect(t, "bob")
	if second.Address.Addr() != netip.MustParseAddr("10.64.0.3") {
		t.Errorf("second client has %s", second.Address)
	}
	bob.cancel()
	<-bob.done
	r.until(t, func() bool { return len(r.Connections()) == 1 })

	// Terminated: told to stay away.
	if got, _ := r.Terminate("", "ANN"); len(got) != 1 || got[0] != list[0].ID {
		t.Errorf("terminated %v", got)
	}
	if got, _ := r.Terminate("", "ann"); len(got) != 0 {
		t.Errorf("terminated while it ends: %v", got)
	}
	if ev := wait[ovpn.PeerExit](t, d); ev.Kind != "halt" {
		t.Errorf("told %+v", ev)
	}
	r.until(t, func() bool { return len(r.Connections()) == 0 })
	if got, _ := r.Terminate(list[0].ID, ""); len(got) != 0 {
		t.Errorf("terminated twice: %v", got)
	}
}

func containsLog(r *running, text string) bool { return strings.Contains(r.log.String(), text) }

// until polls what has no event.
func (r *running) until(t *testing.T, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("it does not happen")
		}
	}
}

func TestReload(t *testing.T) {
	r := start(t, "udp")
	d, reply := r.connect(t, "ann")
	me := reply.Address.Addr()

	// Rules change under live sessions.
	closed := strings.Replace(r.text, "10.98.0.0/24, all: true", "10.97.0.0/24, all: true", 1)
	if n, err := r.Reload(t.Context(), r.config(t, closed)); err != nil || n != 0 {
		t.Fatalf("reset %d, %v", n, err)
	}
	d.tunnel(t, echo(me, network.DemoAddress(), 1))
	r.until(t, func() bool { return r.drops.denied.Load() == 1 })

	// What cannot change leaves all as it was.
	moved := strings.Replace(r.text, "127.0.0.1:1194", "127.0.0.1:1195", 1)
	if _, err := r.Reload(t.Context(), r.config(t, moved)); err == nil || !strings.Contains(err.Error(), "listen cannot change") {
		t.Errorf("got %v", err)
	}
	lost := r.text + "server_certificate: {cert: none.crt, key: none.key}\n"
	if _, err := r.Reload(t.Context(), r.config(t, lost)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if len(r.Connections()) != 1 {
		t.Fatal("a failed reload ended a session")
	}

	// What was pushed changed: the client is told, and goes on.
	r.text += "push_update: true\n"
	full := strings.Replace(r.text, "split_tunnel: true", "split_tunnel: false", 1)
	if n, err := r.Reload(t.Context(), r.config(t, full)); err != nil || n != 0 {
		t.Fatalf("reset %d, %v", n, err)
	}
	if now := wait[ovpn.PushUpdate](t, d).Reply; now.Redirect == nil || !now.Redirect.Def1 || len(now.Routes) != 0 || now.Address != reply.Address {
		t.Errorf("updated to %+v", now)
	}
	servers := r.text + "dns_servers: [10.98.0.1]\n"
	if n, err := r.Reload(t.Context(), r.config(t, servers)); err != nil || n != 0 {
		t.Fatalf("reset %d, %v", n, err)
	}
	if now := wait[ovpn.PushUpdate](t, d).Reply; now.Redirect != nil || len(now.Routes) != 1 || len(now.DNS.Servers) != 1 {
		t.Errorf("updated to %+v", now)
	}
	d.ping(t, me)

	// One that cannot be told is reset, and its new session has it.
	p := r.peers.all()[0]
	p.adopting.Lock()
	p.updatable = false
	p.adopting.Unlock()
	if n, err := r.Reload(t.Context(), r.config(t, full)); err != nil || n != 1 {
		t.Fatalf("reset %d, %v", n, err)
	}
	if ev := wait[ovpn.PeerExit](t, d); ev.Kind != "restart" || !ev.KeepCredentials || ev.Reason != "the configuration changed" {
		t.Errorf("told %+v", ev)
	}
	r.until(t, func() bool { return len(r.peers.all()) == 0 })
	d, reply = r.connect(t, "ann")
	if reply.Redirect == nil || !reply.Redirect.Def1 || len(reply.Routes) != 0 {
		t.Errorf("given %+v", reply)
	}

	// Revoked: the session is reset and cannot come back; others can.
	if err := r.pki.Revoke("ann"); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Reload(t.Context(), r.config(t, full)); err != nil || n != 1 {
		t.Fatalf("reset %d, %v", n, err)
	}
	wait[ovpn.PeerExit](t, d)
	r.connect(t, "bob")
}

// TestRefused: the endpoint's log names the reason, and nothing is left behind.
func TestRefused(t *testing.T) {
	r := start(t, "udp")
	other := start(t, "udp")
	strange := r.tlsConfig(t, "ann")
	strange.Certificates = other.tlsConfig(t, "ann").Certificates
	none := r.tlsConfig(t, "ann")
	none.Certificates = nil
	revoked := r.tlsConfig(t, "bob")
	server := r.tlsConfig(t, ServerName)
	if err := r.pki.Revoke("bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  *tls.Config
		log  string
	}{
		{"another CA", strange, "unknown authority"},
		{"no certificate", none, "didn't provide a certificate"},
		{"revoked", revoked, "revoked: bob"},
		{"server certificate", server, "incompatible key usage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := r.dial(t, tt.cfg)
			r.until(t, func() bool { return strings.Contains(r.log.String(), tt.log) })
			d.cancel()
			<-d.done
		})
	}
	r.until(t, func() bool { return len(r.peers.all()) == 0 })
	if n := r.Metrics().AuthenticationFailures; n != 4 {
		t.Errorf("%d authentication failures counted", n)
	}
}

func TestExhausted(t *testing.T) {
	r := start(t, "udp")
	p := r.gen.Load().pool
	for {
		if _, err := p.lease(r.gen.Load().layout, nil, ""); err != nil {
			break
		}
	}
	d := r.dial(t, r.tlsConfig(t, "ann"))
	if ev := wait[ovpn.AuthFailed](t, d); !strings.Contains(ev.Reason, "no free address") {
		t.Errorf("told %q", ev.Reason)
	}
	r.until(t, func() bool { return len(r.peers.all()) == 0 })
}

// TestBanner: clients are given it at each new session; another text resets and updates nobody.
func TestBanner(t *testing.T) {
	r := startWith(t, "udp", "push_update: true\nbanner: |\n  Authorized use only, ann.\n\n  無断使用を禁ず\n")
	d, reply := r.connect(t, "ann")
	if got := reply.Message(); got != "Authorized use only, ann.\n\n無断使用を禁ず" {
		t.Errorf("shown %q", got)
	}
	next := strings.Replace(r.text, "Authorized", "No unauthorized", 1)
	if n, err := r.Reload(t.Context(), r.config(t, next)); err != nil || n != 0 {
		t.Fatalf("reset %d, %v", n, err)
	}
	if containsLog(r, "client updated") {
		t.Error("the client was updated")
	}
	// With it, what can be updated still is.
	if n, err := r.Reload(t.Context(), r.config(t, next+"dns_servers: [10.98.0.1]\n")); err != nil || n != 0 {
		t.Fatalf("reset %d, %v", n, err)
	}
	if now := wait[ovpn.PushUpdate](t, d).Reply; len(now.DNS.Servers) != 1 {
		t.Errorf("updated to %+v", now)
	}
	if _, reply := r.connect(t, "bob"); !strings.HasPrefix(reply.Message(), "No unauthorized use only") {
		t.Errorf("shown %q", reply.Message())
	}
}

// TestRouteEnforcement: clients learn of it when a session begins, so that a change resets all.
func TestRouteEnforcement(t *testing.T) {
	r := start(t, "udp")
	if _, reply := r.connect(t, "ann"); reply.EnforceRoutes {
		t.Error("enforced without being asked")
	}
	if n, err := r.Reload(t.Context(), r.config(t, r.text+"push_update: true\nclient_route_enforcement: true\n")); err != nil || n != 1 {
		t.Fatalf("reset %d, %v", n, err)
	}
	if _, reply := r.connect(t, "bob"); !reply.EnforceRoutes {
		t.Error("not enforced")
	}
}
