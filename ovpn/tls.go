package ovpn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"time"
)

// secure is one TLS connection driven by feeding and draining bytes. crypto/tls
// wants to block in Read, so it runs as a coroutine (iter.Pull): step resumes it
// until it needs bytes that are not there. Everything happens on the caller's
// goroutine, in its time.
type secure struct {
	conn *tls.Conn
	in   []byte // ciphertext from the peer, not yet read
	out  []byte // ciphertext for the peer
	// alert is what the peer said last in the clear; 0 = nothing.
	alert tls.AlertError
	next  func() (tlsStep, bool)
	stop  func()
}

// tlsStep is why the coroutine stopped: nothing set means that it wants bytes.
type tlsStep struct {
	established bool
	plain       []byte // one record, valid until the next step
	err         error
}

// maxRecord holds the largest TLS plaintext record, so that one Read is one record.
const maxRecord = 16 << 10

func newSecure(role Role, cfg *tls.Config) *secure {
	c := &secure{}
	c.next, c.stop = iter.Pull(func(yield func(tlsStep) bool) {
		pipe := &tlsPipe{secure: c, yield: yield}
		if role == Client {
			c.conn = tls.Client(pipe, cfg)
		} else {
			c.conn = tls.Server(pipe, cfg)
		}
		if err := c.conn.Handshake(); err != nil {
			if role == Server && c.alert != 0 {
				// OpenSSL's client refuses a certificate of TLS 1.3 before it encrypts, which
				// crypto/tls takes for a broken record.
				err = fmt.Errorf("remote error: %w", c.alert)
			}
			yield(tlsStep{err: err})
			return
		}
		if !yield(tlsStep{established: true}) {
			return
		}
		buf := make([]byte, maxRecord)
		for {
			n, err := c.conn.Read(buf)
			if n > 0 && !yield(tlsStep{plain: buf[:n]}) {
				return
			}
			if err != nil {
				yield(tlsStep{err: err})
				return
			}
		}
	})
	return c
}

// feed adds ciphertext from the peer.
func (c *secure) feed(b []byte) {
	c.in = append(c.in, b...)
	// An alert's record in the clear is the last of its packet (RFC 8446, 5.1 and 6).
	if tail := b[max(0, len(b)-7):]; len(tail) == 7 && [5]byte(tail) == [5]byte{21, 3, 3, 0, 2} {
		c.alert = tls.AlertError(tail[6])
	}
}

// step runs TLS on until something happened or it wants more bytes.
func (c *secure) step() tlsStep {
	s, ok := c.next()
	if !ok {
		return tlsStep{err: net.ErrClosed}
	}
	return s
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
	out := c.out
	c.out = nil
	return out
}

// close ends the coroutine.
func (c *secure) close() { c.stop() }

// tlsPipe is the net.Conn under crypto/tls; its Read gives control back to step.
type tlsPipe struct {
	*secure
	yield func(tlsStep) bool
}

func (p *tlsPipe) Read(b []byte) (int, error) {
	for len(p.in) == 0 {
		if !p.yield(tlsStep{}) {
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
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
