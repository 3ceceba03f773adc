package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// watch turns the kernel's notes about links, addresses and routes into one
// coalesced signal. It owns one goroutine, which close waits for.
type watch struct {
	changes chan struct{}
	file    *os.File
	own     atomic.Int64     // our TUN's index, whose changes are our own doing
	links   map[int32]uint32 // run's: the flags of each link that decide whether it carries anything
	done    sync.WaitGroup
}

func newWatch(nl *netlink.Handle) (*watch, error) {
	file, err := openNotes(unix.NETLINK_ROUTE, netNotes)
	if err != nil {
		return nil, fmt.Errorf("watch the network: %w", err)
	}
	w := &watch{changes: make(chan struct{}, 1), file: file, links: map[int32]uint32{}}
	// After the subscription, so that nothing is missed between the two.
	links, err := nl.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		file.Close()
		return nil, fmt.Errorf("watch the network: %w", err)
	}
	for _, l := range links {
		w.links[int32(l.Attrs().Index)] = l.Attrs().RawFlags & linkCarries
	}
	w.done.Go(w.run)
	return w, nil
}

// linkCarries are the flags by which a cable that is plugged in shows, or a Wi-Fi that has joined.
const linkCarries = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP

// netNotes are the groups of notes about links, addresses and routes.
const netNotes = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE

// openNotes subscribes to the kernel's notes of a family and its groups, in the calling thread's namespace.
func openNotes(family int, groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, family)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// os.File puts the socket under Go's poller, so that Close ends a blocked Read.
	return os.NewFile(uintptr(fd), "netlink"), nil
}

func (w *watch) ignore(index int) { w.own.Store(int64(index)) }

func (w *watch) close() {
	w.file.Close()
	w.done.Wait()
}

func (w *watch) run() {
	buf := make([]byte, 1<<16)
	for {
		n, err := w.file.Read(buf)
		matters := false
		if err != nil {
			if pe, ok := err.(*os.PathError); !ok || pe.Err != unix.ENOBUFS {
				return
			}
			matters = true // notes were lost: assume the worst
		} else if messages, err := syscall.ParseNetlinkMessage(buf[:n]); err == nil {
			for _, m := range messages {
				matters = w.matters(m) || matters // each one is looked at, for the links' sake
			}
		}
		if matters {
			w.signal()
		}
	}
}

// signal says that something has changed. Safe from any goroutine.
func (w *watch) signal() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

// matters leaves out our own rows and device, other tables and mere link statistics.
func (w *watch) matters(m syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(m.Data) < unix.SizeofRtMsg {
			return false
		}
		table, protocol, flags := m.Data[4], m.Data[5], binary.NativeEndian.Uint32(m.Data[8:])
		if table != unix.RT_TABLE_MAIN || protocol == routeProtocol || flags&unix.RTM_F_CLONED != 0 {
			return false
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return true
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.RTA_OIF && len(a.Value) >= 4 && int64(binary.NativeEndian.Uint32(a.Value)) == w.own.Load() {
				return false
			}
		}
		return true
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return len(m.Data) >= unix.SizeofIfAddrmsg && int64(binary.NativeEndian.Uint32(m.Data[4:])) != w.own.Load()
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(m.Data) < unix.SizeofIfInfomsg || int64(binary.NativeEndian.Uint32(m.Data[4:])) == w.own.Load() {
			return false
		}
		return w.linkMatters(m)
	}
	return false
}

// linkMatters compares the link's state with what it was: for a carrier that comes or
// goes the kernel does not say which flags have changed (net/core/dev.c, netdev_state_change).
func (w *watch) linkMatters(m syscall.NetlinkMessage) bool {
	index := int32(binary.NativeEndian.Uint32(m.Data[4:]))
	if m.Header.Type == unix.RTM_DELLINK {
		delete(w.links, index)
		return true
	}
	flags := binary.NativeEndian.Uint32(m.Data[8:]) & linkCarries
	old := w.links[index] // 0 of one just made, such as our TUN: it matters once it is up
	w.links[index] = flags
	return flags != old
}
