package wrap

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Reasons why a tls-crypt-v2 server refuses a packet.
var (
	ErrNoClientKey    = errors.New("control packet without a tls-crypt-v2 client key")
	ErrOtherClientKey = errors.New("another tls-crypt-v2 client key than the session's")
)

// cryptV2Client is tls-crypt with the client's own key; the wrapped key goes
// behind the packets that begin a session.
type cryptV2Client struct {
	tlsCrypt
	wrapped []byte
}

// TLSCryptV2 returns a client's method of a profile's tls-crypt-v2.
func TLSCryptV2(key ClientKey) Method {
	return &cryptV2Client{tlsCrypt: *newTLSCrypt(key.key), wrapped: key.wrapped}
}

func (m *cryptV2Client) Trailer() int   { return len(m.wrapped) }
func (m *cryptV2Client) String() string { return "tls-crypt-v2" }

// GoString keeps keys out of %#v.
func (m *cryptV2Client) GoString() string { return "tls-crypt-v2" }

// New numbers from the mark that says that we can send the wrapped key again.
func (m *cryptV2Client) New(server bool, firstID uint32) Wrapper {
	return &cryptV2ClientWrapper{Wrapper: m.tlsCrypt.New(server, earlyMark|firstID), wrapped: m.wrapped}
}

type cryptV2ClientWrapper struct {
	Wrapper
	wrapped []byte
}

func (w *cryptV2ClientWrapper) Wrap(dst []byte, now time.Time, plain []byte) []byte {
	dst = w.Wrapper.Wrap(dst, now, plain)
	if carriesKey(plain[0]) {
		dst = append(dst, w.wrapped...)
	}
	return dst
}

func carriesKey(first byte) bool {
	op, _ := wire.SplitHeader(first)
	return op == wire.HardResetClientV3 || op == wire.ControlWKCV1
}

// cryptV2Server learns each client's key from its first packet.
type cryptV2Server struct {
	block cipher.Block // safe for concurrent use
	mac   []byte
	also  Method
}

// TLSCryptV2Server returns a server's method. also (TLSAuth or TLSCrypt) is for
// clients without a key of their own; nil refuses them. Its Wrappers are Keyed.
func TLSCryptV2Server(key ServerKey, also Method) Method {
	m := &cryptV2Server{also: also}
	m.block, m.mac = key.keys()
	return m
}

func (m *cryptV2Server) Overhead() int {
	n := stampLen + cryptTagLen
	if m.also != nil {
		n = max(n, m.also.Overhead())
	}
	return n
}

func (m *cryptV2Server) Trailer() int   { return 0 }
func (m *cryptV2Server) String() string { return "tls-crypt-v2" }

// GoString keeps keys out of %#v.
func (m *cryptV2Server) GoString() string { return "tls-crypt-v2" }

func (m *cryptV2Server) New(_ bool, firstID uint32) Wrapper {
	return &cryptV2ServerWrapper{method: m, firstID: firstID}
}

// cryptV2ServerWrapper fixes the key with the first authentic packet. Later
// packets may carry the same wrapped key again (the client could not know that it
// had arrived); a different one is refused, so that keys are set once.
type cryptV2ServerWrapper struct {
	method   *cryptV2Server
	firstID  uint32
	inner    Wrapper // nil before the first authentic packet
	wrapped  []byte  // nil when inner is the other method
	metadata Metadata
}

func (w *cryptV2ServerWrapper) Wrap(dst []byte, now time.Time, plain []byte) []byte {
	if w.inner == nil {
		return dst
	}
	return w.inner.Wrap(dst, now, plain)
}

func (w *cryptV2ServerWrapper) Unwrap(dst []byte, now time.Time, packet []byte) ([]byte, error) {
	switch {
	case len(packet) == 0:
		return dst, ErrShort
	case carriesKey(packet[0]):
		return w.unwrapKeyed(dst, now, packet)
	case w.inner != nil:
		return w.inner.Unwrap(dst, now, packet)
	case w.method.also == nil:
		return dst, ErrNoClientKey
	}
	inner := w.method.also.New(true, w.firstID)
	out, err := inner.Unwrap(dst, now, packet)
	if err == nil {
		w.inner = inner
	}
	return out, err
}

func (w *cryptV2ServerWrapper) unwrapKeyed(dst []byte, now time.Time, packet []byte) ([]byte, error) {
	packet, wrapped, err := cutWrapped(packet)
	if err != nil {
		return dst, err
	}
	if w.inner != nil {
		if !bytes.Equal(wrapped, w.wrapped) {
			return dst, ErrOtherClientKey
		}
		return w.inner.Unwrap(dst, now, packet)
	}
	key, metadata, err := openWrapped(w.method.block, w.method.mac, wrapped)
	if err != nil {
		return dst, err
	}
	inner := newTLSCrypt(key).New(true, w.firstID)
	out, err := inner.Unwrap(dst, now, packet)
	if err == nil {
		w.inner, w.wrapped, w.metadata = inner, bytes.Clone(wrapped), metadata
	}
	return out, err
}

// cutWrapped parts a packet from the wrapped key behind it. The key's length is
// in the last two bytes, which nothing has authenticated yet: it must leave a
// whole control packet (CVE-2026-35058).
func cutWrapped(packet []byte) (rest, wrapped []byte, err error) {
	if len(packet) < cryptMinimum+minWrapped {
		return nil, nil, ErrShort
	}
	n := int(binary.BigEndian.Uint16(packet[len(packet)-2:]))
	if n < minWrapped || n > maxWrapped || n > len(packet)-cryptMinimum {
		return nil, nil, ErrClientKey
	}
	at := len(packet) - n
	return packet[:at:at], packet[at:], nil
}

func (w *cryptV2ServerWrapper) Key() *StaticKey {
	if w.inner == nil {
		return nil
	}
	return w.inner.Key()
}

func (w *cryptV2ServerWrapper) Client() (Metadata, bool) { return w.metadata, w.wrapped != nil }

func (w *cryptV2ServerWrapper) ClientID() string {
	if w.wrapped == nil {
		return ""
	}
	return wrappedID(w.wrapped)
}
