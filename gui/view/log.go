package view

import (
	"context"

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
	run     int // which reading the lines are from
}

// openLog reads the log and goes on with new lines until stopLog.
func (m *Model) openLog() {
	m.stopLog()
	ctx, cancel := context.WithCancel(m.ctx)
	m.closeLog = cancel
	m.s.log.run++
	run := m.s.log.run
	m.s.log.lines, m.s.log.dropped, m.s.log.problem = nil, false, nil
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

func (r renderer) logPage() Log {
	v := r.log
	out := Log{Filter: v.filter, FilterLabel: r.t(i18n.LogFilter), Follow: !v.paused, FollowLabel: r.t(i18n.LogFollow), Copy: r.t(i18n.LogCopy), Save: r.t(i18n.LogSave), Notice: r.notice(v.problem)}
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
