package report

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// The chart's sizes, in pixels.
const (
	chartWidth = 760
	labelWidth = 150 // of a contender's name
	valueWidth = 130 // right of the longest bar
	barHeight  = 16
	lineHeight = 20
	headHeight = 34
)

// Chart draws the medians as bars, one group a metric; bars of one group share a scale. It has no
// background of its own, and colours that can be read on white and on black. Contenders of skip are left out: one that is far
// ahead makes all others equal.
func (f *Figures) Chart(title string, skip ...string) string {
	var body strings.Builder
	y := headHeight
	for _, m := range f.metrics {
		if m.Hide {
			continue
		}
		better := "more is better"
		if m.Less {
			better = "less is better"
		}
		y += headHeight
		fmt.Fprintf(&body, `<text x="0" y="%d" class="head">%s</text><text x="%d" y="%d" class="unit">%s, %s</text>`+"\n",
			y-10, html.EscapeString(m.Title), chartWidth, y-10, html.EscapeString(m.Unit), better)
		y = f.bars(&body, m, skip, y)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		chartWidth, y+10, chartWidth, y+10, html.EscapeString(title))
	b.WriteString(`<style>
text{font:13px system-ui,sans-serif;fill:#57606a}
.title{font-size:17px;font-weight:600}.head{font-weight:600}.unit{text-anchor:end;font-size:12px}.name{text-anchor:end}
.ours{fill:#2da44e}.theirs{fill:#8c959f}
@media(prefers-color-scheme:dark){text{fill:#9da7b1}.ours{fill:#3fb950}.theirs{fill:#6e7681}}
</style>
`)
	fmt.Fprintf(&b, `<text x="0" y="20" class="title">%s</text>`+"\n", html.EscapeString(title))
	b.WriteString(body.String())
	b.WriteString("</svg>\n")
	return b.String()
}

// bars draws one group from y on and returns where it ends.
func (f *Figures) bars(b *strings.Builder, m Metric, skip []string, y int) int {
	names := slices.DeleteFunc(slices.Clone(f.Contenders(m.ID)), func(n string) bool { return slices.Contains(skip, n) })
	most := 0.0
	for _, name := range names {
		v, _ := f.Median(Ref{m.ID, name})
		most = max(most, v)
	}
	for _, name := range names {
		v, _ := f.Median(Ref{m.ID, name})
		width := 1.0
		if most > 0 {
			width = max(1, v/most*(chartWidth-labelWidth-valueWidth))
		}
		class := "theirs"
		if strings.HasPrefix(name, "adit") {
			class = "ours"
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" class="name">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" rx="2" class="%s"/><text x="%.1f" y="%d">%s</text>`+"\n",
			labelWidth-8, y+barHeight-4, html.EscapeString(name), labelWidth, y, width, barHeight, class,
			labelWidth+width+6, y+barHeight-4, number(v))
		y += lineHeight
	}
	return y
}
