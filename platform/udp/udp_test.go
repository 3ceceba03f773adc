package udp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// implementations are every way to make a Conn on this system, by name.
func implementations() map[string]func(testing.TB, Conn) Conn {
	all := map[string]func(testing.TB, Conn) Conn{
		"native":   func(_ testing.TB, c Conn) Conn { return c },
		"portable": func(_ testing.TB, c Conn) Conn { return portableOf(c) },
	}
	for name, change := range variants() {
		all[name] = change
	}
	return all
}

// pair is a listener at addr and a socket connected to it.
func pair(t testing.TB, addr string, change func(testing.TB, Conn) Conn) (listener, dialer Conn) {
	t.Helper()
	l, err := Listen(context.Background(), netip.MustParseAddrPort(addr), Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Dial(context.Background(), l.LocalAddr(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	listener, dialer = change(t, l), change(t, d)
	t.Cleanup(func() { listener.Close(); dialer.Close() })
	return listener, dialer
}

// reader reads datagrams one after another, trains cut up.
type datagrams struct {
	conn  Conn
	ms    []Message
	ready []received
}

type received struct {
	from  netip.AddrPort
	local netip.Addr
	data  []byte
}

func reads(c Conn) *datagrams {
	d := &datagrams{conn: c, ms: make([]Message, c.BatchSize())}
	for i := range d.ms {
		d.ms[i].Buf = make([]byte, c.BufferSize())
	}
	return d
}

func (d *datagrams) next(t testing.TB) received {
	t.Helper()
	if len(d.ready) == 0 {
		stop := time.AfterFunc(5*time.Second, func() { d.conn.Close() })
		defer stop.Stop()
		n, err := d.conn.ReadBatch(d.ms)
		if err != nil {
			t.Fatalf("ReadBatch: %v", err)
		}
		for _, m := range d.ms[:n] {
			data := bytes.Clone(m.Buf[:m.N])
			for {
				size := len(data)
				if m.Segment > 0 {
					size = min(size, m.Segment)
				}
				d.ready = append(d.ready, received{m.Addr, m.Local, data[:size]})
				if data = data[size:]; len(data) == 0 {
					break
				}
			}
		}
	}
	first := d.ready[0]
	d.ready = d.ready[1:]
	return first
}

// train is n datagrams of size bytes, the last of which has last, each filled
// with its own number.
func train(n, size, last int) Message {
	m := Message{Buf: make([]byte, 0, n*size), Segment: size}
	for i := range n {
		if i == n-1 {
			size = last
		}
		m.Buf = append(m.Buf, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	m.N = len(m.Buf)
	return m
}

func checkTrain(t testing.TB, r *datagrams, n, size, last int) {
	t.Helper()
	for i := range n {
		if i == n-1 {
			size = last
		}
		if got := r.next(t).data; !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, size)) {
			t.Fatalf("datagram %d of %d: %d bytes of %v…, want %d", i, n, len(got), got[:min(4, len(got))], size)
		}
	}
}

func TestTrains(t *testing.T) {
	for name, change := range implementations() {
		for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
			t.Run(name+" "+addr, func(t *testing.T) {
				listener, dialer := pair(t, addr, change)
				in := reads(listener)
				for _, c := range []struct{ n, size, last int }{
					{1, 1, 1}, {2, 1400, 1400}, {2, 1400, 1}, {46, 1400, 1399}, {64, 1000, 7}, {64, 1400, 1400}, {150, 100, 33}, {3, 30000, 20000},
				} {
					if err := dialer.WriteBatch([]Message{train(c.n, c.size, c.last)}); err != nil {
						t.Fatalf("%+v: %v", c, err)
					}
					checkTrain(t, in, c.n, c.size, c.last)
				}
			})
		}
	}
}

func TestMixedBatchKeepsOrder(t *testing.T) {
	for name, change := range implementations() {
		t.Run(name, func(t *testing.T) {
			listener, dialer := pair(t, "127.0.0.1:0", change)
			var ms []Message
			for i := range 70 { // more than one system call holds
				b := []byte(fmt.Sprintf("number %d", i))
				ms = append(ms, Message{Buf: b, N: len(b)})
			}
			ms = append(ms, train(5, 700, 3), Message{Buf: []byte("end"), N: 3})
			if err := dialer.WriteBatch(ms); err != nil {
				t.Fatal(err)
			}
			in := reads(listener)
			for i := range 70 {
				got := in.next(t)
				if want := fmt.Sprintf("number %d", i); string(got.data) != want {
					t.Fatalf("got %q, want %q", got.data, want)
				}
				if got.from != dialer.LocalAddr() {
					t.Fatalf("from %v, want %v", got.from, dialer.LocalAddr())
				}
			}
			checkTrain(t, in, 5, 700, 3)
			if got := in.next(t).data; string(got) != "end" {
				t.Fatalf("got %q at the end", got)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	for name, change := range implementations() {
		t.Run(name, func(t *testing.T) {
			listener, dialer := pair(t, "[::1]:0", change)
			if err := dialer.WriteBatch([]Message{{Buf: []byte("ping"), N: 4}}); err != nil {
				t.Fatal(err)
			}
			from := reads(listener).next(t).from
			answer := train(4, 900, 900)
			answer.Addr = from
			if err := listener.WriteBatch([]Message{answer}); err != nil {
				t.Fatal(err)
			}
			checkTrain(t, reads(dialer), 4, 900, 900)
		})
	}
}

func TestEmptyDatagram(t *testing.T) {
	for name, change := range implementations() {
		t.Run(name, func(t *testing.T) {
			listener, dialer := pair(t, "127.0.0.1:0", change)
			if err := dialer.WriteBatch([]Message{{}, {Buf: []byte("x"), N: 1}}); err != nil {
				t.Fatal(err)
			}
			in := reads(listener)
			if a, b := in.next(t), in.next(t); len(a.data) != 0 || string(b.data) != "x" {
				t.Errorf("got %q and %q", a.data, b.data)
			}
		})
	}
}

func TestRefusedIsNotTheEnd(t *testing.T) {
	for name, change := range implementations() {
		t.Run(name, func(t *testing.T) {
			listener, dialer := pair(t, "127.0.0.1:0", change)
			addr := listener.LocalAddr()
			listener.Close()
			var err error
			for i := 0; i < 100 && err == nil; i++ { // the answer to one shows at the next
				err = dialer.WriteBatch([]Message{{Buf: []byte("x"), N: 1}})
			}
			if err == nil || !passing(err) {
				t.Fatalf("WriteBatch to a closed port: %v, want connection refused", err)
			}
			again, err := Listen(context.Background(), addr, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			// One more refusal may be waiting; both calls must get past it.
			_ = dialer.WriteBatch([]Message{{Buf: []byte("hello"), N: 5}})
			got := reads(again).next(t)
			if string(got.data) != "hello" {
				t.Fatalf("got %q", got.data)
			}
			if err := again.WriteBatch([]Message{{Addr: got.from, Buf: []byte("back"), N: 4}}); err != nil {
				t.Fatal(err)
			}
			if got := reads(dialer).next(t).data; string(got) != "back" {
				t.Fatalf("got %q", got)
			}
		})
	}
}

func TestReadSwallowsRefused(t *testing.T) {
	for name, change := range implementations() {
		t.Run(name, func(t *testing.T) {
			listener, dialer := pair(t, "127.0.0.1:0", change)
			listener.Close()
			result := make(chan error)
			go func() {
				_, err := reads(dialer).conn.ReadBatch([]Message{{Buf: make([]byte, 10)}})
				result <- err
			}()
			_ = dialer.WriteBatch([]Message{{Buf: []byte("x"), N: 1}})
			select {
			case err := <-result:
				t.Errorf("ReadBatch returned %v", err)
			case <-time.After(20 * time.Millisecond):
				dialer.Close()
				if err := <-result; !errors.Is(err, net.ErrClosed) {
					t.Errorf("ReadBatch after Close: %v", err)
				}
			}
		})
	}
}

func TestOneBadMessageDoesNotStopTheRest(t *testing.T) {
	for name, change := range implementations() {
		t.Run(name, func(t *testing.T) {
			a, _ := pair(t, "127.0.0.1:0", change)
			b, _ := pair(t, "127.0.0.1:0", change)
			err := a.WriteBatch([]Message{
				{Addr: b.LocalAddr(), Buf: []byte("one"), N: 3},
				{Addr: netip.MustParseAddrPort("[2001:db8::1]:9"), Buf: []byte("lost"), N: 4},
				{Addr: b.LocalAddr(), Buf: make([]byte, 65535), N: 65535}, // too long for IPv4
				{Addr: b.LocalAddr(), Buf: []byte("two"), N: 3},
			})
			if err == nil {
				t.Error("no error for an IPv6 address on an IPv4 socket")
			}
			in := reads(b)
			for _, want := range []string{"one", "two"} {
				if got := in.next(t).data; string(got) != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func TestConcurrentWriters(t *testing.T) {
	for name, change := range implementations() {
		t.Run(name, func(t *testing.T) {
			const writers, each = 8, 20
			listener, dialer := pair(t, "127.0.0.1:0", change)
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for i := range each {
						b := []byte{byte(w), byte(i)}
						if err := dialer.WriteBatch([]Message{{Buf: b, N: 2}}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			in, next := reads(listener), [writers]byte{}
			for range writers * each {
				got := in.next(t).data
				if len(got) != 2 || got[1] != next[got[0]] {
					t.Fatalf("got %v, want a message in its writer's order", got)
				}
				next[got[0]]++
			}
			all.Wait()
		})
	}
}

func TestCloseRace(t *testing.T) {
	for name, change := range implementations() {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				listener, dialer := pair(t, "127.0.0.1:0", change)
				var all sync.WaitGroup
				for range 2 {
					all.Go(func() {
						m := train(20, 1000, 10)
						for {
							if err := dialer.WriteBatch([]Message{m}); err != nil && !passing(err) {
								if err != net.ErrClosed {
									t.Errorf("WriteBatch: %v, want net.ErrClosed", err)
								}
								return
							}
						}
					})
				}
				all.Go(func() {
					ms := reads(listener).ms
					for {
						if _, err := listener.ReadBatch(ms); err != nil {
							if err != net.ErrClosed {
								t.Errorf("ReadBatch: %v, want net.ErrClosed", err)
							}
							return
						}
					}
				})
				time.Sleep(time.Millisecond)
				listener.Close()
				dialer.Close()
				all.Wait()
				if err := listener.Close(); err != nil {
					t.Errorf("second Close: %v", err)
				}
			}
		})
	}
}

func TestTruncatedIsDropped(t *testing.T) {
	listener, dialer := pair(t, "127.0.0.1:0", func(_ testing.TB, c Conn) Conn { return c })
	if listener.BatchSize() == 1 {
		t.Skip("this system does not tell")
	}
	if err := dialer.WriteBatch([]Message{{Buf: make([]byte, 100), N: 100}, {Buf: []byte("fits"), N: 4}}); err != nil {
		t.Fatal(err)
	}
	ms := []Message{{Buf: make([]byte, 50)}, {Buf: make([]byte, 50)}}
	n, err := listener.ReadBatch(ms)
	if err != nil || n != 1 || string(ms[0].Buf[:ms[0].N]) != "fits" {
		t.Errorf("ReadBatch: %d, %v, %q", n, err, ms[0].Buf[:ms[0].N])
	}
}

func TestBadRemote(t *testing.T) {
	for _, remote := range []netip.AddrPort{{}, netip.MustParseAddrPort("127.0.0.1:0")} {
		if c, err := Dial(context.Background(), remote, Options{}); err == nil {
			c.Close()
			t.Errorf("dialled %v", remote)
		}
	}
}

func TestDialFromLocal(t *testing.T) {
	listener, _ := pair(t, "127.0.0.1:0", func(_ testing.TB, c Conn) Conn { return c })
	d, err := Dial(context.Background(), listener.LocalAddr(), Options{Local: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := d.LocalAddr(); got.Addr() != netip.MustParseAddr("127.0.0.1") || got.Port() == 0 {
		t.Errorf("local address is %v", got)
	}
}
