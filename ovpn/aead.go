package ovpn

import (
	"crypto/cipher"
	"encoding/binary"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Layout of a DATA_V2 datagram with an AEAD cipher (RFC draft "dataaead"): head
// (opcode/key id, peer id), packet id, tag, ciphertext. Head and packet id are the
// additional data; the nonce is the packet id and an implicit IV.
const (
	packetIDAt = 4
	adLen      = 8
	tagLen     = 16
	tagAt      = adLen
	bodyAt     = adLen + tagLen
)

type aeadSealer struct {
	aead  cipher.AEAD
	head  uint32   // opcode and key id
	nonce [12]byte // packet id, implicit IV
	last  uint32   // packet id used last
	usage uint64   // blocks plus packets
	limit uint64   // of usage that asks for a new key; 0 means none
	_     [64]byte
}

type aeadOpener struct {
	aead   cipher.AEAD
	nonce  [12]byte
	replay replayWindow
	usage  uint64
	limit  uint64
	forged uint64
	_      [64]byte
}

func newAEADSealer(id uint8, c Cipher, key, iv []byte) (*aeadSealer, error) {
	aead, err := c.newAEAD(key[:c.KeySize])
	if err != nil {
		return nil, err
	}
	s := &aeadSealer{aead: aead, head: uint32(wire.Header(wire.DataV2, id)) << 24, limit: usageLimit(c)}
	copy(s.nonce[4:], iv)
	return s, nil
}

func newAEADOpener(c Cipher, key, iv []byte, window int) (*aeadOpener, error) {
	aead, err := c.newAEAD(key[:c.KeySize])
	if err != nil {
		return nil, err
	}
	o := &aeadOpener{aead: aead, limit: usageLimit(c), replay: newReplayWindow(window)}
	copy(o.nonce[4:], iv)
	return o, nil
}

// usageLimit is 7/8 of what the cipher bears, so that the limit itself is not
// passed while the peer is slow.
func usageLimit(c Cipher) uint64 { return c.limit / 8 * 7 }

func (s *aeadSealer) seal(dst []byte, peerID uint32, plain []byte) ([]byte, bool) {
	if s.last == packetIDLast {
		return dst, false
	}
	s.last++
	s.usage += blocks(len(plain)) + 1
	end := len(dst) + bodyAt + len(plain)
	b := dst[len(dst) : end+sealSlack]
	binary.BigEndian.PutUint32(b, s.head|peerID)
	binary.BigEndian.PutUint32(b[packetIDAt:], s.last)
	binary.BigEndian.PutUint32(s.nonce[:], s.last)
	s.aead.Seal(b[bodyAt:bodyAt], s.nonce[:], plain, b[:adLen])
	copy(b[tagAt:bodyAt], b[bodyAt+len(plain):])
	return dst[:end], true
}

func (r *aeadOpener) open(out, b []byte, scratch *[]byte) ([]byte, bool) {
	if len(b) < bodyAt || len(out) < len(b)-bodyAt {
		return nil, false
	}
	id := binary.BigEndian.Uint32(b[packetIDAt:])
	if !r.replay.fresh(id) || r.forged >= forgedLast {
		return nil, false
	}
	copy(r.nonce[:], b[packetIDAt:adLen])

	// Go wants the tag behind the ciphertext. It is put there over what may be
	// the next datagram's head, which is put back afterwards.
	var body []byte
	var saved [tagLen]byte
	inPlace := cap(b)-len(b) >= tagLen
	if inPlace {
		body = b[bodyAt : len(b)+tagLen]
		copy(saved[:], body[len(b)-bodyAt:])
		copy(body[len(b)-bodyAt:], b[tagAt:bodyAt])
	} else {
		*scratch = append(append((*scratch)[:0], b[bodyAt:]...), b[tagAt:bodyAt]...)
		body = *scratch
	}
	plain, err := r.aead.Open(out[:0], r.nonce[:], body, b[:adLen])
	if inPlace {
		copy(body[len(b)-bodyAt:], saved[:])
	}
	if err != nil {
		r.forged++
		return nil, false
	}
	r.replay.accept(id)
	r.usage += blocks(len(plain)) + 1
	return plain, true
}

func (s *aeadSealer) worn() bool {
	return s.last >= packetIDRenew || s.limit > 0 && s.usage > s.limit
}

func (r *aeadOpener) worn() bool {
	return r.forged >= forgedRenew || r.limit > 0 && r.usage > r.limit
}
