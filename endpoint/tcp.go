package endpoint

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/platform/tcp"
)

// tcpListener accepts connections; each carries one session.
type tcpListener struct {
	server *Server
	ln     net.Listener
}

func newTCPListener(s *Server, ln net.Listener) *tcpListener { return &tcpListener{server: s, ln: ln} }

func (l *tcpListener) addr() net.Addr { return l.ln.Addr() }
func (l *tcpListener) close()         { l.ln.Close() }

func (l *tcpListener) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.ln.Close() })
	defer stop()
	for {
		conn, err := l.ln.Accept()
		if closed(err) {
			return nil
		}
		if err != nil { // too many open files
			l.server.log.Warn("cannot accept", "listener", l.addr().String(), "error", err)
			if !pause(ctx, readRetry) {
				return nil
			}
			continue
		}
		l.start(ctx, tcp.Direct(conn))
	}
}

// start makes a session for a connection, which the session then owns.
func (l *tcpListener) start(ctx context.Context, conn net.Conn) {
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		conn.Close()
		return
	}
	p, pctx := l.server.newPeer(sessionKey{from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}, netip.Addr{}, nil)
	p.stream, p.out = true, newStreamOut(conn)
	if err := l.server.peers.add(l.server.leave.Now(), p); err != nil {
		p.cancel(err)
		conn.Close()
		l.server.turnedAway(p, err)
		return
	}
	go func() { // ends before peers.running
		defer l.server.peers.remove(p)
		defer context.AfterFunc(ctx, p.stop)()
		var both sync.WaitGroup
		both.Go(func() {
			p.readStream(pctx, conn)
			p.cancel(errHangUp)
		})
		both.Go(p.out.run)
		p.run(pctx, nil)
		p.out.close() // sends what is queued, then closes conn, which ends the reader
		both.Wait()
	}()
}

// handshakeBuffer is what a TCP client has for its packets before it has proved who it is.
const handshakeBuffer = 8 << 10

// readStream takes packets off the connection until it ends or breaks the protocol.
func (p *peer) readStream(ctx context.Context, conn net.Conn) {
	in := framing.NewReaderSize(conn, handshakeBuffer)
	small := true
	packets := make([][]byte, 0, runSize)
	batch := newInBatch(p.server, int(p.id))
	for {
		got, err := in.ReadBatch(packets[:0])
		now := p.server.leave.Now()
		for _, b := range got {
			p.streamPacket(ctx, now, batch, b)
		}
		batch.flush(now)
		if small && p.status.Load() != nil {
			in.Resize(framing.ReaderSize)
			small = false
			if errors.Is(err, framing.ErrTooLong) {
				continue
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *peer) streamPacket(ctx context.Context, now time.Time, batch *inBatch, b []byte) {
	switch op, _ := wire.SplitHeader(b[0]); {
	case op == wire.DataV2 && len(b) > 4 || op == wire.DataV1 && len(b) > 1:
		id := p.id
		if op == wire.DataV2 {
			id = wire.PeerID(b)
		}
		if p.server.peers.byID(id) != p {
			p.server.drops.unknown.Add(1)
			return
		}
		batch.add(now, p, b)
	case wire.IsData(b[0]):
		p.server.drops.unknown.Add(1)
	default:
		select { // nothing is lost on a stream: wait
		case p.inbox <- append([]byte(nil), b...):
		case <-ctx.Done():
		}
	}
}

// streamOut writes to one TCP connection on a goroutine of its own, so that a
// slow client delays nobody else. Data and control packets are appended to pending and urgent, already
// framed; run swaps pending with the buffer that it has written, and sends what is urgent before each piece of
// it. Safe for concurrent use.
type streamOut struct {
	conn net.Conn

	mu      sync.Mutex
	wake    *sync.Cond
	urgent  []byte
	pending []byte
	sizes   []int // of seal
	closing bool
	failed  bool
}

// maxPending is how much waits for one client; more is dropped, as a full link would.
const maxPending = 512 << 10

// maxUrgent is how many bytes of control packets wait for one client. Its whole handshake has less; one that repeats
// itself and reads no answers has no end.
const maxUrgent = 256 << 10

// pieceSize is how much data one write gives to the system, bytes: what a control packet waits for.
const pieceSize = 64 << 10

// quietTime is how long a buffer stays that is larger than what it is used for. Streams vary from one write
// to the next.
const quietTime = time.Second

// writeTimeout is how long a client may leave everything unread.
const writeTimeout = 15 * time.Second

// lingerTimeout is how long a connection that is being closed may take for what is pending.
const lingerTimeout = 2 * time.Second

func newStreamOut(conn net.Conn) *streamOut {
	o := &streamOut{conn: conn}
	o.wake = sync.NewCond(&o.mu)
	return o
}

// run writes until close or an error, then closes the connection.
func (o *streamOut) run() {
	defer o.conn.Close()
	var data, spare []byte // what is being written; spare holds its bytes
	busy := time.Now()     // when spare was last used well
	for {
		o.mu.Lock()
		for len(data)+len(o.urgent)+len(o.pending) == 0 && !o.closing {
			o.wake.Wait()
		}
		now := time.Now()
		if len(data) == 0 {
			data, o.pending = o.pending, spare[:0]
			spare = data
			switch {
			case cap(data) <= pieceSize || len(data) >= cap(data)/8:
				busy = now
			case now.Sub(busy) > quietTime: // a client that was busy keeps no large buffers
				spare = nil
			}
		}
		urgent := o.urgent
		o.urgent = nil
		if !o.closing { // close has set the last one
			o.conn.SetWriteDeadline(now.Add(writeTimeout))
		}
		o.mu.Unlock()
		piece := data[:framing.Whole(data, pieceSize)]
		if len(urgent)+len(piece) == 0 {
			return // closing
		}
		data = data[len(piece):]
		if o.write(urgent) != nil || o.write(piece) != nil {
			o.mu.Lock()
			o.failed = true
			o.mu.Unlock()
			return
		}
	}
}

func (o *streamOut) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := o.conn.Write(b)
	return err
}

// close lets run write what is pending and end.
func (o *streamOut) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	o.conn.SetWriteDeadline(time.Now().Add(lingerTimeout))
	o.wake.Signal()
}

// control queues one packet, framed here: it goes before data that has not gone yet. An error ends the session.
func (o *streamOut) control(packet []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.urgent) > maxUrgent {
		o.failed = true
	}
	if o.failed || o.closing {
		return net.ErrClosed
	}
	o.urgent = framing.Append(o.urgent, packet)
	o.wake.Signal()
	return nil
}
