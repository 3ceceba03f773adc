//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/lab"
)

// end is where a slow wire stands: a device of a node with its address.
type end struct {
	node    *lab.Node
	device  string
	address string
}

// slowWire joins two nodes by TUN devices and holds every packet back for the same time, whatever
// it carries. Two goroutines for each way; close waits for them.
type slowWire struct {
	files [2]*os.File
	wg    sync.WaitGroup
}

// late is one packet on its way.
type late struct {
	due time.Time
	pkt []byte
}

// slowQueue is how many packets may be on their way; more are lost.
const slowQueue = 4096

func newSlowWire(delay time.Duration, a, b end) (*slowWire, error) {
	w := &slowWire{}
	for i, e := range []end{a, b} {
		if err := e.node.Do(func() (err error) {
			w.files[i], err = openDevice(e.device, e.address)
			return err
		}); err != nil {
			w.close()
			return nil, fmt.Errorf("slow wire to %s: %w", e.node.Name, err)
		}
	}
	for i := range w.files {
		way := make(chan late, slowQueue)
		w.wg.Go(func() { take(w.files[i], way, delay) })
		w.wg.Go(func() { give(w.files[1-i], way) })
	}
	return w, nil
}

// openDevice makes a TUN device in the namespace of the thread that calls it.
func openDevice(name, address string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	r, err := unix.NewIfreq(name)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), name)
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	addr, err := netlink.ParseAddr(address)
	if err == nil {
		err = errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// take reads packets until the device is closed.
func take(from *os.File, way chan<- late, delay time.Duration) {
	defer close(way)
	buf := make([]byte, 65536)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case way <- late{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}:
		default: // the wire is full
		}
	}
}

// give writes packets when they are due, in order.
func give(to *os.File, way <-chan late) {
	for p := range way {
		time.Sleep(time.Until(p.due))
		_, _ = to.Write(p.pkt) // what a closed device or a full queue does not take is lost
	}
}

// close cuts the wire.
func (w *slowWire) close() {
	for _, f := range w.files {
		if f != nil {
			f.Close()
		}
	}
	w.wg.Wait()
}
