//go:build linux || darwin

// Package logfile bounds a log that a service manager has opened for its service. launchd's StandardErrorPath is such a file: it is never
// opened again while the service runs, so that whoever else rotates it (newsyslog(8)) takes it away from under the
// service. This package starts no goroutine.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Limits are how much is kept, and for whom.
type Limits struct {
	Bytes    int64 // after which a file is full; one write may go beyond
	Old      int   // full files that are kept, as PATH.0 (the newest), PATH.1 and so on
	Mode     fs.FileMode
	UID, GID int
}

// Log writes to the file of a descriptor, which is another file whenever one is full. It is the descriptor that changes: what the
// runtime writes there when the program crashes goes to the same place. Safe for concurrent use.
type Log struct {
	mu     sync.Mutex
	out    *os.File
	path   string
	limits Limits
}

// Own makes out, the program's to the end, a Log, and gives its file mode and owner. Nil without an error: out is another file than the
// one at path. Nobody else may be able to write in the directory.
func Own(out *os.File, path string, limits Limits) (*Log, error) {
	l := &Log{out: out, path: path, limits: limits}
	if here, _, err := l.look(); !here || err != nil {
		return nil, err
	}
	if err := l.dress(out); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return l, nil
}

// Write implements io.Writer. What cannot be done to keep the log small waits for the next one: b is written.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	here, size, err := l.look()
	if err == nil && here && size >= l.limits.Bytes {
		err = l.shift()
		here = false
	}
	if err == nil && !here { // also where another has moved or removed it
		_ = l.reopen()
	}
	return l.out.Write(b)
}

// look says whether the descriptor's file is the one at path, and how long it is.
func (l *Log) look() (here bool, size int64, err error) {
	now, err := l.out.Stat()
	if err != nil {
		return false, 0, err
	}
	at, err := os.Lstat(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, 0, err
	}
	return err == nil && os.SameFile(now, at) && now.Mode().IsRegular(), now.Size(), nil
}

// shift makes the file the newest of the old ones. The oldest goes.
func (l *Log) shift() error {
	for i := l.limits.Old - 1; i > 0; i-- {
		if err := os.Rename(l.old(i-1), l.old(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(l.path, l.old(0))
}

func (l *Log) old(i int) string { return fmt.Sprintf("%s.%d", l.path, i) }

// reopen has the descriptor write to the file at path.
func (l *Log) reopen() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.dress(f); err != nil {
		return err
	}
	return become(int(l.out.Fd()), int(f.Fd()))
}

func (l *Log) dress(f *os.File) error {
	return errors.Join(f.Chown(l.limits.UID, l.limits.GID), f.Chmod(l.limits.Mode))
}
