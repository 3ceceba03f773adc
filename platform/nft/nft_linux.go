// Package nft has the words of nftables' rules that more than one part of Adit uses, on top of
// github.com/google/nftables. Each function is one condition or verdict of a rule; a rule is several of them in a row.
package nft

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Chain adds a base chain that accepts what no rule decides, and returns what adds rules to its end.
func Chain(c *nftables.Conn, t *nftables.Table, name string, typ nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) func(...[]expr.Any) {
	accept := nftables.ChainPolicyAccept
	ch := c.AddChain(&nftables.Chain{Name: name, Table: t, Type: typ, Hooknum: hook, Priority: prio, Policy: &accept})
	return func(parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: slices.Concat(parts...)})
	}
}

// Part adds a chain that only rules before it reach, by Jump, and returns what adds rules to its end; after the last one
// the packet goes on behind the Jump.
func Part(c *nftables.Conn, t *nftables.Table, name string) func(...[]expr.Any) {
	ch := c.AddChain(&nftables.Chain{Name: name, Table: t})
	return func(parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: slices.Concat(parts...)})
	}
}

// Jump ends a rule; the chain must have been added by Part.
func Jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// Verdict ends a rule.
func Verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

// Number compares a 32-bit property of the packet in the machine's byte order.
func Number(key expr.MetaKey, value uint32, equal bool) []expr.Any {
	return meta(key, binaryutil.NativeEndian.PutUint32(value), equal)
}

// SetMark gives the packet a routing mark.
func SetMark(mark uint32) []expr.Any {
	return []expr.Any{&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}}
}

// HopLimit matches the hop limit of IPv6 packets; the rule must have asked for the family.
func HopLimit(limit byte) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 7, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{limit}}}
}

// Device compares the name of the device that key means.
func Device(key expr.MetaKey, name string, equal bool) []expr.Any {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return meta(key, b, equal)
}

// Family matches packets of IPv4, or else of IPv6.
func Family(v4 bool) []expr.Any {
	proto := byte(unix.NFPROTO_IPV6)
	if v4 {
		proto = unix.NFPROTO_IPV4
	}
	return meta(expr.MetaKeyNFPROTO, []byte{proto}, true)
}

// Protocol matches the transport (unix.IPPROTO_…).
func Protocol(proto byte) []expr.Any { return meta(expr.MetaKeyL4PROTO, []byte{proto}, true) }

func meta(key expr.MetaKey, value []byte, equal bool) []expr.Any {
	op := expr.CmpOpEq
	if !equal {
		op = expr.CmpOpNeq
	}
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: value}}
}

// InRange matches the destination or source address.
func InRange(p netip.Prefix, destination bool) []expr.Any {
	size := uint32(p.Addr().BitLen() / 8)
	match := Family(p.Addr().Is4())
	if p.Bits() == 0 {
		return match
	}
	mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
	return append(match, address(p.Addr().Is4(), destination),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

// To matches the destination address.
func To(a netip.Addr) []expr.Any { return InRange(netip.PrefixFrom(a, a.BitLen()), true) }

// address loads the destination or source address into register 1.
func address(v4, destination bool) expr.Any {
	offset, size := uint32(8), uint32(16) // IPv6 source
	if v4 {
		offset, size = 12, 4
	}
	if destination {
		offset += size
	}
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
}

// Port matches the transport and the destination port, or with source set the source port.
func Port(proto byte, port uint16, source bool) []expr.Any {
	offset := uint32(2)
	if source {
		offset = 0
	}
	return append(Protocol(proto),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)})
}

// Ports matches the transport and a range of destination ports, both ends included.
func Ports(proto byte, first, last uint16) []expr.Any {
	return append(Protocol(proto),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: binaryutil.BigEndian.PutUint16(first), ToData: binaryutil.BigEndian.PutUint16(last)})
}

// ICMP matches a type of ICMP, or else of ICMPv6.
func ICMP(v4 bool, typ byte) []expr.Any {
	proto := byte(unix.IPPROTO_ICMPV6)
	if v4 {
		proto = unix.IPPROTO_ICMP
	}
	return append(Protocol(proto),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{typ}})
}

// MaxRanges is how many ranges one set has: they must fit into one attribute of netlink, which has less
// than 64 KiB, and the two ends of an IPv6 range take 64 bytes.
const MaxRanges = 1000

// Match is the condition that an address of one family is in a set.
type Match struct {
	V4    bool
	Exprs []expr.Any
}

// Among adds sets for prefixes to the table, and returns a condition for each set, on the destination or source
// address: a packet costs one look-up in each, however many prefixes there are. Each condition may be in one rule only.
func Among(c *nftables.Conn, t *nftables.Table, prefixes []netip.Prefix, destination bool) (matches []Match, err error) {
	for _, v4 := range []bool{true, false} {
		var rs []span
		for _, p := range prefixes {
			if p.IsValid() && p.Addr().Is4() == v4 {
				rs = append(rs, spanOf(p))
			}
		}
		rs = merge(rs)
		if len(rs) == 1 && rs[0].whole() {
			matches = append(matches, Match{v4, Family(v4)})
			continue
		}
		for part := range slices.Chunk(rs, MaxRanges) {
			s := &nftables.Set{Table: t, Anonymous: true, Constant: true, Interval: true, KeyType: nftables.TypeIP6Addr}
			if v4 {
				s.KeyType = nftables.TypeIPAddr
			}
			var elements []nftables.SetElement
			for _, r := range part {
				elements = append(elements, nftables.SetElement{Key: r.first})
				if end, ok := after(r.last); ok {
					elements = append(elements, nftables.SetElement{Key: end, IntervalEnd: true})
				}
			}
			if err := c.AddSet(s, elements); err != nil {
				return nil, fmt.Errorf("nftables set: %w", err)
			}
			matches = append(matches, Match{v4, append(Family(v4), address(v4, destination), &expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID})})
		}
	}
	return matches, nil
}

// span is a range of addresses of one family, both ends included.
type span struct{ first, last []byte }

func spanOf(p netip.Prefix) span {
	first := p.Masked().Addr().AsSlice()
	last := slices.Clone(first)
	for i := p.Bits(); i < p.Addr().BitLen(); i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	return span{first, last}
}

func (s span) whole() bool {
	_, more := after(s.last)
	return !more && bytes.Equal(s.first, make([]byte, len(s.first)))
}

// merge sorts spans and joins those that overlap or touch, as the kernel demands.
func merge(rs []span) []span {
	slices.SortFunc(rs, func(a, b span) int { return bytes.Compare(a.first, b.first) })
	var out []span
	for _, r := range rs {
		if n := len(out); n > 0 {
			end, more := after(out[n-1].last)
			if !more || bytes.Compare(r.first, end) <= 0 {
				if bytes.Compare(r.last, out[n-1].last) > 0 {
					out[n-1].last = r.last
				}
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// after is the next address; false after the last one of the family.
func after(a []byte) ([]byte, bool) {
	next := slices.Clone(a)
	for i := len(next) - 1; i >= 0; i-- {
		next[i]++
		if next[i] != 0 {
			return next, true
		}
	}
	return nil, false
}
