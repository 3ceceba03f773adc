package view

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/routes"
	"github.com/adit-vpn/adit/saml/signin"
)

// Backend is what the model needs of the service: *api.Client. Its errors are as there.
type Backend interface {
	Watch(ctx context.Context, send func(api.Status) error) error
	Profiles(ctx context.Context) ([]api.Profile, error)
	Import(ctx context.Context, req api.ImportRequest) (api.Profile, error)
	Rename(ctx context.Context, name, to string) error
	Remove(ctx context.Context, name string) error
	Settings(ctx context.Context, name string) (api.Settings, error)
	Set(ctx context.Context, name string, changes []string) (api.Settings, error)
	Connect(ctx context.Context, req api.ConnectRequest) error
	Answer(ctx context.Context, a api.Answer) error
	Disconnect(ctx context.Context, name string) error
	Explain(ctx context.Context, destination string) (routes.Explanation, error)
	Logs(ctx context.Context, follow bool, send func(api.LogLine) error) error
	Version(ctx context.Context) (api.Version, error)
}

// Demo is the bundled server, to try the app with. Its methods are safe for concurrent use.
type Demo interface {
	// Serves says, at once, whether a stored profile is for this server, be it running or not.
	Serves(p api.Profile) bool
	// Page is the address of the web page in the server's network, which is there while the tunnel is up.
	Page() string
	// Start returns when the server runs, with a profile for it as it is now. The server goes on until the process
	// ends.
	Start(ctx context.Context) (profile api.ProfileText, err error)
}

// Autostart is the desktop's list of what starts with a session.
type Autostart interface {
	Enabled() (bool, error)
	Set(on bool) error
}

// Config is what a Model is made of.
type Config struct {
	Backend Backend
	Vault   secrets.Vault
	// Open shows an address in the browser (signin.NewBrowser). It may block for as long as that runs.
	Open func(url string) error
	// Browse is signin.Run.
	Browse func(ctx context.Context, cfg signin.Config) (push.Secret, error)
	// Read is source.Read: a file or an https address.
	Read func(ctx context.Context, arg string) (source.Source, error)
	// Reach is reach.Do with the service; nil: nothing is tried.
	Reach func(ctx context.Context, target reach.Target) (reach.Report, error)
	// Report makes a redacted bundle (package client/diagnose); nil: none is made.
	Report    func(ctx context.Context) ([]byte, error)
	Demo      Demo      // nil: there is none
	Autostart Autostart // nil: this system has none
	// Preferences is the file that keeps the app's own settings; empty: nothing is kept.
	Preferences string
	Policy      Policy
	Version     api.Version // of this app
	Locales     []string    // as for i18n.Choose
	Hidden      bool        // the window is not open at first

	// Now is the clock; nil = time.Now. Times are shown in its zone.
	Now func() time.Time

	// Publish, Notify and Raise are called by Run's goroutine, and must not block for long. The screen is theirs to
	// keep, not to change. Raise opens the window, in which what the person has just begun in the tray waits for them.
	Publish func(Screen)
	Notify  func(Notification)
	Raise   func()
}

// Model is the app's state. Its methods are intents: they return at once, are safe for concurrent use, and what
// follows from them is published. Run does the work; what is asked before it begins waits, what comes after it
// ended is dropped.
type Model struct {
	cfg Config
	box mailbox

	// Owned by Run's goroutine.
	ctx       context.Context
	s         *state
	visible   bool
	published bool
	shown     Screen
	at        time.Time // when shown was published
	urgent    bool      // publish now
	due       time.Time // publish then; zero: nothing to publish
	chains    map[string]chan struct{}
	keepers   map[string]*secrets.Attempt
	foreign   map[string]bool // profiles of tunnels that are in no list of ours
	dialogs   uint64          // how many were opened
	closeLog  context.CancelFunc

	tasks sync.WaitGroup
}

// The pace of publishing: changes that nobody waits for are put together.
const (
	pace = time.Second
	soon = 50 * time.Millisecond
)

// New makes a Model. It starts nothing.
func New(cfg Config) *Model {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Notify == nil {
		cfg.Notify = func(Notification) {}
	}
	if cfg.Raise == nil {
		cfg.Raise = func() {}
	}
	m := &Model{cfg: cfg, box: mailbox{wake: make(chan struct{}, 1)}, s: newState(), visible: !cfg.Hidden, chains: map[string]chan struct{}{}, keepers: map[string]*secrets.Attempt{}, foreign: map[string]bool{}}
	m.s.locales, m.s.version, m.s.policy, m.s.demo, m.s.starter, m.s.reports = cfg.Locales, cfg.Version, cfg.Policy, cfg.Demo != nil, cfg.Autostart != nil, cfg.Report != nil
	return m
}

// Run serves until ctx ends, and returns when nothing that it started runs any more. It may be called once.
// Profiles whose removal can still be undone are removed then, and the tunnel to the bundled server, which ends with the
// app, is closed; if the process is killed instead, they stay.
func (m *Model) Run(ctx context.Context) error {
	running, stop := context.WithCancel(ctx)
	m.ctx = running
	m.readPreferences()
	m.readAutostart()
	m.tasks.Go(func() { m.watch(running) })
	m.urgent = true
	m.publish()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		for _, f := range m.box.take() {
			f()
		}
		m.alarms()
		m.importNext()
		m.publish()
		timer.Reset(m.wait())
		select {
		case <-ctx.Done():
		case <-m.box.wake:
		case <-timer.C:
		}
	}
	for _, f := range m.box.take() { // what was asked with the last click, as far as it needs no service
		f()
	}
	m.box.close()
	m.removeNow(ctx)
	m.endDemo(ctx)
	stop()
	m.tasks.Wait()
	return ctx.Err()
}

// wait is how long nothing has to be done by itself.
func (m *Model) wait() time.Duration {
	now, next := m.cfg.Now(), time.Time{}
	earlier := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	earlier(m.due)
	earlier(m.s.outage)
	for _, t := range m.s.removals {
		earlier(t)
	}
	if m.s.toast != nil {
		earlier(m.s.toast.ends)
	}
	if next.IsZero() {
		return time.Hour
	}
	return max(next.Sub(now), 0)
}

// alarms does what its time has come for.
func (m *Model) alarms() {
	now := m.cfg.Now()
	for name, t := range m.s.removals {
		if !now.Before(t) {
			m.remove(name)
		}
	}
	if t := m.s.outage; !t.IsZero() && !now.Before(t) {
		m.s.outage = time.Time{}
		m.noticeOutage()
	}
	if t := m.s.toast; t != nil && !now.Before(t.ends) {
		m.s.toast = nil
		m.touch()
	}
}

// touch says that something changed that the person waits for.
func (m *Model) touch() { m.urgent = true }

// later says that something changed that can wait for others, and that the tray does not show.
func (m *Model) later() {
	if m.visible && m.due.IsZero() {
		m.due = m.cfg.Now().Add(soon)
		if next := m.at.Add(pace); next.After(m.due) {
			m.due = next
		}
	}
}

// publish shows the screen if it is time to.
func (m *Model) publish() {
	now := m.cfg.Now()
	if !m.urgent && (m.due.IsZero() || now.Before(m.due)) {
		return
	}
	m.urgent, m.due = false, time.Time{}
	screen := render(m.s, now)
	changed := !reflect.DeepEqual(screen, m.shown)
	if !m.visible && m.published {
		changed = !reflect.DeepEqual(screen.Tray, m.shown.Tray)
	}
	if changed || !m.published {
		m.published, m.shown = true, screen
		m.cfg.Publish(screen)
	}
	m.at = now
	if m.visible && m.ticking() {
		m.due = now.Add(pace)
	}
}

// ticking says whether the screen changes with time alone: a clock and the graph while something is up.
func (m *Model) ticking() bool {
	p, ok := m.s.profile(m.s.selected)
	return ok && m.s.reachable() && m.s.page == PageProfiles && m.s.connection(p).State != api.Disconnected
}

// post hands f to Run's goroutine.
func (m *Model) post(f func()) { m.box.put(f) }

// task runs what blocks, and then done in Run's goroutine. Run waits for it.
func (m *Model) task(work func(ctx context.Context) error, done func(err error)) {
	ctx := m.ctx
	m.tasks.Go(func() {
		err := work(ctx)
		if ctx.Err() == nil {
			m.post(func() { done(err) })
		}
	})
}

// inOrder is task for what must not run at the same time as others of the same name, nor before those that
// were asked for earlier.
func (m *Model) inOrder(name string, work func(ctx context.Context)) {
	before, after := m.chains[name], make(chan struct{})
	m.chains[name] = after
	m.task(func(ctx context.Context) error {
		defer close(after)
		if before != nil {
			<-before // ends: it is a task of Run's, too
		}
		work(ctx)
		return nil
	}, func(error) {
		if m.chains[name] == after {
			delete(m.chains, name)
		}
	})
}

// SetVisible says whether the window is open. While it is not, only what the tray shows is published.
func (m *Model) SetVisible(visible bool) {
	m.post(func() {
		if !visible {
			m.publish() // what the last click did: it is seen first when the window opens again
		}
		if m.visible = visible; visible {
			m.touch()
			if m.s.reachable() {
				m.refresh()
			}
		}
	})
}

// SetPolicy takes what the organization decides.
func (m *Model) SetPolicy(p Policy) { m.post(func() { m.s.policy = p; m.touch() }) }

// mailbox holds what Run is to do. Safe for concurrent use; it never blocks.
type mailbox struct {
	mu     sync.Mutex
	queue  []func()
	closed bool
	wake   chan struct{} // of capacity 1
}

func (b *mailbox) put(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.queue = append(b.queue, f)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *mailbox) take() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.queue
	b.queue = nil
	return out
}

func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue, b.closed = nil, true
}
