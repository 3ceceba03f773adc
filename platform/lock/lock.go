// Package lock keeps two processes from using one directory. The lock is the
// operating system's: it ends with the process, also with a killed one, so that no stale file
// must be removed by hand. It starts no goroutine.
package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrHeld says that another process holds the lock.
var ErrHeld = errors.New("held by another process")

// ErrShared says that others than this process's user could change a directory.
var ErrShared = errors.New("others may write there")

// Private checks that dir belongs to this process's user and is writable by nobody else, so
// that nobody can put files or links there; else its error wraps ErrShared. It changes nothing. On Windows SYSTEM and
// the administrators count as the user, too, and dir itself is no junction and no link.
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

// Folder makes dir, for this process's user alone, where it is missing, and checks that it is Private.
func Folder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := mkdir(dir); err != nil {
		return err
	}
	return Private(dir)
}

// File is a lock that is held. Close gives it up; the file stays.
type File struct{ f *os.File }

// Take locks the file at path, which is made, 0600, where it is missing, and never followed where it is a link. It does not
// wait: a lock that is held elsewhere gives an error that wraps ErrHeld.
func Take(path string) (*File, error) { return open(path, false) }

// Wait is Take, but waits for whoever holds the lock, in this process or another: for what is held for a moment.
func Wait(path string) (*File, error) { return open(path, true) }

func open(path string, wait bool) (*File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
		if err != nil {
			return nil, err
		}
		if err := take(f, wait); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The holder before us may have removed the file that we locked.
		a, err1 := f.Stat()
		b, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(a, b) {
			return &File{f}, nil
		}
		f.Close()
	}
}

// Close gives the lock up.
func (l *File) Close() error { return l.f.Close() }

// Remove gives the lock up and removes the file, unless another one has opened it meanwhile.
func (l *File) Remove() error { return remove(l.f) }
