package udp

import (
	"errors"

	"golang.org/x/sys/windows"
)

// passing reports whether err came from an ICMP answer to an earlier datagram,
// or from a datagram that did not fit, and so says nothing about the next.
func passing(err error) bool {
	for _, e := range []windows.Errno{
		windows.WSAECONNRESET, windows.WSAENETRESET, windows.WSAECONNREFUSED,
		windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAEMSGSIZE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
