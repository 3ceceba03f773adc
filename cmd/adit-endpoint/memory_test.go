package main

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 800, 1 << 20: 800, 4 << 20: 800, 8 << 20: 400, 32 << 20: 100, 64 << 20: 50, 80 << 20: 40, 1 << 30: 40, 1 << 50: 40,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes: %d, want %d", live, got, want)
		}
	}
}

// TestWatchMemory: each collection is noticed, and in the end the collector is as Go has it.
func TestWatchMemory(t *testing.T) {
	t.Setenv("GOGC", "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); watchMemory(ctx) }()
	percent := func() int {
		sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(sample)
		return int(sample[0].Value.Uint64())
	}
	until := func(ok func(percent int) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(percent()); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d %%", percent())
			}
			runtime.GC()
		}
	}
	until(func(p int) bool { return p > 200 })
	much := make([]byte, 64<<20)
	until(func(p int) bool { return p < 200 })
	runtime.KeepAlive(much)
	until(func(p int) bool { return p > 200 })
	cancel()
	<-done
	if p := percent(); p != 100 {
		t.Errorf("%d %% in the end", p)
	}
}
