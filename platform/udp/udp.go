// Package udp moves UDP datagrams in batches: many per system call, and trains
// of equal-sized datagrams as one buffer where the kernel can (UDP GSO and GRO).
package udp

import "net/netip"

// Message is one datagram or one train of them.
type Message struct {
	// Addr is the peer: filled by ReadBatch, used by WriteBatch (the zero value
	// on a connected socket).
	Addr netip.AddrPort
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
	// the first one only. After Close it returns net.ErrClosed.
	ReadBatch(ms []Message) (int, error)
	// WriteBatch sends all messages, splitting trains itself when the kernel cannot.
	// A full send buffer makes it wait; ECONNREFUSED and the like on one message
	// do not stop the others, and the first such error is returned at the end.
	WriteBatch(ms []Message) error
	// BatchSize is the most messages that one call moves well.
	BatchSize() int
	// BufferSize is the size that each read buffer needs (64 KiB with GRO).
	BufferSize() int
	LocalAddr() netip.AddrPort
	Close() error
}
