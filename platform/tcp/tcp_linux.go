package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// conn is a TCP connection whose descriptor is used without the scheduler.
type conn struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is one Read or Write in the making, with its call, made once so that nothing is allocated.
type transfer struct {
	sync.Mutex
	number uintptr // of the system call
	all    bool    // until b is used up
	b      []byte
	n      int // bytes moved
	errno  syscall.Errno
	call   func(fd uintptr) bool
}

func direct(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	// Without it, only longer waits: the kernel keeps megabytes.
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) })
	d := &conn{TCPConn: t, raw: raw}
	d.in.number, d.in.call = unix.SYS_RECVFROM, d.in.move
	d.out.number, d.out.call, d.out.all = unix.SYS_SENDTO, d.out.move, true
	return d
}

// move moves what it can; false when the socket is not ready for more.
func (t *transfer) move(fd uintptr) bool {
	for {
		rest := t.b[t.n:]
		n, _, errno := unix.RawSyscall6(t.number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			t.n += int(n)
			if t.all && t.n < len(t.b) {
				continue
			}
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
}

// run moves b with wait, which is RawConn's Read or Write.
func (t *transfer) run(b []byte, wait func(func(fd uintptr) bool) error) (n int, errno syscall.Errno, err error) {
	t.Lock()
	defer t.Unlock()
	t.b, t.n, t.errno = b, 0, 0
	err = wait(t.call)
	t.b = nil // it is the caller's
	return t.n, t.errno, err
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, errno, err := c.in.run(b, c.raw.Read)
	switch {
	case err != nil || errno != 0:
		return n, c.failure("read", "recvfrom", errno, err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, errno, err := c.out.run(b, c.raw.Write)
	if err != nil || errno != 0 {
		return n, c.failure("write", "sendto", errno, err)
	}
	return n, nil
}

// failure is the error that the net package would give.
func (c *conn) failure(op, call string, errno syscall.Errno, err error) error {
	if errno != 0 {
		err = os.NewSyscallError(call, errno)
	} else if inner := (*net.OpError)(nil); errors.As(err, &inner) {
		err = inner.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
