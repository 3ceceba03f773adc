package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"

	"github.com/adit-vpn/adit/platform/tcp"
	"github.com/adit-vpn/adit/platform/udp"
)

// Dialer opens the sockets to servers, shaped by the profile's options. Implementations are safe for concurrent use.
type Dialer interface {
	DialUDP(ctx context.Context, server netip.AddrPort, o udp.Options) (udp.Conn, error)
	DialTCP(ctx context.Context, server netip.AddrPort, o udp.Options) (net.Conn, error)
}

// SystemDialer dials with the operating system's sockets. The zero value is ready.
type SystemDialer struct{}

// DialUDP opens a connected socket; it sends nothing.
func (SystemDialer) DialUDP(ctx context.Context, server netip.AddrPort, o udp.Options) (udp.Conn, error) {
	return udp.Dial(ctx, server, o)
}

// DialTCP connects; the socket sends small packets at once. The kernel sizes its
// buffers better than a fixed number would, so that those options are left alone.
func (SystemDialer) DialTCP(ctx context.Context, server netip.AddrPort, o udp.Options) (net.Conn, error) {
	d := net.Dialer{Control: udp.Control(o)}
	if o.Local.IsValid() || o.Local.Port() != 0 {
		d.LocalAddr = net.TCPAddrFromAddrPort(o.Local)
	}
	c, err := d.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return nil, err
	}
	return tcp.Direct(c), nil
}

func tlsVersion(s tls.ConnectionState) string { return tls.VersionName(s.Version) }
