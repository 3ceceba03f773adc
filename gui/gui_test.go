package gui

import (
	"fmt"
	"math"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/gui/view"
)

// recorder notes what the window asks for.
type recorder struct{ asked []string }

func (r *recorder) note(format string, args ...any) {
	r.asked = append(r.asked, fmt.Sprintf(format, args...))
}
func (r *recorder) Do(a view.Action)                    { r.note("do %s %s", a.Kind, a.Profile) }
func (r *recorder) Show(p view.Page)                    { r.note("show %s", p) }
func (r *recorder) Select(profile string)               { r.note("select %s", profile) }
func (r *recorder) FilterNetworks(text string)          { r.note("networks %s", text) }
func (r *recorder) Submit(id string, typed view.Values) { r.note("submit %s %d", id, len(typed)) }
func (r *recorder) ImportFile(path string)              { r.note("import %s", path) }
func (r *recorder) SaveLog(file string)                 { r.note("save %s", file) }
func (r *recorder) SaveReport(file string)              { r.note("report %s", file) }
func (r *recorder) Try(destination string)              { r.note("try %s", destination) }
func (r *recorder) SetVisible(v bool)                   { r.note("visible %t", v) }
func (r *recorder) AskBackground()                      { r.note("background") }
func (r *recorder) Explain(destination string)          { r.note("explain %s", destination) }
func (r *recorder) FilterLog(text string)               { r.note("log %s", text) }
func (r *recorder) FollowLog(follow bool)               { r.note("follow %t", follow) }
func (r *recorder) Set(id view.SettingID, profile, value string) {
	r.note("set %s %s %s", id, profile, value)
}

// connected is a screen with a tunnel that is up.
func connected() view.Screen {
	t := &view.Throughput{Title: "Throughput", Peak: 94e6, PeakText: "Peak 94 Mbit/s", Rx: "Received 61 Mbit/s", Tx: "Sent 4.1 Mbit/s"}
	for i := range t.Samples {
		if i < 30 || i > 60 && i < 66 {
			continue
		}
		t.Samples[i] = view.Sample{Known: true, Rx: 50e6 + 40e6*math.Sin(float64(i)/9), Tx: 5e6 + 3e6*math.Cos(float64(i)/5)}
	}
	return view.Screen{
		Language: i18n.English, Theme: "light", Page: view.PageProfiles,
		Pages:   []view.Tab{{Page: view.PageProfiles, Label: "Profiles"}, {Page: view.PageExplain, Label: "Why can’t I reach…"}, {Page: view.PageLog, Label: "Log"}, {Page: view.PageSettings, Label: "Settings"}, {Page: view.PageAbout, Label: "About"}},
		Service: view.Service{State: view.ServiceReachable},
		Add:     []view.Button{{Label: "Add a file…", Enabled: true, Action: view.Action{Kind: view.ActionChooseFile}}, {Label: "Add from the web…", Enabled: true, Action: view.Action{Kind: view.ActionAskAddress}}},
		Profiles: []view.Item{
			{Name: "work", Title: "work", State: api.Connected, Text: "Connected", Icon: view.IconConnected, Selected: true},
			{Name: "lab", Title: "lab", State: api.Disconnected, Text: "Not connected", Icon: view.IconDisconnected, Managed: "by your administrator"},
			{Name: "tokyo", Title: "tokyo office with a very long name that does not fit", State: api.NeedsLogin, Text: "Sign-in needed", Icon: view.IconAttention},
			{Name: "k", Title: "kyoto", State: api.Connecting, Text: "Connecting…", Icon: view.IconConnecting, Progress: true},
			{Name: "b", Title: "berlin", State: api.Blocked, Text: "Blocked", Icon: view.IconBlocked},
		},
		Detail: &view.Detail{
			Name: "work", Title: "work", State: api.Connected, Icon: view.IconConnected, Text: "Connected", Since: "since 14:05", Elapsed: "0:12:41",
			Sentence: "Traffic to 3 networks goes through the VPN. Everything else takes its usual way.",
			Buttons:  []view.Button{{Label: "Disconnect", Enabled: true, Default: true, Action: view.Action{Kind: view.ActionDisconnect, Profile: "work"}}, {Label: "Rename…", Enabled: true}, {Label: "Remove…", Danger: true, Why: "Disconnect first"}},
			Rows: []view.Row{{Label: "Server", Value: "cvpn-endpoint-0123456789abcdef0.prod.clientvpn.eu-central-1.amazonaws.com, UDP 443"}, {Label: "Address", Value: "10.64.0.2"}, {Label: "DNS", Value: "10.0.0.2 for corp.example"},
				{Label: "Certificate", Value: "ends in 12 days (4 December 2026)", Warn: true}, {Label: "Protection", Value: "TLS 1.3, tls-crypt, AES-256-GCM epoch keys"}},
			Throughput: t,
			Through:    view.Through{Title: "What goes through", Words: "Three networks.", Label: "Search", Count: "3", Networks: []view.Network{{Destination: "10.0.0.0/16", Reason: "the server asked for it"}, {Destination: "10.98.0.0/24", Reason: "the server asked for it"}, {Destination: "198.51.100.7/32", Reason: "the way to the server itself", Past: true}}},
		},
		Tray: view.Tray{Icon: view.IconConnected},
	}
}

// settings is the settings' page.
func settings() view.Screen {
	s := connected()
	s.Page = view.PageSettings
	s.Settings = []view.Setting{
		{ID: view.SettingLanguage, Label: "Language", Value: "auto", Choices: []view.Choice{{Value: "auto", Label: "As the system"}, {Value: "en", Label: "English"}, {Value: "ja", Label: "日本語"}}},
		{ID: view.SettingNotifications, Label: "Notifications", Value: "true"},
		{ID: view.SettingGuard, Profile: "work", Label: "Guard", Value: "auto", Choices: []view.Choice{{Value: "auto", Label: "Automatic"}}, Locked: "Your administrator has set this."},
	}
	return s
}
