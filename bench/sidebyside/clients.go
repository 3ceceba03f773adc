//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/adit-vpn/adit/bench/report"
)

// What openvpn is given of a crowd: it makes one handshake after the other, on the thread that moves
// its packets, and more would wait for longer than they may take.
const (
	openvpnClients = 1000
	openvpnStorm   = 200
)

// crowdSaid is what bench/crowd prints with -json, as far as it is of interest here.
type crowdSaid struct {
	Clients, Storm *arrival
	Memory         float64 `json:"memory_bytes"`
	Connected      int
	Quiet, Busy    *watch
}

type arrival struct {
	Wanted, Connected int
	Seconds, Max      float64
}

type watch struct {
	Lost int
	P99  float64 `json:"p99_ms"`
}

// crowdOf runs bench/crowd with a contender for the server.
func (b *bench) crowdOf(ctx context.Context, contender string, args ...string) (*crowdSaid, error) {
	program := filepath.Join(b.dir, "crowd")
	if _, err := goTool(ctx, b.programs.root, "build", "-o", program, "./bench/crowd"); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-json", "-bin", b.o.bin, "-server", contender}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("crowd: %w: %s", err, out)
	}
	return readCrowd(out)
}

// readCrowd wants at least one client that connected.
func readCrowd(out []byte) (*crowdSaid, error) {
	var said crowdSaid
	if err := json.Unmarshal(out, &said); err != nil {
		return nil, fmt.Errorf("crowd: %w", err)
	}
	for _, a := range []*arrival{said.Clients, said.Storm} {
		if a != nil && (a.Connected == 0 || a.Seconds <= 0) {
			return nil, fmt.Errorf("crowd: none of %d clients connected", a.Wanted)
		}
	}
	if said.Connected == 0 || said.Memory <= 0 {
		return nil, errors.New("crowd: nobody is connected in the end")
	}
	return &said, nil
}

// manyClients measures what a client costs the server that has many, and says how many each had.
func manyClients(ctx context.Context, b *bench, _ []*side) error {
	for _, c := range b.crowdServers(b.o.clients, openvpnClients) {
		said, err := b.crowdOf(ctx, c.name, "-clients", fmt.Sprint(c.n))
		if err != nil {
			return err
		}
		b.figures.Add(report.Metric{ID: "clients connected", Title: "clients of one server, connected", Hide: true}, c.name, float64(said.Connected))
		b.figures.Add(report.Metric{ID: "clients memory", Title: "memory of the server for each of them", Unit: "kB", Less: true, Hide: true}, c.name, said.Memory/1e3/float64(said.Connected))
	}
	return nil
}

// storm measures clients that connect all at once, and a session beside them.
func storm(ctx context.Context, b *bench, _ []*side) error {
	for range b.o.rounds {
		for _, c := range b.crowdServers(b.o.storm, openvpnStorm) {
			said, err := b.crowdOf(ctx, c.name, "-storm", fmt.Sprint(c.n), "-hold", "1s")
			if err != nil {
				return err
			}
			add := func(id, title, unit string, less bool, v float64) {
				b.figures.Add(report.Metric{ID: "storm " + id, Title: title, Unit: unit, Less: less, Hide: true}, c.name, v)
			}
			add("rate", "clients that connect at once, of each second", "handshakes", false, float64(said.Storm.Connected)/said.Storm.Seconds)
			add("failed", "of them not connected", "", true, float64(said.Storm.Wanted-said.Storm.Connected))
			add("longest", "the longest handshake of them", "s", true, said.Storm.Max)
			if said.Quiet != nil && said.Busy != nil && said.Quiet.P99 > 0 {
				add("lost", "datagrams that a session at 100 Mbit/s lost meanwhile", "", true, float64(said.Busy.Lost))
				add("ping", "its ping p99, to that before the storm", "×", true, said.Busy.P99/said.Quiet.P99)
			}
		}
	}
	return nil
}

// crowdServer is one contender and how many clients it gets.
type crowdServer struct {
	name string
	n    int
}

// crowdServers are those of the two that take part.
func (b *bench) crowdServers(ours, theirs int) (list []crowdServer) {
	for _, c := range []crowdServer{{openvpnName, min(ours, theirs)}, {aditName, ours}} {
		for _, name := range b.o.contenders {
			if name == c.name {
				list = append(list, c)
			}
		}
	}
	return list
}
