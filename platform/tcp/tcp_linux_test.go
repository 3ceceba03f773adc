package tcp

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestShortQueue: where the other end reads nothing, the kernel soon takes nothing more.
func TestShortQueue(t *testing.T) {
	direct, _ := pair(t)
	plain, _ := pair(t)
	plain = plain.(*conn).TCPConn
	raw, err := plain.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 1<<30) // as the system has it
	}); err != nil {
		t.Fatal(err)
	}
	const piece = 64 << 10 // a write that has begun may exceed the limit by one segment of the kernel
	if n := stuff(t, direct); n > unsent+piece {
		t.Errorf("%d bytes wait in the kernel, the limit is %d", n, unsent)
	}
	if n := stuff(t, plain); n <= unsent+piece {
		t.Errorf("%d bytes wait without the limit: the test proves nothing", n)
	}
}

// stuff writes until nothing is taken any more, and says how many bytes the network has not taken.
func stuff(t *testing.T, c net.Conn) (bytes int) {
	t.Helper()
	if err := c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write: %v", err)
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { bytes, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return bytes
}
