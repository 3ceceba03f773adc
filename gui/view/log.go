package view

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
)

// maxLog is how many lines are kept, as the service does.
const maxLog = 2000

// logView is the log's page.
type logView struct {
	filter  string
	paused  bool          // new lines are kept, but not scrolled to
	lines   []api.LogLine // oldest first
	dropped bool          // older ones are gone
	problem *api.Problem
	unsaved *unsaved // why it could not be saved, the last time
	run     int      // which reading the lines are from
}

// unsaved is a file that could not be written.
type unsaved struct{ file, detail string }

// openLog reads the log and goes on with new lines until stopLog.
func (m *Model) openLog() {
	m.stopLog()
	ctx, cancel := context.WithCancel(m.ctx)
	m.closeLog = cancel
	m.s.log.run++
	run := m.s.log.run
	m.s.log.lines, m.s.log.dropped, m.s.log.problem, m.s.log.unsaved = nil, false, nil, nil
	m.task(func(context.Context) error {
		defer cancel()
		return m.cfg.Backend.Logs(ctx, true, func(l api.LogLine) error {
			m.post(func() { m.onLine(run, l) })
			return ctx.Err()
		})
	}, func(err error) {
		if m.s.log.run != run {
			return
		}
		if err != nil {
			m.s.log.problem = api.AsProblem(err)
			m.touch()
		}
	})
}

func (m *Model) onLine(run int, l api.LogLine) {
	if m.s.log.run != run {
		return
	}
	lines := append(m.s.log.lines, l)
	if len(lines) > maxLog {
		lines, m.s.log.dropped = lines[len(lines)-maxLog:], true
	}
	m.s.log.lines = lines
	m.later()
}

func (m *Model) stopLog() {
	if m.closeLog != nil {
		m.closeLog()
		m.closeLog = nil
		m.s.log.run++
	}
}

// FilterLog shows only the lines that contain text.
func (m *Model) FilterLog(text string) {
	m.post(func() { m.s.log.filter = clean(text, maxDetail); m.touch() })
}

// FollowLog says whether the newest line is to stay in sight.
func (m *Model) FollowLog(on bool) { m.post(func() { m.s.log.paused = !on; m.touch() }) }

// SaveLog writes the lines that are shown into a file, in place of what may be in it.
func (m *Model) SaveLog(file string) {
	m.post(func() {
		if m.s.page != PageLog {
			return
		}
		text := renderer{m.s, m.s.language(), m.cfg.Now()}.logPage().Text()
		m.task(func(context.Context) error { return os.WriteFile(file, []byte(text), 0o600) }, func(err error) {
			name := clean(filepath.Base(file), maxTitle)
			if m.s.log.unsaved = nil; err != nil {
				m.s.log.unsaved = &unsaved{clean(file, maxDetail), clean(reasonOf(err), maxPhrase)}
			} else {
				m.say(i18n.LogSaved, "file", name)
			}
			m.touch()
		})
	})
}

// Text is the log as text, a line each.
func (l Log) Text() string {
	var b strings.Builder
	for _, s := range l.Lines {
		b.WriteString(s.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// String is the line as it is read: what is not known is left out.
func (l LogLine) String() string {
	words := []string{l.Time, l.Level}
	if l.Profile != "" {
		words = append(words, l.Profile)
	}
	return strings.Join(append(words, l.Text), "  ")
}

func (r renderer) logPage() Log {
	v := r.log
	out := Log{Filter: v.filter, FilterLabel: r.t(i18n.LogFilter), Follow: !v.paused, FollowLabel: r.t(i18n.LogFollow), Copy: r.t(i18n.LogCopy), Save: r.t(i18n.LogSave), Notice: r.noticeHere(v.problem)}
	if out.Notice == nil && v.unsaved != nil {
		out.Notice = &Notice{Text: r.t(i18n.LogNotSaved, "file", v.unsaved.file, "detail", v.unsaved.detail), Hints: []string{r.t(i18n.LogNotSavedHint)}}
	}
	if r.page != PageLog { // nobody sees it
		return out
	}
	for _, l := range v.lines {
		line := LogLine{Time: r.local(l.Time).Format("2006-01-02 15:04:05"), Level: clean(l.Level, 10), Profile: clean(l.Profile, maxTitle), Text: clean(l.Text, maxBanner)}
		if v.filter == "" || matches(v.filter, line.Level, line.Profile, line.Text) {
			out.Lines = append(out.Lines, line)
		}
	}
	switch {
	case len(out.Lines) == 0 && v.filter != "":
		out.Remark = r.t(i18n.LogNoneMatches, "text", v.filter)
	case len(out.Lines) == 0 && v.problem == nil:
		out.Remark = r.t(i18n.LogNone)
	case v.dropped:
		out.Remark = r.t(i18n.LogShortened)
	}
	return out
}
