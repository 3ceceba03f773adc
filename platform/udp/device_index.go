//go:build darwin || windows

package udp

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// Control sets what must be set before a socket is bound or connected, for net.Dialer and
// net.ListenConfig: Device, for TCP sockets, too. Mark is ignored, as there is nothing like it.
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
		err = c.Control(func(fd uintptr) { failed = sendBy(fd, i.Index, strings.HasSuffix(network, "6")) })
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("send by %s: %w", o.Device, err)
		}
		return nil
	}
}
