// Package udp moves UDP datagrams in batches: many per system call, and trains
// of equal-sized datagrams as one buffer where the kernel can (UDP GSO and GRO).
// It knows nothing of what the datagrams carry, starts no goroutine, and resolves
// no names.
package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Message is one datagram or one train of them.
type Message struct {
	// Addr is the peer: filled by ReadBatch, used by WriteBatch (the zero value
	// on a connected socket). IPv4 is never in its IPv6-mapped form.
	Addr netip.AddrPort
	// Local is our own address of the exchange on a wildcard listener: ReadBatch
	// says where the datagram was sent to, and WriteBatch sends from there, so
	// that answers come from the address that was asked. The zero value lets the
	// system choose. On other sockets, and outside Linux, it is zero and ignored.
	Local netip.Addr
	// Buf holds the bytes. For ReadBatch the caller provides the buffer (use
	// Conn.BufferSize) and N says how much was filled; WriteBatch sends Buf[:N].
	Buf []byte
	N   int
	// Segment is the size of each datagram in Buf[:N] but the last, which may be
	// shorter. 0 means that Buf[:N] is a single datagram.
	Segment int
}

// Conn is a UDP socket. One goroutine may read while any number write.
type Conn interface {
	// ReadBatch fills up to len(ms) messages and returns how many; it blocks for
	// the first one only. After Close it returns net.ErrClosed. Errors that an
	// ICMP answer caused (connection refused, no route to host, message too long)
	// are swallowed: they prove nothing about the next datagram, and may be forged.
	// A datagram that does not fit its buffer is dropped. ReadBatch may swap the
	// buffers of ms among each other.
	ReadBatch(ms []Message) (int, error)
	// WriteBatch sends all messages, splitting trains itself when the kernel cannot.
	// A full send buffer makes it wait; ECONNREFUSED and the like on one message
	// do not stop the others, and the first such error is returned at the end. Such
	// an error may have been caused by an earlier datagram; the message that met
	// it has then been tried once more. After Close it returns net.ErrClosed.
	WriteBatch(ms []Message) error
	// WriteWhole sends one datagram that neither the system nor a router may cut into fragments:
	// it arrives as it is or not at all. EMSGSIZE and the like mean that it does not even fit our own
	// device. All other datagrams may be cut on their way, so that none is lost for its length alone; but
	// routers cut IPv4 only.
	// errors.ErrUnsupported where the system cannot.
	WriteWhole(m Message) error
	// PathMTU is the largest IP packet in bytes that passes uncut to the peer of a connected socket
	// as far as the system knows: the MTU of the device, or less once a router complained. 0 = unknown.
	PathMTU() int
	// BatchSize is the most messages that one call moves well.
	BatchSize() int
	// BufferSize is the size that each read buffer needs (64 KiB with GRO).
	BufferSize() int
	LocalAddr() netip.AddrPort
	Close() error
}

// Options shape a new socket. The zero value is good.
type Options struct {
	// Local is the address and port to send from, for Dial only; either may be zero.
	Local netip.AddrPort
	// SendBuffer and ReceiveBuffer are the kernel's buffers in bytes, as near as
	// the system permits; 0 wishes for 4 MiB.
	SendBuffer, ReceiveBuffer int
	// Mark is the routing mark (SO_MARK) of everything sent; Linux only, where it needs CAP_NET_ADMIN
	// (ErrMark without). Ignored elsewhere. 0 is none.
	Mark int
	// Device is the only one by which packets leave, whatever the routes say: SO_BINDTODEVICE on Linux, where
	// they come by no other one either; IP_UNICAST_IF on Windows, IP_BOUND_IF on macOS. Ignored elsewhere. Empty is any.
	Device string
}

// ErrMark is wrapped when the system does not let us mark packets.
var ErrMark = errors.New("set routing mark")

const (
	defaultBuffer = 4 << 20 // of the kernel, each direction
	maxDatagram   = 65535   // the most that one receive gives, and a buffer for it
)

// Grow returns ms with room for twice as many messages as before, each with a buffer, up to what one
// ReadBatch of c moves well. A reader that grows it whenever a call filled all of it has no
// more memory than its traffic ever needed.
func Grow(ms []Message, c Conn) []Message {
	for range min(max(len(ms), 1), c.BatchSize()-len(ms)) {
		ms = append(ms, Message{Buf: make([]byte, c.BufferSize())})
	}
	return ms
}

// Dial returns a socket that is connected to remote: it receives from nobody
// else. It sends nothing, so an absent peer is not noticed.
func Dial(ctx context.Context, remote netip.AddrPort, o Options) (Conn, error) {
	if !remote.IsValid() || remote.Port() == 0 {
		return nil, fmt.Errorf("dial udp: bad remote address %q", remote)
	}
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	network := "udp6"
	if remote.Addr().Is4() {
		network = "udp4"
	}
	dialer := net.Dialer{Control: Control(o)}
	if o.Local.IsValid() || o.Local.Port() != 0 {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.Local.Addr().Unmap(), o.Local.Port()))
	}
	c, err := dialer.DialContext(ctx, network, remote.String())
	if err != nil {
		return nil, err
	}
	return finish(c.(*net.UDPConn), o, true, false)
}

// Listen returns a socket that receives from anybody at local. An IPv6 wildcard
// ("[::]:1194") or the zero address receives IPv4 too where the system can.
func Listen(ctx context.Context, local netip.AddrPort, o Options) (Conn, error) {
	return listen(ctx, local, o, Control(o))
}

// listen is Listen with what must be set before the socket is bound.
func listen(ctx context.Context, local netip.AddrPort, o Options, control func(network, address string, c syscall.RawConn) error) (Conn, error) {
	addr := local.Addr().Unmap()
	network := "udp6"
	switch {
	case !addr.IsValid():
		addr, network = netip.IPv6Unspecified(), "udp"
	case addr.Is4():
		network = "udp4"
	case addr.IsUnspecified():
		network = "udp"
	}
	lc := net.ListenConfig{Control: control}
	c, err := lc.ListenPacket(ctx, network, netip.AddrPortFrom(addr, local.Port()).String())
	if err != nil {
		return nil, err
	}
	return finish(c.(*net.UDPConn), o, false, addr.IsUnspecified())
}

// finish makes a Conn of a socket, or closes it.
func finish(c *net.UDPConn, o Options, connected, wildcard bool) (Conn, error) {
	conn, err := newConn(c, o, connected, wildcard)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("prepare udp socket %s: %w", c.LocalAddr(), err)
	}
	return conn, nil
}

// localAddr is the socket's own address, IPv4 unmapped.
func localAddr(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
