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

// machine is a thread in a network namespace of its own, with a TUN.
type machine struct {
	tun  *linuxTUN
	work chan func()
}

// do runs f on the thread and waits.
func (m *machine) do(f func()) {
	done := make(chan struct{})
	m.work <- func() { defer close(done); f() }
	<-done
}

func newMachine(t *testing.T, addresses ...string) *machine {
	t.Helper()
	m := &machine{work: make(chan func())}
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
		if m.tun, err = createTUN(nl, "tun0", 1400, func(int) {}); err != nil {
			return
		}
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
	t.Cleanup(func() { m.tun.Close() })
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

// pairOfMachines joins two by their TUNs. The result of the function is what went each way, when both are closed.
func pairOfMachines(t *testing.T) (a, b *machine, way [2]*seen) {
	enterNS(t) // for its word about root
	a = newMachine(t, "10.9.0.1/24", "fd09::1/64")
	b = newMachine(t, "10.9.0.2/24", "fd09::2/64")
	way = [2]*seen{{}, {}}
	var both sync.WaitGroup
	both.Go(func() { carry(a.tun, b.tun, way[0]) })
	both.Go(func() { carry(b.tun, a.tun, way[1]) })
	t.Cleanup(func() { a.tun.Close(); b.tun.Close(); both.Wait() })
	return a, b, way
}

// TestTUNCarriesStreams sends TCP both ways at once through two real kernels' TUNs. What arrives is what was
// sent, whether super-packets are joined or not.
func TestTUNCarriesStreams(t *testing.T) {
	for _, join := range []bool{true, false} {
		for _, family := range []string{"10.9.0.2", "fd09::2"} {
			t.Run(fmt.Sprintf("%s, join %v", family, join), func(t *testing.T) {
				a, b, way := pairOfMachines(t)
				if !a.tun.out.joiner.TCP {
					t.Fatal("this kernel takes no super-packets")
				}
				a.tun.out.joiner.TCP, b.tun.out.joiner.TCP = join, join
				var l net.Listener
				var err error
				b.do(func() { l, err = net.Listen("tcp", net.JoinHostPort(family, "80")) })
				must(t, err)
				defer l.Close()
				const size = 8 << 20
				sent := [2][]byte{make([]byte, size), make([]byte, size)}
				r := rand.NewChaCha8([32]byte{9})
				r.Read(sent[0])
				r.Read(sent[1])
				var got [2][]byte
				exchange := func(c net.Conn, i int) error {
					c.SetDeadline(time.Now().Add(30 * time.Second))
					failed := make(chan error, 1)
					go func() {
						_, err := c.Write(sent[i])
						failed <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
					}()
					var err error
					got[i], err = io.ReadAll(c)
					return errors.Join(err, <-failed, c.Close())
				}
				server := make(chan error, 1)
				go func() {
					c, err := l.Accept()
					if err == nil {
						err = exchange(c, 1)
					}
					server <- err
				}()
				var c net.Conn
				a.do(func() { c, err = net.DialTimeout("tcp", l.Addr().String(), 10*time.Second) })
				must(t, err)
				must(t, exchange(c, 0))
				must(t, <-server)
				if !bytes.Equal(got[0], sent[1]) || !bytes.Equal(got[1], sent[0]) {
					t.Error("something else arrived")
				}
				for i, s := range way {
					s.mu.Lock()
					if s.longest > 1400 {
						t.Errorf("way %d: a packet of %d bytes", i, s.longest)
					}
					if n := s.tcp4 + s.tcp6; n == 0 || s.packets < 4*n {
						t.Errorf("way %d: %d super-packets of %d packets", i, n, s.packets)
					}
					s.mu.Unlock()
				}
			})
		}
	}
}

// TestTUNCarriesDatagrams sends trains of datagrams: the receiver gets each of them, as it was.
func TestTUNCarriesDatagrams(t *testing.T) {
	a, b, way := pairOfMachines(t)
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
	a, b := newMachine(t, "10.9.0.1/24"), newMachine(t, "10.9.0.2/24")
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
