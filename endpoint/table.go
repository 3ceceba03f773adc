package endpoint

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// tableSlots is how many chains a table has: some 5 clients in each when there are 20,000.
const tableSlots = 1 << 12

// table finds peers by what their packets say. get takes no lock and allocates nothing: the chains
// are replaced, never changed. One put or remove at a time. Who chooses a key cannot choose
// its chain: the hash has a random seed.
type table[K comparable] struct {
	seed  maphash.Seed
	bytes func(K) [keyBytes]byte
	slots [tableSlots]atomic.Pointer[link[K]]
}

// link is one entry of a chain. Immutable.
type link[K comparable] struct {
	key  K
	peer *peer
	next *link[K]
}

// keyBytes is an address, a port and a session id.
const keyBytes = 16 + 2 + 8

// newTable makes a table that is hashed by bytes, in which keys may look alike that are not equal.
func newTable[K comparable](bytes func(K) [keyBytes]byte) *table[K] {
	return &table[K]{seed: maphash.MakeSeed(), bytes: bytes}
}

// bytesOfAddr leaves the zone out.
func bytesOfAddr(a netip.AddrPort) (b [keyBytes]byte) {
	*(*[16]byte)(b[:]) = a.Addr().As16()
	binary.NativeEndian.PutUint16(b[16:], a.Port())
	return b
}

func bytesOfSession(k sessionKey) [keyBytes]byte {
	b := bytesOfAddr(k.from)
	*(*wire.SessionID)(b[18:]) = k.client
	return b
}

func (t *table[K]) slot(key K) *atomic.Pointer[link[K]] {
	b := t.bytes(key)
	return &t.slots[maphash.Bytes(t.seed, b[:])%tableSlots]
}

// get is the peer at key, or nil.
func (t *table[K]) get(key K) *peer {
	for l := t.slot(key).Load(); l != nil; l = l.next {
		if l.key == key {
			return l.peer
		}
	}
	return nil
}

// put sets the peer at key.
func (t *table[K]) put(key K, p *peer) {
	slot := t.slot(key)
	slot.Store(&link[K]{key, p, slot.Load().without(key)})
}

// remove forgets the peer at key, if it is p.
func (t *table[K]) remove(key K, p *peer) {
	if t.get(key) == p {
		slot := t.slot(key)
		slot.Store(slot.Load().without(key))
	}
}

// without is the chain from l on, without key.
func (l *link[K]) without(key K) *link[K] {
	switch {
	case l == nil:
		return nil
	case l.key == key:
		return l.next
	}
	return &link[K]{l.key, l.peer, l.next.without(key)}
}
