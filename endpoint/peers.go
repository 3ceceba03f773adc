package endpoint

import (
	"container/list"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Bounds of one endpoint.
const (
	maxPeers    = 16384
	maxHalfOpen = 256
	idSpace     = 1 << 16 // peer ids in use are below; ids are reused as late as possible
)

var (
	errDoorClosed = errors.New("the endpoint is stopping")
	errFull       = errors.New("too many clients")
)

// sessionKey finds a control channel: one address may have an established
// session and, beside it, a new one that has not proved itself.
type sessionKey struct {
	from   netip.AddrPort
	client wire.SessionID
}

// peers finds clients. The data path reads ids and inner without a lock; the rest
// is under mu. Safe for concurrent use.
type peers struct {
	ids   []atomic.Pointer[peer]     // by peer id: established clients only
	inner atomic.Pointer[innerAddrs] // by tunnel address: the same ones

	mu       sync.Mutex
	sessions map[sessionKey]*peer
	taken    map[uint32]bool
	nextID   uint32
	halfOpen list.List // of *peer, oldest first
	closed   bool
	running  sync.WaitGroup // one for each peer that add let in, until remove
}

// innerAddrs is one slot for each address of a client range.
type innerAddrs struct {
	cidr netip.Prefix
	at   []atomic.Pointer[peer]
}

func newPeers(cidr netip.Prefix) *peers {
	p := &peers{ids: make([]atomic.Pointer[peer], idSpace), sessions: map[sessionKey]*peer{}, taken: map[uint32]bool{}}
	p.setRange(cidr)
	return p
}

// setRange changes the client range; the clients of another one are being reset.
func (ps *peers) setRange(cidr netip.Prefix) {
	if in := ps.inner.Load(); in != nil && in.cidr == cidr {
		return
	}
	size := uint32(1) << (32 - cidr.Bits())
	ps.inner.Store(&innerAddrs{cidr: cidr, at: make([]atomic.Pointer[peer], min(size, maxSlices*sliceSize))})
}

// byID is the established peer that sends with id from an address, or nil.
func (ps *peers) byID(id uint32, from netip.AddrPort) *peer {
	if id >= idSpace {
		return nil
	}
	p := ps.ids[id].Load()
	if p == nil || p.key.from != from {
		return nil
	}
	return p
}

// byInner is the peer that a packet to dst belongs to, or nil.
func (ps *peers) byInner(cidr6 netip.Prefix, dst netip.Addr) *peer {
	in := ps.inner.Load()
	cidr := in.cidr
	if dst.Is6() {
		cidr = cidr6
	}
	off, ok := offsetOf(cidr, dst)
	if !ok || off >= uint32(len(in.at)) {
		return nil
	}
	return in.at[off].Load()
}

// session finds a control channel.
func (ps *peers) session(key sessionKey) *peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.sessions[key]
}

// add lets a new peer in: it gets an id, and the oldest handshake makes room
// when there are too many.
func (ps *peers) add(p *peer) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	switch {
	case ps.closed:
		return errDoorClosed
	case len(ps.sessions) >= maxPeers:
		return errFull
	case ps.sessions[p.key] != nil:
		return errors.New("session exists")
	}
	for ps.taken[ps.nextID] {
		ps.nextID = (ps.nextID + 1) % idSpace
	}
	p.id = ps.nextID
	ps.nextID = (ps.nextID + 1) % idSpace
	ps.taken[p.id], ps.sessions[p.key] = true, p
	ps.running.Add(1)
	p.waiting = ps.halfOpen.PushBack(p)
	if ps.halfOpen.Len() > maxHalfOpen {
		oldest := ps.halfOpen.Front()
		ps.halfOpen.Remove(oldest)
		old := oldest.Value.(*peer)
		old.waiting = nil
		old.cancel(errEvicted)
	}
	return nil
}

// established moves p out of the handshakes and returns the sessions from the
// same address that it replaces.
func (ps *peers) established(p *peer) (replaced []*peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.waiting != nil {
		ps.halfOpen.Remove(p.waiting)
		p.waiting = nil
	}
	if p.stream {
		return nil // a TCP connection carries one session
	}
	for key, other := range ps.sessions {
		if key.from == p.key.from && other != p && other.waiting == nil {
			replaced = append(replaced, other)
		}
	}
	return replaced
}

// publish lets packets find p. Its lease must be set.
func (ps *peers) publish(p *peer) {
	in := ps.inner.Load()
	if in.cidr == p.gen.cfg.ClientCIDR {
		in.at[p.lease.offset].Store(p)
	}
	ps.ids[p.id].Store(p)
}

// withdraw undoes publish. Any goroutine.
func (ps *peers) withdraw(p *peer) {
	ps.ids[p.id].CompareAndSwap(p, nil)
	st := p.status.Load()
	if in := ps.inner.Load(); st != nil && in.cidr == p.gen.cfg.ClientCIDR {
		in.at[st.lease.offset].CompareAndSwap(p, nil)
	}
}

// remove forgets p and frees its id. Each peer that add let in is removed once.
func (ps *peers) remove(p *peer) {
	ps.withdraw(p)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.waiting != nil {
		ps.halfOpen.Remove(p.waiting)
		p.waiting = nil
	}
	delete(ps.sessions, p.key)
	delete(ps.taken, p.id)
	ps.running.Done()
}

// closeDoor refuses new peers from now on.
func (ps *peers) closeDoor() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.closed = true
}

// all lists the peers in the order of their ids.
func (ps *peers) all() []*peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	out := make([]*peer, 0, len(ps.sessions))
	for _, p := range ps.sessions {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *peer) int { return int(a.id) - int(b.id) })
	return out
}
