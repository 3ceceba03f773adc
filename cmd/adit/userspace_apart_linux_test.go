package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUserspaceApart builds adit as make build does on Linux: connect --userspace becomes the program beside it.
func TestUserspaceApart(t *testing.T) {
	dir := t.TempDir()
	adit := filepath.Join(dir, "adit")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "nouserspace", "-o", adit, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(args ...string) (pid, code int, stdout, stderr string) {
		t.Helper()
		cmd := exec.Command(adit, args...)
		var out, errs bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("a secret\n"), &out, &errs
		var failed *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		return cmd.Process.Pid, cmd.ProcessState.ExitCode(), out.String(), errs.String()
	}
	connect := []string{"connect", "my work.ovpn", "--userspace", "--password-file", "-"}

	program := filepath.Join(dir, "adit-userspace")
	_, code, _, stderr := run(connect...)
	want := "adit: " + program + " is missing: it runs tunnels without root\nhint: install it beside adit; make build makes both\n"
	if code != 1 || stderr != want {
		t.Errorf("without the other program: exit code %d and %q, want 1 and %q", code, stderr, want)
	}
	if err := os.WriteFile(program, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, code, _, stderr = run(connect...)
	if want := "adit: run " + program + ": exec format error\n"; code != 1 || stderr != want {
		t.Errorf("beside what is none: exit code %d and %q, want 1 and %q", code, stderr, want)
	}

	script := "#!/bin/sh\necho $$\nfor a; do echo \"$a\"; done\ncat\nexit 7\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	pid, code, stdout, stderr := run(connect...)
	if want := fmt.Sprintf("%d\n%s\na secret\n", pid, strings.Join(connect, "\n")); code != 7 || stdout != want || stderr != "" {
		t.Errorf("exit code %d, %q and %q, want 7 and %q", code, stdout, stderr, want)
	}
	if _, code, stdout, _ = run("connect", "x", "--userspace", "--timeout", "-1s"); code != 2 || stdout != "" {
		t.Errorf("wrong usage: exit code %d and %q, want 2 and nothing", code, stdout)
	}
}
