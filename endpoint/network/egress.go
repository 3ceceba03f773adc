package network

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// IANA's protocol numbers, as far as Permit knows them apart.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// Permit lets clients begin something through an association: an egress rule of one of its security groups.
type Permit struct {
	Protocol    uint8        // IANA's number; 0: every one
	First, Last uint16       // destination ports of TCP and UDP, both included; others have none
	To          netip.Prefix // where to
}

// ported says whether p is for some ports alone.
func (p Permit) ported() bool {
	return (p.Protocol == protoTCP || p.Protocol == protoUDP) && (p.First > 0 || p.Last < 65535)
}

func (p Permit) allows(proto uint8, to netip.AddrPort) bool {
	return (p.Protocol == 0 || p.Protocol == proto) && (!p.ported() || p.First <= to.Port() && to.Port() <= p.Last) && p.To.Contains(to.Addr())
}

// egress is what the clients of each slice of restricted associations may begin. It is asked once for each flow.
type egress struct{ bySlice bart.Table[[]Permit] }

func newEgress(associations []Association) *egress {
	e := &egress{}
	for _, a := range associations {
		if a.Restricted {
			for _, s := range a.Slices {
				e.bySlice.Insert(s, a.Permits)
			}
		}
	}
	return e
}

// allows says whether client may begin a flow.
func (e *egress) allows(proto uint8, client netip.Addr, to netip.AddrPort) bool {
	permits, restricted := e.bySlice.Lookup(client)
	return !restricted || slices.ContainsFunc(permits, func(p Permit) bool { return p.allows(proto, to) })
}
