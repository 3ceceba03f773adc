package view

import (
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
)

// renderer makes one Screen. It reads the state and changes nothing.
type renderer struct {
	*state
	l   i18n.Language
	now time.Time
}

// render is the screen for a state at a time. Times are shown in now's zone.
func render(s *state, now time.Time) Screen {
	r := renderer{s, s.language(), now}
	screen := Screen{
		Language: r.l, Theme: s.prefs.Theme, TextSize: s.prefs.TextSize, Page: s.page,
		Pages: []Tab{
			{PageProfiles, r.t(i18n.PageProfiles)}, {PageExplain, r.t(i18n.PageExplain)}, {PageLog, r.t(i18n.PageLog)},
			{PageSettings, r.t(i18n.PageSettings)}, {PageAbout, r.t(i18n.PageAbout)},
		},
		Service:  r.serviceLine(),
		Profiles: r.items(),
		Others:   r.others(),
		Add:      r.ways(),
		Detail:   r.detail(),
		Dialog:   r.front(),
		Toast:    r.toastLine(),
		Log:      r.logPage(),
		Settings: r.settingsPage(),
		Managed:  r.managed(),
		Explain:  r.explainPage(),
		About:    r.about(),
		Tray:     r.tray(),
		Files:    r.files(),
		OnClose:  s.prefs.OnClose,
	}
	if len(screen.Profiles) == 0 && s.reachable() && s.listed {
		screen.Empty = r.t(i18n.NoProfiles)
		if len(s.removals) == 0 {
			screen.First = r.firstPage()
		}
	}
	screen.Menus = r.menus(&screen)
	return screen
}

func (r renderer) files() Files {
	return Files{OpenTitle: r.t(i18n.OpenTitle), Open: r.t(i18n.Open), SaveTitle: r.t(i18n.SaveTitle), Save: r.t(i18n.Save), Cancel: r.t(i18n.Cancel), LogName: "adit.log",
		ReportTitle: r.t(i18n.ReportTitle), ReportName: r.now.Format("adit-diagnose-20060102-150405.zip")}
}

// t are the words of a key.
func (r renderer) t(k i18n.Key, args ...string) string { return k.In(r.l, args...) }

func (r renderer) notice(p *api.Problem) *Notice {
	if p == nil {
		return nil
	}
	if p.Code == api.CodeServiceUnreachable {
		return r.away(serviceState(p), p)
	}
	message, hints := i18n.Problem(r.l, p)
	n := &Notice{Code: p.Code, Text: clean(message, maxPhrase)}
	for _, h := range hints[:min(len(hints), 5)] {
		n.Hints = append(n.Hints, clean(h, maxPhrase))
	}
	return n
}

// noticeHere is for a page: what the window says above it of the service is not said again.
func (r renderer) noticeHere(p *api.Problem) *Notice {
	if p != nil && !r.reachable() && (p.Code == api.CodeServiceUnreachable || p.Code == api.CodeServiceStopping) {
		return nil
	}
	return r.notice(p)
}

func (r renderer) local(t time.Time) time.Time { return t.In(r.now.Location()) }

func (r renderer) moment(t time.Time) string { return i18n.Moment(r.l, r.local(t), r.now) }

func (r renderer) date(t time.Time) string { return i18n.Date(r.l, r.local(t)) }

func (r renderer) list(words []string, limit int) string {
	out := make([]string, 0, len(words))
	for _, w := range words[:min(len(words), limit)] {
		out = append(out, clean(w, maxDetail))
	}
	if len(words) > limit {
		out = append(out, "…")
	}
	return i18n.List(r.l, out)
}

// serviceLine says how it stands with the service.
func (r renderer) serviceLine() Service {
	s := Service{State: r.service}
	switch {
	case r.problem != nil:
		s.Notice = r.away(r.service, r.problem)
	case r.service == ServiceStarting:
		s.Notice = &Notice{Text: r.noService()}
	}
	return s
}

// away is the notice of a service that cannot be used, in the same words everywhere.
func (r renderer) away(s ServiceState, p *api.Problem) *Notice {
	n := &Notice{Code: api.CodeServiceUnreachable}
	switch s {
	case ServiceNotRunning:
		n.Text, n.Hints = r.t(i18n.ServiceNotRunning), []string{r.t(i18n.ServiceNotRunningHint)}
		if start := clean(p.Args["start"], maxPhrase); start != "" {
			n.Hints = append(n.Hints, r.t(i18n.ServiceNotRunningStart, "start", start))
		}
	case ServiceNotPermitted:
		n.Text, n.Hints = r.t(i18n.ServiceNotPermitted), []string{r.t(i18n.ServiceNotPermittedHint)}
	default:
		n.Text, n.Hints = r.t(i18n.ServiceBroken, "detail", clean(p.Args["detail"], maxPhrase)), []string{r.t(i18n.ServiceBrokenHint)}
	}
	return n
}

// noService is why nothing can be asked of the service, in one sentence.
func (r renderer) noService() string {
	if r.service == ServiceStarting {
		return r.t(i18n.ServiceStarting)
	}
	return r.away(r.service, &api.Problem{}).Text
}

// stateText is a state's name.
func (r renderer) stateText(s api.State) string {
	switch s {
	case api.Disconnected:
		return r.t(i18n.StateDisconnected)
	case api.Connecting:
		return r.t(i18n.StateConnecting)
	case api.NeedsLogin:
		return r.t(i18n.StateNeedsLogin)
	case api.Connected:
		return r.t(i18n.StateConnected)
	case api.Reconnecting:
		return r.t(i18n.StateReconnecting)
	case api.Disconnecting:
		return r.t(i18n.StateDisconnecting)
	case api.Blocked:
		return r.t(i18n.StateBlocked)
	}
	return r.t(i18n.StateUnknown, "state", clean(string(s), 30)) // of a newer service
}

func icon(s api.State) Icon {
	switch s {
	case api.Disconnected:
		return IconDisconnected
	case api.Connecting, api.Reconnecting, api.Disconnecting:
		return IconConnecting
	case api.NeedsLogin:
		return IconAttention
	case api.Connected:
		return IconConnected
	case api.Blocked:
		return IconBlocked
	}
	return IconUnknown
}

// iconOf is a connection's icon: a question while it is up wants a person, too.
func iconOf(c api.Connection) Icon {
	if c.State == api.Connected && c.Login != nil {
		return IconAttention
	}
	return icon(c.State)
}

func moving(s api.State) bool {
	return s == api.Connecting || s == api.Reconnecting || s == api.Disconnecting
}

func (r renderer) items() []Item {
	list := r.visible()
	items := make([]Item, 0, len(list))
	for _, p := range list {
		c := r.connection(p)
		item := Item{Name: p.Name, Title: clean(p.Name, maxTitle), State: c.State, Text: r.stateText(c.State), Icon: iconOf(c),
			Progress: moving(c.State) || r.busy[p.Name] != "", Selected: p.Name == r.selected}
		if p.Managed {
			item.Managed = r.t(i18n.Managed)
		}
		if !r.reachable() { // what was true is not known to be
			item.Icon, item.Text, item.Progress = IconUnknown, "", false
		}
		items = append(items, item)
	}
	return items
}

func (r renderer) others() []string {
	var out []string
	for _, c := range r.status.Connections {
		if c.Profile == "" && r.reachable() {
			out = append(out, r.t(i18n.OtherTunnel, "owner", clean(c.Owner, maxTitle), "state", r.stateText(c.State)))
		}
	}
	return out
}

// ways are the buttons that add a profile.
func (r renderer) ways() []Button {
	file := Button{Label: r.t(i18n.AddFile), Action: Action{Kind: ActionChooseFile}}
	address := Button{Label: r.t(i18n.AddAddress), Action: Action{Kind: ActionAskAddress}}
	for _, b := range []*Button{&file, &address} {
		switch {
		case !r.reachable():
			b.Why = r.noService()
		case r.policy.ForbidUserProfiles:
			b.Why = r.t(i18n.AddForbidden)
		default:
			b.Enabled = true
		}
	}
	return []Button{file, address}
}

func (r renderer) toastLine() *Toast {
	if r.toast == nil {
		return nil
	}
	t := &Toast{Text: clean(r.t(r.toast.key, r.toast.args...), maxPhrase)}
	if r.toast.undo != "" {
		t.Button = &Button{Label: r.t(i18n.Undo), Action: Action{ActionUndo, r.toast.undo}, Enabled: true}
	}
	return t
}

// demoButton starts the bundled server and connects to it; nil where there is no such server, or a profile for it is in
// the list already.
func (r renderer) demoButton() *Button {
	if !r.demo || r.bundled != "" || r.policy.ForbidUserProfiles {
		return nil
	}
	b := &Button{Label: r.t(i18n.TryDemo), Action: Action{Kind: ActionDemo}, Enabled: r.reachable() && !r.first.busy}
	if !r.reachable() {
		b.Why = r.noService()
	}
	return b
}

// firstPage is what a person without profiles sees.
func (r renderer) firstPage() *First {
	f := &First{Title: r.t(i18n.FirstTitle), Text: r.t(i18n.FirstText), Buttons: r.ways()}
	if r.policy.ForbidUserProfiles {
		return &First{Title: f.Title, Text: r.t(i18n.FirstManaged)}
	}
	f.Buttons[0].Default = true
	if b := r.demoButton(); b != nil {
		f.Buttons = append(f.Buttons, *b)
	}
	if r.first.busy {
		f.Busy = r.t(i18n.TryingDemo)
	}
	if r.first.detail != "" {
		f.Notice = &Notice{Text: clean(r.t(i18n.DemoFailed, "detail", r.first.detail), maxPhrase)}
	}
	return f
}

// trayProfiles is how many profiles the tray's menu has lines for.
const trayProfiles = 12

func (r renderer) tray() Tray {
	open, quit := MenuItem{r.t(i18n.TrayOpen), Action{Kind: ActionOpenWindow}, true}, MenuItem{r.t(i18n.TrayQuit), Action{Kind: ActionQuit}, true}
	if !r.reachable() {
		return Tray{Icon: IconUnknown, Tooltip: r.noService(), Items: []MenuItem{open, {}, quit}}
	}
	t := Tray{Icon: IconDisconnected, Tooltip: r.t(i18n.TrayNone), Items: []MenuItem{open, {}}}
	list := r.visible()
	// What needs a look comes first, in the tooltip and, if there are too many, in the menu.
	weight := func(p api.Profile) int {
		return slices.Index([]Icon{IconBlocked, IconAttention, IconConnecting, IconUnknown, IconConnected, IconDisconnected}, iconOf(r.connection(p)))
	}
	slices.SortStableFunc(list, func(a, b api.Profile) int { return weight(a) - weight(b) })
	up := 0
	for _, p := range list {
		if c := r.connection(p); c.State != api.Disconnected {
			if up++; up == 1 {
				t.Icon = iconOf(c)
				t.Tooltip = r.t(i18n.TrayState, "profile", clean(p.Name, maxTitle), "state", r.stateText(c.State))
			}
		}
	}
	if up > 1 {
		t.Tooltip = r.t(i18n.TrayMore, "state", t.Tooltip)
	}
	shown := list[:min(len(list), trayProfiles)]
	if len(list) <= trayProfiles { // all are there: each at its place
		shown = r.visible()
	}
	for _, p := range shown {
		b := r.mainButton(p)
		key := i18n.TrayConnect
		switch b.Action.Kind {
		case ActionDisconnect:
			key = i18n.TrayDisconnect
		case ActionSignIn:
			key = i18n.TraySignIn
		}
		t.Items = append(t.Items, MenuItem{r.t(key, "profile", clean(p.Name, maxTitle)), b.Action, b.Enabled})
	}
	if len(list) > len(shown) {
		t.Items = append(t.Items, MenuItem{r.t(i18n.TrayMoreProfiles), Action{Kind: ActionOpenWindow}, true})
	}
	if len(list) > 0 {
		t.Items = append(t.Items, MenuItem{})
	}
	t.Items = append(t.Items, quit)
	return t
}

func (r renderer) about() About {
	version := func(v api.Version) string {
		return clean(strings.Join([]string{v.Version, v.OS + "/" + v.Arch, v.Go}, "  "), maxDetail)
	}
	a := About{Text: r.t(i18n.AboutText), Rows: []Row{
		{Label: r.t(i18n.AboutApp), Value: version(r.version)},
		{Label: r.t(i18n.AboutService), Value: r.t(i18n.AboutUnknown)},
		{Label: r.t(i18n.AboutLicence), Value: "Apache-2.0"},
	}, Report: r.reportOf()}
	if r.remote != nil {
		a.Rows[1].Value = version(*r.remote)
		if r.remote.Version != r.version.Version {
			a.Rows[1].Warn = true
			a.Notice = &Notice{Text: r.t(i18n.AboutDiffer)}
		}
	}
	return a
}
