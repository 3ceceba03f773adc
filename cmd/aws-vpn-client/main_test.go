package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/routes"
)

// fake is a service whose profiles are named for how their connections fare. Managed ones are the files of a folder.
type fake struct {
	api.Backend // nil: what is not here is not called
	managed     string
	refusal     error // of Profiles
	policy      string
	problems    []string // that Status shows
	later       string   // one more, once a managed profile was asked for; empty: none

	mu      sync.Mutex
	own     map[string]string // texts of the caller's profiles
	asked   int               // how often for the profiles
	conns   []api.Connection
	changed chan struct{} // closed and replaced at each change
}

// unnamed is the owner of connections: how the service calls an account that it has no name for, while the caller has one (sssd, LDAP).
const unnamed = "61001"

var then = time.Date(2026, 7, 24, 15, 50, 36, 0, time.UTC)

func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func problem(code, name string) error {
	return api.NewProblem(code, map[string]string{"profile": name})
}

func (f *fake) Import(c api.Caller, r api.ImportRequest) (api.Profile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.own[r.Name]; ok {
		return api.Profile{}, problem(api.CodeProfileExists, r.Name)
	}
	f.own[r.Name] = r.Text
	return api.Profile{Name: r.Name}, nil
}

func (f *fake) Profiles(c api.Caller) ([]api.Profile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked++; f.later != "" {
		f.problems, f.later = append(f.problems, f.later), ""
	}
	if f.refusal != nil {
		return nil, f.refusal
	}
	var list []api.Profile
	for name := range f.own {
		list = append(list, api.Profile{Name: name, Owner: c.Name, Auth: "certificate", Imported: then})
	}
	files, _ := filepath.Glob(filepath.Join(f.managed, "*.ovpn"))
	for _, file := range files {
		list = append(list, api.Profile{Name: strings.TrimSuffix(filepath.Base(file), ".ovpn"), Managed: true, Auth: "certificate+browser", Imported: then})
	}
	slices.SortFunc(list, func(a, b api.Profile) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (f *fake) Export(_ api.Caller, name string) (api.ProfileText, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return api.ProfileText{Name: name, Text: f.own[name]}, nil
}

func (f *fake) Remove(_ api.Caller, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.own, name)
	return nil
}

// set replaces or adds a connection; the caller holds the lock.
func (f *fake) set(c api.Connection) {
	f.conns = append(slices.DeleteFunc(slices.Clone(f.conns), func(o api.Connection) bool { return o.Profile == c.Profile }), c)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) Status(api.Caller) api.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := api.Status{Connections: slices.Clone(f.conns)}
	if len(f.problems) > 0 {
		s.Policy = &api.Policy{Problems: slices.Clone(f.problems)}
	}
	if text, err := os.ReadFile(f.policy); err == nil {
		var keys map[string]json.RawMessage
		if json.Unmarshal(text, &keys) == nil {
			s.Policy = &api.Policy{Source: f.policy}
			for name, value := range keys {
				s.Policy.Keys = append(s.Policy.Keys, api.PolicyKey{Name: name, Value: value})
			}
		}
	}
	return s
}

func (f *fake) Watch(ctx context.Context, c api.Caller, send func(api.Status) error) error {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		if err := send(f.Status(c)); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fake) Connect(c api.Caller, r api.ConnectRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.own[r.Profile]; !ok {
		return problem(api.CodeProfileNotFound, r.Profile)
	}
	for _, o := range f.conns {
		if o.Profile == r.Profile && o.State != api.Disconnected && o.State != api.Blocked {
			return problem(api.CodeAlreadyConnected, r.Profile)
		}
	}
	conn := api.Connection{Profile: r.Profile, Owner: unnamed, State: api.Connected, Since: then, Counters: api.Counters{RxBytes: 5, TxBytes: 7, WireRxBytes: 50, WireTxBytes: 70}}
	wrong := api.NewProblem(api.CodePasswordRefused, map[string]string{"what": "user name and password"})
	switch {
	case r.Profile == "down":
		conn.State, conn.Problem = api.Disconnected, api.NewProblem(api.CodeServerUnreachable, map[string]string{"server": "vpn.example:443", "transport": "udp"})
	case r.Profile == "password" && (r.Username != "ann" || r.Password != "hunter2" || r.OTP != "123456"):
		conn.State, conn.Login = api.NeedsLogin, &api.Login{ID: "1", Kind: api.LoginPassword}
		if r.Password != "" {
			conn.Problem = wrong
		}
		if r.Password == "hunter2" {
			conn.Problem, conn.Login.Kind = nil, api.LoginOTP
		}
	case r.Profile == "browser":
		conn.State, conn.Login = api.NeedsLogin, &api.Login{ID: "1", Kind: api.LoginBrowser, URL: "https://idp.example/sign-in"}
	}
	f.set(conn)
	return nil
}

// Answer takes what waits on: ann signs in with her password and a code, or in the browser. Who is asked again has answered wrong.
func (f *fake) Answer(_ api.Caller, a api.Answer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		if c.Profile != a.Profile || c.Login == nil || c.Login.ID != a.ID {
			continue
		}
		login := *c.Login
		login.ID += "+"
		switch c.Problem = nil; {
		case c.Profile == "faster": // than this answer was somebody else's
			c.State, c.Login = api.Connected, nil
			f.set(c)
			return problem(api.CodeQuestionGone, c.Profile)
		case login.Kind == api.LoginAgain && c.Profile == "nobody":
		case login.Kind == api.LoginAgain:
			login.Kind, login.URL = api.LoginBrowser, "https://idp.example/sign-in"
		case login.Kind == api.LoginPassword && a.Username == "ann" && a.Password == "hunter2":
			login.Kind = api.LoginOTP
		case login.Kind == api.LoginOTP && a.Response == "123456":
			c.State, c.Login = api.Connected, nil
			f.set(c)
			return nil
		default:
			c.Problem = api.NewProblem(api.CodePasswordRefused, map[string]string{"what": "user name and password"})
		}
		c.Login = &login
		f.set(c)
		return nil
	}
	return problem(api.CodeQuestionGone, a.Profile)
}

// signIn is the person at the browser.
func (f *fake) signIn(url string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(api.Connection{Profile: "browser", Owner: f.conns[0].Owner, State: api.Connected, Since: then})
	return nil
}

func (f *fake) Disconnect(_ context.Context, _ api.Caller, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.conns)
	f.conns = slices.DeleteFunc(slices.Clone(f.conns), func(c api.Connection) bool { return c.Profile == name })
	if len(f.conns) == before {
		return problem(api.CodeNotConnected, name)
	}
	return nil
}

func (f *fake) Settings(api.Caller, string) (api.Settings, error) { return api.Settings{}, nil }
func (f *fake) Show(_ api.Caller, name string) (api.ProfileText, error) {
	return api.ProfileText{Name: name, Text: "client\n"}, nil
}
func (f *fake) Logs(context.Context, api.Caller, bool, func(api.LogLine) error) error { return nil }
func (f *fake) Version() api.Version                                                  { return api.Version{Version: "v1"} }
func (f *fake) Explain(context.Context, api.Caller, string) (routes.Explanation, error) {
	return routes.Explanation{}, nil
}

// bench is a machine with the fake service.
type bench struct {
	t   *testing.T
	f   *fake
	app *app
	dir string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "adit-") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{t: t, dir: dir, f: &fake{own: map[string]string{}, changed: make(chan struct{})}}
	b.app = &app{socket: filepath.Join(dir, "s"), open: b.f.signIn, zone: time.FixedZone("", -7*60*60), patience: time.Minute, // the zone of AWS's examples
		places: places{profiles: filepath.Join(dir, "adit", "profiles"), policy: filepath.Join(dir, "adit", "policy.json")}}
	b.app.places.set = inFile(b.app.places.policy)
	b.f.managed, b.f.policy = b.app.places.profiles, b.app.places.policy
	l, err := ipc.Listen(b.app.socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := api.NewServer(b.f, func(ipc.Peer) bool { return true }, slog.New(slog.DiscardHandler))
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// run runs one command line.
func (b *bench) run(args ...string) (code int, stdout, stderr string) {
	b.t.Helper()
	var out, errs bytes.Buffer
	b.app.out, b.app.err = &out, &errs
	code = execute(b.t.Context(), args, b.app)
	return code, out.String(), errs.String()
}

// says wants exactly this output, and exit code 0.
func (b *bench) says(want string, args ...string) {
	b.t.Helper()
	if code, out, errs := b.run(args...); code != 0 || out != want {
		b.t.Errorf("%v: %d\n%s%s\nwant\n%s", args, code, out, errs, want)
	}
}

// fails wants AWS's form of an error, and exit code 1.
func (b *bench) fails(message string, args ...string) {
	b.t.Helper()
	code, out, errs := b.run(args...)
	var got struct{ Status, Message string }
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 1 || got.Status != "Error" || !strings.HasPrefix(got.Message, message) {
		b.t.Errorf("%v: %d %q %q\nwant %q", args, code, out, errs, message)
	}
	if want := "{\n  \"status\": \"Error\",\n  \"message\": "; !strings.HasPrefix(out, want) {
		b.t.Errorf("%v prints %q", args, out)
	}
}

func (b *bench) write(name, text string) string {
	b.t.Helper()
	file := filepath.Join(b.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return file
}

// TestUsage: wrong command lines are exit code 2, with nothing on stdout.
func TestUsage(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{
		{}, {"dance"}, {"connect"}, {"connect", "--profile-name"}, {"connect", "--profile-name", "a", "b"}, {"list-profiles", "--x"}, {"import-profile", "--profile-name", "a"},
		{"put-preference", "--key", "max-connections"}, {"get-config"}, {"delete-profile"}, {"disconnect"}, {"get-connection-status"},
	} {
		if code, out, errs := b.run(args...); code != 2 || out != "" || !strings.HasPrefix(errs, "error: ") {
			t.Errorf("%v: %d %q %q", args, code, out, errs)
		}
	}
	for _, args := range [][]string{{"--help"}, {"-h"}, {"help"}, {"help", "connect"}, {"connect", "--help"}} {
		if code, out, _ := b.run(args...); code != 0 || !strings.Contains(out, "aws-vpn-client") {
			t.Errorf("%v: %d %q", args, code, out)
		}
	}
	b.says("aws-vpn-client dev (Adit)\n", "--version")
	b.says("aws-vpn-client dev (Adit)\n", "-V")
}

// TestConversation is AWS's documentation, example by example.
func TestConversation(t *testing.T) {
	b := newBench(t)
	user := me(t)
	config := b.write("work.ovpn", "client\nremote vpn.example 443\nremote-cert-tls server\nauth-user-pass\n<ca>\n"+testCA+"</ca>\n")
	b.says("[]\n", "list-profiles")
	b.says("{\n  \"status\": \"Success\"\n}\n", "import-profile", "--profile-name", "Production-VPN", "--config-path", config)
	b.fails("Failed to read OpenVPN config file: No such file or directory (os error 2)", "import-profile", "--profile-name", "test", "--config-path", "/invalid/path.ovpn")
	b.fails("Failed to read OpenVPN config file: ", "import-profile", "--profile-name", "test", "--config-path", "https://vpn.example/x.ovpn")
	b.fails("a profile Production-VPN exists already", "import-profile", "--profile-name", "Production-VPN", "--config-path", config)
	b.fails("bad.ovpn: line 2: ", "import-profile", "--profile-name", "bad", "--config-path", b.write("bad.ovpn", "client\ndata-ciphers none\n"))
	b.says("[\n  {\n    \"profile-name\": \"Production-VPN\",\n    \"owned-by\": \""+user+"\",\n    \"auth-type\": \"ma\",\n    \"imported-at\": \"2026-07-24T08:50:36-07:00\"\n  }\n]\n", "list-profiles")
	_, text, _ := b.run("get-config", "--profile-name", "Production-VPN")
	if !strings.HasPrefix(text, "client\nremote vpn.example 443\n") {
		t.Errorf("get-config: %s", text)
	}
	b.fails("Profile not found", "get-config", "--profile-name", "nonexistent")

	b.says("{\n  \"connection-status\": \"NotConnected\"\n}\n", "get-connection-status", "--profile-name", "Production-VPN", "--show-details")
	b.says("[]\n", "list-connections")
	b.fails("Profile is not connected", "disconnect", "--profile-name", "Production-VPN")
	b.fails("Profile not found", "disconnect", "--profile-name", "nonexistent")
	b.fails("Profile not found", "connect", "--profile-name", "nonexistent")
	b.says("{\n  \"status\": \"Connected\"\n}\n", "connect", "--profile-name", "Production-VPN")
	b.fails("Already connected to profile", "connect", "--profile-name", "Production-VPN")
	attempt := "{\n  \"connection-status\": \"Connected\",\n  \"latest-connection-attempt\": {\n    \"initiated-by\": \"" + unnamed + "\",\n    \"updated-at\": \"2026-07-24T08:50:36-07:00\""
	b.says(attempt+"\n  }\n}\n", "get-connection-status", "--profile-name", "Production-VPN")
	b.says(attempt+",\n    \"details\": {\n      \"tunnel-bytes-in\": 5,\n      \"tunnel-bytes-out\": 7,\n      \"transport-bytes-in\": 50,\n      \"transport-bytes-out\": 70\n    }\n  }\n}\n",
		"get-connection-status", "--profile-name", "Production-VPN", "--show-details")
	b.fails("Profile not found", "get-connection-status", "--profile-name", "nonexistent")
	b.says("[\n  {\n    \"profile-name\": \"Production-VPN\",\n    \"initiated-by\": \""+unnamed+"\",\n    \"connection-status\": \"Connected\",\n    \"last-updated-at\": \"2026-07-24T08:50:36-07:00\"\n  }\n]\n", "list-connections")
	b.says("", "disconnect", "--profile-name", "Production-VPN")
	b.says("", "delete-profile", "--profile-name", "Production-VPN")
	b.fails("Profile not found", "delete-profile", "--profile-name", "Production-VPN")
}

// TestSignIn: what connect gives to a server, and what it does when that is not enough. A failed one leaves no wish.
func TestSignIn(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"password", "browser", "down"} {
		b.f.own[name] = "client\n"
	}
	connect := func(name, text string) []string {
		if text == "" {
			return []string{"connect", "--profile-name", name}
		}
		return []string{"connect", "--profile-name", name, "--auth-user-pass", b.write("auth", text)}
	}
	b.fails("no answer from vpn.example:443 over udp", connect("down", "")...)
	b.fails("the profile needs a user name and a password: give a file with them with --auth-user-pass", connect("password", "")...)
	b.fails("the server did not accept", connect("password", "ann\nwrong\n")...)
	b.fails("the server asks for a one-time code: give it as the third line", connect("password", "ann\nhunter2\n")...)
	b.fails("Failed to read credentials file: its first line", connect("password", "ann\n")...)
	b.fails("Failed to read credentials file: it has more than", connect("password", strings.Repeat("x", maxCredentials+1))...)
	b.fails("Failed to read credentials file: ", "connect", "--profile-name", "password", "--auth-user-pass", filepath.Join(b.dir, "nothing"))
	if len(b.f.conns) != 0 {
		t.Errorf("left: %+v", b.f.conns)
	}
	b.says("{\n  \"status\": \"Connected\"\n}\n", connect("password", "ann\r\nhunter2\r\n123456\r\n")...)
	b.f.conns = nil
	b.says("{\n  \"status\": \"Connected\"\n}\n", connect("browser", "")...)

	// Ctrl-C takes the wish back.
	b.f.conns = nil
	ctx, cancel := context.WithCancel(t.Context())
	b.app.open = func(string) error { cancel(); return nil }
	var out bytes.Buffer
	b.app.out = &out
	if code := execute(ctx, connect("browser", ""), b.app); code != 1 || !strings.Contains(out.String(), `"message": "interrupted"`) || len(b.f.conns) != 0 {
		t.Errorf("interrupted: %d %s %+v", code, out.String(), b.f.conns)
	}
}

// TestWaitsAlready: connect goes on with what waits for a sign-in, as after a night of sleep, and takes nothing back that
// was not its own.
func TestWaitsAlready(t *testing.T) {
	for _, tc := range []struct {
		name, profile, credentials string
		state                      api.State
		kind                       api.LoginKind
		problem                    string // of the connection when connect comes
		want                       string // an error; empty: it connects
	}{
		{name: "in the browser", profile: "browser", state: api.NeedsLogin, kind: api.LoginBrowser},
		{name: "until somebody is here", profile: "browser", state: api.NeedsLogin, kind: api.LoginAgain},
		{name: "somebody else is faster", profile: "faster", state: api.NeedsLogin, kind: api.LoginAgain},
		{name: "and nobody is here", profile: "nobody", state: api.NeedsLogin, kind: api.LoginAgain, want: "nobody has signed in"},
		{name: "for a password", profile: "password", state: api.NeedsLogin, kind: api.LoginPassword, credentials: "ann\nhunter2\n123456\n"},
		{name: "after a refusal", profile: "password", state: api.NeedsLogin, kind: api.LoginPassword, problem: api.CodePasswordRefused, credentials: "ann\nhunter2\n123456\n"},
		{name: "for a code", profile: "password", state: api.NeedsLogin, kind: api.LoginOTP, credentials: "ann\nhunter2\n123456\n"},
		{name: "without a password", profile: "password", state: api.NeedsLogin, kind: api.LoginPassword, want: "the profile needs a user name and a password"},
		{name: "with a wrong one", profile: "password", state: api.NeedsLogin, kind: api.LoginPassword, credentials: "ann\nwrong\n", want: "the server did not accept"},
		{name: "without a code", profile: "password", state: api.NeedsLogin, kind: api.LoginPassword, credentials: "ann\nhunter2\n", want: "the server asks for a one-time code"},
		{name: "for another person", profile: "corp", state: api.NeedsLogin, problem: api.CodeAnotherSignsIn, want: "another user of this machine"},
		{name: "it is up", profile: "up", state: api.Connected, want: "Already connected to profile"},
		{name: "it tries", profile: "down", state: api.Reconnecting, want: "Profile is not connected after 50ms; it goes on trying"},
	} {
		b := newBench(t)
		if tc.state == api.Reconnecting {
			b.app.patience = 50 * time.Millisecond
		}
		b.f.own[tc.profile] = "client\n"
		conn := api.Connection{Profile: tc.profile, Owner: unnamed, State: tc.state}
		if tc.kind != "" {
			conn.Login = &api.Login{ID: "1", Kind: tc.kind, URL: "https://idp.example/sign-in"}
		}
		if tc.problem != "" {
			conn.Problem = api.NewProblem(tc.problem, map[string]string{"profile": tc.profile, "what": "user name and password"})
		}
		b.f.conns = []api.Connection{conn}
		args := []string{"connect", "--profile-name", tc.profile}
		if tc.credentials != "" {
			args = append(args, "--auth-user-pass", b.write("auth", tc.credentials))
		}
		code, out, _ := b.run(args...)
		if tc.want == "" && (code != 0 || out != "{\n  \"status\": \"Connected\"\n}\n") || tc.want != "" && (code != 1 || !strings.Contains(out, tc.want)) {
			t.Errorf("%s: %d %s, want %q", tc.name, code, out, tc.want)
		}
		if len(b.f.conns) != 1 {
			t.Errorf("%s: it was taken back", tc.name)
		}
	}
}

func TestStates(t *testing.T) {
	for s, want := range map[api.State]string{
		api.Disconnected: "NotConnected", api.Connecting: "Connecting", api.NeedsLogin: "WaitingForIdentity", api.Connected: "Connected",
		api.Reconnecting: "Reconnecting", api.Disconnecting: "Disconnecting", api.Blocked: "NotConnected",
	} {
		if got := stateName(s); got != want {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
	}
	for kind, want := range map[string]string{"certificate": "ma", "password": "ad", "browser": "saml", "certificate+password": "ma+ad"} {
		if got := authType(kind); got != want {
			t.Errorf("%s is %s, want %s", kind, got, want)
		}
	}
}

// TestGlobal: the administrator's profiles, and the preferences.
func TestGlobal(t *testing.T) {
	b := newBench(t)
	config := b.write("corp.ovpn", "client\nremote vpn.example 443\nremote-cert-tls server\nauth-user-pass\nca ca.crt\n")
	b.write("ca.crt", testCA)
	success := "{\n  \"status\": \"Success\"\n}\n"
	b.says(success, "import-profile", "--profile-name", "Corp", "--config-path", config, "--global")
	info, err := os.Stat(filepath.Join(b.app.places.profiles, "Corp.ovpn"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	b.says("[\n  {\n    \"profile-name\": \"Corp\",\n    \"auth-type\": \"ma+saml\",\n    \"imported-at\": \"2026-07-24T08:50:36-07:00\"\n  }\n]\n", "list-profiles")
	if _, out, _ := b.run("get-config", "--profile-name", "Corp"); !strings.Contains(out, "<ca>\n-----BEGIN CERTIFICATE-----") {
		t.Errorf("get-config: %s", out)
	}
	b.fails("a profile Corp exists already", "import-profile", "--profile-name", "Corp", "--config-path", config, "--global")
	for _, name := range []string{"../x", "", ".hidden", `a\b`, "a\nb"} {
		b.fails("", "import-profile", "--profile-name", name, "--config-path", config, "--global")
	}
	b.says("", "delete-profile", "--profile-name", "Corp")
	b.says("[]\n", "list-profiles")
	if err := forAdministrators(&os.PathError{Op: "open", Err: os.ErrPermission}); err != errNotAdmin {
		t.Errorf("without rights: %v", err)
	}

	b.says("{\n  \"enable-telemetry\": false,\n  \"enable-user-profile-management\": true,\n  \"max-connections\": 5\n}\n", "list-preferences")
	b.says("", "put-preference", "--key", "max-connections", "--value", "2")
	b.says("", "put-preference", "--key", "enable-user-profile-management", "--value", "false")
	b.says("", "put-preference", "--key", "enable-telemetry", "--value", "true")
	b.says("{\n  \"enable-telemetry\": false,\n  \"enable-user-profile-management\": false,\n  \"max-connections\": 2\n}\n", "list-preferences")
	if text, err := os.ReadFile(b.app.places.policy); err != nil || string(text) != "{\n  \"MaxConnections\": 2,\n  \"AllowUserProfiles\": false\n}\n" {
		t.Errorf("%s, %v", text, err)
	}
	for _, wrong := range [][2]string{{"max-connections", "8"}, {"max-connections", "0"}, {"max-connections", "x"}, {"enable-telemetry", "1"}, {"enable-user-profile-management", "no"}} {
		b.fails("Preference value is invalid", "put-preference", "--key", wrong[0], "--value", wrong[1])
	}
	b.fails("Preference key is invalid", "put-preference", "--key", "colour", "--value", "true")
	b.fails("Preference key is invalid", "put-preference", "--key", "colour", "--value", "red")
	if err := os.WriteFile(b.app.places.policy, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.fails(b.app.places.policy+": it is not a JSON object", "put-preference", "--key", "max-connections", "--value", "2")
	// A service with a policy of its own.
	own := filepath.Join(b.dir, "own.json")
	if err := os.WriteFile(own, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.f.policy = own
	b.fails("the policy of this machine is in "+own+": set MaxConnections there", "put-preference", "--key", "max-connections", "--value", "2")
}

func TestDiagnostics(t *testing.T) {
	b := newBench(t)
	t.Chdir(b.dir)
	code, out, errs := b.run("send-diagnostic-logs")
	var answer map[string]string
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != 0 || !filepath.IsAbs(answer["reference-id"]) || !strings.Contains(errs, "nothing was sent") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	z, err := zip.OpenReader(answer["reference-id"])
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if len(z.File) < 3 {
		t.Errorf("%d files in it", len(z.File))
	}
}

func TestNoService(t *testing.T) {
	b := newBench(t)
	b.app.socket += "x"
	b.fails("cannot reach the service at ", "list-profiles")
	b.fails("cannot reach the service at ", "connect", "--profile-name", "x")
	if _, _, errs := b.run("list-profiles"); !strings.HasPrefix(errs, "hint: ") {
		t.Errorf("no hint: %q", errs)
	}
	// What the administrator decides counts when the service starts.
	if _, _, errs := b.run("put-preference", "--key", "max-connections", "--value", "3"); !strings.Contains(errs, "this counts when it starts") {
		t.Errorf("%q", errs)
	}
}

func TestWithKey(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                          "{\n  \"K\": 1\n}\n",
		`{"b":[1, 2],"K":"x","a":{}}`: "{\n  \"b\": [\n    1,\n    2\n  ],\n  \"K\": 1,\n  \"a\": {}\n}\n",
		`[]`:                          "", `{"a":1,"a":2}`: "", `{} {}`: "", `{"a":1}}`: "", `{} x`: "", `{"a"`: "", ``: "", `{"a":1`: "",
	} {
		if got, err := withKey([]byte(text), "K", 1); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

// TestSetPolicy: whoever sets a key keeps those of others, and who may read the file.
func TestSetPolicy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := setPolicy(file, fmt.Sprint(i), i); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var keys map[string]int
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &keys) != nil || len(keys) != 20 {
		t.Errorf("%s, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestRefusedGlobal: what the service does not take is not left where it would be in the way.
func TestRefusedGlobal(t *testing.T) {
	b := newBench(t)
	good := "client\nremote vpn.example 443\nremote-cert-tls server\nauth-user-pass\n<ca>\n" + testCA + "</ca>\n"
	file := filepath.Join(b.app.places.profiles, "Corp.ovpn")
	add := func(text string) []string {
		return []string{"import-profile", "--profile-name", "Corp", "--config-path", b.write("corp.ovpn", text), "--global"}
	}
	b.fails("", add(strings.Replace(good, "remote vpn", "dev tap\nremote vpn", 1))...)
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a profile with tap: %v", err)
	}
	b.f.refusal = problem(api.CodeInternal, "")
	b.fails("", add(good)...)
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a profile that the service refuses: %v", err)
	}
	b.f.refusal = nil
	// What the service says against it is found at once, but not what it has said before.
	b.f.managed, b.f.problems = filepath.Join(b.dir, "elsewhere"), []string{"profiles/Corp.ovpn: an old one"}
	b.f.later = "profiles/Corp.ovpn: " + good[:6] + ": not trusted"
	b.f.asked = 0
	b.fails("profiles/Corp.ovpn: client: not trusted", add(good)...)
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) || b.f.asked > 5 {
		t.Errorf("a profile with a problem, after %d questions: %v", b.f.asked, err)
	}
	for _, name := range []string{"!", "a:b", strings.Repeat("x", 65)} {
		b.f.asked = 0
		b.fails(fmt.Sprintf("%q cannot be a profile's name", name), "import-profile", "--profile-name", name, "--config-path", b.write("corp.ovpn", good), "--global")
		if b.f.asked > 0 {
			t.Errorf("the service was asked for %q", name)
		}
	}
	b.f.managed, b.f.problems = b.app.places.profiles, nil
	b.says("{\n  \"status\": \"Success\"\n}\n", add(good)...)
	// One that somebody else left there, and that the service does not show.
	b.f.managed = filepath.Join(b.dir, "elsewhere")
	b.says("", "delete-profile", "--profile-name", "Corp")
	b.fails("Profile not found", "delete-profile", "--profile-name", "Corp")
	b.fails("Profile not found", "delete-profile", "--profile-name", "../adit/profiles/Corp")
}

// TestHints: they name no flag of another program, unless they name the program.
func TestHints(t *testing.T) {
	flag := regexp.MustCompile(`--[a-z-]+`)
	for _, code := range api.Codes() {
		_, hint, _ := api.Template(code)
		for line := range strings.Lines(hint) {
			line = here.Replace(line)
			if at := flag.FindStringIndex(line); at != nil && line[at[0]:at[1]] != "--profile-name" && !strings.Contains(line[:at[0]], ": adit") {
				t.Errorf("%s: %s", code, line)
			}
		}
	}
	b := newBench(t)
	b.f.own["a"] = "client\n"
	config := b.write("a.ovpn", "client\nremote vpn.example 443\nremote-cert-tls server\nauth-user-pass\n<ca>\n"+testCA+"</ca>\n")
	if _, _, errs := b.run("import-profile", "--profile-name", "a", "--config-path", config); errs != "hint: choose another --profile-name, or remove it first with: aws-vpn-client delete-profile\n" {
		t.Errorf("%q", errs)
	}
}

// FuzzWithKey: the other keys keep their values.
func FuzzWithKey(f *testing.F) {
	f.Add([]byte(`{"AllowUserProfiles": true, "Guard": "auto"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := withKey(text, "K", 1)
		if err != nil {
			return
		}
		var before, after map[string]any
		if err := json.Unmarshal(text, &before); err != nil {
			t.Fatalf("it took %q: %v", text, err)
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("it made %q: %v", out, err)
		}
		if before["K"] = 1.0; !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q", text, out)
		}
	})
}

// testCA is a certificate that nobody has the key of.
const testCA = `-----BEGIN CERTIFICATE-----
MIIBaDCCAQ6gAwIBAgIBATAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdUZXN0IENB
MCAXDTI2MTEyMzExMDg1MloYDzIxMjYxMDMwMTEwODUyWjASMRAwDgYDVQQDDAdU
ZXN0IENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBSp95uiNCic4fswI69hs
/0XSS4vqlDeMUCipqe+lLJ4CZce2uCS1nxS+HN4P0J9h3HcB1V8zqV5hiV1VIIGJ
P6NTMFEwHQYDVR0OBBYEFIIvLpdWvD2PIDvRQeFj17pu+iFjMB8GA1UdIwQYMBaA
FIIvLpdWvD2PIDvRQeFj17pu+iFjMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0E
AwIDSAAwRQIgeKL4/lDK3o1D+wT5S0VXzavtpT1+FRkGC9EWBE6uG7UCIQCaqq/A
7sl8lfzlGf4s9pm+rQVVDVGM1brvZqnHx+IgTQ==
-----END CERTIFICATE-----
`
