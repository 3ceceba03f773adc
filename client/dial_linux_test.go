package client

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/udp"
)

// TestDialTCPMark: the mark is on the socket before it connects, or the words say who may set one.
func TestDialTCPMark(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := netip.MustParseAddrPort(l.Addr().String())
	c, err := SystemDialer{}.DialTCP(t.Context(), to, udp.Options{Mark: 77})
	if os.Geteuid() != 0 {
		if f := failureOf(err, scene{server: to.String()}); !errors.Is(err, udp.ErrMark) || f.verdict != stop || !api.IsCode(f, api.CodeMarkFailed) {
			t.Fatalf("without rights: %v, %+v", err, f)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var mark int
	var failed error
	if err := raw.Control(func(fd uintptr) { mark, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }); err != nil || failed != nil || mark != 77 {
		t.Errorf("mark is %d: %v, %v", mark, err, failed)
	}
}
