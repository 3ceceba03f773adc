package client

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/platform/udp"
)

// pipeTUN gives out the same packet and counts what is written.
type pipeTUN struct {
	packet  []byte
	written int
}

func (p *pipeTUN) Read([]offload.Packet) (int, error) { return 0, os.ErrClosed }
func (p *pipeTUN) Write(pkts [][]byte) (int, error) {
	for _, b := range pkts {
		p.written += len(b)
	}
	return len(pkts), nil
}
func (p *pipeTUN) BatchSize() int { return 128 }
func (p *pipeTUN) Name() string   { return "tun9" }
func (p *pipeTUN) MTU() int       { return 1500 }
func (p *pipeTUN) Close() error   { return nil }

var _ platform.TUN = (*pipeTUN)(nil)

// sinkConn keeps the last train.
type sinkConn struct {
	memConn
	last []byte
	ns   []udp.Message
}

func (s *sinkConn) WriteBatch(ms []udp.Message) error {
	s.last, s.ns = s.last[:0], s.ns[:0]
	for _, m := range ms {
		s.last = append(s.last, m.Buf[:m.N]...)
		s.ns = append(s.ns, udp.Message{N: m.N, Segment: m.Segment})
	}
	return nil
}

func (s *sinkConn) WriteWhole(m udp.Message) error { return s.WriteBatch([]udp.Message{m}) }

// TestPumpAllocatesNothing sends batches through a real session's keys, both ways.
func TestPumpAllocatesNothing(t *testing.T) {
	pki := ovpntest.NewPKI(t)
	pair := ovpntest.NewPair(t, ovpn.Config{TLS: pki.ClientTLS("c")}, ovpn.Config{TLS: pki.ServerTLS()}, ovpntest.Noise{}, 1)
	if !pair.Run(time.Minute, pair.Up) {
		t.Fatal("the pair did not come up")
	}
	client, server := pair.Client.Session.Data(), pair.Server.Session.Data()

	const n, size = 32, 1300
	tun := &pipeTUN{}
	out := &outbound{tun: tun}
	conn := &sinkConn{}
	out.path.Store(&path{data: client, link: newUDPLink(conn, new(traffic)), mss: mss.New(1492, 52)})
	pkts := make([]offload.Packet, n)
	for i := range pkts {
		pkts[i].Bytes = append([]byte{0x45}, make([]byte, size-1)...)
	}
	var s atomic.Pointer[sink]
	s.Store(&sink{tun: tun})
	in := &inbound{data: server, bufs: newInBuffers(), sink: &s, answered: new(atomic.Bool), inbox: make(chan []byte), traffic: new(traffic)}
	var sealed train
	now := time.Now()
	once := func() {
		out.pass(&sealed, pkts)
		rest := conn.last
		for len(rest) > 0 {
			one := rest[:min(sealed.sizes[0], len(rest))]
			rest = rest[len(one):]
			if err := in.take(now, one); err != nil {
				t.Fatal(err)
			}
		}
		if err := in.flush(now); err != nil {
			t.Fatal(err)
		}
	}
	once()
	if tun.written != n*size {
		t.Fatalf("%d bytes came through, want %d", tun.written, n*size)
	}
	if len(conn.ns) != 1 || conn.ns[0].Segment != sealed.sizes[0] {
		t.Errorf("sent as %+v, want one train", conn.ns)
	}
	if a := testing.AllocsPerRun(20, once); a != 0 {
		t.Errorf("%v allocations per batch", a)
	}
	if want := 22 * n * size; tun.written != want {
		t.Errorf("%d bytes came through, want %d", tun.written, want)
	}
}

// trainConn gives out one train in each message that it is offered, until it has none.
type trainConn struct {
	memConn
	trains  [][]byte
	segment int
	offered []int // messages per read
}

func (c *trainConn) ReadBatch(ms []udp.Message) (int, error) {
	if len(c.trains) == 0 {
		return 0, net.ErrClosed
	}
	c.offered = append(c.offered, len(ms))
	n := min(len(ms), len(c.trains))
	for i, t := range c.trains[:n] {
		ms[i].N, ms[i].Segment = copy(ms[i].Buf, t), c.segment
	}
	c.trains = c.trains[n:]
	return n, nil
}

func (c *trainConn) BatchSize() int  { return 4 }
func (c *trainConn) BufferSize() int { return 64 << 10 }

// batchTUN notes how many packets each Write brought.
type batchTUN struct {
	pipeTUN
	batches []int
}

func (b *batchTUN) Write(pkts [][]byte) (int, error) {
	b.batches = append(b.batches, len(pkts))
	return b.pipeTUN.Write(pkts)
}

// TestTrainsStayTogether reads trains of 50, of which two fit into a batch: none may be cut.
func TestTrainsStayTogether(t *testing.T) {
	pki := ovpntest.NewPKI(t)
	pair := ovpntest.NewPair(t, ovpn.Config{TLS: pki.ClientTLS("c")}, ovpn.Config{TLS: pki.ServerTLS()}, ovpntest.Noise{}, 1)
	if !pair.Run(time.Minute, pair.Up) {
		t.Fatal("the pair did not come up")
	}
	const trains, length, size = 10, 50, 1000
	pkts := make(ovpn.List, length)
	for i := range pkts {
		pkts[i] = append([]byte{0x45}, make([]byte, size-1)...)
	}
	conn := &trainConn{segment: size + pair.Client.Session.Data().Overhead()}
	for range trains {
		rest := pkts
		b, sizes := pair.Client.Session.Data().Seal(time.Now(), nil, 0, &rest, nil)
		if len(sizes) != length {
			t.Fatalf("sealed %d", len(sizes))
		}
		conn.trains = append(conn.trains, b)
	}
	tun := &batchTUN{}
	var s atomic.Pointer[sink]
	s.Store(&sink{tun: tun})
	in := &inbound{data: pair.Server.Session.Data(), bufs: newInBuffers(), sink: &s, answered: new(atomic.Bool), inbox: make(chan []byte), traffic: new(traffic)}
	if err := in.udp(newUDPLink(conn, new(traffic)), func() bool { return true }); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if n := in.traffic.in.Load(); n != trains*length*uint64(conn.segment) {
		t.Errorf("counted %d bytes", n)
	}
	if want := []int{1, 2, 4, 4}; !slices.Equal(conn.offered, want) {
		t.Errorf("buffers for %v messages, want %v", conn.offered, want)
	}
	if want := []int{length, 2 * length, 2 * length, 2 * length, 2 * length, length}; !slices.Equal(tun.batches, want) {
		t.Errorf("wrote batches of %v, want %v", tun.batches, want)
	}
	if tun.written != trains*length*size {
		t.Errorf("wrote %d bytes, want %d", tun.written, trains*length*size)
	}
}

// lateConn is a connection on which one short packet waits longer for its turn than a batch.
type lateConn struct{ net.Conn }

func (c lateConn) Write(b []byte) (int, error) {
	if len(b) < 1000 {
		time.Sleep(time.Millisecond)
	}
	return c.Conn.Write(b)
}

// TestStreamKeepsOrder: what the session says in the data channel of a busy stream comes between the packets that were
// sealed before it and after it.
func TestStreamKeepsOrder(t *testing.T) {
	pki := ovpntest.NewPKI(t)
	pair := ovpntest.NewPair(t, ovpn.Config{TLS: pki.ClientTLS("c"), Stream: true}, ovpn.Config{TLS: pki.ServerTLS(), Stream: true}, ovpntest.Noise{}, 1)
	if !pair.Run(time.Minute, pair.Up) {
		t.Fatal("the pair did not come up")
	}
	session, server := pair.Client.Session, pair.Server.Session.Data()
	ours, theirs := net.Pipe() // each write takes until all of it is read
	a := &running{link: newStreamLink(lateConn{ours}, new(traffic))}
	const rounds, batch = 200, 100
	var wg sync.WaitGroup
	wg.Go(func() {
		defer ours.Close()
		var both sync.WaitGroup
		defer both.Wait()
		both.Go(func() {
			out := &outbound{}
			out.path.Store(&path{data: session.Data(), link: a.link})
			pkts, sealed := make([]offload.Packet, batch), train{}
			for range rounds {
				for i := range pkts {
					pkts[i].Bytes = append([]byte{0x45}, make([]byte, 99)...)
				}
				out.pass(&sealed, pkts)
			}
		})
		both.Go(func() {
			for range rounds {
				if err := session.Probe(); err != nil {
					t.Error(err)
				}
				for m := session.NextMessage(); m != nil; m = session.NextMessage() {
					if err := a.say(pair.Now, session.Data(), m); err != nil {
						t.Error(err)
					}
				}
			}
		})
	})
	in := framing.NewReader(theirs)
	delivered, authentic := 0, 0
	for {
		got, err := in.ReadBatch(make([][]byte, 0, inBatch))
		d, a := server.Open(pair.Now, got)
		delivered, authentic = delivered+d, authentic+a
		if err != nil {
			break
		}
	}
	wg.Wait()
	if n := server.Counters().Dropped; delivered != rounds*batch || authentic != rounds*(batch+2) || n != 0 {
		t.Errorf("%d packets came, %d with the messages, %d were refused", delivered, authentic, n)
	}
}

// TestTraffic: bytes outside are what the other side gets and gives, on datagrams and on a stream.
func TestTraffic(t *testing.T) {
	ours, theirs := net.Pipe()
	var counted traffic
	link := newStreamLink(ours, &counted)
	go func() {
		defer ours.Close()
		gap := make([]byte, link.gap())
		if err := link.write(slices.Concat(gap, []byte("one"), gap, []byte("three")), []int{3, 5}); err != nil {
			t.Error(err)
		}
		if err := link.send([]byte("seven77")); err != nil {
			t.Error(err)
		}
	}()
	got, err := io.ReadAll(theirs)
	if n := counted.out.Load(); err != nil || n != uint64(len(got)) || n != 3*2+3+5+7 {
		t.Errorf("a stream: %d sent, %d counted, %v", len(got), n, err)
	}

	ours, theirs = net.Pipe()
	go func() {
		defer theirs.Close()
		if _, err := theirs.Write([]byte("\x00\x02\x38a\x00\x03\x38bc")); err != nil { // two control packets
			t.Error(err)
		}
	}()
	in := &inbound{bufs: newInBuffers(), answered: new(atomic.Bool), inbox: make(chan []byte, 2), traffic: &counted}
	if err := in.tcp(ours); !errors.Is(err, io.EOF) || counted.in.Load() != 9 {
		t.Errorf("from a stream: %d counted, %v", counted.in.Load(), err)
	}

	conn := &sinkConn{}
	counted = traffic{}
	datagrams := newUDPLink(conn, &counted)
	if err := errors.Join(datagrams.write([]byte("aaaabbbbcc"), []int{4, 4, 2}), datagrams.send([]byte("dddd")), datagrams.WriteWhole([]byte("ee"))); err != nil {
		t.Fatal(err)
	}
	if n := counted.out.Load(); n != 16 {
		t.Errorf("datagrams: %d counted", n)
	}
}
