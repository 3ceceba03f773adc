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

// txQueue is how many packets wait for us in a queue of a device: as many as for an Ethernet device, twice what a
// TUN device has by itself. While we have no processor, small packets come at a hundred in each millisecond.
const txQueue = 1000

// CreateTUN makes a TUN device with checksum and segmentation offloads and brings it
// up. name is used when it is free; "" or a taken name lets the kernel pick the next
// free tun<N>. The device is in the calling thread's network namespace and
// vanishes, with its addresses and routes, when all its queues are closed or the process ends.
//
// It has so many queues, each of which may be read and written beside the others. A flow's packets come
// from one queue: the one that the other direction of the flow was last written to, or else any.
func CreateTUN(name string, mtu, queues int) ([]TUN, error) {
	// The device and the netlink socket must meet in one namespace.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer nl.Close()
	made, err := createTUN(nl, name, mtu, queues, func(int) {})
	if err != nil {
		return nil, err
	}
	out := make([]TUN, len(made))
	for i, t := range made {
		out[i] = t
	}
	return out, nil
}

// createTUN calls made with the device's index before it is up.
func createTUN(nl *netlink.Handle, name string, mtu, queues int, made func(index int)) ([]*linuxTUN, error) {
	all, err := openQueues(name, queues)
	if err != nil {
		return nil, err
	}
	name = all[0].name
	link, err := nl.LinkByName(name)
	if err == nil {
		made(link.Attrs().Index)
		set := link.Attrs().MTU
		if mtu > 0 {
			err, set = nl.LinkSetMTU(link, mtu), mtu
		}
		for _, t := range all {
			t.index = link.Attrs().Index
			t.mtu.Store(int64(set))
		}
	}
	if err == nil {
		err = nl.LinkSetTxQLen(link, txQueue)
	}
	if err == nil {
		err = nl.LinkSetUp(link)
	}
	if err != nil {
		closeAll(all)
		if errors.Is(err, unix.EINVAL) {
			return nil, fmt.Errorf("set MTU %d of %s: %w", mtu, name, err)
		}
		return nil, fmt.Errorf("bring up %s: %w", name, err)
	}
	return all, nil
}

// openQueues makes a device of its own with n queues.
func openQueues(name string, n int) ([]*linuxTUN, error) {
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if n > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	fd, err := openDevice()
	if err != nil {
		return nil, err
	}
	if err := makeDevice(fd, name, flags); err != nil {
		unix.Close(fd)
		return nil, err
	}
	first, err := newTUN(fd)
	if err != nil {
		return nil, fmt.Errorf("set up TUN device %q: %w", name, err)
	}
	all := []*linuxTUN{first}
	for len(all) < n {
		t, err := openQueue(first.name, flags)
		if err != nil {
			closeAll(all)
			return nil, fmt.Errorf("open queue %d of %s: %w", len(all)+1, first.name, err)
		}
		all = append(all, t)
	}
	return all, nil
}

// openQueue opens another queue of a device that we hold.
func openQueue(name string, flags uint16) (*linuxTUN, error) {
	fd, err := openDevice()
	if err != nil {
		return nil, err
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return newTUN(fd)
}

func closeAll(queues []*linuxTUN) {
	for _, t := range queues {
		t.Close()
	}
}

// openDevice returns a file descriptor without a device.
func openDevice() (int, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return -1, fmt.Errorf("%w: %w", ErrTUNMissing, err)
	case errors.Is(err, fs.ErrPermission):
		return -1, fmt.Errorf("%w: open %s: %w", ErrTUNNotPermitted, tunPath, err)
	case err != nil:
		return -1, fmt.Errorf("open %s: %w", tunPath, err)
	}
	return fd, nil
}

// makeDevice gives fd a new device.
func makeDevice(fd int, name string, flags uint16) (err error) {
	for _, n := range []string{name, "tun%d"} {
		if n == "" {
			continue
		}
		var ifr *unix.Ifreq
		if ifr, err = unix.NewIfreq(n); err != nil {
			break
		}
		// EXCL: a device that somebody else made and left must not be taken over.
		ifr.SetUint16(flags | unix.IFF_TUN_EXCL)
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: make TUN device %q: %w", ErrTUNNotPermitted, name, err)
	}
	return fmt.Errorf("make TUN device %q: %w", name, err)
}
