package client

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/platform/udp"
)

// The packet path, on two goroutines.
//
// Out (outbound, as long as the TUN):
//  1. tun.Read gives packets, and super-packets that stand for many
//  2. Data.Seal cuts them and encrypts each packet into one contiguous buffer
//  3. link.write sends that buffer with one system call: trains on UDP, one stream write on TCP
//
// In (inbound.udp or inbound.tcp, as long as the attempt):
//  1. one read from the socket gives many datagrams, or many frames
//  2. control packets are copied to the session's inbox, and dropped when it is full
//  3. Data.Open decrypts the data packets in place
//  4. tun.Write takes the batch, and joins what it can to super-packets
//
// Nothing on it allocates, locks or crosses a channel per packet, and no payload is copied. The out side
// finds the session of the moment through one atomic pointer; while there is none, packets
// from the TUN are dropped, so that nothing leaks between two attempts.

const inBatch = 128 // datagrams that are opened and written together

// path is where sealed packets go at the moment.
type path struct {
	data *ovpn.Data
	link link
	mss  mss.Clamp
	loop loopGuard
	nat  nat
}

// link sends what Seal wrote.
type link interface {
	// Who seals holds it until write is done, once for each batch: what is sealed first must leave first, or the server
	// takes it for repeated, by which a stream ends.
	sync.Locker
	// gap is how many bytes Seal must leave in front of each datagram.
	gap() int
	// write sends the datagrams that lie in buf one after the other, each after a gap. It keeps
	// nothing. The caller holds the lock.
	write(buf []byte, sizes []int) error
	// send sends one control packet; safe beside write.
	send(packet []byte) error
	// within calls f, which locks and writes, and bounds how long that takes.
	within(f func() error) error
	// local is the address that packets leave from; the zero Addr when it is not known.
	local() netip.Addr
	close() error
}

// traffic counts bytes outside. Safe for concurrent use.
type traffic struct{ in, out atomic.Uint64 }

// outbound carries packets from one TUN to the path of the moment.
type outbound struct {
	tun  platform.TUN
	path atomic.Pointer[path]
}

// run works until the TUN is closed, and returns why it ended.
func (o *outbound) run() error {
	pkts := make([]offload.Packet, o.tun.BatchSize())
	var sealed train
	for {
		n, err := o.tun.Read(pkts)
		if err != nil {
			return err
		}
		o.pass(&sealed, pkts[:n])
	}
}

// train is what Seal makes of one batch; its buffers serve the next one too.
type train struct {
	cut   offload.Train
	buf   []byte
	sizes []int
}

// pass sends one batch. A failed write loses packets, as networks do; the reading side
// notices when the link is gone.
func (o *outbound) pass(sealed *train, pkts []offload.Packet) {
	p := o.path.Load()
	if p == nil {
		return
	}
	n := 0
	for _, x := range pkts {
		if p.loop.catches(x.Bytes) {
			continue
		}
		p.mss.Apply(x.Bytes)
		p.nat.out(x.Bytes)
		pkts[n] = x
		n++
	}
	if n == 0 {
		return
	}
	sealed.cut.Reset(pkts[:n])
	p.link.Lock()
	defer p.link.Unlock()
	sealed.buf, sealed.sizes = p.data.Seal(time.Now(), sealed.buf[:0], p.link.gap(), &sealed.cut, sealed.sizes)
	if len(sealed.sizes) > 0 {
		_ = p.link.write(sealed.buf, sealed.sizes)
	}
}

// inBuffers are the receive side's buffers; a connection keeps them for all its attempts. There
// are as many as the traffic has ever needed: megabytes of them at once would be a good part of
// the time that a connection takes.
type inBuffers struct {
	messages []udp.Message
	batch    [][]byte // datagrams, borrowed until flush
}

func newInBuffers() *inBuffers { return &inBuffers{batch: make([][]byte, 0, inBatch)} }

// inbound carries packets from one link to the TUN, and control packets to inbox.
type inbound struct {
	data  *ovpn.Data
	inbox chan<- []byte
	bufs  *inBuffers
	// sink is the TUN of the moment; until there is one, packets are opened (a ping counts) and dropped.
	sink *atomic.Pointer[sink]
	// answered is set once anything came.
	answered *atomic.Bool
	traffic  *traffic
}

// sink is where opened packets go.
type sink struct {
	tun platform.TUN
	mss mss.Clamp
	nat nat
}

// errRefused says that the server's machine has nothing listening.
var errRefused = errors.New("connection refused")

// udp works until the link is closed or its socket broken. With refused it also ends
// when the peer's machine says that nobody listens.
func (in *inbound) udp(l *udpLink, refused func() bool) error {
	n, conn := 0, *l.conn.Load()
	for {
		if n == len(in.bufs.messages) {
			in.bufs.messages = udp.Grow(in.bufs.messages, conn)
		}
		ms := in.bufs.messages
		var err error
		n, err = conn.ReadBatch(ms)
		switch {
		case err == nil:
		case errors.Is(err, syscall.ECONNREFUSED):
			if refused() {
				return errRefused
			}
			continue
		case transient(err):
			continue
		default:
			next, ok := l.next(conn)
			if !ok {
				return err
			}
			conn = next
			continue
		}
		now, bytes := time.Now(), 0
		for i := range ms[:n] {
			rest := ms[i].Buf[:ms[i].N]
			bytes += len(rest)
			size := ms[i].Segment
			if size <= 0 {
				size = len(rest)
			} else if len(in.bufs.batch)+(len(rest)+size-1)/size > inBatch {
				// A train that stays together becomes one packet for the TUN's reader.
				if err := in.flush(now); err != nil {
					return err
				}
			}
			for len(rest) > 0 {
				one := rest[:min(size, len(rest))]
				rest = rest[len(one):]
				if l.payload != nil {
					if one = l.payload(one); len(one) == 0 {
						continue
					}
				}
				if err := in.take(now, one); err != nil {
					return err
				}
			}
		}
		in.traffic.in.Add(uint64(bytes))
		if err := in.flush(now); err != nil {
			return err
		}
	}
}

// transient errors of a socket tell about one earlier packet or one moment of the network.
func transient(err error) bool {
	return errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EMSGSIZE)
}

// tcp works until the connection is closed or broken.
func (in *inbound) tcp(conn net.Conn) error {
	r := framing.NewReader(conn)
	packets := make([][]byte, 0, inBatch)
	for {
		got, err := r.ReadBatch(packets)
		now, bytes := time.Now(), 0
		for _, p := range got {
			bytes += framing.HeaderSize + len(p)
			if err := in.take(now, p); err != nil {
				return err
			}
		}
		in.traffic.in.Add(uint64(bytes))
		if err := in.flush(now); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
}

// take sorts one packet: control packets go to the session, data packets wait for flush.
func (in *inbound) take(now time.Time, packet []byte) error {
	if !wire.IsData(packet[0]) {
		in.answered.Store(true)
		select {
		case in.inbox <- append([]byte(nil), packet...):
		default: // the session is behind; the peer sends again
		}
		return nil
	}
	in.bufs.batch = append(in.bufs.batch, packet)
	if len(in.bufs.batch) == cap(in.bufs.batch) {
		return in.flush(now)
	}
	return nil
}

// flush opens what take collected and writes it to the TUN.
func (in *inbound) flush(now time.Time) error {
	pkts := in.bufs.batch
	in.bufs.batch = pkts[:0]
	if len(pkts) == 0 {
		return nil
	}
	if delivered, _ := in.data.Open(now, pkts); delivered == 0 {
		return nil
	}
	s := in.sink.Load()
	if s == nil {
		return nil
	}
	n := 0
	for _, p := range pkts {
		if p == nil {
			continue
		}
		s.mss.Apply(p)
		s.nat.in(p)
		pkts[n] = p
		n++
	}
	if _, err := s.tun.Write(pkts[:n]); errors.Is(err, os.ErrClosed) && in.sink.Load() == s {
		return err
	}
	return nil // one packet that the system did not want does not end a tunnel
}
