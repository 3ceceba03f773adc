package udp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// transfer is one recvmmsg(2) or sendmmsg(2) in the making: the entries, and the
// arguments and results of call, which is made once so that nothing is allocated
// for each batch.
type transfer struct {
	msgs [batch]mmsghdr
	iovs [batch]unix.Iovec

	call func(fd uintptr) bool // for syscall.RawConn
	want int                   // entries to move
	got  int                   // entries moved
	err  error
}

// prepare makes call for the system call of that number.
func (t *transfer) prepare(number uintptr) {
	for i := range t.msgs {
		h := &t.msgs[i].hdr
		h.Iov = &t.iovs[i]
		h.SetIovlen(1)
	}
	t.call = func(fd uintptr) bool { return t.move(number, fd) }
}

// move reports false when the socket is not ready: nothing is there yet, or the
// send buffer is full.
func (t *transfer) move(number, fd uintptr) bool {
	for {
		// Raw, as it never blocks: the scheduler has nothing to arrange for it.
		n, _, errno := unix.RawSyscall6(number, fd, uintptr(unsafe.Pointer(&t.msgs[0])), uintptr(t.want), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			t.got, t.err = int(n), nil
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			t.got, t.err = 0, errno
			return true
		}
	}
}
