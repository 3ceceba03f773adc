package pki

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/lock"
)

// lockWait is how long a call waits for another program before ErrLocked.
const lockWait = 10 * time.Second

// lock keeps other adit programs out until unlock, and finishes what an interrupted change left.
func (p *PKI) lock() (unlock func(), err error) {
	if unlock, err = p.hold(); err != nil {
		return nil, err
	}
	if _, err := p.finish(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// hold is the lock alone, with no file half in its place. easy-rsa knows nothing of it. The OS frees it when its holder dies, so the file may stay behind.
func (p *PKI) hold() (unlock func(), err error) {
	path := filepath.Join(p.dir, ".adit.lock")
	for deadline := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		held, err := lock.Take(path)
		switch {
		case err == nil:
			if err := p.finishWrites(); err != nil {
				held.Close()
				return nil, err
			}
			return func() { held.Close() }, nil
		case !errors.Is(err, lock.ErrHeld):
			return nil, p.ioError(path, err)
		case time.Now().After(deadline):
			return nil, &Error{Kind: ErrLocked, What: p.dir, Hint: "wait for the other adit-endpoint to finish, then try again"}
		}
	}
}

// ioError names a failed file operation.
func (p *PKI) ioError(path string, err error) error {
	e := &Error{Kind: ErrCorrupt, What: path, Err: err}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EDQUOT):
		e.Kind, e.Hint = ErrUnwritten, "choose a directory with room where files can be written: --data DIR"
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "run this as the owner of " + p.dir
	case errors.Is(err, fs.ErrNotExist):
		e.Kind = ErrNotFound
	}
	return e
}

// write replaces path atomically: a reader sees the old or the new content, and
// after a power cut one of the two is there.
func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.Write(path, data, 0o600)
}

// move renames from to to if from is there, making to's directory.
func move(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// copyFile writes from's content to to if from is there.
func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return write(to, b)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
