package client

import (
	"encoding/binary"
	"slices"

	"github.com/adit-vpn/adit/ovpn/push"

	"github.com/adit-vpn/adit/ovpn/mss"
)

// nat exchanges IPv4 addresses of packets inside one to one (client-nat; openvpn's clinat.c): for
// networks that both ends have. The zero value changes nothing.
//
// Out is from this machine to the server. snat exchanges the source there and dnat the
// destination; packets in the other direction get the reverse. The first entry that fits
// an address wins, and no address is exchanged twice.
type nat []exchange

type exchange struct {
	source               bool   // on the way out
	mask, network, alias uint32 // network and alias have no bits outside of mask
}

func natOf(list ...push.NAT) nat {
	var n nat
	for _, e := range list {
		network, alias := e.Network.Masked().Addr().As4(), e.Alias.As4()
		x := exchange{source: e.Kind == "snat", mask: ^uint32(0) << (32 - e.Network.Bits())}
		x.network, x.alias = binary.BigEndian.Uint32(network[:]), binary.BigEndian.Uint32(alias[:])&x.mask
		n = append(n, x)
	}
	return n
}

// nat is what the file and the server want together; like routes, the server's entries
// do not count with route-nopull.
func (s *spec) nat(reply push.Reply) nat {
	list := slices.Clone(s.own.ClientNAT)
	if !s.noPull {
		list = append(list, reply.ClientNAT...)
	}
	return natOf(list...)
}

// out changes a packet to the server in place, with its checksums. What is not whole stays as it is.
func (n nat) out(p []byte) {
	if len(n) != 0 {
		n.rewrite(p, false)
	}
}

// in changes a packet from the server.
func (n nat) in(p []byte) {
	if len(n) != 0 {
		n.rewrite(p, true)
	}
}

const (
	sourceAt      = 12 // in an IPv4 header
	destinationAt = 16
)

func (n nat) rewrite(p []byte, in bool) {
	header := ipv4Header(p)
	if header == 0 {
		return
	}
	source := n.address(p, sourceAt, in, !in)
	destination := n.address(p, destinationAt, in, in)
	if binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
		return // a later fragment has no header of a transport
	}
	body := p[header:]
	sum := -1
	switch p[9] {
	case 1:
		if len(body) >= 8 {
			n.quoted(body, in)
		}
		return // ICMP's checksum leaves the addresses out
	case 6:
		sum = 16
	case 17:
		sum = 6
	}
	if sum < 0 || len(body) < sum+2 || p[9] == 17 && body[6] == 0 && body[7] == 0 { // UDP without a checksum
		return
	}
	source.fix(body[sum:])
	destination.fix(body[sum:])
	if p[9] == 17 && body[6] == 0 && body[7] == 0 {
		body[6], body[7] = 0xff, 0xff // RFC 768: zero means none
	}
}

// quoted changes the packet that an ICMP error answers, which went the other way. The sum over a
// header with its own checksum stays, so that ICMP's checksum is right as it is.
func (n nat) quoted(icmp []byte, in bool) {
	switch icmp[0] {
	case 3, 4, 5, 11, 12:
		if q := icmp[8:]; ipv4Header(q) != 0 {
			n.address(q, sourceAt, in, in)
			n.address(q, destinationAt, in, !in)
		}
	}
}

// ipv4Header is the size of a packet's header; 0 when it is no whole IPv4 header.
func ipv4Header(p []byte) int {
	if len(p) < 20 || p[0]>>4 != 4 {
		return 0
	}
	if n := int(p[0]&15) * 4; n >= 20 && n <= len(p) {
		return n
	}
	return 0
}

// change is an address before and after.
type change struct{ old, now uint32 }

// fix updates a checksum.
func (c change) fix(sum []byte) {
	if c.old != c.now {
		mss.FixChecksum(sum[:2], uint16(c.old>>16), uint16(c.now>>16), false)
		mss.FixChecksum(sum[:2], uint16(c.old), uint16(c.now), false)
	}
}

// address exchanges the address at an offset of an IPv4 header by the entries of one kind, and fixes the header's checksum.
func (n nat) address(p []byte, at int, in, snat bool) change {
	c := change{old: binary.BigEndian.Uint32(p[at:])}
	c.now = c.old
	for _, x := range n {
		from, to := x.network, x.alias
		if in {
			from, to = to, from
		}
		if x.source == snat && c.old&x.mask == from {
			c.now = c.old&^x.mask | to
			break
		}
	}
	binary.BigEndian.PutUint32(p[at:], c.now)
	c.fix(p[10:])
	return c
}
