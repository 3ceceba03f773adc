package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/adit-vpn/adit/endpoint"
)

// TestJournal: a connection log goes where the configuration says, also when that changes, and into a new file when somebody has
// moved the old one away.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	to := func(l endpoint.ConnectionLog) endpoint.Config {
		if l.MaxMB = 1; l.File != "" {
			l.File = filepath.Join(dir, l.File)
		}
		return endpoint.Config{ConnectionLog: l}
	}
	has := func(file, want string) {
		t.Helper()
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(text) != want {
			t.Errorf("%s has %q, %v; want %q", file, text, err, want)
		}
	}
	var out bytes.Buffer
	j, err := openJournal(t.Context(), to(endpoint.ConnectionLog{}), "cvpn-endpoint-1", &out, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		t.Helper()
		if n, err := j.Write([]byte(line)); err != nil || n != len(line) {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	follow := func(l endpoint.ConnectionLog) {
		t.Helper()
		if err := j.follow(to(l)); err != nil {
			t.Fatal(err)
		}
	}
	write("nowhere\n")
	follow(endpoint.ConnectionLog{File: "a"})
	write("1\n")
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	follow(endpoint.ConnectionLog{File: "a"})
	write("2\n")
	if err := j.follow(to(endpoint.ConnectionLog{File: "none/x"})); err == nil {
		t.Error("followed into a folder that is not there")
	}
	write("3\n")
	follow(endpoint.ConnectionLog{Stdout: true})
	write("4\n")
	follow(endpoint.ConnectionLog{})
	write("nowhere\n")
	j.close()
	has("moved", "1\n")
	has("a", "2\n3\n")
	if out.String() != "4\n" {
		t.Errorf("standard output has %q", out.String())
	}
}
