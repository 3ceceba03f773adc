// Package stopwatch limits how long something may take, but for the time in which somebody is asked.
package stopwatch

import "time"

// Stopwatch calls a function once it has run for a time. One goroutine uses it; nil is one that never ends.
type Stopwatch struct {
	timer *time.Timer
	left  time.Duration
	since time.Time // it has run from then on; zero: it stands still
}

// New makes a stopwatch that runs. It calls end once, on a goroutine of its own, after d.
func New(d time.Duration, end func()) *Stopwatch {
	return &Stopwatch{timer: time.AfterFunc(d, end), left: d, since: time.Now()}
}

// Hold lets it stand still, or run. One that has called its function stays as it is.
func (w *Stopwatch) Hold(still bool) {
	switch {
	case w == nil || still == w.since.IsZero():
	case !still:
		w.since = time.Now()
		w.timer.Reset(w.left)
	case w.timer.Stop():
		w.left -= time.Since(w.since)
		w.since = time.Time{}
	}
}

// Stop ends it; the function may be running for the last time.
func (w *Stopwatch) Stop() {
	if w != nil {
		w.timer.Stop()
	}
}
