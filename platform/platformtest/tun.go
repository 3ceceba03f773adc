// Package platformtest is the operating system for tests: a pair of TUN ends in
// memory and a Host that records what it is told. It starts no goroutine.
package platformtest

import (
	"os"
	"sync"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
)

const (
	batch = 128
	queue = 1024
)

// TUN is one end of a pair: what is written to one end is read from the other.
// Safe for concurrent use, but for two Reads at once.
type TUN struct {
	name   string
	mtu    int
	in     chan []byte
	peer   *TUN
	closed chan struct{}
	once   sync.Once
}

var _ platform.TUN = (*TUN)(nil)

// Pair makes two connected ends. A Write waits while the other end's queue of
// 1024 packets is full, until either end is closed.
func Pair(name string, mtu int) (inside, outside *TUN) {
	a := &TUN{name: name, mtu: mtu, in: make(chan []byte, queue), closed: make(chan struct{})}
	b := &TUN{name: name + "-outside", mtu: mtu, in: make(chan []byte, queue), closed: make(chan struct{})}
	a.peer, b.peer = b, a
	return a, b
}

// Read waits for one packet and takes those that wait behind it. Each has its own memory.
func (t *TUN) Read(pkts []offload.Packet) (int, error) {
	select {
	case <-t.closed:
		return 0, os.ErrClosed
	default:
	}
	n := 0
	take := func(p []byte) {
		pkts[n] = offload.Packet{Bytes: p}
		n++
	}
	select {
	case p := <-t.in:
		take(p)
	case <-t.closed:
		return 0, os.ErrClosed
	}
	for n < len(pkts) {
		select {
		case p := <-t.in:
			take(p)
		default:
			return n, nil
		}
	}
	return n, nil
}

// Write copies the packets to the other end. It panics when one is empty, so that tests find what a
// real device would refuse.
func (t *TUN) Write(pkts [][]byte) (int, error) {
	for i, b := range pkts {
		if len(b) == 0 {
			panic("platformtest: TUN.Write got an empty packet")
		}
		select {
		case <-t.closed:
			return i, os.ErrClosed
		default:
		}
		p := append([]byte(nil), b...)
		select {
		case t.peer.in <- p:
		case <-t.peer.closed: // nobody listens: the packet is gone
		case <-t.closed:
			return i, os.ErrClosed
		}
	}
	return len(pkts), nil
}

// Send writes one packet.
func (t *TUN) Send(packet []byte) error {
	_, err := t.Write([][]byte{packet})
	return err
}

// Receive waits for one packet.
func (t *TUN) Receive() ([]byte, error) {
	select {
	case p := <-t.in:
		return p, nil
	case <-t.closed:
		return nil, os.ErrClosed
	}
}

func (t *TUN) BatchSize() int { return batch }
func (t *TUN) Name() string   { return t.name }
func (t *TUN) MTU() int       { return t.mtu }

// Closed is closed when this end is.
func (t *TUN) Closed() <-chan struct{} { return t.closed }

// Close ends this end only; the other end's writes are dropped from now on.
func (t *TUN) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}
