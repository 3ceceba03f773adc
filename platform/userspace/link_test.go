package userspace

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/platform"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// join copies packets between two TUNs, both ways, until they are closed, and
// closes and waits at the end of the test.
func join(t testing.TB, a, b platform.TUN) {
	t.Helper()
	var pumps sync.WaitGroup
	pump := func(from, to platform.TUN) {
		bufs, sizes := make([][]byte, from.BatchSize()), make([]int, from.BatchSize())
		packets := make([][]byte, 0, len(bufs))
		for i := range bufs {
			bufs[i] = make([]byte, 16+1500)
		}
		for {
			n, err := from.Read(bufs, sizes, 16)
			if err != nil {
				if !errors.Is(err, os.ErrClosed) {
					t.Errorf("Read: %v", err)
				}
				return
			}
			packets = packets[:0]
			for i := range n {
				packets = append(packets, bufs[i][:16+sizes[i]])
			}
			if _, err := to.Write(packets, 16); err != nil && !errors.Is(err, os.ErrClosed) {
				t.Errorf("Write: %v", err)
			}
		}
	}
	pumps.Go(func() { pump(a, b) })
	pumps.Go(func() { pump(b, a) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		pumps.Wait()
	})
}

// send hands packets to the link as a stack does.
func send(t *testing.T, l *Link, payloads ...string) tcpip.Error {
	t.Helper()
	var list stack.PacketBufferList
	defer list.Reset()
	for _, p := range payloads {
		list.PushBack(stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData([]byte(p))}))
	}
	_, err := l.endpoint.WritePackets(list)
	return err
}

func TestLinkReadsBatchesInOrder(t *testing.T) {
	l := NewLink(1400)
	if err := send(t, l, "one", "three", "too long a packet", "five"); err != nil {
		t.Fatal(err)
	}
	bufs, sizes := [][]byte{make([]byte, 9), make([]byte, 9), make([]byte, 9), make([]byte, 9)}, make([]int, 4)
	n, err := l.Read(bufs, sizes, 4)
	if err != nil || n != 3 {
		t.Fatalf("Read: %d, %v; want 3 packets, the long one dropped", n, err)
	}
	for i, want := range []string{"one", "three", "five"} {
		if got := string(bufs[i][4 : 4+sizes[i]]); got != want {
			t.Errorf("packet %d is %q, want %q", i, got, want)
		}
	}
}

func TestLinkDropsWhenNobodyReads(t *testing.T) {
	l := NewLink(1400)
	for range linkQueue {
		if err := send(t, l, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(t, l, "y"); err == nil {
		t.Error("a full link took a packet")
	}
	if got := l.Dropped(); got != 1 {
		t.Errorf("Dropped is %d, want 1", got)
	}
}

func TestLinkCloseWakesRead(t *testing.T) {
	l := NewLink(1400)
	result := make(chan error)
	go func() {
		_, err := l.Read([][]byte{make([]byte, 1400)}, make([]int, 1), 0)
		result <- err
	}()
	time.AfterFunc(time.Millisecond, func() { l.Close() })
	if err := <-result; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := l.Write([][]byte{{0x45}}, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if err := send(t, l, "x"); err == nil {
		t.Error("a closed link took a packet")
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestLinkIgnoresGarbage(t *testing.T) {
	l := NewLink(1400)
	s := stack.New(stack.Options{})
	defer s.Close()
	if err := s.CreateNIC(1, l.Endpoint()); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Write([][]byte{nil, {1}, {1, 2}, {1, 0x45}, {1, 0x60, 0}, {1, 0xff}}, 1); err != nil || n != 6 {
		t.Errorf("Write: %d, %v", n, err)
	}
}
