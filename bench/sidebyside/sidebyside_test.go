//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/ovpn/profile"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{5}, spread{5, 5, 5}},
		{[]float64{9, 1}, spread{1, 5, 9}},
		{[]float64{9, 2, 1}, spread{1, 2, 9}},
		{[]float64{9, 4, 2, 1}, spread{1, 3, 9}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

// sample is openvpn at 100 and adit at 300 Mbit/s to the server, 400 and 500 to the client.
func sample() *result {
	r := &result{transport: "udp"}
	for i, rates := range [2][directions][]float64{{{100, 90, 110}, {400, 400, 400}}, {{300, 180, 310}, {500, 400, 600}}} {
		for d, values := range rates {
			for _, v := range values {
				r.flows[i][d] = append(r.flows[i][d], flow{mbits: v, processor: 3 * time.Second, retransmit: 7})
			}
		}
	}
	for _, ms := range []time.Duration{20, 30, 25} {
		r.connects[0].add(byProcess, ms*time.Millisecond)
		r.connects[1].add(byCommand, (ms+1)*time.Millisecond)
		r.connects[1].add(byAPI, (ms-1)*time.Millisecond)
	}
	return r
}

func TestRatio(t *testing.T) {
	r := sample()
	if got, want := r.ratio(toServer), (spread{2, 3, 3}); got != want {
		t.Errorf("to server: %v, want %v", got, want)
	}
	if got, want := r.ratio(toClient), (spread{1, 1.25, 1.5}); got != want {
		t.Errorf("to client: %v, want %v", got, want)
	}
	short := strings.Join(r.below(2.5), "\n")
	if want := "udp to client: the ratio 1.25 is below 2.50\nudp: the first ping is answered after 26.0 ms, openvpn's after 25.0 ms"; short != want {
		t.Errorf("falls short:\n%s\nwant:\n%s", short, want)
	}
	if r.connects[1] = (connects{}); len(r.below(1.2)) != 0 {
		t.Error("1.25 is below 1.2")
	}
}

func TestTable(t *testing.T) {
	got := sample().table()
	for _, want := range []string{"300  310", "3.00", "(2.00 to 3.00)", "1.25", byCommand, "24.0  29.0"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestReadStat(t *testing.T) {
	text := "4711 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 125 0 0 20 0 9 0"
	if got, err := readStat(text); err != nil || got != 3750*time.Millisecond {
		t.Errorf("%v, %v", got, err)
	}
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readStat(string(own)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "4711 (x)", "4711 (x) S 1 2", strings.Replace(text, "250", "x", 1)} {
		if got, err := readStat(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestReadIperf(t *testing.T) {
	report := `{"start":{},"end":{"sum_sent":{"retransmits":3,"bytes":11},"sum_received":{"bytes":5e8,"bits_per_second":1e9}}}`
	f, bytes, err := readIperf([]byte(report))
	if err != nil || f.mbits != 1000 || f.retransmit != 3 || bytes != 5e8 {
		t.Errorf("%+v, %v, %v", f, bytes, err)
	}
	for _, bad := range []string{"", "{}", `{"error":"unable to connect"}`} {
		if _, _, err := readIperf([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// What we ask of both implementations is what they understand.
func TestConfigurations(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		dir := t.TempDir()
		k, err := newKeys(dir, transport, "AES-256-GCM")
		if err != nil {
			t.Fatal(err)
		}
		file, err := k.fill(dir, "endpoint.yaml", endpointConfig)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := endpoint.LoadConfig(file)
		if err != nil || cfg.Transport != transport || cfg.Network != "kernel" {
			t.Errorf("%+v, %v", cfg, err)
		}
		if file, err = k.fill(dir, "client.ovpn", clientProfile); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := profile.Parse("bench", text, nil); err != nil {
			t.Error(err)
		}
		if file, err = k.fill(dir, "openvpn.conf", openvpnServer); err != nil {
			t.Fatal(err)
		}
		if text, err = os.ReadFile(file); err != nil || strings.Contains(string(text), "<no value>") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

func TestArguments(t *testing.T) {
	o, err := parse([]string{"-min", "2.5", "-transports", "tcp,udp"})
	if err != nil || o.min != 2.5 || len(o.transports) != 2 || o.transports[0] != "tcp" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-transports", "sctp"}, {"-rounds", "0"}, {"-seconds", "0"}, {"more"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
