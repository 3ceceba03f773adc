package endpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// dealt is a pool with its first layout.
type dealt struct {
	*pool
	l *layout
}

func newDealt(associations ...string) *dealt {
	p := newPool(netip.MustParsePrefix("10.64.0.0/22"), netip.MustParsePrefix("fd64::/64"), "subnet")
	return &dealt{p, p.deal(nil, associations)}
}

func (d *dealt) get(t *testing.T, name string) lease {
	t.Helper()
	l, err := d.lease(d.l, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPoolSlices(t *testing.T) {
	p := newDealt("a", "b")
	var got []string
	for range 4 {
		l := p.get(t, "")
		got = append(got, l.association+" "+l.Addr.String()+" "+l.Gateway.Addr().String()+" "+l.Addr6.String()+" "+l.Gateway6.Addr().String())
	}
	// Clients go to the associations in turn, each has its own slices.
	want := []string{
		"a 10.64.0.2/27 10.64.0.1 fd64::2/123 fd64::1",
		"b 10.64.0.34/27 10.64.0.33 fd64::22/123 fd64::21",
		"a 10.64.0.3/27 10.64.0.1 fd64::3/123 fd64::1",
		"b 10.64.0.35/27 10.64.0.33 fd64::23/123 fd64::21",
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("lease %d: %s, want %s", i, got[i], want[i])
		}
	}
	parts, gateways := p.served(p.l, "b")
	if len(parts) != 32 || parts[0] != netip.MustParsePrefix("10.64.0.32/27") || gateways[1] != netip.MustParsePrefix("fd64::21/123") {
		t.Errorf("slices %v, gateways %v", parts, gateways)
	}
}

func TestPoolExhaustionAndReuse(t *testing.T) {
	p := newDealt("a")
	seen := map[netip.Addr]bool{}
	var leases []lease
	for {
		l, err := p.lease(p.l, nil, "")
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
	p.release(leases[109], "cy")                        // in another slice
	if l := p.get(t, "bob"); l.Addr != leases[5].Addr { // the one that was bob's last
		t.Errorf("got %v, want %v", l.Addr, leases[5].Addr)
	}
	for _, want := range []lease{leases[7], leases[3], leases[109]} { // the one that rested longest
		if l := p.get(t, "dan"); l.Addr != want.Addr {
			t.Errorf("got %v, want %v", l.Addr, want.Addr)
		}
	}
	if len(p.had) != 0 {
		t.Errorf("remembered: %v", p.had)
	}
}

// A few clients that come and go stay in one slice, and each address rests as long as that allows.
func TestPoolKeepsToFewSlices(t *testing.T) {
	p := newDealt("a")
	rested := map[netip.Prefix]int{}
	for i := range 1000 {
		l := p.get(t, fmt.Sprint("client ", i))
		if last, ok := rested[l.Addr]; ok && i-last < sliceClients {
			t.Fatalf("%s was used again after %d others", l.Addr, i-last)
		}
		rested[l.Addr] = i
		p.release(l, fmt.Sprint("client ", i))
	}
	if len(rested) != sliceClients {
		t.Errorf("%d addresses were used, want %d: one slice", len(rested), sliceClients)
	}
	for range sliceClients - sliceClients/2 + 1 { // less than half of it is free: another one is begun
		p.get(t, "")
	}
	if l := p.get(t, ""); l.offset/sliceSize != 1 {
		t.Errorf("%s is not in the second slice", l.Addr)
	}
}

// Associations come and go. Leases stay, with their association, while it is there.
func TestPoolAssociations(t *testing.T) {
	p := newDealt("a")
	var old []lease
	for range 200 {
		old = append(old, p.get(t, ""))
	}
	first := p.l
	p.l = p.deal(first, []string{"a", "b", "c"})
	for _, l := range old {
		if !p.l.serves(l) {
			t.Fatalf("%s is not served any more", l.Addr)
		}
	}
	share := map[string]int{}
	for i, a := range p.l.owner {
		share[a]++
		if got := p.l.slices[a]; !slices.Contains(got, i) {
			t.Errorf("slice %d is of %s, which has %v", i, a, got)
		}
	}
	if share["a"] != 12 || share["b"] != 10 || share["c"] != 10 {
		t.Errorf("shares %v", share)
	}
	var late []lease
	for range 30 {
		late = append(late, p.get(t, ""))
	}
	count := map[string]int{}
	for _, l := range late {
		count[l.association]++
		if !p.l.serves(l) || slices.ContainsFunc(old, func(o lease) bool { return o.Addr == l.Addr }) {
			t.Errorf("%s of %s is given wrongly", l.Addr, l.association)
		}
	}
	if count["a"] != 10 || count["b"] != 10 || count["c"] != 10 {
		t.Errorf("not in turn: %v", count)
	}

	// Without a its clients have nothing; those of the others stay.
	p.l = p.deal(p.l, []string{"c", "b"})
	for _, l := range append(old, late...) {
		if p.l.serves(l) != (l.association != "a") {
			t.Errorf("%s of %s: served: %v", l.Addr, l.association, p.l.serves(l))
		}
	}
	// Who comes back has its address through another association, as soon as it is free.
	p.release(old[3], "ann")
	if l := p.get(t, "ann"); l.Addr != old[3].Addr || l.association == "a" || !p.l.serves(l) {
		t.Errorf("came back to %s of %s", l.Addr, l.association)
	}
	if len(p.l.slices["b"])+len(p.l.slices["c"]) != 32 || len(p.l.slices["b"]) != 16 {
		t.Errorf("slices %v", p.l.slices)
	}

	// A lost one takes nobody, and its addresses wait.
	l := p.get(t, "bea")
	p.release(l, "bea")
	for range 10 {
		got, err := p.lease(p.l, map[string]bool{l.association: true}, "bea")
		if err != nil || got.association == l.association {
			t.Errorf("got %v %v", got, err)
		}
	}

	p.l = p.deal(p.l, nil)
	if _, err := p.lease(p.l, nil, "ann"); !errors.Is(err, errNoNetwork) || p.l.serves(late[1]) {
		t.Errorf("without an association: %v", err)
	}
	p.l = p.deal(p.l, []string{"b"})
	if l := p.get(t, "cy"); l.association != "b" {
		t.Errorf("got %v", l)
	}
}

// Where no slice is without clients, an association that is added has none: nobody is moved for it.
func TestPoolCrowded(t *testing.T) {
	p := newDealt("a")
	for range 31*sliceClients + 1 {
		p.get(t, "")
	}
	p.l = p.deal(p.l, []string{"a", "b"})
	if len(p.l.slices["b"]) != 0 {
		t.Fatalf("b has %v", p.l.slices["b"])
	}
	for range sliceClients - 1 {
		if l := p.get(t, ""); l.association != "a" {
			t.Errorf("got %v", l)
		}
	}
	if _, err := p.lease(p.l, nil, ""); !errors.Is(err, errPoolExhausted) {
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
