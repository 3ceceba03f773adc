package client

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestBeats: whenever they were begun, they are due at full multiples of their interval, and so together.
func TestBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234567 * time.Microsecond)
		for _, every := range []time.Duration{2 * time.Second, 6 * time.Second} {
			b := newBeat(every)
			defer b.Stop()
			for last := time.Now(); ; last = time.Now() {
				at := <-b.C
				b.next()
				if !at.Round(0).Equal(at.Truncate(every)) || at.Sub(last) > every {
					t.Errorf("every %v: at %v after %v", every, at, last)
				}
				if at.Sub(last) == every {
					break // as it goes on
				}
			}
			time.Sleep(700 * time.Millisecond)
		}
	})
	at := time.Date(2026, 11, 23, 12, 0, 4, 0, time.UTC)
	for _, c := range []struct{ add, every, want time.Duration }{
		{0, 2 * time.Second, 2 * time.Second},
		{time.Nanosecond, 2 * time.Second, 2*time.Second - 1},
		{1999 * time.Millisecond, 2 * time.Second, time.Millisecond},
		{0, 6 * time.Second, 2 * time.Second},
	} {
		if got := untilBeat(at.Add(c.add), c.every); got != c.want {
			t.Errorf("%v after the full second, every %v: %v, want %v", c.add, c.every, got, c.want)
		}
	}
}
