//go:build !windows

package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func private(dir string, info os.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%w: %s has mode %#o", ErrShared, dir, info.Mode().Perm())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to user %d", ErrShared, dir, st.Uid)
	}
	return nil
}

// noFollow is part of how a lock's file is opened.
const noFollow = unix.O_NOFOLLOW

// mkdir makes a folder that only this user can look into.
func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func take(f *os.File, wait bool) error {
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		switch err := unix.Flock(int(f.Fd()), how); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrHeld
		default:
			return err
		}
	}
}

// remove removes while the lock is held: whoever waits for it sees that the file is another one by then.
func remove(f *os.File) error {
	_ = os.Remove(f.Name()) // gone already, or left behind: no harm
	return f.Close()
}
