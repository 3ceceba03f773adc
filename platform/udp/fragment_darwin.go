package udp

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// dontFragment sets or clears the don't-fragment bit of what c sends (ip(4), since macOS 11). It is clear by default.
func dontFragment(c *net.UDPConn, inet6, on bool) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	level, option, value := unix.IPPROTO_IP, unix.IP_DONTFRAG, 0
	if inet6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG
	}
	if on {
		value = 1
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, value) })
	return errors.Join(err, failed)
}
