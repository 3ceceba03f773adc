//go:build !linux

package udp

import (
	"errors"
	"net"
	"syscall"
)

// control refuses what this system's sockets cannot do.
func control(o Options) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error {
		switch {
		case o.Mark != 0:
			return errors.New("a routing mark is not supported on this system")
		case o.ReusePort:
			return errors.New("sharing a port is not supported on this system")
		}
		return nil
	}
}

func newConn(c *net.UDPConn, o Options, connected, _ bool) (Conn, error) {
	return newPortable(c, o, connected), nil
}
