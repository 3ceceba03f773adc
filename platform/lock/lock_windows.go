package lock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// private does not read access lists yet: there is no service on Windows so far.
func private(string, os.FileInfo) error { return nil }

// noFollow is part of how a lock's file is opened: nothing here.
const noFollow = 0

func take(f *os.File, wait bool) error {
	how := uint32(windows.LOCKFILE_EXCLUSIVE_LOCK)
	if !wait {
		how |= windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrHeld
	}
	return err
}

// remove closes first: Windows removes no file that is open, and so none that another one has opened meanwhile.
func remove(f *os.File) error {
	err := f.Close()
	_ = os.Remove(f.Name())
	return err
}
