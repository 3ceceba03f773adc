package platform

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/platform/offload"
)

// fakeRing is a driver with room for a few packets.
type fakeRing struct {
	mu       sync.Mutex
	incoming [][]byte
	lent     int // packets that were received and not released
	outgoing [][]byte
	room     int
	broken   error
	ended    bool
	event    chan struct{}
}

func newFakeRing(room int) *fakeRing { return &fakeRing{room: room, event: make(chan struct{}, 1)} }

func (r *fakeRing) arrive(packets ...[]byte) {
	r.mu.Lock()
	r.incoming = append(r.incoming, packets...)
	r.mu.Unlock()
	r.wake()
}

func (r *fakeRing) receive() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended:
		panic("received from a ring that has ended")
	case r.broken != nil:
		return nil, r.broken
	case len(r.incoming) == 0:
		return nil, errRingEmpty
	}
	p := r.incoming[0]
	r.incoming = r.incoming[1:]
	r.lent++
	return p, nil
}

func (r *fakeRing) release(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lent--
	clear(p) // who still looks at it sees nothing
}

func (r *fakeRing) wait() error { <-r.event; return nil }

func (r *fakeRing) wake() {
	select {
	case r.event <- struct{}{}:
	default:
	}
}

func (r *fakeRing) allocate(size int) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended:
		panic("sent to a ring that has ended")
	case r.broken != nil:
		return nil, r.broken
	case len(r.outgoing) == r.room:
		return nil, errRingFull
	}
	return make([]byte, size), nil
}

func (r *fakeRing) send(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outgoing = append(r.outgoing, p)
}

func (r *fakeRing) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return nil
}

// TestRingRead: a Read takes what is there, no more than fits, and does not wait for more.
func TestRingRead(t *testing.T) {
	r := newFakeRing(0)
	tun := newRingTUN(r, "ring", 1400)
	var sent [][]byte
	for i := range 150 {
		sent = append(sent, bytes.Repeat([]byte{byte(i + 1)}, 1400))
	}
	for _, p := range sent {
		r.arrive(bytes.Clone(p))
	}
	r.arrive(nil) // which is none
	pkts, got := make([]offload.Packet, tun.BatchSize()), 0
	for _, want := range []int{47, 47, 47, 9} { // 64 KiB each, and the packet that goes beyond
		n, err := tun.Read(pkts)
		if err != nil || n != want {
			t.Fatalf("Read: %d packets, %v, want %d", n, err, want)
		}
		for _, p := range pkts[:n] {
			if !bytes.Equal(p.Bytes, sent[got]) || p.Segment != 0 {
				t.Fatalf("packet %d is %d bytes of %d", got, len(p.Bytes), p.Bytes[0])
			}
			got++
		}
	}
	if r.lent != 0 {
		t.Errorf("%d packets were not released", r.lent)
	}
	waiting := make(chan int)
	go func() {
		n, _ := tun.Read(pkts)
		waiting <- n
	}()
	r.arrive([]byte{0x45})
	if n := <-waiting; n != 1 {
		t.Errorf("%d packets", n)
	}
	if tun.Name() != "ring" || tun.MTU() != 1400 {
		t.Errorf("%s, %d", tun.Name(), tun.MTU())
	}
}

// TestRingWrite: a full ring loses packets and says so; those that fit pass.
func TestRingWrite(t *testing.T) {
	r := newFakeRing(2)
	tun := newRingTUN(r, "ring", 1400)
	n, err := tun.Write([][]byte{{1}, {2}, {3}})
	if n != 2 || !errors.Is(err, errRingFull) || errors.Is(err, os.ErrClosed) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if len(r.outgoing) != 2 || !bytes.Equal(r.outgoing[1], []byte{2}) {
		t.Errorf("sent %v", r.outgoing)
	}
	r.room = 9
	if n, err := tun.Write([][]byte{{4}}); n != 1 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
}

// TestRingClose: Close wakes a Read that waits, and frees the ring only after it; so does a device that goes away.
func TestRingClose(t *testing.T) {
	r := newFakeRing(1)
	tun := newRingTUN(r, "ring", 1400)
	done := make(chan error)
	go func() {
		_, err := tun.Read(make([]offload.Packet, 1))
		done <- err
	}()
	time.Sleep(10 * time.Millisecond) // most often it waits by now; either order must do
	if err := errors.Join(tun.Close(), tun.Close()); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	if _, err := tun.Read(make([]offload.Packet, 1)); !errors.Is(err, os.ErrClosed) || !r.ended {
		t.Errorf("Read: %v, ended %t", err, r.ended)
	}
	if _, err := tun.Write([][]byte{{1}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write: %v", err)
	}

	gone := newFakeRing(1)
	gone.broken = errors.New("handle at its end")
	tun = newRingTUN(gone, "ring", 1400)
	if _, err := tun.Read(make([]offload.Packet, 1)); !errors.Is(err, os.ErrClosed) || !errors.Is(err, gone.broken) {
		t.Errorf("Read: %v", err)
	}
	if _, err := tun.Write([][]byte{{1}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
}
