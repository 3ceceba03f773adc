package ovpn

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync/atomic"

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

	// sealSlack is the capacity that seal needs behind a datagram: Go puts the tag
	// there before it moves to the front.
	sealSlack = tagLen
)

// Limits of one key (openvpn's crypto.h and packet_id.h).
const (
	packetIDRenew = 0xFF000000      // time for a new key
	packetIDLast  = 1<<32 - 1       // never go on after this
	forgedRenew   = uint64(1) << 35 // failed authentications that ask for a new key
	forgedLast    = uint64(1) << 36 // … and that end the use of this one
)

// dataKey is one negotiated key of a Data, both directions. seal and open are
// guarded by Data's sealing and opening locks.
type dataKey struct {
	id     uint8
	limit  uint64      // of blocks plus packets that ask for a new key; 0 means none
	opened atomic.Bool // an authentic packet came
	spent  atomic.Bool // a new key is needed

	// Two allocations, so that a sealer and an opener share no cache line.
	send *sendState
	recv *recvState
}

type sendState struct {
	aead  cipher.AEAD
	nonce [12]byte // packet id, implicit IV
	last  uint32   // packet id used last
	usage uint64   // blocks plus packets
	_     [64]byte
}

type recvState struct {
	aead   cipher.AEAD
	nonce  [12]byte
	replay replayWindow
	usage  uint64
	forged uint64
	_      [64]byte
}

// newDataKey copies what it needs of km.
func newDataKey(id uint8, c Cipher, km *keyMaterial, role Role, window int) (*dataKey, error) {
	if c.newAEAD == nil {
		return nil, fmt.Errorf("no data channel cipher")
	}
	sendSlot, recvSlot := 0, 1 // a client's
	if role == Server {
		sendSlot, recvSlot = 1, 0
	}
	send := &sendState{}
	recv := &recvState{replay: newReplayWindow(window)}
	var err error
	if send.aead, err = c.newAEAD(km.cipher(sendSlot)[:c.KeySize]); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if recv.aead, err = c.newAEAD(km.cipher(recvSlot)[:c.KeySize]); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	copy(send.nonce[4:], km.hmac(sendSlot))
	copy(recv.nonce[4:], km.hmac(recvSlot))
	// Ask at 7/8, so that the limit itself is not passed while the peer is slow.
	return &dataKey{id: id, limit: c.limit / 8 * 7, send: send, recv: recv}, nil
}

// seal appends one datagram to dst, which must have capacity for it and
// sealSlack more. It is false, and dst unchanged, when the packet ids are used up.
func (k *dataKey) seal(dst []byte, peerID uint32, plain []byte) ([]byte, bool) {
	s := k.send
	if s.last == packetIDLast {
		return dst, false
	}
	s.last++
	s.usage += blocks(len(plain)) + 1
	end := len(dst) + bodyAt + len(plain)
	b := dst[len(dst) : end+sealSlack]
	binary.BigEndian.PutUint32(b, uint32(wire.Header(wire.DataV2, k.id))<<24|peerID)
	binary.BigEndian.PutUint32(b[packetIDAt:], s.last)
	binary.BigEndian.PutUint32(s.nonce[:], s.last)
	s.aead.Seal(b[bodyAt:bodyAt], s.nonce[:], plain, b[:adLen])
	copy(b[tagAt:bodyAt], b[bodyAt+len(plain):])
	return dst[:end], true
}

// open decrypts b, of at least bodyAt bytes, to the front of out, which is long
// enough for its body. A replay is refused before the work, and recorded only
// after the proof. scratch is for a b without capacity behind it.
func (k *dataKey) open(out, b []byte, scratch *[]byte) ([]byte, bool) {
	r := k.recv
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
	if !k.opened.Load() {
		k.opened.Store(true)
	}
	return plain, true
}

// sendWorn and recvWorn say whether a direction asks for a new key.
func (k *dataKey) sendWorn() bool {
	return k.send.last >= packetIDRenew || k.limit > 0 && k.send.usage > k.limit
}

func (k *dataKey) recvWorn() bool {
	return k.recv.forged >= forgedRenew || k.limit > 0 && k.recv.usage > k.limit
}

// blocks is how many 16-byte cipher blocks n bytes take.
func blocks(n int) uint64 { return uint64(n+15) / 16 }
