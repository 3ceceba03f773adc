package wrap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"time"
)

const (
	cryptKeyLen  = 32 // of AES-256 and of the HMAC
	cryptTagLen  = sha256.Size
	cryptClear   = headLen + stampLen // authenticated, not encrypted
	cryptMinimum = cryptClear + cryptTagLen
)

// tlsCrypt authenticates and encrypts: head, stamp, tag, ciphertext, where tag is
// HMAC-SHA256 over head, stamp and plaintext, and its first half is the IV of
// AES-256-CTR (openvpn's tls_crypt.h; RFC draft "tls-crypt").
//
// Its two slots are the directions. Servers send with slot 0, clients with slot 1: the other way round
// than data keys.
type tlsCrypt struct {
	key    StaticKey
	blocks [2]cipher.Block // safe for concurrent use; nil: made for each packet
}

// TLSCrypt returns the method of a profile's tls-crypt.
func TLSCrypt(key StaticKey) Method {
	m := newTLSCrypt(key)
	for i := range m.blocks {
		m.blocks[i] = m.block(i)
	}
	return m
}

// newTLSCrypt is for a key that one session has: it may say nothing for an hour, so that it keeps the key and
// not what follows from it, which is ten times as large.
func newTLSCrypt(key StaticKey) *tlsCrypt { return &tlsCrypt{key: key} }

func (m *tlsCrypt) block(slot int) cipher.Block {
	if b := m.blocks[slot]; b != nil {
		return b
	}
	block, err := aes.NewCipher(m.key.cipher(slot)[:cryptKeyLen])
	if err != nil {
		panic(err) // only for a wrong key length
	}
	return block
}

func (m *tlsCrypt) mac(slot int) hash.Hash {
	return hmac.New(sha256.New, m.key.hmac(slot)[:cryptKeyLen])
}

func (m *tlsCrypt) Overhead() int  { return stampLen + cryptTagLen }
func (m *tlsCrypt) Trailer() int   { return 0 }
func (m *tlsCrypt) String() string { return "tls-crypt" }

// GoString keeps keys out of %#v.
func (m *tlsCrypt) GoString() string { return "tls-crypt" }

func (m *tlsCrypt) New(server bool, firstID uint32) Wrapper {
	w := &tlsCryptWrapper{method: m, send: 1, out: outbound{next: firstID}}
	if server {
		w.send = 0
	}
	return w
}

type tlsCryptWrapper struct {
	method *tlsCrypt
	send   int // slot; the other one receives
	out    outbound
	in     inbound
}

func (w *tlsCryptWrapper) Key() *StaticKey { return &w.method.key }

func (w *tlsCryptWrapper) Wrap(dst []byte, now time.Time, plain []byte) []byte {
	return w.seal(dst, now, plain[:headLen], plain[headLen:])
}

// seal is Wrap for a head of any length.
func (w *tlsCryptWrapper) seal(dst []byte, now time.Time, head, rest []byte) []byte {
	start := len(dst)
	dst = append(dst, head...)
	dst = w.out.stamp(dst, now)
	dst = sum(w.method.mac(w.send), dst, dst[start:], rest)
	tag := dst[start+len(head)+stampLen:]
	stream := cipher.NewCTR(w.method.block(w.send), tag[:aes.BlockSize])
	dst = append(dst, rest...)
	body := dst[len(dst)-len(rest):]
	stream.XORKeyStream(body, body)
	return dst
}

func (w *tlsCryptWrapper) Unwrap(dst []byte, _ time.Time, packet []byte) ([]byte, error) {
	if len(packet) < cryptMinimum {
		return dst, ErrShort
	}
	clearPart, tag, body := packet[:cryptClear], packet[cryptClear:cryptMinimum], packet[cryptMinimum:]
	out := append(dst, clearPart[:headLen]...)
	out = append(out, body...)
	rest := out[len(out)-len(body):]
	cipher.NewCTR(w.method.block(1-w.send), tag[:aes.BlockSize]).XORKeyStream(rest, rest)
	var got [cryptTagLen]byte
	if !hmac.Equal(tag, sum(w.method.mac(1-w.send), got[:0], clearPart, rest)) {
		clear(rest) // nobody may find unauthenticated plaintext behind dst
		return dst, ErrForged
	}
	if !w.in.accept(clearPart[headLen:]) {
		clear(rest)
		return dst, ErrReplay
	}
	return out, nil
}
