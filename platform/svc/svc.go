// Package svc is what Windows' service control manager asks of a service: that it answers the manager while it runs, and
// writes what it has to say where a service's words are looked for, in the event log. For systemd a program in the foreground
// will do that says when it answers (Ready), for launchd any.
package svc

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// What Windows' service control manager keeps of the service, for whoever installs it: package manage, and the packages of Windows. It is
// a program of its own, starts with the machine as LocalSystem, and has a SID of its own (SERVICE_SID_TYPE_UNRESTRICTED), by
// which the guard knows its packets.
const (
	Name  = "Adit" // also its source in the event log
	Title = "Adit VPN"
	Text  = "Opens VPN tunnels, and keeps what belongs into them from leaving any other way."
	// Calm is how long after a failure the next one counts as the first again.
	Calm = 24 * time.Hour
)

// Needs are the services that run before it: the filtering engine, which keeps the guard, and the DNS client.
func Needs() []string { return []string{"BFE", "Dnscache"} }

// Restarts are the pauses after which the manager starts it again where it has crashed or ended with an error: the first time, the
// second, and each later one.
func Restarts() []time.Duration {
	return []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}
}

// maxEvent is the length of an event's text in bytes (ReportEvent allows 31,839 characters).
const maxEvent = 31000

// Events is a log whose lines go to report, one at a time. Safe for concurrent use.
type Events struct {
	report func(level slog.Level, text string) error

	mu   sync.Mutex
	line bytes.Buffer
}

// NewEvents makes one.
func NewEvents(report func(level slog.Level, text string) error) *Events {
	return &Events{report: report}
}

// Write reports a text as an error: what a program says before it ends.
func (e *Events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(p), e.send(slog.LevelError, string(p))
}

// Handler is for loggers: each record becomes one event.
func (e *Events) Handler() slog.Handler {
	return eventHandler{e, slog.NewTextHandler(&e.line, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{} // events have their own
		}
		return a
	}})}
}

func (e *Events) send(level slog.Level, text string) error {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\x00", "\uFFFD"))
	if len(text) > maxEvent {
		text = strings.ToValidUTF8(text[:maxEvent], "")
	}
	return e.report(level, text)
}

// eventHandler writes records as text into the line of its Events.
type eventHandler struct {
	events *Events
	text   slog.Handler
}

func (h eventHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

func (h eventHandler) Handle(ctx context.Context, r slog.Record) error {
	h.events.mu.Lock()
	defer h.events.mu.Unlock()
	h.events.line.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	return h.events.send(r.Level, h.events.line.String())
}

func (h eventHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return eventHandler{h.events, h.text.WithAttrs(attrs)}
}

func (h eventHandler) WithGroup(name string) slog.Handler {
	return eventHandler{h.events, h.text.WithGroup(name)}
}
