package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const tunPath = "/dev/net/tun"

// CreateTUN makes a TUN device with checksum and segmentation offloads and brings it
// up. name is used when it is free; "" or a taken name lets the kernel pick the next
// free tun<N>. The device is in the calling thread's network namespace and
// vanishes, with its addresses and routes, on Close or when the process ends.
func CreateTUN(name string, mtu int) (TUN, error) {
	// The device and the netlink socket must meet in one namespace.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer nl.Close()
	return createTUN(nl, name, mtu, func(int) {})
}

// createTUN calls made with the device's index before it is up.
func createTUN(nl *netlink.Handle, name string, mtu int, made func(index int)) (*linuxTUN, error) {
	fd, err := openTUN(name)
	if err != nil {
		return nil, err
	}
	t, err := newTUN(fd)
	if err != nil {
		return nil, fmt.Errorf("set up TUN device %q: %w", name, err)
	}
	link, err := nl.LinkByName(t.name)
	if err == nil {
		t.index = link.Attrs().Index
		made(t.index)
		t.mtu.Store(int64(link.Attrs().MTU))
		if mtu > 0 {
			err = nl.LinkSetMTU(link, mtu)
			t.mtu.Store(int64(mtu))
		}
	}
	if err == nil {
		err = nl.LinkSetUp(link)
	}
	if err != nil {
		t.Close()
		if errors.Is(err, unix.EINVAL) {
			return nil, fmt.Errorf("set MTU %d of %s: %w", mtu, t.name, err)
		}
		return nil, fmt.Errorf("bring up %s: %w", t.name, err)
	}
	return t, nil
}

// openTUN attaches a file descriptor to a device of its own.
func openTUN(name string) (int, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return -1, fmt.Errorf("%w: %w", ErrTUNMissing, err)
	case errors.Is(err, fs.ErrPermission):
		return -1, fmt.Errorf("%w: open %s: %w", ErrTUNNotPermitted, tunPath, err)
	case err != nil:
		return -1, fmt.Errorf("open %s: %w", tunPath, err)
	}
	for _, n := range []string{name, "tun%d"} {
		if n == "" {
			continue
		}
		var ifr *unix.Ifreq
		if ifr, err = unix.NewIfreq(n); err != nil {
			break
		}
		// EXCL: a device that somebody else made and left must not be taken over.
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	unix.Close(fd)
	if errors.Is(err, fs.ErrPermission) {
		return -1, fmt.Errorf("%w: make TUN device %q: %w", ErrTUNNotPermitted, name, err)
	}
	return -1, fmt.Errorf("make TUN device %q: %w", name, err)
}
