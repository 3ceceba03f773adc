package udp

import (
	"errors"
	"net"

	"golang.org/x/sys/windows"
)

// IP_DONTFRAGMENT and IPV6_DONTFRAG of ws2ipdef.h, which have one number.
const optionDontFragment = 14

// dontFragment sets or clears the don't-fragment bit of what c sends. Windows leaves it clear by default.
func dontFragment(c *net.UDPConn, inet6, on bool) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	level, value := windows.IPPROTO_IP, 0
	if inet6 {
		level = windows.IPPROTO_IPV6
	}
	if on {
		value = 1
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = windows.SetsockoptInt(windows.Handle(fd), level, optionDontFragment, value)
	})
	return errors.Join(err, failed)
}
