//go:build linux

package main

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/bench/report"
	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/lab"
	"github.com/adit-vpn/adit/ovpn/profile"
)

func TestReadIperf(t *testing.T) {
	text := `{"start":{},"end":{"sum_sent":{"bytes":11},"sum_received":{"bytes":5e8,"bits_per_second":1e9}}}`
	if f, err := readIperf([]byte(text)); err != nil || f != (flow{1000, 5e8}) {
		t.Errorf("%+v, %v", f, err)
	}
	text = `{"end":{"sum_received":{"bytes":5e8,"bits_per_second":1e9},"sum_received_bidir_reverse":{"bytes":1e8,"bits_per_second":2e8}}}`
	if f, err := readIperf([]byte(text)); err != nil || f != (flow{1200, 6e8}) {
		t.Errorf("both ways: %+v, %v", f, err)
	}
	for _, bad := range []string{"", "{}", `{"error":"unable to connect"}`} {
		if _, err := readIperf([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestReadCallgrind(t *testing.T) {
	if n, err := readCallgrind([]byte("==7== Events    : Ir\n==7== Collected : 15153650\n")); err != nil || n != 15153650 {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "==7== Collected : 0\n", "==7== Collected : 99999999999999999999\n"} {
		if _, err := readCallgrind([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestReadResident(t *testing.T) {
	if mb, err := readResident("Name:\tx\nVmRSS:\t   20000 kB\n"); err != nil || mb != 20.48 {
		t.Errorf("%v, %v", mb, err)
	}
	for _, bad := range []string{"", "VmRSS:\tmuch kB\n"} {
		if _, err := readResident(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestTicks(t *testing.T) {
	before, after := parseTicks("cpu  10 0 10 70 0 0 0 10 0 0"), parseTicks("cpu  50 0 50 70 0 0 0 30 0 0")
	if before != (ticks{100, 10}) || after.stolenSince(before) != "20.0 %" {
		t.Errorf("%+v, %s", before, after.stolenSince(before))
	}
	for _, bad := range []string{"cpu 1", "", "cpu 0 0 0 x 0 0 0 0", "cpu0 1 1 1 1 1 1 1 1"} {
		if got := parseTicks(bad); got != (ticks{}) || got.stolenSince(before) != "unknown" {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestFirstLines(t *testing.T) {
	if got := firstLines("# head\n\n  50% a  - - \n 20% b\n 1% c\n", 2); got != "50% a\n20% b" {
		t.Errorf("%q", got)
	}
}

func TestWireguardAnswer(t *testing.T) {
	if err := wireguardAnswer("errno=0\n"); err != nil {
		t.Error(err)
	}
	if wireguardAnswer("errno=-22\n") == nil || wireguardAnswer("") == nil {
		t.Error("a refusal is taken")
	}
}

// The clock of another process is the one that the kernel means.
func TestUsed(t *testing.T) {
	if got := processClock(1); got != -14 { // ~1<<3 | 2
		t.Errorf("clock of process 1: %d", got)
	}
}

func TestFairness(t *testing.T) {
	for _, c := range []struct {
		rates []float64
		want  float64
	}{{[]float64{10, 10}, 1}, {[]float64{5, 15}, 0.5}, {[]float64{0, 9}, 0}, {[]float64{0}, 0}} {
		if got := fairness(c.rates); got != c.want {
			t.Errorf("%v: %v, want %v", c.rates, got, c.want)
		}
	}
}

func TestPassed(t *testing.T) {
	for _, c := range []struct {
		planned, sent, got float64
		reached, whole     bool
	}{{1000, 1000, 1000, true, true}, {10000, 9800, 9795, true, true}, {1000, 900, 900, false, true}, {1000, 1000, 998, true, false}} {
		if reached, whole := passed(c.planned, c.sent, c.got); reached != c.reached || whole != c.whole {
			t.Errorf("%+v: %v, %v", c, reached, whole)
		}
	}
}

func TestSearch(t *testing.T) {
	for _, limit := range []float64{150, 3000, 50_000, 777_777} {
		flaky := 0
		got, err := search(t.Context(), leastRate, func(rate float64) (bool, error) {
			flaky++
			return rate <= limit && flaky%3 == 0, nil // most trials are disturbed
		})
		if err != nil || got > limit || got < limit/1.06 {
			t.Errorf("limit %v: %v, %v", limit, got, err)
		}
	}
	if _, err := search(t.Context(), leastRate, func(float64) (bool, error) { return false, nil }); err == nil {
		t.Error("a rate is found where nothing goes through")
	}
	if got, err := search(t.Context(), leastRate, func(float64) (bool, error) { return true, nil }); err != nil || got > mostRate || got < mostRate/2 {
		t.Errorf("without a limit: %v, %v", got, err)
	}
	broken := errors.New("broken")
	if _, err := search(t.Context(), leastRate, func(float64) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := search(ctx, leastRate, func(float64) (bool, error) { return true, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Every line of the goals has bounds, and names contenders that there are.
func TestGoals(t *testing.T) {
	lines := map[string]int{}
	for _, g := range goals() {
		lines[g.Line]++
		if g.Ours.Metric == "" || !slices.Contains(contenderNames, g.Ours.Contender) {
			t.Errorf("%s. %s: %+v", g.Line, g.Text, g.Ours)
		}
		if g.Theirs != (report.Ref{}) && !slices.Contains(contenderNames, g.Theirs.Contender) {
			t.Errorf("%s. %s: %+v", g.Line, g.Text, g.Theirs)
		}
		if g.Bound < 0 || g.Bound == 0 && !g.Most {
			t.Errorf("%s. %s: no bound", g.Line, g.Text)
		}
	}
	if len(lines) != 8 {
		t.Errorf("goals of %d lines, want 8", len(lines))
	}
}

func TestWithoutEpoch(t *testing.T) {
	source, err := os.ReadFile("../../ovpn/negotiate.go")
	if err != nil {
		t.Fatal(err)
	}
	changed, err := withoutEpoch(source)
	if err != nil || strings.Contains(string(changed), "protoEpoch       = 1") {
		t.Errorf("not changed: %v", err)
	}
	if _, err := withoutEpoch(changed); err == nil {
		t.Error("a source without the line is taken")
	}
}

// What we ask of the implementations is what they understand.
func TestConfigurations(t *testing.T) {
	for _, sc := range []scene{{transport: "udp", cipher: aes}, {transport: "tcp", cipher: aes}, {transport: "udp", cipher: chacha}} {
		dir := filepath.Join(t.TempDir(), "scene")
		k, err := newKeys(dir, sc)
		if err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"kernel", "userspace"} {
			k.Network = network
			file, err := k.fill(dir, "endpoint.yaml", endpointConfig, "198.18.0.1")
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := endpoint.LoadConfig(file)
			if err != nil || cfg.Transport != sc.transport || cfg.Network != network || !slices.Equal(cfg.Ciphers, []string{sc.cipher}) {
				t.Errorf("%+v, %v", cfg, err)
			}
		}
		file, err := k.fill(dir, "client.ovpn", clientProfile, "198.18.7.1")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := profile.Parse("bench", text, nil)
		if err != nil || p.Remotes[0].Host != "198.18.7.1" {
			t.Errorf("%+v, %v", p, err)
		}
		if file, err = k.fill(dir, "openvpn.conf", openvpnServer, ""); err != nil {
			t.Fatal(err)
		}
		if text, err = os.ReadFile(file); err != nil || strings.Contains(string(text), "<no value>") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

func TestArguments(t *testing.T) {
	o, err := parse(nil)
	if err != nil || !slices.Equal(o.only, names()) || len(o.contenders) != len(contenderNames) || o.length != 4*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parse([]string{"-quick", "-contenders", "openvpn,adit"})
	if err != nil || strings.Join(o.only, ",") != quickOnly || o.length != quickLength || o.connects != quickConnects || len(o.contenders) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parse([]string{"-quick", "-seconds", "2", "-only", "stream"})
	if err != nil || !slices.Equal(o.only, []string{"stream"}) || o.length != 2*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-only", "sctp"}, {"-contenders", "ipsec"}, {"-rounds", "0"}, {"-seconds", "0"}, {"-peers", "1"}, {"-peers", "1000"}, {"more"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestSlowWire: packets of any protocol arrive, and no earlier than they may.
func TestSlowWire(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	n, err := lab.NewNet(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	a, err := n.Node("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.Node("b")
	if err != nil {
		t.Fatal(err)
	}
	const delay = 20 * time.Millisecond
	w, err := newSlowWire(delay, end{a, "eth0", "198.18.0.2/30"}, end{b, "eth7", "198.18.0.1/30"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	p, err := newPinger(a, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ms, lost, err := p.series(t.Context(), "198.18.0.1", idlePause, 200*time.Millisecond)
	if err != nil || lost > 0 || len(ms) < 2 || ms[0] < 2*float64(delay.Milliseconds()) {
		t.Errorf("%v, %d lost, %v", ms, lost, err)
	}
	if !slices.IsSorted(ms) || math.IsNaN(report.Percentile(ms, 99)) {
		t.Errorf("%v", ms)
	}
	l, err := b.Listen("tcp4", "198.18.0.1:99")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start := time.Now()
	conn, err := a.Dial("tcp4", "198.18.0.1:99", soon)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if took := time.Since(start); took < 2*delay {
		t.Errorf("TCP connects within %v", took)
	}
}

func TestReadCrowd(t *testing.T) {
	said, err := readCrowd([]byte(`{"clients":{"wanted":2,"connected":2,"seconds":1},"storm":{"wanted":3,"connected":2,"seconds":0.5,"max":0.4},"memory_bytes":4000,"connected":4,` +
		`"quiet":{"lost":0,"p99_ms":0.5},"busy":{"lost":1,"p99_ms":1}}`))
	if err != nil || said.Storm.Connected != 2 || said.Storm.Max != 0.4 || said.Memory != 4000 || said.Connected != 4 || said.Busy.P99 != 1 || said.Busy.Lost != 1 {
		t.Errorf("%+v, %v", said, err)
	}
	for _, bad := range []string{"", "{}", `{"storm":{"wanted":3,"connected":0},"memory_bytes":4000,"connected":4}`, `{"clients":{"connected":1,"seconds":1},"connected":0,"memory_bytes":1}`} {
		if _, err := readCrowd([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	b := &bench{o: options{contenders: []string{aditName, plainName}}}
	if list := b.crowdServers(20000, 1000); len(list) != 1 || list[0] != (crowdServer{aditName, 20000}) {
		t.Errorf("%v", list)
	}
}
