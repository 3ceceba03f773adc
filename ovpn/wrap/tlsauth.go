package wrap

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"
)

// Reasons why Unwrap refuses a packet.
var (
	ErrShort  = errors.New("control packet too short for its protection")
	ErrForged = errors.New("control packet is not authentic")
	ErrReplay = errors.New("control packet is a replay")
)

// headLen is what stays in front and in clear: opcode/key-id byte and session id.
const headLen = 1 + 8

// tlsAuth authenticates: head, HMAC, stamp, rest. The HMAC covers stamp, head,
// rest, in this order (openvpn's ssl_pkt.c, swap_hmac; RFC draft "tls-auth").
type tlsAuth struct {
	key        StaticKey
	direction  int
	newHash    func() hash.Hash
	size       int
	send, recv []byte // HMAC keys
}

// TLSAuth returns the method of a profile's tls-auth. Direction is the profile's
// key-direction: 0 (servers by convention), 1 (clients), or -1 when there is
// none, which uses one key both ways. Hash is the profile's auth: SHA1 (also
// when empty), SHA224, SHA256, SHA384 or SHA512.
func TLSAuth(key StaticKey, direction int, hash string) (Method, error) {
	m := &tlsAuth{key: key, direction: direction}
	switch name := strings.ToUpper(hash); strings.TrimPrefix(strings.ReplaceAll(name, "SHA-", "SHA"), "RSA-") {
	case "", "SHA1", "SHA":
		m.newHash = sha1.New
	case "SHA224":
		m.newHash = sha256.New224
	case "SHA256":
		m.newHash = sha256.New
	case "SHA384":
		m.newHash = sha512.New384
	case "SHA512":
		m.newHash = sha512.New
	default:
		return nil, fmt.Errorf("tls-auth: unknown hash %q", hash)
	}
	m.size = m.newHash().Size()
	var send, recv int
	switch direction {
	case -1:
	case 0:
		recv = 1
	case 1:
		send = 1
	default:
		return nil, fmt.Errorf("tls-auth: direction %d is not -1, 0 or 1", direction)
	}
	m.send, m.recv = key.hmac(send)[:m.size], key.hmac(recv)[:m.size]
	return m, nil
}

// Direction is what TLSAuth was given.
func (m *tlsAuth) Direction() int { return m.direction }

func (m *tlsAuth) Overhead() int  { return m.size + stampLen }
func (m *tlsAuth) Trailer() int   { return 0 }
func (m *tlsAuth) String() string { return "tls-auth" }

// GoString keeps keys out of %#v.
func (m *tlsAuth) GoString() string { return "tls-auth" }

func (m *tlsAuth) New(_ bool, firstID uint32) Wrapper {
	return &tlsAuthWrapper{
		key:  &m.key,
		size: m.size,
		send: hmac.New(m.newHash, m.send),
		recv: hmac.New(m.newHash, m.recv),
		out:  outbound{next: firstID},
	}
}

type tlsAuthWrapper struct {
	key        *StaticKey
	size       int
	send, recv hash.Hash
	out        outbound
	in         inbound
}

func (w *tlsAuthWrapper) Key() *StaticKey { return w.key }

func (w *tlsAuthWrapper) Wrap(dst []byte, now time.Time, plain []byte) []byte {
	head, rest := plain[:headLen], plain[headLen:]
	var stamp [stampLen]byte
	w.out.stamp(stamp[:0], now)
	dst = append(dst, head...)
	dst = sum(w.send, dst, stamp[:], head, rest)
	dst = append(dst, stamp[:]...)
	return append(dst, rest...)
}

func (w *tlsAuthWrapper) Unwrap(dst []byte, _ time.Time, packet []byte) ([]byte, error) {
	if len(packet) < headLen+w.size+stampLen {
		return dst, ErrShort
	}
	head, p := packet[:headLen], packet[headLen:]
	tag, p := p[:w.size], p[w.size:]
	stamp, rest := p[:stampLen], p[stampLen:]
	var got [sha512.Size]byte
	if !hmac.Equal(tag, sum(w.recv, got[:0], stamp, head, rest)) {
		return dst, ErrForged
	}
	if !w.in.accept(stamp) {
		return dst, ErrReplay
	}
	dst = append(dst, head...)
	return append(dst, rest...), nil
}

// sum appends the MAC of parts to dst and leaves h ready for the next packet.
func sum(h hash.Hash, dst []byte, parts ...[]byte) []byte {
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(dst)
}
