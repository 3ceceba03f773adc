package signin

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// exclusive keeps other programs from taking the port with SO_REUSEADDR, which on Windows is theft
// (SO_EXCLUSIVEADDRUSE, "Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE", learn.microsoft.com).
func exclusive(_, _ string, c syscall.RawConn) error {
	const exclusiveAddrUse = ^windows.SO_REUSEADDR
	var err error
	if e := c.Control(func(fd uintptr) {
		err = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, exclusiveAddrUse, 1)
	}); e != nil {
		return e
	}
	return err
}

// inUse also reads "access denied": another user's exclusive socket answers so.
func inUse(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEACCES)
}
