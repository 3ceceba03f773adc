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
	"text/tabwriter"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/routes"
)

// printer is the only writer of the command.
type printer struct{ out, err io.Writer }

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
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.TrimRight(r, "\t"))
	}
	w.Flush()
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

// status prints all connections; live adds what changes all the time.
func (p printer) status(s api.Status, live bool) {
	if len(s.Connections) == 0 {
		p.line("no tunnels")
	}
	for i, c := range s.Connections {
		if i > 0 {
			p.line("")
		}
		p.connection(c, live)
	}
	p.policy(s.Policy)
}

// policy prints what the administrator of the machine decides.
func (p printer) policy(x *api.Policy) {
	if x == nil {
		return
	}
	p.line("")
	if x.Source != "" {
		p.line("managed by %s", x.Source)
	}
	for _, k := range x.Keys {
		p.line("  %s %s", k.Name, k.Value)
	}
	if len(x.Profiles) > 0 {
		p.line("managed profiles: %s", strings.Join(x.Profiles, ", "))
	}
	if x.TrustedNetwork != "" {
		p.line("trusted network: %s answers; nothing connects by itself", x.TrustedNetwork)
	}
	for _, problem := range x.Problems {
		p.line("policy problem: %s", problem)
	}
}

func (p printer) connection(c api.Connection, live bool) {
	who := ""
	switch {
	case c.Owner != "":
		who = " (" + c.Owner + ")"
	case c.Managed:
		who = " (managed)"
	}
	since := ""
	if !c.Since.IsZero() {
		since = " since " + c.Since.Local().Format("2006-01-02 15:04:05")
	}
	state := strings.ReplaceAll(string(c.State), "_", " ")
	if c.Profile == "" { // another user's, of which no more is told
		p.line("a tunnel of %s: %s%s", c.Owner, state, since)
		return
	}
	p.line("%s%s: %s%s", c.Profile, who, state, since)
	p.details(c, live)
	if c.Login != nil {
		p.login(*c.Login)
	}
	if c.Problem != nil {
		p.line("  problem  %s", c.Problem.Message)
		for h := range strings.SplitSeq(c.Problem.Hint, "\n") {
			p.line("  hint     %s", h)
		}
	}
}

// login prints what a person is asked for. The service tells the address to the owner only.
func (p printer) login(l api.Login) {
	asks := ""
	switch l.Kind {
	case api.LoginPassword:
		asks = "a password"
		if l.User != "" {
			asks += " for " + l.User
		}
		if l.NeedUser && l.User == "" {
			asks = "a user name and a password"
		}
		if l.Challenge != "" {
			asks += ", and: " + l.Challenge
		}
	case api.LoginOTP:
		asks = cmp.Or(l.Prompt, "a one-time code")
	case api.LoginBrowser:
		asks = "a sign-in in the browser"
	case api.LoginWait:
		asks = "nothing here; " + cmp.Or(l.Prompt, "the server waits for a sign-in elsewhere")
	case api.LoginAgain:
		asks = "somebody who signs in again"
	}
	until := ""
	if !l.Deadline.IsZero() {
		until = ", until " + l.Deadline.Local().Format("15:04:05")
	}
	p.line("  asks     %s%s", strings.TrimRight(asks, " :"), until)
	if l.URL != "" {
		p.line("  address  %s", l.URL)
	}
}

// details prints the lines below a connection's first.
func (p printer) details(c api.Connection, live bool) {
	if c.Server.Name != "" {
		p.line("  server   %s", server(c.Server))
	}
	if len(c.Tunnel.Addresses) > 0 {
		device := ""
		if c.Tunnel.Device != "" {
			device = " on " + c.Tunnel.Device
		}
		path := ""
		if n := c.Tunnel.PathMTU; c.Tunnel.MTU <= n { // else the path is no narrower than usual
			path = fmt.Sprintf(", path MTU %d", n)
		}
		p.line("  address  %s%s, MTU %d%s", prefixes(c.Tunnel.Addresses), device, c.Tunnel.MTU, path)
	}
	if x := c.Protection; c.State == api.Connected && x.Data != "" {
		p.line("  keys     %s; control %s; %s", x.Data, x.Control, x.TLS)
	}
	if c.State == api.Connected || len(c.Routes) > 0 {
		p.line("  routes   %s", through(c))
	}
	if len(c.DNS.Servers) > 0 {
		p.line("  dns      %s", dns(c.DNS))
	}
	if live && c.State == api.Connected {
		p.line("  traffic  %s in, %s out", size(c.Counters.RxBytes), size(c.Counters.TxBytes))
	}
	if c.Guard != "" && c.Guard != "off" {
		p.line("  guard    %s", guardWords(c))
	}
	head := "banner"
	for line := range strings.Lines(c.Banner) {
		p.line("  %-8s %s", head, strings.TrimSuffix(line, "\n"))
		head = ""
	}
	if c.SessionEnds != nil {
		p.line("  session  ends %s", c.SessionEnds.Local().Format("2006-01-02 15:04:05"))
	}
	if c.CertificateExpires != nil {
		p.line("  %s", validity(*c.CertificateExpires, time.Now()))
	}
}

// event is one line of connect --userspace --json. Every change of the tunnel is a
// "status"; "ready" comes once, when the tunnel is up and the listeners serve. A failure
// is printed as always, on stderr.
type event struct {
	Event      string          `json:"event"`
	Connection *api.Connection `json:"connection,omitempty"`
	SOCKS5     string          `json:"socks5,omitempty"`
	HTTPProxy  string          `json:"http_proxy,omitempty"`
	Forwards   []forward       `json:"forwards,omitempty"`
}

// forward is a listener on this machine and where it leads inside the tunnel.
type forward struct {
	Listen string `json:"listen"`
	To     string `json:"to"`
}

// event prints one event of a tunnel in the foreground. A reader who left is no reason
// to end the tunnel.
func (p printer) event(e event) { _ = p.jsonLine(e) }

// ready prints what a tunnel in the foreground offers; the last line starts with "ready".
func (p printer) ready(c api.Connection, e event) {
	p.line("connected %s", c.Profile)
	p.details(c, false)
	if e.SOCKS5 != "" {
		p.line("  socks5   %s", e.SOCKS5)
	}
	if e.HTTPProxy != "" {
		p.line("  http     %s", e.HTTPProxy)
	}
	for _, f := range e.Forwards {
		p.line("  forward  %s to %s", f.Listen, f.To)
	}
	p.line("ready; Ctrl-C ends it")
}

// server says where a connection goes.
func server(s api.Server) string {
	if s.Address == "" {
		return s.Name
	}
	host := s.Address
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if s.Proxy != "" { // the address is the proxy's
		return fmt.Sprintf("%s:%d/%s through %s (%s)", s.Name, s.Port, s.Transport, s.Proxy, s.Address)
	}
	at := fmt.Sprintf("%s:%d/%s", host, s.Port, s.Transport)
	if s.Name == s.Address {
		return at
	}
	return s.Name + " (" + at + ")"
}

// through says which traffic a tunnel takes.
func through(c api.Connection) string {
	if c.FullTunnel {
		return "all traffic"
	}
	var list []string
	for _, r := range c.Routes {
		if c.Tunnel.Device == "" || r.Via == c.Tunnel.Device {
			list = append(list, r.Destination.String())
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func dns(d api.DNS) string {
	s := strings.Join(d.Servers, ", ")
	if len(d.Search) > 0 {
		s += "; search " + strings.Join(d.Search, ", ")
	}
	if len(d.Split) > 0 {
		s += "; only for " + strings.Join(d.Split, ", ")
	}
	if d.Manager != "" {
		s += " (by " + d.Manager + ")"
	}
	if d.Waits != "" {
		s += "; waits: names go to the servers of " + d.Waits
	}
	return s
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

// guardWords are the mode, and where there is no tunnel what it means now.
func guardWords(c api.Connection) string {
	switch {
	case c.State == api.Connected || c.State == api.Disconnected:
		return c.Guard
	case c.GuardClosed:
		return c.Guard + ", closed"
	}
	return c.Guard + ", blocks nothing yet"
}
