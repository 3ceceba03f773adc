package endpoint

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/platform/udp"
)

// listener is one address. serve returns after close.
type listener interface {
	serve(ctx context.Context) error
	close()
	addr() net.Addr
}

// readRetry is the pause after a failed read that may pass (no memory).
const readRetry = 50 * time.Millisecond

// maxShards bounds what an idle endpoint costs on a large machine.
const maxShards = 8

// Shards is how many sockets of one port, and queues of a TUN device, are worth having on this
// machine: one for each processor that it lets us use, up to 8.
func Shards() int { return min(runtime.GOMAXPROCS(0), maxShards) }

// udpListener is one UDP address, whose clients are spread over several sockets: all packets of one
// arrive at one of them, until it moves. What the sockets share is safe for concurrent use.
type udpListener struct {
	server *Server
	shards []*udpShard
	tries  budget
	// flooded is when a flood was logged last: Unix time.
	flooded atomic.Int64

	gate    atomic.Pointer[entrance]
	renewal sync.Mutex // guards changes of gate
}

// entrance is the gate for a generation's clients.
type entrance struct {
	*ovpn.Gate
	gen *generation
}

// udpShard receives everything that arrives on one socket. One goroutine reads it and opens data; the other
// one, answer, uses only what is constant, and controls.
type udpShard struct {
	listener *udpListener
	server   *Server
	conn     udp.Conn
	controls controls
	bell     chan struct{} // for answer

	batch *inBatch
	trial *inBatch // of one packet that came from an unknown address
	old   *peer    // the client of DATA_V1 that was heard last
}

func newUDPListener(s *Server, conns []udp.Conn) *udpListener {
	l := &udpListener{server: s}
	for i, conn := range conns {
		l.shards = append(l.shards, &udpShard{listener: l, server: s, conn: conn, bell: make(chan struct{}, 1), batch: newInBatch(s, i), trial: newInBatch(s, i)})
	}
	return l
}

func (l *udpListener) addr() net.Addr { return net.UDPAddrFromAddrPort(l.shards[0].conn.LocalAddr()) }

func (l *udpListener) close() {
	for _, s := range l.shards {
		s.conn.Close()
	}
}

func (l *udpListener) serve(ctx context.Context) error {
	var all sync.WaitGroup
	for _, s := range l.shards {
		all.Go(func() { s.serve(ctx) })
	}
	all.Wait()
	return nil
}

// door is the gate for new clients.
func (l *udpListener) door() *ovpn.Gate {
	g := l.server.gen.Load()
	if at := l.gate.Load(); at != nil && at.gen == g {
		return at.Gate
	}
	l.renewal.Lock()
	defer l.renewal.Unlock()
	g = l.server.gen.Load() // or who was late would go back to an older one
	cfg := ovpn.GateConfig{Wrap: g.wrap, ForceCookie: g.cfg.ControlWrap.ForceCookie, Resets: maxResets, Source: maxResetsSource}
	next := &entrance{gen: g}
	if at := l.gate.Load(); at != nil {
		next.Gate = at.With(cfg)
	} else {
		next.Gate = ovpn.NewGate(cfg)
	}
	l.gate.Store(next)
	return next.Gate
}

func (s *udpShard) serve(ctx context.Context) {
	var answering sync.WaitGroup
	answering.Go(func() { s.answer(ctx, s.bell) })
	defer answering.Wait()
	defer close(s.bell)
	var ms []udp.Message
	for n := 0; ; {
		if n == len(ms) {
			ms = udp.Grow(ms, s.conn)
		}
		var err error
		n, err = s.conn.ReadBatch(ms)
		if closed(err) {
			return
		}
		if err != nil {
			s.server.log.Warn("cannot read", "listener", s.conn.LocalAddr().String(), "error", err)
			if !pause(ctx, readRetry) {
				return
			}
			continue
		}
		now := s.server.leave.Now()
		for i := range ms[:n] {
			m := &ms[i]
			from := netip.AddrPortFrom(m.Addr.Addr().Unmap(), m.Addr.Port())
			size := m.Segment
			if size <= 0 {
				size = m.N
			} else {
				s.batch.together(now, (m.N+size-1)/size)
			}
			for b := m.Buf[:m.N]; len(b) > 0; {
				k := min(size, len(b))
				// The capacity ends with the packet: Open may use bytes behind it
				// only within it.
				s.packet(now, from, m.Local, b[:k])
				b = b[k:]
			}
		}
		s.batch.flush(now)
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
func (s *udpShard) packet(now time.Time, from netip.AddrPort, local netip.Addr, b []byte) {
	switch op, _ := wire.SplitHeader(b[0]); {
	case op == wire.DataV2 && len(b) > 4:
		p := s.server.peers.byID(wire.PeerID(b))
		switch {
		case p == nil || p.stream:
			s.server.drops.unknown.Add(1)
		case p.path.Load().same(from, local):
			s.batch.add(now, p, b)
		case !s.float(now, p, from, local, b):
			s.server.drops.unknown.Add(1)
		}
	case op == wire.DataV1 && len(b) > 1:
		// No peer id: the address alone says whose it is.
		if s.old == nil || s.old.from() != from || s.server.peers.byID(s.old.id) != s.old {
			s.old = s.server.peers.at(from)
		}
		if s.old == nil {
			s.server.drops.unknown.Add(1)
			return
		}
		s.batch.add(now, s.old, b)
	case wire.IsData(b[0]) || len(b) < 1+len(wire.SessionID{}):
		s.server.drops.unknown.Add(1)
	case s.controls.put(from, local, b):
		select {
		case s.bell <- struct{}{}:
		default: // it rings
		}
	}
}

// control finds the session of a control packet, which is borrowed, or lets the gate answer.
func (s *udpShard) control(ctx context.Context, now time.Time, from netip.AddrPort, local netip.Addr, b []byte) {
	key := sessionKey{from: from, client: wire.SessionID(b[1:9])}
	if p := s.server.peers.session(key); p != nil {
		p.control(append([]byte(nil), b...))
		return
	}
	if ctx.Err() != nil {
		return
	}
	gate := s.listener.door()
	reply, hello, err := gate.Handle(now, from, b)
	switch {
	case errors.Is(err, ovpn.ErrFlood) && s.listener.tellFlood(now):
		s.server.log.Warn("too many clients begin and do not go on: some are not answered", "listener", s.conn.LocalAddr().String(), "from", from.String())
	case err != nil:
		s.server.log.Debug("packet ignored", "from", from.String(), "reason", err)
	case reply != nil:
		if err := s.conn.WriteBatch([]udp.Message{{Addr: from, Local: local, Buf: reply, N: len(reply)}}); err != nil {
			s.server.log.Debug("cannot answer", "from", from.String(), "error", err)
		}
	case hello != nil:
		s.start(ctx, gate, key, local, hello, append([]byte(nil), b...))
	}
}

// tellFlood says whether a flood that happens now is worth a line in the log.
func (l *udpListener) tellFlood(now time.Time) bool {
	last := l.flooded.Load()
	return now.Unix()-last > 60 && l.flooded.CompareAndSwap(last, now.Unix())
}

// start makes a session for a client that proved its address, or cannot go on
// without one.
func (s *udpShard) start(ctx context.Context, gate *ovpn.Gate, key sessionKey, local netip.Addr, hello *ovpn.Hello, first []byte) {
	p, pctx := s.server.newPeer(key, local, s.conn)
	if hello.Server == (wire.SessionID{}) {
		p.unproved = gate
	}
	if err := s.server.peers.add(s.server.leave.Now(), p); err != nil {
		p.cancel(err)
		s.server.turnedAway(p, err)
		return
	}
	p.control(first)
	go func() { // ends before peers.running
		defer s.server.peers.remove(p)
		defer context.AfterFunc(ctx, p.stop)()
		p.run(pctx, hello)
	}()
}
