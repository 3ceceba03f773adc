package udp

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// mayCut says whether datagrams may travel in fragments. If so, IPv4 leaves without the don't-fragment bit, with which
// Linux would set a trap: a router that must not cut and whose complaint is filtered just loses the packet.
// IPv6 has no such bit: what the kernel knows of the path decides. (IPV6_MTU does not help: the kernel looks at it only
// once a packet is too long for what it knows, ip6_output.c.)
func mayCut(fd int, inet6, yes bool) error {
	four, six := unix.IP_PMTUDISC_DONT, unix.IPV6_PMTUDISC_WANT
	if !yes {
		four, six = unix.IP_PMTUDISC_PROBE, unix.IPV6_PMTUDISC_PROBE
	}
	// An IPv6 socket that also carries IPv4 has both.
	err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, four)
	if inet6 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, six))
	}
	if err != nil {
		return fmt.Errorf("choose fragments %t: %w", yes, err)
	}
	return nil
}

// control runs f with the file descriptor; the caller holds writing.
func (l *linuxConn) control(f func(fd int) error) error {
	var failed error
	err := l.raw.Control(func(fd uintptr) { failed = f(int(fd)) })
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	return errors.Join(err, failed)
}

func (l *linuxConn) WriteWhole(m Message) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.control(func(fd int) error { return mayCut(fd, l.inet6, false) }); err != nil {
		return err
	}
	err := l.write([]Message{m})
	return errors.Join(err, l.control(func(fd int) error { return mayCut(fd, l.inet6, true) }))
}

func (l *linuxConn) PathMTU() (mtu int) {
	if !l.connected {
		return 0
	}
	_ = l.control(func(fd int) (err error) {
		if l.inet6 {
			mtu, err = unix.GetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_MTU)
		} else {
			mtu, err = unix.GetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU)
		}
		return err
	})
	return mtu
}
