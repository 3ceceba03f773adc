package endpoint

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/platform/udp"
)

// listener is one socket. serve returns after close.
type listener interface {
	serve(ctx context.Context) error
	close()
	addr() net.Addr
}

// readRetry is the pause after a failed read that may pass (no memory).
const readRetry = 50 * time.Millisecond

// udpListener receives everything that arrives on one UDP socket. Its goroutine
// alone uses gate, the batches and tries.
type udpListener struct {
	server *Server
	conn   udp.Conn
	gate   *ovpn.Gate
	gateOf *generation
	batch  *inBatch
	trial  *inBatch // of one packet that came from an unknown address
	tries  budget
	// flooded is when a flood was logged last.
	flooded time.Time
	old     *peer // the client of DATA_V1 that was heard last
}

func newUDPListener(s *Server, conn udp.Conn) *udpListener {
	return &udpListener{server: s, conn: conn}
}

func (l *udpListener) addr() net.Addr { return net.UDPAddrFromAddrPort(l.conn.LocalAddr()) }
func (l *udpListener) close()         { l.conn.Close() }

func (l *udpListener) serve(ctx context.Context) error {
	ms := make([]udp.Message, l.conn.BatchSize())
	for i := range ms {
		ms[i].Buf = make([]byte, l.conn.BufferSize())
	}
	l.batch, l.trial = newInBatch(l.server), newInBatch(l.server)
	for {
		n, err := l.conn.ReadBatch(ms)
		if closed(err) {
			return nil
		}
		if err != nil {
			l.server.log.Warn("cannot read", "listener", l.addr().String(), "error", err)
			if !pause(ctx, readRetry) {
				return nil
			}
			continue
		}
		now := l.server.leave.Now()
		for i := range ms[:n] {
			m := &ms[i]
			from := netip.AddrPortFrom(m.Addr.Addr().Unmap(), m.Addr.Port())
			size := m.Segment
			if size <= 0 {
				size = m.N
			} else {
				l.batch.together(now, (m.N+size-1)/size)
			}
			for b := m.Buf[:m.N]; len(b) > 0; {
				k := min(size, len(b))
				// The capacity ends with the packet: Open may use bytes behind it
				// only within it.
				l.packet(ctx, now, from, m.Local, b[:k])
				b = b[k:]
			}
		}
		l.batch.flush(now)
	}
}

func closed(err error) bool { return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) }

// pause waits; false means that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// packet sorts one datagram, which is borrowed until the batch is flushed. local is
// the address of ours that it was sent to.
func (l *udpListener) packet(ctx context.Context, now time.Time, from netip.AddrPort, local netip.Addr, b []byte) {
	switch op, _ := wire.SplitHeader(b[0]); {
	case op == wire.DataV2 && len(b) > 4:
		p := l.server.peers.byID(wire.PeerID(b))
		switch {
		case p == nil || p.stream:
			l.server.drops.unknown.Add(1)
		case p.path.Load().same(from, local):
			l.batch.add(now, p, b)
		case !l.float(now, p, from, local, b):
			l.server.drops.unknown.Add(1)
		}
	case op == wire.DataV1 && len(b) > 1:
		// No peer id: the address alone says whose it is.
		if l.old == nil || l.old.from() != from || l.server.peers.byID(l.old.id) != l.old {
			l.old = l.server.peers.at(from)
		}
		if l.old == nil {
			l.server.drops.unknown.Add(1)
			return
		}
		l.batch.add(now, l.old, b)
	case wire.IsData(b[0]) || len(b) < 1+len(wire.SessionID{}):
		l.server.drops.unknown.Add(1)
	default:
		l.control(ctx, now, from, local, b)
	}
}

// control finds the session of a control packet, or lets the gate answer.
func (l *udpListener) control(ctx context.Context, now time.Time, from netip.AddrPort, local netip.Addr, b []byte) {
	key := sessionKey{from: from, client: wire.SessionID(b[1:9])}
	if p := l.server.peers.session(key); p != nil {
		if p.opener == l && p.proved.CompareAndSwap(true, false) {
			l.gate.Proved(p.start, p.source.Addr())
		}
		p.control(append([]byte(nil), b...))
		return
	}
	if ctx.Err() != nil {
		return
	}
	if g := l.server.gen.Load(); l.gateOf != g {
		if l.gateOf == nil || l.gateOf.wrap != g.wrap {
			l.gate = ovpn.NewGate(ovpn.GateConfig{Wrap: g.wrap, ForceCookie: g.cfg.ControlWrap.ForceCookie})
		}
		l.gateOf = g
	}
	reply, hello, err := l.gate.Handle(now, from, b)
	switch {
	case errors.Is(err, ovpn.ErrFlood) && now.Sub(l.flooded) > time.Minute:
		l.flooded = now
		l.server.log.Warn("too many clients begin and do not go on: some are not answered", "listener", l.addr().String(), "from", from.String())
	case err != nil:
		l.server.log.Debug("packet ignored", "from", from.String(), "reason", err)
	case reply != nil:
		if err := l.conn.WriteBatch([]udp.Message{{Addr: from, Local: local, Buf: reply, N: len(reply)}}); err != nil {
			l.server.log.Debug("cannot answer", "from", from.String(), "error", err)
		}
	case hello != nil:
		l.start(ctx, key, local, hello, append([]byte(nil), b...))
	}
}

// start makes a session for a client that proved its address, or cannot go on
// without one.
func (l *udpListener) start(ctx context.Context, key sessionKey, local netip.Addr, hello *ovpn.Hello, first []byte) {
	p, pctx := l.server.newPeer(key, local, l.conn)
	if hello.Server == (wire.SessionID{}) {
		p.opener = l
	}
	if err := l.server.peers.add(l.server.leave.Now(), p); err != nil {
		p.cancel(err)
		l.server.turnedAway(p, err)
		return
	}
	p.control(first)
	go func() { // ends before peers.running
		defer l.server.peers.remove(p)
		defer context.AfterFunc(ctx, p.stop)()
		p.run(pctx, hello)
	}()
}
