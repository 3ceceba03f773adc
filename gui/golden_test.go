package gui

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/png"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/gui/view"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/routes"
)

var update = flag.Bool("update", false, "write the pictures in testdata anew; then look at each")

// drawing is one picture.
type drawing struct {
	name     string
	language string // "en" or "ja"
	theme    string // "light" or "dark"
	dense    bool   // two pixels for each of the toolkit's units
	tab      int    // how often Tab is pressed
	scene    func(t *testing.T, language string) view.Screen
}

// drawings are the screens of which there are pictures: each main screen in both languages; in the dark and on a dense
// screen, what has its own colours and lines.
func drawings() []drawing {
	const en, ja, light, dark = "en", "ja", "light", "dark"
	problem := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, alone(api.Reconnecting, func(c *api.Connection) {
			c.Problem = api.NewProblem(api.CodeServerUnreachable, map[string]string{"server": "203.0.113.5:443", "transport": "udp"})
		}))
	}
	up := func(t *testing.T, language string) view.Screen { return screenOf(t, language, office(language)) }
	first := func(t *testing.T, language string) view.Screen { return screenOf(t, language, &service{}) }
	signIn := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, alone(api.NeedsLogin, func(c *api.Connection) {
			c.Login = &api.Login{ID: "1", Kind: api.LoginPassword, NeedUser: true, Challenge: "Token code?"}
		}), do(view.ActionSignIn, "work"))
	}
	importing := func(t *testing.T, language string) view.Screen {
		s := office(language)
		s.imports = clientProfile(t)
		return screenOf(t, language, s, func(m *view.Model) { m.ImportFile("/home/ann/client.ovpn") })
	}
	explain := func(t *testing.T, language string) view.Screen {
		s := office(language)
		s.way = routes.Explanation{Destination: netip.MustParseAddr("10.0.3.7"), Way: routes.WayTunnel, Profile: "work", Device: "tun0", Route: prefix("10.0.0.0/16"), Reason: "pushed by the server", Guard: "the guard lets it pass: it goes through the tunnel"}
		return screenOf(t, language, s, page(view.PageExplain), func(m *view.Model) { m.Explain("10.0.3.7") })
	}
	tried := func(t *testing.T, language string) view.Screen {
		s := office(language)
		s.tried = reach.Report{Verdict: reach.Lost, Probe: probe.Result{Method: "tcp", Port: 443, Sent: 3, Outcome: probe.NoAnswer},
			Explanation: routes.Explanation{Destination: netip.MustParseAddr("10.0.3.7"), Way: routes.WayTunnel, Profile: "work", Device: "tun0", Route: prefix("10.0.0.0/16"), Reason: "pushed by the server", Guard: "the guard lets it pass: it goes through the tunnel"}}
		return screenOf(t, language, s, page(view.PageExplain), func(m *view.Model) { m.Try("https://10.0.3.7/wiki") })
	}
	managed := func(t *testing.T, language string) view.Screen {
		s := alone(api.Connected, func(c *api.Connection) { c.Managed, c.Owner = true, "" })
		s.profiles[0].Managed, s.profiles[0].Owner = true, ""
		s.policy = &api.Policy{Source: "/etc/adit/policy.json", Profiles: []string{"work"}, Problems: []string{"AlwaysOn has no effect: the profile work asks for a password"}, Keys: []api.PolicyKey{
			{Name: "AllowUserProfiles", Value: []byte("false")}, {Name: "AllowedServers", Value: []byte(`["vpn.example.com", "*.clientvpn.eu-central-1.amazonaws.com"]`)}, {Name: "AutoConnect", Value: []byte(`"work"`)}}}
		return screenOf(t, language, s, page(view.PageSettings))
	}
	log := func(t *testing.T, language string) view.Screen {
		s := office(language)
		for n := range 40 {
			s.lines = append(s.lines, api.LogLine{Time: moment.Add(time.Duration(n) * time.Second), Level: "INFO", Profile: "work", Text: "opened the tunnel device device=tun0 mtu=1500"})
		}
		s.lines = append(s.lines, api.LogLine{Time: moment.Add(time.Minute), Level: "WARN", Profile: "kyoto", Text: "the server does not answer server=vpn.example.com:1194 transport=udp attempt=3 next=8s"})
		return screenOf(t, language, s, page(view.PageLog))
	}
	settings := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, office(language), page(view.PageSettings))
	}
	proxy := func(t *testing.T, language string) view.Screen {
		s := alone(api.Disconnected, func(*api.Connection) {})
		s.profiles[0].Auth, s.profiles[0].SaveForbidden = "certificate+password", "profile"
		_, err := profile.ParseProxy("ftp://proxy.example.com")
		s.wrong = api.NewProblem(api.CodeSettingInvalid, map[string]string{"detail": err.Error()})
		screen := screenOf(t, language, s, page(view.PageSettings), func(m *view.Model) { m.Set(view.SettingProxy, "work", "ftp://proxy.example.com") })
		screen.Settings = screen.Settings[len(screen.Settings)-4:] // the profile's
		return screen
	}
	locked := func(t *testing.T, language string) view.Screen {
		s := alone(api.Connected, func(c *api.Connection) { c.Managed, c.Owner = true, "" })
		s.profiles[0].Managed, s.profiles[0].Owner = true, ""
		return screenOf(t, language, s, page(view.PageSettings), func(m *view.Model) { m.SetPolicy(view.Policy{Language: language, ForbidSavedPasswords: true}) })
	}
	about := func(t *testing.T, language string) view.Screen {
		s := office(language)
		s.version = "1.1"
		return screenOf(t, language, s, page(view.PageAbout))
	}
	stopped := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, &service{down: api.NewProblem(api.CodeServiceUnreachable, map[string]string{"detail": api.DetailNotRunning, "start": "sudo systemctl start aditd"})})
	}
	many := func(t *testing.T, language string) view.Screen {
		s := office(language)
		long := "Frankfurt data centre, read-only access for contractors, two" // 60 characters
		japanese := "株式会社日本データセンター東京第二拠点用"                                     // 60 bytes
		if language == "ja" {
			long, japanese = japanese, long
		}
		s.profiles[0].Name, s.tunnels[0].Profile = long, long
		for n := range 195 {
			s.profiles = append(s.profiles, api.Profile{Name: fmt.Sprintf("site %03d", n), Owner: "ann"})
		}
		for n := range 300 {
			s.tunnels[0].Routes = append(s.tunnels[0].Routes, api.Route{Destination: prefix(fmt.Sprintf("10.%d.%d.0/24", 100+n/200, n%200)), Via: "tun0", Reason: "pushed by the server"})
		}
		return screenOf(t, language, s, func(m *view.Model) { m.FilterNetworks("10.1") })
	}
	large := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, office(language), func(m *view.Model) { m.Set(view.SettingTextSize, "", "largest") })
	}
	largeSettings := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, office(language), page(view.PageSettings), func(m *view.Model) { m.Set(view.SettingTextSize, "", "largest") })
	}
	largeSignIn := func(t *testing.T, language string) view.Screen {
		s := signIn(t, language)
		s.TextSize = "largest"
		return s
	}
	blocked := func(t *testing.T, language string) view.Screen {
		s := alone(api.Blocked, func(c *api.Connection) {
			c.Guard, c.Banner = "auto", "Authorized use only"
			c.Problem = api.NewProblem(api.CodeSessionEnded, map[string]string{"reason": "terminated"})
		})
		return screenOf(t, language, s)
	}
	browser := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, alone(api.NeedsLogin, func(c *api.Connection) {
			ends := moment.Add(10 * time.Minute)
			c.Login = &api.Login{ID: "1", Kind: api.LoginBrowser, Deadline: ends, URL: "https://login.example.com/saml2?SAMLRequest=" + strings.Repeat("fZFBT8MwDIX", 12)}
		}), do(view.ActionSignIn, "work"))
	}
	background := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, office(language), func(m *view.Model) { m.AskBackground() })
	}
	removed := func(t *testing.T, language string) view.Screen {
		return screenOf(t, language, &service{profiles: []api.Profile{{Name: "lab", Owner: "ann"}, {Name: "work", Owner: "ann", Remotes: []string{"vpn.example.com:443/udp"}, Auth: "certificate+browser"}}}, do(view.ActionRemove, "lab"))
	}
	return []drawing{
		{"connected", en, light, false, 0, up}, {"connected-dark-2x", en, dark, true, 0, up}, {"connected-ja", ja, light, false, 0, up}, {"connected-ja-dark-2x", ja, dark, true, 0, up},
		{"problem", en, light, false, 0, problem}, {"problem-dark", en, dark, false, 0, problem}, {"problem-ja", ja, light, false, 0, problem},
		{"blocked", en, light, false, 0, blocked}, {"blocked-ja-dark", ja, dark, false, 0, blocked},
		{"first", en, light, false, 3, first}, {"first-ja", ja, light, false, 0, first},
		{"service", en, light, false, 0, stopped}, {"service-ja", ja, light, false, 0, stopped},
		{"sign-in", en, light, false, 0, signIn}, {"sign-in-ja-dark", ja, dark, false, 0, signIn}, {"browser", en, light, false, 0, browser},
		{"import", en, light, false, 0, importing}, {"import-ja", ja, light, false, 0, importing},
		{"explain", en, light, false, 0, explain}, {"explain-ja", ja, light, false, 0, explain},
		{"tried", en, light, false, 0, tried}, {"tried-ja-dark", ja, dark, false, 0, tried}, {"managed", en, light, false, 0, managed}, {"managed-ja-dark", ja, dark, false, 0, managed},
		{"log", en, light, false, 0, log}, {"log-ja-dark", ja, dark, false, 0, log},
		{"settings", en, light, false, 0, settings}, {"settings-ja", ja, light, false, 0, settings}, {"settings-proxy", en, light, false, 0, proxy}, {"settings-proxy-ja-dark", ja, dark, false, 0, proxy}, {"settings-locked-dark", en, dark, false, 0, locked},
		{"about", en, light, false, 0, about}, {"about-ja", ja, light, false, 0, about},
		{"background", en, light, false, 1, background}, {"background-ja", ja, light, false, 0, background},
		{"removed", en, light, false, 0, removed}, {"many", en, light, false, 0, many}, {"many-ja", ja, light, false, 0, many},
		{"large", en, light, false, 0, large}, {"large-ja", ja, light, false, 0, large}, {"large-settings-ja", ja, light, false, 0, largeSettings}, {"large-sign-in", en, light, false, 0, largeSignIn},
	}
}

// TestPictures: every screen looks as in testdata. The race detector makes drawing slow, and finds the same in few.
func TestPictures(t *testing.T) {
	for i, d := range drawings() {
		if racing && i%8 != 0 {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			s := d.scene(t, d.language)
			s.Theme = d.theme
			compare(t, d.name, draw(t, s, d.dense, d.tab))
		})
	}
}

// draw is a window as the software renderer sees it.
func draw(t *testing.T, s view.Screen, dense bool, tab int) image.Image {
	t.Helper()
	app := test.NewTempApp(t)
	w := New(app, &recorder{})
	if dense {
		w.win.Canvas().(test.WindowlessCanvas).SetScale(2)
	}
	w.win.Resize(fyne.NewSize(900, 640))
	w.Show(s)
	for range tab {
		w.win.Canvas().FocusNext()
	}
	return w.win.Canvas().Capture()
}

// compare allows for what rounding may change on another processor.
func compare(t *testing.T, name string, got image.Image) {
	t.Helper()
	file := filepath.Join("testdata", name+".png")
	var b bytes.Buffer
	if err := png.Encode(&b, got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	differ, all := 0, want.Bounds()
	if got.Bounds() != all {
		t.Fatalf("%v, want %v", got.Bounds(), all)
	}
	for y := all.Min.Y; y < all.Max.Y; y++ {
		for x := all.Min.X; x < all.Max.X; x++ {
			if far(got.At(x, y).RGBA()).from(want.At(x, y).RGBA()) {
				differ++
			}
		}
	}
	if most := all.Dx() * all.Dy() / 2000; differ > most {
		seen := filepath.Join(t.ArtifactDir(), name+".png")
		_ = os.WriteFile(seen, b.Bytes(), 0o644)
		t.Errorf("%d pixels differ from %s, %d may; see %s", differ, file, most, seen)
	}
}

type rgba [4]uint32

func far(r, g, b, a uint32) rgba { return rgba{r, g, b, a} }

func (x rgba) from(r, g, b, a uint32) bool {
	for i, v := range [4]uint32{r, g, b, a} {
		if d := int(x[i]) - int(v); d > 0x1000 || d < -0x1000 {
			return true
		}
	}
	return false
}
