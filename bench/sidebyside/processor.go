//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/bench/report"
	"github.com/adit-vpn/adit/lab"
)

// all are the programs that move packets, at both ends.
func (s *side) all() []*lab.Proc {
	procs := append([]*lab.Proc(nil), s.carriers...)
	for _, c := range s.clients {
		procs = append(procs, c.carriers...)
	}
	return procs
}

// used is the time that programs have spent on processors so far, in the kernel too (not in its
// threads and interrupts).
func used(procs []*lab.Proc) (time.Duration, error) {
	var sum time.Duration
	for _, p := range procs {
		var t unix.Timespec
		if err := unix.ClockGettime(processClock(p.Cmd.Process.Pid), &t); err != nil {
			return 0, fmt.Errorf("clock of %s: %w", p.Cmd.Path, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// processClock is the clock of another process's processor time, in nanoseconds
// (clock_getcpuclockid(3); linux/posix-timers.h, CPUCLOCK_SCHED).
func processClock(pid int) int32 { return int32(^pid<<3 | 2) }

// resident is a process's memory (proc_pid_status(5), VmRSS) in MB of 1e6 bytes.
func resident(p *lab.Proc) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return readResident(string(text))
}

func readResident(status string) (float64, error) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			if err != nil {
				return 0, fmt.Errorf("cannot read the process's memory: %w", err)
			}
			return kb * 1024 / 1e6, nil
		}
	}
	return 0, fmt.Errorf("the process's status has no VmRSS")
}

// idleStreams is how many streams long the tunnels are left alone.
const idleStreams = 3

// idle measures what tunnels use while nothing goes through, all at the same time, and memory. It
// comes after streams: what they left in memory counts.
func idle(ctx context.Context, b *bench, sides []*side) error {
	length := idleStreams * b.o.length
	for range b.o.rounds {
		ends := map[string][][]*lab.Proc{}
		before := map[string][2]time.Duration{}
		start := time.Now()
		for _, s := range sides {
			ends[s.name] = [][]*lab.Proc{s.client().carriers, s.carriers}
			t, err := usedBoth(ends[s.name])
			if err != nil {
				return err
			}
			before[s.name] = t
		}
		select {
		case <-time.After(length):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for _, s := range sides {
			after, err := usedBoth(ends[s.name])
			if err != nil {
				return err
			}
			took := time.Since(start)
			for i, end := range []string{"client", "server"} {
				b.figures.Add(report.Metric{ID: "idle processor " + end, Title: "processor of an idle tunnel, " + end, Unit: "%", Less: true, Hide: true},
					s.name, 100*float64(after[i]-before[s.name][i])/float64(took))
				mb, err := resident(ends[s.name][i][0])
				if err != nil {
					return err
				}
				b.figures.Add(report.Metric{ID: "memory " + end, Title: "resident memory after the streams, " + end, Unit: "MB", Less: true}, s.name, mb)
			}
		}
	}
	return nil
}

func usedBoth(ends [][]*lab.Proc) (t [2]time.Duration, err error) {
	for i, procs := range ends {
		if t[i], err = used(procs); err != nil {
			return t, err
		}
	}
	return t, nil
}
