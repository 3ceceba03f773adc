// Package starttest holds programs to a cheap start. For tests alone.
package starttest

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Cheap holds the packages of ours in the test's program to a cheap start: what a package makes before main begins, every run of the
// program waits for.
func Cheap(t *testing.T) {
	t.Helper()
	const most = 2000 // allocations of one package
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, trace.Bytes())
	}
	ours := 0
	for _, m := range regexp.MustCompile(`(?m)^init (\S+) .*, (\d+) allocs`).FindAllStringSubmatch(trace.String(), -1) {
		if !strings.HasPrefix(m[1], "github.com/adit-vpn/adit/") {
			continue
		}
		ours++
		if n, err := strconv.Atoi(m[2]); err != nil || n > most {
			t.Errorf("%s makes %s allocations before main begins, more than %d", m[1], m[2], most)
		}
	}
	if ours == 0 {
		t.Errorf("no package of ours is in the trace: %.500s", trace.String())
	}
}
