package platform

import (
	"time"

	"golang.org/x/sys/unix"
)

// Asleep is how long the machine has been suspended since it started. When it grows, the
// machine has just slept. Timers do not see that time on Linux: CLOCK_MONOTONIC stands still
// meanwhile, and CLOCK_BOOTTIME does not (clock_gettime(2)).
func Asleep() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
