package client

import "time"

// beat is a timer that is due at the full multiples of its interval, as all others of the program are: what looks at something
// now and then wakes an idle processor once, and not each by itself.
type beat struct {
	*time.Timer
	every time.Duration
}

// newBeat returns a running one. Its owner stops it, and calls next each time that it was due.
func newBeat(every time.Duration) *beat {
	return &beat{time.NewTimer(untilBeat(time.Now(), every)), every}
}

// next sets it for the next time.
func (b *beat) next() { b.Reset(untilBeat(time.Now(), b.every)) }

// untilBeat is more than 0 and at most every. A clock that is set moves it once.
func untilBeat(now time.Time, every time.Duration) time.Duration {
	now = now.Round(0) // the wall clock's, which all read alike
	return now.Truncate(every).Add(every).Sub(now)
}
