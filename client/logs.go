package client

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// Keys of the service's log records. ProfileKey and ownerKey also decide who may read a line.
const (
	profileKey = "profile"
	ownerKey   = "owner"
	errorKey   = "err"
)

// logLines is how many lines the service keeps for adit logs.
const logLines = 2000

// maxLogText bounds one kept line, bytes.
const maxLogText = 2000

// ring keeps the newest lines. Safe for concurrent use.
type ring struct {
	mu      sync.Mutex
	lines   []keptLine    // oldest first once full, rotated by next
	next    uint64        // number of the next line, from 0
	changed chan struct{} // closed at each new line
}

type keptLine struct {
	line  api.LogLine
	owner string // owner key; "" = the service itself
}

func newRing(n int) *ring {
	return &ring{lines: make([]keptLine, 0, n), changed: make(chan struct{})}
}

func (r *ring) add(l keptLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < cap(r.lines) {
		r.lines = append(r.lines, l)
	} else {
		r.lines[r.next%uint64(cap(r.lines))] = l
	}
	r.next++
	close(r.changed)
	r.changed = make(chan struct{})
}

// since returns the kept lines from number from on, the number after them, and
// a channel that is closed when there are more.
func (r *ring) since(from uint64) ([]keptLine, uint64, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from = max(from, r.next-uint64(len(r.lines)))
	var out []keptLine
	for ; from < r.next; from++ {
		out = append(out, r.lines[from%uint64(cap(r.lines))])
	}
	return out, r.next, r.changed
}

// read sends the kept lines that pass may, then with follow the new ones until ctx ends.
func (r *ring) read(ctx context.Context, follow bool, may func(owner string) bool, send func(api.LogLine) error) error {
	var from uint64
	for {
		lines, next, changed := r.since(from)
		from = next
		for _, l := range lines {
			if !may(l.owner) {
				continue
			}
			if err := send(l.line); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// tee is a slog.Handler that keeps lines in a ring and passes them on. Secrets
// never get this far: they are types that print as "[redacted]".
type tee struct {
	ring    *ring
	next    slog.Handler
	profile string
	owner   slog.Value // resolved for each line: it may be another one by then
	attrs   string     // rendered attributes, each with a space in front
	group   string
}

func (t *tee) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || t.next.Enabled(ctx, level)
}

func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		c := *t
		r.Attrs(func(a slog.Attr) bool { c.take(a); return true })
		text := r.Message + c.attrs
		if len(text) > maxLogText {
			text = strings.ToValidUTF8(text[:maxLogText], "") + "…"
		}
		when := r.Time
		if when.IsZero() {
			when = time.Now()
		}
		t.ring.add(keptLine{owner: ownerText(c.owner), line: api.LogLine{
			Time: when, Level: strings.ToLower(r.Level.String()), Profile: c.profile, Text: printable(text),
		}})
	}
	if !t.next.Enabled(ctx, r.Level) {
		return nil
	}
	return t.next.Handle(ctx, r)
}

func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *t
	c.next = t.next.WithAttrs(attrs)
	for _, a := range attrs {
		c.take(a)
	}
	return &c
}

func (t *tee) WithGroup(name string) slog.Handler {
	c := *t
	c.next = t.next.WithGroup(name)
	if name != "" {
		c.group += name + "."
	}
	return &c
}

func (t *tee) take(a slog.Attr) {
	if t.group == "" && a.Key == ownerKey {
		t.owner = a.Value
		return
	}
	v := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
	case t.group == "" && a.Key == profileKey:
		t.profile = v.String()
	case v.Kind() == slog.KindGroup:
		in := tee{group: t.group + a.Key + "."}
		for _, sub := range v.Group() {
			in.take(sub)
		}
		t.attrs += in.attrs
	default:
		t.attrs += " " + t.group + a.Key + "=" + v.String()
	}
}

// ownerText is an owner as of now; empty for none.
func ownerText(v slog.Value) string {
	if v.Equal(slog.Value{}) {
		return ""
	}
	return v.Resolve().String()
}

// whose is the owner of a connection's lines: of a managed one, the person whose it is at that moment.
type whose struct {
	conn  *connection
	owner string
}

// LogValue makes whose a slog.LogValuer.
func (w whose) LogValue() slog.Value {
	if person := w.conn.personOf(); person != "" {
		return slog.StringValue(person)
	}
	return slog.StringValue(w.owner)
}

// printable replaces control characters, so that a peer's text cannot forge lines
// or drive a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '·'
		}
		return r
	}, s)
}
