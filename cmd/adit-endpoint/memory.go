package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much garbage may wait for the collector. Packets make none; handshakes and keepalives do. A small
// endpoint has as much as Go gives it, so that a storm of clients is not collected again and again; a large
// one less, because half of what thousands of clients have is much.
const (
	garbagePercent = 100
	garbageBytes   = 64 << 20
	garbageLeast   = 40 // percent
	garbagePoll    = 2 * time.Second
)

// gcPercent is the percentage of live memory, in bytes, that garbage may have.
func gcPercent(live uint64) int {
	if live*garbagePercent/100 <= garbageBytes {
		return garbagePercent
	}
	return max(garbageLeast, int(garbageBytes*100/live))
}

// watchMemory keeps the collector in step with what is in use until ctx ends. Who sets GOGC knows better.
func watchMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(garbagePoll)
	defer tick.Stop()
	percent := garbagePercent
	defer func() { debug.SetGCPercent(garbagePercent) }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		// Each change stops everything for a moment: small ones are not worth it.
		if next := gcPercent(sample[0].Value.Uint64()); next < percent-5 || next > percent+5 || next != percent && next == garbageLeast {
			debug.SetGCPercent(next)
			percent = next
		}
	}
}
