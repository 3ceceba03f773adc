//go:build linux || darwin

package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/routes"
)

// fake is a Backend that notes what it is asked and answers from its fields.
type fake struct {
	mu    sync.Mutex
	calls []any
	err   error
	// changes feeds Watch after the first snapshot.
	changes chan api.Status
}

func (f *fake) note(call ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = call
	if f.err != nil && f.err.Error() == "panic" {
		panic("a bug with password hunter2")
	}
	return f.err
}

func (f *fake) last() []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *fake) Status(c api.Caller) api.Status {
	f.note("Status", c)
	return api.Status{Sequence: 7}
}

func (f *fake) Watch(ctx context.Context, c api.Caller, send func(api.Status) error) error {
	if err := f.note("Watch", c); err != nil {
		return err
	}
	s := api.Status{Sequence: 1}
	for {
		if err := send(s); err != nil {
			return err
		}
		select {
		case s = <-f.changes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fake) Import(_ api.Caller, r api.ImportRequest) (api.Profile, error) {
	return api.Profile{Name: r.Name, Remotes: []string{"vpn:1194/udp"}}, f.note("Import", r)
}
func (f *fake) Profiles(api.Caller) ([]api.Profile, error) { return nil, f.note("Profiles") }
func (f *fake) Show(_ api.Caller, n string) (api.ProfileText, error) {
	return api.ProfileText{Name: n, Text: "[redacted]"}, f.note("Show", n)
}
func (f *fake) Export(_ api.Caller, n string) (api.ProfileText, error) {
	return api.ProfileText{Name: n, Text: "key"}, f.note("Export", n)
}
func (f *fake) Rename(_ api.Caller, n, to string) error { return f.note("Rename", n, to) }
func (f *fake) Remove(_ api.Caller, n string) error     { return f.note("Remove", n) }
func (f *fake) Settings(_ api.Caller, n string) (api.Settings, error) {
	return api.Settings{Guard: "auto"}, f.note("Settings", n)
}
func (f *fake) Set(_ api.Caller, n string, ch []string) (api.Settings, error) {
	return api.Settings{Guard: "off"}, f.note("Set", n, ch)
}
func (f *fake) Connect(_ api.Caller, r api.ConnectRequest) error { return f.note("Connect", r) }
func (f *fake) Answer(_ api.Caller, a api.Answer) error          { return f.note("Answer", a) }
func (f *fake) Disconnect(_ context.Context, _ api.Caller, n string) error {
	return f.note("Disconnect", n)
}
func (f *fake) Explain(_ context.Context, _ api.Caller, d string) (routes.Explanation, error) {
	return routes.Explanation{Way: "tunnel", Device: "tun0"}, f.note("Explain", d)
}
func (f *fake) Logs(_ context.Context, _ api.Caller, follow bool, send func(api.LogLine) error) error {
	if err := f.note("Logs", follow); err != nil {
		return err
	}
	return errors.Join(send(api.LogLine{Text: "one"}), send(api.LogLine{Text: "two"}))
}
func (f *fake) Version() api.Version { return api.Version{Version: "1.2.3"} }

// serve runs a server on a temporary socket; the returned stop waits for its end.
func serve(t *testing.T, server *api.LocalServer) (socket string, stop func() error) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := ipc.Listen(socket, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return socket, stop
}

func start(t *testing.T) (*fake, *api.Client, func() error) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) }) // runs last
	f := &fake{changes: make(chan api.Status)}
	socket, stop := serve(t, api.NewServer(f, everybody, slog.New(slog.DiscardHandler)))
	c := api.NewClient(socket)
	t.Cleanup(c.Close)
	return f, c, stop
}

func TestEveryMethodGoesThrough(t *testing.T) {
	f, c, _ := start(t)
	ctx := t.Context()
	check := func(err error, want ...any) {
		t.Helper()
		if err != nil {
			t.Errorf("%v: %v", want, err)
		}
		if got := f.last(); !reflect.DeepEqual(got, want) {
			t.Errorf("backend saw %v, want %v", got, want)
		}
	}
	status, err := c.Status(ctx)
	me := api.Caller{Account: ipc.Account(strconv.Itoa(os.Getuid())), Name: f.last()[1].(api.Caller).Name, Root: os.Getuid() == 0, Member: true, Person: true}
	check(err, "Status", me)
	if status.Sequence != 7 || me.Name == "" {
		t.Errorf("status %+v, caller %+v", status, me)
	}
	odd := "a/../b ?&=\"é%2F"
	req := api.ImportRequest{Name: odd, Text: "client\n<ca>\n", Replace: true}
	profile, err := c.Import(ctx, req)
	check(err, "Import", req)
	if profile.Name != odd || len(profile.Remotes) != 1 {
		t.Errorf("profile %+v", profile)
	}
	profiles, err := c.Profiles(ctx)
	check(err, "Profiles")
	if profiles == nil || len(profiles) != 0 {
		t.Errorf("profiles %#v, want an empty list", profiles)
	}
	text, err := c.Show(ctx, odd)
	check(err, "Show", odd)
	if text.Text != "[redacted]" {
		t.Errorf("show %+v", text)
	}
	text, err = c.Export(ctx, odd)
	check(err, "Export", odd)
	if text.Text != "key" {
		t.Errorf("export %+v", text)
	}
	check(c.Rename(ctx, odd, "b"), "Rename", odd, "b")
	check(c.Remove(ctx, odd), "Remove", odd)
	settings, err := c.Settings(ctx, odd)
	check(err, "Settings", odd)
	if settings.Guard != "auto" {
		t.Errorf("settings %+v", settings)
	}
	settings, err = c.Set(ctx, odd, []string{"guard=off", "route+=10.0.0.0/8"})
	check(err, "Set", odd, []string{"guard=off", "route+=10.0.0.0/8"})
	if settings.Guard != "off" {
		t.Errorf("settings %+v", settings)
	}
	connect := api.ConnectRequest{Profile: odd, Timeout: 1500 * time.Millisecond}
	check(c.Connect(ctx, connect), "Connect", connect)
	check(c.Disconnect(ctx, ""), "Disconnect", "")
	why, err := c.Explain(ctx, "10.0.0.1")
	check(err, "Explain", "10.0.0.1")
	if why.Way != "tunnel" || why.Device != "tun0" {
		t.Errorf("explanation %+v", why)
	}
	var lines []string
	err = c.Logs(ctx, true, func(l api.LogLine) error { lines = append(lines, l.Text); return nil })
	check(err, "Logs", true)
	if !reflect.DeepEqual(lines, []string{"one", "two"}) {
		t.Errorf("log lines %v", lines)
	}
	version, err := c.Version(ctx)
	if err != nil || version.Version != "1.2.3" {
		t.Errorf("version %+v, %v", version, err)
	}
}

func TestProblemsArrive(t *testing.T) {
	f, c, _ := start(t)
	f.err = api.NewProblem(api.CodeProfileNotFound, map[string]string{"profile": "work"})
	_, err := c.Show(t.Context(), "work")
	var p *api.Problem
	if !errors.As(err, &p) || !reflect.DeepEqual(p, f.err) {
		t.Errorf("got %#v, want %#v", err, f.err)
	}
	if err := c.Watch(t.Context(), func(api.Status) error { return nil }); !api.IsCode(err, api.CodeProfileNotFound) {
		t.Errorf("watch: %v", err)
	}
}

func TestUnexpectedErrorsAndPanicsTellNothing(t *testing.T) {
	f, c, _ := start(t)
	for _, text := range []string{"open /secret/hunter2: no", "panic"} {
		f.err = errors.New(text)
		_, err := c.Show(t.Context(), "work")
		if !api.IsCode(err, api.CodeInternal) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", text, err)
		}
	}
	f.err = nil
	if _, err := c.Show(t.Context(), "work"); err != nil {
		t.Errorf("after a panic the server says %v", err)
	}
}

func TestWatchSeesChangesAndEnds(t *testing.T) {
	f, c, stop := start(t)
	enough := errors.New("enough")
	var seen []uint64
	err := c.Watch(t.Context(), func(s api.Status) error {
		seen = append(seen, s.Sequence)
		if s.Sequence == 3 {
			return enough
		}
		f.changes <- api.Status{Sequence: s.Sequence + 1}
		return nil
	})
	if !errors.Is(err, enough) || !reflect.DeepEqual(seen, []uint64{1, 2, 3}) {
		t.Errorf("saw %v, ended with %v", seen, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Watch(ctx, func(api.Status) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled watch: %v", err)
	}

	// A server that stops lets its watchers go, with the reason.
	err = c.Watch(t.Context(), func(api.Status) error { go stop(); return nil })
	if !api.IsCode(err, api.CodeServiceStopping) {
		t.Errorf("watch over the server's end: %v", err)
	}
	if _, err := c.Status(t.Context()); !api.IsCode(err, api.CodeServiceUnreachable) {
		t.Errorf("status after the end: %v", err)
	}
}

func TestServiceUnreachable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for socket, detail := range map[string]string{
		filepath.Join(dir, "none"):     "it is not running",
		file:                           "it is not running", // ECONNREFUSED
		dir + strings.Repeat("/x", 99): "sockets allow",
	} {
		_, err := api.NewClient(socket).Status(t.Context())
		var p *api.Problem
		if !errors.As(err, &p) || p.Code != api.CodeServiceUnreachable {
			t.Errorf("%s: %v", socket, err)
			continue
		}
		if !strings.Contains(p.Message, detail) || !strings.Contains(p.Hint, "start the service with: sudo aditd") {
			t.Errorf("%s: message %q, hint %q", socket, p.Message, p.Hint)
		}
	}
}

func TestSomethingElseAnswers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			w.Write([]byte("<html>"))
			return
		}
		http.NotFound(w, r)
	})}
	done := make(chan error, 1)
	go func() { done <- other.Serve(l) }()
	defer func() { other.Close(); <-done }()
	c := api.NewClient(socket)
	defer c.Close()
	if _, err := c.Status(t.Context()); !api.IsCode(err, api.CodeServiceUnreachable) || !strings.Contains(err.Error(), "expected form") {
		t.Errorf("status: %v", err)
	}
	if _, err := c.Version(t.Context()); !api.IsCode(err, api.CodeServiceUnreachable) || !strings.Contains(err.Error(), "404") {
		t.Errorf("version: %v", err)
	}
}

// TestViewServer: a tunnel in the user's own process can only be looked at.
func TestViewServer(t *testing.T) {
	f := &fake{}
	socket, _ := serve(t, api.NewViewServer(f, slog.New(slog.DiscardHandler)))
	c := api.NewClient(socket)
	defer c.Close()
	if s, err := c.Status(t.Context()); err != nil || s.Sequence != 7 {
		t.Errorf("status: %+v, %v", s, err)
	}
	if _, err := c.Explain(t.Context(), "10.0.0.1"); err != nil {
		t.Errorf("explain: %v", err)
	}
	for name, err := range map[string]error{
		"disconnect": c.Disconnect(t.Context(), ""),
		"remove":     c.Remove(t.Context(), "x"),
		"logs":       c.Logs(t.Context(), false, func(api.LogLine) error { return nil }),
	} {
		if !api.IsCode(err, api.CodeNotPermitted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStatusShape holds the JSON to the promised text, byte for byte.
func TestStatusShape(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	full := api.Connection{
		Profile: "work", Owner: "ann", State: api.Connected, Since: when,
		Server:     api.Server{Name: "vpn.example.com", Address: "192.0.2.1", Port: 443, Transport: "udp"},
		Tunnel:     api.Tunnel{Device: "tun0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.64.0.2/27")}, MTU: 1500},
		Protection: api.Protection{TLS: "TLS 1.3", Control: "tls-crypt", Data: "AES-256-GCM"},
		FullTunnel: true,
		Routes:     []api.Route{{Destination: netip.MustParsePrefix("0.0.0.0/1"), Via: "tun0", Reason: "all traffic"}},
		DNS:        api.DNS{Servers: []string{"10.0.0.2"}, Search: []string{"corp.test"}, Split: []string{"corp.test"}},
		Counters:   api.Counters{RxBytes: 1, TxBytes: 2, RxPackets: 3, TxPackets: 4, WireRxBytes: 5, WireTxBytes: 6},
		Guard:      "auto", GuardClosed: true,
		Login: &api.Login{ID: "q1", Kind: api.LoginOTP, Prompt: "Code", Echo: true, URL: "https://idp", Deadline: when,
			User: "ann", NeedUser: true, Challenge: "PIN", ChallengeEcho: true, Callback: 35001},
		Banner: "Welcome", SessionEnds: &when, CertificateExpires: &when,
		Problem: api.NewProblem(api.CodeProfileNotFound, map[string]string{"profile": "x"}),
	}
	got, err := json.MarshalIndent(api.Status{Sequence: 5, Connections: []api.Connection{full, {Problem: &api.Problem{}}}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got)+"\n" != string(want) {
		t.Errorf("status is\n%s\nwant\n%s", got, want)
	}
	if got, _ := json.Marshal(api.Status{}); string(got) != `{"sequence":0,"connections":[]}` {
		t.Errorf("empty status is %s", got)
	}
}

// everybody counts as a member, so that the tests need no group.
func everybody(ipc.Peer) bool { return true }
