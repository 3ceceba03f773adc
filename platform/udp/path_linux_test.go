package udp

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/lab"
)

// narrowWay is a sender and a receiver with a router between them; the wire behind the router
// carries packets of at most mtu bytes.
//
//	sender 192.168.1.2 --- .1 router 192.168.2.1 --- .2 receiver
//	       fd01::2     --- ::1       fd02::1     --- ::2
type narrowWay struct {
	t                        *testing.T
	sender, router, receiver *lab.Node
}

func newNarrowWay(t *testing.T, mtu int) narrowWay {
	t.Helper()
	net, err := lab.NewNet(t.TempDir())
	if errors.Is(err, lab.ErrRoot) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	w := narrowWay{t: t}
	w.ok(err)
	t.Cleanup(net.Close)
	for name, n := range map[string]**lab.Node{"sender": &w.sender, "router": &w.router, "receiver": &w.receiver} {
		*n, err = net.Node(name)
		w.ok(err)
		w.ok((*n).Do(func() error { // link-local addresses are there at once
			return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
		}))
	}
	w.ok(net.Wire(w.sender, "eth0", []string{"192.168.1.2/24", "fd01::2/64"}, w.router, "eth0", []string{"192.168.1.1/24", "fd01::1/64"}))
	w.ok(net.Wire(w.receiver, "eth0", []string{"192.168.2.2/24", "fd02::2/64"}, w.router, "eth1", []string{"192.168.2.1/24", "fd02::1/64"}))
	w.ok(w.router.Forward())
	for _, gateway := range []string{"192.168.1.1", "fd01::1"} {
		w.ok(w.sender.Route("", gateway))
	}
	for _, gateway := range []string{"192.168.2.1", "fd02::1"} {
		w.ok(w.receiver.Route("", gateway))
	}
	w.ok(w.router.MTU("eth1", mtu))
	w.ok(w.receiver.MTU("eth0", mtu))
	return w
}

func (w narrowWay) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// sockets are one that is connected, and one that hears it.
func (w narrowWay) sockets(addr string) (*linuxConn, *datagrams) {
	w.t.Helper()
	var d, l Conn
	w.ok(w.receiver.Do(func() (err error) {
		l, err = Listen(context.Background(), netip.MustParseAddrPort(addr), Options{})
		return err
	}))
	w.ok(w.sender.Do(func() (err error) {
		d, err = Dial(context.Background(), netip.MustParseAddrPort(addr), Options{})
		return err
	}))
	w.t.Cleanup(func() { d.Close(); l.Close() })
	return d.(*linuxConn), reads(l)
}

const receiver4, receiver6 = "192.168.2.2:5000", "[fd02::2]:5000"

// marked is a datagram that begins with a letter.
func marked(letter byte, size int) Message {
	return Message{Buf: bytes.Repeat([]byte{letter}, size), N: size}
}

// arrives demands that the next datagram is the marked one.
func arrives(t *testing.T, in *datagrams, letter byte, size int) {
	t.Helper()
	if got := in.next(t).data; len(got) != size || got[0] != letter {
		t.Fatalf("got %d bytes of %q, want %d of %q", len(got), got[0], size, letter)
	}
}

// TestFragmentsOnTheWay: a router that cannot pass a datagram whole and whose complaint is filtered cuts it. Only
// WriteWhole forbids that.
func TestFragmentsOnTheWay(t *testing.T) {
	w := newNarrowWay(t, 1400)
	w.ok(w.router.Mute())
	out, in := w.sockets(receiver4)
	w.ok(out.WriteBatch([]Message{marked('a', 1450), train(30, 1450, 1450)}))
	arrives(t, in, 'a', 1450)
	checkTrain(t, in, 30, 1450, 1450)

	w.ok(out.WriteWhole(marked('b', 1450))) // lost
	w.ok(out.WriteWhole(marked('c', 1372)))
	w.ok(out.WriteBatch([]Message{marked('d', 1450)}))
	arrives(t, in, 'c', 1372)
	arrives(t, in, 'd', 1450)
	if mtu := out.PathMTU(); mtu != 1500 {
		t.Errorf("the path carries %d bytes, says a kernel that cannot know", mtu)
	}
	if err := out.WriteWhole(marked('e', 1473)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("a datagram that does not even fit the device: %v", err)
	}
}

// TestWholeIPv6: routers do not cut IPv6 at all.
func TestWholeIPv6(t *testing.T) {
	w := newNarrowWay(t, 1400)
	w.ok(w.router.Mute())
	out, in := w.sockets(receiver6)
	w.ok(out.WriteWhole(marked('a', 1353))) // lost
	w.ok(out.WriteWhole(marked('b', 1352)))
	arrives(t, in, 'b', 1352)
	if err := out.WriteWhole(marked('c', 1453)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("a datagram that does not even fit the device: %v", err)
	}
}

// TestComplaint: a router that may complain is believed, and trains whose datagrams have become too long are not
// offered to the kernel again and again.
func TestComplaint(t *testing.T) {
	for _, addr := range []string{receiver4, receiver6} {
		t.Run(addr, func(t *testing.T) {
			w := newNarrowWay(t, 1400)
			out, in := w.sockets(addr)
			most := 1500 - 28
			if out.inet6 {
				most = 1500 - 48
			}
			w.ok(out.WriteWhole(marked('a', most))) // lost
			for wait := time.Now().Add(5 * time.Second); out.PathMTU() != 1400; time.Sleep(time.Millisecond) {
				if time.Now().After(wait) {
					t.Fatalf("the path carries %d bytes", out.PathMTU())
				}
			}
			for range 3 {
				_ = out.WriteBatch([]Message{train(30, most, 7), train(30, 1200, 7)}) // the complaint may show once more
				checkTrain(t, in, 30, most, 7)
				checkTrain(t, in, 30, 1200, 7)
			}
			if refused := out.refused.segments[netip.AddrPort{}]; refused != most || !out.gso.Load() {
				t.Errorf("refused from %d bytes on, GSO %t", refused, out.gso.Load())
			}
		})
	}
}

// TestRefusalsOfMany: each peer of a listener has its own path.
func TestRefusalsOfMany(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1")
	var r refusals
	r.add(a, 1400)
	r.expire()
	for _, c := range []struct {
		to      netip.AddrPort
		segment int
		want    bool
	}{{a, 1400, false}, {a, 1500, false}, {a, 1399, true}, {b, 1500, true}} {
		if r.allow(c.to, c.segment) != c.want {
			t.Errorf("%+v", c)
		}
	}
	r.since = time.Now().Add(-refusalTime - time.Second)
	if r.expire(); !r.allow(a, 1400) {
		t.Error("remembered for ever")
	}
	for i := range maxRefusals + 10 {
		r.add(netip.AddrPortFrom(a.Addr(), uint16(i)), 1400)
	}
	if len(r.segments) > maxRefusals {
		t.Errorf("remembers %d peers", len(r.segments))
	}
}

// TestDeviceWithoutChecksums: trains pass a device that computes no checksums; some kernels refuse them
// there (EIO), others compute them.
func TestDeviceWithoutChecksums(t *testing.T) {
	w := newNarrowWay(t, 1500)
	w.ok(w.sender.Do(func() error { return noChecksums("eth0") }))
	out, in := w.sockets(receiver4)
	w.ok(out.WriteBatch([]Message{train(30, 1400, 7)}))
	checkTrain(t, in, 30, 1400, 7)
	t.Logf("GSO stays %t", out.gso.Load())
}

// noChecksums turns a device's transmit checksum offload off (ethtool -K tx off; linux/ethtool.h).
func noChecksums(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := struct{ command, data uint32 }{unix.ETHTOOL_STXCSUM, 0}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], device)
	request.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// TestBurst: a receiver that is busy for a moment keeps a burst of some megabytes, packet by packet as a network
// card gives it; with the buffer that Linux gives by itself most of it is lost.
func TestBurst(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
		lossy   bool
	}{{"ours", Options{}, false}, {"usual", Options{ReceiveBuffer: 212992 / 2}, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newNarrowWay(t, 1500)
			w.ok(w.sender.NoTrains("eth0"))
			var l, d Conn
			addr := netip.MustParseAddrPort(receiver4)
			w.ok(w.receiver.Do(func() (err error) { l, err = Listen(context.Background(), addr, c.options); return err }))
			defer l.Close()
			w.ok(w.sender.Do(func() (err error) { d, err = Dial(context.Background(), addr, Options{}); return err }))
			defer d.Close()
			const trains, each, size = 30, 46, 1400
			for range trains {
				w.ok(d.WriteBatch([]Message{train(each, size, size)}))
			}
			lost := dropped(t, l)
			for n := -1; n != lost; time.Sleep(50 * time.Millisecond) { // until all are there
				n, lost = lost, dropped(t, l)
			}
			for in, n := reads(l), lost; n < trains*each; n++ {
				if got := len(in.next(t).data); got != size {
					t.Fatalf("%d bytes", got)
				}
			}
			t.Logf("%d of %d datagrams were lost", lost, trains*each)
			if (lost > 0) != c.lossy {
				t.Errorf("%d of %d datagrams were lost", lost, trains*each)
			}
		})
	}
}

// dropped is how many datagrams found no room in a socket's buffer (SO_MEMINFO, SK_MEMINFO_DROPS).
func dropped(t *testing.T, c Conn) int {
	t.Helper()
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	err := c.(*linuxConn).control(func(fd int) error {
		if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return int(info[8])
}
