//go:build !linux && !windows

package udp

import "net"

func newConn(c *net.UDPConn, o Options, connected, _ bool) (Conn, error) {
	return newPortable(c, o, connected), nil
}
