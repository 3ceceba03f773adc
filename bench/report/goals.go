package report

import (
	"fmt"
	"strings"
)

// Goal is a bound on one figure, or on its ratio to another one.
type Goal struct {
	Line   string // groups goals, as "1"
	Text   string
	Ours   Ref // the zero value: measured elsewhere, by what Text says
	Theirs Ref // the zero value: Ours itself has the bound
	Most   bool
	Bound  float64
	Aim    float64 // 0: no further than Bound
	Unit   string  // of a bound without Theirs
}

// Verdict is how far one goal is met.
type Verdict struct {
	Goal
	Measured bool
	Value    Spread
}

// Met says whether the median keeps the bound.
func (v Verdict) Met() bool {
	if v.Most {
		return v.Measured && v.Value.Median <= v.Bound
	}
	return v.Measured && v.Value.Median >= v.Bound
}

// Judge looks at all goals.
func (f *Figures) Judge(goals []Goal) []Verdict {
	all := make([]Verdict, len(goals))
	for i, g := range goals {
		all[i].Goal = g
		if g.Theirs == (Ref{}) {
			all[i].Value, all[i].Measured = f.Spread(g.Ours)
		} else {
			all[i].Value, all[i].Measured = f.Ratio(g.Ours, g.Theirs)
		}
	}
	return all
}

// bound is the demand in signs: "≥ 6× (aim 8×)".
func (g Goal) bound() string {
	sign, unit := "≥", g.unit()
	if g.Most {
		sign = "≤"
	}
	s := sign + " " + number(g.Bound) + unit
	if g.Aim != 0 {
		s += " (aim " + number(g.Aim) + unit + ")"
	}
	return s
}

func (g Goal) unit() string {
	switch {
	case g.Theirs != (Ref{}):
		return "×"
	case g.Unit == "":
		return ""
	}
	return " " + g.Unit
}

// said is the verdict in a word.
func (v Verdict) said() string {
	switch {
	case !v.Measured:
		return "not measured"
	case v.Met():
		return "met"
	}
	return "falls short"
}

// value is what was measured: "3.02× (2.80 to 3.11)".
func (v Verdict) value() string {
	if !v.Measured {
		return "–"
	}
	return fmt.Sprintf("%s%s (%s to %s)", number(v.Value.Median), v.unit(), number(v.Value.Min), number(v.Value.Max))
}

// Short lists the goals that were measured and are not met, one line each.
func Short(verdicts []Verdict) []string {
	var lines []string
	for _, v := range verdicts {
		if v.Measured && !v.Met() {
			lines = append(lines, fmt.Sprintf("%s. %s: %s, wanted %s", v.Line, v.Text, v.value(), v.bound()))
		}
	}
	return lines
}

// number has three digits that count, and no more than there are.
func number(v float64) string {
	s := fmt.Sprintf("%.2f", v)
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		s = fmt.Sprintf("%.1f", v)
	case v != 0 && v < 0.095 && v > -0.095:
		s = fmt.Sprintf("%.3f", v)
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
