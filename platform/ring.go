package platform

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/adit-vpn/adit/platform/offload"
)

// ring is two rings of packets in memory that a driver shares with us, as Wintun has them.
type ring interface {
	// receive gives the next packet that the system sends, borrowed until release; errRingEmpty, or any
	// other error when the device is gone.
	receive() ([]byte, error)
	release(packet []byte)
	// wait blocks until receive may have a packet, or wake was called since the last wait.
	wait() error
	wake()
	// allocate gives room for a packet, which send passes on; errRingFull, or any other error when the device is gone.
	allocate(size int) ([]byte, error)
	send(packet []byte)
	// end frees everything. Nothing may be called after it.
	end() error
}

var (
	errRingEmpty = errors.New("nothing to receive")
	errRingFull  = errors.New("the system is behind: its ring is full")
)

const (
	ringBatch  = 64       // packets that one Read takes
	ringBudget = 64 << 10 // bytes after which it passes them on
	ringPacket = 65535
)

// ringTUN is a TUN over a ring.
type ringTUN struct {
	ring   ring
	name   string
	mtu    int
	closed atomic.Bool
	using  sync.RWMutex // read-locked while the ring is used, so that Close does not pull it away
	buf    []byte       // of Read: a packet of the ring would be gone with the device while its reader looks at it
}

func newRingTUN(r ring, name string, mtu int) *ringTUN {
	return &ringTUN{ring: r, name: name, mtu: mtu, buf: make([]byte, ringBudget+ringPacket)}
}

// Read implements TUN.
func (t *ringTUN) Read(pkts []offload.Packet) (int, error) {
	t.using.RLock()
	defer t.using.RUnlock()
	for !t.closed.Load() {
		n, err := t.take(pkts)
		switch {
		case n > 0:
			return n, nil
		case err == errRingEmpty:
			err = t.ring.wait()
		}
		if err != nil && err != errRingEmpty {
			return 0, fmt.Errorf("read from %s: %w: %w", t.name, os.ErrClosed, err)
		}
	}
	return 0, os.ErrClosed
}

// take copies what is there, without waiting.
func (t *ringTUN) take(pkts []offload.Packet) (n int, err error) {
	for at := 0; n < min(len(pkts), ringBatch) && at < ringBudget; {
		p, err := t.ring.receive()
		if err != nil {
			return n, err
		}
		size := copy(t.buf[at:], p)
		t.ring.release(p)
		if size == 0 {
			continue
		}
		pkts[n] = offload.Packet{Bytes: t.buf[at : at+size : at+size]}
		at += size
		n++
	}
	return n, nil
}

// Write implements TUN. Packets that find the ring full are lost, as on a network card.
func (t *ringTUN) Write(pkts [][]byte) (int, error) {
	t.using.RLock()
	defer t.using.RUnlock()
	if t.closed.Load() {
		return 0, os.ErrClosed
	}
	sent, full := 0, false
	for _, p := range pkts {
		room, err := t.ring.allocate(len(p))
		switch {
		case err == errRingFull:
			full = true
			continue
		case err != nil:
			return sent, fmt.Errorf("write to %s: %w: %w", t.name, os.ErrClosed, err)
		}
		copy(room, p)
		t.ring.send(room)
		sent++
	}
	if full {
		return sent, fmt.Errorf("write to %s: %w", t.name, errRingFull)
	}
	return sent, nil
}

// BatchSize implements TUN.
func (t *ringTUN) BatchSize() int { return ringBatch }

// Name implements TUN.
func (t *ringTUN) Name() string { return t.name }

// MTU implements TUN.
func (t *ringTUN) MTU() int { return t.mtu }

// Close implements TUN. It may be called more than once, and waits for a Read and a Write under way.
func (t *ringTUN) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.ring.wake()
	t.using.Lock()
	defer t.using.Unlock()
	return t.ring.end()
}
