package lock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// private does not read access lists yet: there is no service on Windows so far.
func private(string, os.FileInfo) error { return nil }

func take(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrHeld
	}
	return err
}
