//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/adit-vpn/adit/bench/report"
)

// bench is one run.
type bench struct {
	o        options
	dir      string // scratch
	out      io.Writer
	programs programs
	figures  report.Figures
	sections []report.Section
	left     []string // what could not be measured, and why
	load     string   // of the machine before the run
	ticks    ticks
}

// scene is what contenders stand on.
type scene struct {
	transport string
	cipher    string
	delay     time.Duration // each way
	crowd     bool          // as many clients as -peers says, else one
}

// measurement is one entry of -only; several entries may have the same name.
type measurement struct {
	name  string
	scene scene // the zero value: it needs no tunnels
	who   []string
	down  bool // it brings the tunnels up itself
	run   func(ctx context.Context, b *bench, sides []*side) error
}

const (
	aes    = "AES-256-GCM"
	chacha = "CHACHA20-POLY1305"
)

// measurements are all, in the order in which they run. Those of one scene stand together.
func measurements() []measurement {
	plain, tcp := scene{transport: "udp", cipher: aes}, scene{transport: "tcp", cipher: aes}
	kernel := []string{openvpnName, aditName, wireguardName}
	pair := []string{openvpnName, aditName}
	return []measurement{
		{name: "connect", scene: plain, who: kernel, down: true, run: connect},
		{name: "stream", scene: plain, who: contenderNames, run: stream("stream", "one TCP stream, UDP, AES-256-GCM")},
		{name: "streams8", scene: plain, who: kernel, run: stream("streams8", "8 TCP streams", "--parallel", "8")},
		{name: "bidir", scene: plain, who: kernel, run: bothWays},
		{name: "smallpackets", scene: plain, who: append(slices.Clone(kernel), plainName), run: smallPackets},
		{name: "idleping", scene: plain, who: append(slices.Clone(kernel), plainName), run: idlePing},
		{name: "loadedping", scene: plain, who: kernel, run: loadedPing},
		{name: "cpu200", scene: plain, who: kernel, run: processor200},
		{name: "idle", scene: plain, who: kernel, run: idle},
		{name: "tcp", scene: tcp, who: pair, run: stream("tcp", "one TCP stream, TCP transport, AES-256-GCM")},
		{name: "connect", scene: tcp, who: pair, down: true, run: connect},
		{name: "chacha", scene: scene{transport: "udp", cipher: chacha}, who: kernel, run: stream("chacha", "one TCP stream, UDP, CHACHA20-POLY1305")},
		{name: "connect50ms", scene: scene{transport: "udp", cipher: aes, delay: farAway / 2}, who: kernel, down: true, run: connectFar},
		{name: "connect50ms", scene: scene{transport: "tcp", cipher: aes, delay: farAway / 2}, who: pair, down: true, run: connectFar},
		{name: "peers100", scene: scene{transport: "udp", cipher: aes, crowd: true}, who: kernel, run: peers},
		{name: "clients20000", run: manyClients},
		{name: "storm", run: storm},
		{name: "instructions", run: instructions},
		{name: "profile", run: profiles},
	}
}

// names are those of -only.
func names() []string {
	var list []string
	for _, m := range measurements() {
		if !slices.Contains(list, m.name) {
			list = append(list, m.name)
		}
	}
	return list
}

// all runs the chosen measurements, scene by scene.
func (b *bench) all(ctx context.Context) error {
	chosen := slices.DeleteFunc(measurements(), func(m measurement) bool {
		if !slices.Contains(b.o.only, m.name) {
			return true
		}
		m.who = slices.DeleteFunc(slices.Clone(m.who), func(n string) bool { return !slices.Contains(b.o.contenders, n) })
		return m.scene != (scene{}) && len(m.who) == 0
	})
	for i := 0; i < len(chosen); {
		end := i + 1
		for end < len(chosen) && chosen[end].scene == chosen[i].scene {
			end++
		}
		if err := b.onScene(ctx, i, chosen[i:end]); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// onScene builds every contender that some measurement needs, and lets them take turns.
func (b *bench) onScene(ctx context.Context, number int, list []measurement) (err error) {
	sc := list[0].scene
	var sides []*side
	defer func() {
		for _, s := range sides {
			if ctx.Err() == nil && (err != nil || b.o.verbose) {
				fmt.Fprint(os.Stderr, s.said())
			}
			s.close()
		}
	}()
	if sc != (scene{}) {
		dir := filepath.Join(b.dir, fmt.Sprint("scene", number))
		k, err := newKeys(dir, sc)
		if err != nil {
			return err
		}
		for _, name := range contenderNames {
			if !slices.Contains(b.o.contenders, name) || !slices.ContainsFunc(list, func(m measurement) bool { return slices.Contains(m.who, name) }) {
				continue
			}
			s, err := b.newSide(name, filepath.Join(dir, name), sc, k)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			sides = append(sides, s)
		}
	}
	for _, m := range list {
		var who []*side
		for _, s := range sides {
			if !slices.Contains(m.who, s.name) {
				continue
			}
			if err := s.set(ctx, !m.down); err != nil {
				return fmt.Errorf("%s: %s: %w", m.name, s.name, err)
			}
			who = append(who, s)
		}
		before := len(b.figures.Metrics())
		start := time.Now()
		if err := m.run(ctx, b, who); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintf(b.out, "# %s took %.0f s\n", m.name, time.Since(start).Seconds())
		fresh := b.figures.Metrics()[before:]
		fmt.Fprint(b.out, b.figures.Text(func(m report.Metric) bool { return slices.Contains(fresh, m) }))
	}
	return nil
}

// turns calls f for each part and side, round by round, so that neighbours in time are compared.
func (b *bench) turns(ctx context.Context, sides []*side, parts int, f func(s *side, part int) error) error {
	for range b.o.rounds {
		for part := range parts {
			for _, s := range sides {
				if err := ctx.Err(); err != nil {
					return context.Cause(ctx)
				}
				if err := f(s, part); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
	}
	return nil
}

// leaveOut notes what is not measured; it goes into the page.
func (b *bench) leaveOut(format string, args ...any) {
	b.left = append(b.left, fmt.Sprintf(format, args...))
	fmt.Fprintln(b.out, "left out:", b.left[len(b.left)-1])
}
