package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
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
	// Unmonitored: the library's watchers would cost two goroutines and tell us nothing new.
	dev, got, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up TUN device %q: %w", name, err)
	}
	t := &linuxTUN{dev: dev, name: got}
	link, err := nl.LinkByName(got)
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
		dev.Close()
		if errors.Is(err, unix.EINVAL) {
			return nil, fmt.Errorf("set MTU %d of %s: %w", mtu, got, err)
		}
		return nil, fmt.Errorf("bring up %s: %w", got, err)
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

// linuxTUN is a TUN over the library's device. One Read and one Write may run at once.
type linuxTUN struct {
	dev    tun.Device
	name   string
	index  int
	mtu    atomic.Int64
	closed atomic.Bool
}

// Read skips what the kernel hands over malformed, so that an error is always the device's end.
func (t *linuxTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		n, err := t.dev.Read(bufs, sizes, offset)
		if err == nil {
			return n, nil
		}
		var path *fs.PathError
		switch {
		case t.closed.Load(), errors.Is(err, os.ErrClosed):
			return 0, os.ErrClosed
		case errors.Is(err, tun.ErrTooManySegments):
			// The first segments are whole; the rest is lost like any dropped packet.
			if n > 0 {
				return n, nil
			}
		case errors.As(err, &path):
			// The device was deleted under us (EBADFD, or the poller lets go): there is no way back.
			return 0, fmt.Errorf("read from %s: %w: %w", t.name, os.ErrClosed, err)
		}
	}
}

// Write returns len(bufs), or 0 and the joined errors when the kernel refused any
// of them: others may have passed. Only os.ErrClosed is final.
func (t *linuxTUN) Write(bufs [][]byte, offset int) (int, error) {
	if _, err := t.dev.Write(bufs, offset); err != nil {
		if t.closed.Load() || errors.Is(err, os.ErrClosed) {
			return 0, os.ErrClosed
		}
		return 0, fmt.Errorf("write to %s: %w", t.name, err)
	}
	return len(bufs), nil
}

func (t *linuxTUN) BatchSize() int { return t.dev.BatchSize() }
func (t *linuxTUN) Name() string   { return t.name }
func (t *linuxTUN) MTU() int       { return int(t.mtu.Load()) }

func (t *linuxTUN) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	return t.dev.Close()
}
