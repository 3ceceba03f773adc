//go:build linux

package lab

import "testing"

// cover chooses from all combinations of factors (by number of values) that
// allowed permits a small set in which every strength values of as many factors
// meet that can meet at all: each time the combination that adds the most.
func cover(values []int, strength int, allowed func(choice []int) bool) [][]int {
	var all [][]int
	for _, c := range combinations(values) {
		if allowed(c) {
			all = append(all, c)
		}
	}
	meetings := meetingsOf(values, strength)
	missing := map[int]bool{}
	of := make([][]int, len(all))
	for i, c := range all {
		of[i] = meetings(c)
		for _, m := range of[i] {
			missing[m] = true
		}
	}
	var chosen [][]int
	for len(missing) > 0 {
		best, most := -1, 0
		for i := range all {
			n := 0
			for _, m := range of[i] {
				if missing[m] {
					n++
				}
			}
			if n > most {
				best, most = i, n
			}
		}
		for _, m := range of[best] {
			delete(missing, m)
		}
		chosen = append(chosen, all[best])
	}
	return chosen
}

// meetingsOf returns what numbers the groups of strength values in a choice.
func meetingsOf(values []int, strength int) func(choice []int) []int {
	var groups [][]int // of factors
	var extend func(from int, group []int)
	extend = func(from int, group []int) {
		if len(group) == strength {
			groups = append(groups, append([]int{}, group...))
			return
		}
		for f := from; f < len(values); f++ {
			extend(f+1, append(group, f))
		}
	}
	extend(0, nil)
	return func(choice []int) (out []int) {
		base := 0
		for _, g := range groups {
			number, size := 0, 1
			for _, f := range g {
				number, size = number*values[f]+choice[f], size*values[f]
			}
			out = append(out, base+number)
			base += size
		}
		return out
	}
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

// TestCover compares the matrix's choices with the plain definition.
func TestCover(t *testing.T) {
	values := factorSizes()
	allowed := func(c []int) bool { return cellOf("", c).possible() }
	set := cover(values, 2, allowed)
	for _, c := range set {
		if !allowed(c) {
			t.Errorf("%s is not possible", cellOf("", c).name())
		}
	}
	meet := func(in [][]int, f, v, g, w int) bool {
		for _, c := range in {
			if c[f] == v && c[g] == w && allowed(c) {
				return true
			}
		}
		return false
	}
	all, impossible := combinations(values), 0
	for f := range values {
		for g := f + 1; g < len(values); g++ {
			for v := range values[f] {
				for w := range values[g] {
					switch possible := meet(all, f, v, g, w); {
					case !possible:
						impossible++
					case !meet(set, f, v, g, w):
						t.Errorf("factor %d value %d never meets factor %d value %d", f, v, g, w)
					}
				}
			}
		}
	}
	if impossible != 1 { // fragment over TCP
		t.Errorf("%d pairs of values are impossible", impossible)
	}
	if len(set) > 20 {
		t.Errorf("%d cells for each pair of peers", len(set))
	}
}
