//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/adit-vpn/adit/bench/report"
)

// What the counted benchmark does: batches of 64 packets, few and many, whose difference has
// nothing of how it begins.
const (
	countFew    = 20
	countMany   = 60
	countPacket = 64 * (countMany - countFew)
)

// instructions counts what a packet costs, which no other load of the machine changes: valgrind's
// callgrind runs the benchmarks of package bench. Its processor is an older one with AES-NI, CLMUL
// and AVX2 but no AVX-512, so that Go may choose another path than here.
func instructions(ctx context.Context, b *bench, _ []*side) error {
	if _, err := exec.LookPath("valgrind"); err != nil {
		b.leaveOut("instructions: valgrind is not installed")
		return nil
	}
	program := filepath.Join(b.dir, "bench.test")
	if _, err := goTool(ctx, b.programs.root, "test", "-c", "-o", program, "./bench"); err != nil {
		return err
	}
	for _, c := range []struct{ benchmark, function, what string }{{"BenchmarkSeal", "sealBatch", "seal"}, {"BenchmarkOpen", "openBatch", "open"}} {
		for _, cipher := range []string{aes, "AES-128-GCM", chacha} {
			for _, format := range []struct{ name, contender string }{{"epoch", aditName}, {"classic", classicName}} {
				pattern := fmt.Sprintf("^%s$/^%s$/^%s$", c.benchmark, cipher, format.name)
				few, err := count(ctx, program, pattern, c.function, countFew)
				if err != nil {
					b.leaveOut("instructions: %v", err)
					return nil
				}
				many, err := count(ctx, program, pattern, c.function, countMany)
				if err != nil {
					return err
				}
				b.figures.Add(report.Metric{ID: "instructions " + c.what + " " + cipher, Title: "instructions to " + c.what + " a packet of 1400 bytes, " + cipher, Unit: "instructions", Less: true, Hide: true},
					format.contender, float64(many-few)/countPacket)
			}
		}
	}
	return nil
}

// count runs one benchmark and returns the instructions inside one function of it. The
// collector and signals that stop goroutines confuse callgrind's calls, so they are off.
func count(ctx context.Context, program, pattern, function string, batches int) (int64, error) {
	cmd := exec.CommandContext(ctx, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*bench."+function,
		program, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", fmt.Sprint(batches, "x"))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	cmd.Dir = filepath.Dir(program)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("valgrind: %w: %.2000s", err, out)
	}
	return readCallgrind(out)
}

var collected = regexp.MustCompile(`(?m)^==\d+== Collected : (\d+)$`)

// readCallgrind finds the count in what valgrind says.
func readCallgrind(out []byte) (int64, error) {
	m := collected.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("valgrind counts nothing: %.2000s", out)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err == nil && n == 0 {
		err = fmt.Errorf("valgrind does not see the function's calls: %.2000s", out)
	}
	return n, err
}
