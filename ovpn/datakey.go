package ovpn

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// dataFormat is how the datagrams of a session look; fixed when the keys are.
type dataFormat struct {
	cipher   Cipher
	digest   string // of the HMAC, for ciphers without their own authentication
	epoch    bool   // epoch keys (protocol-flags aead-epoch)
	v1       bool   // send DATA_V1: no peer id; either is understood
	compress string // framing, as Config.Compress
	fragment int    // largest datagram body in bytes; 0 means no fragmentation
	packet   int    // longest packet that decompression and fragments may make, bytes; 0 means any
}

// dataKey is one negotiated key of a Data, both directions. send, recv and frame are
// guarded by Data's sealing and opening locks.
type dataKey struct {
	id     uint8
	format dataFormat
	frame  framer
	opened atomic.Bool // an authentic packet came
	spent  atomic.Bool // a new key is needed

	// Two allocations, so that a sealer and an opener share no cache line.
	send sealer
	recv opener
}

// sealer is the sending half of a key.
type sealer interface {
	// seal appends one datagram to dst, which must have capacity for it and
	// sealSlack more. It is false, and dst unchanged, when the packet ids are used up.
	seal(dst []byte, peerID uint32, plain []byte) ([]byte, bool)
	// worn says whether it asks for a new key.
	worn() bool
}

// opener is the receiving half of a key.
type opener interface {
	// open decrypts b, at least one byte, in place and returns the part of it that is the text; false
	// for what is short, forged or replayed. A replay is refused before the work where the format
	// allows, and recorded only after the proof. scratch is for a b without capacity behind it.
	open(b []byte, scratch *[]byte) ([]byte, bool)
	worn() bool
	// reap forgets late packets; once per batch.
	reap(now time.Time)
}

// Limits of one key (openvpn's crypto.h and packet_id.h).
const (
	packetIDRenew = 0xFF000000      // time for a new key
	packetIDLast  = 1<<32 - 1       // never go on after this
	forgedRenew   = uint64(1) << 35 // failed authentications that ask for a new key
	forgedLast    = uint64(1) << 36 // … and that end the use of this one
)

// sealSlack is the capacity that seal needs behind a datagram: Go puts the tag
// there before it moves to the front.
const sealSlack = tagLen

// newDataKey copies what it needs of km.
func newDataKey(id uint8, f dataFormat, km *keyMaterial, role Role, window replayLimit) (*dataKey, error) {
	key := &dataKey{id: id, format: f}
	var err error
	if key.frame, err = newFramer(f); err != nil {
		return nil, err
	}
	send, recv := 0, 1 // a client's slots
	if role == Server {
		send, recv = 1, 0
	}
	switch {
	case f.cipher.Name == "":
		return nil, errors.New("no data channel cipher")
	case f.epoch:
		if err = checkEpoch(f); err == nil {
			key.send, key.recv, err = newEpochPair(id, f.cipher, km.cipher(send), km.cipher(recv), window)
		}
	case f.cipher.AEAD():
		if key.send, err = newAEADSealer(id, f, km.cipher(send), km.hmac(send)); err == nil {
			key.recv, err = newAEADOpener(f.cipher, km.cipher(recv), km.hmac(recv), window)
		}
	default:
		key.send, key.recv, err = newLegacyPair(id, f, km, send, recv, window)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.cipher.Name, err)
	}
	return key, nil
}

// blocks is how many 16-byte cipher blocks n bytes take.
func blocks(n int) uint64 { return uint64(n+15) / 16 }
