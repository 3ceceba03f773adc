package view

import (
	"errors"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/saml/signin"
)

var refusedPassword = api.NewProblem(api.CodePasswordRefused, map[string]string{"what": "user name and password"})

// TestPassword: what is typed goes to the service; what is missing keeps the dialog.
func TestPassword(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginPassword, func(l *api.Login) { l.NeedUser, l.Challenge = true, "Code" })))
		r.asked("Connect work")
		d := r.dialog(DialogCredentials)
		if len(d.Fields) != 4 || d.Fields[3].Value != "" {
			t.Fatal(dump(d))
		}
		r.m.Submit(d.ID, Values{FieldUser: "ann"})
		r.m.Submit("question/work/old", Values{FieldUser: "ann", FieldPassword: "p"})
		r.asked("")
		r.m.Submit(d.ID, Values{FieldUser: "ann", FieldPassword: "p", FieldCode: "123"})
		r.m.Submit(d.ID, Values{FieldUser: "ann", FieldPassword: "p", FieldCode: "123"}) // a second click
		r.asked("Answer work q1 ann p 123 false")
		if d := r.dialog(DialogCredentials); !d.Busy {
			t.Error("not busy")
		}
		r.status(conn(api.Connecting))
		r.noDialog()
		// Refused: asked again, with the reason.
		r.status(conn(api.NeedsLogin, func(c *api.Connection) { c.Problem = refusedPassword }, login(api.LoginPassword, func(l *api.Login) { l.ID, l.User = "q2", "ann" })))
		d = r.dialog(DialogCredentials)
		if d.Notice == nil || d.Fields[0].Value != "ann" || d.Fields[0].Enabled {
			t.Error(dump(d))
		}
		r.m.Submit(d.ID, Values{FieldPassword: "p2"})
		r.asked("Answer work q2 ann p2  false")
		if r.vault.take() != "" {
			t.Error("the keychain was used")
		}
	})
}

// TestRefused: what the person typed was refused and the connection ended: they are asked once more, once. What
// nobody typed here is not tried again.
func TestRefused(t *testing.T) {
	over := func(p *api.Problem) api.Connection {
		return conn(api.Disconnected, func(c *api.Connection) { c.Problem = p })
	}
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginPassword)))
		r.m.Submit(r.dialog(DialogCredentials).ID, Values{FieldPassword: "p"})
		r.asked("Connect work; Answer work q1  p  false")
		r.status(over(refusedPassword))
		r.asked("Connect work")
		r.status(over(refusedPassword))
		r.asked("")
		r.status(conn(api.NeedsLogin, login(api.LoginPassword, func(l *api.Login) { l.ID = "q2" })))
		d := r.dialog(DialogCredentials)
		if d.Notice == nil || d.Notice.Code != api.CodePasswordRefused {
			t.Error(dump(d))
		}
		r.do(ActionCancel, "")
		r.asked("Answer work q2    true")
		r.status(over(api.NewProblem(api.CodeSignInCancelled, nil)))
		r.status(over(refusedPassword))
		r.asked("")
		r.told()
	})
	bubble(t, func(t *testing.T) { // the password is in the profile
		r := up(t, nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.Connecting))
		r.status(over(refusedPassword))
		r.asked("Connect work")
		if n := r.screen().Detail.Notice; n == nil || n.Code != api.CodePasswordRefused {
			t.Error(dump(r.screen()))
		}
	})
	bubble(t, func(t *testing.T) { // answered in a terminal
		r := up(t, nil)
		r.status(conn(api.NeedsLogin, login(api.LoginPassword)))
		r.status(over(refusedPassword))
		r.asked("")
	})
}

// TestSavedPassword: the keychain gives, keeps and forgets.
func TestSavedPassword(t *testing.T) {
	keep := func(c *api.Connection) { c.SavePassword = true }
	ask := login(api.LoginPassword, func(l *api.Login) { l.NeedUser = true })
	bubble(t, func(t *testing.T) { // typed, accepted, kept; then used without a dialog
		r := up(t, func(_ *Config, s *service) { s.settings["work"] = api.Settings{SavePassword: true} })
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, keep, ask))
		d := r.dialog(DialogCredentials)
		if d.Fields[2].Value != "true" {
			t.Error(dump(d))
		}
		r.m.Submit(d.ID, Values{FieldUser: "ann", FieldPassword: "p", FieldSave: "true"})
		r.status(conn(api.Connecting, keep))
		if got := r.vault.take(); got != "get work" {
			t.Errorf("before it was accepted: %s", got)
		}
		r.status(conn(api.Connected, keep))
		if got := r.vault.take(); got != "set work ann" {
			t.Errorf("keychain: %s", got)
		}
		if s := r.screen(); s.Toast == nil || s.Toast.Text != i18n.SavedKept.In(i18n.English) {
			t.Error(dump(s.Toast))
		}
		r.status()
		r.s.take()
		// Also when the sign-in was not begun here; nobody is needed.
		r.wait(10 * time.Minute)
		r.told()
		r.status(conn(api.NeedsLogin, keep, ask))
		r.told()
		r.noDialog()
		r.asked("Answer work q1 ann p  false")
		// It is refused: forgotten, and asked for.
		r.do(ActionSignIn, "work")
		r.status(conn(api.NeedsLogin, keep, func(c *api.Connection) { c.Problem = refusedPassword }, login(api.LoginPassword, func(l *api.Login) { l.ID, l.NeedUser = "q2", true })))
		r.dialog(DialogCredentials)
		r.asked("")
		if got := r.vault.take(); got != "get work; forget work ann" {
			t.Errorf("keychain: %s", got)
		}
	})
	bubble(t, func(t *testing.T) { // with a code, which is never kept
		r := up(t, nil)
		r.vault.keeps("work", secrets.Login{User: "ann", Password: "p"})
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, keep, login(api.LoginPassword, func(l *api.Login) { l.NeedUser, l.Challenge = true, "Code" })))
		r.asked("Connect work")
		d := r.dialog(DialogCredentials)
		if d.Fields[0].Value != "ann" || d.Fields[1].Value != "" || !d.Fields[1].Optional || d.Fields[1].Help == "" {
			t.Error(dump(d))
		}
		r.m.Submit(d.ID, Values{FieldUser: "bob", FieldCode: "9", FieldSave: "true"}) // whose password is not known
		r.asked("")
		r.m.Submit(d.ID, Values{FieldUser: "ann", FieldCode: "9", FieldSave: "true"})
		r.asked("Answer work q1 ann p 9 false")
		r.status(conn(api.Connected, keep))
		if got := r.vault.take(); got != "get work" {
			t.Errorf("keychain: %s", got)
		}
	})
	bubble(t, func(t *testing.T) { // the server forbids it
		r := up(t, nil)
		r.vault.keeps("work", secrets.Login{User: "ann", Password: "p"})
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, keep, ask))
		r.status(conn(api.Connected))
		if got := r.vault.take(); got != "get work; forget all work" {
			t.Errorf("keychain: %s", got)
		}
	})
	bubble(t, func(t *testing.T) { // refused, and the connection ends
		r := up(t, nil)
		r.vault.keeps("work", secrets.Login{User: "ann", Password: "p"})
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, keep, ask))
		r.asked("Connect work; Answer work q1 ann p  false")
		over := conn(api.Disconnected, func(c *api.Connection) { c.Problem = refusedPassword })
		r.status(over)
		r.status(over)
		if got := r.vault.take(); got != "get work; forget work ann" {
			t.Errorf("keychain: %s", got)
		}
		// It begins once more, and the person is asked; the keychain is not.
		r.vault.keeps("work", secrets.Login{User: "ann", Password: "p"})
		r.status(conn(api.NeedsLogin, keep, login(api.LoginPassword, func(l *api.Login) { l.ID, l.NeedUser = "q2", true })))
		r.asked("Connect work")
		if d := r.dialog(DialogCredentials); d.Notice == nil || d.Notice.Code != api.CodePasswordRefused {
			t.Error(dump(d))
		}
		if got := r.vault.take(); got != "" {
			t.Errorf("keychain: %s", got)
		}
	})
	bubble(t, func(t *testing.T) { // the wish to keep is a setting of the profile
		r := up(t, nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, ask))
		d := r.dialog(DialogCredentials)
		r.m.Submit(d.ID, Values{FieldUser: "ann", FieldPassword: "p", FieldSave: "true"})
		r.asked("Connect work; Set work save_password=true; Answer work q1 ann p  false")
		r.status(conn(api.Connected, keep)) // the service knows it before it has the password
		if got := r.vault.take(); got != "set work ann" {
			t.Errorf("keychain: %s", got)
		}
	})
	bubble(t, func(t *testing.T) { // the wish cannot be kept; the sign-in goes on
		r := up(t, nil)
		r.s.fails("Set", api.NewProblem(api.CodeProfileStoreError, map[string]string{"profile": "work", "detail": "the disk is full"}))
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, ask))
		r.m.Submit(r.dialog(DialogCredentials).ID, Values{FieldUser: "ann", FieldPassword: "p", FieldSave: "true"})
		r.asked("Connect work; Set work save_password=true; Answer work q1 ann p  false")
		r.dialog(DialogError)
		r.status(conn(api.Connected))
		if got := r.vault.take(); got != "" {
			t.Errorf("keychain: %s", got)
		}
	})
	bubble(t, func(t *testing.T) { // the saved one is used once more, and then not kept any longer
		r := up(t, func(_ *Config, s *service) { s.settings["work"] = api.Settings{SavePassword: true} })
		r.vault.keeps("work", secrets.Login{User: "ann", Password: "p"})
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, keep, login(api.LoginPassword, func(l *api.Login) { l.NeedUser, l.Challenge = true, "Code" })))
		r.m.Submit(r.dialog(DialogCredentials).ID, Values{FieldUser: "ann", FieldCode: "9"})
		r.asked("Connect work; Set work save_password=false; Answer work q1 ann p 9 false")
		r.status(conn(api.Connected))
		if got := r.vault.take(); got != "get work; forget all work" {
			t.Errorf("keychain: %s", got)
		}
		if s := r.screen(); s.Toast != nil {
			t.Error(dump(s.Toast))
		}
	})
	for _, by := range []string{"profile", "server"} { // which is said before, where it is known
		bubble(t, func(t *testing.T) {
			bar := func(c *api.Connection) { c.SaveForbidden = by }
			asks := ask
			help := i18n.SavePasswordProfile
			r := up(t, nil)
			if by == "server" {
				help = i18n.SavePasswordServer
				r.do(ActionConnect, "work")
				r.status(conn(api.NeedsLogin, ask))
				r.m.Submit(r.dialog(DialogCredentials).ID, Values{FieldUser: "ann", FieldPassword: "p", FieldSave: "true"})
				r.asked("Connect work; Set work save_password=true; Answer work q1 ann p  false")
				r.status(conn(api.Connected, bar))
				if s := r.screen(); s.Toast == nil || s.Toast.Text != i18n.SavedNot.In(i18n.English) {
					t.Error(dump(s.Toast))
				}
				r.status()
				r.wait(time.Minute)
			} else {
				asks = func(c *api.Connection) { ask(c); bar(c) }
			}
			r.do(ActionConnect, "work")
			r.status(conn(api.NeedsLogin, asks))
			d := r.dialog(DialogCredentials)
			if f := d.Fields[2]; f.Enabled || f.Value != "" || f.Help != help.In(i18n.English) {
				t.Error(dump(d))
			}
			r.m.Submit(d.ID, Values{FieldUser: "ann", FieldPassword: "p"})
			r.asked("Connect work; Answer work q1 ann p  false")
			r.status(conn(api.Connected, bar))
			if s := r.screen(); s.Toast != nil || r.vault.take() != "" {
				t.Error(dump(s.Toast))
			}
			if by == "server" { // it allows it again
				r.status()
				r.do(ActionConnect, "work")
				r.status(conn(api.Connected))
				r.status()
				r.do(ActionConnect, "work")
				r.status(conn(api.NeedsLogin, ask))
				if f := r.dialog(DialogCredentials).Fields[2]; !f.Enabled || f.Value != "true" {
					t.Error(dump(f))
				}
			}
		})
	}
	bubble(t, func(t *testing.T) { // the organization forbids it
		r := up(t, func(c *Config, _ *service) { c.Policy.ForbidSavedPasswords = true })
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, keep, ask))
		d := r.dialog(DialogCredentials)
		r.m.Submit(d.ID, Values{FieldUser: "ann", FieldPassword: "p", FieldSave: "true"})
		r.asked("Connect work; Answer work q1 ann p  false")
		r.status(conn(api.Connected, keep))
		if got := r.vault.take(); got != "" {
			t.Errorf("keychain: %s", got)
		}
	})
}

// TestAnother: where a managed profile asks another person, there is nothing to sign in to, but it can be connected: the service knows whether that
// one has left.
func TestAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, func(_ *Config, s *service) { s.profiles = []api.Profile{{Name: "corp", Managed: true}} })
		r.status(api.Connection{Profile: "corp", Managed: true, Hidden: true, State: api.NeedsLogin})
		b := r.screen().Detail.Buttons
		if b[0].Action.Kind != ActionConnect || !b[0].Enabled || b[1].Action.Kind != ActionDisconnect || !b[1].Enabled {
			t.Error(dump(b))
		}
	})
}

// TestElsewhere: a sign-in that was begun elsewhere is not taken over, but can be.
func TestElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.status(conn(api.NeedsLogin, login(api.LoginBrowser, func(l *api.Login) { l.URL, l.Callback = "https://idp.example.com/", 35001 })))
		r.noDialog()
		if opened, _ := r.browser.state(); opened != 0 {
			t.Error("a browser opened")
		}
		if b := r.screen().Detail.Buttons[0]; b.Action.Kind != ActionSignIn || !b.Enabled {
			t.Error(dump(b))
		}
		r.do(ActionSignIn, "work")
		r.dialog(DialogBrowser)
		if opened, _ := r.browser.state(); opened != 1 {
			t.Error("no browser")
		}
		r.status(conn(api.Connecting))
		r.noDialog()
		if _, waiting := r.browser.state(); waiting != 0 {
			t.Error("still waiting for the browser")
		}
	})
}

// TestBrowser: waiting, open again, cancel, and what the browser brings.
func TestBrowser(t *testing.T) {
	ask := login(api.LoginBrowser, func(l *api.Login) { l.URL, l.Callback = "https://idp.example.com/sso?x=1", 35001 })
	begin := func(t *testing.T) *rig {
		r := up(t, nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, ask))
		r.asked("Connect work")
		return r
	}
	bubble(t, func(t *testing.T) {
		r := begin(t)
		if d := r.dialog(DialogBrowser); d.Address != "https://idp.example.com/sso?x=1" {
			t.Error(dump(d))
		}
		r.do(ActionOpenAgain, "work")
		r.do(ActionOpenAgain, "nobody")
		if opened, waiting := r.browser.state(); opened != 2 || waiting != 1 {
			t.Errorf("opened %d times, %d wait", opened, waiting)
		}
		r.browser.answer <- "assertion"
		r.asked("Answer work q1   assertion false")
		r.status(conn(api.Connected))
		r.noDialog()
	})
	bubble(t, func(t *testing.T) {
		r := begin(t)
		r.do(ActionCancel, "")
		r.noDialog()
		r.asked("Answer work q1    true")
		if _, waiting := r.browser.state(); waiting != 0 {
			t.Error("still waiting")
		}
	})
	bubble(t, func(t *testing.T) { // the browser does not start
		r := up(t, nil)
		r.browser.set(errors.New("no browser"), nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, ask))
		if d := r.dialog(DialogBrowser); d.Notice == nil || d.Notice.Text != i18n.BrowserFailed.In(i18n.English) {
			t.Error(dump(d))
		}
		r.browser.answer <- "by hand"
		r.asked("Connect work; Answer work q1   by hand false")
	})
	bubble(t, func(t *testing.T) { // the port is another program's
		r := up(t, nil)
		r.browser.set(nil, &signin.BusyError{Port: 35001})
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, ask))
		if d := r.dialog(DialogBrowser); d.Notice == nil || d.Notice.Text != i18n.BrowserBusy.In(i18n.English, "port", "35001") {
			t.Error(dump(d))
		}
		r.browser.set(nil, errors.New("something else"))
		r.do(ActionOpenAgain, "work")
		if d := r.dialog(DialogBrowser); d.Notice == nil || d.Notice.Text != i18n.BrowserBroken.In(i18n.English, "detail", "something else") {
			t.Error(dump(d))
		}
		r.browser.set(nil, nil)
		r.do(ActionOpenAgain, "work")
		if d := r.dialog(DialogBrowser); d.Notice != nil {
			t.Error(dump(d))
		}
	})
	bubble(t, func(t *testing.T) { // the server learns by itself
		r := up(t, nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginBrowser, func(l *api.Login) { l.URL, l.Deadline = "https://idp.example.com/", time.Now().Add(time.Minute) })))
		r.dialog(DialogBrowser)
		r.wait(3 * time.Minute)
		r.asked("Connect work")
		if _, waiting := r.browser.state(); waiting != 0 {
			t.Error("waiting beyond the deadline")
		}
	})
	bubble(t, func(t *testing.T) { // the next question of the same sign-in comes up by itself
		r := begin(t)
		r.status(conn(api.NeedsLogin, login(api.LoginOTP, func(l *api.Login) { l.ID = "q2" })))
		r.dialog(DialogCode)
		if _, waiting := r.browser.state(); waiting != 0 {
			t.Error("still waiting for the browser")
		}
	})
}

// TestOtherQuestions: codes, waits, and whether anybody is there.
func TestOtherQuestions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := up(t, nil)
		r.do(ActionConnect, "work")
		r.status(conn(api.NeedsLogin, login(api.LoginOTP)))
		d := r.dialog(DialogCode)
		r.m.Submit(d.ID, Values{}) // empty is an answer
		r.asked("Connect work; Answer work q1    false")
		// Somebody else was faster.
		r.status(conn(api.NeedsLogin, login(api.LoginOTP, func(l *api.Login) { l.ID = "q2" })))
		r.s.fails("Answer", api.NewProblem(api.CodeQuestionGone, nil))
		r.m.Submit(r.dialog(DialogCode).ID, Values{FieldCode: "1"})
		r.asked("Answer work q2   1 false")
		if d := r.dialog(DialogCode); d.Notice != nil {
			t.Error(dump(d))
		}
		r.s.fails("Answer", nil)
		r.status(conn(api.NeedsLogin, login(api.LoginAgain, func(l *api.Login) { l.ID = "q3" })))
		r.m.Submit(r.dialog(DialogAgain).ID, nil)
		r.asked("Answer work q3    false")
		r.status(conn(api.NeedsLogin, login(api.LoginWait, func(l *api.Login) { l.ID = "q4" })))
		d = r.dialog(DialogWait)
		r.m.Submit(d.ID, nil)
		r.asked("")
		r.do(ActionCancel, "")
		r.asked("Disconnect work")
	})
	bubble(t, func(t *testing.T) { // asked while the tunnel is up: Cancel does not end it
		r := up(t, nil)
		r.status(conn(api.Connected))
		r.status(conn(api.Connected, login(api.LoginOTP)))
		r.noDialog()
		r.do(ActionSignIn, "work")
		r.dialog(DialogCode)
		r.do(ActionCancel, "")
		r.noDialog()
		r.asked("")
		r.do(ActionSignIn, "work")
		r.dialog(DialogCode)
	})
}
