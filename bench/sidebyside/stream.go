//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/adit-vpn/adit/bench/report"
)

// direction is where a stream goes.
type direction int

const (
	toServer direction = iota
	toClient
	directions
)

func (d direction) String() string {
	if d == toServer {
		return "up"
	}
	return "down"
}

// flow is what iperf3 says of one run.
type flow struct {
	mbits float64 // per second, received, all streams and directions
	bytes float64 // received
}

// iperf runs iperf3 for one moment.
func (s *side) iperf(ctx context.Context, d direction, length time.Duration, args ...string) (flow, error) {
	ctx, cancel := context.WithTimeout(ctx, length+soon)
	defer cancel()
	argv := append([]string{"iperf3", "--client", s.reach(), "--time", strconv.Itoa(int(max(length, time.Second) / time.Second)), "--json"}, args...)
	if d == toClient {
		argv = append(argv, "--reverse")
	}
	out, err := s.client().node.Run(ctx, argv...)
	if err != nil {
		return flow{}, err
	}
	return readIperf([]byte(out))
}

// readIperf takes what matters from iperf3's report.
func readIperf(text []byte) (flow, error) {
	type sum struct {
		Bytes float64
		Rate  float64 `json:"bits_per_second"`
	}
	var r struct {
		Error string
		End   struct {
			Got  sum `json:"sum_received"`
			Back sum `json:"sum_received_bidir_reverse"`
		}
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return flow{}, fmt.Errorf("iperf3's report: %w", err)
	}
	f := flow{mbits: (r.End.Got.Rate + r.End.Back.Rate) / 1e6, bytes: r.End.Got.Bytes + r.End.Back.Bytes}
	if r.Error != "" || f.bytes == 0 {
		return flow{}, fmt.Errorf("iperf3 moved nothing: %q", r.Error)
	}
	return f, nil
}

// stream measures TCP in both directions with more arguments for iperf3, and processor time.
func stream(id, title string, args ...string) func(context.Context, *bench, []*side) error {
	return func(ctx context.Context, b *bench, sides []*side) error {
		return b.turns(ctx, sides, int(directions), func(s *side, part int) error {
			d := direction(part)
			f, used, err := s.metered(ctx, d, b.o.length, args...)
			if err != nil {
				return err
			}
			b.figures.Add(report.Metric{ID: id + " " + d.String(), Title: title + ", " + d.String(), Unit: "Mbit/s"}, s.name, f.mbits)
			if s.name != plainName {
				b.figures.Add(report.Metric{ID: id + " processor " + d.String(), Title: "processor time of both ends, " + title + ", " + d.String(), Unit: "s/GB", Less: true, Hide: true},
					s.name, used.Seconds()/f.bytes*1e9)
			}
			return nil
		})
	}
}

// metered is iperf with the processor time that both ends used.
func (s *side) metered(ctx context.Context, d direction, length time.Duration, args ...string) (flow, time.Duration, error) {
	before, err := used(s.all())
	if err != nil {
		return flow{}, 0, err
	}
	f, err := s.iperf(ctx, d, length, args...)
	if err != nil {
		return f, 0, err
	}
	after, err := used(s.all())
	return f, after - before, err
}

// bothWays measures one stream each way at the same time.
func bothWays(ctx context.Context, b *bench, sides []*side) error {
	m := report.Metric{ID: "bidir", Title: "one TCP stream each way at once, sum", Unit: "Mbit/s"}
	return b.turns(ctx, sides, 1, func(s *side, _ int) error {
		f, err := s.iperf(ctx, toServer, b.o.length, "--bidir")
		if err == nil {
			b.figures.Add(m, s.name, f.mbits)
		}
		return err
	})
}

// processor200 measures processor time at a rate that all reach.
func processor200(ctx context.Context, b *bench, sides []*side) error {
	return b.turns(ctx, sides, int(directions), func(s *side, part int) error {
		d := direction(part)
		f, used, err := s.metered(ctx, d, b.o.length, "--bitrate", "200M")
		if err != nil {
			return err
		}
		b.figures.Add(report.Metric{ID: "cpu200 " + d.String(), Title: "processor time of both ends at 200 Mbit/s, " + d.String(), Unit: "s/GB", Less: true},
			s.name, used.Seconds()/f.bytes*1e9)
		b.figures.Add(report.Metric{ID: "cpu200 rate " + d.String(), Title: "rate reached at 200 Mbit/s, " + d.String(), Unit: "Mbit/s", Hide: true}, s.name, f.mbits)
		return nil
	})
}
