package endpoint

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// len counts what is in t.
func (t *table[K]) len() (n int) {
	for i := range t.slots {
		for l := t.slots[i].Load(); l != nil; l = l.next {
			n++
		}
	}
	return n
}

// keyAt is one of many addresses, and one of several sessions at it.
func keyAt(i int) sessionKey {
	addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	return sessionKey{from: netip.AddrPortFrom(addr, uint16(1+i%3)), client: wire.SessionID{byte(i % 5)}}
}

func TestTable(t *testing.T) {
	const n = 5 * tableSlots // chains of several
	tab, all := newTable(bytesOfSession), make([]*peer, n)
	for i := range all {
		all[i] = &peer{id: uint32(i)}
		tab.put(keyAt(i), all[i])
	}
	check := func(gone func(int) bool) {
		t.Helper()
		for i, p := range all {
			if gone(i) {
				p = nil
			}
			if got := tab.get(keyAt(i)); got != p {
				t.Fatalf("at %v: %v, want %v", keyAt(i), got, p)
			}
		}
	}
	check(func(int) bool { return false })
	for i, p := range all {
		switch i % 4 {
		case 0:
			tab.remove(keyAt(i), p)
		case 1:
			tab.remove(keyAt(i), all[0]) // another one has the place: it stays
		case 2:
			all[i] = &peer{}
			tab.put(keyAt(i), all[i])
		}
	}
	check(func(i int) bool { return i%4 == 0 })
	if got := tab.len(); got != n-n/4 {
		t.Errorf("%d entries, want %d", got, n-n/4)
	}
	if got := testing.AllocsPerRun(100, func() { tab.get(keyAt(3)) }); got != 0 {
		t.Errorf("%v allocations for each look", got)
	}
}

// TestTableTellsZonesApart: addresses that are hashed alike are not the same.
func TestTableTellsZonesApart(t *testing.T) {
	tab := newTable(bytesOfAddr)
	a, b := netip.MustParseAddrPort("[fe80::1%2]:1194"), netip.MustParseAddrPort("[fe80::1%3]:1194")
	p, q := &peer{}, &peer{}
	tab.put(a, p)
	tab.put(b, q)
	if tab.get(a) != p || tab.get(b) != q || tab.get(netip.MustParseAddrPort("[fe80::1]:1194")) != nil {
		t.Error("zones are mixed up")
	}
}

// TestTableIsReadWhileItChanges: who stays is found at any time. The race detector looks on.
func TestTableIsReadWhileItChanges(t *testing.T) {
	const n = 2 * tableSlots
	tab, stays := newTable(bytesOfSession), &peer{}
	for i := 0; i < n; i += 2 {
		tab.put(keyAt(i), stays)
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				for i := 0; i < n; i += 2 {
					if tab.get(keyAt(i)) != stays {
						t.Errorf("%v was not found", keyAt(i))
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	guest := &peer{}
	for range 2 {
		for i := 1; i < n; i += 2 {
			tab.put(keyAt(i), guest)
		}
		for i := 1; i < n; i += 2 {
			tab.remove(keyAt(i), guest)
		}
	}
	close(stop)
	readers.Wait()
}
