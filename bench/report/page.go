package report

import (
	"fmt"
	"strings"
)

// Fact is one line about the run: what, and its value.
type Fact struct{ Name, Value string }

// Page is a run as a document.
type Page struct {
	Title    string
	Chart    string   // file name of the chart beside it; empty: none
	Method   []string // paragraphs or lists in Markdown
	Facts    []Fact   // machine, date, versions
	Goals    []Verdict
	Figures  *Figures
	Sections []Section // after the figures
}

// Section is preformatted text with a heading.
type Section struct{ Title, About, Text string }

// Markdown is the document.
func (p Page) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", p.Title)
	for _, m := range p.Method {
		fmt.Fprintf(&b, "%s\n\n", m)
	}
	if p.Chart != "" {
		fmt.Fprintf(&b, "![Medians of this run](%s)\n\n", p.Chart)
	}
	b.WriteString("## Goals\n")
	met, measured := 0, 0
	for _, v := range p.Goals {
		if v.Measured {
			measured++
		}
		if v.Met() {
			met++
		}
	}
	fmt.Fprintf(&b, "%d of %d measured goals are met; %d were not measured in this run. In parentheses the least and the greatest ratio of two neighbours in time.\n\n",
		met, measured, len(p.Goals)-measured)
	b.WriteString("| | goal | wanted | measured | |\n|---|---|---|---|---|\n")
	for _, v := range p.Goals {
		said := v.said()
		if said == "falls short" {
			said = "**falls short**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", v.Line, cell(v.Text), v.bound(), v.value(), said)
	}
	b.WriteString("\n## The run\n| | |\n|---|---|\n")
	for _, f := range p.Facts {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(f.Name), cell(f.Value))
	}
	b.WriteString("\n## All figures\nMedians, with least and greatest; ratios are to the first line of each group.\n\n")
	b.WriteString("| | | median | min to max | ratio | pairs |\n|---|---|---|---|---|---|\n")
	for _, m := range p.Figures.Metrics() {
		title := m.Title + ", " + m.Unit
		for _, r := range p.Figures.rows(m) {
			fmt.Fprintf(&b, "| %s | %s | %s | %s to %s | %s | %s |\n", cell(title), cell(r.contender), r.median, r.min, r.max, r.ratio, r.pairs)
			title = ""
		}
	}
	for _, s := range p.Sections {
		fmt.Fprintf(&b, "\n## %s\n%s\n", s.Title, s.About)
		if s.Text != "" {
			fmt.Fprintf(&b, "\n```\n%s\n```\n", strings.TrimRight(s.Text, "\n"))
		}
	}
	return b.String()
}

// cell keeps text inside its column.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}
