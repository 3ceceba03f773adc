package client

import "time"

// stopwatch calls a function once when a time has passed, not counting that in which it was held. A
// nil one never does. One goroutine may hold it.
type stopwatch struct {
	timer *time.Timer
	since time.Time
	left  time.Duration
	held  bool
}

func newStopwatch(d time.Duration, f func()) *stopwatch {
	return &stopwatch{timer: time.AfterFunc(d, f), since: time.Now(), left: d}
}

// hold stops the time; holding twice is holding once.
func (s *stopwatch) hold() {
	if s == nil || s.held {
		return
	}
	s.held = true
	s.timer.Stop()
	s.left = max(s.left-time.Since(s.since), 0)
}

// goOn lets the time run again.
func (s *stopwatch) goOn() {
	if s == nil || !s.held {
		return
	}
	s.held, s.since = false, time.Now()
	s.timer.Reset(s.left)
}

// stop ends it; the function may be running for the last time.
func (s *stopwatch) stop() {
	if s != nil {
		s.timer.Stop()
	}
}
