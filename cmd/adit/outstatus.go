package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

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
	if c.Hidden {
		p.line("  owner    another user of this machine")
	}
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
	if live && c.State == api.Connected && !c.Hidden {
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

// event prints one event of a tunnel in the foreground. Nothing that goes wrong with it is a
// reason to end the tunnel; the command's exit code tells.
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
	if c.Hidden {
		return "told to that user only"
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
