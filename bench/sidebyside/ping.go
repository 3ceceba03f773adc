//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/adit-vpn/adit/bench/report"
	"github.com/adit-vpn/adit/lab"
)

// pinger asks one host again and again. Not safe for concurrent use.
type pinger struct {
	conn net.PacketConn
	id   int
	buf  []byte
}

const (
	firstPause = time.Millisecond      // the resolution of the time to the first ping
	idlePause  = 10 * time.Millisecond // between pings on an idle tunnel
	loadPause  = 4 * time.Millisecond  // and on a loaded one
	lostAfter  = time.Second           // an answer that takes longer counts as this long
)

// newPinger opens a socket in the node. Two in one node have different ids.
func newPinger(n *lab.Node, id int) (*pinger, error) {
	p := &pinger{id: id & 0xffff, buf: make([]byte, 1500)}
	err := n.Do(func() (err error) {
		p.conn, err = net.ListenPacket("ip4:icmp", "")
		return err
	})
	return p, err
}

func (p *pinger) close() { p.conn.Close() }

// ask sends one request. What it carries tells it from those of an earlier pinger.
func (p *pinger) ask(to net.Addr, seq int, stamp time.Time) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: p.id, Seq: seq & 0xffff, Data: binary.BigEndian.AppendUint64(nil, uint64(stamp.UnixNano()))}}
	request, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = p.conn.WriteTo(request, to)
	return err
}

// answer waits until the deadline for one answer, and says which request it answers.
func (p *pinger) answer(deadline time.Time) (seq int, stamp uint64, at time.Time, err error) {
	if err := p.conn.SetReadDeadline(deadline); err != nil {
		return 0, 0, at, err
	}
	for {
		n, _, err := p.conn.ReadFrom(p.buf)
		if err != nil {
			return 0, 0, at, err
		}
		at = time.Now()
		m, err := icmp.ParseMessage(1, p.buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
			continue
		}
		if e, ok := m.Body.(*icmp.Echo); ok && e.ID == p.id && len(e.Data) == 8 {
			return e.Seq, binary.BigEndian.Uint64(e.Data), at, nil
		}
	}
}

// first is when the first answer came.
func (p *pinger) first(ctx context.Context, host string) (time.Time, error) {
	to := &net.IPAddr{IP: net.ParseIP(host)}
	began := time.Now()
	for seq := 0; ctx.Err() == nil; seq++ {
		now := time.Now()
		_ = p.ask(to, seq, now) // there may be no way yet
		_, stamp, at, err := p.answer(now.Add(firstPause))
		if err == nil && stamp >= uint64(began.UnixNano()) {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("no answer from %s: %w", host, context.Cause(ctx))
}

// series sends requests at a fixed pace for length and returns the times of the answers in
// milliseconds, sorted; what was lost counts as lostAfter.
func (p *pinger) series(ctx context.Context, host string, pause, length time.Duration) (ms []float64, lost int, err error) {
	to := &net.IPAddr{IP: net.ParseIP(host)}
	sent := map[uint64]bool{}
	began := time.Now()
	next := began
	end := began.Add(length)
	for seq := 0; ; {
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil, 0, context.Cause(ctx)
		case now.Before(end) && !now.Before(next):
			if err := p.ask(to, seq, now); err == nil {
				sent[uint64(now.UnixNano())] = true
			}
			seq++
			next = next.Add(pause)
			continue
		case !now.Before(end) && (len(sent) == 0 || now.After(end.Add(lostAfter))):
			lost = len(sent)
			for range lost {
				ms = append(ms, float64(lostAfter)/1e6)
			}
			if len(ms) == 0 {
				return nil, 0, fmt.Errorf("no ping was sent to %s", host)
			}
			slices.Sort(ms)
			return ms, lost, nil
		}
		deadline := next
		if !now.Before(end) {
			deadline = end.Add(lostAfter)
		}
		_, stamp, at, err := p.answer(deadline)
		if err == nil && sent[stamp] {
			delete(sent, stamp)
			ms = append(ms, min(float64(at.UnixNano()-int64(stamp)), float64(lostAfter))/1e6)
		}
	}
}

// idlePing measures round trips while nothing else goes through.
func idlePing(ctx context.Context, b *bench, sides []*side) error {
	return b.turns(ctx, sides, 1, func(s *side, _ int) error {
		p, err := newPinger(s.client().node, 1000)
		if err != nil {
			return err
		}
		defer p.close()
		ms, _, err := p.series(ctx, target, idlePause, b.o.length)
		if err != nil {
			return err
		}
		b.figures.Add(report.Metric{ID: "ping idle", Title: "ping on an idle tunnel, median", Unit: "ms", Less: true}, s.name, report.Percentile(ms, 50))
		b.figures.Add(report.Metric{ID: "ping idle p99", Title: "ping on an idle tunnel, 99th percentile", Unit: "ms", Less: true, Hide: true}, s.name, report.Percentile(ms, 99))
		return nil
	})
}

// loadedPing measures round trips beside a stream at full rate.
func loadedPing(ctx context.Context, b *bench, sides []*side) error {
	return b.turns(ctx, sides, int(directions), func(s *side, part int) error {
		d := direction(part)
		p, err := newPinger(s.client().node, 1000)
		if err != nil {
			return err
		}
		defer p.close()
		// The stream begins first and ends last.
		stream := make(chan error, 1)
		go func() {
			_, err := s.iperf(ctx, d, b.o.length+2*time.Second)
			stream <- err
		}()
		time.Sleep(time.Second)
		ms, lost, err := p.series(ctx, target, loadPause, b.o.length)
		if e := <-stream; e != nil {
			return e
		}
		if err != nil {
			return err
		}
		add := func(id, title, unit string, hide bool, v float64) {
			b.figures.Add(report.Metric{ID: id + " " + d.String(), Title: title + ", " + d.String(), Unit: unit, Less: true, Hide: hide}, s.name, v)
		}
		add("ping loaded p50", "ping beside a stream at full rate, median", "ms", true, report.Percentile(ms, 50))
		add("ping loaded p99", "ping beside a stream at full rate, 99th percentile", "ms", false, report.Percentile(ms, 99))
		add("ping loaded lost", "pings lost beside a stream at full rate", "%", true, 100*float64(lost)/float64(len(ms)))
		return nil
	})
}
