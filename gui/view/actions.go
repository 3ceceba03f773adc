package view

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/platform/secrets"
)

// quitTime bounds what is still done when the app ends.
const quitTime = 2 * time.Second

// toastTime is how long one line stays that cannot be undone.
const toastTime = 6 * time.Second

// Do does what a button or a menu item says.
func (m *Model) Do(a Action) {
	m.post(func() {
		switch a.Kind {
		case ActionConnect:
			m.connect(a.Profile)
		case ActionDisconnect:
			m.disconnect(a.Profile)
		case ActionSignIn:
			m.selectProfile(a.Profile)
			m.showQuestion(a.Profile)
		case ActionOpenAgain:
			if q := m.s.questions[a.Profile]; q != nil {
				m.browse(q)
			}
		case ActionAskRename:
			m.open(&dialog{kind: DialogRename, profile: a.Profile})
		case ActionAskRemove:
			m.open(&dialog{kind: DialogRemove, profile: a.Profile})
		case ActionRemove:
			m.hide(a.Profile)
		case ActionUndo:
			m.undo(a.Profile)
		case ActionBanner:
			m.open(&dialog{kind: DialogBanner, profile: a.Profile})
		case ActionGuard:
			m.open(&dialog{kind: DialogGuard, profile: a.Profile})
		case ActionCertificate:
			m.open(&dialog{kind: DialogCertificate, profile: a.Profile})
		case ActionAskAddress:
			m.open(&dialog{kind: DialogAddress})
		case ActionDemo:
			m.tryDemo()
		case ActionDemoPage:
			m.openDemoPage()
		case ActionCancel:
			m.cancelFront()
		case ActionKeepRunning:
			m.close()
			m.keepRunning()
		case ActionCloseQuits:
			m.close()
			m.change(func(p *preferences) { p.OnClose = CloseQuits })
		}
		m.touch()
	})
}

// keepRunning is what closing the window does from now on. The first time the person is told how to get it back.
func (m *Model) keepRunning() {
	told := m.s.prefs.BackgroundTold
	if told && m.s.prefs.OnClose == CloseHides {
		return
	}
	m.change(func(p *preferences) { p.OnClose, p.BackgroundTold = CloseHides, true })
	if !told {
		m.tell(NotifyBackground, "", i18n.NoteBackground, i18n.NoteBackgroundText.In(m.s.language()))
	}
}

// AskBackground asks what closing the window is to do where there is no tray. The window is to stay open until the
// answer, which is remembered.
func (m *Model) AskBackground() {
	m.post(func() {
		m.open(&dialog{kind: DialogBackground})
		m.touch()
	})
}

// Select shows a profile.
func (m *Model) Select(profile string) { m.post(func() { m.selectProfile(profile); m.touch() }) }

// FilterNetworks shows only the networks that contain text.
func (m *Model) FilterNetworks(text string) {
	m.post(func() { m.s.filter = clean(text, maxDetail); m.touch() })
}

// Show brings a page to the front.
func (m *Model) Show(p Page) {
	m.post(func() { m.leave(p); m.touch() })
}

func (m *Model) selectProfile(name string) {
	if _, ok := m.s.profile(name); ok && m.s.selected != name {
		m.s.selected, m.s.filter = name, ""
	}
	if m.s.page != PageSettings { // which shows the selected profile's
		m.leave(PageProfiles)
	}
	m.loadSettings()
}

// leave goes to another page.
func (m *Model) leave(to Page) {
	if m.s.page == to {
		return
	}
	if m.s.page == PageLog {
		m.stopLog()
	}
	if m.s.page = to; to == PageLog {
		m.openLog()
	}
}

// request asks the service to connect or disconnect a profile, after what was asked before: nobody has to wait
// until a wish has arrived to take it back. The same is not asked twice at once. What went wrong is shown with
// the profile.
func (m *Model) request(profile string, kind ActionKind, work func(ctx context.Context) error, done func()) {
	if m.s.busy[profile] == kind {
		return
	}
	m.s.busy[profile] = kind
	delete(m.s.problems, profile)
	m.inOrder("request/"+profile, func(ctx context.Context) {
		err := work(ctx)
		m.post(func() {
			newest := m.s.busy[profile] == kind
			if newest {
				delete(m.s.busy, profile)
			}
			switch {
			case err == nil, api.IsCode(err, api.CodeAlreadyConnected), api.IsCode(err, api.CodeNotConnected): // as wanted
				done()
			case newest && ctx.Err() == nil:
				if m.demoFailed(err) {
					break
				}
				m.s.problems[profile] = api.AsProblem(err)
				m.raise(profile)
			}
			m.touch()
		})
	})
}

func (m *Model) connect(name string) {
	if _, ok := m.s.profile(name); !ok || m.s.busy[name] == ActionConnect {
		return
	}
	m.selectProfile(name)
	m.s.acted[name], m.s.started[name] = m.cfg.Now(), true
	delete(m.s.banners, name)
	delete(m.s.answered, name)
	delete(m.s.refused, name)
	bundled := name == m.s.bundled
	m.request(name, ActionConnect, func(ctx context.Context) error {
		if bundled {
			if err := m.startDemo(ctx, name); err != nil {
				return err
			}
		}
		return m.cfg.Backend.Connect(ctx, api.ConnectRequest{Profile: name})
	}, func() { m.showQuestion(name) })
}

func (m *Model) disconnect(name string) {
	m.s.acted[name] = m.cfg.Now()
	delete(m.s.started, name)
	delete(m.s.answered, name)
	delete(m.s.cut, name)
	m.request(name, ActionDisconnect, func(ctx context.Context) error { return m.cfg.Backend.Disconnect(ctx, name) }, func() {})
}

// hide takes a profile off the list. It is removed when it cannot be undone any more, so that nothing is lost
// when the app is killed meanwhile: the profile is then back.
func (m *Model) hide(name string) {
	m.close()
	p, ok := m.s.profile(name)
	if !ok || p.Managed {
		return
	}
	if m.s.inUse(m.s.connection(p)) { // since the question was asked
		m.fail(api.NewProblem(api.CodeProfileInUse, map[string]string{"profile": name}))
		return
	}
	ends := m.cfg.Now().Add(undoTime)
	m.s.removals[name] = ends
	m.s.toast = &toast{key: i18n.Removed, args: []string{"profile", clean(name, maxTitle)}, undo: name, ends: ends}
	m.s.choose()
	m.loadSettings()
}

func (m *Model) undo(name string) {
	if _, hidden := m.s.removals[name]; !hidden {
		return
	}
	delete(m.s.removals, name)
	m.s.toast = nil
	m.selectProfile(name)
}

// remove removes a hidden profile for good.
func (m *Model) remove(name string) {
	delete(m.s.removals, name)
	if t := m.s.toast; t != nil && t.undo == name {
		m.s.toast = nil
	}
	// It stays hidden until the service has answered.
	m.s.profiles = without(m.s.profiles, name)
	m.s.choose()
	m.touch()
	m.task(func(ctx context.Context) error { return m.removeWithPasswords(ctx, name) }, func(err error) {
		if err != nil {
			m.fail(err)
		}
		m.refresh()
	})
}

// removeWithPasswords removes a profile and what the keychain has for it.
func (m *Model) removeWithPasswords(ctx context.Context, name string) error {
	return m.leaveName(ctx, name, func() error { return m.cfg.Backend.Remove(ctx, name) })
}

// leaveName does what ends a profile's name, and then forgets what the keychain has under it. The settings say
// whether there is anything, and are gone afterwards.
func (m *Model) leaveName(ctx context.Context, name string, do func() error) error {
	s, err := m.cfg.Backend.Settings(ctx, name)
	if err != nil {
		return err
	}
	if err := do(); err != nil || !s.SavePassword {
		return err
	}
	return m.forgetPasswords(ctx, name)
}

// forgetPasswords forgets what the keychain has for a profile; a session without a keychain has nothing.
func (m *Model) forgetPasswords(ctx context.Context, name string) error {
	err := m.cfg.Vault.ForgetAll(ctx, name)
	if errors.Is(err, secrets.ErrUnavailable) {
		return nil
	}
	return err
}

// removeNow removes what is hidden, when the app ends.
func (m *Model) removeNow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTime)
	defer cancel()
	for name := range m.s.removals {
		_ = m.removeWithPasswords(ctx, name) // nobody is there to be told; the profile stays
	}
}

func without(list []api.Profile, name string) []api.Profile {
	out := make([]api.Profile, 0, len(list))
	for _, p := range list {
		if p.Name != name {
			out = append(out, p)
		}
	}
	return out
}

// rename gives the dialog's profile another name. What the keychain has is kept by the name, and asked for once
// more.
func (m *Model) rename(d *dialog, to string) {
	to = strings.TrimSpace(to)
	name := d.profile
	if to == name {
		m.close()
		return
	}
	d.busy, d.problem = true, nil
	m.task(func(ctx context.Context) error {
		return m.leaveName(ctx, name, func() error { return m.cfg.Backend.Rename(ctx, name, to) })
	}, func(err error) {
		d.busy = false
		if err != nil {
			d.problem = api.AsProblem(err)
			m.touch()
			return
		}
		if m.s.dialog == d {
			m.close()
		}
		if m.s.selected == name {
			m.s.selected = to // in the list that comes
		}
		m.refresh()
	})
}

// fail shows an error that belongs to nothing on the screen.
func (m *Model) fail(err error) {
	if m.s.dialog == nil {
		m.open(&dialog{kind: DialogError, problem: api.AsProblem(err)})
	}
	m.touch()
}

// say shows one line for a while. It does not take the place of one that can still be undone.
func (m *Model) say(key i18n.Key, args ...string) {
	if m.s.toast != nil && m.s.toast.undo != "" {
		return
	}
	m.s.toast = &toast{key: key, args: args, ends: m.cfg.Now().Add(toastTime)}
	m.touch()
}
