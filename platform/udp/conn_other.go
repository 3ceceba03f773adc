//go:build !linux

package udp

import (
	"context"
	"net/netip"
	"syscall"
)

// Control has nothing to set: Mark is ignored, as there is nothing like it.
func Control(Options) func(network, address string, c syscall.RawConn) error { return nil }

// ListenShared is Listen: these systems do not spread datagrams over sockets.
func ListenShared(ctx context.Context, local netip.AddrPort, _ int, o Options) ([]Conn, error) {
	c, err := Listen(ctx, local, o)
	if err != nil {
		return nil, err
	}
	return []Conn{c}, nil
}
