package ovpn

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Epoch keys (protocol-flags aead-epoch; RFC draft "epochkeys" and "data_epoch", openvpn's
// crypto_epoch.c). Each direction of a negotiated key is a chain of epochs, and each epoch has a
// data key and an IV of its own. A sender goes on to the next epoch when one is used up or the
// peer is ahead; a receiver keeps one epoch behind the newest that came, and some to come.
//
// Layout of a datagram: head, epoch (16 bits) and counter (48 bits), ciphertext, tag. Head and id
// are the additional data; the nonce is the IV with the id added to its front by XOR.
const (
	epochIDLen    = 8
	epochAD       = packetIDAt + epochIDLen
	epochFuture   = 4      // epochs ahead of the peer's current one that we follow
	epochRenew    = 0xF000 // time for a renegotiation
	epochLast     = 0xFFFF // never go on after this
	epochLastRecv = epochLast - epochFuture - 1
	counterBits   = 48
	counterLast   = 1<<counterBits - 1
)

// epochSecret is one link of the chain.
type epochSecret [sha256.Size]byte

// next is the secret of the epoch after this one.
func (e *epochSecret) next() (n epochSecret) {
	expandLabel(n[:], e, "datakey upd")
	return n
}

// dataKey derives what the epoch encrypts with.
func (e *epochSecret) dataKey(c Cipher) (aead cipher.AEAD, iv [12]byte, err error) {
	var key [sha256.Size]byte
	expandLabel(key[:c.KeySize], e, "data_key")
	expandLabel(iv[:], e, "data_iv")
	aead, err = c.newAEAD(key[:c.KeySize])
	clear(key[:])
	return aead, iv, err
}

// epochLink is what the two directions tell each other, beside their locks.
type epochLink struct {
	wanted atomic.Uint32 // epoch that the sender shall reach, step by step
	sent   atomic.Uint32 // epoch that it sends with
}

type epochSealer struct {
	cipher  Cipher
	secret  epochSecret
	aead    cipher.AEAD
	iv      [12]byte
	nonce   [12]byte
	head    uint32
	epoch   uint16
	counter uint64 // used last
	blocks  uint64
	limit   uint64 // of blocks plus packets; 0 means none
	link    *epochLink
	_       [64]byte
}

// epochKey is the receiving half of one epoch.
type epochKey struct {
	epoch  uint16
	aead   cipher.AEAD
	iv     [12]byte
	blocks uint64
	forged uint64
	replay replayWindow // made when the epoch begins
}

type epochOpener struct {
	cipher  Cipher
	window  replayLimit
	limit   uint64
	secret  epochSecret // of current
	current epochKey
	old     *epochKey // nil: none
	// future are the epochs after current, in order. Most keys never see one, so that each is made when a
	// packet asks for it; nil before.
	future [epochFuture]*epochKey
	nonce  [12]byte
	link   *epochLink
	_      [64]byte
}

// newEpochPair makes both directions of a negotiated key, in epoch 1. The secrets are the first 32 bytes
// of the slots of the key material.
func newEpochPair(id uint8, c Cipher, send, recv []byte, window replayLimit) (*epochSealer, *epochOpener, error) {
	link := &epochLink{}
	s := &epochSealer{cipher: c, head: uint32(wire.Header(wire.DataV2, id)) << 24, epoch: 1, limit: c.limit, link: link}
	copy(s.secret[:], send)
	var err error
	if s.aead, s.iv, err = s.secret.dataKey(c); err != nil {
		return nil, nil, err
	}
	link.sent.Store(1)

	o := &epochOpener{cipher: c, window: window, limit: c.limit, link: link}
	copy(o.secret[:], recv)
	if o.current, err = o.secret.recvKey(c, 1); err != nil {
		return nil, nil, err
	}
	o.current.replay = newReplayWindow(window)
	return s, o, nil
}

func (e *epochSecret) recvKey(c Cipher, epoch uint16) (k epochKey, err error) {
	k.epoch = epoch
	k.aead, k.iv, err = e.dataKey(c)
	return k, err
}

func (s *epochSealer) seal(dst []byte, peerID uint32, plain []byte) ([]byte, bool) {
	if want := s.link.wanted.Load(); want > uint32(s.epoch) {
		// No further than the peer follows, should this be the first packet for long.
		if !s.advance(uint16(min(want, uint32(s.epoch)+epochFuture))) {
			return dst, false
		}
	}
	if s.counter == counterLast || s.limit > 0 && s.blocks+s.counter > s.limit {
		if s.epoch < epochLast && !s.advance(s.epoch+1) || s.counter == counterLast {
			return dst, false
		}
	}
	s.counter++
	s.blocks += blocks(len(plain))
	end := len(dst) + epochAD + len(plain) + tagLen
	b := dst[len(dst):end]
	binary.BigEndian.PutUint32(b, s.head|peerID)
	id := uint64(s.epoch)<<counterBits | s.counter
	binary.BigEndian.PutUint64(b[packetIDAt:], id)
	epochNonce(&s.nonce, &s.iv, id)
	s.aead.Seal(b[epochAD:epochAD], s.nonce[:], plain, b[:epochAD])
	return dst[:end], true
}

func epochNonce(nonce, iv *[12]byte, id uint64) {
	*nonce = *iv
	binary.BigEndian.PutUint64(nonce[:], id^binary.BigEndian.Uint64(iv[:]))
}

// advance goes on to a later epoch. It never goes back: a counter that starts again under the
// same key would break the cipher.
func (s *epochSealer) advance(epoch uint16) bool {
	secret := s.secret
	for e := s.epoch; e < epoch; e++ {
		secret = secret.next()
	}
	aead, iv, err := secret.dataKey(s.cipher)
	if err != nil { // a key length that the cipher itself asked for
		return false
	}
	s.secret, s.aead, s.iv = secret, aead, iv
	s.epoch, s.counter, s.blocks = epoch, 0, 0
	s.link.sent.Store(uint32(epoch))
	return true
}

func (s *epochSealer) worn() bool { return s.epoch >= epochRenew }

func (o *epochOpener) open(b []byte, _ *[]byte) ([]byte, bool) {
	if len(b) < epochAD+tagLen || wire.Opcode(b[0]>>3) != wire.DataV2 {
		return nil, false
	}
	id := binary.BigEndian.Uint64(b[packetIDAt:])
	k, counter := o.find(uint16(id>>counterBits)), id&counterLast
	if k == nil || k.forged >= forgedLast || !k.replay.fresh(counter) {
		return nil, false
	}
	epochNonce(&o.nonce, &k.iv, id)
	plain, err := k.aead.Open(b[epochAD:epochAD], o.nonce[:], b[epochAD:], b[:epochAD])
	if err != nil {
		if k.forged++; k.forged == forgedRenew {
			o.push(k)
		}
		return nil, false
	}
	if k.epoch > o.current.epoch {
		k = o.follow(k)
	}
	k.replay.accept(counter)
	k.blocks += blocks(len(plain))
	if o.limit > 0 && k.blocks+k.replay.top > o.limit {
		o.push(k)
	}
	return plain, true
}

// find returns the key of an epoch that is open; nil for any other.
func (o *epochOpener) find(epoch uint16) *epochKey {
	switch {
	case epoch == 0:
	case epoch == o.current.epoch:
		return &o.current
	case o.old != nil && epoch == o.old.epoch:
		return o.old
	case epoch > o.current.epoch && int(epoch-o.current.epoch) <= len(o.future) && epoch <= epochLastRecv:
		return o.ahead(int(epoch - o.current.epoch))
	}
	return nil
}

// ahead is the key that is some steps after current, at least one and at most epochFuture.
func (o *epochOpener) ahead(steps int) *epochKey {
	if k := o.future[steps-1]; k != nil {
		return k
	}
	secret := o.secretAhead(steps)
	// The error is that of a wrong key length, which the first epoch would have had.
	k, _ := secret.recvKey(o.cipher, o.current.epoch+uint16(steps))
	o.future[steps-1] = &k
	return &k
}

// secretAhead is the link of the chain that is some steps after current's.
func (o *epochOpener) secretAhead(steps int) epochSecret {
	secret := o.secret
	for range steps {
		secret = secret.next()
	}
	return secret
}

// follow makes the key of a future epoch, proven by a packet, the current one. Epochs
// that were passed over are gone.
func (o *epochOpener) follow(k *epochKey) *epochKey {
	steps := int(k.epoch - o.current.epoch)
	was := o.current
	o.old, o.current = &was, *k
	o.current.replay = newReplayWindow(o.window)
	o.current.replay.batch = was.replay.batch // which is not over: packets of this epoch may come late, too
	o.secret = o.secretAhead(steps)
	clear(o.future[copy(o.future[:], o.future[steps:]):])
	o.want(uint32(o.current.epoch))
	return &o.current
}

// push asks our sender for the next epoch, so that the peer follows: its key is used up.
func (o *epochOpener) push(k *epochKey) {
	if k == &o.current && o.link.sent.Load() == uint32(k.epoch) && k.epoch < epochLast {
		o.want(uint32(k.epoch) + 1)
	}
}

// want raises the epoch that the sender shall reach.
func (o *epochOpener) want(epoch uint32) {
	if epoch > o.link.wanted.Load() { // only the opener writes it
		o.link.wanted.Store(epoch)
	}
}

func (o *epochOpener) worn() bool { return o.current.epoch >= epochRenew }

func (o *epochOpener) reap(now time.Time) {
	o.current.replay.reap(now)
	if o.old != nil {
		o.old.replay.reap(now)
	}
}

// expandLabel is HKDF-Expand-Label of RFC 8446, section 7.1, with SHA-256, an empty context, and
// "ovpn " before the label (openvpn's crypto_epoch.c, ovpn_expand_label). out has at most 32 bytes,
// so that one round of HKDF-Expand (RFC 5869) fills it.
func expandLabel(out []byte, secret *epochSecret, label string) {
	var b [64]byte
	info := binary.BigEndian.AppendUint16(b[:0], uint16(len(out)))
	info = append(info, byte(len("ovpn ")+len(label)))
	info = append(append(info, "ovpn "...), label...)
	info = append(info, 0, 1) // no context; the first round
	t := hmacSHA256(secret, info)
	copy(out, t[:])
}

// hmacSHA256 is RFC 2104's HMAC for a short message, on the stack.
func hmacSHA256(key *epochSecret, message []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + 64]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], key[:])
	copy(outer[:], key[:])
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	n := copy(inner[sha256.BlockSize:], message)
	sum := sha256.Sum256(inner[:sha256.BlockSize+n])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

// checkEpoch says why a format cannot have epoch keys.
func checkEpoch(f dataFormat) error {
	if f.v1 {
		return errors.New("epoch keys need peer ids")
	}
	if !f.cipher.AEAD() {
		return fmt.Errorf("epoch keys need an AEAD cipher, not %s", f.cipher.Name)
	}
	return nil
}
