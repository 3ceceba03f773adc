package endpoint

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/drive"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/udp"
)

// inboxSize is how many control packets wait for one peer, which may have 6 in flight; more are dropped, as
// a network would.
const inboxSize = 16

// The causes with which a peer's context ends.
var (
	errEvicted  = errors.New("too many unfinished handshakes")
	errReplaced = errors.New("the client started a new session")
	errHangUp   = errors.New("the connection was closed")
	errMessages = errors.New("too much of unfinished sign-ins is kept")
)

// peer is one client. What the data path reads is set before publish and
// constant after it, but for the atomics; the rest belongs to run's goroutine,
// waiting to peers' lock.
type peer struct {
	server *Server
	gen    atomic.Pointer[generation] // that it was given
	key    sessionKey                 // after add guarded by peers' lock: a client may move
	source netip.Prefix               // of key.from at first
	id     uint32
	name   string // connection id
	stream bool
	start  time.Time
	ctx    context.Context // ends with run
	cancel context.CancelCauseFunc
	inbox  chan []byte
	do     chan func(now time.Time, s *ovpn.Session) error

	waiting waiting // its place in peers.halfOpen

	unproved *ovpn.Gate // that let it in without a proof of its address; else nil

	path  atomic.Pointer[path]
	tries budget // for packets from elsewhere: float.go
	moves atomic.Uint64
	data  *ovpn.Data
	out   *streamOut // nil on UDP

	sending sync.Mutex               // held by the outBatch that has sealed packets for it
	sender  atomic.Pointer[outBatch] // who that is

	holds  atomic.Bool // lease: whoever makes it false gives it back, or takes it over
	lease  lease
	later  *time.Timer // of await; nil: none
	access atomic.Pointer[access]
	mtu    int // the largest that the client takes; 0 = unknown

	packets   atomic.Int32 // outside, that TCP inside is fitted to, bytes; 0: as the configuration says
	discovery discovery    // of that

	judging *judging          // the sign-in that is being checked; nil: none
	info    map[string]string // what the client said of itself: known
	login   string            // the user name as it was typed: said
	token   push.Secret       // that the client has; empty: none
	given   push.Secret       // the one in its push reply

	tokenUser string // the user name that token is for

	adopting  sync.Mutex // guards changes of gen, and what follows
	pushed    bool
	updatable bool
	expiry    *time.Timer // ends the session's time; nil: not yet
	renew     *time.Timer // gives the client its next token; nil: only the next negotiation does
	again     *time.Timer // has the authorization policy judge the session again; nil: nobody does

	evaluation *evaluation  // the policy's latest; nil: none
	evaluated  atomic.Int64 // when that was, Unix seconds; 0: never

	status      atomic.Pointer[status]
	terminating atomic.Bool // by the administrator
	remembered  bool        // in the history, whose lock guards it
	begun       bool        // a packet of the client has been worked on
	collecting  int         // its part of the server's
	logged      bool        // as connected, in the connection log
	ended       string      // why, for the log
}

// status is what others may see of an established peer.
type status struct {
	identity auth.Identity
	digest   string            // generation.digest, when it was judged
	session  auth.TokenSession // zero without a token
	signedIn time.Time         // when the client proved who it is
	since    time.Time
	lease    lease
	machine  string   // machineOf
	platform string   // IV_PLAT
	posture  []string // what the connect handler said
	key      *ControlKey
}

// comeBack, and a reason, make a client connect anew. The flag P says that what it signed in with, our
// token among it, stays good: without it, clients ask their person again.
const comeBack = "RESTART,[P]:"

// restartMessage tells clients of a changed configuration.
const restartMessage = comeBack + "the configuration changed"

// newPeer makes a peer that run will serve. conn is nil on TCP, and local zero.
func (s *Server) newPeer(key sessionKey, local netip.Addr, conn udp.Conn) (*peer, context.Context) {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &peer{
		server: s, key: key, source: sourceOf(key.from.Addr()), name: connectionID(), start: s.leave.Now(), ctx: ctx, cancel: cancel,
		inbox: make(chan []byte, inboxSize),
		do:    make(chan func(time.Time, *ovpn.Session) error, 16), // it is not read while the peer waits for its turn
	}
	p.gen.Store(s.gen.Load())
	p.path.Store(&path{from: key.from, local: local, conn: conn})
	return p, ctx
}

// from is the client's outer address.
func (p *peer) from() netip.AddrPort { return p.path.Load().from }

// connectionID is a name in AWS's form.
func connectionID() string {
	var b [9]byte
	rand.Read(b[:])
	return "cvpn-connection-" + hex.EncodeToString(b[:])[:17]
}

// run drives the peer's session until it ends, then takes everything back.
func (p *peer) run(ctx context.Context, hello *ovpn.Hello) {
	defer p.cancel(nil)
	g := p.gen.Load()
	session, err := p.begin(g, hello)
	if err != nil {
		return
	}
	p.over(ctx, g, drive.Run(ctx, session, drive.Config{In: p.inbox, Send: p.send, Say: p.say, Handle: p.handle, Do: p.do,
		Around: func(work func()) { p.inTurn(session, work) }}))
}

// over takes back what the session had, which ended with err.
func (p *peer) over(ctx context.Context, g *generation, err error) {
	p.server.peers.withdraw(p)
	p.collects(0)
	p.discovery.stop()
	if p.later != nil {
		p.later.Stop()
	}
	p.unlimit()
	if p.holds.CompareAndSwap(true, false) {
		p.server.leave.Network.Forget(p.lease.Addr.Addr(), p.lease.Addr6.Addr())
		g.pool.release(p.lease, p.status.Load().identity.Name())
	}
	p.logEnded(p.server.leave.Now())
	p.report(why(ctx, err))
}

// begin makes the session. It is apart from run, whose frame lasts as long as the client stays.
func (p *peer) begin(g *generation, hello *ovpn.Hello) (*ovpn.Session, error) {
	log := p.server.log.With("connection", p.name, "from", p.from().String())
	cfg := g.session()
	cfg.Stream, cfg.Hello, cfg.PeerID = p.stream, hello, p.id
	session, err := ovpn.New(p.server.leave.Now(), cfg)
	if err != nil {
		log.Error("cannot start a session", "error", err)
		return nil, err
	}
	p.data = session.Data()
	log.Debug("handshake started")
	return session, nil
}

// inTurn works on a control packet, of which few are at a time. Never on a goroutine that moves packets.
func (p *peer) inTurn(s *ovpn.Session, work func()) {
	unfinished, received := p.status.Load() == nil, s.Received()
	if unfinished {
		p.server.peers.works(p.server.leave.Now(), p)
	}
	// Who is ending waits for nothing: what the client said last may be why.
	turn := p.server.turns.take(p.ctx, p.source, p.begun)
	p.begun = true
	work()
	p.collects(s.Collecting())
	if turn {
		p.server.turns.give()
	}
	if unfinished {
		p.server.peers.waits(p.server.leave.Now(), p, s.Received() > received)
	}
}

// maxCollecting bounds what is kept of messages of clients that are not whole, bytes: those of four hundred clients that sign in
// with the longest ones at once. Most come in one piece, and take nothing of it.
const maxCollecting = 64 << 20

// collects says how much p keeps of such a message. When all keep too much, a long one ends its session.
func (p *peer) collects(n int) {
	all := p.server.collecting.Add(int64(n - p.collecting))
	more := n > p.collecting
	if p.collecting = n; more && n > maxKeyMessage && all > maxCollecting {
		p.cancel(errMessages)
	}
}

// why is what ended a session with err: what it found in the client's packets, even when the client, told so,
// hung up before the end; or else what ended ctx.
func why(ctx context.Context, err error) error {
	var protocol *ovpn.ProtocolError
	if ctx.Err() == nil || errors.As(err, &protocol) {
		return err
	}
	return context.Cause(ctx)
}

// report tells how the session ended: the log, and the history.
func (p *peer) report(err error) {
	log := p.server.log.With("connection", p.name, "from", p.from().String())
	reason := p.ended
	if reason == "" && err != nil {
		reason = err.Error()
	}
	p.remember(reason)
	st := p.status.Load()
	if st == nil && ofCertificate(err) {
		p.server.history.failed(failedAuthentication)
	}
	if st == nil {
		if p.login != "" && p.login != challenge.AWSUser { // which nobody is called
			log = log.With("user", p.login)
		}
		var protocol *ovpn.ProtocolError
		if errors.As(err, &protocol) && protocol.Cause == ovpn.CauseTLS {
			log.Warn("client refused", "reason", reason)
			return
		}
		log.Info("no session", "reason", reason)
		return
	}
	c := p.data.Counters()
	log.Info("client disconnected", "client", st.identity.Name(), "address", p.lease.Addr.Addr().String(), "reason", reason,
		"rx_bytes", c.RxBytes, "tx_bytes", c.TxBytes, "duration", p.server.leave.Now().Sub(st.since).Round(time.Second).String())
}

// control hands a control packet to the peer's goroutine. The peer owns packet.
func (p *peer) control(packet []byte) {
	select {
	case p.inbox <- packet:
	default: // the client will send it again
	}
}

// handle answers the session's events, on run's goroutine.
func (p *peer) handle(now time.Time, s *ovpn.Session, ev ovpn.Event) error {
	switch ev := ev.(type) {
	case ovpn.Established:
		if !ev.Renegotiation {
			if p.unproved != nil {
				p.unproved.Proved(p.start, p.source.Addr())
			}
			p.compare(ev.PeerOptions)
		}
	case ovpn.Credentials:
		return p.authenticate(now, s, ev)
	case ovpn.PushRequest:
		return p.claim(now, s)
	case ovpn.PeerExit:
		p.ended = "the client left"
	case ovpn.Message:
		p.server.log.Debug("client says", "connection", p.name, "message", ev.Text)
	}
	return nil
}

// ivMTU is the largest MTU that a client says it takes; 0 when it does not say.
func ivMTU(info map[string]string) int {
	n, err := strconv.Atoi(info["IV_MTU"])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// push gives the client its configuration and lets packets flow.
func (p *peer) push(now time.Time, s *ovpn.Session) error {
	g, ok := p.settle()
	if !ok {
		// The configuration changed in the middle of the handshake.
		p.ended = "configuration changed"
		return s.Deny(now, "TEMP:the configuration changed, try again")
	}
	p.given = p.token
	reply := p.replyOf(g)
	if p.mtu > 0 && p.mtu < g.cfg.TunMTU {
		p.server.log.Warn("the client's largest MTU is below tun_mtu", "connection", p.name, "client", p.mtu, "tun_mtu", g.cfg.TunMTU)
	}
	if err := s.Push(now, reply); err != nil {
		return err
	}
	p.server.peers.measure(p)
	p.discoverPath(s.Data())
	p.adopting.Lock()
	p.updatable = s.CanUpdate()
	p.adopting.Unlock()
	st := p.status.Load()
	log := p.server.log
	if st.key != nil {
		log = log.With("tls_crypt_v2", st.key.ID)
	}
	log.Info("client connected", "connection", p.name, "from", p.from().String(), "client", st.identity.Name(),
		"address", p.lease.Addr.Addr().String())
	p.logConnected(now)
	if s.Data().Insecure() {
		log.Warn("INSECURE: this client uses a broken cipher; who records the traffic may read it", "connection", p.name, "data", s.Data().Format())
	}
	return nil
}

// replyOf is what g gives this client. Only on run's goroutine.
func (p *peer) replyOf(g *generation) push.Reply {
	reply := g.replyFor(p.lease, p.mtu)
	reply.AuthToken = p.given
	return reply
}

// settle brings p to the generation in force, for the push, and publishes it.
// From then on changes are updates, if the client can take them.
func (p *peer) settle() (*generation, bool) {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	for {
		// A reload sets the generation first, then asks each peer to adopt it.
		current := p.server.gen.Load()
		if current == p.gen.Load() {
			break
		}
		if _, ok := p.follow(current); !ok {
			return nil, false
		}
	}
	st, g := p.status.Load(), p.gen.Load()
	if st.digest != g.digest(st.identity) {
		return nil, false // a user who was changed since
	}
	if _, ok := p.server.signedIn.get(st.session); p.token != "" && !ok {
		return nil, false // a sign-in that was revoked since
	}
	if !g.layout.serves(st.lease) || p.server.avoided(g)[st.lease.association] {
		return nil, false // the association went since
	}
	p.access.Store(g.access.of(st.lease.association, st.identity.Groups))
	p.pushed = true
	p.server.peers.publish(p)
	p.limit(&g.cfg)
	p.watch(g.policy)
	p.renewal(g)
	return g, true
}

// adopt makes a peer follow next, or says that it must be reset. Any goroutine.
func (p *peer) adopt(next *generation) bool {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	update, ok := p.follow(next)
	if !ok || !update {
		return ok
	}
	select {
	case p.do <- func(now time.Time, s *ovpn.Session) error {
		if err := s.Update(now, p.replyOf(next)); err != nil {
			p.server.log.Warn("client not updated", "connection", p.name, "error", err)
			return p.tell(now, s, restartMessage, "configuration changed")
		}
		p.server.log.Info("client updated", "connection", p.name)
		return nil
	}:
		return true
	default: // it has stopped listening
		return false
	}
}

// follow is adopt without telling the client; update says that it must be told.
func (p *peer) follow(next *generation) (update, ok bool) {
	ok, update = p.gen.Load().sameForClients(next)
	update = update && p.pushed
	st := p.status.Load()
	if st != nil && !next.layout.serves(st.lease) {
		return false, false
	}
	if !ok || update && !(p.updatable && next.cfg.PushUpdate) {
		return false, false
	}
	before := p.gen.Swap(next)
	if st != nil {
		p.access.Store(next.access.of(st.lease.association, st.identity.Groups))
	}
	if p.pushed {
		p.limit(&next.cfg)
		if !next.policy.same(before.policy) {
			p.watch(next.policy)
		}
		if next.lasting.Renewal != before.lasting.Renewal {
			p.renewal(next)
		}
	}
	return update, true
}

// end tells the client message ("HALT,…", "RESTART,…") and ends the session. Packets
// stop at once. Any goroutine.
func (p *peer) end(message, reason string) {
	p.server.peers.withdraw(p)
	f := func(now time.Time, s *ovpn.Session) error { return p.tell(now, s, message, reason) }
	select {
	case p.do <- f:
	default:
		p.cancel(errors.New(reason))
	}
}

// tell is end on run's goroutine.
func (p *peer) tell(now time.Time, s *ovpn.Session, message, reason string) error {
	p.ended = reason
	if err := s.Send(now, message); err != nil {
		return fmt.Errorf("%s: %w", reason, err)
	}
	s.Close(now)
	return nil
}

// stop ends the session because the endpoint ends: an established client is told to
// connect again, since nobody else would tell it for long. Any goroutine.
func (p *peer) stop() {
	if p.status.Load() == nil {
		p.cancel(errDoorClosed)
		return
	}
	p.end(comeBack+errDoorClosed.Error(), errDoorClosed.Error())
}

// send sends one control packet.
func (p *peer) send(packet []byte) error {
	if p.out != nil {
		return p.out.control(packet)
	}
	p.datagrams([]udp.Message{{Buf: packet, N: len(packet)}})
	return nil
}

// say sends a message of the session in the data channel, where no packet that is sealed later may overtake it, nor it
// one that was sealed before.
func (p *peer) say(now time.Time, message []byte) error {
	if p.out != nil {
		return p.out.say(now, p.data, message)
	}
	p.sending.Lock() // outBatch.hold
	defer p.sending.Unlock()
	if sealed, sizes := p.data.SealMessage(now, nil, 0, message, nil); len(sizes) > 0 {
		p.datagrams(udp.AppendTrains(nil, netip.AddrPort{}, sealed, sizes))
	}
	return nil
}

// datagrams sends to where the client is.
func (p *peer) datagrams(messages []udp.Message) {
	path := p.path.Load()
	for i := range messages {
		messages[i].Addr, messages[i].Local = path.from, path.local
	}
	if err := path.conn.WriteBatch(messages); err != nil {
		// An unreachable client may come back; silence ends its session.
		p.server.log.Debug("cannot send", "connection", p.name, "error", err)
	}
}

// is says whether a person means this peer by an id or a user name.
func (p *peer) is(id, user string) bool {
	st := p.status.Load()
	return st != nil && meant(id, user, p.name, st.identity)
}
