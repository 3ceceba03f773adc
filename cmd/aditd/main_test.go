package main

import (
	"context"
	"errors"
	"os"
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
	shared, file := filepath.Join(dir, "shared"), filepath.Join(dir, "file")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, os.ModeSticky|0o777), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
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
		{"cleanup --state " + filepath.Join(dir, "held"), exitFailed, "another aditd uses"},
		{"--socket x --state " + filepath.Join(dir, "held"), exitFailed, "another aditd uses"},
		{"cleanup --state " + filepath.Join(dir, "new"), exitDone, "nothing to undo"},
		{"--socket x --state " + shared, exitFailed, "others may write there"},
		{"cleanup --state " + file, exitFailed, "hint: give a --state"},
	} {
		var stdout, stderr strings.Builder
		code := execute(context.Background(), strings.Fields(c.args), terminal(&stdout, &stderr, func() error { return nil }))
		if code != c.code || !strings.Contains(stdout.String()+stderr.String(), c.out) {
			t.Errorf("aditd %s: code %d, out %q, err %q", c.args, code, stdout.String(), stderr.String())
		}
	}
	if info, err := os.Stat(shared); err != nil || info.Mode()&(os.ModeSticky|os.ModePerm) != os.ModeSticky|0o777 {
		t.Errorf("a shared directory was changed: %v, %v", info.Mode(), err)
	}
}
