package nft

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestMerge: the ranges hold what the prefixes hold, are in order, and neither overlap nor touch.
func TestMerge(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		v4 := seed%2 == 0
		var ps []netip.Prefix
		for range 1 + r.IntN(20) {
			// Few different bits, so that prefixes meet.
			b := make([]byte, 16)
			b[0], b[1] = byte(r.IntN(4)<<6), byte(r.IntN(256))
			if v4 {
				b = b[:4]
			}
			a, _ := netip.AddrFromSlice(b)
			ps = append(ps, netip.PrefixFrom(a, r.IntN(17)).Masked())
		}
		var rs []span
		for _, p := range ps {
			rs = append(rs, spanOf(p))
		}
		rs = merge(rs)
		for i := 1; i < len(rs); i++ {
			end, more := after(rs[i-1].last)
			if !more || bytes.Compare(end, rs[i].first) >= 0 {
				t.Fatalf("seed %d: %v overlap or touch", seed, rs)
			}
		}
		in := func(a netip.Addr) bool {
			for _, s := range rs {
				if bytes.Compare(s.first, a.AsSlice()) <= 0 && bytes.Compare(a.AsSlice(), s.last) <= 0 {
					return true
				}
			}
			return false
		}
		check := func(a netip.Addr) {
			want := false
			for _, p := range ps {
				want = want || p.Contains(a)
			}
			if in(a) != want {
				t.Fatalf("seed %d: %s in %v: %t, want %t", seed, a, ps, !want, want)
			}
		}
		for _, s := range rs { // at the edges, where it may go wrong
			for _, edge := range [][]byte{s.first, s.last} {
				a, _ := netip.AddrFromSlice(edge)
				for _, x := range []netip.Addr{a, a.Prev(), a.Next()} {
					if x.IsValid() {
						check(x)
					}
				}
			}
		}
	}
	for text, want := range map[string]bool{"0.0.0.0/0": true, "::/0": true, "0.0.0.0/1": false, "128.0.0.0/1": false, "::/1": false} {
		if got := spanOf(netip.MustParsePrefix(text)).whole(); got != want {
			t.Errorf("%s is a whole family: %t", text, got)
		}
	}
	if both := merge([]span{spanOf(netip.MustParsePrefix("128.0.0.0/1")), spanOf(netip.MustParsePrefix("0.0.0.0/1"))}); len(both) != 1 || !both[0].whole() {
		t.Errorf("two halves make %v", both)
	}
}
