package release

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

const rule = "--------------------------------------------------------------------------------"

// Notice is the file NOTICE: what others have written that is in the programs, and the terms of it. The same modules have the same
// text.
func Notice(modules []Module) string {
	var s strings.Builder
	s.WriteString(`Adit is licensed under the Apache License, Version 2.0, in the file LICENSE. Its programs contain what others have
written, under the terms below. Generated from what the programs link on Linux, Windows and macOS (make notice).

`)
	table := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODULE\tVERSION\tLICENCES\tIN")
	for _, m := range modules {
		if len(m.Texts) == 0 { // Adit's own
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", m.title(), m.Version, strings.Join(m.Licences, ", "), strings.Join(m.Programs, ", "))
	}
	table.Flush()

	var order []string
	of := map[string][]string{}
	for _, m := range modules {
		for _, t := range m.Texts {
			if of[t.Body] == nil {
				order = append(order, t.Body)
			}
			of[t.Body] = append(of[t.Body], m.title()+": "+t.Name)
		}
	}
	for _, body := range order {
		fmt.Fprintf(&s, "\n%s\n%s\n%s\n\n%s\n", rule, strings.Join(of[body], "\n"), rule, body)
	}
	return s.String()
}

func (m Module) title() string {
	switch m.Path {
	case Standard:
		return "Go's standard library and runtime"
	case Own:
		return "Adit: fonts"
	}
	return m.Path
}
