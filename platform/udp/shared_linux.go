package udp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenShared is Listen with up to n sockets of one port. The kernel spreads peers over them, by
// a hash of the addresses at both ends: all datagrams from one address to one address arrive at
// one socket. Any of them may send to any peer. A port that somebody else has, shared or not, is an
// error. Other systems than Linux have one socket.
func ListenShared(ctx context.Context, local netip.AddrPort, n int, o Options) ([]Conn, error) {
	// The first one is bound alone, and opened to others then: of two programs that do so, even of one
	// user, the second one finds the port taken at any time.
	first, err := Listen(ctx, local, o)
	if err != nil {
		return nil, err
	}
	conns := []Conn{first}
	if n > 1 {
		err = share(first.(*linuxConn).raw)
	}
	also := func(network, address string, c syscall.RawConn) error {
		return errors.Join(share(c), Control(o)(network, address, c))
	}
	for at := netip.AddrPortFrom(local.Addr(), first.LocalAddr().Port()); err == nil && len(conns) < n; {
		var c Conn
		if c, err = listen(ctx, at, o, also); err == nil {
			conns = append(conns, c)
		}
	}
	if err != nil {
		for _, c := range conns {
			c.Close()
		}
		return nil, err
	}
	return conns, nil
}

// share sets SO_REUSEPORT.
func share(c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("share the port: %w", err)
	}
	return nil
}
