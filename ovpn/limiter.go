package ovpn

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// limitSlots is how many counters stand for all addresses that there are.
const limitSlots = 4096

// limiter counts answers to senders that have not proved their address, in all
// and by address, in windows of time. Addresses share counters by a hash with a
// random seed, so that its size does not depend on who sends. Safe for
// concurrent use.
type limiter struct {
	total, source int
	window        time.Duration
	seed          maphash.Seed

	mu    sync.Mutex // guards what follows
	since time.Time  // when the window began
	used  int
	slots []uint16
}

func newLimiter(total, source int, window time.Duration) *limiter {
	return &limiter{total: total, source: source, window: window, seed: maphash.MakeSeed(), slots: make([]uint16, limitSlots)}
}

// turn begins a new window when the last one is over, or the clock went back by as much: callers
// on several goroutines may be a moment behind each other. The caller holds mu.
func (l *limiter) turn(now time.Time) {
	if now.Sub(l.since).Abs() >= l.window {
		l.since, l.used = now, 0
		clear(l.slots)
	}
}

// full says that nobody would be answered at now.
func (l *limiter) full(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	return l.used >= l.total
}

// take counts one answer to from; false means that it must not be given.
func (l *limiter) take(now time.Time, from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	slot := l.slot(from)
	if l.used >= l.total || int(*slot) >= l.source {
		return false
	}
	l.used++
	*slot++
	return true
}

// giveBack forgets one answer to from, which has proved itself; never more than
// it was given, and nothing when the window of at, when it was given, is over.
func (l *limiter) giveBack(at time.Time, from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.Before(l.since) {
		return
	}
	if slot := l.slot(from); *slot > 0 {
		*slot--
		l.used--
	}
}

// slot is the counter of an address. Who has an IPv6 address has its /64.
func (l *limiter) slot(from netip.Addr) *uint16 {
	from = from.Unmap().WithZone("")
	if from.Is6() {
		p, _ := from.Prefix(64) // fails only for more bits than there are
		from = p.Addr()
	}
	return &l.slots[maphash.Comparable(l.seed, from)%limitSlots]
}
