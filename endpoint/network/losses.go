package network

import (
	"maps"
	"net/netip"
	"time"
)

// losses is what a Network last told of associations that are lost. Its owner guards it.
type losses struct {
	// A loss, and a return, are told when they have lasted that long: each moves clients.
	lose, back time.Duration

	ch    chan map[string]string // the newest
	told  map[string]string      // of all associations; "": not lost
	since map[string]time.Time   // when those changed that are otherwise than told
	seen  map[netip.Addr]bool    // sources that have been on the machine
}

func newLosses() losses {
	return losses{lose: 2 * time.Second, back: 10 * time.Second, ch: make(chan map[string]string, 1), seen: map[netip.Addr]bool{}}
}

// tell finds the associations of w that are lost, and tells when they are others than before. mine are the machine's addresses: a source
// is missing only after it was there, since an address that another machine answers for works, too. down says why an
// association is lost in another way. When again is not 0, tell must be called again after it.
func (l *losses) tell(w Wanted, mine map[netip.Addr]bool, down func(Association) string, now time.Time) (again time.Duration) {
	next, since, some := map[string]string{}, map[string]time.Time{}, false
	for _, a := range w.Associations {
		why := down(a)
		for _, s := range []netip.Addr{a.Source, a.Source6} {
			if mine[s] {
				l.seen[s] = true
			} else if l.seen[s] && why == "" {
				why = "address " + s.String() + " is not on this machine any more"
			}
		}
		if before, known := l.told[a.Subnet]; known && (why == "") != (before == "") {
			wait, start := l.lose, now
			if why == "" {
				wait = l.back
			}
			if s, ok := l.since[a.Subnet]; ok {
				start = s
			}
			if left := wait - now.Sub(start); left > 0 {
				why, since[a.Subnet] = before, start
				if again == 0 || left < again {
					again = left
				}
			}
		}
		next[a.Subnet] = why
		some = some || why != "" || l.told[a.Subnet] != ""
	}
	for a, why := range l.told {
		_, wanted := next[a]
		some = some || why != "" && !wanted
	}
	same := maps.Equal(next, l.told)
	l.told, l.since = next, since
	if same || !some { // associations come and go: nobody need know
		return again
	}
	select {
	case <-l.ch:
	default:
	}
	l.ch <- next
	return again
}
