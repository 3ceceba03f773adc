package wrap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"slices"
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
type tlsCrypt struct {
	key   StaticKey
	slots [2]cryptSlot
}

// cryptSlot is one direction. Servers send with slot 0, clients with slot 1: the
// other way round than data keys.
type cryptSlot struct {
	block cipher.Block // safe for concurrent use
	mac   []byte
}

// TLSCrypt returns the method of a profile's tls-crypt.
func TLSCrypt(key StaticKey) Method { return newTLSCrypt(key) }

func newTLSCrypt(key StaticKey) *tlsCrypt {
	m := &tlsCrypt{key: key}
	for i := range m.slots {
		block, err := aes.NewCipher(key.cipher(i)[:cryptKeyLen])
		if err != nil {
			panic(err) // only for a wrong key length
		}
		m.slots[i] = cryptSlot{block: block, mac: slices.Clone(key.hmac(i)[:cryptKeyLen])}
	}
	return m
}

func (m *tlsCrypt) Overhead() int  { return stampLen + cryptTagLen }
func (m *tlsCrypt) Trailer() int   { return 0 }
func (m *tlsCrypt) String() string { return "tls-crypt" }

// GoString keeps keys out of %#v.
func (m *tlsCrypt) GoString() string { return "tls-crypt" }

func (m *tlsCrypt) New(server bool, firstID uint32) Wrapper {
	send, recv := m.slots[1], m.slots[0]
	if server {
		send, recv = recv, send
	}
	return &tlsCryptWrapper{
		key:       &m.key,
		sendBlock: send.block, sendMAC: hmac.New(sha256.New, send.mac),
		recvBlock: recv.block, recvMAC: hmac.New(sha256.New, recv.mac),
		out: outbound{next: firstID},
	}
}

type tlsCryptWrapper struct {
	key                  *StaticKey
	sendBlock, recvBlock cipher.Block
	sendMAC, recvMAC     hash.Hash
	out                  outbound
	in                   inbound
}

func (w *tlsCryptWrapper) Key() *StaticKey { return w.key }

func (w *tlsCryptWrapper) Wrap(dst []byte, now time.Time, plain []byte) []byte {
	return w.seal(dst, now, plain[:headLen], plain[headLen:])
}

// seal is Wrap for a head of any length.
func (w *tlsCryptWrapper) seal(dst []byte, now time.Time, head, rest []byte) []byte {
	start := len(dst)
	dst = append(dst, head...)
	dst = w.out.stamp(dst, now)
	dst = sum(w.sendMAC, dst, dst[start:], rest)
	tag := dst[start+len(head)+stampLen:]
	stream := cipher.NewCTR(w.sendBlock, tag[:aes.BlockSize])
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
	cipher.NewCTR(w.recvBlock, tag[:aes.BlockSize]).XORKeyStream(rest, rest)
	var got [cryptTagLen]byte
	if !hmac.Equal(tag, sum(w.recvMAC, got[:0], clearPart, rest)) {
		clear(rest) // nobody may find unauthenticated plaintext behind dst
		return dst, ErrForged
	}
	if !w.in.accept(clearPart[headLen:]) {
		clear(rest)
		return dst, ErrReplay
	}
	return out, nil
}
