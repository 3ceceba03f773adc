//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/adit-vpn/adit/lab"
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
		return "to server"
	}
	return "to client"
}

// flow is what one stream showed.
type flow struct {
	mbits      float64       // per second, received
	processor  time.Duration // of both ends of the tunnel, per gigabyte
	retransmit int           // TCP segments
}

// stream sends for one moment and measures.
func (s *side) stream(ctx context.Context, d direction, length time.Duration) (flow, error) {
	ctx, cancel := context.WithTimeout(ctx, length+soon)
	defer cancel()
	argv := []string{"iperf3", "--client", target, "--time", strconv.Itoa(int(length / time.Second)), "--json"}
	if d == toClient {
		argv = append(argv, "--reverse")
	}
	before, err := s.processor()
	if err != nil {
		return flow{}, err
	}
	out, err := s.client.Run(ctx, argv...)
	if err != nil {
		return flow{}, fmt.Errorf("%s %v: %w", s.name, d, err)
	}
	after, err := s.processor()
	if err != nil {
		return flow{}, err
	}
	f, bytes, err := readIperf([]byte(out))
	if err != nil {
		return flow{}, fmt.Errorf("%s %v: %w", s.name, d, err)
	}
	f.processor = time.Duration(float64(after-before) / bytes * 1e9)
	return f, nil
}

// readIperf takes what matters from iperf3's report.
func readIperf(report []byte) (flow, float64, error) {
	var r struct {
		Error string
		End   struct {
			Sent struct{ Retransmits int } `json:"sum_sent"`
			Got  struct {
				Bytes float64
				Rate  float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return flow{}, 0, fmt.Errorf("iperf3's report: %w", err)
	}
	if r.Error != "" || r.End.Got.Bytes == 0 {
		return flow{}, 0, fmt.Errorf("iperf3 moved nothing: %q", r.Error)
	}
	return flow{mbits: r.End.Got.Rate / 1e6, retransmit: r.End.Sent.Retransmits}, r.End.Got.Bytes, nil
}

// processor is the time that the tunnel's programs have used so far, in the kernel too.
func (s *side) processor() (time.Duration, error) {
	var sum time.Duration
	for _, p := range s.tunnel {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
		if err != nil {
			return 0, fmt.Errorf("%s has ended: %w", s.name, err)
		}
		t, err := readStat(string(text))
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// readStat adds utime and stime of /proc/PID/stat (proc(5)), ticks of 10 ms.
func readStat(text string) (time.Duration, error) {
	_, rest, ok := strings.Cut(text[max(0, strings.LastIndexByte(text, ')')):], " ") // the name may hold anything
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("cannot read the process's statistics %q", text)
	}
	var ticks int64
	for _, field := range f[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read the process's statistics: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// pinger asks one host again and again, until it answers.
type pinger struct {
	conn net.PacketConn
	id   int
}

// pingPause is the resolution of the time to the first ping.
const pingPause = time.Millisecond

var pingers atomic.Int32 // numbers them, so that none takes another's late answer

func newPinger(n *lab.Node) (*pinger, error) {
	p := &pinger{id: int(pingers.Add(1)) & 0xffff}
	err := n.Do(func() (err error) {
		p.conn, err = net.ListenPacket("ip4:icmp", "")
		return err
	})
	return p, err
}

func (p *pinger) close() { p.conn.Close() }

// first is when the first answer came.
func (p *pinger) first(ctx context.Context, host string) (time.Time, error) {
	to := &net.IPAddr{IP: net.ParseIP(host)}
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: p.id, Data: []byte("adit bench")}}
	request, err := m.Marshal(nil)
	if err != nil {
		return time.Time{}, err
	}
	buf := make([]byte, 1500)
	for ctx.Err() == nil {
		_, _ = p.conn.WriteTo(request, to) // there may be no way yet
		_ = p.conn.SetReadDeadline(time.Now().Add(pingPause))
		for {
			n, _, err := p.conn.ReadFrom(buf)
			if err != nil {
				break
			}
			now := time.Now()
			got, err := icmp.ParseMessage(1, buf[:n])
			if err != nil || got.Type != ipv4.ICMPTypeEchoReply {
				continue
			}
			if e, ok := got.Body.(*icmp.Echo); ok && e.ID == p.id {
				return now, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("no answer from %s: %w", host, context.Cause(ctx))
}
