package udp

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Control sets what must be set before a socket is bound or connected, for net.Dialer and
// net.ListenConfig: Device, for TCP sockets, too (IP_BOUND_IF, IPV6_BOUND_IF of netinet/in.h). Mark is ignored, as
// there is nothing like it.
func Control(o Options) func(network, address string, c syscall.RawConn) error {
	if o.Device == "" {
		return nil
	}
	return func(network, _ string, c syscall.RawConn) error {
		i, err := net.InterfaceByName(o.Device)
		if err != nil {
			return fmt.Errorf("send by %s: %w", o.Device, err)
		}
		var failed error
		err = c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BOUND_IF, i.Index)
			if strings.HasSuffix(network, "6") {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF, i.Index)
			}
		})
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("send by %s: %w", o.Device, err)
		}
		return nil
	}
}
