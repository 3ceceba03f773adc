package endpoint

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Bounds of one endpoint.
const (
	maxPeers = 1 << 15 // more than maxSlices has addresses for
	idSpace  = 1 << 16 // peer ids in use are below; ids are reused as late as possible
)

var (
	errDoorClosed = errors.New("the endpoint is stopping")
	errFull       = errors.New("too many clients")
	errGone       = errors.New("the session is ending")
	errLate       = errors.New("it has moved on since that packet came")
	errElse       = errors.New("another client is at that address")
)

// sessionKey finds a control channel: one address may have an established
// session and, beside it, a new one that has not proved itself.
type sessionKey struct {
	from   netip.AddrPort
	client wire.SessionID
}

// peers finds clients. What packets ask for is read without a lock, and changed, like
// the rest, under mu. Safe for concurrent use.
type peers struct {
	ids      []atomic.Pointer[peer]     // by peer id: established clients only
	inner    atomic.Pointer[innerAddrs] // by tunnel address: the same ones
	sessions *table[sessionKey]
	byAddr   *table[netip.AddrPort] // established clients on UDP

	mu       sync.Mutex
	taken    map[uint32]*peer   // by peer id: all
	named    map[string][]*peer // by the name of the identity: established clients
	nextID   uint32
	sources  sources
	halfOpen halfOpen
	closed   bool
	running  sync.WaitGroup // one for each peer that add let in, until remove
}

// innerAddrs is one slot for each address of a client range.
type innerAddrs struct {
	cidr netip.Prefix
	at   []atomic.Pointer[peer]
}

func newPeers(cidr netip.Prefix) *peers {
	p := &peers{ids: make([]atomic.Pointer[peer], idSpace), sessions: newTable(bytesOfSession),
		byAddr: newTable(bytesOfAddr), taken: map[uint32]*peer{}, named: map[string][]*peer{}, sources: newSources(), halfOpen: newHalfOpen()}
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

// byID is the established peer that sends with id, or nil. Whether it sends from
// where it is remains to be checked.
func (ps *peers) byID(id uint32) *peer {
	if id >= idSpace {
		return nil
	}
	return ps.ids[id].Load()
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

// at is the established peer at an address, or nil: for packets that name none.
func (ps *peers) at(from netip.AddrPort) *peer {
	if p := ps.byAddr.get(from); p != nil && ps.byID(p.id) == p {
		return p
	}
	return nil
}

// session finds a control channel.
func (ps *peers) session(key sessionKey) *peer { return ps.sessions.get(key) }

// add lets a new peer in: it gets an id. When there are too many handshakes, others may have to make room.
func (ps *peers) add(now time.Time, p *peer) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	switch {
	case ps.closed:
		return errDoorClosed
	case len(ps.taken) >= maxPeers:
		return errFull
	case ps.sessions.get(p.key) != nil:
		return errors.New("session exists")
	}
	if err := ps.sources.arrive(now, p.source, p.gen.Load().cfg.ConnectFreq); err != nil {
		return err
	}
	if err := ps.halfOpen.add(now, p, evict); err != nil {
		return err
	}
	for ps.taken[ps.nextID] != nil {
		ps.nextID = (ps.nextID + 1) % idSpace
	}
	p.id = ps.nextID
	ps.nextID = (ps.nextID + 1) % idSpace
	ps.taken[p.id] = p
	ps.sessions.put(p.key, p)
	ps.running.Add(1)
	return nil
}

// evict ends a handshake that made room for another one.
func evict(p *peer) { p.cancel(errEvicted) }

// works says that p's handshake waits for the endpoint from now on.
func (ps *peers) works(now time.Time, p *peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.halfOpen.work(now, p)
}

// waits says that p's handshake waits for its client from now on, which has gone on before, or only sent packets.
func (ps *peers) waits(now time.Time, p *peer, progress bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.halfOpen.wait(now, p, progress, evict)
}

// settled says that p's handshake waits for the endpoint alone.
func (ps *peers) settled(p *peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.halfOpen.remove(p)
}

// established moves p out of the handshakes and returns the session from the
// same address that it replaces, or nil.
func (ps *peers) established(p *peer) (replaced *peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.halfOpen.remove(p)
	name := p.status.Load().identity.Name()
	ps.named[name] = append(ps.named[name], p)
	if p.stream {
		return nil // a TCP connection carries one session
	}
	replaced = ps.byAddr.get(p.key.from)
	ps.byAddr.put(p.key.from, p)
	return replaced
}

// move makes p's client be at another address, where its control packets are
// accepted from now on too. A packet from its last place that another socket had read before, and opens only
// now, does not take it back; one that waited unread in that socket does, until the client's next packet. A session that p's client may have left there is
// replaced: of the same machine or token, or of the same name and silent. Another one is left alone, and p stays where it was.
func (ps *peers) move(p *peer, to *path) (replaced *peer, err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := sessionKey{from: to.from, client: p.key.client}
	there := ps.byAddr.get(to.from)
	switch st := p.status.Load(); {
	case ps.ids[p.id].Load() != p || st == nil:
		return nil, errGone
	case to.since.Before(p.path.Load().since):
		return nil, errLate
	case there == p: // another listener was faster, or another address of ours was asked
		p.path.Store(to)
		return nil, nil
	case there != nil && !p.left(there, to.since):
		return nil, errElse
	case ps.sessions.get(key) != nil:
		return nil, errElse
	}
	// The new place comes first: there is no moment when packets find nobody.
	old := p.key
	p.key = key
	ps.sessions.put(key, p)
	ps.byAddr.put(to.from, p)
	p.path.Store(to)
	ps.sessions.remove(old, p)
	ps.byAddr.remove(old.from, p)
	return there, nil
}

// publish lets packets find p. Its lease must be set.
func (ps *peers) publish(p *peer) {
	in := ps.inner.Load()
	if in.cidr == p.gen.Load().cfg.ClientCIDR {
		in.at[p.lease.offset].Store(p)
	}
	ps.ids[p.id].Store(p)
}

// withdraw undoes publish. Any goroutine.
func (ps *peers) withdraw(p *peer) {
	ps.ids[p.id].CompareAndSwap(p, nil)
	st := p.status.Load()
	if in := ps.inner.Load(); st != nil && in.cidr == p.gen.Load().cfg.ClientCIDR {
		in.at[st.lease.offset].CompareAndSwap(p, nil)
	}
}

// measure fits p's path to its keys, now that it has them.
func (ps *peers) measure(p *peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	at := p.path.Load()
	p.path.Store(p.fit(*at))
}

// remove forgets p and frees its id. Each peer that add let in is removed once.
func (ps *peers) remove(p *peer) {
	ps.withdraw(p)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.halfOpen.remove(p)
	ps.sessions.remove(p.key, p)
	ps.byAddr.remove(p.key.from, p)
	delete(ps.taken, p.id)
	if st := p.status.Load(); st != nil {
		name := st.identity.Name()
		list := slices.DeleteFunc(ps.named[name], func(q *peer) bool { return q == p })
		if ps.named[name] = list; len(list) == 0 {
			delete(ps.named, name)
		}
	}
	ps.running.Done()
}

// closeDoor refuses new peers from now on.
func (ps *peers) closeDoor() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.closed = true
}

// namesakes lists the established clients with one name, in the order in which they became that.
func (ps *peers) namesakes(name string) []*peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return slices.Clone(ps.named[name])
}

// all lists the peers in the order of their ids.
func (ps *peers) all() []*peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	out := make([]*peer, 0, len(ps.taken))
	for _, p := range ps.taken {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *peer) int { return int(a.id) - int(b.id) })
	return out
}
