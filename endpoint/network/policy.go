package network

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// policy decides which destinations the userspace network opens sockets to. It is
// made by Apply and never changed. Its rules, in order:
//
//  1. Nowhere: unspecified, "this network", multicast, broadcast, IPv4-mapped IPv6, other clients.
//  2. Loopback and link-local: only what an association's range inside them names.
//  3. Where the endpoint itself answers: only by an association's range of that one address.
//  4. The machine's other addresses: only by an association's range that is not the whole internet.
//  5. Everything else: what an association's range or a route contains.
type policy struct {
	named   []netip.Prefix // the associations' ranges
	routed  []netip.Prefix
	clients []netip.Prefix
	gateway map[netip.Addr]bool
	sources []sliceSource
	demo    bool
	own     []netip.AddrPort
	egress  *egress // beside all of these: what security groups let begin
}

type sliceSource struct {
	slice  netip.Prefix
	source netip.Addr
}

func newPolicy(w Wanted, own []netip.AddrPort) *policy {
	p := &policy{gateway: map[netip.Addr]bool{}, own: own, egress: newEgress(w.Associations)}
	for _, c := range []netip.Prefix{w.ClientCIDR, w.ClientCIDR6} {
		if c.IsValid() {
			p.clients = append(p.clients, c)
		}
	}
	for _, g := range w.Gateways {
		p.gateway[g.Addr()] = true
	}
	for _, a := range w.Associations {
		if a.Subnet == DemoSubnet { // its ranges are inside, not on the machine's networks
			p.demo = true
			continue
		}
		for _, n := range a.Networks {
			p.named = append(p.named, n.Masked())
		}
		for _, s := range a.Slices {
			if source := a.source(s.Addr().Is4()); source.IsValid() {
				p.sources = append(p.sources, sliceSource{s, source})
			}
		}
	}
	for _, r := range w.Routes {
		p.routed = append(p.routed, r.Destination.Masked())
	}
	return p
}

// nowhere are never destinations.
func nowhere(a netip.Addr) bool {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" {
		return true
	}
	if a.Is4() {
		b := a.As4()
		return b[0] == 0 || b == [4]byte{255, 255, 255, 255}
	}
	return false
}

// hiddenRanges are those that stay the machine's own: loopback, link-local, where
// clouds serve a machine its credentials, and the same service's IPv6 address. The IPv4-compatible
// range holds ::1 too.
func hiddenRanges() []netip.Prefix {
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16),
		netip.PrefixFrom(netip.IPv6Unspecified(), 96),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0x80}), 10),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0xc0}), 10),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0x00, 0x0e, 0xc2, 14: 0x02, 15: 0x54}), 128), // EC2 user guide, "Instance metadata"
	}
}

// hidden is the hidden range that holds a.
func hidden(a netip.Addr) (netip.Prefix, bool) {
	for _, p := range hiddenRanges() {
		if p.Contains(a) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// names says whether an association's range n means a hidden range, or a part of it, on purpose.
func names(n, hidden netip.Prefix) bool {
	return hidden.Contains(n.Addr()) && n.Bits() >= hidden.Bits()
}

// allows tells whether a client may reach dst; port 0 is for ICMP.
func (p *policy) allows(dst netip.AddrPort, local *locals) bool {
	a := dst.Addr()
	if nowhere(a) || containsAddr(p.clients, a) {
		return false
	}
	if p.demo && Demo().Contains(a) {
		return false // answered inside, never sent out
	}
	mine, broadcast := local.has(a)
	if broadcast {
		return false
	}
	if dst.Port() != 0 {
		for _, own := range p.own {
			addr := own.Addr().Unmap()
			if own.Port() == dst.Port() && (addr == a || addr.IsUnspecified() && (mine || a.IsLoopback())) {
				return slices.Contains(p.named, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	if within, ok := hidden(a); ok {
		return slices.ContainsFunc(p.named, func(n netip.Prefix) bool {
			return n.Contains(a) && names(n, within)
		})
	}
	if mine {
		return slices.ContainsFunc(p.named, func(n netip.Prefix) bool { return n.Contains(a) && n.Bits() > 0 })
	}
	return containsAddr(p.named, a) || containsAddr(p.routed, a)
}

// inDemo tells whether the built-in network is there and holds a.
func (p *policy) inDemo(a netip.Addr) bool { return p.demo && Demo().Contains(a) }

// source is the address for a client's outgoing sockets, invalid if the OS chooses.
func (p *policy) source(client, dst netip.Addr, local *locals) netip.Addr {
	for _, s := range p.sources {
		if s.slice.Contains(client) && s.source.Is4() == dst.Is4() {
			if mine, _ := local.has(s.source); mine {
				return s.source
			}
		}
	}
	return netip.Addr{}
}

func containsAddr(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// localsAge is how long the list of the machine's addresses is believed.
const localsAge = time.Second

// locals knows the machine's addresses. Safe for concurrent use.
type locals struct {
	list func() ([]net.Addr, error) // net.InterfaceAddrs

	mu         sync.Mutex
	read       time.Time
	mine       map[netip.Addr]bool
	broadcasts map[netip.Addr]bool
}

func (l *locals) has(a netip.Addr) (mine, broadcast bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mine == nil || time.Since(l.read) > localsAge {
		if addrs, err := l.list(); err == nil { // else the old list is better than none
			l.mine, l.broadcasts, l.read = map[netip.Addr]bool{}, map[netip.Addr]bool{}, time.Now()
			for _, addr := range addrs {
				p, err := netip.ParsePrefix(addr.String())
				if err != nil {
					continue
				}
				ip := p.Addr().Unmap()
				l.mine[ip] = true
				if ip.Is4() && p.Bits() < 31 {
					b := ip.As4()
					for bit := p.Bits(); bit < 32; bit++ {
						b[bit/8] |= 0x80 >> (bit % 8)
					}
					l.broadcasts[netip.AddrFrom4(b)] = true
				}
			}
		}
	}
	return l.mine[a], l.broadcasts[a]
}
