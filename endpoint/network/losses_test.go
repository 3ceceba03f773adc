package network

import (
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestUserspaceLosses: the address of an association goes, and comes back. One that was never there is not missing.
func TestUserspaceLosses(t *testing.T) {
	u, err := NewUserspace(UserspaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	u.losses.lose, u.losses.back = 0, 0
	var mine []net.Addr
	u.local.list = func() ([]net.Addr, error) { return mine, nil }
	look := func(addrs ...string) {
		mine = nil
		for _, a := range addrs {
			mine = append(mine, &net.IPNet{IP: net.ParseIP(a), Mask: net.CIDRMask(24, 32)})
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.local.read = time.Time{} // the list is old
		u.look()
	}
	look("10.0.0.5", "10.0.1.5")
	w := Wanted{ClientCIDR: netip.MustParsePrefix("10.64.0.0/22")}
	for subnet, source := range map[string]string{"a": "10.0.0.5", "b": "10.0.1.5", "c": "10.0.2.5"} {
		w.Associations = append(w.Associations, Association{Subnet: subnet, Source: netip.MustParseAddr(source)})
	}
	if err := u.Apply(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	look("10.0.0.5")
	if got := <-u.Losses(); len(got) != 3 || got["a"] != "" || got["b"] != "address 10.0.1.5 is not on this machine any more" {
		t.Errorf("lost %v", got)
	}
	look("10.0.0.5") // nothing new
	look()
	look("10.0.0.5", "10.0.1.5") // the newest counts
	if got := <-u.Losses(); len(got) != 3 || got["a"]+got["b"]+got["c"] != "" {
		t.Errorf("lost %v", got)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if got, open := <-u.Losses(); open {
		t.Errorf("after the end: %v", got)
	}
}

// TestLossesLast: what does not last is not told, and each change begins anew.
func TestLossesLast(t *testing.T) {
	l, start := newLosses(), time.Now()
	w := Wanted{Associations: []Association{{Subnet: "a"}, {Subnet: "b"}}}
	down := map[string]string{"b": "down"}
	at := func(seconds float64, again time.Duration, told bool, want map[string]string) {
		t.Helper()
		now := start.Add(time.Duration(seconds * float64(time.Second)))
		if got := l.tell(w, nil, func(a Association) string { return down[a.Subnet] }, now); got != again {
			t.Errorf("at %vs: again after %v, want %v", seconds, got, again)
		}
		select {
		case got := <-l.ch:
			if !told || !maps.Equal(got, want) {
				t.Errorf("at %vs it tells %v", seconds, got)
			}
		default:
			if told {
				t.Errorf("at %vs it tells nothing", seconds)
			}
		}
	}
	at(0, 0, true, map[string]string{"a": "", "b": "down"}) // one that was never used waits for nothing
	delete(down, "b")
	at(1, 10*time.Second, false, nil)
	at(4, 7*time.Second, false, nil)
	down["b"] = "down"
	at(5, 0, false, nil)
	delete(down, "b")
	at(6, 10*time.Second, false, nil)
	at(16, 0, true, map[string]string{"a": "", "b": ""})
	down["a"] = "gone"
	at(20, 2*time.Second, false, nil)
	down["b"] = "down"
	at(21, time.Second, false, nil)
	delete(down, "a")
	at(21.5, 1500*time.Millisecond, false, nil)
	at(23, 0, true, map[string]string{"a": "", "b": "down"})
	down["b"] = "no link"
	at(23.5, 0, true, map[string]string{"a": "", "b": "no link"})
	w.Associations = w.Associations[:1]
	at(24, 0, true, map[string]string{"a": ""}) // it is not back: it is not wanted
	w.Associations = append(w.Associations, Association{Subnet: "c"})
	at(25, 0, false, nil)
}
