package ovpn

import (
	"crypto/cipher"
	"encoding/binary"
	"time"
)

// Layout of a datagram with an AEAD cipher (RFC draft "dataaead"): head (opcode/key id,
// in DATA_V2 the peer id), packet id, tag, ciphertext. The packet id, with the whole head in
// DATA_V2, is the additional data; the nonce is the packet id and an implicit IV.
const (
	packetIDAt = 4 // in DATA_V2
	tagLen     = 16
	bodyAt     = packetIDAt + 4 + tagLen
)

type aeadSealer struct {
	aead  cipher.AEAD
	head  uint32 // opcode and key id
	v1    bool
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

func newAEADSealer(id uint8, f dataFormat, key, iv []byte) (*aeadSealer, error) {
	aead, err := f.cipher.newAEAD(key[:f.cipher.KeySize])
	if err != nil {
		return nil, err
	}
	s := &aeadSealer{aead: aead, head: dataHead(id, f.v1), v1: f.v1, limit: usageLimit(f.cipher)}
	copy(s.nonce[4:], iv)
	return s, nil
}

func newAEADOpener(c Cipher, key, iv []byte, window replayLimit) (*aeadOpener, error) {
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
	b := dst[len(dst) : len(dst)+bodyAt+len(plain)+sealSlack]
	idAt := putHead(b, s.head, s.v1, peerID)
	tagAt := idAt + 4
	ad := b[:tagAt]
	if s.v1 {
		ad = b[idAt:tagAt]
	}
	binary.BigEndian.PutUint32(b[idAt:], s.last)
	binary.BigEndian.PutUint32(s.nonce[:], s.last)
	body := b[tagAt+tagLen:]
	s.aead.Seal(body[:0], s.nonce[:], plain, ad)
	copy(b[tagAt:tagAt+tagLen], body[len(plain):])
	return dst[:len(dst)+tagAt+tagLen+len(plain)], true
}

func (r *aeadOpener) open(b []byte, scratch *[]byte) ([]byte, bool) {
	idAt, adAt := headLen(b), 0
	if idAt == 1 {
		adAt = 1
	}
	bodyAt := idAt + 4 + tagLen
	if idAt == 0 || len(b) < bodyAt {
		return nil, false
	}
	id := binary.BigEndian.Uint32(b[idAt:])
	if !r.replay.fresh(uint64(id)) || r.forged >= forgedLast {
		return nil, false
	}
	tagAt := idAt + 4
	ad := b[adAt:tagAt]
	copy(r.nonce[:], b[idAt:tagAt])

	// Go wants the tag behind the ciphertext. It is put there over what may be
	// the next datagram's head, which is put back afterwards.
	text := b[bodyAt:]
	var plain []byte
	var err error
	if cap(b)-len(b) >= tagLen {
		body := b[bodyAt : len(b)+tagLen]
		behind := body[len(text):]
		saved := [tagLen]byte(behind)
		copy(behind, b[tagAt:bodyAt])
		plain, err = r.aead.Open(text[:0], r.nonce[:], body, ad)
		copy(behind, saved[:])
	} else {
		*scratch = append(append((*scratch)[:0], text...), b[tagAt:bodyAt]...)
		plain, err = r.aead.Open((*scratch)[:0], r.nonce[:], *scratch, ad)
		plain = text[:copy(text, plain)]
	}
	if err != nil {
		r.forged++
		return nil, false
	}
	r.replay.accept(uint64(id))
	r.usage += blocks(len(plain)) + 1
	return plain, true
}

func (s *aeadSealer) worn() bool {
	return s.last >= packetIDRenew || s.limit > 0 && s.usage > s.limit
}

func (r *aeadOpener) worn() bool {
	return r.forged >= forgedRenew || r.limit > 0 && r.usage > r.limit
}

func (r *aeadOpener) reap(now time.Time) { r.replay.reap(now) }
