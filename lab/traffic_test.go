//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// ping sends echo requests until one is answered. src may be the zero Addr.
func ping(n *Node, src, dst netip.Addr, wait time.Duration) error {
	network, proto := "ip4:icmp", 1
	var request, reply icmp.Type = ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply
	if dst.Is6() {
		network, proto = "ip6:ipv6-icmp", 58
		request, reply = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	var conn net.PacketConn
	err := n.Do(func() (err error) {
		local := ""
		if src.IsValid() {
			local = src.String()
		}
		conn, err = net.ListenPacket(network, local)
		return err
	})
	if err != nil {
		return fmt.Errorf("ping %s from %s: %w", dst, n.Name, err)
	}
	defer conn.Close()
	id := os.Getpid()&0xff00 | int(time.Now().UnixNano())&0xff
	deadline := time.Now().Add(wait)
	buf := make([]byte, 1500)
	for seq := 1; time.Now().Before(deadline); seq++ {
		m := icmp.Message{Type: request, Body: &icmp.Echo{ID: id, Seq: seq, Data: []byte("adit lab")}}
		b, err := m.Marshal(nil)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(b, &net.IPAddr{IP: dst.AsSlice()}); err != nil {
			if time.Until(deadline) < 200*time.Millisecond {
				return fmt.Errorf("ping %s from %s: %w", dst, n.Name, err)
			}
			time.Sleep(100 * time.Millisecond)
			continue
		}
		conn.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
		for {
			k, from, err := conn.ReadFrom(buf)
			if err != nil {
				break
			}
			got, err := icmp.ParseMessage(proto, buf[:k])
			if err != nil || got.Type != reply {
				continue
			}
			e, ok := got.Body.(*icmp.Echo)
			if ok && e.ID == id && from.String() == dst.String() {
				return nil
			}
		}
	}
	return fmt.Errorf("ping %s from %s: no answer within %v", dst, n.Name, wait)
}

const (
	streamRecord = 1000                 // bytes
	streamPace   = 4 * time.Millisecond // a record each: 2 Mbit/s
)

// stream is a TCP connection with traffic in both directions.
type stream struct {
	stop    chan struct{}
	wait    sync.WaitGroup
	close   func()
	mu      sync.Mutex
	err     error
	results [2]flow // to the server, to the client
}

// flow is what one receiver saw.
type flow struct {
	Bytes  int64
	MaxGap time.Duration
	At     time.Duration // since the beginning, of MaxGap
	Late   time.Duration // longest time that the sender itself was late: a busy machine
}

// startStream connects from a to addr, where b listens, and begins to send both ways.
func startStream(a, b *Node, addr netip.AddrPort) (*stream, error) {
	l, err := b.Listen("tcp", addr.String())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	type accepted struct {
		conn net.Conn
		err  error
	}
	got := make(chan accepted, 1)
	go func() {
		c, err := l.Accept()
		got <- accepted{c, err}
	}()
	near, err := a.Dial("tcp", addr.String(), 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("stream from %s to %s: %w", a.Name, addr, err)
	}
	far := <-got
	if far.err != nil {
		near.Close()
		return nil, far.err
	}
	s := &stream{stop: make(chan struct{})}
	s.close = func() { near.Close(); far.conn.Close() }
	start := time.Now()
	for i, ends := range [][2]net.Conn{{near, far.conn}, {far.conn, near}} {
		s.wait.Go(func() {
			late, err := send(ends[0], s.stop)
			s.mu.Lock()
			s.results[i].Late = late
			s.mu.Unlock()
			s.fail("send", err)
		})
		s.wait.Go(func() {
			f, err := receive(ends[1], start)
			s.mu.Lock()
			f.Late = s.results[i].Late
			s.results[i] = f
			s.mu.Unlock()
			s.fail("receive", err)
		})
	}
	return s, nil
}

func (s *stream) fail(what string, err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = fmt.Errorf("stream: %s: %w", what, err)
	}
}

// end stops the senders, lets what is on the way arrive, and returns the gaps.
func (s *stream) end() ([2]flow, error) {
	close(s.stop)
	done := make(chan struct{})
	go func() { s.wait.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		s.fail("end", errors.New("the last bytes did not arrive"))
	}
	s.close()
	<-done
	return s.results, s.err
}

// send writes numbered records at a fixed pace, then closes its direction. late is
// by how much its clock missed the pace at most.
func send(c net.Conn, stop <-chan struct{}) (late time.Duration, err error) {
	t := time.NewTicker(streamPace)
	defer t.Stop()
	record := make([]byte, streamRecord)
	wrote := time.Now()
	for seq := uint64(0); ; seq++ {
		select {
		case <-stop:
			return late, c.(*net.TCPConn).CloseWrite()
		case <-t.C:
		}
		late = max(late, time.Since(wrote)-streamPace)
		for i := 0; i < streamRecord; i += 8 {
			binary.BigEndian.PutUint64(record[i:], seq*(streamRecord/8)+uint64(i/8))
		}
		if _, err := c.Write(record); err != nil {
			return late, err
		}
		wrote = time.Now()
	}
}

// receive checks every byte and measures the longest time without any.
func receive(c net.Conn, start time.Time) (f flow, err error) {
	buf := make([]byte, 64<<10)
	have, word, last := 0, uint64(0), time.Now()
	for {
		n, err := c.Read(buf[have:])
		now := time.Now()
		if gap := now.Sub(last); gap > f.MaxGap {
			f.MaxGap, f.At = gap, last.Sub(start)
		}
		last = now
		f.Bytes += int64(n)
		have += n
		i := 0
		for ; have-i >= 8; i += 8 {
			if got := binary.BigEndian.Uint64(buf[i:]); got != word {
				return f, fmt.Errorf("word %d arrived as %d", word, got)
			}
			word++
		}
		have = copy(buf, buf[i:have])
		if err != nil {
			if err.Error() == "EOF" && have == 0 {
				return f, nil
			}
			return f, err
		}
	}
}

// echoes is a stream of numbered datagrams to a node that sends each one back.
type echoes struct {
	stop  chan struct{}
	wait  sync.WaitGroup
	close func()
	sent  int
	back  map[uint64]bool
	count atomic.Int64 // of back
}

// Sizes of the datagrams of echoes; one in eight is large.
const (
	smallEcho = 200
	largeEcho = 1400
)

// startEchoes begins to send from a to addr at b, as often as a stream sends records.
func startEchoes(a, b *Node, addr netip.AddrPort) (*echoes, error) {
	far, err := b.ListenPacket("udp", addr.String())
	if err != nil {
		return nil, err
	}
	near, err := a.Dial("udp", addr.String(), time.Second)
	if err != nil {
		far.Close()
		return nil, err
	}
	e := &echoes{stop: make(chan struct{}), back: map[uint64]bool{}}
	e.close = func() { near.Close(); far.Close() }
	e.wait.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := far.ReadFrom(buf)
			if err != nil {
				return
			}
			far.WriteTo(buf[:n], from)
		}
	})
	e.wait.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, err := near.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if n == smallEcho || n == largeEcho {
				e.back[binary.BigEndian.Uint64(buf)] = true
				e.count.Store(int64(len(e.back)))
			}
		}
	})
	e.wait.Go(func() {
		t := time.NewTicker(streamPace)
		defer t.Stop()
		buf := make([]byte, largeEcho)
		for {
			select {
			case <-e.stop:
				for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && e.count.Load() < int64(e.sent); {
					time.Sleep(20 * time.Millisecond)
				}
				e.close()
				return
			case <-t.C:
			}
			size := smallEcho
			if e.sent%8 == 0 {
				size = largeEcho
			}
			binary.BigEndian.PutUint64(buf, uint64(e.sent))
			if _, err := near.Write(buf[:size]); err == nil {
				e.sent++
			}
		}
	})
	return e, nil
}

// end returns how many were sent and how many did not come back.
func (e *echoes) end() (sent, lost int) {
	close(e.stop)
	e.wait.Wait()
	return e.sent, e.sent - len(e.back)
}
