package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/routes"
	"github.com/adit-vpn/adit/saml/signin"
)

// service is a Backend that writes down what it is asked.
type service struct {
	mu       sync.Mutex
	calls    []string
	fail     map[string]error // by method
	slow     map[string]time.Duration
	profiles []api.Profile
	settings map[string]api.Settings
	way      routes.Explanation
	imports  []api.ImportRequest
	remotes  []string // of what is imported

	statuses chan api.Status
	lost     chan error
	lines    chan api.LogLine
}

func (s *service) note(ctx context.Context, method string, args ...any) error {
	s.mu.Lock()
	s.calls = append(s.calls, strings.TrimSpace(method+" "+fmt.Sprintln(args...)))
	err, wait := s.fail[method], s.slow[method]
	s.mu.Unlock()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// take returns what was asked since the last time, without what is read by itself.
func (s *service) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := slices.DeleteFunc(s.calls, func(c string) bool {
		return c == "Profiles" || c == "Version" || c == "Watch" || strings.HasPrefix(c, "Settings")
	})
	s.calls = nil
	return strings.Join(calls, "; ")
}

// all is everything that was asked.
func (s *service) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.calls, "; ")
}

func (s *service) imported(i int) api.ImportRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.imports[i]
}

func (s *service) Watch(ctx context.Context, send func(api.Status) error) error {
	if err := s.note(ctx, "Watch"); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.lost:
			return err
		case st := <-s.statuses:
			if err := send(st); err != nil {
				return err
			}
		}
	}
}

func (s *service) Profiles(ctx context.Context) ([]api.Profile, error) {
	err := s.note(ctx, "Profiles")
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.profiles), err
}

func (s *service) Import(ctx context.Context, r api.ImportRequest) (api.Profile, error) {
	if err := s.note(ctx, "Import", r.Name, r.Replace); err != nil {
		return api.Profile{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imports = append(s.imports, r)
	if !r.Replace && slices.ContainsFunc(s.profiles, func(p api.Profile) bool { return p.Name == r.Name }) {
		return api.Profile{}, api.NewProblem(api.CodeProfileExists, map[string]string{"profile": r.Name})
	}
	p := api.Profile{Name: r.Name, Owner: "ann", Remotes: s.remotes}
	s.profiles = append(slices.DeleteFunc(s.profiles, func(p api.Profile) bool { return p.Name == r.Name }), p)
	return p, nil
}

func (s *service) Rename(ctx context.Context, name, to string) error {
	if err := s.note(ctx, "Rename", name, to); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.profiles {
		if s.profiles[i].Name == name {
			s.profiles[i].Name = to
		}
	}
	return nil
}

func (s *service) Remove(ctx context.Context, name string) error {
	if err := s.note(ctx, "Remove", name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.profiles = slices.DeleteFunc(s.profiles, func(p api.Profile) bool { return p.Name == name })
	return nil
}

func (s *service) Settings(ctx context.Context, name string) (api.Settings, error) {
	err := s.note(ctx, "Settings", name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings[name], err
}

func (s *service) Set(ctx context.Context, name string, changes []string) (api.Settings, error) {
	if err := s.note(ctx, "Set", name, strings.Join(changes, " ")); err != nil {
		return api.Settings{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.settings[name]
	for _, c := range changes {
		switch key, value, _ := strings.Cut(c, "="); key {
		case "auto_connect":
			now.AutoConnect = value == "true"
		case "save_password":
			now.SavePassword = value == "true"
		case "guard":
			now.Guard = value
		case "proxy":
			if strings.Contains(value, " ") {
				return now, api.NewProblem(api.CodeSettingInvalid, map[string]string{"setting": c, "detail": "want http://HOST:PORT"})
			}
			now.Proxy = value
		}
	}
	s.settings[name] = now
	return now, nil
}

func (s *service) Connect(ctx context.Context, r api.ConnectRequest) error {
	return s.note(ctx, "Connect", r.Profile)
}

func (s *service) Answer(ctx context.Context, a api.Answer) error {
	return s.note(ctx, "Answer", a.Profile, a.ID, a.Username, a.Password.Reveal(), a.Response.Reveal(), a.Cancel)
}

func (s *service) Disconnect(ctx context.Context, name string) error {
	return s.note(ctx, "Disconnect", name)
}

func (s *service) Explain(ctx context.Context, d string) (routes.Explanation, error) {
	return s.way, s.note(ctx, "Explain", d)
}

func (s *service) Logs(ctx context.Context, follow bool, send func(api.LogLine) error) error {
	if err := s.note(ctx, "Logs", follow); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-s.lines:
			if err := send(l); err != nil {
				return err
			}
		}
	}
}

func (s *service) Version(ctx context.Context) (api.Version, error) {
	return api.Version{Version: "1.2.3"}, s.note(ctx, "Version")
}

// vault is a keychain.
type vault struct {
	mu    sync.Mutex
	kept  map[string]secrets.Login // by profile
	err   error
	calls []string
}

func (v *vault) Get(_ context.Context, profile, user string) (secrets.Login, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, "get "+profile)
	l, ok := v.kept[profile]
	if v.err != nil {
		return secrets.Login{}, v.err
	}
	if !ok || user != "" && user != l.User {
		return secrets.Login{}, secrets.ErrNotFound
	}
	return l, nil
}

func (v *vault) Set(_ context.Context, profile string, l secrets.Login) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, "set "+profile+" "+l.User)
	if v.err == nil {
		v.kept[profile] = l
	}
	return v.err
}

func (v *vault) Forget(_ context.Context, profile, user string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, "forget "+profile+" "+user)
	delete(v.kept, profile)
	return v.err
}

func (v *vault) ForgetAll(_ context.Context, profile string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, "forget all "+profile)
	delete(v.kept, profile)
	return v.err
}

func (v *vault) breaks(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

func (v *vault) keeps(profile string, l secrets.Login) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kept[profile] = l
}

func (v *vault) take() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := strings.Join(v.calls, "; ")
	v.calls = nil
	return out
}

// browser stands for the sign-in in the browser.
type browser struct {
	mu      sync.Mutex
	opened  []string
	openErr error
	busy    error
	answer  chan push.Secret
	waiting int
}

func (b *browser) open(url string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = append(b.opened, url)
	return b.openErr
}

func (b *browser) browse(ctx context.Context, cfg signin.Config) (push.Secret, error) {
	b.mu.Lock()
	busy := b.busy
	if b.waiting > 0 {
		busy = errors.New("two at once")
	}
	b.waiting++
	b.mu.Unlock()
	defer func() { b.mu.Lock(); b.waiting--; b.mu.Unlock() }()
	if busy != nil {
		return "", busy
	}
	cfg.Open(cfg.URL)
	select {
	case s := <-b.answer:
		return s, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// rig is a model that runs in a bubble.
type rig struct {
	t       *testing.T
	s       *service
	vault   *vault
	browser *browser
	m       *Model
	stop    func() error

	mu      sync.Mutex
	screens []Screen
	notes   []Notification
	raised  int
}

// published is how many screens there were.
func (r *rig) published() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.screens)
}

// fails makes a request fail; nil: it does not any more.
func (s *service) fails(method string, err error) { s.set(func() { s.fail[method] = err }) }

// set changes what the service does.
func (s *service) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// state is what the browser was asked for: how often it was opened, and who waits for it.
func (b *browser) state() (opened, waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.opened), b.waiting
}

func (b *browser) set(openErr, busy error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.openErr, b.busy = openErr, busy
}

// bubble runs a test under a fake clock; at its end nothing may run any more.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// start runs a model with the profile "work" on a service that answers.
func start(t *testing.T, edit func(*Config, *service)) *rig {
	t.Helper()
	r := &rig{t: t,
		s: &service{fail: map[string]error{}, slow: map[string]time.Duration{}, settings: map[string]api.Settings{}, profiles: []api.Profile{{Name: "work", Owner: "ann"}},
			statuses: make(chan api.Status), lost: make(chan error), lines: make(chan api.LogLine)},
		vault: &vault{kept: map[string]secrets.Login{}}, browser: &browser{answer: make(chan push.Secret)}}
	cfg := Config{Backend: r.s, Vault: r.vault, Open: r.browser.open, Browse: r.browser.browse, Locales: []string{"C"},
		Read:    func(ctx context.Context, arg string) (source.Source, error) { return source.Read(ctx, nil, arg) },
		Version: api.Version{Version: "1.2.3"},
		Publish: func(s Screen) { r.mu.Lock(); defer r.mu.Unlock(); r.screens = append(r.screens, s) },
		Notify:  func(n Notification) { r.mu.Lock(); defer r.mu.Unlock(); r.notes = append(r.notes, n) },
		Raise:   func() { r.mu.Lock(); defer r.mu.Unlock(); r.raised++ }}
	if edit != nil {
		edit(&cfg, r.s)
	}
	r.m = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.m.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return r
}

// up starts with an empty status.
func up(t *testing.T, edit func(*Config, *service)) *rig {
	t.Helper()
	r := start(t, edit)
	r.status()
	r.s.take()
	return r
}

// status is a snapshot of the service.
func (r *rig) status(connections ...api.Connection) {
	r.t.Helper()
	r.s.statuses <- api.Status{Connections: connections}
	r.wait(100 * time.Millisecond)
}

// wait lets time pass.
func (r *rig) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) do(kind ActionKind, profile string) {
	r.m.Do(Action{kind, profile})
	synctest.Wait()
}

func (r *rig) screen() Screen {
	r.t.Helper()
	synctest.Wait()
	if r.published() == 0 {
		r.t.Fatal("nothing was published")
	}
	r.mu.Lock()
	s := r.screens[len(r.screens)-1]
	r.mu.Unlock()
	checkScreen(r.t, r.t.Name(), s)
	return s
}

func (r *rig) dialog(kind DialogKind) Dialog {
	r.t.Helper()
	d := r.screen().Dialog
	if d == nil {
		r.t.Fatalf("no dialog, want %s", kind)
	}
	if d.Kind != kind {
		r.t.Fatalf("dialog %s, want %s:\n%s", d.Kind, kind, dump(d))
	}
	return *d
}

func (r *rig) noDialog() {
	r.t.Helper()
	if d := r.screen().Dialog; d != nil {
		r.t.Fatalf("a dialog:\n%s", dump(d))
	}
}

func (r *rig) asked(want string) {
	r.t.Helper()
	synctest.Wait()
	if got := r.s.take(); got != want {
		r.t.Fatalf("asked %q, want %q", got, want)
	}
}

// told returns the kinds of the notifications since the last time.
func (r *rig) told(want ...NotificationKind) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []NotificationKind
	for _, n := range r.notes {
		got = append(got, n.Kind)
		if n.Title == "" || n.Text == "" || strings.ContainsAny(n.Title+n.Text, "{}") {
			r.t.Errorf("notification %+v", n)
		}
	}
	r.notes = nil
	if !slices.Equal(got, want) {
		r.t.Errorf("told %q, want %q", got, want)
	}
}

// opens demands that the window was opened so many times since the last time.
func (r *rig) opens(want int) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.raised != want {
		r.t.Errorf("the window was opened %d times, want %d", r.raised, want)
	}
	r.raised = 0
}

// conn is a connection of the profile "work" in a state.
func conn(s api.State, edit ...func(*api.Connection)) api.Connection {
	c := api.Connection{Profile: "work", Owner: "ann", State: s, Since: time.Now(), Guard: "off"}
	for _, f := range edit {
		f(&c)
	}
	return c
}

func login(kind api.LoginKind, edit ...func(*api.Login)) func(*api.Connection) {
	return func(c *api.Connection) {
		l := api.Login{ID: "q1", Kind: kind}
		for _, f := range edit {
			f(&l)
		}
		c.Login = &l
	}
}
