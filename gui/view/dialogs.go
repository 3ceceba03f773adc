package view

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// dialog is one that the person opened, or that tells of an error. Questions of a sign-in have theirs.
type dialog struct {
	kind    DialogKind
	id      string
	profile string
	problem *api.Problem
	words   i18n.Key // with DialogError that has no problem
	args    []string
	busy    bool
	imp     *importing // with DialogImport
}

// open brings a dialog to the front, instead of one that may be there.
func (m *Model) open(d *dialog) {
	m.close()
	m.dialogs++
	d.id = string(d.kind) + "/" + strconv.FormatUint(m.dialogs, 10)
	m.s.dialog = d
}

// close closes the dialog that the person opened.
func (m *Model) close() {
	if d := m.s.dialog; d != nil {
		if d.imp != nil && d.imp.cancel != nil {
			d.imp.cancel()
		}
		m.s.dialog = nil
	}
}

// cancelFront is Esc.
func (m *Model) cancelFront() {
	if m.s.dialog != nil {
		m.close()
		return
	}
	if q := m.s.frontQuestion(); q != nil {
		m.cancelQuestion(q)
	}
}

// frontQuestion is the one whose dialog is shown: the selected profile's first.
func (s *state) frontQuestion() *question {
	if q := s.questions[s.selected]; q != nil && q.shown && !q.looking {
		return q
	}
	var names []string
	for name, q := range s.questions {
		if q.shown && !q.looking {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return s.questions[slices.Min(names)]
}

// submit takes what was typed.
func (m *Model) submit(id string, v Values) {
	if d := m.s.dialog; d != nil {
		if d.id != id || d.busy {
			return
		}
		switch d.kind {
		case DialogRename:
			m.rename(d, v[FieldName].Reveal())
		case DialogAddress:
			m.importFrom(webAddress(v[FieldAddress].Reveal()))
		case DialogImport:
			m.finishImport(d, v)
		default:
			m.close()
		}
		return
	}
	if q := m.s.frontQuestion(); q != nil && q.id() == id {
		m.submitQuestion(q, v)
	}
}

// front is the dialog in front.
func (r renderer) front() *Dialog {
	if r.dialog != nil {
		return r.own(r.dialog)
	}
	if q := r.frontQuestion(); q != nil && r.reachable() {
		return r.question(q)
	}
	return nil
}

func (r renderer) cancelButton() Button {
	return Button{Label: r.t(i18n.Cancel), Action: Action{Kind: ActionCancel}, Enabled: true, Cancel: true}
}

func (r renderer) closeButton() Button {
	return Button{Label: r.t(i18n.Close), Action: Action{Kind: ActionCancel}, Enabled: true, Default: true, Cancel: true}
}

func (r renderer) submitButton(k i18n.Key, busy bool) Button {
	b := Button{Label: r.t(k), Action: Action{Kind: ActionSubmit}, Enabled: !busy, Default: true}
	if busy {
		b.Why = r.t(i18n.WhyWorking)
	}
	return b
}

// own renders a dialog that the person opened.
func (r renderer) own(d *dialog) *Dialog {
	title := clean(d.profile, maxTitle)
	out := &Dialog{Kind: d.kind, ID: d.id, Profile: d.profile, Busy: d.busy, Notice: r.notice(d.problem)}
	p, _ := r.profile(d.profile)
	c := r.connection(p)
	switch d.kind {
	case DialogError:
		out.Title, out.Buttons = r.t(i18n.ErrorTitle), []Button{r.okButton()}
		if d.problem == nil {
			out.Notice = &Notice{Text: clean(r.t(d.words, d.args...), maxPhrase)}
		}
	case DialogBanner:
		out.Title, out.Text, out.Buttons = r.t(i18n.BannerTitle, "profile", title), []string{paragraphs(c.Banner)}, []Button{r.okButton()}
	case DialogCertificate:
		out.Title, out.Text = r.t(i18n.CertificateTitle, "profile", title), r.certificate(cmp.Or(c.CertificateExpires, p.Expires))
		out.Buttons = []Button{r.closeButton()}
	case DialogGuard:
		out.Title, out.Text = r.t(i18n.RowGuard), r.guard(p, c)
		if len(out.Text) > 1 {
			out.Title = r.t(i18n.GuardTitle)
		}
		out.Buttons = []Button{r.closeButton()}
	case DialogRemove:
		out.Title, out.Text = r.t(i18n.RemoveTitle, "profile", title), []string{r.t(i18n.RemoveText, "duration", i18n.Duration(r.l, undoTime))}
		// Enter must not delete anything.
		remove := Button{Label: r.t(i18n.DoRemove), Action: Action{ActionRemove, d.profile}, Enabled: true, Danger: true}
		keep := r.cancelButton()
		keep.Default = true
		out.Buttons = []Button{keep, remove}
	case DialogRename:
		out.Title = r.t(i18n.RenameTitle, "profile", title)
		out.Fields = []Field{{ID: FieldName, Label: r.t(i18n.NewName), Value: clean(d.profile, maxPhrase), Enabled: !d.busy}}
		out.Buttons = []Button{r.cancelButton(), r.submitButton(i18n.DoRename, d.busy)}
	case DialogAddress:
		out.Title = r.t(i18n.AddressTitle)
		out.Fields = []Field{{ID: FieldAddress, Label: r.t(i18n.Address), Enabled: true}}
		out.Buttons = []Button{r.cancelButton(), r.submitButton(i18n.DoFetch, false)}
	case DialogBackground:
		out.Title, out.Text = r.t(i18n.BackgroundTitle), []string{r.t(i18n.BackgroundText)}
		out.Buttons = []Button{r.cancelButton(),
			{Label: r.t(i18n.TrayQuit), Action: Action{Kind: ActionCloseQuits}, Enabled: true},
			{Label: r.t(i18n.BackgroundKeep), Action: Action{Kind: ActionKeepRunning}, Enabled: true, Default: true}}
	case DialogImport:
		r.importDialog(d, out)
	}
	return out
}

func (r renderer) okButton() Button {
	return Button{Label: r.t(i18n.OK), Action: Action{Kind: ActionCancel}, Enabled: true, Default: true, Cancel: true}
}

// guard explains why traffic is blocked.
func (r renderer) guard(p api.Profile, c api.Connection) []string {
	name := clean(p.Name, maxTitle)
	switch {
	case c.State != api.Blocked && c.State != api.Reconnecting && c.State != api.NeedsLogin, c.Guard != "auto" && c.Guard != "lockdown" && c.State != api.Blocked:
		return []string{r.t(i18n.GuardNotNow)}
	case c.Guard == "lockdown":
		text := []string{r.t(i18n.GuardBecauseLock, "profile", name), r.t(i18n.GuardConnect)}
		if r.policy.locks(SettingGuard, p.Managed) {
			text = append(text, r.t(i18n.GuardAdmin))
		}
		return text
	}
	text := []string{r.t(i18n.GuardBecauseAuto, "profile", name), r.t(i18n.GuardConnect)}
	if p.Managed && r.policy.AlwaysOn && r.policy.AutoConnect == p.Name {
		return append(text, r.t(i18n.GuardAdmin))
	}
	return append(text, r.t(i18n.GuardDisconnect))
}

// question renders what a connection asks.
func (r renderer) question(q *question) *Dialog {
	title := clean(q.profile, maxTitle)
	l := q.login
	d := &Dialog{Kind: DialogCredentials, ID: q.id(), Profile: q.profile, Busy: q.busy, Notice: r.notice(q.problem)}
	prompt := clean(l.Prompt, maxPhrase)
	switch l.Kind {
	case api.LoginPassword:
		d.Title = r.t(i18n.SignInTitle, "profile", title)
		user := cmp.Or(q.saved.User, l.User)
		if l.NeedUser || user != "" {
			d.Fields = append(d.Fields, Field{ID: FieldUser, Label: r.t(i18n.UserName), Value: clean(user, maxPhrase), Enabled: l.NeedUser && !q.busy})
		}
		password := Field{ID: FieldPassword, Label: r.t(i18n.Password), Secret: true, Enabled: !q.busy}
		if q.saved.Password != "" { // it does not leave the model
			password.Optional, password.Help = true, r.t(i18n.PasswordSaved)
		}
		d.Fields = append(d.Fields, password)
		if l.Challenge != "" {
			d.Fields = append(d.Fields, Field{ID: FieldCode, Label: clean(l.Challenge, maxDetail), Secret: !l.ChallengeEcho, Enabled: !q.busy, Optional: true, Help: r.t(i18n.CodeEmpty)})
		}
		save := Field{ID: FieldSave, Label: r.t(i18n.SavePassword), Switch: true, Optional: true, Enabled: !q.busy}
		save.Help = r.whyNotSaved(q.barred)
		switch s := r.settings[q.profile]; {
		case save.Help != "":
			save.Enabled = false
		case q.keep || s != nil && s.SavePassword:
			save.Value = "true"
		}
		d.Fields = append(d.Fields, save)
		d.Buttons = []Button{r.cancelButton(), r.submitButton(i18n.DoSignIn, q.busy)}
	case api.LoginOTP:
		d.Kind, d.Title = DialogCode, r.t(i18n.CodeTitle, "profile", title)
		if prompt != "" {
			d.Text = []string{r.t(i18n.ServerAsks, "prompt", prompt)}
		}
		d.Fields = []Field{{ID: FieldCode, Label: r.t(i18n.Code), Secret: !l.Echo, Enabled: !q.busy, Optional: true, Help: r.t(i18n.CodeEmpty)}}
		d.Buttons = []Button{r.cancelButton(), r.submitButton(i18n.Send, q.busy)}
	case api.LoginBrowser:
		d.Kind, d.Title = DialogBrowser, r.t(i18n.BrowserTitle)
		if q.trouble.IsZero() {
			d.Text = []string{r.t(i18n.BrowserWaiting, "site", site(l.URL))}
		} else {
			d.Notice = &Notice{Text: r.t(q.trouble, q.args...)}
		}
		d.Address = l.URL
		d.Buttons = []Button{r.cancelButton(),
			{Label: r.t(i18n.CopyAddress), Action: Action{ActionCopyAddress, q.profile}, Enabled: l.URL != ""},
			{Label: r.t(i18n.OpenAgain), Action: Action{ActionOpenAgain, q.profile}, Enabled: !q.busy && l.URL != "", Default: true}}
	case api.LoginAgain:
		d.Kind, d.Title, d.Text = DialogAgain, r.t(i18n.AgainTitle, "profile", title), []string{r.t(i18n.AgainText)}
		d.Buttons = []Button{r.cancelButton(), r.submitButton(i18n.SignInAgain, q.busy)}
	default: // wait, and what a newer service asks: it cannot be answered here
		d.Kind, d.Title, d.Text = DialogWait, r.t(i18n.WaitTitle, "profile", title), []string{r.t(i18n.WaitText)}
		if prompt != "" {
			d.Text = append(d.Text, r.t(i18n.ServerAsks, "prompt", prompt))
		}
		d.Buttons = []Button{r.cancelButton()}
	}
	if !l.Deadline.IsZero() {
		d.Text = append(d.Text, r.t(i18n.AnswerUntil, "time", r.moment(l.Deadline)))
	}
	return d
}

// certificate says until when the person's certificate is good; nil: there is none.
func (r renderer) certificate(until *time.Time) []string {
	if until == nil {
		return nil
	}
	left := until.Sub(r.now)
	switch {
	case left <= 0:
		return []string{r.t(i18n.CertificateOver, "date", r.date(*until)), r.t(i18n.CertificateDo)}
	case left < profile.ExpiresSoon:
		return []string{r.t(i18n.CertificateSoon, "date", r.date(*until), "duration", r.days(left)), r.t(i18n.CertificateDo)}
	}
	return []string{r.t(i18n.CertificateFine, "date", r.date(*until))}
}
