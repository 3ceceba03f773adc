package client

import (
	"cmp"
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
	// DialPast opens a connection that leaves by device, past the routes of tunnels, and past their guards where those let
	// the service's own packets to that address pass: to a resolver of the underlay, to the server of a trusted network.
	// Network is udp or tcp.
	DialPast(ctx context.Context, network string, to netip.AddrPort, device string) (net.Conn, error)
}

// SystemDialer dials with the operating system's sockets. The zero value is ready.
type SystemDialer struct {
	// Mark is the routing mark of what options give no other one; 0 = none. A guard knows the service's packets by it.
	Mark int
}

func (d SystemDialer) marked(o udp.Options) udp.Options {
	o.Mark = cmp.Or(o.Mark, d.Mark)
	return o
}

// DialUDP opens a connected socket; it sends nothing.
func (d SystemDialer) DialUDP(ctx context.Context, server netip.AddrPort, o udp.Options) (udp.Conn, error) {
	return udp.Dial(ctx, server, d.marked(o))
}

// DialTCP connects; the socket sends small packets at once. The kernel sizes its
// buffers better than a fixed number would, so that those options are left alone.
func (d SystemDialer) DialTCP(ctx context.Context, server netip.AddrPort, o udp.Options) (net.Conn, error) {
	nd := net.Dialer{Control: udp.Control(d.marked(o))}
	if o.Local.IsValid() || o.Local.Port() != 0 {
		nd.LocalAddr = net.TCPAddrFromAddrPort(o.Local)
	}
	c, err := nd.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return nil, err
	}
	return tcp.Direct(c), nil
}

// DialPast implements Dialer.
func (d SystemDialer) DialPast(ctx context.Context, network string, to netip.AddrPort, device string) (net.Conn, error) {
	nd := net.Dialer{Control: udp.Control(udp.Options{Mark: d.Mark, Device: device})}
	return nd.DialContext(ctx, network, to.String())
}

func tlsVersion(s tls.ConnectionState) string { return tls.VersionName(s.Version) }
