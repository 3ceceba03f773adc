package view

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
)

// TestAway: of a tunnel nothing is shown as true while the service does not answer, and each page says why in the same
// words.
func TestAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.status(conn(api.Connected, func(c *api.Connection) {
			c.Tunnel = api.Tunnel{Device: "tun0", Addresses: c.Tunnel.Addresses}
			c.DNS.Servers = []string{"10.0.0.2"}
			c.Counters = api.Counters{RxBytes: 1e6, TxBytes: 1e6}
			c.Banner = "hello"
		}))
		if s := r.screen(); len(s.Detail.Rows) < 4 || s.Detail.Through.Title == "" || len(s.About.Rows) < 2 {
			t.Fatal(dump(s))
		}
		gone := api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": api.DetailNotRunning})
		r.s.fails("Logs", gone)
		r.s.fails("Watch", gone)
		r.s.fails("Explain", gone)
		r.s.lost <- gone
		s := r.screen()
		for _, row := range s.Detail.Rows {
			if l := row.Label; l != i18n.RowServer.In(i18n.English) && l != i18n.RowSignIn.In(i18n.English) && l != i18n.RowCertificate.In(i18n.English) {
				t.Errorf("still there: %q %q", l, row.Value)
			}
		}
		if d := s.Detail; d.Through.Title != "" || len(d.Through.Networks) > 0 || d.Elapsed != "" || d.Throughput != nil || d.State != api.Disconnected {
			t.Error(dump(d))
		}
		if got := s.About.Rows[1].Value; got != i18n.AboutUnknown.In(i18n.English) {
			t.Errorf("the service's version is %q", got)
		}
		why := i18n.ServiceNotRunning.In(i18n.English)
		for where, got := range map[string]string{"top": s.Service.Notice.Text, "button": s.Detail.Buttons[0].Why, "add": s.Add[0].Why, "explain": s.Explain.Button.Why, "tray": s.Tray.Tooltip} {
			if got != why {
				t.Errorf("%s: %q", where, got)
			}
		}
		r.m.Show(PageLog)
		if s := r.screen(); s.Log.Notice != nil { // it stands above
			t.Error(dump(s.Log))
		}
		r.m.Show(PageExplain)
		r.m.Explain("10.0.0.1")
		if s := r.screen(); s.Explain.Notice != nil {
			t.Error(dump(s.Explain))
		}
	})
	bubble(t, func(t *testing.T) { // a request that meets it before the watch does
		r := up(t, nil)
		r.s.fails("Connect", api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": api.DetailNotPermitted}))
		r.do(ActionConnect, "work")
		if n := r.screen().Detail.Notice; n == nil || n.Text != i18n.ServiceNotPermitted.In(i18n.English) {
			t.Error(dump(r.screen().Detail))
		}
	})
}

// TestOutage: the person is told once when the service stays away under a tunnel that is up, or comes back without it.
func TestOutage(t *testing.T) {
	gone := api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": api.DetailNotRunning})
	steps := func(name string, s api.State, f func(r *rig)) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := up(t, nil)
				r.status(conn(s))
				r.wait(2 * time.Minute)
				r.notes = nil
				r.s.fails("Watch", gone)
				r.s.lost <- gone
				f(r)
			})
		})
	}
	back := func(r *rig, connections ...api.Connection) {
		r.t.Helper()
		r.s.fails("Watch", nil)
		r.status(connections...)
	}
	for _, s := range []api.State{api.Connected, api.Reconnecting} {
		steps("stays away from "+string(s), s, func(r *rig) {
			r.wait(outageTime - time.Second)
			r.told()
			r.wait(time.Second)
			if len(r.notes) != 1 || r.notes[0].Title != i18n.NoteAway.In(i18n.English, "profile", "work") || !strings.HasPrefix(r.notes[0].Text, i18n.ServiceNotRunning.In(i18n.English)) {
				r.t.Errorf("%+v", r.notes)
			}
			r.told(NotifyLost)
			r.wait(2 * time.Minute)
			back(r)
			r.wait(2 * time.Minute)
			r.told() // it was told
		})
		steps("comes back without "+string(s), s, func(r *rig) {
			back(r)
			r.told() // the service begins
			r.wait(2 * time.Minute)
			r.told(NotifyLost)
		})
	}
	steps("comes back late", api.Connected, func(r *rig) {
		r.wait(2 * time.Minute)
		r.told(NotifyLost)
		back(r, conn(api.Connected))
		r.told(NotifyConnected)
	})
	steps("an upgrade", api.Connected, func(r *rig) {
		back(r)
		r.status(conn(api.Connecting))
		r.status(conn(api.Connected))
		r.told(NotifyConnected)
		r.status(conn(api.Disconnecting))
		r.status()
		r.wait(2 * time.Minute)
		r.told() // wanted
	})
	steps("comes back, and it cannot be connected", api.Connected, func(r *rig) {
		back(r, conn(api.Connecting))
		r.status(conn(api.Disconnected, func(c *api.Connection) { c.Problem = api.NewProblem(api.CodeSessionEnded, nil) }))
		r.wait(2 * time.Minute)
		r.told(NotifyLost)
	})
	steps("comes back, and the person disconnects", api.Connected, func(r *rig) {
		back(r, conn(api.Connecting))
		r.do(ActionDisconnect, "work")
		r.status()
		r.wait(2 * time.Minute)
		r.told()
	})
	steps("comes back with a problem", api.Connected, func(r *rig) {
		back(r, conn(api.Disconnected, func(c *api.Connection) { c.Problem = api.NewProblem(api.CodeSessionEnded, nil) }))
		r.told(NotifyLost)
		r.wait(2 * time.Minute)
		r.told()
	})
	steps("nothing was up", api.NeedsLogin, func(r *rig) {
		r.wait(2 * time.Minute)
		r.told()
	})
}

// TestSavedPasswordSetting: it is offered where there is a password to keep, or one is kept.
func TestSavedPasswordSetting(t *testing.T) {
	for _, c := range []struct {
		auth  string
		saved bool
		want  bool
	}{
		{"certificate", false, false}, {"certificate+password", false, true}, {"password", false, true}, {"browser", false, false},
		{"certificate+browser", false, false}, {"", false, true}, {"certificate", true, true},
	} {
		bubble(t, func(t *testing.T) {
			r := up(t, func(_ *Config, s *service) {
				s.profiles[0].Auth, s.settings = c.auth, map[string]api.Settings{"work": {SavePassword: c.saved}}
			})
			r.m.Show(PageSettings)
			offered := false
			for _, s := range r.screen().Settings {
				offered = offered || s.ID == SettingSavePassword
			}
			if offered != c.want {
				t.Errorf("%q, saved %t: offered %t", c.auth, c.saved, offered)
			}
		})
	}
}

// TestDemoPage: while the tunnel to the bundled server is up, its page is one click away.
func TestDemoPage(t *testing.T) {
	ours := api.Profile{Name: "try", Owner: "ann", Remotes: []string{demoAt}}
	offered := func(s Screen) bool {
		for _, b := range s.Detail.Buttons {
			if b.Action.Kind == ActionDemoPage {
				return b.Enabled
			}
		}
		return false
	}
	bubble(t, func(t *testing.T) {
		var opened []string
		var fails error
		r := up(t, func(c *Config, s *service) {
			withDemo(&demo{}, ours, api.Profile{Name: "work", Owner: "ann"})(c, s)
			c.Open = func(url string) error { opened = append(opened, url); return fails }
		})
		if offered(r.screen()) {
			t.Error("offered without a tunnel")
		}
		r.status(api.Connection{Profile: "try", Owner: "ann", State: api.Connected}, conn(api.Connected))
		r.m.Select("try")
		if !offered(r.screen()) {
			t.Fatal(dump(r.screen().Detail))
		}
		r.do(ActionDemoPage, "try")
		if r.noDialog(); len(opened) != 1 || opened[0] != "http://10.98.0.1/" {
			t.Errorf("opened %q", opened)
		}
		r.m.Select("work")
		if offered(r.screen()) {
			t.Error("offered for another's tunnel")
		}
		fails = errors.New("no browser")
		r.do(ActionDemoPage, "try")
		if d := r.dialog(DialogError); d.Notice.Text != i18n.DemoNotOpened.In(i18n.English, "address", "http://10.98.0.1/") {
			t.Error(dump(d))
		}
		r.wait(time.Second)
	})
}
