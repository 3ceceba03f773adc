//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/bench/report"
)

// method is how the figures come about.
var method = []string{
	"`make bench` writes this page and its chart; `go run ./bench/sidebyside -quick` is a look in two minutes.",
	`Every contender stands on two hosts of its own (network namespaces of one machine) with one wire between them (veth, MTU
1500), all alike. They take turns, round by round; a figure is the median of the rounds. Both ends and the programs that send
and receive share the machine's processors, so that no figure is what a machine at one end could do, and a shared machine may
be faster or slower by some factor from one run to the next: ratios are what counts.

- *openvpn* is Debian's, without its kernel module, with the buffers with which it is fastest here. *adit* is aditd and
  adit-endpoint with kernel TUN devices. *adit-classic* is adit without epoch keys: the data format of openvpn 2.6 (a build
  whose client does not announce them). *adit-userspace* runs without root and without devices at both ends: iperf3 goes through
  ` + "`adit connect --userspace --forward`" + ` and the endpoint's ` + "`network: userspace`" + `. *wireguard-go* always uses
  ChaCha20-Poly1305 and an MTU of 1420. *veth* is the wire alone.
- *Up* is from the client to the server. Streams are iperf3's over TCP.
- Small packets carry 64 bytes of UDP payload. The rate is searched at which at least 99.9 % of them arrive.
  A program that does not run for a moment lets a queue overflow, so that other work on the machine lowers this rate before
  anything else; processor time for each packet, at a rate that all reach, stands beside it. The bare wire shows what the bench
  itself can send and receive.
- Processor time is that of the tunnel's processes at both ends, kernel included, without the kernel's own threads.
- Connecting counts from the start of the program that asks (openvpn, wireguard-go, adit connect with a running service) to the
  first answered ping, asked for each millisecond. The slow wire delays every packet by 25 ms, whatever it carries. The least
  number of round trips: TCP's own where it is the transport, the resets, TLS 1.3's hellos, the keys with the configuration, the ping.
- Crowds are shipped programs, one in each namespace, with the same certificate; the streams are the bench's own. All of them
  share the processors with the endpoint, so that a crowd shows the cost of so many clients' programs, too.
- The 20,000 clients and the storm are bench/crowd's: real sessions, each with a certificate (ECDSA P-256), an address and a socket of
  its own, in one process beside the server's. Memory is resident and that of the whole process, an empty server's included, 20 seconds
  after the last one connected. openvpn gets as many as it takes in reasonable time: 1000, and a storm of 200. Beside
  the storm a session sends 100 Mbit/s through the server and pings; the crowd shares the processors with both. The process of that session
  runs before others (SCHED_RR): it stands for a host of its own, and what is measured is the server.
- Instructions are valgrind's (callgrind), for 1400 bytes. Its processor has AES-NI, CLMUL and AVX2, but no AVX-512.`,
}

// write puts the page and its chart into dir.
func (b *bench) write(ctx context.Context, dir string, start time.Time, verdicts []report.Verdict) error {
	page := report.Page{
		Title: "Performance", Chart: "performance.svg", Method: method,
		Facts: b.facts(ctx, start), Goals: verdicts, Figures: &b.figures, Sections: b.sections,
	}
	if err := os.WriteFile(filepath.Join(dir, "performance.md"), []byte(page.Markdown()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, page.Chart), []byte(b.figures.Chart("Adit beside others", plainName)), 0o644)
}

// facts are about the machine and this run.
func (b *bench) facts(ctx context.Context, start time.Time) []report.Fact {
	list := []report.Fact{
		{Name: "date", Value: start.UTC().Format("2006-01-02 15:04 MST")},
		{Name: "took", Value: time.Since(start).Round(time.Second).String()},
		{Name: "machine", Value: fmt.Sprintf("%d processors, %s; %s/%s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"), runtime.GOOS, runtime.GOARCH)},
		{Name: "kernel", Value: said(ctx, "uname", "-r")},
		{Name: "other work", Value: fmt.Sprintf("load average %s before the run; other machines took %s of the processors' time in it", b.load, readTicks().stolenSince(b.ticks))},
		{Name: "adit", Value: said(ctx, "git", "-C", b.programs.root, "describe", "--tags", "--always", "--dirty")},
		{Name: "Go", Value: runtime.Version()},
		{Name: "openvpn", Value: word(said(ctx, "openvpn", "--version"), 1)},
		{Name: "iperf3", Value: word(said(ctx, "iperf3", "--version"), 1)},
		{Name: "rounds", Value: fmt.Sprintf("%d of %v, %d connects, crowds of %d", b.o.rounds, b.o.length, b.o.connects, b.o.peers)},
	}
	if v, err := goTool(ctx, b.programs.root, "list", "-m", "-f", "{{.Version}}", "golang.zx2c4.com/wireguard"); err == nil {
		list = append(list, report.Fact{Name: "wireguard-go", Value: strings.TrimSpace(v)})
	}
	for _, l := range b.left {
		list = append(list, report.Fact{Name: "left out", Value: l})
	}
	return list
}

// said is the first line of what a program prints, whatever its exit code.
func said(ctx context.Context, argv ...string) string {
	out, _ := exec.CommandContext(ctx, argv[0], argv[1:]...).Output() // openvpn --version ends with 1
	line, _, _ := strings.Cut(string(out), "\n")
	if line == "" {
		return "unknown"
	}
	return line
}

// word is the nth of a line, from 0.
func word(line string, n int) string {
	if f := strings.Fields(line); len(f) > n {
		return f[n]
	}
	return line
}

// loadBefore is the load average of the last minute (proc_loadavg(5)).
func loadBefore() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return word(string(text), 0)
}

// field is the first "key : value" of a file below /proc.
func field(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// ticks are the time of the machine's processors since its start, in all and stolen by other
// virtual machines (proc_stat(5)).
type ticks struct{ sum, stolen float64 }

func readTicks() ticks {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return parseTicks(line)
}

// parseTicks is zero for a line that it does not understand.
func parseTicks(line string) (t ticks) {
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return ticks{}
	}
	for _, text := range f[1:9] {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return ticks{}
		}
		t.sum += v
		t.stolen = v // the last one
	}
	return t
}

// stolenSince is the share that other machines took.
func (t ticks) stolenSince(before ticks) string {
	if t.sum <= before.sum {
		return "unknown"
	}
	return fmt.Sprintf("%.1f %%", 100*(t.stolen-before.stolen)/(t.sum-before.sum))
}
