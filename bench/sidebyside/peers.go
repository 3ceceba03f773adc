//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/bench/report"
)

const (
	crowdPort   = 5302
	crowdWarmUp = 2 * time.Second
	crowdLonger = 2 // times the length of one stream: many streams take turns more slowly
	crowdBuffer = 128 << 10
)

// peers measures a crowd of clients, each with one TCP stream, all at the same time, beside one of
// them alone. Every client is the shipped program in a namespace of its own. The streams are this
// program's: a hundred of iperf3's processes would take more of the machine than the tunnels.
func peers(ctx context.Context, b *bench, sides []*side) error {
	return b.turns(ctx, sides, int(directions), func(s *side, part int) error {
		d := direction(part)
		add := func(id, title, unit string, v float64) {
			b.figures.Add(report.Metric{ID: "peers " + id + " " + d.String(), Title: title + ", " + d.String(), Unit: unit}, s.name, v)
		}
		alone, err := crowd(ctx, s, s.clients[:1], d, b.o.length)
		if err != nil {
			return err
		}
		all, err := crowd(ctx, s, s.clients, d, crowdLonger*b.o.length)
		if err != nil {
			return err
		}
		sum := total(all)
		add("alone", fmt.Sprintf("one of %d clients alone", len(all)), "Mbit/s", alone[0])
		add("together", fmt.Sprintf("%d clients at once, sum", len(all)), "Mbit/s", sum)
		add("fairness", fmt.Sprintf("slowest of %d clients, share of the mean", len(all)), "×", fairness(all))
		return nil
	})
}

func total(rates []float64) (sum float64) {
	for _, r := range rates {
		sum += r
	}
	return sum
}

// fairness is the least rate's share of the mean.
func fairness(rates []float64) float64 {
	sum := total(rates)
	if sum == 0 {
		return 0
	}
	return slices.Min(rates) / sum * float64(len(rates))
}

// crowd moves bytes for some clients and returns what each received, in Mbit/s.
func crowd(ctx context.Context, s *side, clients []*host, d direction, length time.Duration) ([]float64, error) {
	l, err := s.server.Listen("tcp4", fmt.Sprintf("%s:%d", target, crowdPort))
	if err != nil {
		return nil, err
	}
	counters := make([]atomic.Int64, len(clients))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.Close()
	wg.Go(func() { serveCrowd(l, counters, &wg) })
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i, c := range clients {
		conn, err := c.node.Dial("tcp4", l.Addr().String(), soon)
		if err != nil {
			return nil, fmt.Errorf("client %d: %w", i, err)
		}
		conns = append(conns, conn)
		if _, err := conn.Write(binary.BigEndian.AppendUint32([]byte{byte(d)}, uint32(i))); err != nil {
			return nil, err
		}
	}
	for i, conn := range conns {
		wg.Go(func() { move(conn, d == toServer, &counters[i]) })
	}
	before, after := make([]int64, len(clients)), make([]int64, len(clients))
	var start time.Time
	var took time.Duration
	for i, pause := range []time.Duration{crowdWarmUp, length} {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		at := before
		if i == 0 {
			start = time.Now()
		} else {
			at, took = after, time.Since(start)
		}
		for i := range counters {
			at[i] = counters[i].Load()
		}
	}
	rates := make([]float64, len(clients))
	for i := range rates {
		rates[i] = float64(after[i]-before[i]) * 8 / 1e6 / took.Seconds()
	}
	return rates, nil
}

// serveCrowd takes connections until the listener is closed; each ends with its client.
func serveCrowd(l net.Listener, counters []atomic.Int64, wg *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer conn.Close()
			head := make([]byte, 5)
			if _, err := io.ReadFull(conn, head); err != nil {
				return
			}
			if i := int(binary.BigEndian.Uint32(head[1:])); i < len(counters) {
				move(conn, direction(head[0]) == toClient, &counters[i])
			}
		})
	}
}

// move sends, or receives and counts, until the connection ends.
func move(conn net.Conn, send bool, received *atomic.Int64) {
	buf := make([]byte, crowdBuffer)
	for {
		if send {
			if _, err := conn.Write(buf); err != nil {
				return
			}
			continue
		}
		n, err := conn.Read(buf)
		received.Add(int64(n))
		if err != nil && (n == 0 || errors.Is(err, net.ErrClosed)) {
			return
		}
	}
}
