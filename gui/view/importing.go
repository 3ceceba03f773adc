package view

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// importing is a profile on its way from a file or an address into the list.
type importing struct {
	arg     string // a file, or an https address
	from    string // the same, shortened
	reading bool
	name    string // that is proposed
	profile *profile.Profile
	report  profile.Report
	locked  bool // its key needs a passphrase
	wrong   bool // the one that was typed does not open it
	cancel  context.CancelFunc
	broken  *profile.Remark // why it cannot be read at all; nil: it can, or was not
}

// maxWaiting is how many profiles wait to be shown at most. A web page can ask for one, too.
const maxWaiting = 50

// ImportFile reads a profile and shows what it would do, to be added or not, as soon as no dialog is in front. Path is a
// file, or an https address.
func (m *Model) ImportFile(path string) {
	m.post(func() {
		path = strings.TrimSpace(path)
		switch d := m.s.dialog; {
		case slices.Contains(m.s.waiting, path): // a second click
		case d != nil && d.imp != nil && d.imp.arg == path:
			if !d.imp.reading && !d.imp.report.Usable { // it may have been mended
				m.importFrom(path)
			}
		case len(m.s.waiting) == maxWaiting:
			m.say(i18n.ImportTooMany, "source", shortSource(path))
		default:
			m.s.waiting = append(m.s.waiting, path)
		}
		m.touch()
	})
}

// importNext takes the next one that waits to be shown.
func (m *Model) importNext() {
	if len(m.s.waiting) == 0 || m.s.dialog != nil || m.s.frontQuestion() != nil {
		return
	}
	if m.s.policy.ForbidUserProfiles {
		m.s.waiting = nil
		m.open(&dialog{kind: DialogError, words: i18n.AddForbidden})
	} else {
		next := m.s.waiting[0]
		m.s.waiting = m.s.waiting[1:]
		m.importFrom(next)
	}
	m.touch()
}

// webAddress is what a person meant who left out https://. The path of a file stays one.
func webAddress(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.Contains(s, "://") || filepath.IsAbs(s) {
		return s
	}
	return "https://" + s
}

// importFrom reads a profile, and shows it instead of the dialog that may be in front.
func (m *Model) importFrom(arg string) {
	ctx, cancel := context.WithCancel(m.ctx)
	imp := &importing{arg: arg, from: shortSource(arg), reading: true, cancel: cancel}
	d := &dialog{kind: DialogImport, imp: imp}
	m.open(d)
	var src source.Source
	var p *profile.Profile
	var report profile.Report
	var broken *profile.Remark
	now := m.cfg.Now()
	m.task(func(context.Context) (err error) {
		defer cancel()
		if src, err = m.cfg.Read(ctx, arg); err != nil {
			return err
		}
		// A refused line is an error of Parse, but the report tells more.
		if p, err = profile.Parse(src.Title, src.Text, src.Files); p == nil {
			errors.As(err, &broken)
			return api.NewProblem(api.CodeProfileInvalid, map[string]string{"reason": err.Error(), "line": lineOf(err)})
		}
		report = p.Check(now)
		return nil
	}, func(err error) {
		if m.s.dialog != d {
			return
		}
		imp.reading = false
		if err != nil {
			d.problem, imp.broken = api.AsProblem(err), broken
		} else {
			imp.name, imp.profile, imp.report, imp.locked = suggestName(src.Name), p, report, p.Locked()
			if imp.locked {
				imp.report = butForTheLock(p, report, now)
			}
		}
		m.touch()
	})
}

// lineOf is the line that an error of Parse names; empty: none.
func lineOf(err error) string {
	var at *profile.Error
	if !errors.As(err, &at) || at.Line == 0 {
		return ""
	}
	return strconv.Itoa(at.Line)
}

// butForTheLock is the report on a profile without the error that its key is still locked.
func butForTheLock(p *profile.Profile, r profile.Report, now time.Time) profile.Report {
	_, err := p.TLSConfig(func() time.Time { return now })
	var locked *profile.CertificateError
	if !errors.As(err, &locked) || locked.Kind != profile.Locked {
		return r
	}
	line := 0
	for _, d := range r.Directives {
		if d.Verdict == profile.Unsupported && d.Note != "" && strings.HasSuffix(locked.Text, d.Note) {
			line = d.Line
		}
	}
	r.Problems = slices.DeleteFunc(slices.Clone(r.Problems), func(f profile.Finding) bool {
		return f.Severity == profile.SeverityError && (f.Text == locked.Text || line > 0 && f.Line == line)
	})
	r.Usable = !slices.ContainsFunc(r.Problems, func(f profile.Finding) bool { return f.Severity == profile.SeverityError })
	return r
}

// errUnusable says that a profile's key, once open, shows that it cannot be used; the report tells why.
var errUnusable = errors.New("the profile is not usable")

// finishImport adds the profile of d.
func (m *Model) finishImport(d *dialog, v Values) {
	imp := d.imp
	if imp.profile == nil || !imp.report.Usable {
		return
	}
	name, replace, passphrase := strings.TrimSpace(v[FieldName].Reveal()), v[FieldReplace] == "true", v[FieldPassphrase]
	imp.name = name
	d.busy, d.problem, imp.wrong = true, nil, false
	var stored api.Profile
	report, now := imp.report, m.cfg.Now()
	m.task(func(ctx context.Context) error {
		p := imp.profile
		if p.Locked() {
			if passphrase == "" {
				passphrase = p.Passphrase
			}
			var err error
			if report, err = p.CheckUnlocked(now, passphrase); err != nil {
				return err
			}
			if !report.Usable {
				return errUnusable
			}
			if p, err = p.Unlock(passphrase); err != nil {
				return err
			}
		}
		var err error
		if stored, err = m.cfg.Backend.Import(ctx, api.ImportRequest{Name: name, Text: p.Text(), Replace: replace}); err != nil || !replace {
			return err
		}
		// It may name another server, which must not get the password that was for this one.
		s, err := m.cfg.Backend.Settings(ctx, name)
		if err == nil && s.SavePassword {
			err = m.forgetPasswords(ctx, name)
		}
		return err
	}, func(err error) {
		d.busy = false
		switch {
		case errors.Is(err, profile.ErrPassphrase):
			imp.wrong = true
		case errors.Is(err, errUnusable):
			imp.report = report
		case err != nil:
			d.problem = api.AsProblem(err)
		default:
			if m.s.dialog == d {
				m.close()
			}
			m.s.selected = stored.Name // in the list that comes
			delete(m.s.removals, stored.Name)
			m.leave(PageProfiles)
		}
		if stored.Name != "" {
			m.refresh()
		}
		m.touch()
	})
}

// importDialog renders the preview.
func (r renderer) importDialog(d *dialog, out *Dialog) {
	imp := d.imp
	out.Title = r.t(i18n.ImportTitle)
	out.Buttons = []Button{r.cancelButton()}
	switch {
	case imp.reading:
		out.Busy, out.Text = true, []string{r.t(i18n.ImportReading, "source", imp.from)}
		return
	case imp.profile == nil:
		if imp.broken != nil {
			args := map[string]string{"reason": i18n.Unreadable(r.l, imp.broken), "line": d.problem.Args["line"]}
			out.Notice = r.notice(api.NewProblem(d.problem.Code, args))
		}
		return
	}
	out.Import = r.preview(imp)
	if !imp.report.Usable {
		return
	}
	out.Fields = append(out.Fields, Field{ID: FieldName, Label: r.t(i18n.ImportName), Value: imp.name, Enabled: !d.busy})
	if i := slices.IndexFunc(r.profiles, func(p api.Profile) bool { return p.Name == imp.name }); i >= 0 {
		key, title := i18n.ImportConflict, clean(imp.name, maxTitle)
		if r.profiles[i].Managed {
			key = i18n.ImportManaged
		} else {
			out.Fields = append(out.Fields, Field{ID: FieldReplace, Label: r.t(i18n.ImportReplace), Switch: true, Enabled: !d.busy, Optional: true})
		}
		out.Text = append(out.Text, r.t(key, "profile", title))
	}
	if imp.locked {
		out.Text = append(out.Text, r.t(i18n.ImportLocked))
		out.Fields = append(out.Fields, Field{ID: FieldPassphrase, Label: r.t(i18n.ImportPassphrase), Secret: true, Enabled: !d.busy, Optional: imp.profile.Passphrase != ""})
	}
	if imp.wrong {
		out.Notice = &Notice{Text: r.t(i18n.ImportWrong)}
	}
	out.Buttons = append(out.Buttons, r.submitButton(i18n.DoImport, d.busy))
}

// maxRemarks is how many lines of each list a preview has.
const maxRemarks = 200

func (r renderer) preview(imp *importing) *Import {
	rep := imp.report
	x := &Import{Usable: rep.Usable, Verdict: r.t(i18n.ImportUsable), Traffic: r.traffic(rep.Traffic)}
	add := func(label i18n.Key, value string) {
		if value != "" {
			x.Rows = append(x.Rows, Row{Label: r.t(label), Value: value})
		}
	}
	if !rep.Usable {
		x.Verdict = r.t(i18n.ImportUnusable)
	}
	add(i18n.ImportSource, imp.from)
	label := i18n.RowServer
	for _, s := range rep.Servers[:min(len(rep.Servers), maxRemarks)] {
		add(label, clean(s, maxDetail))
		label = i18n.ImportNextServer
	}
	add(i18n.RowSignIn, r.signInKind(rep.Auth))
	for _, c := range rep.Certificates[:min(len(rep.Certificates), maxRemarks)] {
		role := map[string]i18n.Key{"ca": i18n.RoleCA, "client": i18n.RoleClient}[c.Role]
		if role.IsZero() {
			role = i18n.RoleExtra
		}
		add(role, r.t(i18n.ImportCertificate, "subject", clean(c.Subject, maxDetail), "date", r.date(c.NotAfter)))
	}
	for _, f := range rep.Problems[:min(len(rep.Problems), maxRemarks)] {
		severity, line := i18n.SeverityInfo, ""
		switch f.Severity {
		case profile.SeverityError:
			severity = i18n.SeverityError
		case profile.SeverityWarning:
			severity = i18n.SeverityWarning
		}
		if f.Line > 0 {
			line = strconv.Itoa(f.Line)
		}
		x.Findings = append(x.Findings, Finding{Error: f.Severity == profile.SeverityError,
			Text: r.t(i18n.Found, "severity", r.t(severity), "line", line, "text", clean(i18n.Remark(r.l, f), maxPhrase))})
	}
	return x
}

func (r renderer) traffic(t profile.Traffic) string {
	networks := r.list(t.Networks, 20)
	switch {
	case t.Mode == "all":
		return r.t(i18n.TrafficAll)
	case t.Mode == "listed" && networks == "":
		return r.t(i18n.TrafficOwn)
	case t.Mode == "listed":
		return r.t(i18n.TrafficListed, "networks", networks)
	case networks != "":
		return r.t(i18n.TrafficServerListed, "networks", networks)
	}
	return r.t(i18n.TrafficServer)
}

// shortSource is a file's name, or an address without what may be a secret in it.
func shortSource(from string) string {
	if scheme, rest, ok := strings.Cut(from, "://"); ok {
		rest, _, _ = strings.Cut(rest, "?")
		rest, _, _ = strings.Cut(rest, "#")
		host, file, _ := strings.Cut(rest, "/")
		if _, after, secret := strings.Cut(host, "@"); secret {
			host = after
		}
		return clean(scheme+"://"+path.Join(host, file), maxDetail)
	}
	return clean(filepath.Base(from), maxDetail)
}

// suggestName makes a name that the service takes out of a file's: letters, digits and some punctuation, at
// most 64 bytes, beginning with a letter or digit.
func suggestName(file string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune(" ._-@+()", r) {
			return r
		}
		return '-'
	}, strings.ToValidUTF8(file, "-"))
	name = strings.TrimLeftFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "")
	}
	if name = strings.TrimRight(name, " ."); name == "" {
		return "vpn"
	}
	return name
}
