package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// replaceTable puts the whole of w's rules in place in one transaction:
//
//	forward:     from the TUN only to w's ranges, by the association's interface,
//	             and to hidden ranges only where an association names them;
//	             to the TUN only answers
//	input:       from the TUN ping to the gateways, and what an association names
//	postrouting: source NAT of each slice to its association's address; the
//	             source port stays where it is free
func (k *Kernel) replaceTable(w Wanted) error {
	c, err := openTables()
	if err != nil {
		return fmt.Errorf("network: nftables: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: tablePrefix + k.cfg.ID}
	c.AddTable(table) // so that the deletion cannot fail
	c.DelTable(table)
	c.AddTable(table)
	accept := nftables.ChainPolicyAccept
	chain := func(name string, typ nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) func(...[]expr.Any) {
		ch := c.AddChain(&nftables.Chain{Name: name, Table: table, Type: typ, Hooknum: hook, Priority: prio, Policy: &accept})
		return func(parts ...[]expr.Any) {
			c.AddRule(&nftables.Rule{Table: table, Chain: ch, Exprs: slices.Concat(parts...)})
		}
	}
	forward := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	input := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	postrouting := chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	var failed error
	set := func(part []netip.Prefix) *nftables.Set {
		s := newSet(table, part)
		failed = errors.Join(failed, c.AddSet(s, elements(part)))
		return s
	}
	fromTUN := ifName(expr.MetaKeyIIFNAME, k.device(), true)
	toTUN := ifName(expr.MetaKeyOIFNAME, k.device(), true)

	// No way from client to client, and none to the machine's credentials, however wide
	// a range or route is.
	forward(fromTUN, toTUN, verdictOf(expr.VerdictDrop))
	for _, h := range hiddenRanges() {
		for _, a := range w.Associations {
			for _, n := range a.Networks {
				if names(n, h) {
					forward(fromTUN, out(a.Interface), inRange(n, true), verdictOf(expr.VerdictAccept))
				}
			}
		}
		forward(fromTUN, inRange(h, true), verdictOf(expr.VerdictDrop))
	}
	byName := map[string]Association{}
	for _, a := range w.Associations {
		byName[a.Subnet] = a
		for _, n := range a.Networks {
			forward(fromTUN, out(a.Interface), inRange(n, true), verdictOf(expr.VerdictAccept))
		}
	}
	for _, r := range w.Routes {
		forward(fromTUN, out(byName[r.Association].Interface), inRange(r.Destination, true), verdictOf(expr.VerdictAccept))
	}
	forward(fromTUN, verdictOf(expr.VerdictDrop))
	forward(toTUN, established(), verdictOf(expr.VerdictAccept))
	forward(toTUN, verdictOf(expr.VerdictDrop))

	input(fromTUN, established(), verdictOf(expr.VerdictAccept))
	gateways := make([]netip.Prefix, 0, len(w.Gateways))
	for _, g := range w.Gateways {
		gateways = append(gateways, netip.PrefixFrom(g.Addr(), g.Addr().BitLen()))
	}
	for _, part := range alike(gateways) {
		input(fromTUN, inSet(set(part), part[0], true), echoRequest(part[0].Addr().Is4()), verdictOf(expr.VerdictAccept))
	}
	for _, a := range w.Associations {
		for _, n := range a.Networks {
			if n.IsSingleIP() { // names the machine itself, its listeners too
				input(fromTUN, inRange(n, true), verdictOf(expr.VerdictAccept))
			}
		}
	}
	for _, own := range k.cfg.Own {
		for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			input(fromTUN, toPort(proto, own.Port()), verdictOf(expr.VerdictDrop))
		}
	}
	for _, a := range w.Associations {
		for _, n := range a.Networks {
			if n.Bits() > 0 {
				input(fromTUN, inRange(n, true), verdictOf(expr.VerdictAccept))
			}
		}
	}
	input(fromTUN, verdictOf(expr.VerdictDrop))

	for _, a := range w.Associations {
		for _, part := range alike(a.Slices) {
			to := []expr.Any{&expr.Masq{}}
			if a.Source.IsValid() && a.Source.Is4() == part[0].Addr().Is4() {
				to = snat(a.Source)
			}
			postrouting(out(a.Interface), ifName(expr.MetaKeyOIFNAME, k.device(), false), inSet(set(part), part[0], false), to)
		}
	}
	if failed != nil {
		return fmt.Errorf("network: sets of nftables table %s: %w", table.Name, failed)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("network: replace nftables table %s: %w", table.Name, err)
	}
	return nil
}

// maxElements is how many ranges one set has: they must fit into one attribute of netlink, which has less
// than 64 KiB, and an IPv6 address takes 36 bytes. It is enough for all slices of an endpoint.
const maxElements = 1024

// alike sorts ranges by family and length: those of one set.
func alike(ranges []netip.Prefix) (parts [][]netip.Prefix) {
	for _, r := range ranges {
		i := slices.IndexFunc(parts, func(p []netip.Prefix) bool {
			return len(p) < maxElements && p[0].Bits() == r.Bits() && p[0].Addr().Is4() == r.Addr().Is4()
		})
		if i < 0 {
			parts, i = append(parts, nil), len(parts)
		}
		parts[i] = append(parts[i], r)
	}
	return parts
}

// newSet is a set for ranges of one family and length, so that a packet costs one lookup however many
// slices the client range has: a rule for each would be read one after the other.
func newSet(table *nftables.Table, ranges []netip.Prefix) *nftables.Set {
	s := &nftables.Set{Table: table, Anonymous: true, Constant: true, KeyType: nftables.TypeIP6Addr}
	if ranges[0].Addr().Is4() {
		s.KeyType = nftables.TypeIPAddr
	}
	return s
}

// elements are the first addresses of ranges.
func elements(ranges []netip.Prefix) (list []nftables.SetElement) {
	for _, r := range ranges {
		list = append(list, nftables.SetElement{Key: r.Masked().Addr().AsSlice()})
	}
	return list
}

// inSet matches the destination or source address with a set of ranges that are like one.
func inSet(s *nftables.Set, like netip.Prefix, destination bool) []expr.Any {
	match := inRange(like, destination)
	return append(match[:len(match)-1:len(match)-1], &expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID})
}

// openTables talks to nftables in whole transactions: every rule is acknowledged,
// and the rules of an endpoint may be more than the usual buffers hold.
func openTables() (*nftables.Conn, error) {
	const room = 16 << 20 // bytes, for 4096 rules
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(room), c.SetWriteBuffer(room))
	}))
}

// deleteTable removes a table if it is there.
func deleteTable(name string) error {
	c, err := openTables()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: name}
	c.AddTable(t)
	c.DelTable(t)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("delete nftables table %s: %w", name, err)
	}
	return nil
}

func ifName(key expr.MetaKey, name string, equal bool) []expr.Any {
	op := expr.CmpOpEq
	if !equal {
		op = expr.CmpOpNeq
	}
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: b}}
}

// out restricts a rule to an outgoing interface, if there is one to name.
func out(name string) []expr.Any {
	if name == "" {
		return nil
	}
	return ifName(expr.MetaKeyOIFNAME, name, true)
}

func family(v4 bool) []expr.Any {
	proto := byte(unix.NFPROTO_IPV6)
	if v4 {
		proto = unix.NFPROTO_IPV4
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}}}
}

// inRange matches the destination or source address.
func inRange(p netip.Prefix, destination bool) []expr.Any {
	v4 := p.Addr().Is4()
	offset, size := uint32(8), uint32(16) // IPv6 source
	if v4 {
		offset, size = 12, 4
	}
	if destination {
		offset += size
	}
	match := family(v4)
	if p.Bits() == 0 {
		return match
	}
	return append(match,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: ipNet(p).Mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

func established() []expr.Any {
	return []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)}}
}

func echoRequest(v4 bool) []expr.Any {
	proto, typ := byte(unix.IPPROTO_ICMPV6), byte(128)
	if v4 {
		proto, typ = unix.IPPROTO_ICMP, 8
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{typ}}}
}

func toPort(proto byte, port uint16) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)}}
}

func snat(to netip.Addr) []expr.Any {
	fam := uint32(unix.NFPROTO_IPV6)
	if to.Is4() {
		fam = unix.NFPROTO_IPV4
	}
	return []expr.Any{&expr.Immediate{Register: 1, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: fam, RegAddrMin: 1}}
}

func verdictOf(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
