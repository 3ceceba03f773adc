//go:build !windows && !darwin

package udp

import (
	"errors"
	"net"
)

// dontFragment is not known for this system, or left to another implementation of Conn.
func dontFragment(*net.UDPConn, bool, bool) error { return errors.ErrUnsupported }
