package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func portableOf(c Conn) Conn {
	l := c.(*linuxConn)
	// The portable reader knows nothing of trains.
	_ = l.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 0) })
	return newPortable(l.c, Options{}, l.connected)
}

func variants() map[string]func(testing.TB, Conn) Conn {
	return map[string]func(testing.TB, Conn) Conn{
		"no GSO": func(_ testing.TB, c Conn) Conn {
			c.(*linuxConn).gso.Store(false)
			return c
		},
		"control messages":         func(_ testing.TB, c Conn) Conn { return msgConnOf(c) },
		"refused control messages": func(t testing.TB, c Conn) Conn { return msgConnOf(refuseTrains(t, c.(*linuxConn))) },
		"refused GSO":              func(t testing.TB, c Conn) Conn { return refuseTrains(t, c.(*linuxConn)) },
	}
}

// msgConnOf is the implementation of Windows, in Linux's words.
func msgConnOf(c Conn) *msgConn {
	l := c.(*linuxConn)
	return newMsgConn(newPortable(l.c, Options{}, l.connected), dialect{
		level: unix.SOL_UDP, cut: unix.UDP_SEGMENT, cutSize: 2, joined: unix.UDP_GRO,
		join: func(_ *net.UDPConn, on bool) error {
			value := 0
			if on {
				value = 1
			}
			return l.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, value) })
		},
		unable: func(err error) bool { return errors.Is(err, unix.EIO) },
		narrow: func(err error) bool { return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE) },
	}, true)
}

// refuseTrains makes the kernel itself refuse each train, as it does when a path is
// narrower than the segments: with SO_NO_CHECK, UDP_SEGMENT gets EINVAL.
func refuseTrains(t testing.TB, l *linuxConn) Conn {
	t.Helper()
	err := l.raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestKernelTrains(t *testing.T) {
	listener, dialer := pair(t, "127.0.0.1:0", func(_ testing.TB, c Conn) Conn { return c })
	if d := dialer.(*linuxConn); !d.gso.Load() || !d.gro {
		t.Fatalf("GSO %v, GRO %v on this kernel", d.gso.Load(), d.gro)
	}
	if err := dialer.WriteBatch([]Message{train(40, 1400, 200)}); err != nil {
		t.Fatal(err)
	}
	in := reads(listener)
	n, err := listener.ReadBatch(in.ms)
	if err != nil || n != 1 || in.ms[0].Segment != 1400 || in.ms[0].N != 39*1400+200 {
		t.Errorf("ReadBatch: %d messages, %v, segment %d, %d bytes", n, err, in.ms[0].Segment, in.ms[0].N)
	}
}

// TestControlMessages: trains go out and come in whole, until the system refuses them or says no more of what
// size their datagrams are.
func TestControlMessages(t *testing.T) {
	// exchange sends a train, which is to arrive as one.
	exchange := func(t *testing.T, listener, dialer Conn, whole bool) {
		t.Helper()
		if err := dialer.WriteBatch([]Message{train(40, 1400, 200)}); err != nil {
			t.Fatal(err)
		}
		in := reads(listener)
		n, err := listener.ReadBatch(in.ms)
		if err != nil || n != 1 || (in.ms[0].Segment == 1400 && in.ms[0].N == 39*1400+200) != whole {
			t.Errorf("ReadBatch: %d messages, %v, segment %d, %d bytes", n, err, in.ms[0].Segment, in.ms[0].N)
		}
	}
	ours := func(_ testing.TB, c Conn) Conn { return msgConnOf(c) }
	refusing := func(t testing.TB, c Conn) Conn { return msgConnOf(refuseTrains(t, c.(*linuxConn))) }
	t.Run("trains", func(t *testing.T) {
		listener, dialer := pair(t, "127.0.0.1:0", ours)
		exchange(t, listener, dialer, true)
	})
	t.Run("unable", func(t *testing.T) {
		listener, dialer := pair(t, "127.0.0.1:0", refusing)
		d := dialer.(*msgConn)
		d.system.unable = d.system.narrow
		exchange(t, listener, dialer, false)
		if d.cuts {
			t.Error("goes on with trains")
		}
	})
	t.Run("narrow", func(t *testing.T) {
		listener, dialer := pair(t, "127.0.0.1:0", refusing)
		exchange(t, listener, dialer, false)
		if d := dialer.(*msgConn); !d.cuts || d.refused.allow(netip.AddrPort{}, 1400) || !d.refused.allow(netip.AddrPort{}, 1399) {
			t.Error("has not learned how long is too long")
		}
	})
	t.Run("unlabelled", func(t *testing.T) {
		listener, dialer := pair(t, "127.0.0.1:0", ours)
		l := listener.(*msgConn)
		l.system.longest, l.system.joined = 1472, 9999 // as with a driver that joins and says nothing
		exchange(t, listener, dialer, false)
		if l.joined {
			t.Error("goes on with trains whose sizes are not known")
		}
		if err := dialer.WriteBatch([]Message{train(5, 1400, 200)}); err != nil {
			t.Fatal(err)
		}
		checkTrain(t, reads(listener), 5, 1400, 200)
	})
}

func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	for _, c := range []struct{ listen, ask string }{
		{"0.0.0.0:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.77"}, {"[::]:0", "::1"}, {"[::]:0", "127.0.0.78"},
	} {
		t.Run(c.listen+" "+c.ask, func(t *testing.T) {
			listener, err := Listen(context.Background(), netip.MustParseAddrPort(c.listen), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			asked := netip.MustParseAddr(c.ask)
			// A connected socket hears only the address that it asked.
			dialer, err := Dial(context.Background(), netip.AddrPortFrom(asked, listener.LocalAddr().Port()), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer dialer.Close()
			if err := dialer.WriteBatch([]Message{train(3, 500, 500)}); err != nil {
				t.Fatal(err)
			}
			in := reads(listener)
			got := in.next(t)
			if got.local != asked || got.from.Addr().Is4() != asked.Is4() {
				t.Fatalf("sent to %v from %v, want %v", got.local, got.from, asked)
			}
			answer := train(3, 700, 7)
			answer.Addr, answer.Local = got.from, got.local
			if err := listener.WriteBatch([]Message{answer}); err != nil {
				t.Fatal(err)
			}
			checkTrain(t, reads(dialer), 3, 700, 7)
		})
	}
}

// TestListenShared: each peer has a socket of its own, for all its datagrams, and peers are spread over all
// sockets, each of which can answer anybody.
func TestListenShared(t *testing.T) {
	for _, c := range []struct{ listen, ask string }{{"127.0.0.1:0", "127.0.0.1"}, {"[::]:0", "127.0.0.1"}, {"[::]:0", "::1"}} {
		t.Run(c.listen+" "+c.ask, func(t *testing.T) {
			const shared, peers, each = 3, 40, 5
			conns, err := ListenShared(t.Context(), netip.MustParseAddrPort(c.listen), shared, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(conns) != shared {
				t.Fatalf("%d sockets", len(conns))
			}
			type heard struct {
				socket int
				from   netip.AddrPort
				local  netip.Addr
			}
			all := make(chan heard, peers*each)
			var readers sync.WaitGroup
			for i, conn := range conns {
				if conn.LocalAddr() != conns[0].LocalAddr() {
					t.Errorf("one socket is at %v, one at %v", conns[0].LocalAddr(), conn.LocalAddr())
				}
				readers.Go(func() {
					var ms []Message
					for n := 0; ; {
						if n == len(ms) {
							ms = Grow(ms, conn)
						}
						var err error
						if n, err = conn.ReadBatch(ms); err != nil {
							return
						}
						for _, m := range ms[:n] {
							for range max(1, m.N/10) { // a train is several datagrams
								all <- heard{i, m.Addr, m.Local}
							}
						}
					}
				})
			}
			defer readers.Wait()
			defer func() {
				for _, conn := range conns {
					conn.Close()
				}
			}()
			at := netip.AddrPortFrom(netip.MustParseAddr(c.ask), conns[0].LocalAddr().Port())
			dialers := map[netip.AddrPort]Conn{}
			for range peers {
				d, err := Dial(t.Context(), at, Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				dialers[d.LocalAddr()] = d
				for range each {
					if err := d.WriteBatch([]Message{{Buf: make([]byte, 10), N: 10}}); err != nil {
						t.Fatal(err)
					}
				}
			}
			of, used := map[netip.AddrPort]heard{}, map[int]bool{}
			for range peers * each {
				h := <-all
				if before, ok := of[h.from]; ok && before != h {
					t.Errorf("a peer is heard by sockets %d and %d", before.socket, h.socket)
				}
				of[h.from], used[h.socket] = h, true
			}
			if len(of) != peers || len(used) != shared {
				t.Errorf("%d peers on %d sockets", len(of), len(used))
			}
			for from, h := range of {
				answer := Message{Addr: from, Local: h.local, Buf: []byte("answer"), N: 6}
				if err := conns[(h.socket+1)%shared].WriteBatch([]Message{answer}); err != nil {
					t.Fatal(err)
				}
				if got := reads(dialers[from]).next(t); string(got.data) != "answer" {
					t.Errorf("%q", got.data)
				}
			}
		})
	}
}

// TestListenSharedIsExclusive: who shares a port with himself shares it with nobody else, though it were
// another one of the same user who does the same.
func TestListenSharedIsExclusive(t *testing.T) {
	conns, err := ListenShared(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), 2, Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := conns[0].LocalAddr()
	for _, n := range []int{1, 2} {
		for _, addr := range []netip.Addr{at.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			if more, err := ListenShared(t.Context(), netip.AddrPortFrom(addr, at.Port()), n, Options{}); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("%d sockets at %v: %d, %v", n, addr, len(more), err)
			}
		}
	}
	conns[0].Close() // the one that was bound alone
	if _, err := ListenShared(t.Context(), at, 2, Options{}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("beside the second socket: %v", err)
	}
	conns[1].Close()
	again, err := ListenShared(t.Context(), at, 2, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range again {
		c.Close()
	}
}

func TestMark(t *testing.T) {
	c, err := Listen(context.Background(), netip.MustParseAddrPort("127.0.0.1:0"), Options{Mark: 7})
	if err != nil {
		if os.Getuid() == 0 || os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("needs CAP_NET_ADMIN")
	}
	defer c.Close()
	var mark int
	_ = c.(*linuxConn).raw.Control(func(fd uintptr) { mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) })
	if err != nil || mark != 7 {
		t.Errorf("mark is %d, %v", mark, err)
	}
}

func TestNoAllocations(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::]:0"} {
		listener, err := Listen(context.Background(), netip.MustParseAddrPort(addr), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		dialer, err := Dial(context.Background(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), listener.LocalAddr().Port()), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer dialer.Close()
		there, back := reads(listener), reads(dialer)
		out := []Message{train(20, 1400, 100), {Buf: make([]byte, 90), N: 90}}
		answer := []Message{train(20, 1400, 100)}
		allocs := testing.AllocsPerRun(100, func() {
			if err := dialer.WriteBatch(out); err != nil {
				t.Fatal(err)
			}
			if _, err := listener.ReadBatch(there.ms); err != nil {
				t.Fatal(err)
			}
			answer[0].Addr, answer[0].Local = there.ms[0].Addr, there.ms[0].Local
			if err := listener.WriteBatch(answer); err != nil {
				t.Fatal(err)
			}
			if _, err := dialer.ReadBatch(back.ms); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations per exchange, want 0", addr, allocs)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for release, want := range map[string]bool{
		"5.12.0": true, "5.11.22-generic": false, "6.1.0-9-amd64": true, "5.12-rc1": true, "4.19": false, "": false, "x.y": false, "6": false, "10.0": true,
	} {
		if got := atLeast(release, 5, 12); got != want {
			t.Errorf("atLeast(%q) is %v", release, got)
		}
	}
}

// TestNoRoute: what connect(2) says without a way is told from what servers and routers say.
func TestNoRoute(t *testing.T) {
	dial := func(errno error) error {
		return fmt.Errorf("attempt: %w", &net.OpError{Op: "dial", Net: "udp", Err: os.NewSyscallError("connect", errno)})
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{dial(unix.ENETUNREACH), true}, {dial(unix.ENETDOWN), true}, {dial(unix.ECONNREFUSED), false},
		{dial(unix.EHOSTUNREACH), false}, {dial(unix.EADDRNOTAVAIL), false}, {errors.New("network is unreachable"), false}, {nil, false},
	} {
		if NoRoute(c.err) != c.want {
			t.Errorf("%v: %t", c.err, !c.want)
		}
	}
}
