//go:build !linux

package udp

import (
	"errors"
	"net"
	"syscall"
)

// Control refuses what this system's sockets cannot do. Mark is ignored: there is nothing like it.
func Control(o Options) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error {
		if o.ReusePort {
			return errors.New("sharing a port is not supported on this system")
		}
		return nil
	}
}

func newConn(c *net.UDPConn, o Options, connected, _ bool) (Conn, error) {
	return newPortable(c, o, connected), nil
}
