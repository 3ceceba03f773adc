package platform

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/offload"
)

// utunPair is a utun over a socket that keeps packets apart as the device does, and the socket's other end.
func utunPair(t *testing.T) (*utun, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	u, err := newUTUN(fds[0], "utun9", 1400)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u, fds[1]
}

// TestUTUN: packets pass both ways behind their family, as many in a Read as are there.
func TestUTUN(t *testing.T) {
	u, system := utunPair(t)
	defer unix.Close(system)
	send := func(b ...byte) {
		t.Helper()
		if _, err := unix.Write(system, b); err != nil {
			t.Fatal(err)
		}
	}
	send(0, 0, 0, unix.AF_INET, 0x45, 1)
	send(0, 0, 0, unix.AF_INET) // nothing behind it
	send(0, 0, 0, unix.AF_INET6, 0x60, 2, 3)
	pkts := make([]offload.Packet, u.BatchSize())
	n, err := u.Read(pkts)
	if err != nil || n != 2 || !bytes.Equal(pkts[0].Bytes, []byte{0x45, 1}) || !bytes.Equal(pkts[1].Bytes, []byte{0x60, 2, 3}) {
		t.Fatalf("Read: %d, %v, %v", n, err, pkts[:n])
	}
	if n, err := u.Write([][]byte{{0x45, 9}, {0x60, 8, 7}}); n != 2 || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	for _, want := range [][]byte{{0, 0, 0, unix.AF_INET, 0x45, 9}, {0, 0, 0, unix.AF_INET6, 0x60, 8, 7}} {
		b := make([]byte, 100)
		if n, err := unix.Read(system, b); err != nil || !bytes.Equal(b[:n], want) {
			t.Errorf("the system got % x, %v, want % x", b[:n], err, want)
		}
	}
	if u.Name() != "utun9" || u.MTU() != 1400 {
		t.Errorf("%s, %d", u.Name(), u.MTU())
	}
}

// TestUTUNEnds: Close ends a Read that waits, and so does a device that goes away.
func TestUTUNEnds(t *testing.T) {
	for name, end := range map[string]func(u *utun, system int){
		"close": func(u *utun, system int) { u.Close(); unix.Close(system) },
		"gone":  func(_ *utun, system int) { unix.Close(system) },
	} {
		t.Run(name, func(t *testing.T) {
			u, system := utunPair(t)
			done := make(chan error)
			go func() {
				_, err := u.Read(make([]offload.Packet, 1))
				done <- err
			}()
			time.Sleep(10 * time.Millisecond) // most often it waits by now; either order must do
			end(u, system)
			if err := <-done; !errors.Is(err, os.ErrClosed) {
				t.Errorf("Read: %v", err)
			}
			_, err := u.Write([][]byte{{0x45}})
			if err == nil || errors.Is(err, os.ErrClosed) != (name == "close") {
				t.Errorf("Write: %v", err)
			}
		})
	}
}
