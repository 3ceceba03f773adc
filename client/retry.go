package client

import (
	"math/rand/v2"
	"time"
)

// Backoff is the pause between attempts: it doubles from first to last. The zero
// value uses one second and one minute. Not safe for concurrent use.
type backoff struct {
	first, last time.Duration
	step        time.Duration
}

// next returns the pause before the next attempt, between a half and the whole of the current step, so
// that the clients of a restarted server do not come back all at once.
func (b *backoff) next() time.Duration {
	first, last := b.first, b.last
	if first <= 0 {
		first = time.Second
	}
	if last <= 0 {
		last = time.Minute
	}
	last = max(last, first)
	if b.step == 0 {
		b.step = first
	}
	step := min(b.step, last)
	b.step = min(2*step, last)
	return step/2 + rand.N(step/2+1)
}

// reset makes the next pause the shortest again: a connection had come up.
func (b *backoff) reset() { b.step = 0 }
