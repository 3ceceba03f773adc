package platform

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Of sys/sys_domain.h, sys/kern_control.h and net/if_utun.h.
const (
	sysprotoControl = 2
	utunOptIfname   = 2
	utunControl     = "com.apple.net.utun_control"
)

// CreateTUN makes a utun device. name is "utun" and a number that is free; with any other the kernel picks one. The
// device vanishes, with its addresses and routes, on Close or when the process ends. It has one queue, however
// many are asked for.
func CreateTUN(name string, mtu, _ int) ([]TUN, error) {
	fd, err := openUTUN(name)
	if errors.Is(err, unix.EBUSY) {
		fd, err = openUTUN("")
	}
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%w: make utun device: %w", ErrTUNNotPermitted, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make utun device: %w", err)
	}
	given, err := unix.GetsockoptString(fd, sysprotoControl, utunOptIfname)
	if err == nil && mtu > 0 {
		err = setMTU(given, mtu)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up utun device %q: %w", given, err)
	}
	if mtu <= 0 {
		mtu = 1500 // of a new device
	}
	t, err := newUTUN(fd, given, mtu)
	if err != nil {
		return nil, fmt.Errorf("set up utun device %q: %w", given, err)
	}
	return []TUN{t}, nil
}

// openUTUN connects a socket to a device of its own.
func openUTUN(name string) (int, error) {
	unit := uint32(0) // any
	if digits, ok := strings.CutPrefix(name, "utun"); ok {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			unit = uint32(n) + 1
		}
	}
	fd, err := unix.Socket(unix.AF_SYSTEM, unix.SOCK_DGRAM, sysprotoControl)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	info := &unix.CtlInfo{}
	copy(info.Name[:], utunControl)
	if err = unix.IoctlCtlInfo(fd, info); err == nil {
		err = unix.Connect(fd, &unix.SockaddrCtl{ID: info.Id, Unit: unit})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// setMTU sets a device's MTU in bytes.
func setMTU(device string, mtu int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	request := &unix.IfreqMTU{MTU: int32(mtu)}
	copy(request.Name[:], device)
	return unix.IoctlSetIfreqMTU(fd, request)
}
