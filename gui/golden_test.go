package gui

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"github.com/adit-vpn/adit/gui/view"
)

var update = flag.Bool("update", false, "write the pictures in testdata anew; then look at each")

// scenes are the screens of which there are pictures.
func scenes() map[string]func() view.Screen {
	with := func(change func(*view.Screen)) func() view.Screen {
		return func() view.Screen {
			s := connected()
			change(&s)
			return s
		}
	}
	return map[string]func() view.Screen{
		"connected": connected,
		"settings":  settings,
		"problem": with(func(s *view.Screen) {
			s.Detail.Throughput, s.Detail.Through = nil, view.Through{}
			s.Detail.Icon, s.Detail.Text, s.Detail.Elapsed = view.IconConnecting, "Connecting again…", ""
			s.Detail.Notice = &view.Notice{Text: "The server at 203.0.113.5 does not answer.", Hints: []string{"Check that this computer is online.", "Or try: adit explain 203.0.113.5"}}
			s.Toast = &view.Toast{Text: "lab was removed.", Button: &view.Button{Label: "Undo", Enabled: true}}
		}),
		"service": with(func(s *view.Screen) {
			s.Profiles, s.Detail, s.Empty = nil, nil, "No profiles."
			s.Service.Notice = &view.Notice{Text: "Adit’s service is not running.", Hints: []string{"Start it: sudo systemctl start aditd"}}
			s.First = &view.First{Title: "Welcome to Adit", Text: "Add the profile that you were given, or try Adit with a server of its own on this computer.",
				Buttons: []view.Button{{Label: "Add a file…", Enabled: true, Default: true}, {Label: "Try it with the bundled endpoint", Enabled: true}}}
		}),
		"credentials": with(func(s *view.Screen) { s.Dialog = credentials() }),
		"browser": with(func(s *view.Screen) {
			s.Dialog = &view.Dialog{Kind: view.DialogBrowser, ID: "b", Title: "Sign in to tokyo", Text: []string{"Your browser shows the sign-in page. Adit waits until you are done there."},
				Address: "https://login.example.com/saml2?SAMLRequest=fZFBT8MwDIX%2FSpR7m7Rb1xG1lcYmpEmAEIMduLnW" + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
				Busy:    true, Buttons: []view.Button{{Label: "Cancel", Cancel: true, Enabled: true}, {Label: "Copy the address", Enabled: true}, {Label: "Open again", Default: true, Enabled: true}}}
		}),
		"import": with(func(s *view.Screen) {
			i := &view.Import{Source: "/home/ann/Downloads/client.ovpn", Usable: true, Verdict: "The profile can be used.", Traffic: "All traffic goes through the VPN.", SignIn: "With a certificate.",
				Servers: []string{"vpn.example.com, UDP 1194"}, Certificates: []string{"ann, until 4 December 2026"}}
			for n := range 12 {
				i.Findings = append(i.Findings, view.Finding{Severity: "note", Line: fmt.Sprintf("line %d", n+3), Text: "explicit-exit-notify is only for UDP, and ignored"})
			}
			s.Dialog = &view.Dialog{Kind: view.DialogImport, ID: "i", Title: "Add this profile?", Import: i, Fields: []view.Field{{ID: view.FieldName, Label: "Name", Value: "client", Enabled: true}},
				Buttons: []view.Button{{Label: "Cancel", Cancel: true, Enabled: true}, {Label: "Add", Default: true, Enabled: true}}}
		}),
		"explain": with(func(s *view.Screen) {
			s.Page = view.PageExplain
			s.Explain = view.Explain{Label: "Why can’t I reach…", Help: "A name or an address. Nothing is sent there.", Destination: "10.0.3.7", Button: view.Button{Label: "Explain", Enabled: true},
				Answer: "A packet to 10.0.3.7 goes through the VPN “work”.", Rows: []view.Row{{Label: "Route", Value: "10.0.0.0/16 by tun0: the server asked for it"}, {Label: "Guard", Value: "lets it through"}}}
		}),
		"log": with(func(s *view.Screen) {
			s.Page = view.PageLog
			s.Log = view.Log{FilterLabel: "Search", FollowLabel: "Follow", Follow: true, Copy: "Copy", Remark: "Older lines are left out."}
			for n := range 40 {
				s.Log.Lines = append(s.Log.Lines, view.LogLine{Time: fmt.Sprintf("14:05:%02d", n), Level: "INFO", Profile: "work", Text: "opened the tunnel device device=tun0 mtu=1500"})
			}
		}),
		"about": with(func(s *view.Screen) {
			s.Page = view.PageAbout
			s.About = view.About{Text: "Adit opens VPN tunnels to OpenVPN and AWS Client VPN servers.", Rows: []view.Row{{Label: "App", Value: "1.0"}, {Label: "Service", Value: "1.0"}}}
		}),
	}
}

// TestPictures: every scene looks as in testdata, in light and dark, and on a dense screen.
func TestPictures(t *testing.T) {
	dark := map[string]bool{"connected": true, "problem": true, "credentials": true, "settings": true}
	for name, scene := range scenes() {
		t.Run(name, func(t *testing.T) { compare(t, name, draw(t, scene(), "light", 1)) })
		if dark[name] {
			t.Run(name+"-dark", func(t *testing.T) { compare(t, name+"-dark", draw(t, scene(), "dark", 1)) })
		}
	}
	t.Run("connected-2x", func(t *testing.T) { compare(t, "connected-2x", draw(t, connected(), "light", 2)) })
}

// draw is a window as the software renderer sees it.
func draw(t *testing.T, s view.Screen, look string, scale float32) image.Image {
	t.Helper()
	s.Theme = look
	app := test.NewTempApp(t)
	w := New(app, &recorder{})
	w.win.Canvas().(test.WindowlessCanvas).SetScale(scale)
	w.win.Resize(fyne.NewSize(900, 640))
	w.Show(s)
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
