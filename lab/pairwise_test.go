//go:build linux

package lab

import "testing"

// pairwise chooses from all combinations of factors (by number of values) a small
// set in which every pair of values of two factors meets: each time the
// combination that covers the most pairs that are still missing.
func pairwise(values []int) [][]int {
	type pairOf struct{ f, v, g, w int }
	missing := map[pairOf]bool{}
	all := combinations(values)
	pairs := func(c []int) (out []pairOf) {
		for f := range c {
			for g := f + 1; g < len(c); g++ {
				out = append(out, pairOf{f, c[f], g, c[g]})
			}
		}
		return out
	}
	for _, c := range all {
		for _, p := range pairs(c) {
			missing[p] = true
		}
	}
	var chosen [][]int
	for len(missing) > 0 {
		best, most := -1, 0
		for i, c := range all {
			n := 0
			for _, p := range pairs(c) {
				if missing[p] {
					n++
				}
			}
			if n > most {
				best, most = i, n
			}
		}
		for _, p := range pairs(all[best]) {
			delete(missing, p)
		}
		chosen = append(chosen, all[best])
	}
	return chosen
}

// combinations lists every choice of one value per factor.
func combinations(values []int) [][]int {
	all := [][]int{{}}
	for _, n := range values {
		var next [][]int
		for _, c := range all {
			for v := range n {
				next = append(next, append(append([]int{}, c...), v))
			}
		}
		all = next
	}
	return all
}

func TestPairwise(t *testing.T) {
	values := factorSizes()
	set := pairwise(values)
	for f := range values {
		for g := f + 1; g < len(values); g++ {
			for v := range values[f] {
				for w := range values[g] {
					found := false
					for _, c := range set {
						found = found || c[f] == v && c[g] == w
					}
					if !found {
						t.Errorf("factor %d value %d never meets factor %d value %d", f, v, g, w)
					}
				}
			}
		}
	}
	if full := len(combinations(values)); full != 72 || len(set) > 14 {
		t.Errorf("%d of %d cells", len(set), full)
	}
}
