//go:build !linux

package udp

import (
	"context"
	"net/netip"
)

// ListenShared is Listen: these systems do not spread datagrams over sockets.
func ListenShared(ctx context.Context, local netip.AddrPort, _ int, o Options) ([]Conn, error) {
	c, err := Listen(ctx, local, o)
	if err != nil {
		return nil, err
	}
	return []Conn{c}, nil
}
