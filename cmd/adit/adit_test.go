package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/routes"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"adit": main})
}

// TestScripts runs testdata/*.txt, which read like a manual. Beside adit they may use:
//
//	service [MODE]   start a service on $ADIT_SOCKET; MODE is how connections fare:
//	                 up (default), refused, ended, stuck, login, otp, browser, wait
//	pki              write ca.crt, client.crt, client.key and expired.crt
//	keyring          a keychain of the script's own, unlocked (GNOME Keyring)
//	release VERSION  write a signed manifest.json, and release.pub; also altered, expired
//	hostile DIR      write the profiles of hostile_test.go, check and import each
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// The work directory's path may be too long for a socket.
			dir, err := os.MkdirTemp("", "adit-")
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(dir) })
			env.Setenv("ADIT_SOCKET", filepath.Join(dir, "s"))
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")) // else each program waits a second at its end
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"service": startService,
			"pki":     writePKI,
			"release": writeRelease,
			"hostile": runHostile,
			"keyring": startKeyring,
		},
	})
}

// startKeyring runs a session bus with a keyring on it until the script ends.
func startKeyring(ts *testscript.TestScript, _ bool, _ []string) {
	dir := filepath.Dir(ts.Getenv("ADIT_SOCKET")) // short: sockets are in it
	config := filepath.Join(dir, "bus.conf")
	ts.Check(os.WriteFile(config, []byte(`<busconfig><type>session</type><listen>unix:path=`+dir+`/bus</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`), 0o600))
	address := "unix:path=" + dir + "/bus"
	start := func(stdin, name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS="+address, "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_RUNTIME_DIR="+dir,
			"XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "DISPLAY=", "WAYLAND_DISPLAY=")
		ts.Check(cmd.Start())
		ts.Defer(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	await := func(ready func(*dbus.Conn) bool) {
		for range 300 {
			if conn, err := dbus.Connect(address); err == nil {
				ok := ready(conn)
				conn.Close()
				if ok {
					return
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		ts.Fatalf("the keyring did not start")
	}
	start("", "dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile")
	await(func(*dbus.Conn) bool { return true })
	start("unlock it", "gnome-keyring-daemon", "--unlock", "--components=secrets", "--foreground")
	await(func(conn *dbus.Conn) (there bool) {
		return conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&there) == nil && there
	})
	ts.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
}

func startService(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: service [up|refused|ended|stuck|login|otp|browser|wait]")
	}
	mode := "up"
	if len(args) == 1 {
		mode = args[0]
	}
	l, err := ipc.Listen(ts.Getenv("ADIT_SOCKET"), 0o600)
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := api.NewServer(newFakeService(mode), everybody, slog.New(slog.DiscardHandler))
	go func() { done <- s.Serve(ctx, l) }()
	ts.Defer(func() { cancel(); ts.Check(<-done) })
}

// fakeService keeps profiles in memory; connections fare as mode says.
type fakeService struct {
	mode string

	mu       sync.Mutex
	status   api.Status
	changed  chan struct{} // closed and replaced at each change
	profiles []api.Profile
	texts    map[string]string
	settings map[string]api.Settings
	log      []api.LogLine
}

func newFakeService(mode string) *fakeService {
	return &fakeService{mode: mode, changed: make(chan struct{}), texts: map[string]string{}, settings: map[string]api.Settings{}}
}

// unnamed is the owner of connections: how the service calls an account that it has no name for, while the caller has one (sssd, LDAP).
const unnamed = "61001"

var then = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func notFound(name string) error {
	return api.NewProblem(api.CodeProfileNotFound, map[string]string{"profile": name})
}

func (f *fakeService) set(c ...api.Connection) {
	f.status.Sequence++
	f.status.Connections = c
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeService) Status(api.Caller) api.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fakeService) Watch(ctx context.Context, c api.Caller, send func(api.Status) error) error {
	for {
		f.mu.Lock()
		s, changed := f.status, f.changed
		f.mu.Unlock()
		if err := send(s); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fakeService) Import(c api.Caller, r api.ImportRequest) (api.Profile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.ContainsAny(r.Name, "/\n") {
		return api.Profile{}, api.NewProblem(api.CodeProfileNameInvalid, map[string]string{"profile": r.Name})
	}
	if _, ok := f.texts[r.Name]; ok && !r.Replace {
		return api.Profile{}, api.NewProblem(api.CodeProfileExists, map[string]string{"profile": r.Name})
	}
	expires := time.Date(2036, 5, 6, 0, 0, 0, 0, time.UTC)
	p := api.Profile{Name: r.Name, Owner: c.Name, Remotes: []string{"vpn.example.com:1194/udp", "b:1194/udp"}, Auth: "certificate",
		Expires: &expires, Imported: then, State: api.Disconnected, Notes: []string{"line 4: up is ignored: adit runs no scripts"}}
	f.profiles = append(slices.DeleteFunc(f.profiles, func(p api.Profile) bool { return p.Name == r.Name }), p)
	f.texts[r.Name] = r.Text
	if _, ok := f.settings[r.Name]; !ok {
		f.settings[r.Name] = api.Settings{Guard: "auto"}
	}
	return p, nil
}

func (f *fakeService) Profiles(api.Caller) ([]api.Profile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.profiles), nil
}

func (f *fakeService) Show(_ api.Caller, name string) (api.ProfileText, error) {
	text, err := f.Export(api.Caller{}, name)
	if before, _, found := strings.Cut(text.Text, "<key>"); found {
		text.Text = before + "<key>\n[redacted]\n</key>\n"
	}
	return text, err
}

func (f *fakeService) Export(_ api.Caller, name string) (api.ProfileText, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok := f.texts[name]
	if !ok {
		return api.ProfileText{}, notFound(name)
	}
	return api.ProfileText{Name: name, Text: text}, nil
}

func (f *fakeService) Rename(_ api.Caller, name, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.profiles, func(p api.Profile) bool { return p.Name == name })
	if i < 0 {
		return notFound(name)
	}
	f.profiles[i].Name, f.texts[to], f.settings[to] = to, f.texts[name], f.settings[name]
	delete(f.texts, name)
	delete(f.settings, name)
	return nil
}

func (f *fakeService) Remove(_ api.Caller, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.profiles)
	f.profiles = slices.DeleteFunc(f.profiles, func(p api.Profile) bool { return p.Name == name })
	if len(f.profiles) == n {
		return notFound(name)
	}
	delete(f.texts, name)
	delete(f.settings, name)
	return nil
}

func (f *fakeService) Settings(_ api.Caller, name string) (api.Settings, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.settings[name]
	if !ok {
		return s, notFound(name)
	}
	return s, nil
}

func (f *fakeService) Set(c api.Caller, name string, changes []string) (api.Settings, error) {
	s, err := f.Settings(c, name)
	for _, change := range changes {
		if p, ok := strings.CutPrefix(change, "route+="); ok {
			s.RouteAdd = append(s.RouteAdd, netip.MustParsePrefix(p))
		} else if g, ok := strings.CutPrefix(change, "guard="); ok {
			s.Guard = g
			defer f.lock(name, g == "lockdown")
		} else if on, ok := strings.CutPrefix(change, "save_password="); ok {
			s.SavePassword = on == "true"
		} else {
			return s, api.NewProblem(api.CodeSettingInvalid, map[string]string{"setting": change, "detail": "there is none of that name"})
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settings[name] = s
	return s, err
}

// lock makes the guard of a profile without a tunnel close in lockdown, and open else.
func (f *fakeService) lock(name string, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(f.status.Connections), func(c api.Connection) bool { return c.Profile == name && c.State == api.Blocked })
	if !slices.ContainsFunc(rest, func(c api.Connection) bool { return c.Profile == name }) && closed {
		rest = append(rest, api.Connection{Profile: name, Owner: unnamed, State: api.Blocked, Since: then, Guard: "lockdown", GuardClosed: true})
	}
	f.set(rest...)
}

// Answer takes ann, hunter2 and 123456 where they are asked for.
func (f *fakeService) Answer(_ api.Caller, a api.Answer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, c := range f.status.Connections {
		if c.Profile != a.Profile || c.Login == nil || c.Login.ID != a.ID {
			continue
		}
		l := *c.Login
		good := a.Password == "hunter2" && a.Username == "ann"
		if l.Kind == api.LoginOTP || l.Challenge != "" {
			good = a.Response == "123456" && (l.Kind == api.LoginOTP || good)
		}
		if c.State, c.Login, c.Problem = api.Connected, nil, nil; !good {
			l.ID += "+"
			c.State, c.Login = api.NeedsLogin, &l
			c.Problem = api.NewProblem(api.CodePasswordRefused, map[string]string{"what": "user name and password"})
		}
		all := slices.Clone(f.status.Connections)
		all[i] = c
		f.set(all...)
		return nil
	}
	return api.NewProblem(api.CodeQuestionGone, nil)
}

func (f *fakeService) Connect(c api.Caller, r api.ConnectRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.texts[r.Profile]; !ok {
		return notFound(r.Profile)
	}
	conn := api.Connection{Profile: r.Profile, Owner: unnamed, State: api.Connecting, Since: then, Guard: f.settings[r.Profile].Guard, SavePassword: f.settings[r.Profile].SavePassword,
		Server: api.Server{Name: "vpn.example.com", Address: "192.0.2.1", Port: 1194, Transport: "udp"}}
	f.log = append(f.log, api.LogLine{Time: then, Level: "INFO", Profile: r.Profile, Text: "connecting"})
	switch f.mode {
	case "up":
		for _, old := range f.status.Connections {
			if old.Profile == r.Profile && old.State != api.Blocked {
				return api.NewProblem(api.CodeAlreadyConnected, map[string]string{"profile": r.Profile})
			}
		}
		conn.State = api.Connected
		conn.Tunnel = api.Tunnel{Device: "tun0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.64.0.2/27")}, MTU: 1500}
		conn.Protection = api.Protection{TLS: "TLS 1.3", Control: "tls-crypt-v2, dynamic tls-crypt", Data: "AES-256-GCM epoch keys"}
		conn.Routes = []api.Route{
			{Destination: netip.MustParsePrefix("10.0.0.0/16"), Via: "tun0", Reason: "pushed by the server"},
			{Destination: netip.MustParsePrefix("192.0.2.1/32"), Via: "198.51.100.1 eth0", Reason: "the server's own address"},
		}
		conn.DNS = api.DNS{Servers: []string{"10.0.0.2"}, Search: []string{"corp.test"}}
		conn.Counters = api.Counters{RxBytes: 1_234_567, TxBytes: 890}
		conn.Banner = "Welcome\x1b[31m, all is logged"
	case "refused":
		conn.State = api.Disconnected
		conn.Problem = api.NewProblem(api.CodeServerUnreachable, map[string]string{"server": "vpn.example.com:1194", "transport": "udp"})
	case "ended":
		conn.State, conn.GuardClosed = api.Blocked, true
		conn.Problem = api.NewProblem(api.CodeSessionEnded, map[string]string{"profile": r.Profile})
	case "another": // who has connected it is asked just now
		conn.Managed, conn.State = true, api.NeedsLogin
		conn.Problem = api.NewProblem(api.CodeAnotherSignsIn, map[string]string{"profile": r.Profile})
		f.set(conn)
		return api.NewProblem(api.CodeAlreadyConnected, map[string]string{"profile": r.Profile})
	case "stuck":
		for _, old := range f.status.Connections {
			if old.Profile == r.Profile {
				return api.NewProblem(api.CodeAlreadyConnected, map[string]string{"profile": r.Profile})
			}
		}
		conn.Problem = api.NewProblem(api.CodeServerNameUnknown, map[string]string{"server": "vpn.example.com"})
	case "login", "otp", "browser", "wait":
		for _, old := range f.status.Connections {
			if old.Profile == r.Profile {
				return api.NewProblem(api.CodeAlreadyConnected, map[string]string{"profile": r.Profile})
			}
		}
		conn.State = api.NeedsLogin
		switch f.mode {
		case "login":
			conn.Login = &api.Login{ID: "q", Kind: api.LoginPassword, NeedUser: r.Username == "", User: r.Username}
		case "otp":
			conn.Login = &api.Login{ID: "q", Kind: api.LoginOTP, Prompt: "Enter MFA\x1b[2J code : "}
		case "browser":
			conn.Login = &api.Login{ID: "q", Kind: api.LoginBrowser, URL: "https://idp.example.test/sso?a=b"}
		case "wait":
			conn.Login = &api.Login{ID: "q", Kind: api.LoginWait, Prompt: "Look at your phone"}
		}
		if f.mode == "login" && r.Username == "ann" && r.Password == "hunter2" || f.mode == "otp" && r.OTP == "123456" {
			conn.State, conn.Login = api.Connected, nil
		}
	}
	f.set(append(slices.DeleteFunc(slices.Clone(f.status.Connections), func(c api.Connection) bool { return c.Profile == r.Profile && c.State == api.Blocked }), conn)...)
	return nil
}

func (f *fakeService) Disconnect(_ context.Context, _ api.Caller, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []api.Connection
	found := false
	for _, c := range f.status.Connections {
		if name == "" || c.Profile == name {
			found = true
			if f.settings[c.Profile].Guard != "lockdown" {
				continue
			}
			c = api.Connection{Profile: c.Profile, Owner: c.Owner, State: api.Blocked, Since: then, Guard: "lockdown", GuardClosed: true}
		}
		left = append(left, c)
	}
	if name != "" && !found {
		return api.NewProblem(api.CodeNotConnected, map[string]string{"profile": name})
	}
	f.set(left...)
	return nil
}

func (f *fakeService) Explain(_ context.Context, _ api.Caller, dest string) (routes.Explanation, error) {
	addr, err := netip.ParseAddr(dest)
	if err != nil {
		return routes.Explanation{}, api.NewProblem(api.CodeDestinationInvalid, map[string]string{"destination": dest})
	}
	return routes.Explanation{Destination: addr, Way: "tunnel", Profile: "work", Device: "tun0", Route: netip.MustParsePrefix("10.0.0.0/16"),
		Reason: "pushed by the server", DNS: "names go to 10.0.0.2", Guard: "off", Text: addr.String() + " goes through the tunnel work"}, nil
}

func (f *fakeService) Logs(ctx context.Context, _ api.Caller, follow bool, send func(api.LogLine) error) error {
	f.mu.Lock()
	lines := slices.Clone(f.log)
	f.mu.Unlock()
	for _, l := range lines {
		if err := send(l); err != nil {
			return err
		}
	}
	if follow {
		<-ctx.Done()
	}
	return nil
}

func (f *fakeService) Version() api.Version {
	return api.Version{Version: "v1.2.3", Go: "go1.26", OS: "linux", Arch: "amd64"}
}

// writePKI writes a CA and certificates into the script's directory.
func writePKI(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: pki")
	}
	put := func(name, kind string, der []byte) {
		ts.Check(os.WriteFile(ts.MkAbs(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0)}
	leaf := func(until time.Time) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ann"}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: until}
	}
	sign := func(c *x509.Certificate, public any) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, public, caKey)
		ts.Check(err)
		return der
	}
	put("ca.crt", "CERTIFICATE", sign(ca, &caKey.PublicKey))
	put("client.crt", "CERTIFICATE", sign(leaf(time.Now().AddDate(1, 0, 0)), &key.PublicKey))
	put("expired.crt", "CERTIFICATE", sign(leaf(time.Now().Add(-time.Hour)), &key.PublicKey))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	put("client.key", "PRIVATE KEY", der)
}

func TestFailure(t *testing.T) {
	problem := &api.Problem{Message: "no\x1b[2J way", Hint: "one\ntwo"}
	for _, tc := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{errors.New("boom"), 1, "adit: boom\n"},
		{context.Canceled, 1, "adit: interrupted\n"},
		{problem, 1, "adit: no [2J way\nhint: one\nhint: two\n"},
		{hinted(problem, "do this"), 1, "adit: no [2J way\nhint: do this\n"},
	} {
		var b strings.Builder
		if code := (printer{err: &b}).failure(tc.err); code != tc.code || b.String() != tc.want {
			t.Errorf("%v: %d %q, want %d %q", tc.err, code, b.String(), tc.code, tc.want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_234_567: "1.2 MB", 5e15: "5000.0 TB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

// everybody counts as a member, so that the tests need no group.
func everybody(ipc.Peer) bool { return true }
