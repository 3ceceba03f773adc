package view

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
)

// readPreferences takes the person's settings. A file that cannot be read is not overwritten before the person
// changes something.
func (m *Model) readPreferences() {
	if m.cfg.Preferences == "" {
		return
	}
	p, err := loadPreferences(m.cfg.Preferences)
	if m.s.prefs = p; err != nil {
		m.say(i18n.SettingsNotRead, "detail", clean(reasonOf(err), maxPhrase))
	}
}

// reasonOf leaves out the path that an error of the file system repeats.
func reasonOf(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return err.Error()
}

func (m *Model) readAutostart() {
	if m.cfg.Autostart == nil {
		return
	}
	var on bool
	m.task(func(context.Context) (err error) {
		on, err = m.cfg.Autostart.Enabled()
		return err
	}, func(err error) {
		if m.s.startAtLogin = nil; err == nil {
			m.s.startAtLogin = &on
		}
		m.touch()
	})
}

// change changes the person's settings and keeps them.
func (m *Model) change(f func(*preferences)) {
	p := m.s.prefs
	p.CertificatesTold = maps.Clone(p.CertificatesTold) // the one before may be on its way to the file
	f(&p)
	m.s.prefs = p
	if m.cfg.Preferences == "" {
		return
	}
	m.inOrder("preferences", func(context.Context) {
		if err := savePreferences(m.cfg.Preferences, p); err != nil {
			m.post(func() { m.say(i18n.SettingsNotKept, "detail", clean(reasonOf(err), maxPhrase)) })
		}
	})
}

// Set changes a setting; profile is whose it is, and empty for the app's own. What is locked stays.
func (m *Model) Set(id SettingID, profile, value string) {
	m.post(func() {
		m.touch()
		p, _ := m.s.profile(profile)
		if m.s.policy.locks(id, p.Managed) || id == SettingSavePassword && m.s.forbidsSaving(p) != "" {
			return
		}
		switch id {
		case SettingLanguage:
			if slices.Contains(languages, value) {
				m.change(func(p *preferences) { p.Language = value })
			}
		case SettingTheme:
			if slices.Contains(themes, value) {
				m.change(func(p *preferences) { p.Theme = value })
			}
		case SettingTextSize:
			if slices.Contains(textSizes, value) {
				m.change(func(p *preferences) { p.TextSize = value })
			}
		case SettingNotifications:
			m.change(func(p *preferences) { p.Notifications = value == "true" })
		case SettingOnClose:
			if c := OnClose(value); slices.Contains(onCloses, c) {
				m.change(func(p *preferences) { p.OnClose = c })
			}
		case SettingStartAtLogin:
			m.setAutostart(value == "true")
		case SettingAutoConnect, SettingSavePassword, SettingGuard, SettingProxy:
			m.setProfile(profile, id, value)
		}
	})
}

func (m *Model) setAutostart(on bool) {
	if m.cfg.Autostart == nil {
		return
	}
	m.s.startAtLogin = nil
	m.inOrder("autostart", func(context.Context) {
		err := m.cfg.Autostart.Set(on)
		m.post(func() {
			if err != nil {
				m.say(i18n.SettingsNotKept, "detail", clean(reasonOf(err), maxPhrase))
			}
			m.readAutostart()
		})
	})
}

// loadSettings reads what the service keeps for the selected profile.
func (m *Model) loadSettings() {
	name := m.s.selected
	if _, ok := m.s.profile(name); !ok || !m.s.reachable() {
		return
	}
	var got api.Settings
	m.task(func(ctx context.Context) (err error) {
		got, err = m.cfg.Backend.Settings(ctx, name)
		return err
	}, func(err error) {
		if s := m.s.settings[name]; err == nil && (s == nil || s.changes == 0) {
			m.s.settings[name] = &profileSettings{Settings: got}
			m.touch()
		}
	})
}

// setProfile changes one setting of a profile, after those that were asked for earlier: a click on a switch also ends the typing of
// another one.
func (m *Model) setProfile(name string, id SettingID, value string) {
	if _, ok := m.s.profile(name); !ok {
		return
	}
	s := m.s.settings[name]
	if s == nil {
		s = &profileSettings{}
		m.s.settings[name] = s
	}
	s.changes++
	m.inOrder("service/"+name, func(ctx context.Context) {
		got, err := m.cfg.Backend.Set(ctx, name, []string{string(id) + "=" + value})
		m.post(func() {
			s.changes--
			if id == SettingProxy {
				if s.wrong = nil; api.IsCode(err, api.CodeSettingInvalid) { // it can be corrected
					s.typed, s.wrong = value, api.AsProblem(err)
					m.touch()
					return
				}
			}
			if err != nil {
				if m.fail(err); s.changes == 0 { // else the next one's answer says how all are
					m.loadSettings()
				}
				return
			}
			s.Settings = got
			if id == SettingSavePassword && !got.SavePassword {
				m.forget(name)
			}
			m.touch()
		})
	})
}

// forget forgets the passwords that are saved for a profile.
func (m *Model) forget(name string) {
	m.inOrder("keychain/"+name, func(ctx context.Context) {
		if err := m.forgetPasswords(ctx, name); err != nil && ctx.Err() == nil {
			m.post(func() { m.fail(err) })
		}
	})
}

// forbidsSaving says who forbids to keep a profile's password, as Connection.SaveForbidden: a server's word counts
// until the next connection.
func (s *state) forbidsSaving(p api.Profile) string {
	if p.SaveForbidden != "" {
		return p.SaveForbidden
	}
	if by := cmp.Or(s.connection(p).SaveForbidden, s.barred[p.Name]); by == "server" {
		return by
	}
	return "" // the text says no longer what it said
}

// whyNotSaved words what forbids to keep a profile's password; empty: nothing does.
func (r renderer) whyNotSaved(by string) string {
	switch {
	case r.policy.ForbidSavedPasswords:
		return r.t(i18n.SavePasswordNot)
	case by == "server":
		return r.t(i18n.SavePasswordServer)
	case by != "":
		return r.t(i18n.SavePasswordProfile)
	}
	return ""
}

// asksPassword says whether one signs in with a password, by what a profile says about its sign-in; empty: not known.
func asksPassword(auth string) bool {
	return auth == "" || slices.Contains(strings.Split(auth, "+"), "password")
}

// settingsPage lists the settings: the app's, then the selected profile's.
func (r renderer) settingsPage() []Setting {
	locked := func(id SettingID, managed bool) string {
		if r.policy.locks(id, managed) {
			return r.t(i18n.WhyManaged)
		}
		return ""
	}
	language := r.prefs.Language
	if r.policy.Language != "" {
		language = r.policy.Language
	}
	list := []Setting{
		{ID: SettingLanguage, Label: r.t(i18n.SettingLanguage), Value: language, Locked: locked(SettingLanguage, false), Choices: []Choice{
			{"auto", r.t(i18n.LanguageAuto)}, {"en", r.t(i18n.LanguageEnglish)}, {"ja", r.t(i18n.LanguageJapanese)}}},
		{ID: SettingTheme, Label: r.t(i18n.SettingTheme), Value: r.prefs.Theme, Choices: []Choice{
			{"auto", r.t(i18n.ThemeAuto)}, {"light", r.t(i18n.ThemeLight)}, {"dark", r.t(i18n.ThemeDark)}}},
		{ID: SettingTextSize, Label: r.t(i18n.SettingTextSize), Value: r.prefs.TextSize, Choices: []Choice{
			{"normal", r.t(i18n.TextNormal)}, {"large", r.t(i18n.TextLarge)}, {"largest", r.t(i18n.TextLargest)}}},
		{ID: SettingNotifications, Label: r.t(i18n.SettingNotify), Value: strconv.FormatBool(r.prefs.Notifications)},
	}
	start := Setting{ID: SettingStartAtLogin, Label: r.t(i18n.SettingStart), Value: "false"}
	switch {
	case !r.starter:
		start.Locked = r.t(i18n.SettingStartNot)
	case r.startAtLogin == nil:
		start.Busy = true
	default:
		start.Value = strconv.FormatBool(*r.startAtLogin)
	}
	list = append(list, start, Setting{ID: SettingOnClose, Label: r.t(i18n.SettingOnClose), Value: string(r.prefs.OnClose), Choices: []Choice{
		{string(CloseAsks), r.t(i18n.CloseAsk)}, {string(CloseHides), r.t(i18n.CloseHide)}, {string(CloseQuits), r.t(i18n.CloseQuit)}}})
	p, ok := r.profile(r.selected)
	if !ok {
		return list
	}
	s := r.settings[p.Name]
	own := []Setting{{ID: SettingAutoConnect, Label: r.t(i18n.SettingAutoConnect), Value: "false"}}
	if asksPassword(p.Auth) || s != nil && s.SavePassword {
		own = append(own, Setting{ID: SettingSavePassword, Label: r.t(i18n.SettingSave), Value: "false"})
	}
	own = append(own, Setting{ID: SettingGuard, Label: r.t(i18n.SettingGuard), Value: "off", Choices: []Choice{
		{"off", r.t(i18n.ChoiceOff)}, {"auto", r.t(i18n.ChoiceAuto)}, {"lockdown", r.t(i18n.ChoiceLockdown)}}},
		Setting{ID: SettingProxy, Label: r.t(i18n.SettingProxy), Text: true, Help: r.t(i18n.ProxyHelp)})
	for i := range own {
		o := &own[i]
		o.Profile, o.Locked = p.Name, locked(o.ID, p.Managed)
		if s == nil || !r.reachable() {
			o.Busy = true
			continue
		}
		o.Busy = s.changes > 0
		switch o.ID {
		case SettingAutoConnect:
			o.Value = strconv.FormatBool(s.AutoConnect)
			if r.policy.AutoConnect != "" {
				o.Value = strconv.FormatBool(r.policy.AutoConnect == p.Name)
			}
		case SettingSavePassword:
			if o.Locked == "" {
				o.Locked = r.whyNotSaved(r.forbidsSaving(p))
			}
			o.Value = strconv.FormatBool(s.SavePassword && o.Locked == "")
		case SettingGuard:
			o.Value = s.Guard
			if r.policy.Guard != "" {
				o.Value = r.policy.Guard
			}
		case SettingProxy:
			if o.Value = s.Proxy; s.wrong != nil {
				o.Value, o.Wrong = s.typed, r.t(i18n.ProxyWrong, "detail", clean(s.wrong.Args["detail"], maxPhrase))
			}
		}
	}
	return append(list, own...)
}
