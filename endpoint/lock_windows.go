package endpoint

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes an exclusive lock that the system frees when the process ends.
func tryLock(f *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// listenPrivate opens a unix socket (Windows 10 and later). The data directory's
// access list protects it.
func listenPrivate(path string) (net.Listener, error) { return net.Listen("unix", path) }
