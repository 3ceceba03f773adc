package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	r, err := Do(t.Context(), loopback, port, 5*time.Second)
	if err != nil || r.Outcome != Answered || r.Method != "tcp" || r.Port != port || r.Sent != 1 || r.RTT <= 0 {
		t.Errorf("someone listens: %+v %v", r, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = Do(t.Context(), loopback, port, 5*time.Second); err != nil || r.Outcome != Refused || r.Sent != 1 {
		t.Errorf("nobody listens: %+v %v", r, err)
	}
}

// TestLoopback: an address of the machine itself answers, by ping or by refusing TCP.
func TestLoopback(t *testing.T) {
	r, err := Do(t.Context(), loopback, 0, 5*time.Second)
	if err != nil || r.Outcome != Answered || r.RTT <= 0 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, port := range []uint16{0, 1} {
		if _, err := Do(ctx, loopback, port, 5*time.Second); !errors.Is(err, context.Canceled) {
			t.Errorf("port %d: %v", port, err)
		}
	}
}

func TestJudge(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the errors of Winsock have other numbers")
	}
	for err, want := range map[error]Outcome{
		syscall.ECONNREFUSED: Refused, syscall.EPERM: Blocked, syscall.ENETUNREACH: NoRoute,
		syscall.EHOSTUNREACH: Unreachable, syscall.EACCES: Unreachable, syscall.ETIMEDOUT: NoAnswer,
	} {
		var r Result
		done, other := r.judge(t.Context(), &net.OpError{Op: "dial", Err: err})
		if r.Outcome != want || other != nil || done != (want != NoAnswer) {
			t.Errorf("%v: %+v %v %v", err, r, done, other)
		}
	}
	var r Result
	if done, err := r.judge(t.Context(), syscall.EMFILE); !done || err != syscall.EMFILE || r.Outcome != "" {
		t.Errorf("an error of our own: %+v %v %v", r, done, err)
	}
}
