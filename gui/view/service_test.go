//go:build linux || darwin

package view

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/endpoint/pki"
	demoserver "github.com/adit-vpn/adit/gui/demo"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/platformtest"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/platform/udp"
	"github.com/adit-vpn/adit/routes"
	"github.com/adit-vpn/adit/saml/signin"
)

// realEndpoint runs an endpoint on loopback until the test ends, and returns a profile for it. Ann's password is
// "secret".
func realEndpoint(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	p, err := pki.Open(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Init(pki.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Server(endpoint.ServerName, pki.Options{}); err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(dir, "users.yaml")
	if err := os.WriteFile(users, fmt.Appendf(nil, "users:\n  - {name: ann, password: %q}\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	text := endpoint.BuiltinText(endpoint.DefaultListen(), "udp", "userspace")
	text = strings.Replace(text, "  - mutual: {}\n", fmt.Sprintf("  - directory: {users: %q}\n", users), 1)
	text = strings.Replace(text, "{type: tls-crypt-v2}", "{type: none}", 1)
	cfg, err := endpoint.ParseConfig(filepath.Join(dir, "endpoint.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	nw, err := network.NewUserspace(network.UserspaceConfig{MTU: cfg.TunMTU})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := endpoint.New(cfg, endpoint.Leaves{Now: time.Now, ReadFile: os.ReadFile, Network: nw,
		ListenUDP: func(a netip.AddrPort) ([]udp.Conn, error) {
			return udp.ListenShared(ctx, netip.AddrPortFrom(a.Addr(), 0), 1, udp.Options{})
		},
		ListenTCP: func(netip.AddrPort) (net.Listener, error) { return nil, errors.New("there is no TCP here") },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("endpoint: %v", err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("endpoint: %v", err)
	}
	ca, err := os.ReadFile(p.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	at := s.Addrs()[0].(*net.UDPAddr)
	return fmt.Sprintf("client\ndev tun\nproto udp\nremote 127.0.0.1 %d\nnobind\nremote-cert-tls server\nauth-user-pass\n<ca>\n%s</ca>\n", at.Port, ca)
}

// realService serves the local API at a socket until stop.
func realService(t *testing.T, socket, dir string) (stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := client.NewService(client.ServiceConfig{
		StateDir: dir, Log: log, Version: "test", Resolver: net.DefaultResolver,
		Hosts: func(string, *slog.Logger) (platform.Host, error) {
			return platformtest.NewHost(routes.Facts{
				Routes:    []routes.UnderlayRoute{{Destination: netip.MustParsePrefix("127.0.0.0/8"), Device: "lo"}},
				Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")},
			}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ipc.Listen(socket, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	everybody := func(ipc.Peer) bool { return true }
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("service: %v", err)
		}
	})
	running.Go(func() {
		if err := api.NewServer(s, everybody, log).Serve(ctx, l); err != nil {
			t.Errorf("local API: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// person looks at a model's screens.
type person struct {
	t       *testing.T
	m       *Model
	screens chan Screen // the newest
	last    Screen
	quit    func() // ends the model, and waits for it
}

// sitDown runs a model; the caller quits.
func sitDown(t *testing.T, cfg Config) *person {
	p := &person{t: t, screens: make(chan Screen, 1)}
	cfg.Open, cfg.Browse = func(string) error { return nil }, signin.Run
	cfg.Read = func(ctx context.Context, arg string) (source.Source, error) {
		return source.Read(ctx, http.DefaultClient, arg)
	}
	cfg.Publish = func(s Screen) {
		select {
		case <-p.screens:
		default:
		}
		p.screens <- s
	}
	p.m = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.m.Run(ctx) }()
	p.quit = sync.OnceFunc(func() { cancel(); <-done })
	return p
}

// until waits for a screen.
func (p *person) until(what string, ok func(s Screen) bool) Screen {
	p.t.Helper()
	patience := time.NewTimer(60 * time.Second)
	defer patience.Stop()
	for {
		select {
		case p.last = <-p.screens:
			checkScreen(p.t, what, p.last)
			if ok(p.last) {
				return p.last
			}
		case <-patience.C:
			p.t.Fatalf("no %s; the screen shows:\n%s", what, dump(p.last))
		}
	}
}

// TestRealDemo: the real service and the bundled server, that the first page starts, that ends with the app, and that
// its profile starts again in the app's next run; so does a tunnel that has lost it.
func TestRealDemo(t *testing.T) {
	dir, err := os.MkdirTemp("", "view") // short: a socket is in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command("go", "build", "-o", dir, "github.com/adit-vpn/adit/cmd/adit-endpoint").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	socket := filepath.Join(dir, "s")
	realService(t, socket, filepath.Join(dir, "state"))
	c := api.NewClient(socket)
	defer c.Close()
	begin := func() (*person, *demoserver.Server) {
		server := demoserver.Find(filepath.Join(dir, "adit-gui"), filepath.Join(dir, "data"))
		return sitDown(t, Config{Backend: c, Vault: &vault{kept: map[string]secrets.Login{}}, Demo: server}), server
	}
	up := func(s Screen) bool { return s.Detail != nil && s.Detail.State == api.Connected }
	for _, do := range []Action{{Kind: ActionDemo}, {ActionConnect, "demo"}} {
		p, server := begin()
		defer server.Close()
		defer p.quit()
		if do.Kind == ActionDemo {
			p.until("first page", func(s Screen) bool { return s.First != nil && len(s.First.Buttons) == 3 })
		} else {
			p.until("list", func(s Screen) bool { return s.Selected() == "demo" && s.Detail.State == api.Disconnected })
		}
		p.m.Do(do)
		p.until("tunnel", up)
		if do.Kind == ActionConnect {
			server.Close()
			p.until("loss", func(s Screen) bool { return !up(s) })
			next, again := begin()
			defer again.Close()
			defer next.quit()
			next.until("tunnel in the next run", up)
			next.quit()
			again.Close()
		}
		p.quit()
		if s, err := c.Status(t.Context()); err != nil || len(s.Connections) != 0 {
			t.Errorf("the tunnel goes on without the app: %v, %+v", err, s)
		}
		server.Close()
	}
}

// TestRealService: from an empty list to a tunnel and back, with the real service and a real endpoint; only the
// machine's network is a recording.
func TestRealService(t *testing.T) {
	profile := realEndpoint(t)
	dir, err := os.MkdirTemp("", "view") // short: a socket is in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, socket := filepath.Join(dir, "office.ovpn"), filepath.Join(dir, "s")
	if err := os.WriteFile(file, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	c := api.NewClient(socket)
	defer c.Close()
	keychain := &vault{kept: map[string]secrets.Login{}}
	person := sitDown(t, Config{Backend: c, Vault: keychain, Preferences: filepath.Join(dir, "config", "gui.json")})
	m, until := person.m, person.until
	defer person.quit()
	dialog := func(k DialogKind) Screen {
		t.Helper()
		return until(string(k)+" dialog", func(s Screen) bool {
			return s.Dialog != nil && s.Dialog.Kind == k && !s.Dialog.Busy
		})
	}
	state := func(st api.State) Screen {
		t.Helper()
		return until(string(st), func(s Screen) bool {
			return s.Detail != nil && s.Detail.State == st && s.Service.State == ServiceReachable
		})
	}

	until("notice that the service does not run", func(s Screen) bool { return s.Service.State == ServiceNotRunning })
	stop := realService(t, socket, filepath.Join(dir, "state"))
	until("first page", func(s Screen) bool { return s.First != nil })
	m.ImportFile(file)
	d := dialog(DialogImport).Dialog
	m.Submit(d.ID, Values{FieldName: "office"})
	until("profile", func(s Screen) bool { return len(s.Profiles) == 1 && s.Selected() == "office" && s.Dialog == nil })

	m.Do(Action{ActionConnect, "office"})
	d = dialog(DialogCredentials).Dialog
	m.Submit(d.ID, Values{FieldUser: "ann", FieldPassword: "wrong"})
	d = until("question again", func(s Screen) bool {
		return s.Dialog != nil && s.Dialog.ID != d.ID && s.Dialog.Kind == DialogCredentials
	}).Dialog
	if d.Notice == nil || d.Notice.Code != api.CodePasswordRefused {
		t.Errorf("the wrong password gives\n%s", dump(d))
	}
	m.Submit(d.ID, Values{FieldUser: "ann", FieldPassword: "secret", FieldSave: "true"})
	s := state(api.Connected)
	until("saved password", func(s Screen) bool { return s.Toast != nil && s.Toast.Text == i18n.SavedKept.In(i18n.English) })
	if s.Dialog != nil || s.Tray.Icon != IconConnected || s.Detail.Notice != nil {
		t.Errorf("connected:\n%s", dump(s))
	}
	if !slices.ContainsFunc(s.Detail.Through.Networks, func(n Network) bool { return n.Destination == network.Demo().String() && !n.Past }) {
		t.Errorf("the demo network does not go through:\n%s", dump(s.Detail.Through))
	}
	if !slices.ContainsFunc(s.Detail.Rows, func(r Row) bool { return strings.HasPrefix(r.Value, "10.64.") }) {
		t.Errorf("no address:\n%s", dump(s.Detail.Rows))
	}
	m.Explain(network.DemoAddress().String())
	until("explanation", func(s Screen) bool { return strings.Contains(s.Explain.Answer, "goes through the VPN office") })
	m.Show(PageLog)
	until("log", func(s Screen) bool { return len(s.Log.Lines) > 3 })
	m.Show(PageProfiles)
	if b := s.Detail.Buttons[len(s.Detail.Buttons)-1]; b.Action.Kind != ActionAskRemove || b.Enabled {
		t.Errorf("a tunnel that is up may be removed: %s", dump(b))
	}
	m.Do(Action{ActionDisconnect, "office"})
	state(api.Disconnected)
	m.Do(Action{ActionConnect, "office"}) // nobody types anything
	if s := state(api.Connected); s.Dialog != nil || !strings.HasSuffix(keychain.take(), "set office ann; get office") {
		t.Errorf("with the saved password:\n%s", dump(s))
	}
	m.Do(Action{ActionDisconnect, "office"})
	state(api.Disconnected)

	m.Do(Action{ActionAskRename, "office"})
	m.Submit(dialog(DialogRename).Dialog.ID, Values{FieldName: "home"})
	until("new name", func(s Screen) bool { return len(s.Profiles) == 1 && s.Profiles[0].Name == "home" })
	for _, value := range []string{"true", "false"} {
		m.Set(SettingAutoConnect, "home", value)
		until("setting", func(s Screen) bool {
			return slices.ContainsFunc(s.Settings, func(x Setting) bool { return x.ID == SettingAutoConnect && x.Value == value && !x.Busy })
		})
	}
	for _, value := range []string{"off", "auto"} {
		m.Set(SettingGuard, "home", value)
		until("guard "+value, func(s Screen) bool {
			return slices.ContainsFunc(s.Settings, func(x Setting) bool { return x.ID == SettingGuard && x.Value == value && !x.Busy })
		})
	}

	stop()
	until("notice that the service is gone", func(s Screen) bool { return s.Service.State == ServiceNotRunning })
	realService(t, socket, filepath.Join(dir, "state"))
	until("service again", func(s Screen) bool { return s.Service.State == ServiceReachable && len(s.Profiles) == 1 })
	m.Do(Action{ActionRemove, "home"})
	until("empty list", func(s Screen) bool { return len(s.Profiles) == 0 })
	if list, err := c.Profiles(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("removed before it was final: %v, %v", list, err)
	}
	person.quit()
	if list, err := c.Profiles(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("still there: %v, %v", list, err)
	}
}
