package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/platform/udp"
)

// nsMachine is a thread in a network namespace of its own, with a TUN.
type nsMachine struct {
	tun    *linuxTUN
	queues []*linuxTUN // tun is the first of them
	work   chan func()
}

// do runs f on the thread and waits.
func (m *nsMachine) do(f func()) {
	done := make(chan struct{})
	m.work <- func() { defer close(done); f() }
	<-done
}

func newMachine(t *testing.T, queues int, addresses ...string) *nsMachine {
	t.Helper()
	m := &nsMachine{work: make(chan func())}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for f := range m.work {
			f()
		}
	}()
	t.Cleanup(func() { close(m.work) })
	var err error
	m.do(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		var nl *netlink.Handle
		if nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return
		}
		defer nl.Close()
		if m.queues, err = createTUN(nl, "tun0", 1400, queues, func(int) {}); err != nil {
			return
		}
		m.tun = m.queues[0]
		link, _ := nl.LinkByName("tun0")
		for _, a := range addresses {
			x, _ := netlink.ParseAddr(a)
			if x.IP.To4() == nil {
				x.Flags = unix.IFA_F_NODAD
			}
			err = errors.Join(err, nl.AddrAdd(link, x))
			// The kernel takes an IPv6 address for its own a moment later.
			for end := time.Now().Add(10 * time.Second); err == nil; {
				if r, _ := nl.RouteGet(x.IP); len(r) > 0 && r[0].Type == unix.RTN_LOCAL {
					break
				}
				if time.Now().After(end) {
					err = fmt.Errorf("%s is not there", a)
				}
				time.Sleep(time.Millisecond)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(m.queues) })
	return m
}

// seen counts what passed from one TUN to another.
type seen struct {
	mu               sync.Mutex
	packets, supers  int
	tcp4, tcp6, udps int // super-packets
	longest          int // packet after the cut
}

// carry takes packets from one TUN to the other as a tunnel does, until from is closed.
func carry(from, to *linuxTUN, s *seen) {
	pkts := make([]offload.Packet, from.BatchSize())
	var cut offload.Train
	for {
		n, err := from.Read(pkts)
		if err != nil {
			return
		}
		var out [][]byte
		s.mu.Lock()
		for _, p := range pkts[:n] {
			if p.Segment > 0 {
				s.supers++
				switch {
				case p.Bytes[0]>>4 == 6 && p.Bytes[6] == 6:
					s.tcp6++
				case p.Bytes[0]>>4 == 4 && p.Bytes[9] == 6:
					s.tcp4++
				default:
					s.udps++
				}
			}
		}
		cut.Reset(pkts[:n])
		for p := cut.Next(); p != nil; p = cut.Next() {
			s.longest = max(s.longest, len(p))
			out = append(out, bytes.Clone(p))
		}
		s.packets += len(out)
		s.mu.Unlock()
		if _, err := to.Write(out); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// pairOfMachines joins two by their TUNs, queue by queue; with join they join super-packets. The result of the
// function is what went each way, when both are closed.
func pairOfMachines(t *testing.T, queues int, join bool) (a, b *nsMachine, way [2]*seen) {
	enterNS(t) // for its word about root
	a = newMachine(t, queues, "10.9.0.1/24", "fd09::1/64")
	b = newMachine(t, queues, "10.9.0.2/24", "fd09::2/64")
	way = [2]*seen{{}, {}}
	var both sync.WaitGroup
	for i := range queues {
		for _, q := range []*linuxTUN{a.queues[i], b.queues[i]} {
			if !q.out.joiner.TCP {
				t.Fatalf("queue %d: this kernel takes no super-packets", i)
			}
			q.out.joiner.TCP = join
		}
		both.Go(func() { carry(a.queues[i], b.queues[i], way[0]) })
		both.Go(func() { carry(b.queues[i], a.queues[i], way[1]) })
	}
	t.Cleanup(func() { closeAll(a.queues); closeAll(b.queues); both.Wait() })
	return a, b, way
}

// TestTUNCarriesStreams sends TCP both ways at once through two real kernels' TUNs. What arrives is what was
// sent, whether super-packets are joined or not, and by how many queues.
func TestTUNCarriesStreams(t *testing.T) {
	for _, tc := range []struct{ queues, streams int }{{1, 1}, {2, 6}} {
		for _, join := range []bool{true, false} {
			for _, family := range []string{"10.9.0.2", "fd09::2"} {
				t.Run(fmt.Sprintf("%s, join %v, %d queues", family, join, tc.queues), func(t *testing.T) {
					a, b, way := pairOfMachines(t, tc.queues, join)
					var l net.Listener
					var err error
					b.do(func() { l, err = net.Listen("tcp", net.JoinHostPort(family, "80")) })
					must(t, err)
					defer l.Close()
					var all sync.WaitGroup
					for range tc.streams {
						var c net.Conn
						a.do(func() { c, err = net.DialTimeout("tcp", l.Addr().String(), 10*time.Second) })
						must(t, err)
						far, err := l.Accept()
						must(t, err)
						all.Go(func() { exchange(t, c, far, 4<<20/tc.streams) })
					}
					all.Wait()
					for i, s := range way {
						s.mu.Lock()
						if s.longest > 1400 {
							t.Errorf("way %d: a packet of %d bytes", i, s.longest)
						}
						if n := s.tcp4 + s.tcp6; n == 0 || s.packets < 2*n {
							t.Errorf("way %d: %d super-packets of %d packets", i, n, s.packets)
						}
						s.mu.Unlock()
					}
				})
			}
		}
	}
}

// exchange sends size bytes each way at once, and closes both ends.
func exchange(t *testing.T, a, b net.Conn, size int) {
	sent := [2][]byte{make([]byte, size), make([]byte, size)}
	r := rand.NewChaCha8([32]byte{9})
	r.Read(sent[0])
	r.Read(sent[1])
	var got [2][]byte
	var all sync.WaitGroup
	for i, c := range []net.Conn{a, b} {
		c.SetDeadline(time.Now().Add(30 * time.Second))
		all.Go(func() {
			_, err := c.Write(sent[i])
			if err = errors.Join(err, c.(*net.TCPConn).CloseWrite()); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			var err error
			if got[i], err = io.ReadAll(c); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	a.Close()
	b.Close()
	if !bytes.Equal(got[0], sent[1]) || !bytes.Equal(got[1], sent[0]) {
		t.Error("something else arrived")
	}
}

// TestTUNQueueOfAFlow: what answers a packet comes out of the queue into which the packet went.
func TestTUNQueueOfAFlow(t *testing.T) {
	enterNS(t)
	const queues = 3
	a, b := newMachine(t, 1, "10.9.0.1/24"), newMachine(t, queues, "10.9.0.2/24")
	var at net.PacketConn
	var err error
	b.do(func() { at, err = net.ListenPacket("udp4", "10.9.0.2:53") })
	must(t, err)
	defer at.Close()
	type answer struct {
		queue int
		text  string
	}
	answers := make(chan answer, 1)
	var readers sync.WaitGroup
	for i, q := range b.queues {
		readers.Go(func() {
			pkts := make([]offload.Packet, q.BatchSize())
			for {
				n, err := q.Read(pkts)
				if err != nil {
					return
				}
				for _, p := range pkts[:n] {
					if len(p.Bytes) > 28 && p.Bytes[0]>>4 == 4 && p.Bytes[9] == unix.IPPROTO_UDP {
						answers <- answer{i, string(p.Bytes[28:])}
					}
				}
			}
		})
	}
	defer readers.Wait()
	defer closeAll(b.queues)
	buf := make([]byte, 100)
	for flow := range 4 {
		var from net.Conn
		a.do(func() { from, err = net.Dial("udp4", "10.9.0.2:53") })
		must(t, err)
		defer from.Close()
		for _, queue := range []int{2, 0, 1, 1} {
			want := fmt.Sprintf("flow %d by queue %d", flow, queue)
			_, err := from.Write([]byte(want))
			must(t, err)
			_, err = b.queues[queue].Write([][]byte{readPacket(t, a.tun, unix.IPPROTO_UDP)})
			must(t, err)
			must(t, at.SetReadDeadline(time.Now().Add(10*time.Second)))
			n, sender, err := at.ReadFrom(buf)
			must(t, err)
			_, err = at.WriteTo(buf[:n], sender)
			must(t, err)
			select {
			case got := <-answers:
				if got.queue != queue || got.text != want {
					t.Errorf("%s: %q came by queue %d", want, got.text, got.queue)
				}
			case <-time.After(10 * time.Second):
				t.Fatal(want + ": no answer")
			}
		}
	}
}

// TestTUNCarriesDatagrams sends trains of datagrams: the receiver gets each of them, as it was.
func TestTUNCarriesDatagrams(t *testing.T) {
	a, b, way := pairOfMachines(t, 2, true)
	for _, to := range []string{"10.9.0.2:53", "[fd09::2]:53"} {
		var from, at udp.Conn
		var err error
		b.do(func() { at, err = udp.Listen(context.Background(), netip.MustParseAddrPort(to), udp.Options{}) })
		must(t, err)
		a.do(func() { from, err = udp.Dial(context.Background(), netip.MustParseAddrPort(to), udp.Options{}) })
		must(t, err)
		const n, size = 40, 1000
		var want []string
		var train []byte
		for i := range n {
			d := bytes.Repeat([]byte{byte(i + 1)}, size-i/(n-1)) // the last one is shorter
			want = append(want, string(d))
			train = append(train, d...)
		}
		must(t, from.WriteBatch([]udp.Message{{Buf: train, N: len(train), Segment: size}}))
		var got []string
		ms := make([]udp.Message, 8)
		for i := range ms {
			ms[i].Buf = make([]byte, at.BufferSize())
		}
		stop := time.AfterFunc(10*time.Second, func() { at.Close() })
		for len(got) < n {
			k, err := at.ReadBatch(ms)
			if err != nil {
				t.Fatalf("%s: %d of %d datagrams: %v", to, len(got), n, err)
			}
			for _, m := range ms[:k] {
				step := m.Segment
				if step == 0 {
					step = m.N
				}
				for rest := m.Buf[:m.N]; len(rest) > 0; rest = rest[min(step, len(rest)):] {
					got = append(got, string(rest[:min(step, len(rest))]))
				}
			}
		}
		stop.Stop()
		if !slices.Equal(got, want) {
			t.Errorf("%s: other datagrams arrived", to)
		}
		from.Close()
		at.Close()
	}
	way[0].mu.Lock()
	defer way[0].mu.Unlock()
	if a.tun.out.joiner.UDP && way[0].udps < 2 {
		t.Errorf("%d super-packets of UDP", way[0].udps)
	}
}

// TestTUNGoesOnWithoutSuperPackets: what the kernel refuses to take as one is written packet by packet, and
// joined no more.
func TestTUNGoesOnWithoutSuperPackets(t *testing.T) {
	enterNS(t)
	a, b := newMachine(t, 1, "10.9.0.1/24"), newMachine(t, 1, "10.9.0.2/24")
	var at net.PacketConn
	var from net.Conn
	var err error
	b.do(func() { at, err = net.ListenPacket("udp4", "10.9.0.2:53") })
	must(t, err)
	defer at.Close()
	a.do(func() { from, err = net.Dial("udp4", "10.9.0.2:53") })
	must(t, err)
	defer from.Close()
	var packets [][]byte
	for i := range 3 {
		_, err := fmt.Fprintf(from, "datagram %d", i)
		must(t, err)
		packets = append(packets, bytes.Clone(readPacket(t, a.tun, unix.IPPROTO_UDP)))
	}
	w := &b.tun.out
	w.joiner.UDP = true
	w.runs = w.joiner.Join(packets)
	if len(w.runs) != 1 {
		t.Fatalf("%d runs", len(w.runs))
	}
	w.runs[0].Segment = 0 // no kernel takes that
	must(t, b.tun.raw.Write(w.call))
	if w.err != nil || w.joiner.UDP || !w.joiner.TCP {
		t.Errorf("error %v, joins UDP: %v, TCP: %v", w.err, w.joiner.UDP, w.joiner.TCP)
	}
	buf := make([]byte, 100)
	for i := range 3 {
		must(t, at.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, _, err := at.ReadFrom(buf)
		must(t, err)
		if string(buf[:n]) != fmt.Sprintf("datagram %d", i) {
			t.Errorf("%q", buf[:n])
		}
	}
}
