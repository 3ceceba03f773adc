package main

// Rules of the output: results go to stdout, everything else to stderr. An error is one line
// "adit: …", then lines "hint: …" that say what to type; a remark is "note: …". Text from
// servers and files is shown without control characters.

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/routes"
)

// printer is the only writer of the command.
type printer struct{ out, err io.Writer }

// watched keeps the first error of what is written through it. One goroutine at a time, as the writers of the command are.
type watched struct {
	to       io.Writer
	failed   error
	mayLeave bool // a reader who leaves is no error
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	if w.mayLeave && readerLeft(err) {
		return len(b), nil
	}
	if err != nil && w.failed == nil {
		w.failed = err
	}
	return n, err
}

// failure prints err and returns the exit code.
func (p printer) failure(err error) int {
	if err == nil {
		return 0
	}
	code := 1
	text, hints := err.Error(), []string(nil)
	var (
		wrong   *usageError
		advised *hintedError
		problem *api.Problem
	)
	switch {
	case errors.As(err, &wrong):
		code, hints = 2, wrong.hints
	case errors.As(err, &advised):
		hints = advised.hints
	case errors.As(err, &problem):
		text, hints = problem.Message, strings.Split(problem.Hint, "\n")
	case errors.Is(err, context.Canceled):
		text = "interrupted"
	}
	fmt.Fprintf(p.err, "adit: %s\n", clean(text))
	for _, h := range hints {
		if h != "" {
			fmt.Fprintf(p.err, "hint: %s\n", clean(h))
		}
	}
	return code
}

// note prints a remark.
func (p printer) note(format string, args ...any) {
	fmt.Fprintf(p.err, "note: %s\n", clean(fmt.Sprintf(format, args...)))
}

// line prints one line of a result.
func (p printer) line(format string, args ...any) {
	fmt.Fprintf(p.out, "%s\n", clean(fmt.Sprintf(format, args...)))
}

// text prints a profile's text as it is, for files and pipes.
func (p printer) text(s string) error {
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	_, err := io.WriteString(p.out, s)
	return err
}

// json prints v on several lines.
func (p printer) json(v any) error {
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// jsonLine prints v on one line, for streams.
func (p printer) jsonLine(v any) error { return json.NewEncoder(p.out).Encode(v) }

// table prints rows in columns; the cells of a row are separated by tabs.
func (p printer) table(rows []string) {
	var columns []int // their widths
	for _, r := range rows {
		for i, cell := range strings.Split(strings.TrimRight(r, "\t"), "\t") {
			if i == len(columns) {
				columns = append(columns, 0)
			}
			columns[i] = max(columns[i], cells(cell))
		}
	}
	var out strings.Builder
	for _, r := range rows {
		row := strings.Split(strings.TrimRight(r, "\t"), "\t")
		for i, cell := range row {
			out.WriteString(cell)
			if i < len(row)-1 {
				out.WriteString(strings.Repeat(" ", columns[i]-cells(cell)+2))
			}
		}
		out.WriteByte('\n')
	}
	io.WriteString(p.out, out.String())
}

// cells is how many places of a terminal s takes: East Asian letters take two, marks on letters none.
func cells(s string) (n int) {
	for _, r := range s {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case kind == width.EastAsianWide, kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// row makes a table's row of cells.
func row(cells ...string) string {
	for i, c := range cells {
		cells[i] = clean(c)
	}
	return strings.Join(cells, "\t")
}

// clean keeps foreign text to one line without control characters, in the order that it is read in.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
}

// short cuts a text that would spoil a table.
func short(s string) string {
	const limit = 60 // runes
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

func (p printer) profiles(list []api.Profile) {
	if len(list) == 0 {
		p.line("no profiles; import one with: adit import FILE")
		return
	}
	rows := []string{row("NAME", "STATE", "SIGN-IN", "SERVER", "CERTIFICATE UNTIL")}
	for _, x := range list {
		server := strings.Join(x.Remotes[:min(len(x.Remotes), 1)], "")
		if n := len(x.Remotes); n > 1 {
			server += fmt.Sprintf(" and %d more", n-1)
		}
		name := x.Name
		if x.Managed {
			name += " (managed)"
		}
		rows = append(rows, row(name, string(x.State), x.Auth, server, day(x.Expires)))
	}
	p.table(rows)
}

// report prints what adit check found.
func (p printer) report(r profile.Report) {
	rows := []string{row("LINE", "VERDICT", "DIRECTIVE", "WHY")}
	for _, d := range r.Directives {
		rows = append(rows, row(fmt.Sprint(d.Line), d.Verdict.String(), short(strings.Join(d.Words, " ")), cmp.Or(d.Note, d.Does)))
	}
	p.table(rows)
	p.line("")
	p.line("servers   %s", strings.Join(r.Servers, ", "))
	p.line("sign-in   %s", r.Auth)
	p.line("traffic   %s", r.Traffic.Text)
	for _, c := range r.Certificates {
		p.line("%-9s %s, %s, valid until %s", c.Role, c.Subject, c.Key, c.NotAfter.UTC().Format("2006-01-02"))
	}
	for _, f := range r.Problems {
		where := ""
		if f.Line > 0 {
			where = fmt.Sprintf("line %d: ", f.Line)
		}
		p.line("%-9s %s%s", f.Severity, where, f.Text)
	}
	if r.Usable {
		p.line("%s is usable", r.Name)
	}
}

// taken prints what became of one profile of another client.
func (p printer) taken(t taken) {
	if t.Reason != "" {
		p.line("%-8s  %s: %s", t.Result, t.Name, t.Reason)
		p.line("          from %s", t.File)
	} else {
		p.line("%-8s  %s", t.Result, t.Name)
	}
	for _, n := range t.Notes {
		p.note("%s: %s", t.Name, n)
	}
}

func (p printer) settings(s api.Settings) {
	p.table([]string{
		row("auto_connect", fmt.Sprint(s.AutoConnect)),
		row("guard", s.Guard),
		row("route+", prefixes(s.RouteAdd)),
		row("route-", prefixes(s.RouteRemove)),
		row("pull_filter", strings.Join(s.PullFilter, "; ")),
		row("proxy", s.Proxy),
		row("save_password", fmt.Sprint(s.SavePassword)),
	})
}

// routeRow is a route and whose it is: the form of adit routes --json.
type routeRow struct {
	Profile string `json:"profile"`
	api.Route
}

func (p printer) routes(list []routeRow) {
	if len(list) == 0 {
		p.line("no routes: no tunnel is connected")
		return
	}
	rows := []string{row("DESTINATION", "VIA", "PROFILE", "WHY")}
	for _, r := range list {
		rows = append(rows, row(r.Destination.String(), r.Via, r.Profile, r.Reason))
	}
	p.table(rows)
}

func (p printer) explanation(x routes.Explanation) {
	p.line("%s", x.Text)
	if x.DNS != "" {
		p.line("dns: %s", x.DNS)
	}
	if x.Guard != "" {
		p.line("guard: %s", x.Guard)
	}
}

// bundle prints what adit diagnose wrote, and what is not in it.
func (p printer) bundle(b bundle) {
	have := 0
	for _, e := range b.Entries {
		if e.Missing == "" {
			have++
		}
	}
	p.line("wrote %s: %d files, without keys and passwords; README.txt in it says what they are", b.File, have)
	for _, e := range b.Entries {
		if e.Missing != "" {
			p.line("missing: %s: %s", e.Name, e.Missing)
		}
	}
}

func (p printer) logLine(l api.LogLine) {
	profile := ""
	if l.Profile != "" {
		profile = l.Profile + ": "
	}
	p.line("%s %-5s %s%s", l.Time.Local().Format("2006-01-02 15:04:05.000"), l.Level, profile, l.Text)
}

func (p printer) versions(v versions) {
	p.line("adit   %s", build(v.Adit))
	if v.Aditd == nil {
		p.line("aditd  not reached")
		return
	}
	p.line("aditd  %s", build(*v.Aditd))
}

// release prints what adit version --check found; its first problem is the command's error.
func (p printer) release(r checkedRelease) {
	until := ""
	if r.Expires != nil {
		until = ", valid until " + day(r.Expires)
	}
	p.line("")
	rows := []string{
		row("release", fmt.Sprintf("%s of %s%s, signed with the key %s", r.Version, day(&r.Released), until, r.Key)),
		row("adit", r.Adit),
		row("aditd", cmp.Or(r.Aditd, "not reached")),
	}
	p.table(rows)
	if len(r.Programs) == 0 {
		p.line("no files are compared: the manifest has none of this version and system")
	} else {
		p.line("in %s:", r.Directory)
		if r.Service != "" {
			p.line("aditd is %s", r.Service)
		}
	}
	rows = nil
	for _, f := range r.Programs {
		rows = append(rows, row(f.Name, f.State))
	}
	p.table(rows)
	for _, text := range r.Problems {
		p.line("problem: %s", text)
	}
}

func build(v api.Version) string {
	return fmt.Sprintf("%s (%s, %s/%s)", v.Version, v.Go, v.OS, v.Arch)
}

func prefixes(list []netip.Prefix) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = x.String()
	}
	return strings.Join(words, ", ")
}

func day(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format("2006-01-02")
}

// validity says until when the person's own certificate is good, with a warning in its last days.
func validity(until, now time.Time) string {
	left := until.Sub(now)
	days := int(left / (24 * time.Hour))
	switch {
	case left <= 0:
		return "warning  your certificate expired on " + day(&until) + "; ask for a new one"
	case left >= profile.ExpiresSoon:
		return "your certificate is valid until " + day(&until)
	case days == 0:
		return "warning  your certificate expires at " + until.Local().Format("2006-01-02 15:04") + "; ask for a new one"
	case days == 1:
		return "warning  your certificate expires on " + day(&until) + ", in 1 day; ask for a new one"
	}
	return fmt.Sprintf("warning  your certificate expires on %s, in %d days; ask for a new one", day(&until), days)
}

// size prints bytes in the decimal units that networks are sold in.
func size(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 1000 && unit < 4 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", value, " kMGT"[unit])
}
