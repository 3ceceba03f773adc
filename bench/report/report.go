// Package report keeps what a benchmark measured and puts it into words: ratios of what was
// measured in turns, goals and how far they are met, a table for the terminal, a page in
// Markdown and a chart in SVG. It measures nothing itself.
package report

import (
	"slices"
)

// Metric is one quantity, measured for several contenders.
type Metric struct {
	ID    string // unique
	Title string // for people
	Unit  string // "Mbit/s", "ms"
	Less  bool   // less is better
	Hide  bool   // not in the chart
}

// Ref is one contender's figure of one metric.
type Ref struct{ Metric, Contender string }

// Figures are the samples of one run, in the order in which they were taken. Not safe for
// concurrent use. The zero value is empty.
type Figures struct {
	metrics    []Metric
	contenders map[string][]string // by metric, in the order of the first sample
	samples    map[Ref][]float64
}

// Add takes one sample. The first one fixes what is known of the metric.
func (f *Figures) Add(m Metric, contender string, value float64) {
	if f.samples == nil {
		f.samples, f.contenders = map[Ref][]float64{}, map[string][]string{}
	}
	if _, ok := f.contenders[m.ID]; !ok {
		f.metrics = append(f.metrics, m)
	}
	ref := Ref{m.ID, contender}
	if f.samples[ref] == nil {
		f.contenders[m.ID] = append(f.contenders[m.ID], contender)
	}
	f.samples[ref] = append(f.samples[ref], value)
}

// Metrics are those that have samples, in the order of the first ones.
func (f *Figures) Metrics() []Metric { return f.metrics }

// Contenders are those that have samples of a metric, in the order of the first ones.
func (f *Figures) Contenders(metric string) []string { return f.contenders[metric] }

// Median of the samples; ok is false when there are none.
func (f *Figures) Median(r Ref) (median float64, ok bool) {
	if len(f.samples[r]) == 0 {
		return 0, false
	}
	return SpreadOf(f.samples[r]).Median, true
}

// Spread of the samples; ok is false when there are none.
func (f *Figures) Spread(r Ref) (s Spread, ok bool) {
	if len(f.samples[r]) == 0 {
		return s, false
	}
	return SpreadOf(f.samples[r]), true
}

// Ratio compares a with b: the ratio of the medians, and the least and the greatest ratio of two
// samples that were taken one after the other.
func (f *Figures) Ratio(a, b Ref) (s Spread, ok bool) {
	x, y := f.samples[a], f.samples[b]
	if len(x) == 0 || len(y) == 0 {
		return s, false
	}
	pairs := make([]float64, 0, len(x))
	for i := range min(len(x), len(y)) {
		if y[i] != 0 {
			pairs = append(pairs, x[i]/y[i])
		}
	}
	median := SpreadOf(y).Median
	if len(pairs) == 0 || median == 0 {
		return s, false
	}
	s = SpreadOf(pairs)
	s.Median = SpreadOf(x).Median / median
	return s, true
}

// Spread is a sample's least, median and greatest value.
type Spread struct{ Min, Median, Max float64 }

// SpreadOf wants at least one value.
func SpreadOf(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	return Spread{v[0], Percentile(v, 50), v[len(v)-1]}
}

// Percentile of sorted values, of which there must be at least one; between two neighbours it
// takes the share of each.
func Percentile(sorted []float64, percent float64) float64 {
	at := percent / 100 * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	share := at - float64(i)
	return sorted[i]*(1-share) + sorted[i+1]*share
}
