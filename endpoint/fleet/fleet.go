// Package fleet runs several endpoints in one process. Each has its own network, sockets and directory: starting, reloading
// or stopping one touches no other. What an endpoint is made of is the caller's (Leaves); packets are package endpoint's.
//
// Goroutines: Apply begins one for each endpoint and one for its Beside; Stop and Close wait for them. One that ends by itself
// leaves another, which starts it again after a pause; Close waits for that, too.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/endpoint"
)

// Opened is an endpoint that has been made and does not run yet.
type Opened struct {
	Server *endpoint.Server
	// Beside runs while the endpoint does, until ctx ends; nil: nothing.
	Beside func(ctx context.Context)
	// Ready is called once clients can come; nil: nothing.
	Ready func()
	// Follow is called before each reload with the new configuration, for what the Server knows nothing of, such as where its
	// log goes; with the one in force it opens files again. After an error there is no reload. Nil: nothing.
	Follow func(cfg endpoint.Config) error
	// Close is called once Run has returned; nil: nothing.
	Close func()
}

// Leaves is what a Fleet needs from outside. All but Log and Failed are required.
type Leaves struct {
	Log *slog.Logger
	// Open makes an endpoint with all that belongs to it; after an error nothing is left open. history keeps what has
	// ended, over restarts of the endpoint.
	Open func(ctx context.Context, id string, cfg endpoint.Config, history *endpoint.History) (Opened, error)
	// History makes an empty one.
	History func() *endpoint.History
	// Export is a client's profile for a configuration; client may be empty.
	Export func(cfg endpoint.Config, client string) ([]byte, error)
	// Failed is told when an endpoint ends by itself, with its goroutine. again: it is to be started again, after a second
	// at first and at most a minute between later tries, unless Apply or Stop comes first. Nil is never again.
	Failed func(id string, err error) (again bool)
}

// Fleet is the endpoints of a process. All methods are safe for concurrent use; those that change an endpoint wait for each
// other.
type Fleet struct {
	l Leaves

	change  sync.Mutex // one change at a time
	mu      sync.Mutex // guards the rest, never held while an endpoint starts or ends
	members map[string]*member
	history map[string]*endpoint.History // of all that ever ran here
	lost    map[string]*member           // that have ended by themselves, and are to be started again
	closed  bool

	closing chan struct{}  // closed with closed
	running sync.WaitGroup // the goroutines of members, also of those that have failed, and those that start them again
}

// member is one endpoint that runs.
type member struct {
	id     string
	opened Opened
	cfg    atomic.Pointer[endpoint.Config]
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended and all of it is closed
	err    error         // why; after done, or ended
	ended  bool          // under the Fleet's mu: it is not to be in the list any more
}

// New makes an empty fleet. Close it in the end.
func New(l Leaves) *Fleet {
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	if l.Failed == nil {
		l.Failed = func(string, error) bool { return false }
	}
	return &Fleet{l: l, members: map[string]*member{}, history: map[string]*endpoint.History{}, lost: map[string]*member{}, closing: make(chan struct{})}
}

var errClosed = errors.New("the endpoint is being stopped")

// Apply puts a configuration in force: it starts the endpoint, reloads it, or, for what cannot change while it runs, ends and
// starts it. After an error it runs as before, if it can.
func (f *Fleet) Apply(ctx context.Context, id string, cfg endpoint.Config) error {
	f.change.Lock()
	defer f.change.Unlock()
	m := f.member(id)
	if m == nil {
		return f.start(ctx, id, cfg)
	}
	old := *m.cfg.Load()
	if key := old.Fixed(cfg); key != "" {
		f.l.Log.Info("the endpoint is started again", "endpoint", id, "changed", key)
		f.stop(m)
		err := f.start(ctx, id, cfg)
		if err != nil {
			if back := f.start(ctx, id, old); back != nil {
				f.l.Log.Error("the endpoint does not run any more", "endpoint", id, "error", back)
				f.mu.Lock()
				f.lost[id] = m
				f.mu.Unlock()
				f.running.Go(func() { f.revive(m) })
			}
		}
		return err
	}
	_, err := m.reload(ctx, cfg)
	return err
}

// Reload is Apply for an endpoint that runs and is not to be interrupted: what cannot change is an error. It says how many
// sessions were reset.
func (f *Fleet) Reload(ctx context.Context, id string, cfg endpoint.Config) (reset int, err error) {
	f.change.Lock()
	defer f.change.Unlock()
	m := f.member(id)
	if m == nil {
		return 0, fmt.Errorf("%s does not run", id)
	}
	return m.reload(ctx, cfg)
}

func (m *member) reload(ctx context.Context, cfg endpoint.Config) (reset int, err error) {
	old := *m.cfg.Load()
	if err := m.follow(cfg); err != nil {
		return 0, err
	}
	if reset, err = m.opened.Server.Reload(ctx, cfg); err != nil {
		return 0, errors.Join(err, m.follow(old))
	}
	m.cfg.Store(&cfg)
	return reset, nil
}

func (m *member) follow(cfg endpoint.Config) error {
	if m.opened.Follow == nil {
		return nil
	}
	return m.opened.Follow(cfg)
}

// Reopen has all endpoints open their log files again, that others may have moved away.
func (f *Fleet) Reopen() {
	f.change.Lock()
	defer f.change.Unlock()
	for _, m := range f.all() {
		if err := m.follow(*m.cfg.Load()); err != nil {
			f.l.Log.Error("log files are not open again", "endpoint", m.id, "error", err)
		}
	}
}

// start is Apply for one that does not run. It returns when clients can come.
func (f *Fleet) start(ctx context.Context, id string, cfg endpoint.Config) error {
	f.mu.Lock()
	for old, h := range f.history { // of deleted endpoints
		if f.members[old] == nil && len(h.Ended()) == 0 {
			delete(f.history, old)
		}
	}
	history := f.history[id]
	if history == nil {
		history = f.l.History()
		f.history[id] = history
	}
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return errClosed
	}
	opened, err := f.l.Open(ctx, id, cfg, history)
	if err != nil {
		return err
	}
	// It runs until Stop or Close: ctx is only the start's.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &member{id: id, opened: opened, cancel: cancel, done: make(chan struct{})}
	m.cfg.Store(&cfg)
	f.running.Go(func() { f.run(running, m) })
	select {
	case <-opened.Server.Ready():
	case <-m.done:
		if m.err == nil {
			return errClosed
		}
		return m.err
	}
	if opened.Ready != nil {
		opened.Ready()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.ended { // before it was in the list
		return m.err
	}
	f.members[id] = m
	delete(f.lost, id)
	return nil
}

// run is the life of an endpoint.
func (f *Fleet) run(ctx context.Context, m *member) {
	defer close(m.done)
	var beside sync.WaitGroup
	if m.opened.Beside != nil {
		beside.Go(func() { m.opened.Beside(ctx) })
	}
	m.err = m.opened.Server.Run(ctx)
	m.cancel()
	beside.Wait()
	if m.opened.Close != nil {
		m.opened.Close()
	}
	select {
	case <-m.opened.Server.Ready():
	default:
		return // start says why
	}
	if m.err == nil {
		return
	}
	was := f.drop(m, true)
	if again := f.l.Failed(m.id, m.err); was && again {
		f.running.Go(func() { f.revive(m) })
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost[m.id] == m {
		delete(f.lost, m.id)
	}
}

// The pause before an endpoint that has ended by itself is started again: it doubles with each try.
const (
	firstPause = time.Second
	longPause  = time.Minute
)

// revive starts m again, until it runs, or Apply, Stop or Close came first.
func (f *Fleet) revive(m *member) {
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		select {
		case <-f.closing:
			return
		case <-time.After(pause):
		}
		f.change.Lock()
		if !f.isLost(m) {
			f.change.Unlock()
			return
		}
		err := f.start(context.Background(), m.id, *m.cfg.Load())
		f.change.Unlock()
		if err == nil {
			f.l.Log.Info("the endpoint runs again", "endpoint", m.id)
			return
		}
		f.l.Log.Warn("the endpoint cannot be started again", "endpoint", m.id, "error", err)
	}
}

func (f *Fleet) isLost(m *member) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.closed && f.lost[m.id] == m
}

// drop takes an endpoint that has ended out of the list, or keeps it from getting there. was says that it was there; it is
// lost then, if it ended by itself.
func (f *Fleet) drop(m *member, byItself bool) (was bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.ended = true
	if f.members[m.id] != m {
		return false
	}
	delete(f.members, m.id)
	if byItself {
		f.lost[m.id] = m
	}
	return true
}

// stop ends one and waits for it.
func (f *Fleet) stop(m *member) {
	m.cancel()
	<-m.done
	f.drop(m, false)
}

// Stop ends an endpoint: its clients are told. One that does not run is no error.
func (f *Fleet) Stop(_ context.Context, id string) error {
	f.change.Lock()
	defer f.change.Unlock()
	if m := f.member(id); m != nil {
		f.stop(m)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.lost, id) // it may have ended by itself meanwhile
	return nil
}

// Close ends all endpoints, at the same time, and waits for them. None can be started afterwards.
func (f *Fleet) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.closing)
	}
	f.mu.Unlock()
	f.change.Lock()
	defer f.change.Unlock()
	all := f.all()
	for _, m := range all {
		m.cancel()
	}
	for _, m := range all {
		f.stop(m)
	}
	f.running.Wait()
}

func (f *Fleet) member(id string) *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[id]
}

// all are the endpoints that run, by id.
func (f *Fleet) all() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*member
	for _, id := range slices.Sorted(maps.Keys(f.members)) {
		out = append(out, f.members[id])
	}
	return out
}

// Servers are the endpoints that run.
func (f *Fleet) Servers() []*endpoint.Server {
	var out []*endpoint.Server
	for _, m := range f.all() {
		out = append(out, m.opened.Server)
	}
	return out
}

// Config is what an endpoint runs with. ok is false when it does not run.
func (f *Fleet) Config(id string) (cfg endpoint.Config, ok bool) {
	m := f.member(id)
	if m == nil {
		return cfg, false
	}
	return *m.cfg.Load(), true
}

// Running says whether an endpoint runs.
func (f *Fleet) Running(id string) bool { return f.member(id) != nil }

// Policy is endpoint.Server.Policy of an endpoint; one that does not run has none.
func (f *Fleet) Policy(id string) (text string, shadow, ok bool) {
	m := f.member(id)
	if m == nil {
		return "", false, false
	}
	return m.opened.Server.Policy()
}

// IDs are those of the endpoints that run.
func (f *Fleet) IDs() []string {
	var out []string
	for _, m := range f.all() {
		out = append(out, m.id)
	}
	return out
}

// Connections are the clients of an endpoint, and those that ended within the last hour, also when it does not run any more.
func (f *Fleet) Connections(id string) []endpoint.Connection {
	f.mu.Lock()
	m, history := f.members[id], f.history[id]
	f.mu.Unlock()
	switch {
	case m != nil:
		return m.opened.Server.AllConnections()
	case history != nil:
		return history.Ended()
	}
	return nil
}

// AllConnections are those of all endpoints, each with the endpoint's id.
func (f *Fleet) AllConnections() []endpoint.Connection {
	f.mu.Lock()
	ids := slices.Sorted(maps.Keys(f.history))
	f.mu.Unlock()
	out := []endpoint.Connection{}
	for _, id := range ids {
		for _, c := range f.Connections(id) {
			c.Endpoint = id
			out = append(out, c)
		}
	}
	return out
}

// Terminate ends the connection of an id, or those of a user, and says which; their sign-ins are revoked, also those of clients
// that are away.
func (f *Fleet) Terminate(id, connection, user string) []string {
	m := f.member(id)
	if m == nil {
		return nil
	}
	connections, _ := m.opened.Server.Terminate(connection, user)
	return connections
}

// SignedIn is endpoint.Server.SignedIn of an endpoint; at one that does not run nobody is.
func (f *Fleet) SignedIn(id, connection, user string) bool {
	m := f.member(id)
	return m != nil && m.opened.Server.SignedIn(connection, user)
}

// TerminateAll is Terminate at all endpoints, and says how many sign-ins it revoked.
func (f *Fleet) TerminateAll(connection, user string) (connections []string, signIns int) {
	connections = []string{}
	for _, m := range f.all() {
		ids, n := m.opened.Server.Terminate(connection, user)
		connections, signIns = append(connections, ids...), signIns+n
	}
	return connections, signIns
}

// Export is the profile of clients for a configuration; they add their certificate themselves.
func (f *Fleet) Export(_ string, cfg endpoint.Config) (string, error) {
	text, err := f.l.Export(cfg, "")
	return string(text), err
}
