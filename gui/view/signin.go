package view

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/saml/signin"
)

// question is what one connection asks, and what is being done about it.
type question struct {
	profile string
	login   api.Login
	keep    bool   // the profile and the person let a password be kept
	barred  string // who forbids that: Connection.SaveForbidden

	shown   bool         // its dialog is open
	looking bool         // the keychain is being asked
	busy    bool         // an answer is on its way
	problem *api.Problem // why it is asked again, or why an answer did not arrive
	saved   secrets.Login

	trouble i18n.Key // with the browser
	args    []string
	cancel  context.CancelFunc // of the wait for the browser; nil: none
	tries   int                // how often the browser was opened
}

func (q *question) id() string { return "question/" + q.profile + "/" + q.login.ID }

// follow does what a connection's change means for its sign-in. Old may be the zero value.
func (m *Model) follow(old, c api.Connection) {
	name := c.Profile
	switch {
	case c.Login != nil:
		m.ask(c)
		return
	case c.State == api.Connected && old.State != api.Connected:
		if keeper := m.keepers[name]; keeper != nil {
			delete(m.keepers, name)
			keep := c.SavePassword && !m.s.policy.ForbidSavedPasswords
			m.inOrder("keychain/"+name, func(ctx context.Context) { keeper.Accepted(ctx, keep) })
			if s := m.s.settings[name]; c.SaveForbidden == "server" && m.s.barred[name] == "" && s != nil && s.SavePassword {
				m.say(i18n.SavedNot) // they could not know when they wished it
			}
		}
		m.s.barred[name] = c.SaveForbidden
		if c.Banner != "" && m.s.started[name] && m.s.banners[name] != c.Banner && m.s.dialog == nil {
			m.open(&dialog{kind: DialogBanner, profile: name})
		}
		m.s.banners[name] = c.Banner
		delete(m.s.started, name)
		delete(m.s.answered, name)
	case c.State == api.Disconnected || c.State == api.Blocked:
		keeper := m.keepers[name]
		if keeper != nil && c.Problem != nil && c.Problem.Code == api.CodePasswordRefused {
			m.inOrder("keychain/"+name, keeper.Refused)
		}
		if m.askAgain(c) || c.Problem != nil && c.Problem.Code == codeOf(m.s.refused[name]) {
			break // it begins once more
		}
		delete(m.keepers, name)
		delete(m.s.refused, name)
		if old.State != "" && old.State != c.State { // a wish that was just made has no state yet
			if m.s.started[name] && c.Problem != nil {
				m.raise(name)
			}
			delete(m.s.started, name)
		}
	}
	m.dropQuestion(name)
}

// askAgain begins a sign-in once more that the server refused, so that the person can correct what was typed:
// most profiles end the connection then. It sends nothing by itself, since a saved password that was refused
// is not given again, and without an answer of the person's, or in the profile's own name, it does nothing.
func (m *Model) askAgain(c api.Connection) bool {
	name := c.Profile
	if c.State != api.Disconnected || c.Problem == nil || !m.s.answered[name] || m.s.busy[name] != "" ||
		c.Problem.Code != api.CodePasswordRefused && c.Problem.Code != api.CodeCodeRefused {
		return false
	}
	delete(m.s.answered, name)
	m.s.refused[name], m.s.started[name], m.s.acted[name] = c.Problem, true, m.cfg.Now()
	m.dropQuestion(name)
	m.request(name, ActionConnect, func(ctx context.Context) error {
		return m.cfg.Backend.Connect(ctx, api.ConnectRequest{Profile: name})
	}, func() { m.showQuestion(name) })
	return true
}

func codeOf(p *api.Problem) string {
	if p == nil {
		return ""
	}
	return p.Code
}

// ask takes what a connection asks.
func (m *Model) ask(c api.Connection) {
	name := c.Profile
	if q := m.s.questions[name]; q != nil && q.login.ID == c.Login.ID {
		q.login = *c.Login
		return
	}
	shown := m.s.started[name]
	if q := m.s.questions[name]; q != nil {
		shown = shown || q.shown // the next question of a sign-in that the person is at
	}
	m.dropQuestion(name)
	q := &question{profile: name, login: *c.Login, keep: c.SavePassword && !m.s.policy.ForbidSavedPasswords, barred: cmp.Or(c.SaveForbidden, m.s.barred[name]), shown: shown, problem: c.Problem}
	m.s.questions[name] = q
	if q.problem == nil {
		q.problem = m.s.refused[name]
	}
	delete(m.s.refused, name)
	if q.login.Kind == api.LoginPassword {
		if c.Problem != nil && c.Problem.Code == api.CodePasswordRefused && m.keepers[name] != nil {
			m.inOrder("keychain/"+name, m.keepers[name].Refused)
		}
		if q.keep {
			m.lookUp(q)
		}
	}
	if q.shown {
		m.begin(q)
	}
}

// keeper is the keychain's part in a profile's sign-in.
func (m *Model) keeper(name string) *secrets.Attempt {
	k := m.keepers[name]
	if k == nil {
		k = &secrets.Attempt{Vault: m.cfg.Vault, Profile: name, Tell: func(n secrets.Note) { m.post(func() { m.onNote(n) }) }}
		m.keepers[name] = k
	}
	return k
}

func (m *Model) onNote(n secrets.Note) {
	switch n.Kind {
	case secrets.NoteKept:
		m.say(i18n.SavedKept)
	case secrets.NoteForbidden:
		m.say(i18n.SavedForbidden)
	case secrets.NoteRefused:
		m.say(i18n.SavedRefused, "user", clean(n.User, maxTitle))
	case secrets.NoteFailed:
		m.say(i18n.KeychainTrouble, "detail", clean(n.Err.Error(), maxPhrase))
	}
}

// lookUp asks the keychain for the answer. A password alone is sent at once; with a code to be typed it waits in
// the dialog.
func (m *Model) lookUp(q *question) {
	keeper := m.keeper(q.profile)
	q.looking = true
	m.inOrder("keychain/"+q.profile, func(ctx context.Context) {
		user, password, ok := keeper.Find(ctx, q.login.User)
		m.post(func() {
			q.looking = false
			if m.s.questions[q.profile] != q {
				return
			}
			if ok {
				q.saved = secrets.Login{User: user, Password: password}
				if q.login.Challenge == "" {
					m.answer(q, api.Answer{Username: user, Password: password})
				}
			}
			if p, there := m.s.profile(q.profile); there { // the person is needed after all
				c := m.s.connection(p)
				m.notice(c, c, false)
			}
			m.touch()
		})
	})
}

// showQuestion brings up what a profile's connection asks.
func (m *Model) showQuestion(name string) {
	if q := m.s.questions[name]; q != nil && !q.shown {
		q.shown = true
		m.begin(q)
	}
}

// begin starts what a question needs beside its dialog.
func (m *Model) begin(q *question) {
	if q.login.Kind == api.LoginBrowser && q.cancel == nil {
		m.browse(q)
	}
}

// browse takes the person to the browser and waits for what it brings. A wait that is under way ends first,
// so that the port is free again.
func (m *Model) browse(q *question) {
	if q.cancel != nil {
		q.cancel()
	}
	deadline := m.cfg.Now().Add(24 * time.Hour)
	if !q.login.Deadline.IsZero() {
		deadline = q.login.Deadline.Add(time.Minute) // the service ends it first
	}
	ctx, cancel := context.WithDeadline(m.ctx, deadline)
	q.cancel, q.trouble = cancel, i18n.Key{}
	q.tries++
	try := q.tries
	current := func() bool { return m.s.questions[q.profile] == q && q.tries == try }
	m.inOrder("browser/"+q.profile, func(context.Context) {
		defer cancel()
		response, err := m.cfg.Browse(ctx, signin.Config{URL: q.login.URL, Port: q.login.Callback, Notify: func(string) {},
			Open: func(address string) error {
				err := m.cfg.Open(address)
				if err != nil {
					m.post(func() {
						if current() {
							q.trouble, q.args = i18n.BrowserFailed, nil
							m.raise(q.profile)
							m.touch()
						}
					})
				}
				return err
			}})
		ended := ctx.Err() != nil
		m.post(func() {
			if !current() || ended && err != nil {
				return
			}
			m.touch()
			var busy *signin.BusyError
			switch {
			case errors.As(err, &busy):
				q.trouble, q.args = i18n.BrowserBusy, []string{"port", strconv.Itoa(busy.Port)}
				m.raise(q.profile)
			case err != nil:
				q.trouble, q.args = i18n.BrowserBroken, []string{"detail", clean(err.Error(), maxPhrase)}
				m.raise(q.profile)
			case q.login.Callback != 0:
				m.answer(q, api.Answer{Response: response})
			}
		})
	})
}

// answer sends an answer, after a setting that was changed with it: whether a password may be kept has to be known
// when the server takes it.
func (m *Model) answer(q *question, a api.Answer) {
	a.Profile, a.ID = q.profile, q.login.ID
	q.busy, q.problem = true, nil
	m.s.answered[q.profile] = !a.Cancel && (q.shown || m.s.started[q.profile])
	m.inOrder("service/"+q.profile, func(ctx context.Context) {
		err := m.cfg.Backend.Answer(ctx, a)
		m.post(func() {
			if err != nil && !api.IsCode(err, api.CodeQuestionGone) { // then the status tells what is asked now
				q.busy, q.problem = false, api.AsProblem(err)
			}
			m.touch()
		})
	})
}

// submitQuestion answers a question with what was typed.
func (m *Model) submitQuestion(q *question, v Values) {
	if q.busy {
		return
	}
	switch q.login.Kind {
	case api.LoginOTP:
		m.answer(q, api.Answer{Response: v[FieldCode]})
	case api.LoginAgain:
		m.s.started[q.profile] = true
		m.answer(q, api.Answer{})
	case api.LoginPassword:
		user := q.login.User
		if q.login.NeedUser {
			user = v[FieldUser].Reveal()
		}
		password := v[FieldPassword]
		if password == "" && (user == q.saved.User || !q.login.NeedUser) {
			user, password = cmp.Or(user, q.saved.User), q.saved.Password
		}
		if user == "" && q.login.NeedUser || password == "" {
			return // the dialog stays
		}
		keep := v[FieldSave] == "true"
		m.keepOrNot(q, keep)
		if !keep || q.saved.Password != password || q.saved.User != user { // what is not to be kept counts as typed: nothing of it is the keychain's
			keeper := m.keeper(q.profile)
			m.inOrder("keychain/"+q.profile, func(context.Context) { keeper.Typed(user, password) })
		}
		m.answer(q, api.Answer{Username: user, Password: password, Response: v[FieldCode]})
	}
}

// keepOrNot takes the person's wish to keep the password.
func (m *Model) keepOrNot(q *question, keep bool) {
	s := m.s.settings[q.profile]
	was := q.keep || s != nil && s.SavePassword
	if keep != was && !m.s.policy.ForbidSavedPasswords && q.barred == "" {
		m.setProfile(q.profile, SettingSavePassword, strconv.FormatBool(keep))
	}
}

// cancelQuestion takes that the person will not sign in.
func (m *Model) cancelQuestion(q *question) {
	q.shown = false
	if q.cancel != nil {
		q.cancel()
		q.cancel = nil
		q.tries++ // what it still brings is not wanted
	}
	p, _ := m.s.profile(q.profile)
	switch c := m.s.connection(p); {
	case c.State == api.Connected: // it goes on as long as the server lets it
	case q.login.Kind == api.LoginWait:
		m.disconnect(q.profile)
	default:
		m.s.acted[q.profile] = m.cfg.Now()
		delete(m.s.started, q.profile)
		m.answer(q, api.Answer{Cancel: true})
	}
}

// dropQuestion forgets a question that is not asked any more.
func (m *Model) dropQuestion(name string) {
	if q := m.s.questions[name]; q != nil {
		if q.cancel != nil {
			q.cancel()
		}
		delete(m.s.questions, name)
	}
}

// dropQuestions forgets the questions of connections that are not there.
func (m *Model) dropQuestions(there map[string]api.Connection) {
	for name := range m.s.questions {
		if c, ok := there[name]; !ok || c.Login == nil {
			m.dropQuestion(name)
		}
	}
}

// site is the part of an address that says whose it is.
func site(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return clean(address, 100)
	}
	return clean(u.Hostname(), 100)
}

// Submit takes what was typed into the dialog with an ID; one that is not in front any more takes nothing.
func (m *Model) Submit(id string, v Values) {
	kept := make(Values, len(v))
	for field, text := range v {
		kept[field] = push.Secret(text.Reveal())
	}
	m.post(func() { m.submit(id, kept); m.touch() })
}
