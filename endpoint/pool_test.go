package endpoint

import (
	"errors"
	"net/netip"
	"testing"
)

func TestPoolSlices(t *testing.T) {
	p := newPool(netip.MustParsePrefix("10.64.0.0/22"), netip.MustParsePrefix("fd64::/64"), 2, "subnet")
	var got []string
	for range 4 {
		l, err := p.lease("")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Addr.String()+" "+l.Gateway.Addr().String()+" "+l.Addr6.String()+" "+l.Gateway6.Addr().String())
	}
	// Clients go to the associations in turn, each has its own slices.
	want := []string{
		"10.64.0.2/27 10.64.0.1 fd64::2/123 fd64::1",
		"10.64.0.34/27 10.64.0.33 fd64::22/123 fd64::21",
		"10.64.0.3/27 10.64.0.1 fd64::3/123 fd64::1",
		"10.64.0.35/27 10.64.0.33 fd64::23/123 fd64::21",
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("lease %d: %s, want %s", i, got[i], want[i])
		}
	}
	parts, gateways := p.slices(1)
	if len(parts) != 32 || parts[0] != netip.MustParsePrefix("10.64.0.32/27") || gateways[1] != netip.MustParsePrefix("fd64::21/123") {
		t.Errorf("slices %v, gateways %v", parts, gateways)
	}
}

func TestPoolExhaustionAndReuse(t *testing.T) {
	p := newPool(netip.MustParsePrefix("10.64.0.0/22"), netip.Prefix{}, 1, "subnet")
	seen := map[netip.Addr]bool{}
	var leases []lease
	for {
		l, err := p.lease("")
		if errors.Is(err, errPoolExhausted) {
			break
		}
		a := l.Addr.Addr()
		last := a.As4()[3] % sliceSize
		if seen[a] || last < 2 || last == sliceSize-1 {
			t.Fatalf("address %s given wrongly", a)
		}
		seen[a] = true
		leases = append(leases, l)
	}
	if len(leases) != 32*sliceClients {
		t.Errorf("%d addresses in a /22, want %d", len(leases), 32*sliceClients)
	}
	p.release(leases[7], "ann")
	p.release(leases[3], "bob")
	p.release(leases[5], "bob")
	p.release(leases[9], "cy")
	if l, err := p.lease("bob"); err != nil || l.Addr != leases[5].Addr { // the one that was bob's last
		t.Errorf("got %v %v, want %v", l.Addr, err, leases[5].Addr)
	}
	for _, want := range []lease{leases[7], leases[3], leases[9]} { // the one that rested longest
		if l, err := p.lease("dan"); err != nil || l.Addr != want.Addr {
			t.Errorf("got %v %v, want %v", l.Addr, err, want.Addr)
		}
	}
}

func TestPoolWithoutAssociation(t *testing.T) {
	if _, err := newPool(netip.MustParsePrefix("10.64.0.0/22"), netip.Prefix{}, 0, "subnet").lease(""); !errors.Is(err, errNoNetwork) {
		t.Errorf("got %v", err)
	}
}

func TestOffsetIsInverse(t *testing.T) {
	for _, s := range []string{"10.64.0.0/22", "10.16.0.0/12", "fd64::/64", "fd64:1:2:3:4:5::/97", "fd64::8000/118"} {
		cidr := netip.MustParsePrefix(s).Masked()
		for _, n := range []uint32{0, 1, 33, 255, 1023} {
			if got, ok := offsetOf(cidr, add(cidr.Addr(), n)); !ok || got != n {
				t.Errorf("%s + %d: %d %v", s, n, got, ok)
			}
		}
	}
	for _, s := range []string{"10.64.4.0", "fd64::1:0:0:1", "fd65::1"} {
		for _, c := range []string{"10.64.0.0/22", "fd64::/64"} {
			if off, ok := offsetOf(netip.MustParsePrefix(c), netip.MustParseAddr(s)); ok {
				t.Errorf("%s in %s: %d", s, c, off)
			}
		}
	}
}
