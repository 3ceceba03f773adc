package endpoint

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
)

// pool hands out the client addresses. The client range is cut into /27 slices,
// dealt to the associations in turn, as AWS does: the first host of a slice is its
// gateway, the others are clients'. With topology net30 a slice is seven pairs behind
// the gateway's, each the client's address after the one that it sees as its peer. New clients go to the associations in turn. An
// address that was given back is used again as late as possible. Safe for concurrent use.
type pool struct {
	cidr     netip.Prefix
	cidr6    netip.Prefix // invalid: none
	topology string

	mu     sync.Mutex
	groups []group        // one per association
	had    map[string]int // how many free addresses a name had last: most clients had none
	next   int
}

// group is the addresses of one association.
type group struct {
	slices []uint32 // index of the slice in the range, in order
	fresh  int      // leases never given out start at this host of the group
	free   []freed  // given back, oldest first
}

// freed is an address that somebody had.
type freed struct {
	offset uint32 // in the client range
	name   string
}

// lease is one client's addresses.
type lease struct {
	Addr, Gateway   netip.Prefix // with the slice's length
	Addr6, Gateway6 netip.Prefix // invalid: none
	Peer            netip.Addr   // net30 and p2p: the other end of the link; invalid with subnet
	association     int
	offset          uint32 // of Addr in the client range
}

const (
	sliceSize    = 1 << (32 - sliceBits)
	sliceClients = sliceSize - 3 // without network, gateway and broadcast
	pairSize     = 4             // of net30: network, peer, client, broadcast
	slicePairs   = sliceSize/pairSize - 1
	maxSlices    = 1024 // enough for maxPeers; the rest of a large range is never used
)

// The reasons why there is no address, as the client reads them.
var (
	errPoolExhausted = errors.New("no free address: the endpoint's client range is used up")
	errNoNetwork     = errors.New("the endpoint has no associated network")
)

func newPool(cidr, cidr6 netip.Prefix, associations int, topology string) *pool {
	p := &pool{cidr: cidr, cidr6: cidr6, topology: topology, groups: make([]group, associations), had: map[string]int{}}
	if associations == 0 {
		return p
	}
	for i := range min(maxSlices, uint32(1)<<(sliceBits-cidr.Bits())) {
		g := &p.groups[int(i)%associations]
		g.slices = append(g.slices, i)
	}
	return p
}

// lease takes the address that name gave back last, if nobody had it since (openvpn's
// ifconfig-pool-persist), else one of the association whose turn it is, or of the next one
// that has any.
func (p *pool) lease(name string) (lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.groups) == 0 {
		return lease{}, errNoNetwork
	}
	for i := range p.groups {
		if p.had[name] == 0 {
			break
		}
		free := p.groups[i].free
		for k := len(free) - 1; k >= 0; k-- {
			if off := free[k].offset; free[k].name == name {
				p.groups[i].free = slices.Delete(free, k, k+1)
				p.forget(name)
				return p.at(i, off), nil
			}
		}
	}
	for range p.groups {
		i := p.next
		p.next = (p.next + 1) % len(p.groups)
		if off, ok := p.groups[i].take(p.topology, p.forget); ok {
			return p.at(i, off), nil
		}
	}
	return lease{}, errPoolExhausted
}

// forget counts one free address less that name had.
func (p *pool) forget(name string) {
	if p.had[name]--; p.had[name] == 0 {
		delete(p.had, name)
	}
}

// take gives out one address; forget hears whose it was, if it was somebody's.
func (g *group) take(topology string, forget func(name string)) (uint32, bool) {
	perSlice, first, step := sliceClients, 2, 1
	if topology == "net30" {
		perSlice, first, step = slicePairs, pairSize+2, pairSize
	}
	if slice := g.fresh / perSlice; slice < len(g.slices) {
		off := g.slices[slice]*sliceSize + uint32(first+step*(g.fresh%perSlice))
		g.fresh++
		return off, true
	}
	if len(g.free) > 0 {
		off := g.free[0].offset
		forget(g.free[0].name)
		g.free = g.free[1:]
		return off, true
	}
	return 0, false
}

func (p *pool) at(association int, off uint32) lease {
	l := lease{association: association, offset: off}
	l.Addr = netip.PrefixFrom(add(p.cidr.Addr(), off), sliceBits)
	l.Gateway = netip.PrefixFrom(add(p.cidr.Addr(), off&^(sliceSize-1)+1), sliceBits)
	switch p.topology {
	case "net30":
		l.Peer = add(p.cidr.Addr(), off-1)
	case "p2p":
		l.Peer = l.Gateway.Addr()
	}
	if p.cidr6.IsValid() {
		bits := 128 - 32 + sliceBits // slices of the same shape
		l.Addr6 = netip.PrefixFrom(add(p.cidr6.Addr(), off), bits)
		l.Gateway6 = netip.PrefixFrom(add(p.cidr6.Addr(), off&^(sliceSize-1)+1), bits)
	}
	return l
}

// release gives back a lease that name had. Each lease is released once.
func (p *pool) release(l lease, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := &p.groups[l.association]
	g.free = append(g.free, freed{l.offset, name})
	p.had[name]++
}

// slices lists the parts of the client ranges that association i serves, and the
// gateways in them.
func (p *pool) slices(i int) (parts, gateways []netip.Prefix) {
	for _, s := range p.groups[i].slices {
		l := p.at(i, s*sliceSize)
		parts, gateways = append(parts, l.Addr.Masked()), append(gateways, l.Gateway)
		if l.Addr6.IsValid() {
			parts, gateways = append(parts, l.Addr6.Masked()), append(gateways, l.Gateway6)
		}
	}
	return parts, gateways
}

// add returns a plus n. The caller knows that it does not overflow.
func add(a netip.Addr, n uint32) netip.Addr {
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n)
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	binary.BigEndian.PutUint32(b[12:], binary.BigEndian.Uint32(b[12:])+n)
	return netip.AddrFrom16(b)
}

// offsetOf is the inverse of add: where in the client range a is. Offsets are the
// same in both families, so that one array of peers serves both.
func offsetOf(cidr netip.Prefix, a netip.Addr) (uint32, bool) {
	if !cidr.Contains(a) {
		return 0, false
	}
	if a.Is4() {
		x, base := a.As4(), cidr.Addr().As4()
		return binary.BigEndian.Uint32(x[:]) - binary.BigEndian.Uint32(base[:]), true
	}
	x, base := a.As16(), cidr.Addr().As16()
	for i := cidr.Bits() / 8; i < 12; i++ { // beyond the last 32 bits nobody lives
		if x[i] != base[i] {
			return 0, false
		}
	}
	return binary.BigEndian.Uint32(x[12:]) - binary.BigEndian.Uint32(base[12:]), true
}
