package ovpn

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"time"
)

// secure is one TLS connection driven by feeding and draining bytes, on the caller's goroutine and in its
// time. crypto/tls wants to block in its handshake, so that runs as a coroutine (iter.Pull): step resumes
// it until it needs bytes that are not there. The coroutine ends with the handshake, and with it its
// stack: a server has thousands of sessions that say nothing more for an hour.
type secure struct {
	pipe *tlsPipe
	conn *tls.Conn
	next func() (tlsStep, bool) // of the handshake; nil after it
	stop func()
	done bool // close was called, or the handshake failed
}

// tlsStep is why step returned: nothing set means that TLS wants bytes.
type tlsStep struct {
	established bool
	plain       []byte // one record, the caller's to keep
	err         error
}

// maxRecord is the largest TLS plaintext record.
const maxRecord = 16 << 10

func newSecure(role Role, cfg *tls.Config) *secure {
	c := &secure{pipe: &tlsPipe{}}
	if role == Client {
		c.conn = tls.Client(c.pipe, cfg)
	} else {
		c.conn = tls.Server(c.pipe, cfg)
	}
	c.next, c.stop = iter.Pull(func(yield func(tlsStep) bool) {
		c.pipe.wait = func() bool { return yield(tlsStep{}) }
		err := c.conn.Handshake()
		if err != nil && role == Server && c.pipe.alert != 0 {
			// OpenSSL's client refuses a certificate of TLS 1.3 before it encrypts, which
			// crypto/tls takes for a broken record.
			err = fmt.Errorf("remote error: %w", c.pipe.alert)
		}
		c.pipe.wait = nil
		yield(tlsStep{established: err == nil, err: err})
	})
	return c
}

// feed adds ciphertext from the peer. After the end nobody would read it: it is dropped.
func (c *secure) feed(b []byte) {
	if c.done {
		return
	}
	c.pipe.in = append(c.pipe.in, b...)
	// An alert's record in the clear is the last of its packet (RFC 8446, 5.1 and 6).
	if tail := b[max(0, len(b)-7):]; len(tail) == 7 && [5]byte(tail) == [5]byte{21, 3, 3, 0, 2} {
		c.pipe.alert = tls.AlertError(tail[6])
	}
}

// step runs TLS on until something happened or it wants more bytes.
func (c *secure) step() tlsStep {
	if c.done {
		return tlsStep{err: net.ErrClosed}
	}
	if c.next != nil {
		s, _ := c.next()
		if s.established || s.err != nil {
			c.stop()
			c.next, c.stop = nil, nil
			c.done = s.err != nil
		}
		return s
	}
	for {
		size, whole := c.pipe.record()
		if !whole {
			return tlsStep{}
		}
		// No plaintext is longer than its record, so that one Read is one record. Most that come are
		// short, and none is there for most of the time: no buffer is kept.
		buf := make([]byte, min(max(size, 1), maxRecord))
		c.pipe.one = true
		n, err := c.conn.Read(buf)
		switch {
		case n > 0:
			return tlsStep{plain: buf[:n]} // an error comes again
		case !errors.Is(err, errNoBytes):
			return tlsStep{err: err}
		}
		// It was a message to TLS itself, or a piece of one.
	}
}

// write encrypts one control message; only after established.
func (c *secure) write(b []byte) error {
	for len(b) > maxRecord {
		if _, err := c.conn.Write(b[:maxRecord]); err != nil {
			return err
		}
		b = b[maxRecord:]
	}
	_, err := c.conn.Write(b)
	return err
}

// drain returns and forgets the ciphertext to send.
func (c *secure) drain() []byte {
	out := c.pipe.out
	c.pipe.out = nil
	return out
}

// close ends the coroutine, if it still runs.
func (c *secure) close() {
	c.done = true
	if c.stop != nil {
		c.stop()
		c.next, c.stop = nil, nil
	}
	c.pipe.in = nil
}

// tlsPipe is the net.Conn under crypto/tls. Its Read never gives more than the rest of one record, so
// that what tls.Conn has not asked for stays here.
type tlsPipe struct {
	in   []byte // ciphertext from the peer, not yet read
	out  []byte // ciphertext for the peer
	left int    // of the body of the record whose head was read last
	// alert is what the peer said last in the clear; 0 = nothing.
	alert tls.AlertError
	// wait gives control back until there may be more; false means that there will not. nil after the
	// handshake: Read fails with errNoBytes, and begins a record only once for each time that one is set.
	wait func() bool
	one  bool
}

// recordHead is the length of a record's head: type, version, length (RFC 8446, 5.1).
const recordHead = 5

// record is the length of the body of the next record, and whether all of it is there. One that is longer
// than TLS allows need not be: its head is enough for an error.
func (p *tlsPipe) record() (size int, whole bool) {
	if len(p.in) < recordHead {
		return 0, false
	}
	size = int(binary.BigEndian.Uint16(p.in[3:]))
	return size, len(p.in) >= recordHead+size || size > maxRecord+2048
}

func (p *tlsPipe) Read(b []byte) (int, error) {
	for {
		want := p.left
		if want == 0 && len(p.in) >= recordHead && (p.wait != nil || p.one) {
			want, p.one = recordHead, false
		}
		if n := copy(b, p.in[:min(want, len(p.in))]); n > 0 {
			if p.left == 0 {
				p.left = int(binary.BigEndian.Uint16(p.in[3:]))
			} else {
				p.left -= n
			}
			if p.in = p.in[n:]; len(p.in) == 0 {
				p.in = nil
			}
			return n, nil
		}
		if p.wait == nil {
			return 0, errNoBytes
		}
		if !p.wait() {
			return 0, net.ErrClosed
		}
	}
}

func (p *tlsPipe) Write(b []byte) (int, error) {
	p.out = append(p.out, b...)
	return len(b), nil
}

func (p *tlsPipe) Close() error                     { return nil }
func (p *tlsPipe) LocalAddr() net.Addr              { return tlsAddr{} }
func (p *tlsPipe) RemoteAddr() net.Addr             { return tlsAddr{} }
func (p *tlsPipe) SetDeadline(time.Time) error      { return nil }
func (p *tlsPipe) SetReadDeadline(time.Time) error  { return nil }
func (p *tlsPipe) SetWriteDeadline(time.Time) error { return nil }

// errNoBytes says that Read would have to wait. tls.Conn remembers every error but those that call
// themselves temporary.
var errNoBytes net.Error = noBytes{}

type noBytes struct{}

func (noBytes) Error() string   { return "no bytes yet" }
func (noBytes) Timeout() bool   { return true }
func (noBytes) Temporary() bool { return true }

type tlsAddr struct{}

func (tlsAddr) Network() string { return "openvpn" }
func (tlsAddr) String() string  { return "control channel" }

// exportKeys is the TLS exporter, or an error under TLS 1.2 without Extended
// Master Secret, where crypto/tls refuses it.
func exportKeys(cs *tls.ConnectionState, label string, n int) ([]byte, error) {
	if cs == nil || !cs.HandshakeComplete {
		return nil, errors.New("handshake not complete")
	}
	return cs.ExportKeyingMaterial(label, nil, n)
}
