//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/bench/report"
)

// Result is one run. Another program reads it as JSON.
type Result struct {
	Clients *Arrival `json:"clients,omitempty"` // nil: there were none
	Storm   *Arrival `json:"storm,omitempty"`
	// Memory of the server's process, bytes: before the first client, with all of them
	// connected, and at its highest.
	Before  int64 `json:"before_bytes"`
	Memory  int64 `json:"memory_bytes"`
	Highest int64 `json:"highest_bytes"`
	// Held is how long all were connected before Memory was read, seconds; Processor what the server's
	// process used of one processor in that time.
	Held      float64 `json:"held_seconds"`
	Processor float64 `json:"processor"`
	// Connected is how many sessions were alive in the end, and Lost why others had ended.
	Connected int            `json:"connected"`
	Lost      map[string]int `json:"lost,omitempty"`
	// Quiet and Busy are the session with a stream, before the storm and in it; nil: not measured.
	Quiet *Watch `json:"quiet,omitempty"`
	Busy  *Watch `json:"busy,omitempty"`
}

// Arrival is how some clients connected: from the first packet to the configuration.
type Arrival struct {
	Wanted    int            `json:"wanted"`
	Connected int            `json:"connected"`
	Failed    map[string]int `json:"failed,omitempty"` // by reason
	Seconds   float64        `json:"seconds"`          // until the last one was connected
	// How long one took, seconds.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Processor is the time of a processor that the server's process used for each meanwhile, seconds: other
	// work of the machine does not change it.
	Processor float64 `json:"processor"`
	// The same of the crowd's processes, and of the one that watches: they share the machine.
	CrowdProcessor float64 `json:"crowd_processor"`
	WatchProcessor float64 `json:"watch_processor"`
}

// Rate is handshakes per second.
func (a *Arrival) Rate() float64 {
	if a.Seconds == 0 {
		return 0
	}
	return float64(a.Connected) / a.Seconds
}

// newArrival sums up all who came.
func newArrival(all landed) *Arrival {
	a := &Arrival{Wanted: len(all.Took), Connected: len(all.Took), Failed: all.Failed, Seconds: all.Seconds}
	for _, n := range all.Failed {
		a.Wanted += n
	}
	if took := slices.Sorted(slices.Values(all.Took)); len(took) > 0 {
		a.P50, a.P99, a.Max = report.Percentile(took, 50), report.Percentile(took, 99), took[len(took)-1]
	}
	return a
}

// Watch is what became of a session's stream and of pings beside it.
type Watch struct {
	Seconds  float64 `json:"seconds"`
	Sent     int     `json:"sent"` // datagrams of the stream
	Lost     int     `json:"lost"`
	Pings    int     `json:"pings"`
	NoAnswer int     `json:"no_answer"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
}

// PerClient is the memory for each client, bytes, that of the empty server included.
func (r *Result) PerClient() float64 {
	if r.Connected == 0 {
		return 0
	}
	return float64(r.Memory) / float64(r.Connected)
}

func (r *Result) String() string {
	var b strings.Builder
	for _, part := range []struct {
		name string
		a    *Arrival
	}{{"clients", r.Clients}, {"storm", r.Storm}} {
		if a := part.a; a != nil {
			fmt.Fprintf(&b, "%s: %d of %d connected in %.1f s: %.0f/s; one took p50 %.2f s, p99 %.2f s, at most %.2f s, and %.2f ms of a processor (the crowd %.2f ms, the watcher %.2f ms)\n",
				part.name, a.Connected, a.Wanted, a.Seconds, a.Rate(), a.P50, a.P99, a.Max, a.Processor*1e3, a.CrowdProcessor*1e3, a.WatchProcessor*1e3)
			counts(&b, "failed", a.Failed)
		}
	}
	fmt.Fprintf(&b, "server: %.1f MB before, %.1f MB with %d clients after %.0f s (%.1f kB each), %.1f MB at its highest; %.2f of one processor\n",
		mega(r.Before), mega(r.Memory), r.Connected, r.Held, r.PerClient()/1e3, mega(r.Highest), r.Processor)
	counts(&b, "lost", r.Lost)
	for _, part := range []struct {
		name string
		w    *Watch
	}{{"quiet", r.Quiet}, {"in the storm", r.Busy}} {
		if w := part.w; w != nil {
			fmt.Fprintf(&b, "session, %s: %d of %d datagrams lost in %.1f s; %d of %d pings without an answer, p50 %.3f ms, p99 %.3f ms, at most %.3f ms\n",
				part.name, w.Lost, w.Sent, w.Seconds, w.NoAnswer, w.Pings, w.P50, w.P99, w.Max)
		}
	}
	return b.String()
}

func counts(b *strings.Builder, what string, reasons map[string]int) {
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(b, "  %s: %d × %s\n", what, reasons[reason], reason)
	}
}

func mega(n int64) float64 { return float64(n) / 1e6 }
