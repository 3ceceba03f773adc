package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/lock"
)

// A note in the state directory, where only the administrator can write, tells the service that the next stop is for a moment only: for
// service managers that do not tell, whose packages stop the service and start another version of it.
const (
	restartNote = "restart"
	// restartAge is how long a note counts: one that nobody has stopped the service after must not keep guards closed at a later stop.
	restartAge = 2 * time.Minute
)

// announce leaves the note, if a service runs for it to read: another one would take it for its own.
func announce(state string, said io.Writer) error {
	err := lock.Private(state)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(said, "no service runs")
		return nil
	}
	var held *lock.File
	if err == nil {
		held, err = lock.Take(filepath.Join(state, "lock"))
	}
	switch {
	case err == nil:
		fmt.Fprintln(said, "no service runs")
		return held.Close()
	case !errors.Is(err, lock.ErrHeld):
		return fmt.Errorf("state directory: %w", err)
	}
	if err := durable.Swap(filepath.Join(state, restartNote), nil, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(said, "the service leaves guards closed if it is stopped within %v\n", restartAge)
	return nil
}

// announced takes the note, and says whether one counts.
func announced(state string) bool {
	path := filepath.Join(state, restartNote)
	info, err := os.Lstat(path)
	if err != nil || os.Remove(path) != nil {
		return false
	}
	age := time.Since(info.ModTime())
	return info.Mode().IsRegular() && age >= 0 && age < restartAge
}
