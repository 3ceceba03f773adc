//go:build unix

package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/offload"
)

// utun is a TUN whose file descriptor gives and takes one packet at a time, behind its address family in four bytes in
// network order, as macOS' utun does (net/if_utun.h).
type utun struct {
	file   *os.File
	raw    syscall.RawConn
	name   string
	mtu    int
	closed atomic.Bool
	in     utunReader
	out    utunWriter
}

const (
	utunHeader = 4
	utunBatch  = 64       // packets that one Read takes
	utunBudget = 64 << 10 // bytes after which it passes them on
	utunPacket = 65535
)

// newUTUN owns fd, which must be a device's, also when it fails.
func newUTUN(fd int, name string, mtu int) (*utun, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	t := &utun{file: os.NewFile(uintptr(fd), name), name: name, mtu: mtu}
	var err error
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil, err
	}
	t.in.call, t.out.call = t.in.read, t.out.write
	t.in.buf = make([]byte, utunBudget+utunHeader+utunPacket)
	return t, nil
}

// utunReader is the state of one Read.
type utunReader struct {
	buf  []byte
	call func(fd uintptr) bool // read, made once
	pkts []offload.Packet
	n    int
	err  error
}

// Read implements TUN.
func (t *utun) Read(pkts []offload.Packet) (int, error) {
	r := &t.in
	r.pkts, r.n, r.err = pkts, 0, nil
	err := t.raw.Read(r.call)
	r.pkts = nil
	if r.n > 0 {
		return r.n, nil
	}
	if t.closed.Load() {
		return 0, os.ErrClosed
	}
	// The device is gone: there is no way back.
	return 0, fmt.Errorf("read from %s: %w: %w", t.name, os.ErrClosed, errors.Join(err, r.err))
}

// read takes what is there; false when that is nothing.
func (r *utunReader) read(fd uintptr) bool {
	for at := 0; r.n < min(len(r.pkts), utunBatch) && at < utunBudget; {
		n, err := unix.Read(int(fd), r.buf[at:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return r.n > 0
		case err == nil && n == 0:
			r.err = io.EOF
			return true
		case err != nil:
			r.err = err
			return true
		case n <= utunHeader:
			continue
		}
		r.pkts[r.n] = offload.Packet{Bytes: r.buf[at+utunHeader : at+n : at+n]}
		r.n++
		at += n
	}
	return true
}

// utunWriter is the state of one Write.
type utunWriter struct {
	buf  []byte                // a header, and a packet
	call func(fd uintptr) bool // write, made once
	pkts [][]byte              // that are not written yet
	sent int
	err  error // the first
}

// Write implements TUN.
func (t *utun) Write(pkts [][]byte) (int, error) {
	w := &t.out
	w.pkts, w.sent, w.err = pkts, 0, nil
	err := t.raw.Write(w.call)
	w.pkts = nil
	if err = errors.Join(err, w.err); err != nil {
		if t.closed.Load() {
			return w.sent, os.ErrClosed
		}
		return w.sent, fmt.Errorf("write to %s: %w", t.name, err)
	}
	return w.sent, nil
}

// write writes all packets; false when the device is not ready for more.
func (w *utunWriter) write(fd uintptr) bool {
	for len(w.pkts) > 0 {
		p := w.pkts[0]
		family := unix.AF_INET
		if p[0]>>4 == 6 {
			family = unix.AF_INET6
		}
		w.buf = append(binary.BigEndian.AppendUint32(w.buf[:0], uint32(family)), p...)
		switch _, err := unix.Write(int(fd), w.buf); {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err == nil:
			w.sent++
		case w.err == nil: // lost, as with ENOBUFS
			w.err = err
		}
		w.pkts = w.pkts[1:]
	}
	return true
}

// BatchSize implements TUN.
func (t *utun) BatchSize() int { return utunBatch }

// Name implements TUN.
func (t *utun) Name() string { return t.name }

// MTU implements TUN.
func (t *utun) MTU() int { return t.mtu }

// Close implements TUN. It may be called more than once.
func (t *utun) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	return t.file.Close()
}
