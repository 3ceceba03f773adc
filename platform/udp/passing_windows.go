package udp

import (
	"errors"

	"golang.org/x/sys/windows"
)

// NoRoute says whether err is the system's word that no network of this machine leads to an address.
func NoRoute(err error) bool {
	return errors.Is(err, windows.WSAENETUNREACH) || errors.Is(err, windows.WSAENETDOWN)
}

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
