package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/offload"
)

// linuxTUN is a queue of a TUN device, which may have several. Its file descriptor gives and takes
// super-packets, each behind a struct virtio_net_hdr (linux/virtio_net.h; Documentation/networking/tuntap.rst).
// One Read and one Write may run at once.
type linuxTUN struct {
	file   *os.File
	raw    syscall.RawConn
	name   string
	index  int
	mtu    atomic.Int64
	closed atomic.Bool

	in  tunReader
	out tunWriter
}

const (
	vnetSize  = 10
	maxPacket = 65535
	tunBatch  = 64
	// readBudget is how many bytes one Read takes before it passes them on.
	readBudget = 64 << 10
	// maxParts is how many pieces one write may have (UIO_MAXIOV is 1024).
	maxParts = 2 + 256
)

// newTUN owns fd, also when it fails.
func newTUN(fd int) (*linuxTUN, error) {
	ifr, err := unix.NewIfreq("")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	t := &linuxTUN{name: ifr.Name()}
	// What the kernel may leave to us; older ones know less. The same goes for what we may leave to it.
	for _, with := range []int{unix.TUN_F_USO4 | unix.TUN_F_USO6, 0} {
		if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6|with) == nil {
			t.out.joiner = offload.Joiner{TCP: true, UDP: with != 0}
			break
		}
	}
	t.file = os.NewFile(uintptr(fd), tunPath)
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil, err
	}
	t.in.call, t.out.call = t.in.read, t.out.write
	t.in.buf = make([]byte, readBudget+vnetSize+maxPacket)
	return t, nil
}

// tunReader is the state of one Read.
type tunReader struct {
	buf  []byte
	call func(fd uintptr) bool // read, made once
	pkts []offload.Packet
	n    int
	err  error

	waited bool // in this Read
	// single says that the last packets came one by one: then Read does not look for a second one, which
	// would delay the first.
	single bool
}

// Read implements TUN. It drops what the kernel hands over malformed, so that an error is always the
// device's end.
func (t *linuxTUN) Read(pkts []offload.Packet) (int, error) {
	r := &t.in
	r.pkts, r.n, r.err, r.waited = pkts, 0, nil, false
	err := t.raw.Read(r.call)
	r.pkts, r.single = nil, r.waited && r.n == 1
	if r.n > 0 {
		return r.n, nil
	}
	if t.closed.Load() {
		return 0, os.ErrClosed
	}
	if err = errors.Join(err, r.err); err == nil {
		return 0, nil
	}
	// The device was deleted under us (EBADFD, or the poller lets go): there is no way back.
	return 0, fmt.Errorf("read from %s: %w: %w", t.name, os.ErrClosed, err)
}

// read takes what is there; false when that is nothing.
func (r *tunReader) read(fd uintptr) bool {
	for at := 0; r.n < len(r.pkts) && at <= readBudget; {
		rest := r.buf[at:]
		// Raw, as the descriptor never blocks: the scheduler has nothing to arrange for it.
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)))
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			r.waited = r.waited || r.n == 0
			return r.n > 0
		default:
			r.err = errno
			return true
		}
		if p, ok := received(rest[:n:n]); ok {
			r.pkts[r.n] = p
			r.n++
			at += int(n)
		}
		if r.single && r.waited && r.n > 0 {
			return true
		}
	}
	return true
}

// received is what stands behind a virtio_net_hdr.
func received(b []byte) (offload.Packet, bool) {
	if len(b) <= vnetSize {
		return offload.Packet{}, false
	}
	h := vnet(b[:vnetSize])
	b = b[vnetSize:]
	switch h.kind() {
	case unix.VIRTIO_NET_HDR_GSO_NONE:
		return offload.Packet{Bytes: b}, !h.unsummed() || offload.Complete(b, h.sumStart(), h.sumOffset())
	case unix.VIRTIO_NET_HDR_GSO_TCPV4, unix.VIRTIO_NET_HDR_GSO_TCPV6:
		return offload.Super(b, h.sumStart(), h.segment(), false)
	case unix.VIRTIO_NET_HDR_GSO_UDP_L4:
		return offload.Super(b, h.sumStart(), h.segment(), true)
	}
	return offload.Packet{}, false
}

// vnet is a struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset. Its numbers are
// in the machine's order.
type vnet []byte

func (h vnet) kind() byte     { return h[1] &^ unix.VIRTIO_NET_HDR_GSO_ECN }
func (h vnet) unsummed() bool { return h[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != 0 }
func (h vnet) segment() int   { return int(binary.NativeEndian.Uint16(h[4:])) }
func (h vnet) sumStart() int  { return int(binary.NativeEndian.Uint16(h[6:])) }
func (h vnet) sumOffset() int { return int(binary.NativeEndian.Uint16(h[8:])) }

// put describes a run.
func (h vnet) put(r *offload.Run) {
	clear(h)
	if r.Packets == 1 {
		return
	}
	h[0], h[1] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, unix.VIRTIO_NET_HDR_GSO_TCPV4
	switch {
	case r.UDP:
		h[1] = unix.VIRTIO_NET_HDR_GSO_UDP_L4
	case r.IPv6:
		h[1] = unix.VIRTIO_NET_HDR_GSO_TCPV6
	}
	binary.NativeEndian.PutUint16(h[2:], uint16(r.Header))
	binary.NativeEndian.PutUint16(h[4:], uint16(r.Segment))
	binary.NativeEndian.PutUint16(h[6:], uint16(r.IP))
	binary.NativeEndian.PutUint16(h[8:], uint16(r.ChecksumOffset()))
}

// tunWriter is the state of one Write.
type tunWriter struct {
	joiner offload.Joiner
	call   func(fd uintptr) bool // write, made once
	runs   []offload.Run         // that are not written yet
	lone   [][]byte              // packets of a run that the kernel did not take whole
	parts  [][]byte
	vnet   [vnetSize]byte
	iovs   [maxParts]unix.Iovec
	err    error // the first
}

// Write implements TUN. An error means that the kernel refused one of the packets at least: the
// others may have passed. Only os.ErrClosed is final.
func (t *linuxTUN) Write(pkts [][]byte) (int, error) {
	w := &t.out
	w.err = nil
	all := len(pkts)
	for len(pkts) > 0 {
		n := min(len(pkts), maxParts-2)
		w.runs = w.joiner.Join(pkts[:n])
		pkts = pkts[n:]
		if err := t.raw.Write(w.call); err != nil {
			w.fail(err)
		}
	}
	if w.err != nil {
		if t.closed.Load() || errors.Is(w.err, unix.EBADFD) {
			return 0, os.ErrClosed
		}
		return 0, fmt.Errorf("write to %s: %w", t.name, w.err)
	}
	return all, nil
}

func (w *tunWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// write writes all runs; false when the device is not ready for more.
func (w *tunWriter) write(fd uintptr) bool {
	for len(w.lone) > 0 || len(w.runs) > 0 {
		one := offload.Run{Packets: 1}
		run := &one
		if len(w.lone) > 0 {
			w.parts = append(w.parts[:0], w.lone[0])
		} else {
			run = &w.runs[0]
			w.parts = w.joiner.Parts(w.parts[:0], run)
		}
		vnet(w.vnet[:]).put(run)
		switch err := w.writev(fd); {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case run.Packets > 1 && (err == unix.EINVAL || err == unix.EIO):
			// This kernel does not do what it said.
			if run.UDP {
				w.joiner.UDP = false
			} else {
				w.joiner.TCP = false
			}
			w.lone = w.joiner.Each(w.lone[:0], run)
			w.runs = w.runs[1:]
			continue
		case err != nil:
			w.fail(err)
		}
		if len(w.lone) > 0 {
			w.lone = w.lone[1:]
		} else {
			w.runs = w.runs[1:]
		}
	}
	return true
}

// writev writes header and parts as one packet.
func (w *tunWriter) writev(fd uintptr) error {
	w.iovs[0].Base = &w.vnet[0]
	w.iovs[0].SetLen(vnetSize)
	n := 1
	for _, p := range w.parts {
		if len(p) > 0 {
			w.iovs[n].Base = unsafe.SliceData(p)
			w.iovs[n].SetLen(len(p))
			n++
		}
	}
	_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iovs[0])), uintptr(n))
	clear(w.iovs[:n]) // the buffers are the caller's
	if errno != 0 {
		return errno
	}
	return nil
}

// BatchSize implements TUN.
func (t *linuxTUN) BatchSize() int { return tunBatch }

// Name implements TUN.
func (t *linuxTUN) Name() string { return t.name }

// MTU implements TUN.
func (t *linuxTUN) MTU() int { return int(t.mtu.Load()) }

// Close implements TUN. It may be called more than once.
func (t *linuxTUN) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	return t.file.Close()
}
