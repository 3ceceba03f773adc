package endpoint

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
)

// pool hands out the client addresses. The client range is cut into /27 slices: the first host of a slice is its
// gateway, the others are clients'. With topology net30 a slice is seven pairs behind
// the gateway's, each the client's address after the one that it sees as its peer. Which association
// serves which slice is a layout's matter, and changes without the clients of the others noticing.
//
// An association begins another slice only when less than half a slice of its others is free, so that there are slices for
// associations that come later. An address that was given back is used again as late as that allows. Safe for concurrent use.
type pool struct {
	cidr     netip.Prefix
	cidr6    netip.Prefix // invalid: none
	topology string

	mu       sync.Mutex
	slices   []slice
	had      map[string][]uint32 // free addresses by the name that had them last, the latest at the end
	releases uint64
	next     uint // whose turn it is, counted over all associations
}

// slice is the leases of one slice.
type slice struct {
	fresh int     // leases never given out start here
	held  int     // by clients
	free  []freed // given back, oldest first
}

// freed is an address that somebody had.
type freed struct {
	offset uint32 // in the client range
	name   string
	when   uint64 // in releases
}

// lease is one client's addresses.
type lease struct {
	Addr, Gateway   netip.Prefix // with the slice's length
	Addr6, Gateway6 netip.Prefix // invalid: none
	Peer            netip.Addr   // net30 and p2p: the other end of the link; invalid with subnet
	association     string       // its subnet
	offset          uint32       // of Addr in the client range
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

func newPool(cidr, cidr6 netip.Prefix, topology string) *pool {
	return &pool{cidr: cidr, cidr6: cidr6, topology: topology, had: map[string][]uint32{},
		slices: make([]slice, min(maxSlices, uint32(1)<<(sliceBits-cidr.Bits())))}
}

// layout says which association serves which slice. It is immutable.
type layout struct {
	associations []string         // their subnets, in the order of the configuration
	owner        []string         // by slice; "": nobody
	slices       map[string][]int // by association, in order
}

// serves says whether a lease is still that of its association.
func (l *layout) serves(have lease) bool {
	return have.association != "" && l.owner[have.offset/sliceSize] == have.association
}

// deal makes a layout for associations. Those that are in before, the layout in force (nil: none), keep their slices,
// but give slices without a client to those that have fewer than their share.
func (p *pool) deal(before *layout, associations []string) *layout {
	l := &layout{associations: associations, owner: make([]string, len(p.slices)), slices: map[string][]int{}}
	if len(associations) == 0 {
		return l
	}
	count, left := map[string]int{}, 0
	for i := range l.owner {
		if before != nil && slices.Contains(associations, before.owner[i]) {
			l.owner[i] = before.owner[i]
			count[l.owner[i]]++
		} else {
			left++
		}
	}
	share, missing := len(p.slices)/len(associations), 0
	for _, a := range associations {
		missing += max(share-count[a], 0)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// The last slices go first: the others have those that clients had before.
	for i := len(l.owner) - 1; i >= 0 && left < missing; i-- {
		if a := l.owner[i]; a != "" && count[a] > share && p.slices[i].held == 0 {
			l.owner[i] = ""
			count[a]--
			left++
		}
	}
	for i, a := range l.owner {
		if a == "" {
			a = associations[0]
			for _, other := range associations[1:] {
				if count[other] < count[a] {
					a = other
				}
			}
			l.owner[i] = a
			count[a]++
		}
		l.slices[a] = append(l.slices[a], i)
	}
	return l
}

// lease takes the address that name gave back last, if nobody had it since (openvpn's
// ifconfig-pool-persist), else one of the association whose turn it is, or of the next one
// that has any. Associations that are lost give none.
func (p *pool) lease(l *layout, lost map[string]bool, name string) (lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(l.associations) == 0 {
		return lease{}, errNoNetwork
	}
	for _, off := range slices.Backward(p.had[name]) {
		if s := off / sliceSize; !lost[l.owner[s]] {
			i := slices.IndexFunc(p.slices[s].free, func(f freed) bool { return f.offset == off })
			return p.at(l, p.again(int(s), i)), nil
		}
	}
	for range l.associations {
		a := l.associations[p.next%uint(len(l.associations))]
		p.next++
		if lost[a] {
			continue
		}
		if off, ok := p.take(l.slices[a]); ok {
			return p.at(l, off), nil
		}
	}
	return lease{}, errPoolExhausted
}

// take gives out one address of some slices.
func (p *pool) take(of []int) (uint32, bool) {
	perSlice, first, step := sliceClients, 2, 1
	if p.topology == "net30" {
		perSlice, first, step = slicePairs, pairSize+2, pairSize
	}
	begun, untouched, oldest, room := -1, -1, -1, 0
	for _, i := range of {
		s := &p.slices[i]
		if s.fresh == 0 {
			if untouched < 0 {
				untouched = i
			}
			continue
		}
		room += len(s.free)
		if s.fresh < perSlice && begun < 0 {
			begun = i
		}
		if len(s.free) > 0 && (oldest < 0 || s.free[0].when < p.slices[oldest].free[0].when) {
			oldest = i
		}
	}
	if begun < 0 && room < perSlice/2 {
		begun = untouched
	}
	switch {
	case begun >= 0:
		s := &p.slices[begun]
		off := uint32(begun)*sliceSize + uint32(first+step*s.fresh)
		s.fresh++
		s.held++
		return off, true
	case oldest >= 0:
		return p.again(oldest, 0), true
	}
	return 0, false
}

// again gives out the i-th free address of a slice.
func (p *pool) again(of, i int) uint32 {
	s := &p.slices[of]
	f := s.free[i]
	s.free = slices.Delete(s.free, i, i+1)
	s.held++
	if list := slices.DeleteFunc(p.had[f.name], func(off uint32) bool { return off == f.offset }); len(list) > 0 {
		p.had[f.name] = list
	} else {
		delete(p.had, f.name)
	}
	return f.offset
}

func (p *pool) at(l *layout, off uint32) lease {
	out := lease{association: l.owner[off/sliceSize], offset: off}
	out.Addr = netip.PrefixFrom(add(p.cidr.Addr(), off), sliceBits)
	out.Gateway = netip.PrefixFrom(add(p.cidr.Addr(), off&^(sliceSize-1)+1), sliceBits)
	switch p.topology {
	case "net30":
		out.Peer = add(p.cidr.Addr(), off-1)
	case "p2p":
		out.Peer = out.Gateway.Addr()
	}
	if p.cidr6.IsValid() {
		bits := 128 - 32 + sliceBits // slices of the same shape
		out.Addr6 = netip.PrefixFrom(add(p.cidr6.Addr(), off), bits)
		out.Gateway6 = netip.PrefixFrom(add(p.cidr6.Addr(), off&^(sliceSize-1)+1), bits)
	}
	return out
}

// release gives back a lease that name had. Each lease is released once.
func (p *pool) release(l lease, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.slices[l.offset/sliceSize]
	p.releases++
	s.held--
	s.free = append(s.free, freed{l.offset, name, p.releases})
	p.had[name] = append(p.had[name], l.offset)
}

// served lists the parts of the client ranges that an association serves, and the gateways in them.
func (p *pool) served(l *layout, association string) (parts, gateways []netip.Prefix) {
	for _, i := range l.slices[association] {
		first := p.at(l, uint32(i)*sliceSize)
		parts, gateways = append(parts, first.Addr.Masked()), append(gateways, first.Gateway)
		if first.Addr6.IsValid() {
			parts, gateways = append(parts, first.Addr6.Masked()), append(gateways, first.Gateway6)
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
