package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/adit-vpn/adit/platform/udp"
)

// DialUDP opens a socket that is connected to a relay.
type DialUDP func(ctx context.Context, relay netip.AddrPort) (udp.Conn, error)

// Association is a SOCKS5 proxy's UDP relay for one server (RFC 1928, 7). Every datagram has a header in
// front. It lasts as long as the TCP connection that asked for it. One goroutine may wait, one
// read and any number write.
type Association struct {
	// Conn is connected to the relay. Closing it alone is not enough; call Close.
	Conn udp.Conn

	control net.Conn
	header  []byte
}

// Associate asks for a relay to target. The relay must be at the proxy's own address, proxy, which is what the
// way around the tunnel leads to. A target by name costs its length in every datagram. ctx bounds all of it. Its errors are *Error.
func (c *Config) Associate(ctx context.Context, dial Dial, dialUDP DialUDP, proxy netip.Addr, target Target) (*Association, error) {
	if err := c.Check(); err != nil {
		return nil, &Error{Cause: Broken, Text: err.Error()}
	}
	if c.Kind != SOCKS5 {
		return nil, &Error{Cause: Broken, Text: "an HTTP proxy carries TCP only"}
	}
	header, err := appendTarget(make([]byte, 3, 32), target)
	if err != nil {
		return nil, err
	}
	// We do not know yet where we shall send from: the zero address of the family says so.
	from := netip.IPv4Unspecified()
	if proxy = proxy.Unmap(); proxy.Is6() {
		from = netip.IPv6Unspecified()
	}
	conn, relay, err := c.command(ctx, dial, commandAssociate, Target{Host: from.String()})
	if err != nil {
		return nil, err
	}
	fail := func(e *Error) (*Association, error) {
		_ = conn.Close()
		return nil, e
	}
	switch {
	case relay.Port() == 0:
		return fail(&Error{Cause: Broken, Text: "it names no port for datagrams"})
	case relay.Addr().IsUnspecified(): // a usual way to say: here
		relay = netip.AddrPortFrom(proxy, relay.Port())
	case relay.Addr() != proxy.WithZone(""):
		return fail(&Error{Cause: Broken, Text: fmt.Sprintf("its datagrams go to another machine, %s", relay)})
	default:
		relay = netip.AddrPortFrom(proxy, relay.Port()) // with its zone
	}
	u, err := dialUDP(ctx, relay)
	if err != nil {
		return fail(unreachable(err))
	}
	return &Association{Conn: u, control: conn, header: header}, nil
}

// HeaderSize is what each datagram to the relay has in front, in bytes.
func (a *Association) HeaderSize() int { return len(a.header) }

// PutEach writes the header in front of datagrams that lie in buf one after the other, each behind
// HeaderSize bytes of room, adds its size to sizes, and returns how many bytes that makes in all.
func (a *Association) PutEach(buf []byte, sizes []int) int {
	at := 0
	for i := range sizes {
		copy(buf[at:], a.header)
		sizes[i] += len(a.header)
		at += sizes[i]
	}
	return at
}

// Append appends one datagram with its header to dst.
func (a *Association) Append(dst, datagram []byte) []byte {
	return append(append(dst, a.header...), datagram...)
}

// Payload returns what a datagram from a relay carries: a part of b, empty when b is
// not whole or is a fragment, which nobody sends.
func Payload(b []byte) []byte {
	if len(b) < 5 || b[2] != 0 {
		return nil
	}
	n := 4 + 2
	switch b[3] {
	case typeIPv4:
		n += 4
	case typeIPv6:
		n += 16
	case typeName:
		n += 1 + int(b[4])
	default:
		return nil
	}
	if len(b) <= n {
		return nil
	}
	return b[n:]
}

// Wait blocks until the proxy ends the association, or Close does, and returns why.
func (a *Association) Wait() error {
	var b [64]byte
	for {
		if _, err := a.control.Read(b[:]); err != nil {
			if err == io.EOF {
				return &Error{Cause: Unreachable, Text: "the proxy ended the relay of datagrams", Err: err}
			}
			return unreachable(err)
		}
	}
}

// Close gives the relay up.
func (a *Association) Close() error {
	err := a.Conn.Close()
	if cerr := a.control.Close(); err == nil {
		err = cerr
	}
	return err
}
