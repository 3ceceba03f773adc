//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/adit-vpn/adit/bench/report"
)

const (
	profileRate  = 997 // samples a second, not in step with anything
	profileLines = 30
)

// profiles says where both ends spend their time during a stream, kernel included. The programs
// are built anew with their symbols.
func profiles(ctx context.Context, b *bench, _ []*side) error {
	if _, err := exec.LookPath("perf"); err != nil {
		b.leaveOut("profile: perf is not installed")
		return nil
	}
	own := *b
	own.o.bin = filepath.Join(b.dir, "symbols")
	if _, err := goTool(ctx, b.programs.root, "build", "-o", own.o.bin+"/", "./cmd/adit", "./cmd/aditd", "./cmd/adit-endpoint"); err != nil {
		return err
	}
	sc := scene{transport: "udp", cipher: aes}
	k, err := newKeys(filepath.Join(b.dir, "profile"), sc)
	if err != nil {
		return err
	}
	s, err := own.newSide(aditName, filepath.Join(b.dir, "profile", aditName), sc, k)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.set(ctx, true); err != nil {
		return err
	}
	for d := range directions {
		text, err := b.profile(ctx, s, d)
		if err != nil {
			return err
		}
		b.sections = append(b.sections, report.Section{
			Title: "Profile of one stream, " + d.String(),
			About: "Share of the processor time of aditd and adit-endpoint together, in the kernel too, by program and by function.",
			Text:  text,
		})
		fmt.Fprintf(b.out, "profile, %v\n%s\n", d, text)
	}
	return nil
}

func (b *bench) profile(ctx context.Context, s *side, d direction) (string, error) {
	stream := make(chan error, 1)
	go func() {
		_, err := s.iperf(ctx, d, b.o.length+2*time.Second)
		stream <- err
	}()
	time.Sleep(time.Second)
	var ids []string
	for _, p := range s.all() {
		ids = append(ids, fmt.Sprint(p.Cmd.Process.Pid))
	}
	file := filepath.Join(b.dir, "perf."+d.String())
	out, err := exec.CommandContext(ctx, "perf", "record", "-q", "-e", "cpu-clock", "-F", fmt.Sprint(profileRate), "-o", file,
		"-p", strings.Join(ids, ","), "--", "sleep", fmt.Sprint(b.o.length.Seconds())).CombinedOutput()
	if e := <-stream; e != nil {
		return "", e
	}
	if err != nil {
		return "", fmt.Errorf("perf: %w: %s", err, out)
	}
	var text string
	for _, sort := range []string{"dso", "dso,symbol"} {
		out, err = exec.CommandContext(ctx, "perf", "report", "-i", file, "--stdio", "-q", "--sort", sort, "--percent-limit", "0.5").Output()
		if err != nil {
			return "", fmt.Errorf("perf report: %w", err)
		}
		text += firstLines(string(out), profileLines) + "\n\n"
	}
	return strings.TrimSpace(text), nil
}

// firstLines are the first n that say something, without the space around them
// and perf's empty columns, which are dashes.
func firstLines(text string, n int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(strings.TrimSpace(line), "- "); line != "" && !strings.HasPrefix(line, "#") && len(lines) < n {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
