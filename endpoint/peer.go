package endpoint

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/drive"
	"github.com/adit-vpn/adit/platform/udp"
)

// inboxSize is how many control packets wait for one peer; more are dropped, as
// a network would.
const inboxSize = 64

// authTime bounds one authentication.
const authTime = 30 * time.Second

// The causes with which a peer's context ends.
var (
	errEvicted  = errors.New("too many unfinished handshakes")
	errReplaced = errors.New("the client started a new session")
	errHangUp   = errors.New("the connection was closed")
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
	cancel context.CancelCauseFunc
	inbox  chan []byte
	do     chan func(now time.Time, s *ovpn.Session) error

	waiting *list.Element // in peers.halfOpen

	path   atomic.Pointer[path]
	tries  atomic.Uint64 // packets from elsewhere that were opened: float.go
	moves  atomic.Uint64
	data   *ovpn.Data
	out    *streamOut // nil on UDP
	leased bool
	lease  lease
	access atomic.Pointer[access]

	status atomic.Pointer[status]
	ended  string // why, for the log
}

// status is what others may see of an established peer.
type status struct {
	identity auth.Identity
	since    time.Time
	lease    lease
}

// newPeer makes a peer that run will serve. conn is nil on TCP.
func (s *Server) newPeer(key sessionKey, conn udp.Conn) (*peer, context.Context) {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &peer{
		server: s, key: key, source: sourceOf(key.from.Addr()), name: connectionID(), start: s.leave.Now(), cancel: cancel,
		inbox: make(chan []byte, inboxSize),
		do:    make(chan func(time.Time, *ovpn.Session) error, 4),
	}
	p.gen.Store(s.gen.Load())
	p.path.Store(&path{from: key.from, conn: conn})
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
	log := p.server.log.With("connection", p.name, "from", p.from().String())
	session, err := ovpn.New(p.server.leave.Now(), ovpn.Config{
		Role: ovpn.Server, TLS: g.tls, Wrap: g.wrap, Stream: p.stream, Ciphers: g.cfg.Ciphers, PRF: g.cfg.PRF,
		Hello: hello, PeerID: p.id, MTU: g.cfg.TunMTU, Ping: ping, PingRestart: serverRestart, ExitNotify: true,
		Renegotiate: renegotiate, KeyAge: g.cfg.ControlWrap.KeyAge(),
	})
	if err != nil {
		log.Error("cannot start a session", "error", err)
		return
	}
	p.data = session.Data()
	log.Debug("handshake started")
	err = drive.Run(ctx, session, drive.Config{In: p.inbox, Send: p.send, Handle: p.handle, Do: p.do})
	p.server.peers.withdraw(p)
	if p.leased {
		p.server.leave.Network.Forget(p.lease.Addr.Addr(), p.lease.Addr6.Addr())
		g.pool.release(p.lease)
	}
	if cause := context.Cause(ctx); ctx.Err() != nil {
		err = cause
	}
	p.report(err)
}

// report logs how the session ended.
func (p *peer) report(err error) {
	log := p.server.log.With("connection", p.name, "from", p.from().String())
	reason := p.ended
	if reason == "" && err != nil {
		reason = err.Error()
	}
	st := p.status.Load()
	if st == nil {
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
	case ovpn.Credentials:
		return p.authenticate(now, s, ev)
	case ovpn.PushRequest:
		return p.push(now, s)
	case ovpn.PeerExit:
		p.ended = "the client left"
	case ovpn.Message:
		p.server.log.Debug("client says", "connection", p.name, "message", ev.Text)
	}
	return nil
}

// authenticate asks all methods; each must accept.
func (p *peer) authenticate(now time.Time, s *ovpn.Session, ev ovpn.Credentials) error {
	ctx, cancel := context.WithTimeout(context.Background(), authTime)
	defer cancel()
	cred := auth.Credentials{TLS: ev.TLS, Username: ev.Username, Password: ev.Password, PeerInfo: ev.PeerInfo, From: p.from()}
	var who auth.Identity
	for _, m := range p.gen.Load().methods {
		outcome, err := m.Check(ctx, cred)
		if err != nil {
			p.ended = "authentication failed: " + err.Error()
			return s.Deny(now, ev.KeyID, "the endpoint cannot check who you are at the moment")
		}
		switch o := outcome.(type) {
		case auth.Denied:
			p.ended = "denied: " + o.Reason
			return s.Deny(now, ev.KeyID, o.Tell)
		case auth.Challenge:
			p.ended = "challenged"
			return s.Deny(now, ev.KeyID, o.Text)
		case auth.Accepted:
			who = merge(who, o.Identity)
		}
	}
	if ev.Renegotiation {
		if st := p.status.Load(); st == nil || st.identity.Name() != who.Name() {
			p.ended = "denied: another identity than at the beginning"
			return s.Deny(now, ev.KeyID, "the identity changed")
		}
		return s.Accept(now, ev.KeyID)
	}
	g := p.gen.Load()
	lease, err := g.pool.lease()
	if err != nil {
		p.ended = "denied: " + err.Error()
		p.server.log.Warn("no address for a client", "client", who.Name(), "reason", err)
		return s.Deny(now, ev.KeyID, err.Error())
	}
	p.lease, p.leased = lease, true
	p.access.Store(g.access[lease.association])
	p.status.Store(&status{identity: who, since: now, lease: lease})
	if old := p.server.peers.established(p); old != nil {
		old.cancel(errReplaced)
	}
	return s.Accept(now, ev.KeyID)
}

// merge adds what another method proved.
func merge(a, b auth.Identity) auth.Identity {
	if b.CommonName != "" {
		a.CommonName = b.CommonName
	}
	if b.Username != "" {
		a.Username = b.Username
	}
	a.Groups = append(a.Groups, b.Groups...)
	return a
}

// push gives the client its configuration and lets packets flow.
func (p *peer) push(now time.Time, s *ovpn.Session) error {
	for current := p.server.gen.Load(); current != p.gen.Load(); {
		if !p.adopt(current) {
			// The configuration changed in the middle of the handshake.
			p.ended = "configuration changed"
			return s.Deny(now, 0, "TEMP:the configuration changed, try again")
		}
		// A reload since may have set newer rules before ours.
		newest := p.server.gen.Load()
		if newest == current {
			break
		}
		current = newest
	}
	p.server.peers.publish(p)
	if err := s.Push(now, p.gen.Load().replyFor(p.lease)); err != nil {
		return err
	}
	st := p.status.Load()
	p.server.log.Info("client connected", "connection", p.name, "from", p.from().String(), "client", st.identity.Name(),
		"address", p.lease.Addr.Addr().String())
	return nil
}

// adopt makes an established peer follow next, or says that it must be reset. Any goroutine.
func (p *peer) adopt(next *generation) bool {
	if !p.gen.Load().sameForClients(next) {
		return false
	}
	if st := p.status.Load(); st != nil {
		p.access.Store(next.access[st.lease.association])
	}
	return true
}

// end tells the client message ("HALT,…", "RESTART,…") and ends the session. Packets
// stop at once. Any goroutine.
func (p *peer) end(message, reason string) {
	p.server.peers.withdraw(p)
	f := func(now time.Time, s *ovpn.Session) error {
		p.ended = reason
		if err := s.Send(now, message); err != nil {
			return fmt.Errorf("%s: %w", reason, err)
		}
		s.Close(now)
		return nil
	}
	select {
	case p.do <- f:
	default:
		p.cancel(errors.New(reason))
	}
}

// stop ends the session because the endpoint ends: an established client is told to
// connect again, since nobody else would tell it for long. Any goroutine.
func (p *peer) stop() {
	if p.status.Load() == nil {
		p.cancel(errDoorClosed)
		return
	}
	p.end("RESTART,"+errDoorClosed.Error(), errDoorClosed.Error())
}

// send sends one control packet.
func (p *peer) send(packet []byte) error {
	if p.out != nil {
		return p.out.control(packet)
	}
	path := p.path.Load()
	err := path.conn.WriteBatch([]udp.Message{{Addr: path.from, Buf: packet, N: len(packet)}})
	if err != nil {
		// An unreachable client may come back; silence ends its session.
		p.server.log.Debug("cannot send", "connection", p.name, "error", err)
	}
	return nil
}

// is says whether a person means this peer by an id or a user name.
func (p *peer) is(id, user string) bool {
	st := p.status.Load()
	return st != nil && (id != "" && p.name == id || user != "" && strings.EqualFold(st.identity.Name(), user))
}
