package ovpn

import (
	"time"
)

// Data is the packet crypto of one session, with keys swapped atomically by its
// Session. One goroutine may Seal while another Opens; both take a lock once per call (a
// batch), never per packet, and allocate nothing.
type Data struct{}

// Counters count inner packets and bytes that passed, and datagrams that did not.
type Counters struct {
	RxBytes, TxBytes, RxPackets, TxPackets uint64
	Dropped                                uint64 // replayed, forged or without a key
}

// Headroom is how many bytes Seal adds in front of a packet at most, and Overhead in all.
const (
	Headroom = 24
	Overhead = 24
)

// Seal encrypts pkts with the current send key and appends the datagrams to dst
// one after the other, each preceded by gap zero bytes (2 for TCP's length, which the
// caller fills in). sizes[i] receives the length of datagram i without the gap. It returns dst
// and how many were sealed: 0 before there are keys. dst must not overlap pkts; it is grown
// only when its capacity is too small.
func (d *Data) Seal(now time.Time, dst []byte, gap int, pkts [][]byte, sizes []int) ([]byte, int) {
	panic("stub")
}

// Open authenticates and decrypts datagrams (DATA_V2): the inner packet of in[i] goes to
// out[i][offset:offset+sizes[i]]; sizes[i] is 0 when in[i] was dropped or was
// a ping or another message to the session itself. It returns how many sizes are not 0. in is clobbered:
// Open may move the tag inside in[i], and restores any byte beyond len(in[i]) that it touches.
// Each out[i] needs len ≥ offset+len(in[i]).
func (d *Data) Open(now time.Time, in [][]byte, out [][]byte, sizes []int, offset int) int {
	panic("stub")
}

// Wake is signalled when the Session needs a Tick because of something that
// Open or Seal saw: the peer said goodbye, or a key is nearly used up.
func (d *Data) Wake() <-chan struct{} { panic("stub") }

// Counters reads the counters; any goroutine.
func (d *Data) Counters() Counters { panic("stub") }
