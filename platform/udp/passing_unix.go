//go:build unix

package udp

import (
	"errors"
	"syscall"
)

// NoRoute says whether err is the system's word that no network of this machine leads to an address.
func NoRoute(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN)
}

// passing reports whether err came from an ICMP answer to an earlier datagram
// (or looks like one) and so says nothing about the next.
func passing(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN,
		syscall.EMSGSIZE, syscall.EACCES, syscall.ENOPROTOOPT, syscall.EPROTO, syscall.EOPNOTSUPP:
		return true
	}
	return false
}
