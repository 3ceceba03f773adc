package gui

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/gui/view"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/routes"
	"github.com/adit-vpn/adit/saml/signin"
)

// service is what a screen is made of: profiles and their tunnels, as the service tells them.
type service struct {
	profiles []api.Profile
	tunnels  []api.Connection
	settings api.Settings
	way      routes.Explanation
	lines    []api.LogLine
	imports  string         // the text of what is imported
	policy   *api.Policy    // what is managed
	tried    reach.Report   // what comes of trying a destination
	down     *api.Problem   // why it does not answer
	refuses  error          // what it says to each request
	wrong    error          // what it says to a change of settings
	traffic  time.Duration  // how long something has been going through the first tunnel
	version  string         //
	vault    secrets.Login  // what the keychain has
	starts   *startsAtLogin // nil: this system has no such list
}

// moment is when the screens are seen.
var moment = time.Date(2026, 11, 22, 14, 5, 0, 0, time.UTC)

func (s *service) Watch(ctx context.Context, send func(api.Status) error) error {
	if s.down != nil {
		return s.down
	}
	for second := 0; ; second++ {
		status := api.Status{Connections: slices.Clone(s.tunnels), Policy: s.policy}
		if s.traffic > 0 {
			x := float64(second)
			status.Connections[0].Counters = api.Counters{RxBytes: uint64(1e9 + 6.2e6*x - 45e6*math.Cos(x/9)), TxBytes: uint64(8e7 + 6e5*x + 2e6*math.Sin(x/6))}
		}
		if err := send(status); err != nil {
			return err
		}
		if s.traffic == 0 {
			break
		}
		time.Sleep(time.Second)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *service) Profiles(context.Context) ([]api.Profile, error) { return s.profiles, s.refuses }
func (s *service) Import(context.Context, api.ImportRequest) (api.Profile, error) {
	return api.Profile{}, s.refuses
}
func (s *service) Rename(context.Context, string, string) error { return s.refuses }
func (s *service) Remove(context.Context, string) error         { return s.refuses }
func (s *service) Settings(context.Context, string) (api.Settings, error) {
	return s.settings, s.refuses
}
func (s *service) Set(context.Context, string, []string) (api.Settings, error) {
	return s.settings, cmp.Or(s.wrong, s.refuses)
}
func (s *service) Connect(context.Context, api.ConnectRequest) error { return s.refuses }
func (s *service) Answer(context.Context, api.Answer) error          { return s.refuses }
func (s *service) Disconnect(context.Context, string) error          { return s.refuses }
func (s *service) Explain(context.Context, string) (routes.Explanation, error) {
	return s.way, s.refuses
}
func (s *service) Version(context.Context) (api.Version, error) {
	return api.Version{Version: s.version, Go: "go1.26", OS: "linux", Arch: "amd64"}, nil
}

func (s *service) Logs(ctx context.Context, _ bool, send func(api.LogLine) error) error {
	for _, l := range s.lines {
		if err := send(l); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// The keychain.

func (s *service) Get(context.Context, string, string) (secrets.Login, error) {
	if s.vault.User == "" {
		return secrets.Login{}, secrets.ErrNotFound
	}
	return s.vault, nil
}

// keychain is the service's vault: only reading matters to a screen.
type keychain struct{ *service }

func (keychain) Set(context.Context, string, secrets.Login) error { return nil }
func (keychain) Forget(context.Context, string, string) error     { return nil }
func (keychain) ForgetAll(context.Context, string) error          { return nil }

type startsAtLogin struct{ on bool }

func (s *startsAtLogin) Enabled() (bool, error) { return s.on, nil }
func (s *startsAtLogin) Set(on bool) error      { s.on = on; return nil }

// noDemo is a bundled server that nobody starts.
type noDemo struct{}

func (noDemo) Page() string { return "" }

func (noDemo) Serves(api.Profile) bool { return false }

func (noDemo) Start(context.Context) (api.ProfileText, error) {
	return api.ProfileText{}, errors.New("there is none")
}

// screenOf is what the model shows of s in a language, "en" or "ja", after what was asked of it.
func screenOf(t *testing.T, language string, s *service, asks ...func(m *view.Model)) (screen view.Screen) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		seen := func() time.Time { return moment.Add(time.Since(began) - s.traffic - 3*time.Second).UTC() }
		cfg := view.Config{Backend: s, Vault: keychain{s}, Open: func(string) error { return nil },
			Browse: func(ctx context.Context, _ signin.Config) (push.Secret, error) { <-ctx.Done(); return "", ctx.Err() }, Demo: noDemo{}, Locales: []string{language}, Now: seen,
			Version: api.Version{Version: "1.0", Go: "go1.26", OS: "linux", Arch: "amd64"},
			Read: func(context.Context, string) (source.Source, error) {
				return source.Source{Title: "client.ovpn", Name: "office", Text: []byte(s.imports)}, nil
			},
			Reach:   func(context.Context, reach.Target) (reach.Report, error) { return s.tried, nil },
			Report:  func(context.Context) ([]byte, error) { return nil, errors.New("no space left on device") },
			Publish: func(x view.Screen) { screen = x }}
		if s.starts != nil {
			cfg.Autostart = s.starts
		}
		m := view.New(cfg)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { _ = m.Run(ctx); close(done) }()
		time.Sleep(s.traffic + time.Second)
		for _, ask := range asks {
			ask(m)
			synctest.Wait()
		}
		time.Sleep(2500 * time.Millisecond) // between two of the service's seconds
		synctest.Wait()
		stop()
		<-done
	})
	return screen
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// office is a service with a tunnel that is up, among profiles in every state. Names are such that the window's own fonts
// have their letters: what is drawn must not be the machine's.
func office(language string) *service {
	tokyo := map[string]string{"ja": "横浜データセンター"}[language]
	if tokyo == "" {
		tokyo = "tokyo"
	}
	ends := moment.Add(12*24*time.Hour + time.Hour)
	tunnel := api.Connection{
		Profile: "work", Owner: "ann", State: api.Connected, Since: moment.Add(-761 * time.Second), Guard: "off",
		Server:   api.Server{Name: "cvpn-endpoint-0123456789abcdef0.prod.clientvpn.eu-central-1.amazonaws.com", Address: "203.0.113.5", Port: 443, Transport: "udp"},
		Tunnel:   api.Tunnel{Device: "tun0", Addresses: []netip.Prefix{prefix("10.64.0.2/27")}, MTU: 1500},
		DNS:      api.DNS{Servers: []string{"10.0.0.2"}, Split: []string{"corp.example"}},
		Counters: api.Counters{RxBytes: 1_234_567_890, TxBytes: 98_765_432}, Protection: api.Protection{TLS: "TLS 1.3", Control: "tls-crypt", Data: "AES-256-GCM epoch keys"},
		Routes: []api.Route{{Destination: prefix("10.0.0.0/16"), Via: "tun0", Reason: "pushed by the server"}, {Destination: prefix("10.98.0.0/24"), Via: "tun0", Reason: "pushed by the server"},
			{Destination: prefix("203.0.113.5/32"), Via: "192.168.1.1 wlan0", Reason: "the server's own address"}},
		CertificateExpires: &ends,
	}
	in := func(profile string, s api.State) api.Connection {
		return api.Connection{Profile: profile, Owner: "ann", State: s, Since: moment.Add(-time.Minute), Guard: "auto"}
	}
	waits := in(tokyo, api.NeedsLogin)
	waits.Login = &api.Login{ID: "1", Kind: api.LoginPassword, NeedUser: true}
	s := &service{traffic: 125 * time.Second, version: "1.0", starts: &startsAtLogin{}, settings: api.Settings{Guard: "auto", AutoConnect: true},
		tunnels: []api.Connection{tunnel, waits, in("kyoto", api.Connecting), in("berlin", api.Blocked)}}
	for _, name := range []string{"work", "lab", tokyo, "kyoto", "berlin"} {
		p := api.Profile{Name: name, Owner: "ann", Remotes: []string{"vpn.example.com:443/udp"}, Auth: "certificate+password"}
		if name == "lab" {
			p.Managed, p.Owner = true, ""
		}
		s.profiles = append(s.profiles, p)
	}
	return s
}

// alone is a service with one profile and its tunnel.
func alone(state api.State, edit func(*api.Connection)) *service {
	s := office("en")
	s.traffic, s.profiles, s.tunnels = 0, s.profiles[:1], s.tunnels[:1]
	s.tunnels[0].State = state
	if edit != nil {
		edit(&s.tunnels[0])
	}
	return s
}

// clientProfile is a profile as people are sent it, with remarks to make.
func clientProfile(t *testing.T) string {
	pki := ovpntest.NewPKI(t)
	cert, key := ovpntest.PEM(t, pki.Issue("ann", 2, nil)) // 2: for TLS clients
	return "client\ndev tun\nproto udp\nremote vpn.example.com 1194\nremote vpn2.example.com 443 tcp\nnobind\nuser nobody\ngroup nogroup\nup /etc/openvpn/up.sh\nauth-user-pass\nredirect-gateway def1\n" +
		"<ca>\n" + string(pki.CA()) + "</ca>\n<cert>\n" + string(cert) + "</cert>\n<key>\n" + string(key) + "</key>\n"
}

// do, page are what a person asks for.
func do(kind view.ActionKind, profile string) func(*view.Model) {
	return func(m *view.Model) { m.Do(view.Action{Kind: kind, Profile: profile}) }
}

func page(p view.Page) func(*view.Model) { return func(m *view.Model) { m.Show(p) } }
