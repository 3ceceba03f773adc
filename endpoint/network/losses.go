package network

import (
	"maps"
	"net/netip"
)

// losses is what a Network last told of associations that are lost. Its owner guards it.
type losses struct {
	ch   chan map[string]string // the newest
	told map[string]string
	seen map[netip.Addr]bool // sources that have been on the machine
}

func newLosses() losses {
	return losses{ch: make(chan map[string]string, 1), seen: map[netip.Addr]bool{}}
}

// tell finds the associations of w that are lost, and tells when they are others than before. mine are the machine's addresses: a source
// is missing only after it was there, since an address that another machine answers for works, too. down says why an
// association is lost in another way.
func (l *losses) tell(w Wanted, mine map[netip.Addr]bool, down func(Association) string) {
	lost := map[string]string{}
	for _, a := range w.Associations {
		why := down(a)
		for _, s := range []netip.Addr{a.Source, a.Source6} {
			if mine[s] {
				l.seen[s] = true
			} else if l.seen[s] && why == "" {
				why = "address " + s.String() + " is not on this machine any more"
			}
		}
		if why != "" {
			lost[a.Subnet] = why
		}
	}
	if maps.Equal(lost, l.told) {
		return
	}
	l.told = lost
	select {
	case <-l.ch:
	default:
	}
	l.ch <- lost
}
