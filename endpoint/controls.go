package endpoint

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Control packets of a socket wait here for a goroutine of their own. The one that reads the socket must not work on
// them: the first packets of thousands of clients take a second, in which it would move no data, and what it
// allocated would have it help the collector.

const (
	// maxControls bounds what waits, bytes: as much as the kernel would keep. The rest is lost, as on the way.
	maxControls = 4 << 20
	// maxControlPackets bounds it when the packets are tiny: what is known of one is more than it has.
	maxControlPackets = 64 << 10
	// keptControls is how large a buffer may be that is kept when nothing waits.
	keptControls = 64 << 10
	// controlSlice is how long control packets are worked on without a pause for others.
	controlSlice = 250 * time.Microsecond
)

// controls are control packets in the order in which they came. The zero value has none. Safe for concurrent use.
type controls struct {
	mu      sync.Mutex
	waiting controlPackets
}

// controlPackets is one behind the other.
type controlPackets struct {
	heads []controlHead
	bytes []byte
}

// controlHead is what is known of one.
type controlHead struct {
	from  netip.AddrPort
	local netip.Addr // of ours, that it was sent to
	size  int        // bytes
}

// put adds a copy of one, or drops it when too much waits. first says that nothing waited.
func (c *controls) put(from netip.AddrPort, local netip.Addr, packet []byte) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &c.waiting
	if len(w.bytes)+len(packet) > maxControls || len(w.heads) == maxControlPackets {
		return false
	}
	w.heads, w.bytes = append(w.heads, controlHead{from, local, len(packet)}), append(w.bytes, packet...)
	return len(w.heads) == 1
}

// take returns all that waits. What was taken last is used up: its memory is used again.
func (c *controls) take(last controlPackets) controlPackets {
	if cap(last.bytes) > keptControls {
		last = controlPackets{}
	}
	last.heads, last.bytes = last.heads[:0], last.bytes[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.waiting
	c.waiting = last
	return now
}

// answer works on the shard's control packets, each time that bell says that there are some, until it is closed.
func (s *udpShard) answer(ctx context.Context, bell <-chan struct{}) {
	var packets controlPackets
	for range bell {
		packets = s.controls.take(packets)
		began := time.Now()
		rest := packets.bytes
		for _, h := range packets.heads {
			now := time.Now()
			if now.Sub(began) > controlSlice {
				runtime.Gosched() // packets of data, and the clients that this has begun
				began = now
			}
			s.control(ctx, s.server.leave.Now(), h.from, h.local, rest[:h.size])
			rest = rest[h.size:]
		}
	}
}
