// Package framing puts OpenVPN packets on a byte stream and takes them off:
// each is preceded by its length in two bytes, big endian (openvpn's socket.c,
// stream_buf). Datagrams need no framing. Nothing here starts a goroutine.
package framing

import (
	"encoding/binary"
	"errors"
	"io"
)

// HeaderSize is the length field in front of each packet, in bytes.
const HeaderSize = 2

// MaxPacket is the largest packet that the length field can say.
const MaxPacket = 1<<16 - 1

// ErrEmpty is returned for a frame of length zero: the stream is out of step.
var ErrEmpty = errors.New("empty frame in the stream")

// Put writes the length of a packet of n bytes into b, at least HeaderSize long.
func Put(b []byte, n int) { binary.BigEndian.PutUint16(b, uint16(n)) }

// PutEach writes the lengths of packets that lie in b one after the other, each behind
// HeaderSize bytes of room, and returns how many bytes that makes in all.
func PutEach(b []byte, sizes []int) int {
	at := 0
	for _, n := range sizes {
		Put(b[at:], n)
		at += HeaderSize + n
	}
	return at
}

// Whole is how many bytes at the start of b hold whole packets with their lengths: at most most bytes, but one packet
// at least. b begins with a packet and ends with one.
func Whole(b []byte, most int) int {
	at := 0
	for at+HeaderSize <= len(b) {
		n := HeaderSize + int(binary.BigEndian.Uint16(b[at:]))
		if at > 0 && at+n > most || at+n > len(b) {
			break
		}
		at += n
	}
	return at
}

// ErrTooLong is returned for a frame that does not fit the Reader's buffer. After
// Resize reading may go on.
var ErrTooLong = errors.New("a frame is longer than expected here")

// Append appends one packet with its length to dst.
func Append(dst, packet []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(packet)))
	return append(dst, packet...)
}

// Reader takes packets off a stream, many per system call. Not safe for
// concurrent use.
type Reader struct {
	r          io.Reader
	buf        []byte
	start, end int
}

// ReaderSize is the size of NewReader's buffer in bytes: many packets of any length.
const ReaderSize = 256 << 10

// NewReader reads from r with one buffer of ReaderSize.
func NewReader(r io.Reader) *Reader { return NewReaderSize(r, ReaderSize) }

// NewReaderSize reads from r with one buffer of size bytes. It takes no packet
// that is longer than the buffer.
func NewReaderSize(r io.Reader, size int) *Reader {
	return &Reader{r: r, buf: make([]byte, max(size, 2*HeaderSize))}
}

// Resize gives the Reader a buffer of size bytes, or of what it holds if that is
// more. The packets of the last call are no longer valid.
func (r *Reader) Resize(size int) {
	buf := make([]byte, max(size, r.end-r.start))
	r.end = copy(buf, r.buf[r.start:r.end])
	r.buf, r.start = buf, 0
}

// ReadBatch appends to dst every complete packet at hand, at most cap(dst) in
// all, and blocks only while there is none. The packets point into the Reader's
// buffer, have room behind them that belongs to their successors, and are valid until the next call.
func (r *Reader) ReadBatch(dst [][]byte) ([][]byte, error) {
	for {
		for len(dst) < cap(dst) && r.end-r.start >= HeaderSize {
			n := int(binary.BigEndian.Uint16(r.buf[r.start:]))
			if n == 0 {
				return dst, ErrEmpty
			}
			if len(dst) == 0 && HeaderSize+n > len(r.buf) {
				return dst, ErrTooLong
			}
			if r.end-r.start < HeaderSize+n {
				break
			}
			from := r.start + HeaderSize
			dst = append(dst, r.buf[from:from+n])
			r.start = from + n
		}
		if len(dst) > 0 {
			return dst, nil
		}
		if r.start > 0 && len(r.buf)-r.start < min(HeaderSize+MaxPacket, len(r.buf)) {
			r.end = copy(r.buf, r.buf[r.start:r.end])
			r.start = 0
		}
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if n == 0 && err != nil {
			if err == io.EOF && r.end > r.start {
				err = io.ErrUnexpectedEOF
			}
			return dst, err
		}
	}
}
