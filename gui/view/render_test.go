package view

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/routes"
)

var now = time.Date(2026, 11, 22, 14, 5, 0, 0, time.UTC)

func at(d time.Duration) *time.Time { t := now.Add(d); return &t }

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// work is a connection as the service shows it when it is up.
func work() api.Connection {
	return api.Connection{
		Profile: "work", Owner: "ann", State: api.Connected, Since: now.Add(-90 * time.Second),
		Server:   api.Server{Name: "vpn.example.com", Address: "203.0.113.7", Port: 443, Transport: "udp"},
		Tunnel:   api.Tunnel{Device: "tun0", Addresses: []netip.Prefix{pfx("10.64.0.2/27")}, MTU: 1500},
		Routes:   []api.Route{{Destination: pfx("10.0.0.0/16"), Via: "tun0", Reason: "pushed by the server"}, {Destination: pfx("203.0.113.7/32"), Via: "192.168.1.1 wlan0", Reason: "the server's own address"}},
		DNS:      api.DNS{Servers: []string{"10.0.0.2"}, Split: []string{"corp.example"}},
		Counters: api.Counters{RxBytes: 1_234_567, TxBytes: 45_000}, Guard: "off",
		Protection: api.Protection{TLS: "TLS 1.3", Control: "tls-crypt", Data: "AES-256-GCM"},
	}
}

// with is a state with the profile "work", its connection changed by f.
func with(f func(c *api.Connection)) *state {
	s := newState()
	s.service, s.listed, s.selected = ServiceReachable, true, "work"
	s.locales = []string{"en_US.UTF-8"}
	s.version = api.Version{Version: "1.2.3", Go: "go1.26", OS: "linux", Arch: "amd64"}
	s.profiles = []api.Profile{{Name: "work", Owner: "ann", Remotes: []string{"vpn.example.com:443/udp"}, Auth: "certificate+password", Expires: at(200 * 24 * time.Hour)}}
	c := work()
	if f != nil {
		f(&c)
		s.status.Connections = []api.Connection{c}
	}
	return s
}

func in(s *state, l i18n.Language) *state {
	s.prefs.Language = l.Tag()
	return s
}

// anothers is a state with the managed profile "work", which another person has connected, as the service shows it; all says whether that is of all
// traffic, and the guard closed.
func anothers(st api.State, all bool) *state {
	s := with(func(c *api.Connection) {
		*c = api.Connection{Profile: "work", Managed: true, Hidden: true, State: st, Since: c.Since, FullTunnel: all, Guard: "auto", GuardClosed: all}
	})
	s.profiles[0].Managed, s.profiles[0].Owner = true, ""
	s.meters["work"] = &meter{}
	return s
}

// TestStates: what is shown in each state, in each language.
func TestStates(t *testing.T) {
	to := func(st api.State, guard string, problem *api.Problem) func(*api.Connection) {
		return func(c *api.Connection) {
			c.State, c.Guard, c.Problem = st, guard, problem
			c.GuardClosed = guard == "auto" || guard == "lockdown"
			if st == api.Connecting || st == api.NeedsLogin {
				c.Tunnel, c.Routes, c.DNS, c.Counters = api.Tunnel{}, nil, api.DNS{}, api.Counters{}
			}
		}
	}
	lost := api.NewProblem(api.CodeServerUnreachable, map[string]string{"server": "vpn.example.com:443", "transport": "udp"})
	for _, l := range i18n.Languages() {
		var out strings.Builder
		for _, c := range []struct {
			name string
			s    *state
		}{
			{"no tunnel", with(nil)},
			{"disconnected after a failure", with(to(api.Disconnected, "off", lost))},
			{"connecting", with(to(api.Connecting, "off", nil))},
			{"connecting again after a failure", with(to(api.Connecting, "auto", lost))},
			{"needs a sign-in", with(to(api.NeedsLogin, "off", nil))},
			{"needs a sign-in, not guarded yet", with(func(c *api.Connection) { to(api.NeedsLogin, "auto", nil)(c); c.GuardClosed = false })},
			{"needs a sign-in, guarded", with(to(api.NeedsLogin, "auto", nil))},
			{"needs another person's sign-in", func() *state {
				s := with(func(c *api.Connection) {
					to(api.NeedsLogin, "auto", api.NewProblem(api.CodeAnotherSignsIn, map[string]string{"profile": "work"}))(c)
					c.Managed, c.Hidden, c.Owner, c.GuardClosed = true, true, "", false
				})
				s.profiles[0].Managed, s.profiles[0].Owner = true, ""
				return s
			}()},
			{"needs another person's sign-in, guarded", anothers(api.NeedsLogin, true)},
			{"another person's, connecting", anothers(api.Connecting, false)},
			{"another person's, connected, all traffic", anothers(api.Connected, true)},
			{"another person's, connected, some networks", anothers(api.Connected, false)},
			{"another person's, reconnecting, guarded", anothers(api.Reconnecting, true)},
			{"another person's, blocked", anothers(api.Blocked, true)},
			{"connected, some networks", with(func(*api.Connection) {})},
			{"connected, all traffic", with(func(c *api.Connection) {
				c.FullTunnel, c.DNS, c.SessionEnds, c.Banner = true, api.DNS{}, at(3*time.Hour+20*time.Minute), "Authorized use only"
				c.CertificateExpires = at(5*24*time.Hour + time.Hour)
			})},
			{"connected, no network, expired certificate", with(func(c *api.Connection) { c.Routes, c.CertificateExpires = nil, at(-time.Hour) })},
			{"connected, another tunnel's DNS first", with(func(c *api.Connection) { c.DNS.Waits = "lab" })},
			{"connected, asked again", with(func(c *api.Connection) { c.Login = &api.Login{ID: "1", Kind: api.LoginOTP} })},
			{"reconnecting", with(to(api.Reconnecting, "off", lost))},
			{"reconnecting, guarded", with(to(api.Reconnecting, "auto", lost))},
			{"reconnecting, as the server ended the session", with(to(api.Reconnecting, "off", api.NewProblem(api.CodeSessionEnded, map[string]string{"reason": "idle"})))},
			{"disconnecting", with(to(api.Disconnecting, "off", nil))},
			{"blocked", with(to(api.Blocked, "auto", api.NewProblem(api.CodeSessionEnded, map[string]string{"reason": "terminated"})))},
			{"blocked, lockdown", with(to(api.Blocked, "lockdown", nil))},
			{"a state and a guard of a newer service", with(to("hibernating", "strict", nil))},
			{"managed, always on", func() *state {
				s := with(func(c *api.Connection) { c.Managed, c.Owner = true, "" })
				s.profiles[0].Managed, s.profiles[0].Owner = true, ""
				s.policy = Policy{AutoConnect: "work", AlwaysOn: true, Guard: "lockdown"}
				return s
			}()},
			{"disconnected in a trusted network", func() *state {
				s := with(nil)
				s.policy = Policy{AutoConnect: "work", Trusted: true}
				return s
			}()},
			{"a request is under way", func() *state { s := with(nil); s.busy["work"] = ActionConnect; return s }()},
			{"a request failed", func() *state {
				s := with(nil)
				s.problems["work"] = api.NewProblem(api.CodeTooManyConnections, map[string]string{"limit": "5"})
				return s
			}()},
			{"another user's tunnel", func() *state {
				s := with(nil)
				s.status.Connections = []api.Connection{{Owner: "bob", State: api.Connected}}
				return s
			}()},
		} {
			screen := render(in(c.s, l), now)
			fmt.Fprintf(&out, "== %s\n%s%s%s%s\n", c.name, dump(screen.Profiles), dump(screen.Others), dump(screen.Detail), dump(screen.Tray))
			checkScreen(t, c.name, screen)
		}
		golden(t, "states."+l.Tag()+".txt", out.String())
	}
}

// TestServiceStates: what is shown while the service does not answer.
func TestServiceStates(t *testing.T) {
	for _, l := range i18n.Languages() {
		var out strings.Builder
		for _, c := range []struct {
			state   ServiceState
			problem *api.Problem
		}{
			{ServiceStarting, nil},
			{ServiceNotRunning, api.NewProblem(api.CodeServiceUnreachable, map[string]string{"socket": "/run/adit/aditd.sock", "detail": api.DetailNotRunning, "start": "sudo aditd"})},
			{ServiceNotPermitted, api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": api.DetailNotPermitted})},
			{ServiceLost, api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": "the connection broke"})},
			{ServiceLost, api.NewProblem(api.CodeServiceStopping, nil)},
		} {
			s := in(with(func(*api.Connection) {}), l)
			s.service, s.problem = c.state, c.problem
			screen := render(s, now)
			fmt.Fprintf(&out, "== %s\n%s%s%s%s%s\n", c.state, dump(screen.Service), dump(screen.Profiles), dump(screen.Detail.Sentence), dump(screen.Detail.Buttons), dump(screen.Tray))
			checkScreen(t, string(c.state), screen)
		}
		golden(t, "service."+l.Tag()+".txt", out.String())
	}
}

// TestDialogs: every dialog, in each language.
func TestDialogs(t *testing.T) {
	ask := func(login api.Login, f func(q *question)) *state {
		s := with(func(c *api.Connection) { c.State, c.Login = api.NeedsLogin, &login })
		q := &question{profile: "work", login: login, shown: true}
		if f != nil {
			f(q)
		}
		s.questions["work"] = q
		return s
	}
	opened := func(d dialog, f func(c *api.Connection)) *state {
		s := with(f)
		d.id, d.profile = "1", "work"
		s.dialog = &d
		return s
	}
	usable := profile.Report{Name: "office", Usable: true, Servers: []string{"vpn.example.com:443/udp"}, Auth: "certificate+browser", Traffic: profile.Traffic{Mode: "server", Networks: []string{"10.0.0.0/8"}},
		Certificates: []profile.Certificate{{Role: "ca", Subject: "CN=CA", NotAfter: now.Add(time.Hour)}, {Role: "client", Subject: "CN=ann", NotAfter: now}, {Role: "extra", Subject: "CN=x", NotAfter: now}},
		Problems: []profile.Finding{
			{Line: 2, Severity: profile.SeverityInfo, Text: "up is ignored: no program named by a profile is ever run", Directive: "up", Ignored: true, Code: "no_program"},
			{Severity: profile.SeverityWarning, Text: "client certificate CN=ann expires on 2027-01-05", Code: "certificate_ends", Args: map[string]string{"role": "client", "subject": "CN=ann", "date": "2027-01-05"}},
			{Severity: profile.SeverityWarning, Text: "from a newer version", Code: "from_the_future"}}}
	broken := usable
	broken.Usable, broken.Problems = false, []profile.Finding{{Line: 9, Severity: profile.SeverityError, Text: "dev: not supported yet: TAP devices (Ethernet frames); ask for a server with dev tun", Directive: "dev", Code: "tap"}}
	imported := func(f func(*importing, *dialog)) *state {
		imp := &importing{from: "office.ovpn", name: "office", profile: &profile.Profile{}, report: usable}
		d := &dialog{kind: DialogImport, imp: imp}
		f(imp, d)
		return opened(*d, nil)
	}
	deadline := now.Add(10 * time.Minute)
	for _, l := range i18n.Languages() {
		var out strings.Builder
		for _, c := range []struct {
			name string
			s    *state
		}{
			{"credentials", ask(api.Login{ID: "1", Kind: api.LoginPassword, NeedUser: true, Deadline: deadline}, nil)},
			{"credentials with a known user, refused", ask(api.Login{ID: "1", Kind: api.LoginPassword, User: "ann"}, func(q *question) {
				q.problem, q.keep = api.NewProblem(api.CodePasswordRefused, map[string]string{"what": "user name and password", "reason": "account locked"}), true
			})},
			{"credentials with a static challenge, busy", ask(api.Login{ID: "1", Kind: api.LoginPassword, NeedUser: true, User: "ann", Challenge: "Token code?"}, func(q *question) { q.busy = true })},
			{"credentials, not to be saved", func() *state {
				s := ask(api.Login{ID: "1", Kind: api.LoginPassword, NeedUser: true}, nil)
				s.policy.ForbidSavedPasswords = true
				return s
			}()},
			{"credentials, not to be saved by the profile", ask(api.Login{ID: "1", Kind: api.LoginPassword, NeedUser: true}, func(q *question) { q.barred = "profile" })},
			{"credentials, not to be saved by the server", ask(api.Login{ID: "1", Kind: api.LoginPassword, NeedUser: true}, func(q *question) { q.barred = "server" })},
			{"dynamic challenge", ask(api.Login{ID: "1", Kind: api.LoginOTP, Prompt: "Enter the code from your phone", Echo: true}, nil)},
			{"dynamic challenge without words", ask(api.Login{ID: "1", Kind: api.LoginOTP}, nil)},
			{"browser", ask(api.Login{ID: "1", Kind: api.LoginBrowser, URL: "https://idp.example.com/sso?SAMLRequest=x", Callback: 35001, Deadline: deadline}, nil)},
			{"browser did not start", ask(api.Login{ID: "1", Kind: api.LoginBrowser, URL: "https://idp.example.com/sso"}, func(q *question) { q.trouble = i18n.BrowserFailed })},
			{"browser, port in use", ask(api.Login{ID: "1", Kind: api.LoginBrowser, URL: "https://idp.example.com/sso"}, func(q *question) { q.trouble, q.args = i18n.BrowserBusy, []string{"port", "35001"} })},
			{"wait", ask(api.Login{ID: "1", Kind: api.LoginWait, Prompt: "Approve on your phone"}, nil)},
			{"again", ask(api.Login{ID: "1", Kind: api.LoginAgain}, func(q *question) {
				q.problem = api.NewProblem(api.CodeSignInTimedOut, map[string]string{"after": "10m0s"})
			})},
			{"a question of a newer service", ask(api.Login{ID: "1", Kind: "retina", Prompt: "Look into the camera"}, nil)},
			{"banner", opened(dialog{kind: DialogBanner}, func(c *api.Connection) { c.Banner = "Authorized use only.\r\n\r\nYou are watched.\x1b[31m" })},
			{"certificate soon", opened(dialog{kind: DialogCertificate}, func(c *api.Connection) { c.CertificateExpires = at(3 * 24 * time.Hour) })},
			{"certificate over", opened(dialog{kind: DialogCertificate}, func(c *api.Connection) { c.CertificateExpires = at(-24 * time.Hour) })},
			{"certificate fine", opened(dialog{kind: DialogCertificate}, func(c *api.Connection) {})},
			{"guard, auto", opened(dialog{kind: DialogGuard}, func(c *api.Connection) { c.State, c.Guard = api.Blocked, "auto" })},
			{"guard, lockdown by policy", func() *state {
				s := opened(dialog{kind: DialogGuard}, func(c *api.Connection) { c.State, c.Guard = api.Blocked, "lockdown" })
				s.policy.Guard = "lockdown"
				return s
			}()},
			{"guard, nothing blocked", opened(dialog{kind: DialogGuard}, func(c *api.Connection) {})},
			{"remove", opened(dialog{kind: DialogRemove}, nil)},
			{"rename, refused", opened(dialog{kind: DialogRename, problem: api.NewProblem(api.CodeProfileExists, map[string]string{"profile": "home"})}, nil)},
			{"address", opened(dialog{kind: DialogAddress}, nil)},
			{"background", opened(dialog{kind: DialogBackground}, nil)},
			{"error", opened(dialog{kind: DialogError, problem: api.NewProblem(api.CodeNotPermitted, map[string]string{"action": "import profiles"})}, nil)},
			{"import, reading", imported(func(i *importing, _ *dialog) { i.profile, i.reading = nil, true })},
			{"import, not read", imported(func(i *importing, d *dialog) {
				i.profile, d.problem = nil, api.NewProblem(api.CodeFileNotFound, map[string]string{"file": "office.ovpn"})
			})},
			{"import", imported(func(*importing, *dialog) {})},
			{"import, taken name and locked key", imported(func(i *importing, _ *dialog) { i.name, i.locked, i.wrong = "work", true, true })},
			{"import, managed name", func() *state {
				s := imported(func(i *importing, _ *dialog) { i.name = "work" })
				s.profiles[0].Managed = true
				return s
			}()},
			{"import, not usable", imported(func(i *importing, _ *dialog) { i.report = broken })},
		} {
			screen := render(in(c.s, l), now)
			if screen.Dialog == nil {
				t.Errorf("%s: no dialog", c.name)
				continue
			}
			fmt.Fprintf(&out, "== %s\n%s\n", c.name, dump(screen.Dialog))
			checkScreen(t, c.name, screen)
			checkKeys(t, c.name, *screen.Dialog)
		}
		golden(t, "dialogs."+l.Tag()+".txt", out.String())
	}
}

// checkKeys: Esc leaves every dialog, Enter does one thing, and never deletes.
func checkKeys(t *testing.T, name string, d Dialog) {
	t.Helper()
	esc, enter := 0, 0
	for _, b := range d.Buttons {
		if b.Cancel {
			esc++
		}
		if b.Default {
			enter++
			if b.Danger {
				t.Errorf("%s: Enter is [%s]", name, b.Label)
			}
		}
	}
	if esc != 1 || enter > 1 {
		t.Errorf("%s: %d buttons for Esc, %d for Enter", name, esc, enter)
	}
}

// TestPages: the other pages, in each language.
func TestPages(t *testing.T) {
	for _, l := range i18n.Languages() {
		var out strings.Builder
		tried := func(v reach.Verdict, p probe.Result) *state {
			s := with(func(*api.Connection) {})
			r := reach.Report{Verdict: v, Probe: p, Explanation: routes.Explanation{Destination: netip.MustParseAddr("10.0.0.5"), Way: routes.WayTunnel, Profile: "work", Device: "tun0"}}
			s.page, s.explain = PageExplain, explainView{destination: "10.0.0.5", answer: &r.Explanation, report: &r}
			return s
		}
		answer := func(s Screen) any { return s.Explain.Tried }
		ping, ssh := probe.Result{Method: "icmp", Sent: 3, RTT: 12345 * time.Microsecond}, probe.Result{Method: "tcp", Port: 22, Sent: 3, RTT: 90 * time.Microsecond}
		explained := func(x routes.Explanation) *state {
			s := with(func(*api.Connection) {})
			s.page, s.explain = PageExplain, explainView{destination: "10.0.0.5", answer: &x}
			return s
		}
		ip := netip.MustParseAddr
		for _, c := range []struct {
			name string
			s    *state
			part func(Screen) any
		}{
			{"first run", func() *state { s := with(nil); s.profiles, s.demo = nil, true; return s }(), func(s Screen) any { return s.First }},
			{"first run, starting the demo", func() *state {
				s := with(nil)
				s.profiles, s.demo, s.first.busy = nil, true, true
				return s
			}(), func(s Screen) any { return s.First }},
			{"first run, demo failed", func() *state {
				s := with(nil)
				s.profiles, s.demo, s.first.detail = nil, true, "no such program"
				return s
			}(), func(s Screen) any { return s.First }},
			{"first run, managed", func() *state {
				s := with(nil)
				s.profiles, s.policy.ForbidUserProfiles = nil, true
				return s
			}(), func(s Screen) any { return s.First }},
			{"tabs and ways to add", with(nil), func(s Screen) any {
				return struct {
					Pages []Tab
					Add   []Button
				}{s.Pages, s.Add}
			}},
			{"menus, no profile", func() *state { s := with(nil); s.profiles = nil; return s }(), func(s Screen) any { return s.Menus }},
			{"menus, disconnected, removed another", func() *state {
				s := with(nil)
				s.toast = &toast{key: i18n.Removed, args: []string{"profile", "home"}, undo: "home"}
				return s
			}(), func(s Screen) any { return s.Menus }},
			{"menus, connected", with(func(*api.Connection) {}), func(s Screen) any { return s.Menus }},
			{"menus, in the log", func() *state { s := with(nil); s.page = PageLog; return s }(), func(s Screen) any { return s.Menus }},
			{"choosing files", with(nil), func(s Screen) any { return s.Files }},
			{"settings", func() *state {
				s := with(nil)
				on := true
				s.starter, s.startAtLogin = true, &on
				s.settings["work"] = &profileSettings{Settings: api.Settings{AutoConnect: true, Guard: "auto", SavePassword: true}}
				return s
			}(), func(s Screen) any { return s.Settings }},
			{"settings under policy", func() *state {
				s := with(nil)
				s.settings["work"] = &profileSettings{Settings: api.Settings{AutoConnect: true, Guard: "off", SavePassword: true}}
				s.policy = Policy{Language: l.Tag(), Guard: "lockdown", AutoConnect: "other", ForbidSavedPasswords: true}
				return s
			}(), func(s Screen) any { return s.Settings }},
			{"settings, a proxy that is wrong, no saved password", func() *state {
				s := with(nil)
				s.profiles[0].SaveForbidden = "profile"
				s.settings["work"] = &profileSettings{Settings: api.Settings{Guard: "auto", Proxy: "none"}, typed: "ftp://x",
					wrong: api.NewProblem(api.CodeSettingInvalid, map[string]string{"setting": "proxy=ftp://x", "detail": "want http://HOST:PORT or socks5://HOST:PORT"})}
				return s
			}(), func(s Screen) any { return s.Settings }},
			{"settings not read yet", with(nil), func(s Screen) any { return s.Settings }},
			{"explain, tunnel", explained(routes.Explanation{Destination: ip("10.0.0.5"), Way: routes.WayTunnel, Profile: "work", Device: "tun0", Route: pfx("10.0.0.0/16"), Reason: "pushed by the server", Guard: "the guard lets it pass: it goes through the tunnel"}), func(s Screen) any { return s.Explain }},
			{"explain, past", explained(routes.Explanation{Destination: ip("203.0.113.7"), Way: routes.WayAround, Profile: "work", Device: "wlan0", Gateway: ip("192.168.1.1"), Route: pfx("203.0.113.7/32"), Reason: "the server's own address"}), func(s Screen) any { return s.Explain }},
			{"explain, outside", explained(routes.Explanation{Destination: ip("192.0.2.1"), Way: routes.WayUnderlay, Device: "wlan0", Gateway: ip("192.168.1.1"), Route: pfx("0.0.0.0/0"), Reason: "no more specific route leads into the tunnel"}), func(s Screen) any { return s.Explain }},
			{"explain, this machine", explained(routes.Explanation{Destination: ip("127.0.0.1"), Way: routes.WayUnderlay, Reason: "an address of this machine"}), func(s Screen) any { return s.Explain }},
			{"explain, blocked", explained(routes.Explanation{Destination: ip("2001:db8::1"), Way: routes.WayUnreachable, Profile: "work", Route: pfx("::/1"), Reason: "IPv6 is blocked by the server's block-ipv6"}), func(s Screen) any { return s.Explain }},
			{"explain, guarded", explained(routes.Explanation{Destination: ip("192.0.2.1"), Way: routes.WayUnderlay, Device: "wlan0", Gateway: ip("192.168.1.1"), Route: pfx("0.0.0.0/0"), Reason: "no more specific route leads into the tunnel",
				Guard: "the guard blocks it: it belongs into the tunnel, and may not leave beside it", Blocked: true}), func(s Screen) any { return s.Explain }},
			{"explain, another user's", explained(routes.Explanation{Destination: ip("10.0.0.5"), Way: routes.WayTunnel, Route: pfx("10.0.0.0/8"), Reason: "another user's tunnel"}), func(s Screen) any { return s.Explain }},
			{"explain, no way", explained(routes.Explanation{Destination: ip("10.0.0.5"), Way: routes.WayNone}), func(s Screen) any { return s.Explain }},
			{"explain, not connected", func() *state {
				s := with(nil)
				s.explain = explainView{destination: "x", problem: api.NewProblem(api.CodeNotConnected, map[string]string{"profile": "x"})}
				return s
			}(), func(s Screen) any { return s.Explain }},
			{"explain, nonsense", func() *state {
				s := with(nil)
				s.explain = explainView{destination: "a b", problem: api.NewProblem(api.CodeDestinationInvalid, map[string]string{"destination": `"a b"`, "detail": "it is neither an address nor a name"})}
				return s
			}(), func(s Screen) any { return s.Explain }},
			{"log", func() *state {
				s := with(nil)
				s.page, s.log.lines, s.log.dropped = PageLog, []api.LogLine{{Time: now, Level: "INFO", Profile: "work", Text: "connected\x1b[0m"}, {Time: now, Level: "WARN", Text: "other"}}, true
				return s
			}(), func(s Screen) any { return s.Log }},
			{"log, not saved", func() *state {
				s := with(nil)
				s.page, s.log.unsaved = PageLog, &unsaved{"/media/usb/adit.log", "no space left on device"}
				return s
			}(), func(s Screen) any { return s.Log }},
			{"log, filtered", func() *state {
				s := with(nil)
				s.page, s.log.lines, s.log.filter = PageLog, []api.LogLine{{Time: now, Level: "INFO", Profile: "work", Text: "connected"}}, "nothing"
				return s
			}(), func(s Screen) any { return s.Log }},
			{"tried, answered", tried(reach.Answered, ping), answer}, {"tried, answered at once", tried(reach.Answered, ssh), answer}, {"tried, refused", tried(reach.Refused, ssh), answer},
			{"tried, no route", tried(reach.NoRoute, ping), answer}, {"tried, closed", tried(reach.Closed, ping), answer}, {"tried, unreachable", tried(reach.Unreachable, ping), answer},
			{"tried, firewall", tried(reach.Firewall, ping), answer}, {"tried, guarded", tried(reach.Guarded, ssh), answer}, {"tried, lost", tried(reach.Lost, ping), answer},
			{"tried, outside", tried(reach.Outside, ping), answer}, {"tried, silent", tried(reach.Silent, ping), answer},
			{"trying", func() *state {
				s := with(nil)
				s.explain = explainView{destination: "10.0.0.5", busy: true, trying: true}
				return s
			}(), func(s Screen) any { return s.Explain }},
			{"tried, no such name", func() *state {
				s := with(nil)
				s.explain = explainView{destination: "intranet", unresolved: "intranet"}
				return s
			}(), func(s Screen) any { return s.Explain.Notice }},
			{"tried, in a program", func() *state {
				s := with(nil)
				s.explain = explainView{destination: "10.0.0.5", inProgram: true}
				return s
			}(), func(s Screen) any { return s.Explain.Notice }},
			{"about", with(nil), func(s Screen) any { return s.About }},
			{"about, other version", func() *state { s := with(nil); s.remote = &api.Version{Version: "1.2.4"}; return s }(), func(s Screen) any { return s.About }},
			{"about, report", func() *state { s := with(nil); s.reports = true; return s }(), func(s Screen) any { return s.About.Report }},
			{"about, report not saved", func() *state {
				s := with(nil)
				s.reports, s.report.unsaved = true, &unsaved{"/media/usb/report.zip", "no space left on device"}
				return s
			}(), func(s Screen) any { return s.About.Report }},
			{"managed", func() *state {
				s := with(nil)
				s.status.Policy = &api.Policy{Source: "/etc/adit/policy.json", Profiles: []string{"corp", "lab\x1b"}, Problems: []string{"AlwaysOn has no effect: the profile corp asks for a password"}, Keys: []api.PolicyKey{
					{Name: "AllowUserProfiles", Value: json.RawMessage("false")}, {Name: "AutoConnect", Value: json.RawMessage(`"corp"`)}, {Name: "AllowedServers", Value: json.RawMessage(`["vpn.example.com", "*.example.org"]`)}}}
				return s
			}(), func(s Screen) any { return s.Managed }},
			{"managed, broken", func() *state {
				s := with(nil)
				s.status.Policy = &api.Policy{Source: "/etc/adit/policy.json", Broken: true, Problems: []string{"line 3: MaxConnections must be 1 to 5"}}
				return s
			}(), func(s Screen) any { return s.Managed }},
			{"removed", func() *state {
				s := with(nil)
				s.toast = &toast{key: i18n.Removed, args: []string{"profile", "home"}, undo: "home"}
				return s
			}(), func(s Screen) any { return s.Toast }},
		} {
			screen := render(in(c.s, l), now)
			fmt.Fprintf(&out, "== %s\n%s\n", c.name, dump(c.part(screen)))
			checkScreen(t, c.name, screen)
		}
		golden(t, "pages."+l.Tag()+".txt", out.String())
	}
}

// checkScreen holds for every screen: no text is endless, has control characters, or misses an argument.
func checkScreen(t *testing.T, name string, s Screen) {
	t.Helper()
	check := func(path, text string) {
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > 2*maxBanner {
			t.Errorf("%s: %s is %d bytes: %.100q", name, path, len(text), text)
		}
		for _, r := range text {
			if unicode.IsControl(r) && r != '\n' || hidden(r) {
				t.Errorf("%s: %s has %U: %.200q", name, path, r, text)
				return
			}
		}
		if strings.ContainsAny(text, "{}") || strings.Contains(text, "unknown") && !strings.HasPrefix(path, "Tray.Icon") && !strings.HasSuffix(path, "Icon") {
			t.Errorf("%s: %s misses an argument: %q", name, path, text)
		}
	}
	var visit func(path string, v reflect.Value)
	visit = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				visit(path, v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				name := v.Type().Field(i).Name
				if v.Kind() == reflect.Struct && (name == "Name" || name == "Profile" || name == "ID" || name == "Address") {
					continue // as the service knows it, not shown
				}
				visit(path+"."+name, v.Field(i))
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				visit(path, v.Index(i))
			}
		case reflect.String:
			check(strings.TrimPrefix(path, "."), v.String())
		}
	}
	visit("", reflect.ValueOf(s))
}

// TestReasons: every reason of package routes has words, and what it says of guards, too.
func TestReasons(t *testing.T) {
	phrases, endings := routes.Reasons()
	for _, l := range i18n.Languages() {
		r := renderer{newState(), l, now}
		for _, p := range phrases {
			if reasonPhrases[p].IsZero() {
				t.Errorf("%q has no words", p)
			}
			for _, e := range endings {
				if got := r.reason(p + e); got == r.reason(p) || strings.Contains(got, e) && l == i18n.Japanese {
					t.Errorf("%q reads %q in %s", p+e, got, l)
				}
			}
		}
		if len(phrases)+1 != len(reasonPhrases) || len(endings) != len(reasonEndings) { // and client's "another user's tunnel"
			t.Errorf("%d phrases and %d endings, of %d and %d", len(reasonPhrases), len(reasonEndings), len(phrases), len(endings))
		}
		for _, w := range routes.GuardWords() {
			if guardPhrases[w].IsZero() || len(guardPhrases) != len(routes.GuardWords()) {
				t.Errorf("%q has no words, or others have", w)
			}
		}
		if got := r.guardReason("of a newer\x00 service"); got != "of a newer service" {
			t.Errorf("%q", got)
		}
		if got := r.reason("of a newer\x00 service"); got != "of a newer service" {
			t.Errorf("%q", got)
		}
	}
}

// TestShapes: no two icons look the same without colour.
func TestShapes(t *testing.T) {
	seen := map[string]Icon{}
	for _, i := range []Icon{IconDisconnected, IconConnecting, IconAttention, IconConnected, IconBlocked, IconUnknown} {
		if other, twice := seen[i.Shape()]; twice {
			t.Errorf("%s and %s are both a %s", i, other, i.Shape())
		}
		seen[i.Shape()] = i
	}
}

// TestHostileTexts: whatever servers, profiles and other programs call themselves, the screen stays readable.
func TestHostileTexts(t *testing.T) {
	evil := "a\x1b[2J\x00\u202egnp.exe\u2066\n" + strings.Repeat("A\r\n\t\u200b\u0007", 64<<10) + "\xff\xfe"
	rtl := "שלום עולם-العربية-very-long-name-" + strings.Repeat("x", 200)
	p := api.NewProblem(api.CodeAuthFailed, map[string]string{"reason": evil})
	p.Args["reason"] = evil // not as our own service would do it
	for _, name := range []string{evil, rtl, "日本語のプロファイル", "é\u0301\u0301", "{profile}", "[x]"} {
		s := with(func(c *api.Connection) {
			c.Profile, c.Owner, c.Banner, c.Problem, c.Guard = name, "ann", evil, p, evil
			c.Server = api.Server{Name: evil, Address: evil, Transport: evil, Proxy: evil}
			c.Tunnel.Device = evil
			c.DNS = api.DNS{Servers: []string{evil}, Search: []string{evil}, Split: []string{evil}}
			c.Protection = api.Protection{TLS: evil, Control: evil, Data: evil}
			c.Routes = []api.Route{{Destination: pfx("10.0.0.0/8"), Via: evil, Reason: evil}}
			c.Login = &api.Login{ID: "1", Kind: api.LoginOTP, Prompt: evil, User: evil, Challenge: evil, URL: evil}
		})
		s.profiles[0].Name, s.profiles[0].Remotes, s.profiles[0].Auth, s.selected = name, []string{evil}, evil, name
		s.status.Connections = append(s.status.Connections, api.Connection{Owner: evil, State: api.State(evil)})
		s.page, s.log.lines, s.log.filter = PageLog, []api.LogLine{{Level: evil, Profile: evil, Text: evil}}, ""
		s.explain = explainView{destination: evil, answer: &routes.Explanation{Way: routes.WayTunnel, Profile: name, Device: evil, Reason: evil}}
		for _, kind := range []api.LoginKind{api.LoginPassword, api.LoginOTP, api.LoginBrowser, api.LoginWait, api.LoginAgain} {
			login := *s.status.Connections[0].Login
			login.Kind = kind
			s.questions[name] = &question{profile: name, login: login, shown: true, problem: p}
			for _, l := range i18n.Languages() {
				screen := render(in(s, l), now)
				if name == "{profile}" || name == "[x]" { // as they are, not as a template
					if !strings.Contains(screen.Detail.Title, name) || !strings.Contains(screen.Dialog.Title, name) && kind != api.LoginBrowser {
						t.Errorf("%s reads %q", name, screen.Dialog.Title)
					}
					continue
				}
				checkScreen(t, string(kind), screen)
			}
		}
		s.questions = nil
		s.dialog = &dialog{kind: DialogBanner, profile: name}
		screen := render(s, now)
		if len(screen.Dialog.Text) != 1 || strings.Count(screen.Dialog.Text[0], "\n") > maxBannerLines || len([]rune(screen.Dialog.Text[0])) > maxBanner+maxBannerLines {
			t.Errorf("banner: %.200q", screen.Dialog.Text)
		}
	}
}

// TestManyProfiles: 200 of them, with long names.
func TestManyProfiles(t *testing.T) {
	s := with(nil)
	s.profiles = nil
	for i := range 200 {
		s.profiles = append(s.profiles, api.Profile{Name: fmt.Sprintf("profile %03d %s", i, strings.Repeat("x", 50)), Owner: "ann"})
	}
	c := work()
	c.Profile = s.profiles[150].Name
	s.status.Connections = []api.Connection{c}
	s.choose()
	screen := render(s, now)
	checkScreen(t, "many", screen)
	if len(screen.Profiles) != 200 || s.selected != c.Profile || !screen.Profiles[150].Selected {
		t.Errorf("%d profiles, selected %q", len(screen.Profiles), s.selected)
	}
	// The tray has room for few: those that are up come first.
	items := screen.Tray.Items
	if len(items) != trayProfiles+5 || items[2].Action != (Action{ActionDisconnect, c.Profile}) || items[trayProfiles+2].Action.Kind != ActionOpenWindow {
		t.Errorf("%d items in the tray: %s", len(items), dump(items))
	}
	for _, i := range screen.Profiles {
		if len([]rune(i.Title)) > maxTitle {
			t.Errorf("title %q", i.Title)
		}
	}
}

// TestNetworks: a list is searched, bounded, and says how much of it is shown.
func TestNetworks(t *testing.T) {
	s := with(func(c *api.Connection) {
		c.Routes = nil
		for i := range 1000 {
			c.Routes = append(c.Routes, api.Route{Destination: pfx(fmt.Sprintf("10.%d.%d.0/24", i/250, i%250)), Via: "tun0", Reason: "pushed by the server"})
		}
	})
	if th := render(s, now).Detail.Through; len(th.Networks) != maxNetworks || th.Count != "500 of 1000 shown" {
		t.Errorf("%d networks, %q", len(th.Networks), th.Count)
	}
	s.filter = "10.3.24"
	if th := render(s, now).Detail.Through; len(th.Networks) != 11 || th.Count != "11 of 1000 shown" {
		t.Errorf("%d networks, %q", len(th.Networks), th.Count)
	}
}
