package platform

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	interruptTime         = windows.NewLazySystemDLL("api-ms-win-core-realtime-l1-1-1.dll").NewProc("QueryInterruptTime")
	unbiasedInterruptTime = windows.NewLazySystemDLL("kernel32.dll").NewProc("QueryUnbiasedInterruptTime")
)

// Asleep is how long the machine has been suspended since it started. When it grows, the
// machine has just slept. The interrupt-time counts in sleep and hibernation, the unbiased one does not; both are in
// units of 100 ns (realtimeapiset.h). 0 where a Windows has not both, so that a tunnel finds out by its keepalive.
func Asleep() time.Duration {
	if interruptTime.Find() != nil || unbiasedInterruptTime.Find() != nil {
		return 0
	}
	var all, awake uint64
	if ok, _, _ := unbiasedInterruptTime.Call(uintptr(unsafe.Pointer(&awake))); ok == 0 {
		return 0
	}
	_, _, _ = interruptTime.Call(uintptr(unsafe.Pointer(&all))) // returns nothing
	// The two are not read at one moment: what is less than a tick apart is the same time.
	return time.Duration(max(all, awake)-awake) * 100
}
