package view

import (
	"cmp"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// maxNetworks is how many networks are listed: more are found by searching.
const maxNetworks = 500

func (r renderer) detail() *Detail {
	p, ok := r.profile(r.selected)
	if !ok {
		return nil
	}
	c := r.connection(p)
	if !r.reachable() { // nothing of it is known to be true still
		c = none(p)
	}
	d := &Detail{Name: p.Name, Title: clean(p.Name, maxDetail), State: c.State, Icon: iconOf(c), Text: r.stateText(c.State), Sentence: r.sentence(c),
		Progress: moving(c.State) || r.busy[p.Name] != "", Buttons: r.buttons(p, c), Rows: r.rows(p, c), Through: r.through(c)}
	if p.Managed {
		d.Managed = r.t(i18n.ManagedProfile)
	}
	if !r.reachable() {
		d.Icon, d.Text, d.Sentence, d.Progress = IconUnknown, "", r.t(i18n.SaysService), false
		d.Through = Through{}
		return d
	}
	d.Notice = r.notice(cmp.Or(r.problems[p.Name], c.Problem))
	if d.Notice != nil && d.Notice.Code == api.CodeSessionEnded && c.State == api.Reconnecting {
		d.Notice.Hints = nil // what they ask for is under way
	}
	if c.State != api.Disconnected && !c.Since.IsZero() {
		d.Since, d.Elapsed = r.t(i18n.Since, "time", r.moment(c.Since)), i18n.Clock(r.now.Sub(c.Since))
	}
	if m := r.meters[p.Name]; m != nil && c.State == api.Connected && !c.Hidden {
		d.Throughput = r.throughput(m)
	}
	return d
}

// sentence says what a state means for the person's traffic.
func (r renderer) sentence(c api.Connection) string {
	switch c.State {
	case api.Disconnected:
		if r.policy.Trusted {
			return r.t(i18n.SaysDisconnected) + r.gap() + r.t(i18n.SaysTrusted)
		}
		return r.t(i18n.SaysDisconnected)
	case api.Connecting:
		if c.GuardClosed {
			return r.t(i18n.SaysConnectingGuarded)
		}
		return r.t(i18n.SaysConnecting)
	case api.NeedsLogin:
		if asksAnother(c) {
			if c.GuardClosed {
				return r.t(i18n.SaysAnotherGuarded)
			}
			return r.t(i18n.SaysAnotherSignsIn)
		}
		if c.GuardClosed {
			return r.t(i18n.SaysSignInGuarded) + r.gap() + r.t(i18n.SaysSignInUnderWay)
		}
		return r.t(i18n.SaysNeedsLogin)
	case api.Connected:
		switch {
		case c.Login != nil:
			return r.t(i18n.SaysAskedWhileUp)
		case c.FullTunnel && c.Hidden:
			return r.t(i18n.SaysAnotherAll)
		case c.FullTunnel:
			return r.t(i18n.SaysConnectedAll)
		case c.Hidden:
			return r.t(i18n.SaysAnotherSome)
		case len(into(c)) == 0:
			return r.t(i18n.SaysConnectedNone)
		}
		return r.t(i18n.SaysConnectedSome)
	case api.Reconnecting:
		if c.GuardClosed {
			return r.t(i18n.SaysReconnecting) + r.gap() + r.t(i18n.SaysGuarded)
		}
		return r.t(i18n.SaysReconnecting) + r.gap() + r.t(i18n.SaysUnguarded)
	case api.Disconnecting:
		return r.t(i18n.SaysDisconnecting)
	case api.Blocked:
		return r.t(i18n.SaysBlocked)
	}
	return ""
}

// asksAnother says whether a connection waits for another person of this machine: that one alone is told the question.
func asksAnother(c api.Connection) bool {
	return c.State == api.NeedsLogin && c.Hidden
}

// gap is between two sentences.
func (r renderer) gap() string {
	if r.l == i18n.Japanese {
		return ""
	}
	return " "
}

// mainButton is the one thing to do with a profile now.
func (r renderer) mainButton(p api.Profile) Button {
	c := r.connection(p)
	if !r.reachable() {
		c = none(p)
	}
	b := Button{Label: r.t(i18n.Connect), Action: Action{ActionConnect, p.Name}, Enabled: true, Default: true}
	switch c.State {
	case api.Connecting, api.Reconnecting:
		b.Label, b.Action.Kind = r.t(i18n.CancelConnect), ActionDisconnect
	case api.NeedsLogin:
		if !asksAnother(c) { // else who connects takes the place of one who has left
			b.Label, b.Action.Kind = r.t(i18n.SignIn), ActionSignIn
		}
	case api.Connected:
		b.Label, b.Action.Kind = r.t(i18n.Disconnect), ActionDisconnect
	case api.Disconnecting:
		b.Enabled, b.Why = false, r.t(i18n.WhyDisconnect)
	}
	switch {
	case b.Action.Kind != ActionDisconnect:
	case p.Managed && r.policy.AlwaysOn && r.policy.AutoConnect == p.Name:
		b.Enabled, b.Why = false, r.t(i18n.WhyAlwaysOn)
	case c.Hidden:
		b.Enabled, b.Why = false, r.t(i18n.WhyAnother)
	}
	if r.busy[p.Name] == b.Action.Kind {
		b.Enabled, b.Why = false, r.t(i18n.WhyWorking)
	}
	if !r.reachable() {
		b.Enabled, b.Why = false, r.noService()
	}
	return b
}

func (r renderer) buttons(p api.Profile, c api.Connection) []Button {
	first := r.mainButton(p)
	list := []Button{first}
	add := func(k i18n.Key, kind ActionKind) {
		list = append(list, Button{Label: r.t(k), Action: Action{kind, p.Name}, Enabled: first.Why == "" || kind != ActionDisconnect && kind != ActionSignIn})
	}
	switch {
	case c.State == api.NeedsLogin || c.State == api.Blocked:
		if p.Managed && r.policy.AlwaysOn && r.policy.AutoConnect == p.Name {
			break
		}
		add(i18n.Disconnect, ActionDisconnect)
	case c.State == api.Connected && c.Login != nil:
		add(i18n.SignIn, ActionSignIn)
	case c.State == api.Connected && r.demo && p.Name == r.bundled:
		add(i18n.OpenDemo, ActionDemoPage)
	}
	if c.State == api.Blocked {
		add(i18n.ShowGuard, ActionGuard)
	}
	if c.Banner != "" {
		add(i18n.ShowBanner, ActionBanner)
	}
	if expires := cmp.Or(c.CertificateExpires, p.Expires); expires != nil && expires.Sub(r.now) < profile.ExpiresSoon {
		add(i18n.ShowCertificate, ActionCertificate)
	}
	why := ""
	switch {
	case !r.reachable():
		why = r.noService()
	case p.Managed:
		why = r.t(i18n.WhyManaged)
	case r.busy[p.Name] != "":
		why = r.t(i18n.WhyWorking)
	case r.inUse(c):
		why = r.t(i18n.WhyInUse)
	}
	return append(list,
		Button{Label: r.t(i18n.Rename), Action: Action{ActionAskRename, p.Name}, Enabled: why == "", Why: why},
		Button{Label: r.t(i18n.Remove), Action: Action{ActionAskRemove, p.Name}, Enabled: why == "", Why: why})
}

// rows are the facts, those that there are.
func (r renderer) rows(p api.Profile, c api.Connection) []Row {
	var rows []Row
	add := func(label i18n.Key, value string) {
		if value != "" {
			rows = append(rows, Row{Label: r.t(label), Value: value})
		}
	}
	if c.Server.Name == "" {
		add(i18n.RowServer, r.list(p.Remotes, 3))
		add(i18n.RowSignIn, r.signInKind(p.Auth))
	} else {
		add(i18n.RowServer, r.server(c.Server))
		add(i18n.RowProxy, clean(c.Server.Proxy, maxDetail))
	}
	var addresses []string
	for _, a := range c.Tunnel.Addresses {
		addresses = append(addresses, a.String())
	}
	add(i18n.RowAddress, r.list(addresses, 8))
	if c.Tunnel.Device != "" {
		add(i18n.RowDevice, r.t(i18n.RowMTU, "device", clean(c.Tunnel.Device, maxDetail), "mtu", strconv.Itoa(c.Tunnel.MTU)))
	}
	up := c.State == api.Connected && !c.Hidden
	switch {
	case len(c.DNS.Servers) > 0:
		servers := r.list(c.DNS.Servers, 8)
		if c.DNS.Waits != "" {
			servers = r.t(i18n.DNSWaits, "servers", servers, "other", clean(c.DNS.Waits, maxTitle))
		}
		add(i18n.RowDNS, servers)
		add(i18n.RowDNSOnly, r.list(c.DNS.Split, 20))
		add(i18n.RowSearch, r.list(c.DNS.Search, 20))
	case up:
		add(i18n.RowDNS, r.t(i18n.DNSSystem))
	}
	if up {
		add(i18n.RowReceived, i18n.Bytes(c.Counters.RxBytes))
		add(i18n.RowSent, i18n.Bytes(c.Counters.TxBytes))
		if x := c.Protection; x.Data != "" {
			add(i18n.RowProtection, r.t(i18n.ProtectionWords, "data", clean(x.Data, maxDetail), "control", clean(x.Control, maxDetail), "tls", clean(x.TLS, maxDetail)))
		}
	}
	if c.State != api.Disconnected {
		add(i18n.RowGuard, r.guardWords(c.Guard))
	}
	if c.SessionEnds != nil {
		add(i18n.RowSession, r.t(i18n.In, "moment", r.moment(*c.SessionEnds), "duration", i18n.Duration(r.l, ceilMinute(c.SessionEnds.Sub(r.now)))))
	}
	if expires := cmp.Or(c.CertificateExpires, p.Expires); expires != nil {
		text, warn := r.validity(*expires)
		rows = append(rows, Row{r.t(i18n.RowCertificate), text, warn})
	}
	return rows
}

// ceilMinute keeps what is counted down from changing more often than once a minute, and from saying 0 early.
func ceilMinute(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return (d + time.Minute - 1).Truncate(time.Minute)
}

func (r renderer) validity(until time.Time) (text string, warn bool) {
	left := until.Sub(r.now)
	switch {
	case left <= 0:
		return r.t(i18n.Expired, "date", r.date(until)), true
	case left < profile.ExpiresSoon:
		return r.t(i18n.ExpiresIn, "date", r.date(until), "duration", r.days(left)), true
	}
	return r.t(i18n.ValidUntil, "date", r.date(until)), false
}

// days is a duration in whole days while there are any.
func (r renderer) days(d time.Duration) string {
	if d >= 24*time.Hour {
		d = d.Truncate(24 * time.Hour)
	} else {
		d = ceilMinute(d)
	}
	return i18n.Duration(r.l, d)
}

func (r renderer) signInKind(auth string) string {
	var words []string
	for kind := range strings.SplitSeq(auth, "+") {
		switch kind {
		case "certificate":
			words = append(words, r.t(i18n.KindCertificate))
		case "password":
			words = append(words, r.t(i18n.KindPassword))
		case "browser":
			words = append(words, r.t(i18n.KindBrowser))
		case "":
		default:
			words = append(words, clean(kind, 30))
		}
	}
	return i18n.List(r.l, words)
}

func (r renderer) server(s api.Server) string {
	if s.Address == "" {
		return clean(s.Name, maxDetail)
	}
	at := net.JoinHostPort(s.Address, strconv.Itoa(s.Port))
	return r.t(i18n.ServerThroughPort, "name", clean(s.Name, maxDetail), "address", clean(at, maxDetail), "transport", clean(strings.ToUpper(s.Transport), 10))
}

func (r renderer) guardWords(mode string) string {
	switch mode {
	case "", "off":
		return r.t(i18n.GuardOff)
	case "auto":
		return r.t(i18n.GuardAuto)
	case "lockdown":
		return r.t(i18n.GuardLockdown)
	}
	return r.t(i18n.GuardUnknown, "mode", clean(mode, 30))
}

// into are the routes that lead into the tunnel.
func into(c api.Connection) []api.Route {
	var list []api.Route
	for _, x := range c.Routes {
		if c.Tunnel.Device == "" || x.Via == c.Tunnel.Device {
			list = append(list, x)
		}
	}
	return list
}

func (r renderer) through(c api.Connection) Through {
	t := Through{Title: r.t(i18n.ThroughTitle), Filter: r.filter, Label: r.t(i18n.ThroughFilter)}
	switch inside := into(c); {
	case c.FullTunnel:
		t.Words = r.t(i18n.ThroughAll)
	case len(inside) > 0:
		t.Words = r.t(i18n.ThroughListed)
	case c.Hidden:
		t.Words = r.t(i18n.ThroughHidden)
	case c.State == api.Connected:
		t.Words = r.t(i18n.ThroughNone)
	default:
		t.Words = r.t(i18n.ThroughLater)
	}
	found := 0
	for _, x := range c.Routes {
		n := Network{Destination: x.Destination.String(), Reason: r.reason(x.Reason)}
		if c.Tunnel.Device != "" && x.Via != c.Tunnel.Device {
			n.Past = true
			n.Reason = r.t(i18n.ThroughPast, "reason", n.Reason, "via", clean(x.Via, maxDetail))
		}
		if r.filter != "" && !matches(r.filter, n.Destination, n.Reason) {
			continue
		}
		if found++; found <= maxNetworks {
			t.Networks = append(t.Networks, n)
		}
	}
	if len(t.Networks) < len(c.Routes) {
		t.Count = r.t(i18n.ThroughCount, "shown", strconv.Itoa(len(t.Networks)), "total", strconv.Itoa(len(c.Routes)))
	}
	return t
}

// matches says whether a text that a person searches for is in one of those.
func matches(filter string, texts ...string) bool {
	filter = strings.ToLower(strings.TrimSpace(filter))
	for _, t := range texts {
		if strings.Contains(strings.ToLower(t), filter) {
			return true
		}
	}
	return false
}

func (r renderer) throughput(m *meter) *Throughput {
	t := &Throughput{Title: r.t(i18n.GraphTitle), Samples: m.graph(r.now)}
	for _, s := range t.Samples {
		t.Peak = max(t.Peak, s.Rx, s.Tx)
	}
	t.PeakText = i18n.Rate(r.l, t.Peak)
	newest := t.Samples[samples-1]
	if !newest.Known {
		t.Rx, t.Tx = r.t(i18n.GraphUnknown), r.t(i18n.GraphUnknown)
		return t
	}
	t.Rx, t.Tx = r.t(i18n.GraphReceived, "rate", i18n.Rate(r.l, newest.Rx)), r.t(i18n.GraphSent, "rate", i18n.Rate(r.l, newest.Tx))
	return t
}
