package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage may wait for the collector. Packets make none; handshakes and keepalives do. A small endpoint
// may have many times what it uses, so that a storm of clients is not collected again and again while packets
// wait: what it has in a quiet time goes with the collection that Go makes every two minutes. A large one has
// less than Go gives it, because half of what thousands of clients have is much.
const (
	garbageBytes = 32 << 20
	garbageLeast = 40  // percent
	garbageMost  = 800 // percent; Go takes it of 4 MB at least, which makes garbageBytes
)

// gcPercent is the percentage of live memory, in bytes, that garbage may have.
func gcPercent(live uint64) int {
	return int(min(max(garbageBytes*100/max(live, 1), garbageLeast), garbageMost))
}

// sentinel is what each collection finds dead.
type sentinel struct{ _ *sentinel }

// watchMemory keeps the collector in step with what is in use until ctx ends: it looks after each collection. Who
// sets GOGC knows better.
func watchMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	collected := make(chan struct{}, 1)
	percent := 100
	defer func() { debug.SetGCPercent(100) }()
	for {
		runtime.AddCleanup(&sentinel{}, func(collected chan<- struct{}) { collected <- struct{}{} }, collected)
		metrics.Read(sample)
		// Each change stops everything for a moment: small ones are not worth it.
		if next := gcPercent(sample[0].Value.Uint64()); next < percent*19/20 || next > percent*21/20 || next != percent && next == garbageLeast {
			debug.SetGCPercent(next)
			percent = next
		}
		select {
		case <-ctx.Done():
			return
		case <-collected:
		}
	}
}
