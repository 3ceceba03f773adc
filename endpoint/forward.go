package endpoint

import (
	"errors"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/platform/udp"
)

// Sizes of the data path.
const (
	runSize    = 128      // packets that are opened and written together
	bufferSize = 64 << 10 // the TUN may coalesce packets into the first one's buffer
	headroom   = 16       // in front of packets, for the TUN's own header
)

// inBatch takes datagrams of one peer after the other, opens them, checks them,
// and writes what is left to the network. Not safe for concurrent use.
type inBatch struct {
	server *Server
	peer   *peer
	in     [][]byte // borrowed until flush
	*buffers
}

// buffers is the large part of an inBatch. Streams borrow it while they have packets.
type buffers struct {
	out   [][]byte
	sizes []int
	write [][]byte
}

// newBuffers is shared by all batches of a process's TCP clients.
func newBuffers() any {
	return &buffers{sizes: make([]int, runSize), write: make([][]byte, 0, runSize)}
}

// open makes room for n packets: as much as the traffic has ever needed.
func (b *buffers) open(n int) [][]byte {
	for len(b.out) < n {
		b.out = append(b.out, make([]byte, bufferSize))
	}
	return b.out[:n]
}

func newInBatch(s *Server) *inBatch {
	return &inBatch{server: s, in: make([][]byte, 0, runSize)}
}

// add appends one datagram; a full run or another peer's is flushed first.
func (b *inBatch) add(now time.Time, p *peer, datagram []byte) {
	if b.peer != p || len(b.in) == runSize {
		b.flush(now)
		b.peer = p
	}
	b.in = append(b.in, datagram)
}

// together flushes when the next n datagrams would not all fit: a train that is
// not cut becomes one packet of the network.
func (b *inBatch) together(now time.Time, n int) {
	if len(b.in)+n > runSize {
		b.flush(now)
	}
}

// flush opens, checks and forwards the run. It returns how many datagrams were
// authentic and not replayed.
func (b *inBatch) flush(now time.Time) (authentic int) {
	if len(b.in) == 0 {
		return 0
	}
	if b.buffers == nil {
		b.buffers = b.server.buffers.Get().(*buffers)
	}
	p := b.peer
	sizes, out := b.sizes[:len(b.in)], b.open(len(b.in))
	delivered, authentic := p.data.OpenAuthentic(now, b.in, out, sizes, headroom)
	if delivered > 0 {
		b.write = b.write[:0]
		access, clamp := p.access.Load(), p.path.Load().mss
		var spoofed, denied uint64
		for i, n := range sizes {
			if n == 0 {
				continue
			}
			packet := out[i][headroom : headroom+n]
			src, dst, ok := addresses(packet)
			switch {
			case !ok || src != p.lease.Addr.Addr() && src != p.lease.Addr6.Addr():
				spoofed++
			case !access.allowed(dst):
				denied++
			default:
				clamp.Apply(packet)
				b.write = append(b.write, out[i][:headroom+n])
			}
		}
		if spoofed|denied != 0 {
			b.server.drops.spoofed.Add(spoofed)
			b.server.drops.denied.Add(denied)
		}
		if len(b.write) > 0 {
			b.server.toNetwork(b.write)
		}
	}
	b.in, b.peer = b.in[:0], nil
	if p.stream {
		b.free()
	}
	return authentic
}

// free gives the buffers back.
func (b *inBatch) free() {
	if b.buffers != nil {
		b.server.buffers.Put(b.buffers)
		b.buffers = nil
	}
}

// toNetwork writes a batch; the TUN takes one writer at a time.
func (s *Server) toNetwork(packets [][]byte) {
	s.tunMu.Lock()
	_, err := s.leave.Network.TUN().Write(packets, headroom)
	s.tunMu.Unlock()
	if err != nil && !closed(err) {
		s.drops.full.Add(1)
		s.log.Debug("the network did not take packets", "error", err)
	}
}

// addresses reads an IP packet's source and destination.
func addresses(b []byte) (src, dst netip.Addr, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), true
	case len(b) >= 40 && b[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), true
	}
	return netip.Addr{}, netip.Addr{}, false
}

// outBatch seals packets of the network and sends them. Only fromNetwork uses it.
type outBatch struct {
	server   *Server
	sealed   []byte // all datagrams of one batch
	sizes    []int
	messages []udp.Message
	conn     udp.Conn // of messages
}

// fromNetwork moves packets to clients until the TUN is closed.
func (s *Server) fromNetwork() error {
	door := s.leave.Network.TUN()
	n := max(door.BatchSize(), 1)
	packetSize := max(door.MTU()+256, 2048)
	bufs, sizes := make([][]byte, n), make([]int, n)
	for i := range bufs {
		bufs[i] = make([]byte, headroom+packetSize)
	}
	b := &outBatch{server: s, sealed: make([]byte, 0, n*(packetSize+ovpn.MaxOverhead)), sizes: make([]int, 0, n)}
	run := make([][]byte, 0, n)
	for {
		got, err := door.Read(bufs, sizes, headroom)
		if closed(err) {
			return nil
		}
		if err != nil && !errors.Is(err, tun.ErrTooManySegments) {
			return err
		}
		now := s.leave.Now()
		cidr6 := s.gen.Load().cfg.ClientCIDR6
		var to *peer
		var lost uint64
		for i := range got {
			packet := bufs[i][headroom : headroom+sizes[i]]
			_, dst, _ := addresses(packet)
			p := s.peers.byInner(cidr6, dst)
			if p == nil {
				lost++
				continue
			}
			if p != to {
				b.add(now, to, run)
				to, run = p, run[:0]
			}
			run = append(run, packet)
		}
		b.add(now, to, run)
		b.flush()
		run = run[:0]
		if lost > 0 {
			s.drops.noPeer.Add(lost)
		}
	}
}

// add seals the packets of one peer.
func (b *outBatch) add(now time.Time, p *peer, packets [][]byte) {
	if len(packets) == 0 {
		return
	}
	path := p.path.Load()
	for _, packet := range packets {
		path.mss.Apply(packet)
	}
	if p.out != nil {
		if !p.out.seal(now, p.data, packets) {
			b.server.drops.full.Add(uint64(len(packets)))
		}
		return
	}
	if b.conn != path.conn {
		b.flush()
		b.conn = path.conn
	}
	start, first := len(b.sealed), len(b.messages)
	b.sealed, b.sizes = p.data.Seal(now, b.sealed, 0, packets, b.sizes)
	b.messages = udp.AppendTrains(b.messages, path.from, b.sealed[start:], b.sizes)
	for i := range b.messages[first:] {
		b.messages[first+i].Local = path.local
	}
}

// flush sends what was sealed.
func (b *outBatch) flush() {
	if len(b.messages) > 0 {
		if err := b.conn.WriteBatch(b.messages); err != nil && !closed(err) {
			b.server.log.Debug("cannot send", "error", err)
		}
		clear(b.messages)
		b.messages = b.messages[:0]
	}
	b.sealed = b.sealed[:0]
}

// seal queues packets for a stream, each behind its length, or drops them when
// the client is slow. Sealing under the lock keeps packet ids in the order of the stream.
func (o *streamOut) seal(now time.Time, data *ovpn.Data, packets [][]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed || o.closing || len(o.pending) > maxPending {
		return false
	}
	at := len(o.pending)
	o.pending, o.sizes = data.Seal(now, o.pending, framing.HeaderSize, packets, o.sizes)
	framing.PutEach(o.pending[at:], o.sizes)
	o.wake.Signal()
	return true
}
