package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/nft"
)

// replaceTable puts the whole of w's rules in place in one transaction:
//
//	forward:     from the TUN only to w's ranges, by the association's interface,
//	             and to hidden ranges only where an association names them;
//	             to the TUN only answers
//	             what is new besides only where a security group permits it
//	prerouting:  from the TUN the mark of the association (ways_linux.go), where there are several
//	input:       from the TUN ping to the gateways, and what an association names
//	egress_0…:   the security groups of one association, which jumps there
//	postrouting: source NAT of each slice to its association's address; the
//	             source port stays where it is free
func (k *Kernel) replaceTable(w Wanted, numbers map[string]int) error {
	c, err := nft.Open()
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer c.Close()
	if err := c.Transact(func(tx *nftables.Conn) error { return k.writeTable(tx, w, numbers) }); err != nil {
		return fmt.Errorf("network: replace nftables table %s%s: %w", tablePrefix, k.cfg.ID, err)
	}
	return nil
}

// writeTable is replaceTable within a transaction.
func (k *Kernel) writeTable(c *nftables.Conn, w Wanted, numbers map[string]int) error {
	table := nft.Replace(c, tablePrefix+k.cfg.ID)
	forward := nft.Chain(c, table, "forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	input := nft.Chain(c, table, "input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	postrouting := nft.Chain(c, table, "postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	var failed error
	among := func(prefixes []netip.Prefix, destination bool) []nft.Match {
		ms, err := nft.Among(c, table, prefixes, destination)
		failed = errors.Join(failed, err)
		return ms
	}
	fromTUN := nft.Device(expr.MetaKeyIIFNAME, k.device(), true)
	toTUN := nft.Device(expr.MetaKeyOIFNAME, k.device(), true)
	// by restricts a rule to the way of an association: its interface, and its own clients.
	by := func(a Association) []expr.Any {
		if n := numbers[a.Subnet]; n != 0 {
			return append(out(a.Interface), nft.Number(expr.MetaKeyMARK, wayMark|uint32(n), true)...)
		}
		return out(a.Interface)
	}
	if numbers != nil {
		prerouting := nft.Chain(c, table, "prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityMangle)
		for _, a := range w.Associations {
			for _, m := range among(a.Slices, false) {
				prerouting(fromTUN, m.Exprs, nft.SetMark(wayMark|uint32(numbers[a.Subnet])))
			}
		}
	}

	// No way from client to client, and none to the machine's credentials, however wide
	// a range or route is.
	forward(fromTUN, toTUN, nft.Verdict(expr.VerdictDrop))
	for _, h := range hiddenRanges() {
		for _, a := range w.Associations {
			for _, n := range a.Networks {
				if names(n, h) {
					forward(fromTUN, by(a), nft.InRange(n, true), nft.Verdict(expr.VerdictAccept))
				}
			}
		}
		forward(fromTUN, nft.InRange(h, true), nft.Verdict(expr.VerdictDrop))
	}
	// What is new must be in a security group of its association; what clients ask the gateways themselves leaves by none.
	restrict := k.egressChains(c, table, w.Associations, &failed)
	restrict(forward, nft.Device(expr.MetaKeyOIFNAME, k.device(), false))
	byName := map[string]Association{}
	for _, a := range w.Associations {
		byName[a.Subnet] = a
		for _, n := range a.Networks {
			forward(fromTUN, by(a), nft.InRange(n, true), nft.Verdict(expr.VerdictAccept))
		}
	}
	for _, r := range w.Routes {
		forward(fromTUN, by(byName[r.Association]), nft.InRange(r.Destination, true), nft.Verdict(expr.VerdictAccept))
	}
	forward(fromTUN, nft.Verdict(expr.VerdictDrop))
	forward(toTUN, established(), nft.Verdict(expr.VerdictAccept))
	forward(toTUN, nft.Verdict(expr.VerdictDrop))

	input(fromTUN, established(), nft.Verdict(expr.VerdictAccept))
	gateways := make([]netip.Prefix, 0, len(w.Gateways))
	for _, g := range w.Gateways {
		gateways = append(gateways, netip.PrefixFrom(g.Addr(), g.Addr().BitLen()))
	}
	for _, m := range among(gateways, true) {
		input(fromTUN, m.Exprs, echoRequest(m.V4), nft.Verdict(expr.VerdictAccept))
	}
	restrict(input, nil)
	for _, a := range w.Associations {
		for _, n := range a.Networks {
			if n.IsSingleIP() { // names the machine itself, its listeners too
				input(fromTUN, nft.InRange(n, true), nft.Verdict(expr.VerdictAccept))
			}
		}
	}
	for _, own := range k.cfg.Own {
		var to []expr.Any // of any address of the machine
		if a := own.Addr().Unmap(); !a.IsUnspecified() {
			to = nft.To(a)
		}
		for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			input(fromTUN, to, nft.Port(proto, own.Port(), false), nft.Verdict(expr.VerdictDrop))
		}
	}
	for _, a := range w.Associations {
		for _, n := range a.Networks {
			if n.Bits() > 0 {
				input(fromTUN, nft.InRange(n, true), nft.Verdict(expr.VerdictAccept))
			}
		}
	}
	input(fromTUN, nft.Verdict(expr.VerdictDrop))

	for _, a := range w.Associations {
		translated := slices.DeleteFunc(slices.Clone(a.Slices), func(p netip.Prefix) bool { return a.Plain4 && p.Addr().Is4() || a.Plain6 && p.Addr().Is6() })
		for _, m := range among(translated, false) {
			to := []expr.Any{&expr.Masq{}}
			if s := a.source(m.V4); s.IsValid() {
				to = snat(s)
			}
			postrouting(out(a.Interface), nft.Device(expr.MetaKeyOIFNAME, k.device(), false), m.Exprs, to)
		}
	}
	if failed != nil {
		return fmt.Errorf("sets: %w", failed)
	}
	return nil
}

// egressChains adds a chain for each restricted association: it drops what no permit names. restrict sends new packets of
// the association's clients there.
func (k *Kernel) egressChains(c *nftables.Conn, table *nftables.Table, associations []Association, failed *error) (restrict func(add func(...[]expr.Any), only []expr.Any)) {
	among := func(prefixes []netip.Prefix, destination bool) []nft.Match {
		ms, err := nft.Among(c, table, prefixes, destination)
		*failed = errors.Join(*failed, err)
		return ms
	}
	names := map[int]string{}
	for i, a := range associations {
		if !a.Restricted {
			continue
		}
		names[i] = fmt.Sprintf("egress_%d", i)
		add := nft.Part(c, table, names[i])
		kinds, to := byKind(a.Permits)
		for _, kind := range kinds {
			for _, m := range among(to[kind], true) {
				var what []expr.Any
				switch {
				case kind.ported():
					what = nft.Ports(kind.Protocol, kind.First, kind.Last)
				case kind.Protocol != 0:
					what = nft.Protocol(kind.Protocol)
				}
				add(m.Exprs, what, nft.Verdict(expr.VerdictReturn))
			}
		}
		add(nft.Verdict(expr.VerdictDrop))
	}
	return func(add func(...[]expr.Any), only []expr.Any) {
		for i, a := range associations {
			if a.Restricted {
				for _, m := range among(a.Slices, false) {
					add(nft.Device(expr.MetaKeyIIFNAME, k.device(), true), only, known(false), m.Exprs, nft.Jump(names[i]))
				}
			}
		}
	}
}

// byKind gathers the ranges of permits that differ in nothing else, in order of appearance: each becomes one set.
func byKind(permits []Permit) (kinds []Permit, to map[Permit][]netip.Prefix) {
	to = map[Permit][]netip.Prefix{}
	for _, p := range permits {
		kind := p
		kind.To = netip.Prefix{}
		if to[kind] == nil {
			kinds = append(kinds, kind)
		}
		to[kind] = append(to[kind], p.To)
	}
	return kinds, to
}

// out restricts a rule to an outgoing interface, if there is one to name.
func out(name string) []expr.Any {
	if name == "" {
		return nil
	}
	return nft.Device(expr.MetaKeyOIFNAME, name, true)
}

func established() []expr.Any { return known(true) }

// known matches packets of what connection tracking knows already, or those of what is new.
func known(is bool) []expr.Any {
	op := expr.CmpOpEq
	if is {
		op = expr.CmpOpNeq
	}
	return []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)},
		&expr.Cmp{Op: op, Register: 1, Data: make([]byte, 4)}}
}

func echoRequest(v4 bool) []expr.Any {
	if v4 {
		return nft.ICMP(true, 8)
	}
	return nft.ICMP(false, 128)
}

func snat(to netip.Addr) []expr.Any {
	fam := uint32(unix.NFPROTO_IPV6)
	if to.Is4() {
		fam = unix.NFPROTO_IPV4
	}
	return []expr.Any{&expr.Immediate{Register: 1, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: fam, RegAddrMin: 1}}
}
