package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	held, err := take(filepath.Join(dir, "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, c := range []struct {
		args string
		code int
		out  string // in stdout or stderr
	}{
		{"version", exitDone, "aditd "},
		{"--help", exitDone, "usage:"},
		{"frob", exitUsage, `no command "frob"`},
		{"--frob", exitUsage, "frob"},
		{"cleanup extra", exitUsage, `unexpected argument "extra"`},
		{"--policy p.json", exitFailed, "policy p.json: not supported yet"},
		{"cleanup --state " + filepath.Join(dir, "held"), exitFailed, "another aditd uses"},
		{"--socket x --state " + filepath.Join(dir, "held"), exitFailed, "another aditd uses"},
		{"cleanup --state " + filepath.Join(dir, "new"), exitDone, "nothing to undo"},
	} {
		var stdout, stderr strings.Builder
		code := execute(context.Background(), strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String()+stderr.String(), c.out) {
			t.Errorf("aditd %s: code %d, out %q, err %q", c.args, code, stdout.String(), stderr.String())
		}
	}
}
