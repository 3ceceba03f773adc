package network

import (
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
	if got := <-u.Losses(); len(got) != 1 || got["b"] != "address 10.0.1.5 is not on this machine any more" {
		t.Errorf("lost %v", got)
	}
	look("10.0.0.5") // nothing new
	look()
	look("10.0.0.5", "10.0.1.5") // the newest counts
	if got := <-u.Losses(); len(got) != 0 {
		t.Errorf("lost %v", got)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if got, open := <-u.Losses(); open {
		t.Errorf("after the end: %v", got)
	}
}
