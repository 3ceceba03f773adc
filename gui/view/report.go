package view

import (
	"context"
	"os"
	"path/filepath"

	"github.com/adit-vpn/adit/gui/i18n"
)

// reportView is the making of a report.
type reportView struct {
	busy    bool
	unsaved *unsaved // why it could not be saved, the last time
}

// SaveReport makes the report for somebody who helps and writes it into a file, for this person only, in place of what may be in it.
func (m *Model) SaveReport(file string) {
	m.post(func() {
		if m.cfg.Report == nil || m.s.report.busy {
			return
		}
		m.s.report = reportView{busy: true}
		m.touch()
		m.task(func(ctx context.Context) error {
			b, err := m.cfg.Report(ctx)
			if err != nil {
				return err
			}
			return writePrivate(file, b)
		}, func(err error) {
			m.s.report = reportView{}
			if err != nil {
				m.s.report.unsaved = &unsaved{clean(file, maxDetail), clean(reasonOf(err), maxPhrase)}
			} else {
				m.say(i18n.ReportSaved, "file", clean(filepath.Base(file), maxTitle))
			}
			m.touch()
		})
	})
}

// writePrivate writes a file that is this person's alone, also where one was that others may read.
func writePrivate(file string, b []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = f.Chmod(0o600)
	if err == nil {
		_, err = f.Write(b)
	}
	if shut := f.Close(); err == nil {
		err = shut
	}
	return err
}

func (r renderer) reportOf() *Report {
	if !r.reports {
		return nil
	}
	out := &Report{Text: r.t(i18n.ReportText), Button: Button{Label: r.t(i18n.ReportDo), Action: Action{Kind: ActionSaveReport}, Enabled: !r.report.busy}}
	if r.report.busy {
		out.Busy, out.Button.Why = r.t(i18n.ReportBusy), r.t(i18n.WhyWorking)
	}
	if u := r.report.unsaved; u != nil {
		out.Notice = &Notice{Text: r.t(i18n.ReportNotSaved, "file", u.file, "detail", u.detail), Hints: []string{r.t(i18n.LogNotSavedHint)}}
	}
	return out
}
