package udp

import (
	"net"

	"golang.org/x/sys/windows"
)

// IP_DONTFRAGMENT and IPV6_DONTFRAG of ws2ipdef.h, which have one number.
const optionDontFragment = 14

// dontFragment sets or clears the don't-fragment bit of what c sends. Windows leaves it clear by default.
func dontFragment(c *net.UDPConn, inet6, on bool) error {
	level, value := windows.IPPROTO_IP, 0
	if inet6 {
		level = windows.IPPROTO_IPV6
	}
	if on {
		value = 1
	}
	return optionErr(c, func(h windows.Handle) error { return windows.SetsockoptInt(h, level, optionDontFragment, value) })
}
