package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/platform/outputtest"
)

// TestRestarting: a service that was told so before it is stopped ends to be started again; one that was not, or too long ago, or in the life of
// another service, ends for good. Without a service there is nobody to tell.
func TestRestarting(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	note := filepath.Join(state, restartNote)
	say := func(args ...string) (int, string) {
		var said strings.Builder
		code := execute(context.Background(), args, terminal(&said, &said, func() error { return nil }))
		return code, said.String()
	}
	announce := func(want string) {
		t.Helper()
		if code, said := say("restarting", "--state", state); code != exitDone || !strings.Contains(said, want) {
			t.Fatalf("code %d, %s", code, said)
		}
		if _, err := os.Stat(note); (err == nil) == strings.Contains(want, "no service runs") {
			t.Fatalf("the note: %v", err)
		}
	}
	// life is one service from its start to its end, and whether it ends to be started again.
	life := func(while func()) bool {
		t.Helper()
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		said, ready, done := &outputtest.Output{}, make(chan struct{}), make(chan int, 1)
		go func() {
			to := terminal(said, said, func() error { close(ready); return nil })
			done <- execute(ctx, []string{"--state", state, "--socket", filepath.Join(dir, "sock")}, to)
		}()
		select {
		case <-ready:
		case code := <-done:
			t.Fatalf("code %d\n%s", code, said)
		}
		while()
		stop()
		if code := <-done; code != exitDone {
			t.Errorf("code %d\n%s", code, said)
		}
		if _, err := os.Lstat(note); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the note is left: %v", err)
		}
		return strings.Contains(said.String(), "ending to be started again")
	}
	aged := func(by time.Duration) func() {
		return func() {
			announce("closed")
			at := time.Now().Add(-by)
			if err := os.Chtimes(note, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}

	announce("no service runs")
	if life(func() {}) {
		t.Error("nobody said so")
	}
	announce("no service runs")
	for what, c := range map[string]struct {
		while func()
		want  bool
	}{
		"told": {func() { announce("closed") }, true}, "told twice": {func() { announce("closed"); announce("closed") }, true},
		"too long ago": {aged(2 * restartAge), false}, "later": {aged(-time.Hour), false},
	} {
		if got := life(c.while); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	// Left by a service that was killed.
	if err := os.WriteFile(note, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if life(func() {}) {
		t.Error("the word to another service counts")
	}
	if err := os.WriteFile(note, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, said := say("cleanup", "--state", state); code != exitDone {
		t.Errorf("code %d, %s", code, said)
	}
	if _, err := os.Stat(note); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cleanup leaves the note: %v", err)
	}
	if err := os.Chmod(state, 0o777); err != nil {
		t.Fatal(err)
	}
	if code, said := say("restarting", "--state", state); code != exitFailed || !strings.Contains(said, "others may write there") {
		t.Errorf("code %d, %s", code, said)
	}
}
