package platform

import (
	"time"

	"golang.org/x/sys/unix"
)

// Asleep is how long the machine has been suspended since it started. When it grows, the machine has just slept.
// CLOCK_MONOTONIC_RAW goes on meanwhile, and CLOCK_UPTIME_RAW stands still, as Go's timers do (clock_gettime(3)).
func Asleep() time.Duration {
	var awake, all unix.Timespec
	if unix.ClockGettime(unix.CLOCK_UPTIME_RAW, &awake) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &all) != nil {
		return 0
	}
	return time.Duration(all.Nano() - awake.Nano())
}
