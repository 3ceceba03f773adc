package view

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/routes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConnect: a click, its request, the states that follow, a click that ends it.
func TestConnect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		if s := r.screen(); s.Service.State != ServiceReachable || s.Selected() != "work" || s.About.Rows[1].Value == "" {
			t.Fatal(dump(s))
		}
		r.do(ActionConnect, "work")
		r.asked("Connect work")
		r.status(conn(api.Connecting))
		if d := r.screen().Detail; !d.Progress || d.Buttons[0].Action.Kind != ActionDisconnect {
			t.Error(dump(d))
		}
		r.status(conn(api.Connected, func(c *api.Connection) { c.FullTunnel = true }))
		if d := r.screen().Detail; d.Throughput == nil || d.Since == "" || d.Elapsed != "0:00:00" {
			t.Error(dump(d))
		}
		r.wait(2 * time.Second)
		if d := r.screen().Detail; d.Elapsed != "0:00:02" {
			t.Errorf("elapsed %s", d.Elapsed)
		}
		r.told() // it was done in the window
		r.do(ActionDisconnect, "work")
		r.do(ActionDisconnect, "nobody")
		r.asked("Disconnect work; Disconnect nobody")
		r.status()
		r.told()
	})
}

// Selected is the profile that is selected in the list.
func (s Screen) Selected() string {
	for _, i := range s.Profiles {
		if i.Selected {
			return i.Name
		}
	}
	return ""
}

// TestBusy: while a request is under way, another click does nothing.
func TestBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.s.set(func() { r.s.slow["Connect"] = 5 * time.Second })
		r.do(ActionConnect, "work")
		r.do(ActionConnect, "work")
		r.asked("Connect work")
		s := r.screen()
		if b := s.Detail.Buttons[0]; b.Enabled || b.Why == "" || s.Tray.Items[2].Enabled || !s.Profiles[0].Progress {
			t.Error(dump(s.Detail.Buttons))
		}
		r.wait(5 * time.Second)
		if !r.screen().Detail.Buttons[0].Enabled {
			t.Error("not enabled again")
		}
	})
}

// TestTakeBack: a wish can be taken back before the service has answered, and both arrive in order.
func TestTakeBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.s.set(func() { r.s.slow["Connect"] = 5 * time.Second })
		r.do(ActionConnect, "work")
		r.status(conn(api.Connected))
		if b := r.screen().Detail.Buttons[0]; b.Action.Kind != ActionDisconnect || !b.Enabled {
			t.Error(dump(b))
		}
		r.do(ActionDisconnect, "work")
		r.do(ActionDisconnect, "work")
		r.asked("Connect work")
		if b := r.screen().Detail.Buttons[0]; b.Enabled {
			t.Error(dump(b))
		}
		r.wait(5 * time.Second)
		r.asked("Disconnect work")
		r.status()
		if b := r.screen().Detail.Buttons[0]; b.Action.Kind != ActionConnect || !b.Enabled {
			t.Error(dump(b))
		}
	})
}

// TestErrors: what each request can fail with is on the screen, in words, and nothing is lost.
func TestErrors(t *testing.T) {
	refused := api.NewProblem(api.CodeNotPermitted, map[string]string{"action": "do this"})
	file := filepath.Join(t.TempDir(), "office.ovpn")
	if err := os.WriteFile(file, []byte(openProfile(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(r *rig) {
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginOTP)))
	}
	detail := func(s Screen) *Notice { return s.Detail.Notice }
	dialog := func(s Screen) *Notice { return s.Dialog.Notice }
	for _, c := range []struct {
		method string
		do     func(r *rig)
		where  func(s Screen) *Notice
	}{
		{"Connect", func(r *rig) { r.do(ActionConnect, "work") }, detail},
		{"Disconnect", func(r *rig) { r.do(ActionDisconnect, "work") }, detail},
		{"Answer", func(r *rig) { ask(r); r.m.Submit(r.dialog(DialogCode).ID, Values{FieldCode: "1"}) }, dialog},
		{"Profiles", func(r *rig) { r.m.SetVisible(true) }, dialog},
		{"Rename", func(r *rig) {
			r.do(ActionAskRename, "work")
			r.m.Submit(r.dialog(DialogRename).ID, Values{FieldName: "home"})
		}, dialog},
		{"Settings", func(r *rig) {
			r.do(ActionAskRename, "work")
			r.m.Submit(r.dialog(DialogRename).ID, Values{FieldName: "home"})
		}, dialog},
		{"Remove", func(r *rig) { r.do(ActionRemove, "work"); r.wait(undoTime + time.Second) }, dialog},
		{"Set", func(r *rig) { r.m.Set(SettingAutoConnect, "work", "true") }, dialog},
		{"Explain", func(r *rig) { r.m.Explain("10.0.0.5") }, func(s Screen) *Notice { return s.Explain.Notice }},
		{"Logs", func(r *rig) { r.m.Show(PageLog) }, func(s Screen) *Notice { return s.Log.Notice }},
		{"Import", func(r *rig) {
			r.m.ImportFile(file)
			r.m.Submit(r.dialog(DialogImport).ID, Values{FieldName: "office"})
		}, dialog},
	} {
		t.Run(c.method, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				time.Sleep(time.Until(now))
				r := up(t, nil)
				r.s.fails(c.method, refused)
				c.do(r)
				s := r.screen()
				if c.where(s) == nil || c.where(s).Code != api.CodeNotPermitted || len(c.where(s).Hints) == 0 {
					t.Fatalf("%s", dump(s))
				}
				if len(s.Profiles) != 1 || s.Profiles[0].Name != "work" {
					t.Errorf("profiles: %s", dump(s.Profiles))
				}
				// What failed can be tried again.
				r.s.fails(c.method, nil)
				if s.Dialog != nil && (s.Dialog.Busy || s.Dialog.Kind == DialogCode && !s.Dialog.Buttons[1].Enabled) {
					t.Error("the dialog stays busy")
				}
			})
		})
	}
}

// TestWatch: the service goes and comes back, and is not asked more often than once a second.
func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r *rig
		r = start(t, func(_ *Config, s *service) {
			s.fail["Watch"] = api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": api.DetailNotRunning, "start": "sudo aditd"})
		})
		if s := r.screen(); s.Service.State != ServiceNotRunning || s.Service.Notice == nil || s.Tray.Icon != IconUnknown || s.Add[0].Enabled {
			t.Fatal(dump(s))
		}
		r.wait(time.Minute)
		if n := strings.Count(r.s.all(), "Watch"); n > 15 {
			t.Errorf("%d tries in a minute", n)
		}
		r.s.fails("Watch", nil)
		r.wait(retryMost)
		r.status(conn(api.Connected))
		if s := r.screen(); s.Service.State != ServiceReachable || s.Service.Notice != nil || s.Detail.State != api.Connected || !s.Add[0].Enabled {
			t.Fatal(dump(s))
		}
		r.told() // it was up before anybody looked
		for _, c := range []struct {
			err  error
			want ServiceState
		}{
			{api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": "the connection broke"}), ServiceLost},
			{api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": api.DetailNotPermitted}), ServiceNotPermitted},
			{api.NewProblem(api.CodeNotPermitted, map[string]string{"action": "watch the status"}), ServiceNotPermitted},
			{nil, ServiceLost}, // it stops in good order
			{errors.New("something"), ServiceLost},
		} {
			r.s.lost <- c.err
			if s := r.screen(); s.Service.State != c.want || s.Profiles[0].Icon != IconUnknown || s.Detail.Buttons[0].Enabled {
				t.Errorf("%v: %s", c.err, dump(s))
			}
			r.wait(retryMost)
			r.status(conn(api.Connected))
			if s := r.screen(); s.Service.State != ServiceReachable {
				t.Errorf("%v: %s", c.err, dump(s.Service))
			}
			r.told() // nothing changed meanwhile
		}
		// A sign-in that was open is not any more.
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginOTP)))
		r.dialog(DialogCode)
		r.s.lost <- nil
		r.noDialog()
	})
}

// TestPace: however fast things move, a screen a second is published; hidden, only what the tray shows.
func TestPace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		c := conn(api.Connected)
		r.status(c)
		r.wait(2 * time.Second)
		count := func(d time.Duration) int {
			n := r.published()
			for range d / (100 * time.Millisecond) {
				c.Counters.RxBytes += 100_000
				r.status(c)
			}
			return r.published() - n
		}
		if n := count(20 * time.Second); n < 18 || n > 21 {
			t.Errorf("%d screens in 20 s", n)
		}
		d := r.screen().Detail
		if g := d.Throughput.Samples; !g[samples-1].Known || g[samples-1].Rx < 7.5e6 || g[samples-1].Rx > 8.5e6 || g[0].Known || d.Throughput.Rx != "Receiving 8.0 Mbit/s" {
			t.Errorf("%v %s", g[samples-1], d.Throughput.Rx)
		}
		r.m.SetVisible(false)
		r.wait(time.Second)
		if n := count(20 * time.Second); n != 0 {
			t.Errorf("%d screens while hidden", n)
		}
		c.State = api.Reconnecting
		n := r.published()
		r.status(c)
		if r.published() != n+1 || r.screen().Tray.Icon != IconConnecting {
			t.Errorf("%d screens for a change of the tray", r.published()-n)
		}
		n = r.published()
		r.wait(time.Hour)
		if r.published() != n {
			t.Errorf("%d screens while nothing happened", r.published()-n)
		}
		c.State = api.Connected
		r.status(c)
		r.m.SetVisible(true)
		if r.screen().Detail.State != api.Connected {
			t.Error("not up to date")
		}
		// Nothing moves on the log's page.
		r.m.Show(PageLog)
		r.wait(2 * time.Second)
		n = r.published()
		r.wait(time.Minute)
		if r.published() != n {
			t.Errorf("%d screens of a quiet log", r.published()-n)
		}
	})
}

// TestRemove: a removed profile can be had back for a while; nothing is asked of the service before that is over.
func TestRemove(t *testing.T) {
	two := func(_ *Config, s *service) {
		s.profiles = append(s.profiles, api.Profile{Name: "home", Owner: "ann"}, api.Profile{Name: "corp", Managed: true})
		s.settings["work"] = api.Settings{SavePassword: true}
	}
	bubble(t, func(t *testing.T) {
		r := up(t, two)
		r.do(ActionAskRemove, "work")
		r.do(ActionRemove, r.dialog(DialogRemove).Profile)
		s := r.screen()
		if s.Dialog != nil || len(s.Profiles) != 2 || s.Toast == nil || s.Selected() == "work" {
			t.Fatal(dump(s))
		}
		r.wait(undoTime - time.Second)
		r.asked("")
		r.do(ActionUndo, "work")
		if s := r.screen(); len(s.Profiles) != 3 || s.Toast != nil || s.Selected() != "work" {
			t.Fatal(dump(s))
		}
		r.wait(time.Minute)
		r.asked("")
		r.do(ActionUndo, "work") // too late, and harmless
		r.do(ActionRemove, "corp")
		r.do(ActionRemove, "nobody")
		if s := r.screen(); len(s.Profiles) != 3 {
			t.Error("a managed profile is gone")
		}
		r.status(conn(api.Connecting))
		r.do(ActionRemove, "work")
		if d := r.dialog(DialogError); d.Notice.Code != api.CodeProfileInUse {
			t.Error(dump(d))
		}
		r.do(ActionCancel, "")
		r.status()
		r.do(ActionRemove, "work")
		r.wait(undoTime)
		r.asked("Remove work")
		if got := r.vault.take(); got != "forget all work" {
			t.Errorf("keychain: %s", got)
		}
		if s := r.screen(); len(s.Profiles) != 2 || s.Toast != nil {
			t.Error(dump(s))
		}
	})
	bubble(t, func(t *testing.T) { // blocked, until it is the policy that blocks everything
		r := up(t, two)
		r.status(conn(api.Blocked))
		r.do(ActionRemove, "work")
		if d := r.dialog(DialogError); d.Notice.Code != api.CodeProfileInUse {
			t.Error(dump(d))
		}
		r.do(ActionCancel, "")
		r.m.SetPolicy(Policy{Guard: "lockdown"})
		r.do(ActionRemove, "work")
		r.wait(undoTime)
		r.asked("Remove work")
	})
	bubble(t, func(t *testing.T) { // quit while it could be undone
		r := up(t, two)
		r.do(ActionRemove, "work")
		r.stop()
		r.asked("Remove work")
	})
	bubble(t, func(t *testing.T) { // and with a service that does not answer
		r := up(t, two)
		r.s.set(func() { r.s.slow["Remove"] = time.Hour })
		r.do(ActionRemove, "work")
		began := time.Now()
		r.stop()
		if d := time.Since(began); d > quitTime {
			t.Errorf("quitting took %s", d)
		}
	})
}

func TestRename(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, func(_ *Config, s *service) { s.settings["work"] = api.Settings{SavePassword: true} })
		r.do(ActionAskRename, "work")
		d := r.dialog(DialogRename)
		if d.Fields[0].Value != "work" {
			t.Error(dump(d))
		}
		r.m.Submit("another", Values{FieldName: "x"})
		r.m.Submit(d.ID, Values{FieldName: " home "})
		r.asked("Rename work home")
		if s := r.screen(); s.Dialog != nil || s.Selected() != "home" || r.vault.take() != "forget all work" {
			t.Error(dump(s))
		}
		r.do(ActionAskRename, "home")
		r.m.Submit(r.dialog(DialogRename).ID, Values{FieldName: "home"})
		r.noDialog()
		r.asked("")
	})
}

// TestNotifications: each thing is told once, and not what the person has just done in the window.
func TestNotifications(t *testing.T) {
	steps := func(name string, f func(r *rig)) {
		t.Run(name, func(t *testing.T) { bubble(t, func(t *testing.T) { f(up(t, nil)) }) })
	}
	steps("up elsewhere", func(r *rig) {
		r.status(conn(api.Connecting))
		r.told()
		r.status(conn(api.Connected))
		r.told(NotifyConnected)
		r.status(conn(api.Connected, func(c *api.Connection) { c.Counters.RxBytes = 5 }))
		r.told()
		r.status(conn(api.Disconnecting))
		r.status()
		r.told() // wanted
	})
	steps("clicked in the tray", func(r *rig) {
		r.m.SetVisible(false)
		r.do(ActionConnect, "work")
		r.status(conn(api.Connected))
		r.told(NotifyConnected)
	})
	steps("clicked in the tray, and a password is asked for", func(r *rig) {
		r.m.SetVisible(false)
		r.do(ActionConnect, "work")
		r.opens(0)
		r.status(conn(api.NeedsLogin, login(api.LoginPassword)))
		r.opens(1)
		r.told()
		r.m.SetVisible(true)
		r.dialog(DialogCredentials)
		r.m.SetVisible(false)
		r.status(conn(api.NeedsLogin, login(api.LoginOTP)))
		r.opens(0) // the person has closed it
	})
	steps("clicked in the tray, and the keychain answers", func(r *rig) {
		r.vault.keeps("work", secrets.Login{User: "ann", Password: "p"})
		keep := func(c *api.Connection) { c.SavePassword = true }
		r.m.SetVisible(false)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, keep, login(api.LoginPassword)))
		r.opens(0)
		r.status(conn(api.NeedsLogin, keep, login(api.LoginOTP, func(l *api.Login) { l.ID = "q2" })))
		r.opens(1)
		r.told()
	})
	steps("clicked in the tray, and the browser asks", func(r *rig) {
		web := func(l *api.Login) { l.URL, l.Callback = "https://idp.example.com/", 35001 }
		r.m.SetVisible(false)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginBrowser, web)))
		r.opens(0) // there is nothing to do in it
		r.told()
		r.do(ActionDisconnect, "work")
		r.status()
		r.browser.set(errors.New("no browser"), nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginBrowser, web)))
		r.opens(1)
	})
	steps("clicked in the tray, and a question comes much later", func(r *rig) {
		r.m.SetVisible(false)
		r.do(ActionConnect, "work")
		r.status(conn(api.Connecting))
		r.wait(5 * time.Minute)
		r.status(conn(api.NeedsLogin, login(api.LoginPassword)))
		r.opens(0)
		r.told(NotifySignIn)
	})
	steps("clicked in the tray, and it fails", func(r *rig) {
		r.m.SetVisible(false)
		r.do(ActionConnect, "work")
		r.status(conn(api.Connecting))
		r.opens(0)
		r.status(conn(api.Disconnected, func(c *api.Connection) { c.Problem = api.NewProblem(api.CodeSessionEnded, nil) }))
		r.opens(1)
		r.s.fails("Connect", api.NewProblem(api.CodeSessionEnded, nil))
		r.do(ActionConnect, "work")
		r.opens(1)
		r.told()
		r.m.SetVisible(true)
		r.do(ActionConnect, "work") // it is seen there
		r.opens(0)
	})
	steps("clicked in the window long ago", func(r *rig) {
		r.do(ActionConnect, "work")
		r.wait(5 * time.Minute)
		r.status(conn(api.Connected))
		r.told(NotifyConnected)
	})
	steps("lost, and back", func(r *rig) {
		r.status(conn(api.Connected))
		r.told(NotifyConnected)
		for range 3 {
			r.status(conn(api.Reconnecting))
		}
		r.told(NotifyLost)
		r.status(conn(api.Connecting))
		r.status(conn(api.Reconnecting))
		r.told()
		r.status(conn(api.Connected))
		r.told(NotifyConnected)
		r.status(conn(api.Reconnecting))
		r.told(NotifyLost)
	})
	steps("lost, then blocked", func(r *rig) {
		r.status(conn(api.Connected))
		r.status(conn(api.Reconnecting))
		r.told(NotifyConnected, NotifyLost)
		r.status(conn(api.Blocked, func(c *api.Connection) { c.Guard = "auto" }))
		r.told(NotifyLost)
		r.status(conn(api.Blocked, func(c *api.Connection) { c.Guard, c.Banner = "auto", "x" }))
		r.told()
	})
	steps("ended for good", func(r *rig) {
		r.status(conn(api.Connected))
		r.told(NotifyConnected)
		r.status(conn(api.Disconnected, func(c *api.Connection) { c.Problem = api.NewProblem(api.CodeSessionEnded, nil) }))
		r.told(NotifyLost)
	})
	steps("sign-in", func(r *rig) {
		r.status(conn(api.NeedsLogin, login(api.LoginPassword)))
		r.told(NotifySignIn)
		r.noDialog() // it was not begun here
		r.status(conn(api.NeedsLogin, login(api.LoginPassword, func(l *api.Login) { l.ID = "q2" })))
		r.status(conn(api.Connecting))
		r.status(conn(api.NeedsLogin, login(api.LoginOTP)))
		r.told() // of the same sign-in
		r.status(conn(api.Connected))
		r.told(NotifyConnected)
		r.status(conn(api.Connected, login(api.LoginOTP)))
		r.told(NotifySignIn)
	})
	steps("sign-in in the window", func(r *rig) {
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginPassword)))
		r.told()
		r.dialog(DialogCredentials)
	})
	steps("sign-in, nothing saved", func(r *rig) {
		r.status(conn(api.NeedsLogin, func(c *api.Connection) { c.SavePassword = true }, login(api.LoginPassword)))
		r.told(NotifySignIn)
		r.status(conn(api.NeedsLogin, func(c *api.Connection) { c.SavePassword, c.Banner = true, "x" }, login(api.LoginPassword)))
		r.told()
	})
	steps("certificate", func(r *rig) {
		soon := time.Now().Add(10 * 24 * time.Hour)
		near := func(c *api.Connection) { c.CertificateExpires = &soon }
		r.status(conn(api.Connected, near))
		r.told(NotifyConnected, NotifyCertificate)
		r.status(conn(api.Reconnecting, near))
		r.status(conn(api.Connected, near))
		r.told(NotifyLost, NotifyConnected)
		soon = soon.Add(time.Hour) // another certificate
		r.status(conn(api.Connected, near))
		r.told(NotifyCertificate)
	})
	steps("not wanted", func(r *rig) {
		r.m.Set(SettingNotifications, "", "false")
		r.status(conn(api.Connected))
		r.status(conn(api.Reconnecting))
		r.told()
	})
	steps("other people's", func(r *rig) {
		r.status(api.Connection{Owner: "bob", State: api.Connected}, conn(api.Connected, func(c *api.Connection) { c.Owner = "bob" }))
		r.told()
		if s := r.screen(); s.Detail.State != api.Disconnected || len(s.Others) != 1 {
			r.t.Error(dump(s))
		}
	})
}

// TestBannerAndGuard: dialogs that come by themselves, and those behind a button.
func TestBannerAndGuard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		banner := func(c *api.Connection) { c.Banner = "Authorized use only" }
		r.status(conn(api.Connected, banner))
		r.noDialog() // nobody began it here
		r.do(ActionBanner, "work")
		r.dialog(DialogBanner)
		r.do(ActionCancel, "")
		r.noDialog()
		r.status()
		r.do(ActionConnect, "work")
		r.status(conn(api.Connected, banner))
		r.m.Submit(r.dialog(DialogBanner).ID, nil)
		r.noDialog()
		r.status(conn(api.Reconnecting, banner))
		r.status(conn(api.Connected, banner))
		r.noDialog() // once
		r.status(conn(api.Blocked, func(c *api.Connection) { c.Guard = "auto" }))
		r.do(ActionGuard, "work")
		r.dialog(DialogGuard)
		r.do(ActionCertificate, "work")
		r.dialog(DialogCertificate)
	})
}

// TestOnClose: what closing the window does is asked once, and remembered even when the app ends with the answer; how to
// get the window back is told once.
func TestOnClose(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gui.json")
	kept := func(c *Config, _ *service) { c.Preferences = file }
	bubble(t, func(t *testing.T) {
		r := up(t, kept)
		if c := r.screen().OnClose; c != CloseAsks {
			t.Errorf("closing does %q at first", c)
		}
		r.m.AskBackground()
		r.dialog(DialogBackground)
		r.do(ActionCancel, "")
		r.noDialog()
		if c := r.screen().OnClose; c != CloseAsks {
			t.Errorf("closing does %q without an answer", c)
		}
		r.m.AskBackground()
		r.do(ActionKeepRunning, "")
		r.noDialog()
		r.told(NotifyBackground)
		r.m.Set(SettingOnClose, "", "ask")
		r.m.Set(SettingOnClose, "", "explode")
		if c := r.screen().OnClose; c != CloseAsks {
			t.Errorf("closing does %q after it was set to ask", c)
		}
		r.m.AskBackground()
		r.dialog(DialogBackground)
		r.m.Do(Action{Kind: ActionKeepRunning}) // with which the window hides
		r.m.SetVisible(false)
		r.told()
		r.noDialog()
		if c := r.screen().OnClose; c != CloseHides {
			t.Errorf("closing does %q", c)
		}
	})
	bubble(t, func(t *testing.T) {
		r := up(t, kept)
		if c := r.screen().OnClose; c != CloseHides {
			t.Errorf("after a start closing does %q", c)
		}
		r.do(ActionKeepRunning, "")
		r.told()
		r.m.Do(Action{Kind: ActionCloseQuits})
		r.stop()
	})
	bubble(t, func(t *testing.T) {
		if c := up(t, kept).screen().OnClose; c != CloseQuits {
			t.Errorf("the last answer is lost: %q", c)
		}
	})
}

// TestSelect: the selection follows the list; networks are searched in the selected profile.
func TestSelect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, func(_ *Config, s *service) { s.profiles = append(s.profiles, api.Profile{Name: "home", Owner: "ann"}) })
		r.m.Select("home")
		r.m.Select("nobody")
		if got := r.screen().Selected(); got != "home" {
			t.Errorf("selected %q", got)
		}
		r.m.FilterNetworks("10.")
		if r.screen().Detail.Through.Filter != "10." {
			t.Error("no filter")
		}
		r.m.Select("work")
		if r.screen().Detail.Through.Filter != "" {
			t.Error("the filter is another profile's")
		}
		// A profile that was imported elsewhere comes with its tunnel.
		r.s.mu.Lock()
		r.s.profiles = append(r.s.profiles, api.Profile{Name: "new", Owner: "ann"})
		r.s.mu.Unlock()
		r.status(conn(api.Connecting, func(c *api.Connection) { c.Profile = "new" }))
		if n := len(r.screen().Profiles); n != 3 {
			t.Errorf("%d profiles", n)
		}
		r.m.SetPolicy(Policy{Language: "ja", ForbidUserProfiles: true})
		if s := r.screen(); s.Language != i18n.Japanese || s.Add[0].Enabled {
			t.Error("the policy changes nothing")
		}
	})
}

// TestLog: bounded, searched, followed, and begun anew when the service is back.
func TestLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.m.Show(PageLog)
		r.asked("Logs true")
		for i := range maxLog + 10 {
			r.s.lines <- api.LogLine{Time: time.Now(), Level: "INFO", Profile: "work", Text: fmt.Sprintf("line %d", i)}
		}
		r.wait(2 * time.Second)
		l := r.screen().Log
		if len(l.Lines) != maxLog || l.Lines[0].Text != "line 10" || l.Remark == "" || !l.Follow {
			t.Errorf("%d lines, first %+v, %q", len(l.Lines), l.Lines[0], l.Remark)
		}
		r.m.FilterLog("LINE 2009")
		r.m.FollowLog(false)
		if l := r.screen().Log; len(l.Lines) != 1 || l.Follow {
			t.Errorf("%d lines", len(l.Lines))
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "adit.log")
		r.m.SaveLog(file)
		synctest.Wait()
		if b, err := os.ReadFile(file); err != nil || string(b) != l.Lines[maxLog-1].Time+"  INFO  work  line 2009\n" {
			t.Errorf("saved %q, %v", b, err)
		}
		if s := r.screen(); s.Toast == nil || s.Log.Notice != nil {
			t.Error(dump(s.Toast), dump(s.Log.Notice))
		}
		r.m.SaveLog(filepath.Join(file, "adit.log")) // which is no folder
		if n := r.screen().Log.Notice; n == nil || !strings.Contains(n.Text, "adit.log") || len(n.Hints) != 1 {
			t.Error(dump(n))
		}
		r.m.FilterLog("")
		r.m.SaveLog(file)
		synctest.Wait()
		if b, err := os.ReadFile(file); err != nil || bytes.Count(b, []byte("\n")) != maxLog || r.screen().Log.Notice != nil {
			t.Errorf("saved %d bytes, %v", len(b), err)
		}
		r.s.lost <- nil
		r.wait(retryMost)
		r.status()
		r.asked("Logs true")
		if n := len(r.screen().Log.Lines); n != 0 {
			t.Errorf("%d lines twice", n)
		}
		r.m.Show(PageProfiles)
		synctest.Wait()
		select {
		case r.s.lines <- api.LogLine{}:
			t.Error("still read")
		case <-time.After(time.Second):
		}
	})
}

func TestExplain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, func(_ *Config, s *service) { s.way = routes.Explanation{Way: routes.WayNone} })
		r.m.Explain("  ")
		r.asked("")
		r.s.set(func() { r.s.slow["Explain"] = time.Second })
		r.m.Explain(" intranet.example ")
		if x := r.screen().Explain; x.Busy == "" || x.Button.Enabled {
			t.Error(dump(x))
		}
		r.m.Explain("other.example")
		r.wait(time.Second)
		r.asked("Explain intranet.example; Explain other.example")
		if x := r.screen().Explain; x.Busy != "" || x.Answer == "" || x.Destination != "other.example" {
			t.Error(dump(x))
		}
	})
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string][2]string{
		"":                            {},
		"10.0.0.1":                    {"10.0.0.1", ""},
		"intranet.example":            {"intranet.example", ""},
		"http://10.98.0.1:8080/x":     {"10.98.0.1", "8080"},
		"http://10.98.0.1/x":          {"10.98.0.1", "80"},
		"https://[2001:db8::1]/?q=a":  {"2001:db8::1", "443"},
		"intranet.example:443":        {"intranet.example", "443"},
		"[2001:db8::1]:443":           {"2001:db8::1", "443"},
		"[2001:db8::1]":               {"2001:db8::1", ""},
		"2001:db8::1":                 {"2001:db8::1", ""},
		"https://u:p@host.example:1/": {"host.example", "1"},
		"http://":                     {"http://", ""},
		":80":                         {":80", ""},
		"a b":                         {"a b", ""},
	} {
		if host, port := hostOf(in); host != want[0] || port != want[1] {
			t.Errorf("%q: %q %q, not %q", in, host, port, want)
		}
	}
}

// TestTry: what is typed is tried, with its port, and every outcome has words.
func TestTry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked []string
		var fails error
		r := up(t, func(c *Config, _ *service) {
			c.Reach = func(_ context.Context, target reach.Target) (reach.Report, error) {
				asked = append(asked, fmt.Sprintf("%s %s %d", target.Name, target.Address, target.Port))
				return reach.Report{Target: target, Explanation: routes.Explanation{Destination: target.Address, Way: routes.WayTunnel, Profile: "work"},
					Probe: probe.Result{Method: "tcp", Port: target.Port, Outcome: probe.NoAnswer, Sent: 3}, Verdict: reach.Lost}, fails
			}
		})
		r.m.Try("https://10.0.0.5/wiki")
		x := r.screen().Explain
		if x.Destination != "10.0.0.5:443" || !strings.Contains(x.Tried, "TCP port 443") || !strings.Contains(x.Tried, "authorization rule") || x.Busy != "" {
			t.Error(dump(x))
		}
		r.m.Try("2001:db8::1")
		r.m.Try("no good name:1")
		if n := r.screen().Explain.Notice; n == nil || n.Code != api.CodeDestinationInvalid {
			t.Error(dump(n))
		}
		fails = &reach.LookupError{Name: "intranet", Err: errors.New("no such host")}
		r.m.Try("intranet:22")
		if x := r.screen().Explain; x.Notice == nil || !strings.Contains(x.Notice.Text, "intranet") || len(x.Notice.Hints) != 1 || x.Tried != "" || x.Answer != "" {
			t.Error(dump(x))
		}
		fails = reach.ErrNoDevice
		r.m.Try("10.0.0.5")
		if x := r.screen().Explain; x.Notice == nil || x.Tried != "" {
			t.Error(dump(x))
		}
		r.m.Explain("10.0.0.5") // which tries nothing
		r.asked("Explain 10.0.0.5")
		if want := []string{" 10.0.0.5 443", " 2001:db8::1 0", "intranet invalid IP 22", " 10.0.0.5 0"}; !slices.Equal(asked, want) {
			t.Errorf("%q, want %q", asked, want)
		}
	})
}

// TestReport: the file is this person's alone, one that is there is replaced, and an error has words.
func TestReport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, func(c *Config, _ *service) {
			c.Report = func(context.Context) ([]byte, error) { time.Sleep(time.Second); return []byte("PK"), nil }
		})
		dir := t.TempDir()
		file := filepath.Join(dir, "report.zip")
		if err := os.WriteFile(file, []byte("an older one, which is longer"), 0o644); err != nil {
			t.Fatal(err)
		}
		r.m.SaveReport(file)
		if a := r.screen().About.Report; a.Busy == "" || a.Button.Enabled {
			t.Error(dump(a))
		}
		r.m.SaveReport(filepath.Join(dir, "another.zip")) // one at a time
		r.wait(time.Second)
		info, err := os.Stat(file)
		b, _ := os.ReadFile(file)
		if err != nil || string(b) != "PK" || info.Mode().Perm() != 0o600 {
			t.Errorf("%q %v %v", b, info.Mode(), err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("%v", left)
		}
		if s := r.screen(); s.Toast == nil || !strings.Contains(s.Toast.Text, "report.zip") || s.About.Report.Notice != nil {
			t.Error(dump(s.Toast))
		}
		r.m.SaveReport(filepath.Join(file, "report.zip")) // which is no folder
		r.wait(time.Second)
		if a := r.screen().About.Report; a.Notice == nil || !strings.Contains(a.Notice.Text, "report.zip") || !a.Button.Enabled {
			t.Error(dump(a))
		}
	})
}

// demo is a bundled server.
type demo struct {
	mu     sync.Mutex
	err    error
	slow   time.Duration
	starts int
}

// demoAt is where it listens.
const demoAt = "127.0.0.1:5000/udp"

func (d *demo) Page() string { return "http://10.98.0.1/" }

func (d *demo) Serves(p api.Profile) bool { return slices.Contains(p.Remotes, demoAt) }

func (d *demo) Start(context.Context) (api.ProfileText, error) {
	d.mu.Lock()
	d.starts++
	d.mu.Unlock()
	time.Sleep(d.slow)
	return api.ProfileText{Name: "demo", Text: "client"}, d.err
}

// started is how often it was started since the last time.
func (d *demo) started() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.starts
	d.starts = 0
	return n
}

// withDemo has a bundled server and these profiles; what is imported is the server's.
func withDemo(d *demo, profiles ...api.Profile) func(c *Config, s *service) {
	return func(c *Config, s *service) { s.profiles, s.remotes, c.Demo = profiles, []string{demoAt}, d }
}

// TestDemo: from nothing to a tunnel in one click, and what goes wrong on the way.
func TestDemo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, withDemo(&demo{}))
		if f := r.screen().First; f == nil || len(f.Buttons) != 3 {
			t.Fatal(dump(r.screen()))
		}
		r.do(ActionDemo, "")
		r.asked("Import demo false; Connect demo")
		if s := r.screen(); s.First != nil || s.Selected() != "demo" {
			t.Error(dump(s))
		}
	})
	bubble(t, func(t *testing.T) {
		r := up(t, withDemo(&demo{err: errors.New("no such program")}))
		r.do(ActionDemo, "")
		if f := r.screen().First; f.Notice == nil || !strings.Contains(f.Notice.Text, "no such program") || !f.Buttons[2].Enabled {
			t.Error(dump(f))
		}
		r.noDialog()
	})
	bubble(t, func(t *testing.T) {
		r := up(t, withDemo(&demo{slow: time.Second}))
		r.do(ActionDemo, "")
		r.do(ActionDemo, "")
		if f := r.screen().First; f.Busy == "" || f.Buttons[2].Enabled {
			t.Error(dump(f))
		}
		r.wait(time.Second)
		r.asked("Import demo false; Connect demo")
	})
	bubble(t, func(t *testing.T) {
		r := up(t, func(c *Config, s *service) {
			withDemo(&demo{})(c, s)
			s.fail["Import"] = api.NewProblem(api.CodeNotPermitted, nil)
		})
		r.do(ActionDemo, "")
		r.dialog(DialogError)
	})
	bubble(t, func(t *testing.T) {
		r := up(t, func(_ *Config, s *service) { s.profiles = nil })
		r.do(ActionDemo, "")
		r.asked("")
	})
	bubble(t, func(t *testing.T) {
		d := &demo{}
		r := up(t, func(c *Config, s *service) {
			withDemo(d, api.Profile{Name: "work", Owner: "ann"})(c, s)
			c.Policy.ForbidUserProfiles = true
		})
		r.do(ActionDemo, "")
		if r.asked(""); d.started() != 0 {
			t.Error("started where the organization forbids profiles")
		}
	})
}

// TestDemoBesideOthers: who has profiles may try the bundled server, too; a profile of theirs that is called like its
// own stays.
func TestDemoBesideOthers(t *testing.T) {
	theirs := api.Profile{Name: "demo", Owner: "ann", Remotes: []string{"vpn.example.com:1194/udp"}}
	bubble(t, func(t *testing.T) {
		d := &demo{}
		r := up(t, withDemo(d, theirs))
		r.do(ActionConnect, "demo")
		if r.asked("Connect demo"); d.started() != 0 {
			t.Error("the bundled server was started for another's profile")
		}
		r.m.Show(PageLog)
		r.asked("Logs true")
		offered := func() bool {
			return slices.ContainsFunc(r.screen().Menus[0].Commands, func(c Command) bool { return c.Action.Kind == ActionDemo && c.Enabled })
		}
		if !offered() {
			t.Error(dump(r.screen().Menus))
		}
		r.do(ActionDemo, "")
		if offered() {
			t.Error("offered, and there is its profile")
		}
		r.asked("Import demo false; Import demo 2 false; Connect demo 2")
		if s := r.screen(); s.Selected() != "demo 2" || s.Page != PageProfiles || d.started() != 1 {
			t.Error(dump(s))
		}
		r.do(ActionDemo, "") // there is one now
		r.asked("Import demo 2 true; Connect demo 2")
	})
	bubble(t, func(t *testing.T) {
		r := up(t, withDemo(&demo{err: errors.New("no room")}, theirs))
		r.do(ActionDemo, "")
		if d := r.dialog(DialogError); d.Notice == nil || d.Notice.Text != i18n.DemoFailed.In(i18n.English, "detail", "no room") {
			t.Error(dump(d))
		}
	})
}

// TestDemoAgain: the profile of the bundled server, under whatever name, starts it again in the app's next run; the
// tunnel ends with the app.
func TestDemoAgain(t *testing.T) {
	ours := api.Profile{Name: "try", Owner: "ann", Remotes: []string{demoAt}}
	connected := api.Connection{Profile: "try", Owner: "ann", State: api.Connected}
	bubble(t, func(t *testing.T) {
		d := &demo{}
		r := up(t, withDemo(d, ours))
		r.do(ActionConnect, "try")
		if r.asked("Import try true; Connect try"); d.started() != 1 {
			t.Error("not started")
		}
		r.status(connected)
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		r.asked("Disconnect try")
	})
	bubble(t, func(t *testing.T) { // the service wants it still, or by itself
		d := &demo{}
		r := start(t, withDemo(d, ours))
		waiting := connected
		waiting.State = api.Reconnecting
		r.status(waiting)
		if r.s.take(); d.started() != 1 {
			t.Error("not started")
		}
		r.status(connected)
		r.m.SetVisible(true) // which reads the list again
		r.wait(time.Second)
		if r.asked(""); d.started() != 0 {
			t.Error("started again")
		}
	})
	bubble(t, func(t *testing.T) { // one that is up already, as seen by a model that does not know it yet
		r := up(t, withDemo(&demo{}, ours))
		r.s.fails("Import", api.NewProblem(api.CodeProfileInUse, nil))
		r.s.fails("Connect", api.NewProblem(api.CodeAlreadyConnected, nil))
		r.do(ActionConnect, "try")
		r.asked("Import try true; Connect try")
		r.noDialog()
		if n := r.screen().Detail.Notice; n != nil {
			t.Error(dump(n))
		}
		if r.stop(); r.s.take() != "" {
			t.Error("disconnected what is not connected")
		}
	})
	bubble(t, func(t *testing.T) {
		r := up(t, withDemo(&demo{err: errors.New("no room")}, ours))
		r.do(ActionConnect, "try")
		r.asked("")
		r.dialog(DialogError)
		if s := r.screen(); s.Detail.Notice != nil || !s.Detail.Buttons[0].Enabled {
			t.Error(dump(s.Detail))
		}
	})
}

// starts is the desktop's list of what starts with a session.
type starts struct {
	on  bool
	err error
}

func (s *starts) Enabled() (bool, error) { return s.on, nil }
func (s *starts) Set(on bool) error {
	if s.err == nil {
		s.on = on
	}
	return s.err
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "adit", "gui.json")
	setting := func(s Screen, id SettingID) Setting {
		return s.Settings[slices.IndexFunc(s.Settings, func(x Setting) bool { return x.ID == id })]
	}
	auto := &starts{}
	bubble(t, func(t *testing.T) {
		r := up(t, func(c *Config, _ *service) { c.Preferences, c.Autostart = file, auto })
		r.m.Set(SettingLanguage, "", "ja")
		r.m.Set(SettingLanguage, "", "xx")
		r.m.Set(SettingTheme, "", "dark")
		r.m.Set(SettingTheme, "", "pink")
		r.m.Set(SettingTextSize, "", "largest")
		r.m.Set(SettingTextSize, "", "enormous")
		r.m.Set(SettingStartAtLogin, "", "true")
		s := r.screen()
		if s.Language != i18n.Japanese || s.Theme != "dark" || s.TextSize != "largest" || !auto.on || setting(s, SettingStartAtLogin).Value != "true" {
			t.Error(dump(s.Settings))
		}
		auto.err = errors.New("read-only")
		r.m.Set(SettingStartAtLogin, "", "false")
		if s := r.screen(); s.Toast == nil || setting(s, SettingStartAtLogin).Value != "true" {
			t.Error(dump(s))
		}
		r.asked("")
		r.m.Set(SettingAutoConnect, "work", "true")
		r.m.Set(SettingSavePassword, "work", "true")
		synctest.Wait()
		r.m.Set(SettingSavePassword, "work", "false")
		synctest.Wait()
		r.m.Set(SettingGuard, "nobody", "auto")
		r.asked("Set work auto_connect=true; Set work save_password=true; Set work save_password=false")
		if s := r.screen(); setting(s, SettingAutoConnect).Value != "true" || r.vault.take() != "forget all work" {
			t.Error(dump(s.Settings))
		}
	})
	bubble(t, func(t *testing.T) { // another start
		r := up(t, func(c *Config, _ *service) { c.Preferences = file })
		if s := r.screen(); s.Language != i18n.Japanese || s.Theme != "dark" {
			t.Error(dump(s.Settings))
		}
		r.m.SetPolicy(Policy{Language: "en", Guard: "auto", AutoConnect: "work", ForbidSavedPasswords: true})
		for _, id := range []SettingID{SettingLanguage, SettingGuard, SettingAutoConnect, SettingSavePassword} {
			r.m.Set(id, "work", "ja")
			if x := setting(r.screen(), id); x.Locked == "" {
				t.Errorf("%s is not locked", id)
			}
		}
		r.asked("")
		if r.screen().Language != i18n.English {
			t.Error("the policy's language is not used")
		}
	})
	bubble(t, func(t *testing.T) { // a proxy that cannot be used stays to be corrected
		r := up(t, nil)
		r.m.Set(SettingProxy, "work", "http://a b")
		r.noDialog()
		if x := setting(r.screen(), SettingProxy); !x.Text || x.Value != "http://a b" || !strings.Contains(x.Wrong, "want http://HOST:PORT") || x.Busy {
			t.Error(dump(x))
		}
		r.m.Set(SettingProxy, "work", "http://a:3128")
		if x := setting(r.screen(), SettingProxy); x.Value != "http://a:3128" || x.Wrong != "" {
			t.Error(dump(x))
		}
		r.asked("Set work proxy=http://a b; Set work proxy=http://a:3128")
	})
	for _, proxy := range []string{"http://a:3128", "http://a b"} { // a click on a switch ends the typing of the proxy, too
		bubble(t, func(t *testing.T) {
			r := up(t, func(_ *Config, s *service) { s.slow["Set"] = time.Second })
			r.m.Set(SettingProxy, "work", proxy)
			r.m.Set(SettingAutoConnect, "work", "true")
			r.wait(1500 * time.Millisecond)
			if x := setting(r.screen(), SettingAutoConnect); !x.Busy {
				t.Error(dump(x))
			}
			r.wait(time.Second)
			r.asked("Set work proxy=" + proxy + "; Set work auto_connect=true")
			s := r.screen()
			if x := setting(s, SettingAutoConnect); x.Value != "true" || x.Busy {
				t.Error(dump(x))
			}
			if x := setting(s, SettingProxy); x.Value != proxy || (x.Wrong != "") != strings.Contains(proxy, " ") {
				t.Error(dump(x))
			}
		})
	}
	bubble(t, func(t *testing.T) { // one change that fails keeps no other one from the screen
		r := up(t, func(_ *Config, s *service) { s.slow["Set"] = time.Second })
		r.s.fails("Set", errors.New("no"))
		r.m.Set(SettingGuard, "work", "auto")
		synctest.Wait()
		r.s.fails("Set", nil)
		r.m.Set(SettingAutoConnect, "work", "true")
		r.wait(1500 * time.Millisecond)
		r.dialog(DialogError)
		r.wait(time.Second)
		if x := setting(r.screen(), SettingAutoConnect); x.Value != "true" || x.Busy {
			t.Error(dump(x))
		}
		r.asked("Set work guard=auto; Set work auto_connect=true")
	})
	bubble(t, func(t *testing.T) { // a managed profile's is the organization's
		r := up(t, func(_ *Config, s *service) { s.profiles[0].Managed = true })
		r.m.Set(SettingProxy, "work", "none")
		if x := setting(r.screen(), SettingProxy); x.Locked == "" {
			t.Error(dump(x))
		}
		r.asked("")
	})
	for _, by := range []string{"profile", "server"} { // a password that may not be kept is not offered to be
		bubble(t, func(t *testing.T) {
			r := up(t, func(_ *Config, s *service) { s.settings["work"] = api.Settings{SavePassword: true} })
			if x := setting(r.screen(), SettingSavePassword); x.Locked != "" || x.Value != "true" {
				t.Error(dump(x))
			}
			if by == "profile" {
				r.s.set(func() { r.s.profiles[0].SaveForbidden = by })
				r.m.SetVisible(true) // which reads the list again
			} else {
				r.status(conn(api.Connected, func(c *api.Connection) { c.SaveForbidden = by }))
				r.status()
			}
			r.wait(time.Second)
			r.m.Set(SettingSavePassword, "work", "false")
			if x := setting(r.screen(), SettingSavePassword); !strings.Contains(x.Locked, by) || x.Value != "false" {
				t.Error(dump(x))
			}
			r.asked("")
		})
	}
	bubble(t, func(t *testing.T) { // what cannot be written is said
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r := up(t, func(c *Config, _ *service) { c.Preferences = filepath.Join(dir, "file", "gui.json") })
		r.m.Set(SettingTheme, "", "dark")
		if s := r.screen(); s.Toast == nil || s.Theme != "dark" {
			t.Error(dump(s))
		}
		r.wait(toastTime)
		if r.screen().Toast != nil {
			t.Error("the line stays")
		}
	})
}

// TestKeychainOff: a keychain that does not work is told once, and the sign-in goes on.
func TestKeychainOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.vault.breaks(secrets.ErrLocked)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, func(c *api.Connection) { c.SavePassword = true }, login(api.LoginPassword, func(l *api.Login) { l.NeedUser = true })))
		if s := r.screen(); s.Toast == nil || !strings.Contains(s.Toast.Text, "locked") {
			t.Error(dump(s.Toast))
		}
		r.dialog(DialogCredentials)
	})
}

// TestImport: from a file to a profile in the list.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good, bad, junk := write("My office!.ovpn", openProfile(t)), write("bad.ovpn", openProfile(t)+"dev tap\n"), write("x.ovpn", "\xff\xfe\x00")
	locked := write("locked.ovpn", lockedProfile(t))
	bubble(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		r := up(t, nil)
		r.m.ImportFile(good)
		d := r.dialog(DialogImport)
		if d.Import == nil || !d.Import.Usable || d.Fields[0].Value != "My office-" || len(d.Import.Rows) < 4 {
			t.Fatal(dump(d))
		}
		// Another name that is taken.
		r.s.fails("Import", api.NewProblem(api.CodeProfileExists, map[string]string{"profile": "work"}))
		r.m.Submit(d.ID, Values{FieldName: "work"})
		d = r.dialog(DialogImport)
		if d.Notice == nil || d.Fields[1].ID != FieldReplace || d.Fields[0].Value != "work" {
			t.Fatal(dump(d))
		}
		r.s.fails("Import", nil)
		r.s.set(func() { r.s.settings["work"] = api.Settings{SavePassword: true} })
		r.s.take()
		r.m.Submit(d.ID, Values{FieldName: "work", FieldReplace: "true"})
		r.asked("Import work true")
		if s := r.screen(); s.Dialog != nil || s.Selected() != "work" || r.vault.take() != "forget all work" || s.Page != PageProfiles {
			t.Error(dump(s))
		}
		// What cannot be used is shown, and cannot be added.
		r.m.ImportFile(bad)
		d = r.dialog(DialogImport)
		if d.Import.Usable || len(d.Fields) != 0 || len(d.Buttons) != 1 || !slices.ContainsFunc(d.Import.Findings, func(f Finding) bool { return f.Error && strings.Contains(f.Text, "line ") }) {
			t.Error(dump(d))
		}
		r.m.Submit(d.ID, Values{FieldName: "bad"})
		r.asked("")
		r.do(ActionCancel, "")
		for _, name := range []string{junk, filepath.Join(dir, "missing.ovpn"), dir, "http://127.0.0.1:1/x.ovpn"} {
			r.m.ImportFile(name)
			if d := r.dialog(DialogImport); d.Notice == nil || d.Import != nil {
				t.Errorf("%s: %s", name, dump(d))
			}
			r.do(ActionCancel, "")
			r.noDialog()
		}
		// A key with a passphrase.
		r.m.ImportFile(locked)
		d = r.dialog(DialogImport)
		if len(d.Fields) < 2 || d.Fields[1].ID != FieldPassphrase {
			t.Fatal(dump(d))
		}
		r.m.Submit(d.ID, Values{FieldName: "locked", FieldPassphrase: "wrong"})
		if d := r.dialog(DialogImport); d.Notice == nil || d.Notice.Text != i18n.ImportWrong.In(i18n.English) {
			t.Fatal(dump(d))
		}
		r.asked("")
		r.m.Submit(d.ID, Values{FieldName: "locked", FieldPassphrase: "open sesame"})
		r.asked("Import locked false")
		if text := r.s.imported(1).Text; strings.Contains(text, "ENCRYPTED") || !strings.Contains(text, "PRIVATE KEY") {
			t.Error("the key was not opened")
		}
		r.do(ActionAskAddress, "")
		d = r.dialog(DialogAddress)
		r.m.Submit(d.ID, Values{FieldAddress: push.Secret(good)})
		r.dialog(DialogImport)
		r.do(ActionCancel, "")
		r.m.SetPolicy(Policy{ForbidUserProfiles: true})
		r.m.ImportFile(good)
		r.m.ImportFile(locked)
		if d := r.dialog(DialogError); d.Notice == nil || d.Notice.Text != i18n.AddForbidden.In(i18n.English) {
			t.Error(dump(d))
		}
		r.do(ActionCancel, "")
		r.noDialog()
	})
	bubble(t, func(t *testing.T) { // several: one after the other, and none in place of what the person is at
		time.Sleep(time.Until(now))
		r := up(t, nil)
		shows := func(file string) Dialog {
			t.Helper()
			d := r.dialog(DialogImport)
			if d.Import == nil || d.Import.Rows[0].Value != filepath.Base(file) {
				t.Fatal(dump(d))
			}
			return d
		}
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginPassword)))
		for _, file := range []string{good, bad, locked, bad} {
			r.m.ImportFile(file)
		}
		r.dialog(DialogCredentials)
		r.status(conn(api.Connected))
		d := shows(good)
		r.m.ImportFile(good)
		r.s.take()
		r.m.Submit(d.ID, Values{FieldName: "a"})
		r.asked("Import a false")
		shows(bad)
		r.do(ActionCancel, "")
		d = shows(locked)
		for i := range maxWaiting + 1 {
			if r.screen().Toast != nil {
				t.Errorf("%d are too many", i)
			}
			r.m.ImportFile(write(fmt.Sprintf("%d.ovpn", i), openProfile(t)))
		}
		if s := r.screen(); s.Toast == nil || s.Toast.Text != i18n.ImportTooMany.In(i18n.English, "source", "50.ovpn") || s.Dialog.ID != d.ID {
			t.Error(dump(s))
		}
		for i := range maxWaiting {
			r.do(ActionCancel, "")
			shows(fmt.Sprintf("%d.ovpn", i))
		}
		r.do(ActionCancel, "")
		r.noDialog()
	})
	bubble(t, func(t *testing.T) { // reading takes long, and is not waited for
		r := up(t, func(c *Config, _ *service) {
			c.Read = func(ctx context.Context, _ string) (source.Source, error) {
				<-ctx.Done()
				return source.Source{}, ctx.Err()
			}
		})
		r.m.ImportFile("https://user:secret@vpn.example.com/a.ovpn?token=secret")
		d := r.dialog(DialogImport)
		if !d.Busy || strings.Contains(dump(d), "secret") || !strings.Contains(d.Text[0], "vpn.example.com/a.ovpn") {
			t.Error(dump(d))
		}
		r.do(ActionCancel, "")
		r.noDialog()
	})
}

func TestWebAddress(t *testing.T) {
	file, err := filepath.Abs("a.ovpn")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"": "", " ": "", "https://vpn.example.com/a": "https://vpn.example.com/a", "http://vpn.example.com/": "http://vpn.example.com/",
		" vpn.example.com/a?b=c ": "https://vpn.example.com/a?b=c", "vpn.example.com:8443/a": "https://vpn.example.com:8443/a", file: file,
	} {
		if got := webAddress(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSuggestName(t *testing.T) {
	for in, want := range map[string]string{"work": "work", "a/b": "a-b", "..x.": "x", "": "vpn", "!!!": "vpn", "社内 VPN": "社内 VPN", strings.Repeat("é", 60): strings.Repeat("é", 32), "\xff": "vpn"} {
		if got := suggestName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestServicePolicy: what the service says is managed locks what people see, at once, and is gone with it.
func TestServicePolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		setting := func(s Screen, id SettingID) Setting {
			return s.Settings[slices.IndexFunc(s.Settings, func(x Setting) bool { return x.ID == id })]
		}
		say := func(p *api.Policy) {
			t.Helper()
			r.s.statuses <- api.Status{Policy: p}
			r.wait(time.Second)
		}
		key := func(name, value string) api.PolicyKey {
			return api.PolicyKey{Name: name, Value: json.RawMessage(value)}
		}
		listed := len(r.screen().Profiles)
		r.s.set(func() { r.s.profiles = append(r.s.profiles, api.Profile{Name: "corp", Managed: true}) })
		say(&api.Policy{Keys: []api.PolicyKey{key("Language", `"ja"`), key("BlockWhenDisconnected", "true"), key("AutoConnect", `"work"`),
			key("AllowUserProfiles", "false"), key("AllowSavedPasswords", "false"), key("AllowedServers", `["a"]`)}})
		s := r.screen()
		if s.Language != i18n.Japanese || s.Add[0].Enabled {
			t.Error(dump(s))
		}
		for _, id := range []SettingID{SettingLanguage, SettingGuard, SettingAutoConnect, SettingSavePassword} {
			if x := setting(r.screen(), id); x.Locked == "" {
				t.Errorf("%s is not locked", id)
			}
		}
		if x := setting(r.screen(), SettingGuard); x.Value != "lockdown" {
			t.Errorf("guard: %s", x.Value)
		}
		if n := len(r.screen().Profiles); n != listed+1 {
			t.Errorf("the managed profile is not in the list: %d were, %d are", listed, n)
		}
		say(nil)
		if s := r.screen(); s.Language == i18n.Japanese || !s.Add[0].Enabled || setting(s, SettingGuard).Locked != "" {
			t.Error(dump(s))
		}
	})
}

func TestPolicyOf(t *testing.T) {
	on := &api.Policy{AlwaysOn: "corp", Keys: []api.PolicyKey{{Name: "AutoConnect", Value: json.RawMessage(`"corp"`)}, {Name: "Guard", Value: json.RawMessage(`"auto"`)}}}
	for _, c := range []struct {
		p    *api.Policy
		want Policy
	}{
		{nil, Policy{}},
		{&api.Policy{}, Policy{}},
		{on, Policy{AlwaysOn: true, AutoConnect: "corp", Guard: "auto"}},
		{&api.Policy{TrustedNetwork: "https://office.example.com"}, Policy{Trusted: true}},
		{&api.Policy{Broken: true}, Policy{ForbidUserProfiles: true}},
		{&api.Policy{Keys: []api.PolicyKey{{Name: "Guard", Value: json.RawMessage(`7`)}, {Name: "AllowUserProfiles", Value: json.RawMessage(`true`)}}}, Policy{}},
	} {
		if got := policyOf(c.p); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.p, got, c.want)
		}
	}
}
