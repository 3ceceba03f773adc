package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/drive"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/routes"
)

const (
	inboxSize   = 64               // control packets that wait for the session
	dialTimeout = 15 * time.Second // of a TCP connection
)

// attempt is one server and one Session, from the look-up of its name to its loss.
// Its steps, after what was to be closed before, and could not be:
//  0. ask a person for what the sign-in needs and nobody gave
//  1. resolve the name, go around the tunnel to a new address
//  2. dial
//  3. drive the Session, beside the inbound packet loop
//  4. at the push reply: TUN, routes, packets (connection.bringUp)
//
// It returns why it ended, never nil; when ctx ended, the session was closed gracefully.
func (c *connection) attempt(ctx context.Context) *failure {
	if err := c.begin(ctx); err != nil {
		return failureAs(err, stop)
	}
	r := c.remotes.current()
	at := scene{server: r.String(), transport: r.transport(), wrapped: r.wrap != nil}
	c.scene = at
	c.status.Server = api.Server{Name: r.host, Port: int(r.port), Transport: at.transport}
	if r.via != nil {
		at.proxy = r.via.Address()
		c.scene = at
		c.status.Server.Proxy = r.via.String()
	}
	c.publish(c.status)

	if err := c.rules().admits(r.host); err != nil {
		return failureAs(err, again)
	}
	cr, err := c.credentials(ctx)
	if err != nil {
		return failureAs(err, stop)
	}
	address, err := c.remotes.resolve(ctx, c.out != nil || c.stopsNames())
	if err != nil {
		f := c.unasked(failureAs(err, retry))
		// A resolver that answered is on some network; and a tunnel that is down still has its routes.
		if f.verdict != absent && c.out == nil && c.offline() {
			return fail(absent, api.CodeOffline, map[string]string{"server": r.hop().host}, f)
		}
		return f
	}
	c.status.Server.Address = address.Addr().String()
	c.publish(c.status)
	// What goes around the tunnel are the packets to the proxy. Those of a proxy on this machine
	// go to the server.
	around, behind := address.Addr(), netip.Addr{}
	if r.via != nil && (!r.stream || around.IsLoopback()) {
		behind = c.remotes.behind(ctx, c.out != nil)
		if around.IsLoopback() && behind.IsValid() {
			around = behind
		}
	}
	c.lookUpNetworks(ctx)
	outer := []routes.Endpoint{outerOf(r, address)}
	if around != c.server || !slices.Equal(outer, c.outer) || c.unannounced() {
		c.outer = outer
		if _, err := c.refreshFor(ctx, around); err != nil {
			return failureAs(err, stop)
		}
	}
	c.log.Info("connecting", "server", at.server, "address", address.String(), "transport", at.transport, "proxy", at.proxy)
	cfg, err := c.spec.session(r, cr)
	if err != nil {
		return failureAs(err, stop)
	}
	if err := c.constrain(cfg.TLS); err != nil {
		return failureAs(err, again)
	}
	if !c.rules().AllowRouteEnforcement {
		cfg.Filter = append(slices.Clone(cfg.Filter), push.NoEnforcement())
	}
	cfg.PeerInfo = append(cfg.PeerInfo, c.hardware(ctx, around)...)
	if r.aws && !c.stock {
		cfg.Encoding = ovpn.AWS32
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &running{c: c, cr: cr, at: at, address: address, around: around, poll: c.pollTimeout(r), cancel: cancel, inbox: make(chan []byte, inboxSize), do: make(chan work), secured: make(chan struct{}), keyed: make(chan struct{}), elsewhere: make(chan struct{}, 1)}
	a.noticeTLS(cfg.TLS)
	if err := a.dial(ctx, r, behind); err != nil {
		return failureOf(err, at)
	}
	c.scene.passed = true
	defer a.stop()
	s, err := ovpn.New(time.Now(), cfg)
	if err != nil {
		return fail(stop, api.CodeProfileUnsupported, map[string]string{"reason": err.Error()}, err)
	}
	a.start(ctx, s.Data())
	if cfg.Encoding == ovpn.AWS32 {
		a.loops.Go(func() { a.awaitKeys(ctx) })
	}
	err = drive.Run(ctx, s, drive.Config{
		In:     a.inbox,
		Do:     a.do,
		Send:   func(p []byte) error { return a.sent(ctx, a.link.send(p)) },
		Say:    func(now time.Time, m []byte) error { return a.sent(ctx, a.say(now, s.Data(), m)) },
		Handle: func(now time.Time, s *ovpn.Session, ev ovpn.Event) error { return a.handle(ctx, now, s, ev) },
	})
	at.heard, at.trusted, at.up = a.answered.Load(), a.at.trusted, c.status.State == api.Connected
	at.answered = at.heard || r.stream
	c.scene = at
	var known *failure
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, context.Canceled) || errors.As(cause, &known)) {
		err = cause
	}
	if f := a.overdue(err); f != nil {
		return f
	}
	if r.aws && a.unanswered(err) {
		c.stock = !c.stock // and back, if that is not answered either
	}
	if cfg.Encoding == ovpn.AWS32 && c.stock {
		c.log.Info("the server does not answer AWS's key exchange; trying openvpn's")
		return fail(onward, api.CodeProtocolError, map[string]string{"server": at.server}, err)
	}
	a.spend()
	return failureOf(err, at)
}

// hardware is what the server learns of the device by which packets to it leave, if the profile wants
// that (openvpn's ssl.c, push_peer_info, takes the default route's).
func (c *connection) hardware(ctx context.Context, server netip.Addr) []string {
	if !c.spec.announce {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	facts, err := c.host.Facts(ctx)
	if err != nil {
		c.log.Warn("the server is not told which machine this is", errorKey, err)
		return nil
	}
	way, _ := facts.Way(server)
	if way.Hardware == "" {
		return nil
	}
	return []string{"IV_HWADDR=" + way.Hardware}
}

// work is a function for drive.Run's goroutine.
type work = func(now time.Time, s *ovpn.Session) error

// running is an attempt that has a link.
type running struct {
	c       *connection
	cr      credentials
	at      scene
	address netip.AddrPort // of the server, or of the proxy in front of it
	around  netip.Addr     // what the plan leads around the tunnel
	cancel  context.CancelCauseFunc
	inbox   chan []byte
	do      chan work

	poll  time.Duration // for the first answer
	tls   string        // version of TLS
	limit limits

	secured chan struct{} // closed when TLS is up: from here on the credentials may be with the server
	keyed   chan struct{} // closed when the key exchange was answered
	pending pending       // what the server asks while it waits

	link  link
	track track
	// What the path carries, in bytes of a packet outside: what the profile means, what was found out (0: nothing
	// yet), and what TCP inside is fitted to (0: what the profile means).
	wanted, pathMTU, packets int
	elsewhere                chan struct{}      // a value: the path may be another one
	found                    context.CancelFunc // ends discover; nil: there is none

	floats   bool          // the server knows us by a peer id, over UDP
	grace    time.Duration // for a sign of life in another network
	receive  func(in *inbound) error
	lost     func() error              // nil, or blocks until the link is lost in a way that receive cannot see
	gone     atomic.Bool               // the link is closed or broken
	answered atomic.Bool               // something came back
	up       atomic.Bool               // the push reply came
	enforced atomic.Bool               // the server enforces its routes
	limited  atomic.Pointer[time.Time] // limits.from; nil before the tunnel is up, too
	ended    chan struct{}
	loops    sync.WaitGroup
}

// say seals and sends what the session says in the data channel.
func (a *running) say(now time.Time, data *ovpn.Data, message []byte) error {
	return a.link.within(func() error {
		a.link.Lock()
		defer a.link.Unlock()
		buf, sizes := data.SealMessage(now, nil, a.link.gap(), message, nil)
		if len(sizes) == 0 {
			return nil
		}
		return a.link.write(buf, sizes)
	})
}

// sent says which errors of sending end the session. Else it is one lost packet, which the session repeats.
func (a *running) sent(ctx context.Context, err error) error {
	switch {
	case a.gone.Load():
		return err
	case errors.Is(err, syscall.ECONNREFUSED) && !a.answered.Load():
		return errRefused
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		return errStuck
	}
	return nil
}

// dial makes the link.
func (a *running) dial(ctx context.Context, r remote, behind netip.Addr) error {
	if r.stream || r.via != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, min(dialTimeout, a.poll))
		defer cancel()
	}
	switch {
	case !r.stream && r.via != nil:
		return a.associate(ctx, r, behind)
	case r.stream:
		conn, err := a.dialTCP(ctx, r)
		if err != nil {
			return err
		}
		a.link = newStreamLink(conn, &a.c.traffic)
		a.receive = func(in *inbound) error { return in.tcp(conn) }
		return nil
	}
	conn, err := a.c.dialer.DialUDP(ctx, a.address, a.c.spec.socket)
	if err != nil {
		return err
	}
	l := newUDPLink(conn, &a.c.traffic)
	a.link = l
	a.datagrams(l)
	return nil
}

// datagrams makes l what is received from. An established tunnel survives a port that is closed for a
// moment; ping-restart decides.
func (a *running) datagrams(l *udpLink) {
	a.receive = func(in *inbound) error { return in.udp(l, func() bool { return !a.up.Load() }) }
}

// start begins the attempt's two goroutines: the inbound packet loop, and one that
// brings news of the machine to the session's goroutine. Stop waits for them.
func (a *running) start(ctx context.Context, data *ovpn.Data) {
	a.c.count(data)
	a.ended = make(chan struct{})
	in := &inbound{data: data, inbox: a.inbox, bufs: a.c.bufs, sink: &a.c.sink, answered: &a.answered, traffic: &a.c.traffic}
	a.loops.Go(func() {
		err := a.receive(in)
		a.gone.Store(true)
		a.cancel(err)
	})
	a.loops.Go(func() { a.watch(ctx) })
	if a.lost != nil {
		a.loops.Go(func() { a.cancel(a.lost()) })
	}
	if s, ok := a.link.(*streamLink); ok {
		a.loops.Go(func() {
			select {
			case <-ctx.Done():
				s.hurry()
			case <-a.ended:
			}
		})
	}
}

// stop ends the attempt's side of the packet path. The TUN stays, and what it brings is dropped.
func (a *running) stop() {
	a.settle()
	if a.c.out != nil {
		a.c.out.path.Store(nil)
	}
	if a.ended != nil {
		close(a.ended)
	}
	if a.found != nil {
		a.found()
	}
	a.gone.Store(true)
	_ = a.link.close()
	a.loops.Wait()
	a.c.count(nil)
}

// handle takes one event of the session.
func (a *running) handle(ctx context.Context, now time.Time, s *ovpn.Session, ev ovpn.Event) error {
	c := a.c
	switch ev := ev.(type) {
	case ovpn.Established:
		a.at.trusted = true
		if !ev.Renegotiation {
			close(a.keyed)
			a.spend()
		}
		a.tls = tlsVersion(ev.TLS)
		c.log.Info("control channel is up", "tls", a.tls, "renegotiation", ev.Renegotiation)
	case ovpn.PushReply:
		return a.connected(ctx, s, ev)
	case ovpn.AuthFailed:
		a.spend()
		return a.refused(ev)
	case ovpn.AuthPending:
		a.pends(ctx, ev.Timeout)
	case ovpn.PeerExit:
		if ev.Kind == "restart" && !ev.KeepCredentials {
			c.kept.token = ""
		}
		return exitFailure(ev, a.at, c.wiring.status.Profile)
	case ovpn.PushUpdate:
		return a.updated(ctx, s, ev.Reply)
	case ovpn.AuthToken:
		c.kept.renew(ev.Token, ev.User)
	case ovpn.Message:
		return a.message(ctx, now, s, ev.Text)
	}
	return nil
}

// connected makes the tunnel work and says so.
func (a *running) connected(ctx context.Context, s *ovpn.Session, ev ovpn.PushReply) error {
	c := a.c
	for _, note := range ev.Reply.Notes {
		c.log.Warn("push reply: " + note)
	}
	measures := a.measure(s.Data())
	if err := c.bringUp(ctx, ev.Reply, a.around, a.path(s, ev.Reply)); err != nil {
		return err
	}
	a.enforced.Store(ev.Reply.EnforceRoutes)
	a.up.Store(true)
	if measures {
		var searching context.Context
		searching, a.found = context.WithCancel(ctx)
		a.loops.Go(func() { a.discover(searching, s.Data()) })
	}
	a.track.way, a.track.known = c.facts.Way(a.address.Addr())
	a.floats = !a.streams() && a.lost == nil && s.HasPeerID() // a relay knows us by our address
	a.began(ev.Reply)
	c.cameUp.Store(true)
	c.wasUp = true
	if name, addrs := c.remotes.reached(a.address.Addr()); name != "" && c.wiring.reached != nil {
		c.wiring.reached(name, addrs)
	}
	a.signedIn(s, ev.Reply)
	c.echoes(ev.Reply)
	shield := api.Protection{TLS: a.tls, Control: control(c.remotes.current(), ev.Dynamic), Data: s.Data().Format()}
	c.status.Protection = shield
	c.enter(api.Connected, nil)
	c.log.Info("connected", "addresses", c.status.Tunnel.Addresses, "device", c.status.Tunnel.Device,
		"tls", shield.TLS, "control", shield.Control, "data", shield.Data,
		"cipher", ev.Cipher, "keys_by_exporter", ev.Reply.TLSExport, "routes", len(c.status.Routes), "full_tunnel", c.status.FullTunnel)
	if s.Data().Insecure() {
		c.log.Warn("INSECURE: this tunnel uses a broken cipher; who records the traffic may read it", "cipher", ev.Cipher)
	}
	return nil
}

// control says how the control channel is protected.
func control(r remote, dynamic bool) string {
	text := "plain"
	if r.wrap != nil {
		text = r.wrap.String()
	}
	if dynamic {
		text += ", dynamic tls-crypt"
	}
	return text
}

// path is the way of packets through the session.
func (a *running) path(s *ovpn.Session, reply push.Reply) *path {
	c := a.c
	inner := c.remotes.current().fit.inner(s.Data().Payload, a.headers(), a.link.gap())
	if a.packets > 0 && inner > 0 {
		inner = min(inner, a.room(s.Data(), a.packets))
	}
	return &path{
		data: s.Data(), link: a.link,
		mss:  mss.New(inner, 0),
		loop: newLoopGuard(a.address, a.streams()),
		nat:  c.spec.nat(reply),
	}
}

// streams says whether the transport is TCP.
func (a *running) streams() bool { return a.at.transport == "tcp" }

// failureAs keeps a failure, or makes one of a Problem.
func failureAs(err error, v verdict) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{verdict: v, problem: api.AsProblem(err), err: err}
}

// keysTime is how long a server whose TLS is up may take to answer AWS's form of the key
// exchange before the usual form is tried.
const keysTime = 10 * time.Second

// noticeTLS closes secured when TLS is up for the first time and the server is the right one.
func (a *running) noticeTLS(cfg *tls.Config) {
	verify, once := cfg.VerifyConnection, sync.OnceFunc(func() { close(a.secured) })
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if verify != nil {
			if err := verify(cs); err != nil {
				return err
			}
		}
		once()
		return nil
	}
}

var errNoKeys = errors.New("no answer to the key exchange")

// awaitKeys ends the attempt when the key exchange is not answered.
func (a *running) awaitKeys(ctx context.Context) {
	select {
	case <-a.secured:
	case <-ctx.Done():
		return
	case <-a.ended:
		return
	}
	t := time.NewTimer(keysTime)
	defer t.Stop()
	select {
	case <-t.C:
		a.cancel(errNoKeys)
	case <-a.keyed:
	case <-ctx.Done():
	case <-a.ended:
	}
}

// unanswered says whether TLS came up and the key exchange got no answer, for no reason that the server
// gave.
func (a *running) unanswered(err error) bool {
	select {
	case <-a.secured:
	default:
		return false
	}
	var p *ovpn.ProtocolError
	var f *failure
	switch {
	case a.at.trusted, errors.As(err, &f), errors.As(err, &p) && p.Cause == ovpn.CauseTLS:
		return false
	}
	return !errors.Is(err, context.Canceled)
}
