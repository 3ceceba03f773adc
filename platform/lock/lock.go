// Package lock keeps two processes from using one directory. The lock is the
// operating system's: it ends with the process, also with a killed one, so that no stale file
// must be removed by hand. It starts no goroutine.
package lock

import (
	"errors"
	"fmt"
	"os"
)

// ErrHeld says that another process holds the lock.
var ErrHeld = errors.New("held by another process")

// ErrShared says that others than this process's user could change a directory.
var ErrShared = errors.New("others may write there")

// Private checks that dir belongs to this process's user and is writable by nobody else, so
// that nobody can put files or links there; else its error wraps ErrShared. It changes nothing.
func Private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return private(dir, info)
}

// File is a lock that is held. Close gives it up; the file stays.
type File struct{ f *os.File }

// Take locks the file at path, which is made, 0600, where it is missing. It does not wait: a lock
// that is held elsewhere gives an error that wraps ErrHeld.
func Take(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := take(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &File{f}, nil
}

// Close gives the lock up.
func (l *File) Close() error { return l.f.Close() }
