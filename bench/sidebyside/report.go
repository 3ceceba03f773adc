//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is everything about one transport. Index 0 is openvpn, 1 is adit.
type result struct {
	transport string
	flows     [2][directions][]flow
	connects  [2]connects
}

// connects are times to the first ping, by way, in the order of the first use.
type connects struct {
	ways  []string
	times map[string][]float64 // ms
}

func (c *connects) add(way string, took time.Duration) {
	if c.times == nil {
		c.times = map[string][]float64{}
	}
	if c.times[way] == nil {
		c.ways = append(c.ways, way)
	}
	c.times[way] = append(c.times[way], float64(took)/1e6)
}

// spread is a sample's least, median and greatest value.
type spread struct{ min, median, max float64 }

// spreadOf wants at least one value.
func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	m := v[len(v)/2]
	if len(v)%2 == 0 {
		m = (v[len(v)/2-1] + m) / 2
	}
	return spread{v[0], m, v[len(v)-1]}
}

func each(flows []flow, f func(flow) float64) spread {
	v := make([]float64, len(flows))
	for i, x := range flows {
		v[i] = f(x)
	}
	return spreadOf(v)
}

func rate(f flow) float64      { return f.mbits }
func processor(f flow) float64 { return f.processor.Seconds() }
func resent(f flow) float64    { return float64(f.retransmit) }

// ratio compares what was measured in turns: the ratio of the medians, and the
// least and greatest ratio of two neighbours.
func (r *result) ratio(d direction) spread {
	a, b := r.flows[0][d], r.flows[1][d]
	pairs := make([]float64, len(a))
	for i := range a {
		pairs[i] = b[i].mbits / a[i].mbits
	}
	s := spreadOf(pairs)
	s.median = each(b, rate).median / each(a, rate).median
	return s
}

// table is for people.
func (r *result) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "stream\t\tMbit/s min\tmedian\tmax\tprocessor s/GB\tresent\tratio\t(pairs)\t\n")
	for d := range directions {
		for i, name := range []string{openvpnName, aditName} {
			m := each(r.flows[i][d], rate)
			fmt.Fprintf(w, "%v\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.0f\t", d, name, m.min, m.median, m.max,
				each(r.flows[i][d], processor).median, each(r.flows[i][d], resent).median)
			if i == 1 {
				q := r.ratio(d)
				fmt.Fprintf(w, "%.2f\t(%.2f to %.2f)\t", q.median, q.min, q.max)
			} else {
				fmt.Fprint(w, "\t\t")
			}
			fmt.Fprintln(w)
		}
	}
	w.Flush()
	if len(r.connects[0].ways) > 0 {
		fmt.Fprintln(w, "first answered ping\tms min\tmedian\tmax\t")
		for _, c := range r.connects {
			for _, way := range c.ways {
				m := spreadOf(c.times[way])
				fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t\n", way, m.min, m.median, m.max)
			}
		}
		w.Flush()
	}
	return b.String()
}

// below lists what falls short of the demanded ratio, and of openvpn's time to connect.
func (r *result) below(least float64) (short []string) {
	for d := range directions {
		if q := r.ratio(d).median; q < least {
			short = append(short, fmt.Sprintf("%s %v: the ratio %.2f is below %.2f", r.transport, d, q, least))
		}
	}
	if a, b := r.connects[0], r.connects[1]; len(a.ways) > 0 && len(b.ways) > 0 {
		theirs, ours := spreadOf(a.times[a.ways[0]]).median, spreadOf(b.times[b.ways[0]]).median
		if ours > theirs {
			short = append(short, fmt.Sprintf("%s: the first ping is answered after %.1f ms, openvpn's after %.1f ms", r.transport, ours, theirs))
		}
	}
	return short
}
