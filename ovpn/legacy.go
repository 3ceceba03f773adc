package ovpn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Ciphers without their own authentication (RFC draft "datacbc", openvpn's crypto.c,
// openvpn_encrypt_v1). Layout of a datagram: head, HMAC of all that follows, IV, ciphertext. The
// head is not authenticated. The packet id is where the mode can hide it:
//
//	CBC       random IV; packet id, packet and padding are encrypted
//	CFB, OFB  the IV is the packet id, a time and zeros
//	none      no IV; the packet id stands before the packet
const maxMAC = 64 // SHA512

// blockMode is how a cipher without authentication chains its blocks.
type blockMode uint8

const (
	modeNone blockMode = iota
	modeCBC
	modeCFB
	modeOFB
)

// idTime is the time in the IVs of CFB and OFB. A packet id never starts again under one key, so
// that it may be any constant; peers refuse only one that goes back.
const idTime = 1

type legacySealer struct {
	mode   blockMode
	block  cipher.Block // nil for mode none
	cbc    cbcMode
	mac    hash.Hash // nil for none
	ivs    ivSource
	chain  [aes.BlockSize]byte
	head   uint32
	v1     bool
	last   uint32 // packet id used last
	blocks uint64
	limit  uint64 // of blocks that asks for a new key; 0 means none
	_      [64]byte
}

type legacyOpener struct {
	mode   blockMode
	block  cipher.Block
	cbc    cbcMode
	mac    hash.Hash
	sum    [maxMAC]byte
	chain  [aes.BlockSize]byte
	replay replayWindow
	time   uint32 // of the packet ids; CFB and OFB
	blocks uint64
	limit  uint64
	_      [64]byte
}

// cbcMode is a CBC mode that starts again with another IV, as crypto/cipher's do.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

// newLegacyPair makes both directions of a negotiated key out of the slots of the key material.
func newLegacyPair(id uint8, f dataFormat, km *keyMaterial, send, recv int, window replayLimit) (*legacySealer, *legacyOpener, error) {
	newHash, err := newDigest(f.digest)
	if err != nil {
		return nil, nil, err
	}
	s := &legacySealer{mode: f.cipher.mode, head: dataHead(id, f.v1), v1: f.v1, limit: f.cipher.limit}
	o := &legacyOpener{mode: f.cipher.mode, replay: newReplayWindow(window), limit: f.cipher.limit}
	if newHash != nil {
		n := newHash().Size()
		s.mac, o.mac = hmac.New(newHash, km.hmac(send)[:n]), hmac.New(newHash, km.hmac(recv)[:n])
	}
	if s.mode == modeNone {
		return s, o, nil
	}
	if s.block, err = f.cipher.newBlock(km.cipher(send)[:f.cipher.KeySize]); err != nil {
		return nil, nil, err
	}
	if o.block, err = f.cipher.newBlock(km.cipher(recv)[:f.cipher.KeySize]); err != nil {
		return nil, nil, err
	}
	if s.mode == modeCBC {
		if s.ivs, err = newIVSource(); err != nil {
			return nil, nil, err
		}
		zero := make([]byte, s.block.BlockSize())
		s.cbc = cipher.NewCBCEncrypter(s.block, zero).(cbcMode)
		o.cbc = cipher.NewCBCDecrypter(o.block, zero).(cbcMode)
	}
	return s, o, nil
}

// dataHead is the first bytes of a datagram, without the peer id.
func dataHead(id uint8, v1 bool) uint32 {
	op := wire.DataV2
	if v1 {
		op = wire.DataV1
	}
	return uint32(wire.Header(op, id)) << 24
}

// putHead writes the head to b and returns its length.
func putHead(b []byte, head uint32, v1 bool, peerID uint32) int {
	if v1 {
		b[0] = byte(head >> 24)
		return 1
	}
	binary.BigEndian.PutUint32(b, head|peerID)
	return 4
}

// headLen is the length of the head of b, a data packet; 0 when b is shorter.
func headLen(b []byte) int {
	n := 4
	if wire.Opcode(b[0]>>3) == wire.DataV1 {
		n = 1
	}
	if len(b) < n {
		return 0
	}
	return n
}

func (s *legacySealer) seal(dst []byte, peerID uint32, plain []byte) ([]byte, bool) {
	if s.last == packetIDLast {
		return dst, false
	}
	s.last++
	b := dst[len(dst):cap(dst)]
	at := putHead(b, s.head, s.v1, peerID)
	macAt := at
	if s.mac != nil {
		at += s.mac.Size()
	}
	body := at // HMAC begins here
	switch s.mode {
	case modeNone:
		binary.BigEndian.PutUint32(b[at:], s.last)
		at += 4
		at += copy(b[at:], plain)
	case modeCBC:
		size := s.block.BlockSize()
		s.ivs.next(b[at : at+size])
		s.cbc.SetIV(b[at : at+size])
		at += size
		text := at
		binary.BigEndian.PutUint32(b[at:], s.last)
		at += 4
		at += copy(b[at:], plain)
		pad := size - (at-text)%size
		for range pad {
			b[at] = byte(pad)
			at++
		}
		s.cbc.CryptBlocks(b[text:at], b[text:at])
		s.blocks += uint64((at - text) / size)
	default:
		size := s.block.BlockSize()
		iv := b[at : at+size]
		clear(iv)
		binary.BigEndian.PutUint32(iv, s.last)
		binary.BigEndian.PutUint32(iv[4:], idTime)
		at += size
		s.blocks += s.stream(b[at:at+len(plain)], plain, iv)
		at += len(plain)
	}
	if s.mac != nil {
		s.mac.Reset()
		s.mac.Write(b[body:at])
		s.mac.Sum(b[macAt:macAt])
	}
	return dst[:len(dst)+at], true
}

// stream encrypts with CFB or OFB and returns the number of blocks.
func (s *legacySealer) stream(dst, src, iv []byte) uint64 {
	size := len(iv)
	key := s.chain[:size]
	n := uint64(0)
	copy(key, iv)
	for ; len(src) > 0; n++ {
		s.block.Encrypt(key, key)
		k := subtle.XORBytes(dst, src, key)
		if s.mode == modeCFB {
			copy(key, dst[:k])
		}
		dst, src = dst[k:], src[k:]
	}
	return n
}

func (s *legacySealer) worn() bool {
	return s.last >= packetIDRenew || s.limit > 0 && s.blocks > s.limit
}

func (o *legacyOpener) open(b []byte, _ *[]byte) ([]byte, bool) {
	n := headLen(b)
	if n == 0 {
		return nil, false
	}
	b = b[n:]
	if o.mac != nil {
		size := o.mac.Size()
		if len(b) < size {
			return nil, false
		}
		o.mac.Reset()
		o.mac.Write(b[size:])
		if subtle.ConstantTimeCompare(o.mac.Sum(o.sum[:0]), b[:size]) != 1 {
			return nil, false
		}
		b = b[size:]
	}
	var id, time uint32
	switch o.mode {
	case modeNone:
		if len(b) < 4 {
			return nil, false
		}
		id, b = binary.BigEndian.Uint32(b), b[4:]
	case modeCBC:
		size := o.block.BlockSize()
		if len(b) < 2*size || len(b)%size != 0 {
			return nil, false
		}
		o.cbc.SetIV(b[:size])
		b = b[size:]
		o.cbc.CryptBlocks(b, b)
		o.blocks += uint64(len(b) / size)
		pad := int(b[len(b)-1])
		if pad == 0 || pad > size || pad > len(b)-4 {
			return nil, false
		}
		for _, p := range b[len(b)-pad:] {
			if int(p) != pad {
				return nil, false
			}
		}
		id, b = binary.BigEndian.Uint32(b), b[4:len(b)-pad]
	default:
		size := o.block.BlockSize()
		if len(b) < size {
			return nil, false
		}
		iv := b[:size]
		b = b[size:]
		id, time = binary.BigEndian.Uint32(iv), binary.BigEndian.Uint32(iv[4:])
		if time < o.time {
			return nil, false
		}
		if time == o.time && !o.replay.fresh(uint64(id)) {
			return nil, false
		}
		o.blocks += o.stream(b, iv)
	}
	if time > o.time {
		o.time = time
		o.replay.restart()
	}
	if !o.replay.accept(uint64(id)) {
		return nil, false
	}
	return b, true
}

// stream decrypts in place with CFB or OFB and returns the number of blocks.
func (o *legacyOpener) stream(b, iv []byte) uint64 {
	size := len(iv)
	key := o.chain[:size]
	var cipherText [aes.BlockSize]byte
	n := uint64(0)
	copy(key, iv)
	for ; len(b) > 0; n++ {
		o.block.Encrypt(key, key)
		k := copy(cipherText[:size], b)
		subtle.XORBytes(b, b, key)
		if o.mode == modeCFB {
			copy(key, cipherText[:k])
		}
		b = b[k:]
	}
	return n
}

func (o *legacyOpener) worn() bool { return o.limit > 0 && o.blocks > o.limit }

func (o *legacyOpener) reap(now time.Time) { o.replay.reap(now) }

// ivSource gives IVs that nobody can foresee: a counter under a secret key of its
// own (NIST SP 800-38A, appendix C). It makes no system call per packet.
type ivSource struct {
	block   cipher.Block
	counter uint64
	out     [aes.BlockSize]byte
}

func newIVSource() (ivSource, error) {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	return ivSource{block: block}, err
}

// next fills iv, of at most 16 bytes.
func (s *ivSource) next(iv []byte) {
	s.counter++
	clear(s.out[:])
	binary.BigEndian.PutUint64(s.out[:], s.counter)
	s.block.Encrypt(s.out[:], s.out[:])
	copy(iv, s.out[:])
}
