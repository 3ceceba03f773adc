package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/drive"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/platformtest"
	"github.com/adit-vpn/adit/platform/portal"
	"github.com/adit-vpn/adit/platform/seal"
	"github.com/adit-vpn/adit/platform/sessions"
	"github.com/adit-vpn/adit/platform/udp"
	"github.com/adit-vpn/adit/routes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memConn is one end of a UDP path in memory, or of a TCP one through net.Conn below.
type memConn struct {
	in     chan []byte
	peer   atomic.Pointer[memConn]
	local  netip.AddrPort
	closed chan struct{}
	once   sync.Once
	reset  chan struct{} // a value makes the next ReadBatch say "connection refused"

	most      atomic.Int64 // the longest whole datagram that passes, bytes; 0 = any
	complaint int          // PathMTU
}

func memPair() (a, b *memConn) {
	a = &memConn{in: make(chan []byte, 256), closed: make(chan struct{}), reset: make(chan struct{}, 1)}
	b = &memConn{in: make(chan []byte, 256), closed: make(chan struct{}), reset: make(chan struct{}, 1)}
	a.peer.Store(b)
	b.peer.Store(a)
	return a, b
}

func (c *memConn) ReadBatch(ms []udp.Message) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.reset:
		return 0, &net.OpError{Op: "read", Err: os.NewSyscallError("recvmmsg", syscall.ECONNREFUSED)}
	case p := <-c.in:
		ms[0].N, ms[0].Segment = copy(ms[0].Buf, p), 0
		return 1, nil
	}
}

func (c *memConn) WriteBatch(ms []udp.Message) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	for _, m := range ms {
		size := m.Segment
		if size == 0 {
			size = m.N
		}
		for rest := m.Buf[:m.N]; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			select {
			case <-c.closed:
				return net.ErrClosed
			case c.peer.Load().in <- append([]byte(nil), rest[:min(size, len(rest))]...):
			default: // a full queue loses packets
			}
		}
	}
	return nil
}

func (c *memConn) WriteWhole(m udp.Message) error {
	if most := int(c.most.Load()); most > 0 && m.N > most {
		return nil // lost
	}
	return c.WriteBatch([]udp.Message{m})
}

func (c *memConn) PathMTU() int              { return c.complaint }
func (c *memConn) BatchSize() int            { return 8 }
func (c *memConn) BufferSize() int           { return 65535 }
func (c *memConn) LocalAddr() netip.AddrPort { return c.local }
func (c *memConn) Close() error              { c.once.Do(func() { close(c.closed) }); return nil }

// server is an OpenVPN server that lives in the test. It echoes inner packets.
type server struct {
	t   *testing.T
	pki *ovpntest.PKI

	mu        sync.Mutex
	config    func(*ovpn.Config)                    // edits the configuration of new sessions
	answer    func(*ovpn.Session, ovpn.Event) error // instead of the usual answer when it returns errHandled
	silent    bool                                  // packets to it vanish
	refused   bool                                  // nobody listens
	noRoute   bool                                  // no network leads to anybody
	noDNS     bool                                  // the resolver does not answer
	noUDP     bool                                  // as silent, for UDP alone
	full      bool                                  // all traffic is redirected
	float     bool                                  // a new socket goes on with the session of the last one
	proxy     func(net.Conn) bool                   // what a TCP connection meets first; false ends it
	source    netip.Addr                            // of new sockets
	most      int                                   // of new sockets
	deviceMTU int                                   // of new sockets
	sessions  map[*memConn]chan func(*ovpn.Session) // that run
	numbers   map[*ovpn.Session]int                 // of those that were pushed a configuration
	dialed    []netip.AddrPort
	names     map[string][]netip.Addr // of the resolver
	asked     []string
	outside   map[string]func(device string) net.Conn // what DialPast meets: "tcp 192.0.2.1:443"

	wg sync.WaitGroup
}

var errHandled = errors.New("handled")

func newServer(t *testing.T) *server {
	return &server{t: t, source: netip.MustParseAddr("192.168.1.20"), pki: ovpntest.NewPKI(t), sessions: map[*memConn]chan func(*ovpn.Session){}, names: map[string][]netip.Addr{},
		outside: map[string]func(string) net.Conn{}, numbers: map[*ovpn.Session]int{}}
}

func (s *server) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, host)
	if s.noDNS {
		return nil, &net.DNSError{Err: "no answer", Name: host, IsTimeout: true, IsTemporary: true}
	}
	if a, ok := s.names[host]; ok {
		return a, nil
	}
	if a, ok := s.names["*"]; ok {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// DialPast finds what the test put outside; there is no resolver.
func (s *server) DialPast(_ context.Context, network string, to netip.AddrPort, device string) (net.Conn, error) {
	s.mu.Lock()
	f := s.outside[network+" "+to.String()]
	s.mu.Unlock()
	if f == nil {
		return nil, errors.New("nobody is there")
	}
	return f(device), nil
}

func (s *server) DialUDP(_ context.Context, addr netip.AddrPort, _ udp.Options) (udp.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialed = append(s.dialed, addr)
	if s.noRoute {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	}
	ours, theirs := memPair()
	ours.local = netip.AddrPortFrom(s.source, 40000)
	ours.complaint = s.deviceMTU
	ours.most.Store(int64(s.most))
	if s.float {
		for old := range s.sessions {
			ours.peer.Store(old)
			old.peer.Store(ours)
			return ours, nil
		}
	}
	if s.refused {
		ours.reset <- struct{}{}
		return ours, nil
	}
	if !s.silent && !s.noUDP {
		do := make(chan func(*ovpn.Session))
		s.sessions[theirs] = do
		cfg := s.configLocked(false)
		gone := ours.closed
		if s.float {
			gone = nil // a server does not notice
		}
		s.wg.Go(func() { s.serve(theirs, cfg, do, gone) })
	}
	return ours, nil
}

func (s *server) DialTCP(_ context.Context, addr netip.AddrPort, _ udp.Options) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialed = append(s.dialed, addr)
	if s.noRoute {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	}
	if s.refused {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	ours, wire := net.Pipe()
	if s.silent {
		s.wg.Go(func() { io.Copy(io.Discard, wire) })
		return ours, nil
	}
	a, b := memPair()
	do := make(chan func(*ovpn.Session))
	s.sessions[b] = do
	cfg, proxy := s.configLocked(true), s.proxy
	s.wg.Go(func() { s.serve(b, cfg, do, a.closed) })
	s.wg.Go(func() { // frames in
		defer a.Close()
		if proxy != nil && !proxy(wire) {
			return
		}
		for {
			var head [2]byte
			if _, err := io.ReadFull(wire, head[:]); err != nil {
				return
			}
			p := make([]byte, int(head[0])<<8|int(head[1]))
			if _, err := io.ReadFull(wire, p); err != nil {
				return
			}
			a.WriteBatch([]udp.Message{{Buf: p, N: len(p)}})
		}
	})
	s.wg.Go(func() { // frames out
		defer wire.Close()
		for {
			select {
			case <-a.closed:
				return
			case <-b.closed:
				return
			case p := <-a.in:
				if _, err := wire.Write(append([]byte{byte(len(p) >> 8), byte(len(p))}, p...)); err != nil {
					return
				}
			}
		}
	})
	return ours, nil
}

func (s *server) configLocked(stream bool) ovpn.Config {
	cfg := ovpn.Config{Role: ovpn.Server, TLS: s.pki.ServerTLS(), Stream: stream, PeerID: 7,
		Ping: 10 * time.Second, PingRestart: 60 * time.Second}
	if s.config != nil {
		s.config(&cfg)
	}
	return cfg
}

// serve runs one session until it dies or the client's socket is gone.
func (s *server) serve(c *memConn, cfg ovpn.Config, do chan func(*ovpn.Session), gone <-chan struct{}) {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	session, err := ovpn.New(time.Now(), cfg)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer session.Abort()
	inbox, work := make(chan []byte, 64), make(chan func(time.Time, *ovpn.Session) error)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-gone:
				cancel()
				return
			case <-c.closed:
				cancel()
				return
			case f := <-do:
				select {
				case work <- func(_ time.Time, s *ovpn.Session) error { f(s); return nil }:
				case <-c.closed:
					return
				}
			case p := <-c.in:
				if !wire.IsData(p[0]) {
					select {
					case inbox <- p:
					default:
					}
					continue
				}
				s.echo(session.Data(), c, p)
			}
		}
	})
	err = drive.Run(ctx, session, drive.Config{
		In: inbox, Do: work,
		Send:   func(p []byte) error { return c.WriteBatch([]udp.Message{{Buf: p, N: len(p)}}) },
		Handle: s.handle,
	})
	s.mu.Lock()
	delete(s.sessions, c)
	delete(s.numbers, session)
	s.mu.Unlock()
	c.Close()
	wg.Wait()
}

func (s *server) echo(d *ovpn.Data, c *memConn, p []byte) {
	pkts := ovpn.List{p}
	if n, _ := d.Open(time.Now(), pkts); n == 0 {
		return
	}
	sealed, sizes := d.Seal(time.Now(), nil, 0, &pkts, nil)
	if len(sizes) == 1 {
		c.WriteBatch([]udp.Message{{Buf: sealed, N: len(sealed)}})
	}
}

func (s *server) handle(now time.Time, session *ovpn.Session, ev ovpn.Event) error {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		if err := answer(session, ev); errors.Is(err, errHandled) {
			return nil
		} else if err != nil {
			return err
		}
	}
	switch ev := ev.(type) {
	case ovpn.Credentials:
		return session.Accept(now, ev.KeyID)
	case ovpn.PushRequest:
		return session.Push(now, s.replyTo(session))
	}
	return nil
}

// reply is reply as this server means it.
func (s *server) reply() push.Reply {
	r := reply()
	s.set(func() {
		if s.full {
			r.Redirect = &push.Redirect{Def1: true}
		}
	})
	return r
}

// replyTo is reply for a session: beside others it has another address and another network, as those of other servers.
func (s *server) replyTo(session *ovpn.Session) push.Reply {
	r := s.reply()
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known := s.numbers[session]
	for ; !known && slices.Contains(slices.Collect(maps.Values(s.numbers)), n); n++ {
	}
	s.numbers[session] = n
	if n > 0 {
		r.Address = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 8, byte(n), 2}), 24)
		r.RouteGateway = netip.AddrFrom4([4]byte{10, 8, byte(n), 1})
		r.Routes[0].Destination = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 98, byte(n), 0}), 24)
	}
	return r
}

// reply is what the server pushes.
func reply() push.Reply {
	return push.Reply{
		Topology: "subnet", Address: netip.MustParsePrefix("10.8.0.2/24"), RouteGateway: netip.MustParseAddr("10.8.0.1"),
		Routes: []push.Route{{Destination: netip.MustParsePrefix("10.98.0.0/24")}},
		DNS:    push.DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("10.98.0.1:53")}},
		Ping:   10 * time.Second, PingRestart: 60 * time.Second, PeerID: -1,
	}
}

// each runs f on every live session, on its goroutine.
func (s *server) each(f func(*ovpn.Session)) {
	s.mu.Lock()
	all := maps.Clone(s.sessions)
	s.mu.Unlock()
	for c, do := range all {
		select {
		case do <- f:
		case <-c.closed: // it has ended meanwhile
		}
	}
}

// set changes the server's behaviour.
func (s *server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// crash drops all sessions without a word.
func (s *server) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		c.Close()
	}
}

// profile is a client profile for this server; extra lines come first.
func (s *server) profile(extra string) string { return s.profileWith(extra, nil) }

func (s *server) profileWith(extra string, edit func(*x509.Certificate)) string {
	cert, key := ovpntest.PEM(s.t, s.pki.Issue("client", x509.ExtKeyUsageClientAuth, edit))
	return fmt.Sprintf("client\ndev tun\nnobind\nremote-cert-tls server\n%s\n<ca>\n%s</ca>\n<cert>\n%s</cert>\n<key>\n%s</key>\n",
		extra, s.pki.CA(), cert, key)
}

// underlay is the machine under test.
func underlay() routes.Facts {
	return routes.Facts{
		Routes: []routes.UnderlayRoute{
			{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.168.1.1"), Device: "eth0"},
			{Destination: netip.MustParsePrefix("192.168.1.0/24"), Device: "eth0"},
		},
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.1.20/24")},
	}
}

// stage is a service with everything around it in memory.
type stage struct {
	*Service
	t      *testing.T
	server *server
	dir    string
	etc    string // the administrator's folder; empty: there is none
	end    context.CancelCauseFunc
	done   chan error

	sessions func(context.Context, func([]sessions.User)) error // nil: nobody can tell
	changes  func(context.Context, func()) error                // nil: nobody tells
	sealer   seal.Sealer                                        // of the next start

	mu      sync.Mutex
	asleep  time.Duration
	stepped time.Duration // by which somebody has set the clock
	portal  portal.State
	facts   routes.Facts // of new hosts
	offline bool
	hosts   map[string]*platformtest.Host
	named   []string                // of hosts, in the order in which they came
	left    map[string]routes.Guard // what hosts find closed
	failed  map[string]error        // for new hosts: call → error
	slow    time.Duration           // how long it takes to make a tunnel's
}

var (
	alice = api.Caller{Account: "1000", Name: "alice", Member: true}
	bob   = api.Caller{Account: "1001", Name: "bob", Member: true}
	root  = api.Caller{Account: "0", Name: "root", Root: true, Member: true}
)

// inBubble runs a test under a fake clock that starts when the certificates are valid.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(ovpntest.Epoch()))
		f(t)
	})
}

// newStage starts a service; it is stopped and waited for at the test's end.
func newStage(t *testing.T, s *server, dir string) *stage {
	t.Helper()
	return newStageWith(t, s, dir, "")
}

// newStageWith is newStage with an administrator's folder.
func newStageWith(t *testing.T, s *server, dir, etc string) *stage {
	t.Helper()
	st := &stage{t: t, server: s, dir: dir, etc: etc, facts: underlay(), hosts: map[string]*platformtest.Host{}, failed: map[string]error{}}
	st.start()
	t.Cleanup(func() {
		st.stop()
		s.crash()
		s.wg.Wait()
	})
	return st
}

func (st *stage) start() {
	var err error
	var profiles fs.FS
	var policy PolicySource
	if st.etc != "" {
		profiles = os.DirFS(filepath.Join(st.etc, "profiles"))
		policy = PolicyFile(os.DirFS(st.etc), "policy.json", "policy.json")
	}
	st.Service, err = NewService(ServiceConfig{
		Policy: policy, ManagedProfiles: profiles, ManagedChanges: st.changes,
		Sessions: st.sessions,
		Portal:   func(context.Context) portal.State { st.mu.Lock(); defer st.mu.Unlock(); return st.portal },
		Handover: filepath.Join(st.dir, "handover"),
		StateDir: st.dir, Sealer: st.sealer, Dialer: st.server, Resolver: st.server, Version: "test",
		Asleep:  func() time.Duration { st.mu.Lock(); defer st.mu.Unlock(); return st.asleep },
		Wall:    func() time.Time { st.mu.Lock(); defer st.mu.Unlock(); return time.Now().Round(0).Add(st.stepped) },
		Offline: func() bool { st.mu.Lock(); defer st.mu.Unlock(); return st.offline },
		Log:     slog.New(slog.NewTextHandler(testLog{st.t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Hosts: func(name string, _ *slog.Logger) (platform.Host, error) {
			if name != trustHost {
				time.Sleep(st.slowness())
			}
			st.mu.Lock()
			defer st.mu.Unlock()
			if err := st.failed["Hosts"]; err != nil {
				return nil, err
			}
			h := platformtest.NewHost(st.facts)
			if g, ok := st.left[name]; ok {
				h.LeaveGuard(g)
			}
			for call, err := range st.failed {
				h.Fail(call, err)
			}
			st.hosts[name] = h
			if name != "explain" && name != trustHost && !slices.Contains(st.named, name) {
				st.named = append(st.named, name)
			}
			return h, nil
		},
	})
	if err != nil {
		st.t.Fatal(err)
	}
	maps.DeleteFunc(st.left, func(name string, _ routes.Guard) bool { return !st.Keeps(name) }) // as the clean-up before a start does
	var ctx context.Context
	ctx, st.end = context.WithCancelCause(context.Background())
	st.done = make(chan error, 1)
	go func(s *Service, done chan error) { done <- s.Run(ctx) }(st.Service, st.done)
	synctest.Wait()
}

func (st *stage) slowness() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.slow
}

// delay is how long it takes from here on to make a tunnel's host.
func (st *stage) delay(d time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.slow = d
}

// stop ends the service as SIGTERM does; it may be called twice.
func (st *stage) stop() { st.stopFor(nil) }

// stopFor is stop for a reason.
func (st *stage) stopFor(cause error) {
	st.end(cause)
	if err, ok := <-st.done; ok {
		close(st.done)
		if err != nil {
			st.t.Errorf("Run: %v", err)
		}
	}
}

// hostCalled is the newest of that name; nil for none.
func (st *stage) hostCalled(name string) *platformtest.Host {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.hosts[name]
}

// nameOf is that of the i-th Host.
func (st *stage) nameOf(i int) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.named[i]
}

func (st *stage) host(i int) *platformtest.Host {
	st.mu.Lock()
	defer st.mu.Unlock()
	if i >= len(st.named) {
		return nil
	}
	return st.hosts[st.named[i]]
}

// add imports a profile for a caller.
func (st *stage) add(c api.Caller, name, text string) {
	st.t.Helper()
	if _, err := st.Import(c, api.ImportRequest{Name: name, Text: text}); err != nil {
		st.t.Fatal(err)
	}
}

// setting changes a setting of a caller's profile.
func (st *stage) setting(c api.Caller, name, change string) {
	st.t.Helper()
	if _, err := st.Set(c, name, []string{change}); err != nil {
		st.t.Fatal(err)
	}
}

// connect asks for a tunnel.
func (st *stage) connect(c api.Caller, name string) {
	st.t.Helper()
	if err := st.Connect(c, api.ConnectRequest{Profile: name}); err != nil {
		st.t.Fatal(err)
	}
}

// until waits in fake time until the caller's connection is as wanted.
func (st *stage) until(c api.Caller, name, what string, d time.Duration, ok func(api.Connection) bool) api.Connection {
	st.t.Helper()
	var last api.Connection
	for end := time.Now().Add(d); ; time.Sleep(50 * time.Millisecond) {
		synctest.Wait()
		for _, conn := range st.Status(c).Connections {
			if conn.Profile == name {
				last = conn
				if ok(conn) {
					return conn
				}
			}
		}
		if time.Now().After(end) {
			st.t.Fatalf("not %s within %v: %s, %+v", what, d, last.State, last.Problem)
		}
	}
}

func (st *stage) untilState(c api.Caller, name string, s api.State, d time.Duration) api.Connection {
	st.t.Helper()
	return st.until(c, name, string(s), d, func(conn api.Connection) bool { return conn.State == s })
}

// blocked waits until the connection has ended for good behind its closed guard: nothing of the plan but the guard is left,
// and the wish stays.
func (st *stage) blocked(c api.Caller, name, code string) api.Connection {
	st.t.Helper()
	conn := st.untilState(c, name, api.Blocked, 5*time.Minute)
	if conn.Problem == nil || conn.Problem.Code != code {
		st.t.Errorf("problem %+v, want %s", conn.Problem, code)
	}
	plan := st.hostCalled(hostOf(key{ownerOf(c), name})).Current()
	if plan.Guard.IsZero() || len(plan.Addresses)+len(plan.Routes)+len(plan.Around) > 0 || !plan.DNS.IsZero() {
		st.t.Errorf("while it is blocked the plan is %+v", plan)
	}
	if !slices.ContainsFunc(st.store.wanted(), func(w wish) bool { return w.Profile == name }) {
		st.t.Error("the wish is forgotten")
	}
	return conn
}

// testLog writes the service's log to the test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(string(b[:len(b)-1]))
	return len(b), nil
}

// ping sends one inner packet from the machine and says whether its echo came back.
func ping(t *testing.T, h *platformtest.Host, text string) bool {
	t.Helper()
	out := h.Outside()
	t.Cleanup(func() { out.Close() })
	got := make(chan string, 1)
	go func() {
		p, _ := out.Receive()
		got <- string(p)
	}()
	if err := out.Send([]byte(text)); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-got:
		return p == text
	case <-time.After(3 * time.Second):
		return false
	}
}
