package endpoint

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/platform/udp"
)

const runSize = 128 // packets that are opened and written together

// queue is one door to the network. One goroutine reads from it; writers take turns, which costs
// nothing where each has a queue of its own.
type queue struct {
	tun     platform.TUN
	writing sync.Mutex // once per batch
}

// inBatch takes datagrams of one peer after the other, opens them, checks them,
// and writes what is left to one queue. Not safe for concurrent use.
type inBatch struct {
	server *Server
	queue  *queue
	peer   *peer
	in     [][]byte // borrowed until flush

	// From client to client:
	across *outBatch // nil until there is something
	to     *peer
	run    []offload.Packet // for to; borrowed until flush
}

// newInBatch makes one for the shard's queue, or for that of the shard before it where there are fewer.
func newInBatch(s *Server, shard int) *inBatch {
	return &inBatch{server: s, queue: s.queues[shard%len(s.queues)], in: make([][]byte, 0, runSize)}
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
	p, pkts := b.peer, b.in
	b.in, b.peer = b.in[:0], nil
	delivered, authentic := p.data.Open(now, pkts)
	if delivered == 0 {
		return authentic
	}
	access, clamp := p.access.Load(), p.path.Load().mss
	var spoofed, denied, lost uint64
	n := 0
	for _, packet := range pkts {
		if packet == nil {
			continue
		}
		src, dst, ok := addresses(packet)
		switch {
		case !ok || src != p.lease.Addr.Addr() && src != p.lease.Addr6.Addr():
			spoofed++
		default:
			way := access.way(dst)
			if way != toNetwork && p.lease.pings(dst, packet) {
				way = toNetwork
			}
			switch way {
			case toNetwork:
				clamp.Apply(packet)
				pkts[n] = packet
				n++
			case toClients:
				clamp.Apply(packet)
				if !b.toClient(now, dst, packet) {
					lost++
				}
			default:
				denied++
			}
		}
	}
	if spoofed|denied|lost != 0 {
		b.server.drops.spoofed.Add(spoofed)
		b.server.drops.denied.Add(denied)
		b.server.drops.noPeer.Add(lost)
	}
	if b.to != nil {
		b.sealRun(now)
		b.across.flush()
	}
	if n > 0 {
		b.server.toNetwork(b.queue, pkts[:n])
	}
	return authentic
}

// pings says whether packet is an echo request in one piece to the endpoint's own address in the client's slice, which needs no
// rule: the network itself answers, and nothing goes on.
func (l lease) pings(dst netip.Addr, packet []byte) bool {
	switch dst {
	case l.Gateway.Addr():
		const fragment = 0x3fff // more of them, and the offset (RFC 791, 3.1)
		n := int(packet[0]&15) * 4
		return packet[9] == 1 && binary.BigEndian.Uint16(packet[6:])&fragment == 0 && n >= 20 && len(packet) > n && packet[n] == 8
	case l.Gateway6.Addr():
		return packet[6] == 58 && len(packet) > 40 && packet[40] == 128
	}
	return false
}

// toClient takes a packet to another client, if there is one at dst. It never leaves the process.
func (b *inBatch) toClient(now time.Time, dst netip.Addr, packet []byte) bool {
	to := b.server.peers.byInner(b.server.gen.Load().cfg.ClientCIDR6, dst)
	if to == nil {
		return false
	}
	if b.across == nil {
		b.across = &outBatch{server: b.server}
	}
	if to != b.to {
		b.sealRun(now)
		b.to = to
	}
	b.run = append(b.run, offload.Packet{Bytes: packet})
	return true
}

// sealRun seals what toClient took for one client.
func (b *inBatch) sealRun(now time.Time) {
	if b.to != nil {
		b.across.add(now, b.to, b.run)
	}
	clear(b.run)
	b.to, b.run = nil, b.run[:0]
}

// toNetwork writes a batch.
func (s *Server) toNetwork(q *queue, packets [][]byte) {
	q.writing.Lock()
	_, err := q.tun.Write(packets)
	q.writing.Unlock()
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

// outBatch seals packets for clients and sends them. Not safe for concurrent use: each queue has one, and each inBatch.
type outBatch struct {
	server   *Server
	cut      offload.Train
	sealed   []byte // all datagrams of one batch
	sizes    []int
	messages []udp.Message
	conn     udp.Conn // of messages
	held     []*peer  // of messages
}

// fromNetwork moves packets of one queue to clients until the queue is closed.
func (s *Server) fromNetwork(q *queue) error {
	pkts := make([]offload.Packet, q.tun.BatchSize())
	b := &outBatch{server: s}
	for {
		got, err := q.tun.Read(pkts)
		if closed(err) {
			return nil
		}
		if err != nil {
			return err
		}
		now := s.leave.Now()
		cidr6 := s.gen.Load().cfg.ClientCIDR6
		var to *peer
		var lost uint64
		start := 0 // of the packets to the same peer
		for i := range got {
			_, dst, _ := addresses(pkts[i].Bytes)
			p := s.peers.byInner(cidr6, dst)
			if p == nil {
				lost++
			}
			if p != to {
				b.add(now, to, pkts[start:i])
				to, start = p, i
			}
		}
		b.add(now, to, pkts[start:got])
		b.flush()
		if lost > 0 {
			s.drops.noPeer.Add(lost)
		}
	}
}

// add seals the packets of one peer; nil is nobody.
func (b *outBatch) add(now time.Time, p *peer, packets []offload.Packet) {
	if p == nil || len(packets) == 0 {
		return
	}
	path := p.path.Load()
	for _, packet := range packets {
		path.mss.Apply(packet.Bytes)
	}
	b.cut.Reset(packets)
	if p.out != nil {
		if !p.out.seal(now, p.data, &b.cut) {
			b.server.drops.full.Add(uint64(len(packets)))
		}
		return
	}
	if b.conn != path.conn {
		b.flush()
		b.conn = path.conn
	}
	b.hold(p)
	start, first := len(b.sealed), len(b.messages)
	b.sealed, b.sizes = p.data.Seal(now, b.sealed, 0, &b.cut, b.sizes)
	b.messages = udp.AppendTrains(b.messages, path.from, b.sealed[start:], b.sizes)
	for i := range b.messages[first:] {
		b.messages[first+i].Local = path.local
	}
}

// hold keeps the other queues from sending to p until flush: what was sealed first must leave first, or
// p's client takes it for replayed.
func (b *outBatch) hold(p *peer) {
	if p.sender.Load() == b {
		return
	}
	if !p.sending.TryLock() {
		b.flush() // who waits holds nobody, so that two never wait for each other
		p.sending.Lock()
	}
	p.sender.Store(b)
	b.held = append(b.held, p)
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
	for i, p := range b.held {
		p.sender.Store(nil)
		p.sending.Unlock()
		b.held[i] = nil
	}
	b.held = b.held[:0]
}

// seal queues packets for a stream, each behind its length, or drops them when
// the client is slow. Sealing under the lock keeps packet ids in the order of the stream.
func (o *streamOut) seal(now time.Time, data *ovpn.Data, packets ovpn.Packets) bool {
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

// say is seal for a message of the session itself. An error ends the session.
func (o *streamOut) say(now time.Time, data *ovpn.Data, message []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.failed || o.closing:
		return net.ErrClosed
	case len(o.pending) > maxPending: // which is a sign of life, too
		return nil
	}
	at := len(o.pending)
	o.pending, o.sizes = data.SealMessage(now, o.pending, framing.HeaderSize, message, o.sizes)
	framing.PutEach(o.pending[at:], o.sizes)
	o.wake.Signal()
	return nil
}
