package stopwatch

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestStopwatch: the time in which it stands still does not count.
func TestStopwatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ended atomic.Int64 // nanoseconds
		w := New(20*time.Second, func() { ended.Store(int64(time.Since(began))) })
		w.Hold(false)
		time.Sleep(5 * time.Second)
		w.Hold(true)
		w.Hold(true)
		time.Sleep(time.Hour)
		w.Hold(false)
		time.Sleep(14 * time.Second)
		if synctest.Wait(); ended.Load() != 0 {
			t.Errorf("it ended after %s", time.Duration(ended.Load()))
		}
		time.Sleep(2 * time.Second)
		if synctest.Wait(); ended.Load() != int64(time.Hour+20*time.Second) {
			t.Errorf("it ended after %s", time.Duration(ended.Load()))
		}
		w.Hold(true) // it is over
		w.Hold(false)
		time.Sleep(time.Hour)
		if synctest.Wait(); ended.Load() != int64(time.Hour+20*time.Second) {
			t.Errorf("it ended twice, after %s", time.Duration(ended.Load()))
		}
	})
	(*Stopwatch)(nil).Hold(true)
}
