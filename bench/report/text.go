package report

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// row is one contender's figure of one metric, in words. Base is the first contender of the metric.
type row struct {
	contender, min, median, max, ratio, pairs string
}

func (f *Figures) rows(m Metric) []row {
	names := f.Contenders(m.ID)
	all := make([]row, len(names))
	for i, name := range names {
		s, _ := f.Spread(Ref{m.ID, name})
		all[i] = row{contender: name, min: number(s.Min), median: number(s.Median), max: number(s.Max)}
		if i == 0 {
			continue
		}
		if q, ok := f.Ratio(Ref{m.ID, name}, Ref{m.ID, names[0]}); ok {
			all[i].ratio, all[i].pairs = number(q.Median)+"×", number(q.Min)+" to "+number(q.Max)
		}
	}
	return all
}

// Text is a table for the terminal: of the metrics that keep says (nil: of all). Ratios are to the
// first contender.
func (f *Figures) Text(keep func(Metric) bool) string {
	var b strings.Builder
	for _, m := range f.metrics {
		if keep != nil && !keep(m) {
			continue
		}
		fmt.Fprintf(&b, "%s, %s\n", m.Title, m.Unit)
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(w, "\tmin\tmedian\tmax\tratio\t(pairs)\t\n")
		for _, r := range f.rows(m) {
			pairs := r.pairs
			if pairs != "" {
				pairs = "(" + pairs + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t\n", r.contender, r.min, r.median, r.max, r.ratio, pairs)
		}
		w.Flush()
		b.WriteByte('\n')
	}
	return b.String()
}

// GoalText is a table of verdicts for the terminal.
func GoalText(verdicts []Verdict) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\tgoal\twanted\tmeasured\t\n")
	for _, v := range verdicts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.Line, v.Text, v.bound(), v.value(), v.said())
	}
	w.Flush()
	return b.String()
}
