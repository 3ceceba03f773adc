//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/lab/seat"
)

// adit-gui is built as it is shipped, or taken from ADIT_LAB_BIN. Its toolkit takes a slow machine minutes, so that
// only these tests wait for it.
var guiFile = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("ADIT_LAB_BIN"); dir != "" {
		file := filepath.Join(dir, "adit-gui")
		_, err := os.Stat(file)
		return file, err
	}
	file := filepath.Join(os.TempDir(), "gui", "adit-gui")
	cmd := exec.Command("go", "build", "-tags", "gui,migrated_fynedo,no_emoji,gles", "-o", file, "../cmd/adit-gui")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the desktop app: %w\n%s", err, out)
	}
	return file, nil
})

// desktopApp is adit-gui at a seat in the client node.
type desktopApp struct {
	*site
	colours
	seat *seat.Seat
	file string
	proc *Proc
}

// colours of the light theme that stand for something.
type colours struct {
	green    color.NRGBA // the sign of a tunnel that is up
	amber    color.NRGBA // the edge of a problem
	red      color.NRGBA // the sign of a machine whose traffic is blocked
	primary  color.NRGBA // the main button
	received color.NRGBA // the graph's area: a quarter of the primary colour on the background
}

// lightColours reads them where they are written.
func (s *site) lightColours() (c colours) {
	s.t.Helper()
	text := s.read(filepath.Join("..", "gui", "theme.go"))
	of := func(name string) color.NRGBA {
		m := regexp.MustCompile(`theme\.ColorName` + name + `: +\{0x([0-9a-f]{8}),`).FindStringSubmatch(text)
		if m == nil {
			s.t.Fatalf("gui/theme.go has no colour %s", name)
		}
		x, err := strconv.ParseUint(m[1], 16, 32)
		s.ok(err)
		return color.NRGBA{uint8(x >> 24), uint8(x >> 16), uint8(x >> 8), uint8(x)}
	}
	back := of("Background")
	c = colours{green: of("Success"), amber: of("Warning"), red: of("Error"), primary: of("Primary")}
	mix := func(over, under uint8) uint8 { return uint8((63*int(over) + 192*int(under)) / 255) }
	c.received = color.NRGBA{mix(c.primary.R, back.R), mix(c.primary.G, back.G), mix(c.primary.B, back.B), 255}
	return c
}

// someOf is how many pixels of a colour are no accident.
const someOf = 150

// needsDesktop skips, or fails in CI, where the app cannot be built or a desktop cannot be had.
func needsDesktop(t *testing.T) {
	t.Helper()
	needs(t, append(seat.Programs(), "gcc", "pkg-config")...)
	if os.Getenv("ADIT_LAB_BIN") != "" {
		return
	}
	if out, err := exec.Command("pkg-config", "--exists", "--print-errors", "gl", "x11", "xrandr", "xcursor", "xinerama", "xi", "xxf86vm").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s", out)
		}
		t.Skipf("needs libgl1-mesa-dev, libgles2-mesa-dev and xorg-dev: %s", out)
	}
}

// desktopSeat makes a desktop; with a tray or, as GNOME is by itself, without. The app is built and not started.
func (s *site) desktopSeat(tray bool) *desktopApp {
	s.t.Helper()
	d := &desktopApp{site: s, colours: s.lightColours()}
	var err error
	d.file, err = guiFile()
	s.ok(err)
	d.seat, err = seat.Start(seat.Config{Dir: filepath.Join(s.client.Dir, "seat"), Width: 1000, Height: 720, Tray: tray, Managed: true, Run: in(s.client).Run})
	s.ok(err)
	s.t.Cleanup(d.seat.Close)
	config := filepath.Join(d.seat.Home, ".config", "adit")
	s.ok(os.MkdirAll(config, 0o700))
	s.ok(os.WriteFile(filepath.Join(config, "gui.json"), []byte(`{"version": 1, "theme": "light", "language": "en"}`), 0o600))
	return d
}

// command is what runs the app at the seat.
func (d *desktopApp) command(env []string, args ...string) []string {
	return slices.Concat([]string{"env"}, d.seat.Env, env, []string{d.file}, args)
}

// open starts the app, with more environment.
func (d *desktopApp) open(env ...string) {
	d.t.Helper()
	d.proc = d.start(d.client, "adit-gui", d.command(env)...)
	d.until(2*soon, "the window has the keyboard", d.inFront)
	d.until(2*soon, "the window shows what to do", func() bool { return !d.asks() && d.of(d.primary) >= someOf })
}

// again starts the app once more, which hands over what it was asked for and ends.
func (d *desktopApp) again(args ...string) {
	d.t.Helper()
	d.run(d.client, d.command(nil, args...)...)
}

// ended demands that the app ends by itself, without complaint, and leaves nothing behind.
func (d *desktopApp) ended() {
	d.t.Helper()
	select {
	case <-d.proc.Done():
	case <-time.After(soon):
		d.t.Fatal("the app does not end")
	}
	said := d.proc.Out.String()
	for _, bad := range []string{"panic", "fatal", "goroutine ", "Error in Fyne call thread", "systray error: failed to e", "hunter-bad", "geheim"} {
		if strings.Contains(said, bad) {
			d.t.Errorf("the app said %q:\n%s", bad, said)
		}
	}
	if err := d.proc.Err(); err != nil {
		d.t.Errorf("the app ended with %v, and said:\n%s", err, said)
	}
	d.until(soon, "none of the app's processes runs", func() bool { // zombies wait for their parent
		all, err := os.ReadDir("/proc")
		d.ok(err)
		return !slices.ContainsFunc(all, func(p os.DirEntry) bool {
			text, _ := os.ReadFile(filepath.Join("/proc", p.Name(), "stat"))
			_, rest, _ := strings.Cut(string(text), ") ") // state, parent, group
			f := strings.Fields(rest)
			return len(f) > 2 && f[0] != "Z" && f[2] == strconv.Itoa(d.proc.Cmd.Process.Pid)
		})
	})
	left, err := filepath.Glob(filepath.Join(d.seat.Runtime, "*.sock"))
	if d.ok(err); len(left) > 0 {
		d.t.Errorf("sockets stay: %q", left)
	}
}

func (d *desktopApp) visible() bool { _, ok := d.seat.Window("Adit"); return ok }

func (d *desktopApp) inFront() bool { return d.visible() && d.seat.Active() == "Adit" }

func (d *desktopApp) gone() {
	d.t.Helper()
	d.until(soon, "the window is closed", func() bool { return !d.visible() })
}

// picture is the window's, which is open.
func (d *desktopApp) picture() (m *image.NRGBA) {
	d.t.Helper()
	d.until(soon, "a picture of the window", func() (ok bool) {
		var err error
		m, err = d.seat.Picture("Adit")
		return err == nil
	})
	return m
}

// of counts the window's pixels of a colour.
func (d *desktopApp) of(c color.NRGBA) int {
	m, err := d.seat.Picture("Adit")
	if err != nil {
		return 0 // it is closed
	}
	return len(seat.Where(m, c))
}

func (d *desktopApp) sees(what string, c color.NRGBA) {
	d.t.Helper()
	d.until(2*soon, "the window shows "+what, func() bool { return d.of(c) >= someOf })
}

// asks says whether a dialog is in front: it darkens what is behind.
func (d *desktopApp) asks() bool {
	m, err := d.seat.Picture("Adit")
	if err != nil {
		return false
	}
	c := m.NRGBAAt(m.Rect.Min.X+2, (m.Rect.Min.Y+m.Rect.Max.Y)/2)
	return c.R < 0xf0 && c.G < 0xf0 && c.B < 0xf0
}

func (d *desktopApp) asked(what string) {
	d.t.Helper()
	d.until(2*soon, "the window asks: "+what, d.asks)
}

// signIn waits for the question of a name and a password, and answers it.
func (d *desktopApp) signIn() {
	d.t.Helper()
	d.asked("name and password")
	d.types("otto")
	d.key("Tab")
	d.types("geheim")
	d.key("Return")
}

func (d *desktopApp) answered() {
	d.t.Helper()
	d.until(2*soon, "the dialog is gone", func() bool { return d.visible() && !d.asks() })
}

func (d *desktopApp) key(keys ...string) { d.t.Helper(); d.ok(d.seat.Key(keys...)) }

func (d *desktopApp) types(text string) { d.t.Helper(); d.ok(d.seat.Type(text)) }

// changes presses keys and waits until the window shows something else, at rest.
func (d *desktopApp) changes(what string, keys ...string) {
	d.t.Helper()
	m := d.picture()
	before, last := m.Pix, m.Pix
	d.key(keys...)
	d.until(soon, what, func() bool {
		time.Sleep(100 * time.Millisecond)
		m := d.picture()
		still := slices.Equal(last, m.Pix)
		last = m.Pix
		return still && !slices.Equal(before, m.Pix)
	})
}

// ends waits until a profile is disconnected, and until the window knows it.
func (d *desktopApp) ends(profile string) {
	d.t.Helper()
	d.becomes(profile, api.Disconnected)
	d.until(soon, "the window shows that the tunnel has ended", func() bool { return d.of(d.green) < someOf && d.of(d.primary) >= someOf })
}

// Keys of the menus.
const keyAdd, keyMain, keyClose, keyQuit, keyReport = "ctrl+o", "ctrl+Return", "ctrl+w", "ctrl+q", "ctrl+shift+s"

// tells waits for the tray's tooltip.
func (d *desktopApp) tells(tooltip string) {
	d.t.Helper()
	d.until(3*soon, "the tray tells "+tooltip, func() bool {
		i, err := d.seat.Panel.Item()
		return err == nil && i.Tooltip == tooltip && len(i.Menu) > 0 && i.Menu[0].Label == tooltip
	})
}

// choose waits for a line of the tray's menu, and presses it.
func (d *desktopApp) choose(label string) {
	d.t.Helper()
	d.until(2*soon, "the tray's menu has "+label, func() bool {
		i, err := d.seat.Panel.Item()
		if err != nil {
			return false
		}
		pressed, err := i.Press(label)
		d.ok(err)
		return pressed
	})
}

// notified waits for a notification with this in it.
func (d *desktopApp) notified(text string) {
	d.t.Helper()
	d.until(2*soon, "a notification: "+text, func() bool { return strings.Contains(strings.Join(d.seat.Notes.Said(), "\n"), text) })
}

// becomes waits for what the service says of a profile.
func (d *desktopApp) becomes(profile string, state api.State) {
	d.t.Helper()
	d.until(3*soon, profile+" is "+string(state), func() bool { return d.statusOf(profile).State == state })
}

// profiles are the names of those that the service has.
func (d *desktopApp) profiles() string {
	d.t.Helper()
	var list []api.Profile
	d.ok(json.Unmarshal([]byte(d.adit("profiles", "--json")), &list))
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// shots is where pictures of the window are kept for the documentation; empty: nowhere.
var shots = os.Getenv("ADIT_LAB_SHOTS")

// shot keeps one, when nothing in the window has moved for a while.
func (d *desktopApp) shot(name string) {
	d.t.Helper()
	if shots == "" {
		return
	}
	m := d.picture()
	for end, same := time.Now().Add(soon), 0; same < 4 && time.Now().Before(end); same++ {
		time.Sleep(150 * time.Millisecond)
		old := m
		if m = d.picture(); !slices.Equal(old.Pix, m.Pix) {
			same = -1
		}
	}
	d.keep(m, name)
}

// glance is shot where something moves all the time, and what is shown will soon be gone.
func (d *desktopApp) glance(name string) {
	d.t.Helper()
	if shots == "" {
		return
	}
	time.Sleep(300 * time.Millisecond) // it is drawn
	d.keep(d.picture(), name)
}

func (d *desktopApp) keep(m image.Image, name string) {
	d.t.Helper()
	f, err := os.Create(filepath.Join(shots, name+".png"))
	d.ok(err)
	defer f.Close()
	d.ok((&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, m))
}

// TestDesktop is a person's first day with the desktop app, at a desktop with a tray: a profile is added, traffic
// goes through it, the server dies and comes back, and the tray does what the window does.
func TestDesktop(t *testing.T) {
	t.Parallel()
	needsDesktop(t)
	needs(t, "iperf3")
	s := newSite(t)
	p := newPKI(t)
	s.ok(s.server.Forward())
	s.ok(s.host.Route("", serverInner.String()))
	config := s.yaml(p, "", endpointConfig{Rules: vpcRules()})
	up := s.endpointUp(config)
	s.aditd()
	before := s.system()
	d := s.desktopSeat(true)
	profile := clientProfile(p, "udp", "plain", "", append(pinging(), "connect-retry 1 1")...)
	s.ok(os.WriteFile(filepath.Join(d.seat.Home, "work.ovpn"), []byte(profile), 0o600))
	second := s.write(s.client, "second.ovpn", profile)

	d.open()
	d.tells("Adit: not connected")
	d.shot("first")
	d.key(keyAdd)
	d.asked("which file")
	d.key("Tab", "Tab", "Right", "space") // the first file, after the directory above
	d.shot("files")
	d.key("shift+Tab", "shift+Tab", "space")
	d.until(2*soon, "the profile is added", func() bool {
		d.key("Return") // nothing happens until the profile has been read
		return d.profiles() == "work"
	})
	d.answered()
	d.choose("Connect work") // the tray knows it
	d.becomes("work", api.Connected)
	d.sees("that the tunnel is up", d.green)
	d.key(keyMain)
	d.ends("work")
	d.tells("Adit: not connected") // nothing is under way that the key would belong to

	d.key(keyMain)
	d.becomes("work", api.Connected)
	s.reaches(s.client, none, hostAddr)
	d.sees("that the tunnel is up", d.green)
	d.tells("work: Connected")
	idle := d.of(d.received)
	server := s.start(s.host, "iperf3", "iperf3", "--server", "--forceflush")
	s.ok(server.WaitFor("listening", soon))
	client := s.start(s.client, "iperf3", "iperf3", "--client", hostAddr.String(), "--reverse", "--bitrate", "20M", "--time", "300")
	d.until(2*soon, "the graph shows the traffic", func() bool { return d.of(d.received) > idle+1000 })
	d.until(soon, "the graph moves", func() bool {
		was, moved := seat.Where(d.picture(), d.received), 0
		time.Sleep(time.Second)
		for at := range seat.Where(d.picture(), d.received) {
			if !was[at] {
				moved++
			}
		}
		return moved > 100
	})
	if shots != "" {
		d.until(2*time.Minute, "a graph to look at", func() bool { return d.of(d.received) > idle+20000 })
		d.shot("connected")
	}
	client.Stop(syscall.SIGINT, soon) // which it calls an error
	server.Stop(syscall.SIGINT, soon)

	up.Stop(syscall.SIGKILL, soon) // the error is that it was killed
	d.becomes("work", api.Reconnecting)
	d.tells("work: Reconnecting…")
	d.notified("work lost its connection")
	d.until(soon, "the window no longer shows that the tunnel is up", func() bool { return d.of(d.green) < someOf })
	d.shot("reconnecting")
	up = s.endpointUp(config)
	d.becomes("work", api.Connected)
	d.tells("work: Connected")
	d.sees("that the tunnel is up again", d.green)
	s.reaches(s.client, none, hostAddr)

	// The administrator ends the session: blocked, until the person connects again.
	list := s.connections()
	if len(list) != 1 {
		t.Fatalf("connections: %+v", list)
	}
	s.endpointCmd("terminate", list[0].ID)
	d.becomes("work", api.Blocked)
	d.tells("work: Blocked")
	d.notified("traffic is blocked")
	d.sees("that traffic is blocked", d.red)
	d.shot("blocked")
	d.key(keyMain)
	d.becomes("work", api.Connected)
	d.sees("that the tunnel is up after it was blocked", d.green)
	s.reaches(s.client, none, hostAddr)
	d.key(keyMain)
	d.ends("work")
	d.tells("Adit: not connected")
	s.same("after the connection", before, s.system())

	// Without the window: the tray alone.
	d.key("alt+F4")
	d.gone()
	d.choose("Connect work")
	d.becomes("work", api.Connected)
	d.tells("work: Connected")
	d.notified("work is connected")
	d.choose("Open Adit")
	d.sees("that the tunnel is up", d.green)
	d.key("alt+F4")
	d.gone()
	s.ok(d.seat.Panel.Tap())
	d.until(soon, "the window is in front", d.inFront)
	d.choose("Disconnect work")
	d.becomes("work", api.Disconnected)
	s.same("after the second connection", before, s.system())
	i, err := d.seat.Panel.Item()
	if s.ok(err); i.Title != "Adit" || i.Side < 22 || len(i.Icon) == 0 {
		t.Errorf("the tray's item is %q, with %d pixels", i.Title, i.Side)
	}

	// Started once more, with and without a profile.
	d.key("alt+F4")
	d.gone()
	d.again()
	d.until(soon, "the window is in front", d.inFront)
	d.again(second)
	d.asked("whether to add the profile")
	d.shot("import")
	d.until(2*soon, "the second profile is added", func() bool {
		d.key("Return")
		return d.profiles() == "second work"
	})
	d.until(soon, "the tray has it too", func() bool {
		i, err := d.seat.Panel.Item()
		return err == nil && strings.Join(i.Labels(), "|") == "Adit: not connected|Open Adit|Connect second|Connect work|Quit"
	})
	d.choose("Quit")
	d.ended()
	if _, err := d.seat.Panel.Item(); err == nil {
		t.Error("the icon stays in the tray")
	}
}

// TestDesktopSignsIn: the app asks for a password, says that it was wrong, and takes the right one; it opens the
// browser for a provider; and it works on a desktop without a tray.
func TestDesktopSignsIn(t *testing.T) {
	t.Parallel()
	needsDesktop(t)
	needs(t, "chromium")
	s := newSite(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("geheim"), bcrypt.MinCost)
	s.ok(err)
	users := s.write(s.client, "users.yaml", fmt.Sprintf("users:\n  - {name: otto, password: %q}\n", hash))
	s.aditd()
	before := s.system()
	for i, with := range [][]string{{"--auth", "directory", "--users", users}, {"--auth", "federated", "--idp", "demo"}} {
		name := with[1]
		data := filepath.Join(s.client.Dir, name)
		e := s.start(s.client, "adit-endpoint "+name, append([]string{bin(t, "adit-endpoint"), "up", "--data", data, "--listen", fmt.Sprintf("127.0.0.1:%d", port+i)}, with...)...)
		s.ok(e.WaitFor("profile: ", soon))
		s.adit("import", s.write(s.client, name+".ovpn", s.read(filepath.Join(data, "client.ovpn"))))
	}
	d := s.desktopSeat(false)
	d.open(s.signedIn("alice@example.com", "alice-demo")...)

	d.key(keyMain) // of the first
	d.asked("name and password")
	d.types("otto")
	d.key("Tab")
	d.types("hunter-bad")
	d.shot("password")
	d.key("Return")
	d.sees("that the password is wrong", d.amber)
	d.asked("once more")
	d.shot("wrong-password")
	d.types("geheim")
	d.key("Return")
	d.becomes("directory", api.Connected)
	d.answered()
	d.sees("that the tunnel is up", d.green)
	s.reaches(s.client, none, netip.MustParseAddr(demoHost))
	d.key(keyMain)
	d.ends("directory")
	s.same("after the first connection", before, s.system())

	d.changes("the second profile is selected", "Tab", "Down") // in the list
	d.key(keyMain)                                             // of the second
	d.asked("to sign in with the browser")
	d.glance("browser")
	d.becomes("federated", api.Connected)
	d.answered()
	s.reaches(s.client, none, netip.MustParseAddr(demoHost))
	if out := s.run(s.client, bin(t, "adit-endpoint"), "--data", filepath.Join(s.client.Dir, "federated"), "connections"); !strings.Contains(out, "alice@example.com") {
		t.Errorf("connections: %s", out)
	}

	// The administrator ends the session: the guard stays, and the browser's sign-in goes through it.
	list := strings.Fields(s.run(s.client, bin(t, "adit-endpoint"), "--data", filepath.Join(s.client.Dir, "federated"), "terminate", "--user", "alice@example.com"))
	if len(list) == 0 {
		t.Error("terminate says nothing")
	}
	d.becomes("federated", api.Blocked)
	d.sees("that traffic is blocked", d.red)
	d.key(keyMain)
	d.asked("to sign in with the browser, while blocked")
	d.glance("blocked-sign-in")
	d.becomes("federated", api.Connected)
	d.answered()
	d.sees("that the tunnel is up again", d.green)
	s.reaches(s.client, none, netip.MustParseAddr(demoHost))

	// Nothing would show an icon: the person is asked once, and starting the app again brings the window back.
	d.key("alt+F4")
	d.asked("whether to go on")
	d.shot("background")
	d.key("Return")
	d.gone()
	d.notified("Adit keeps running")
	d.becomes("federated", api.Connected)
	d.again()
	d.until(soon, "the window is in front", d.inFront)
	d.key(keyClose)
	d.gone()
	d.again()
	d.until(soon, "the window is in front again", d.inFront)
	d.sees("that the tunnel is up", d.green)
	d.key(keyMain)
	d.becomes("federated", api.Disconnected)
	s.same("after the second connection", before, s.system())
	d.key(keyQuit)
	d.ended()

	d.open()
	s.ok(d.proc.Cmd.Process.Signal(syscall.SIGTERM)) // as a session that ends
	d.ended()
}

// TestDesktopManaged: the app on a computer that an organization manages. Its profile is there by itself, a tunnel of the
// person's own goes beside it, a destination is tried, and a report is saved for whoever helps. The tray opens the window to
// sign in.
func TestDesktopManaged(t *testing.T) {
	t.Parallel()
	needsDesktop(t)
	s := newSite(t)
	p := newPKI(t)
	theirs := strings.NewReplacer("10.64.0.0/22", "10.72.0.0/22", "fd64::/64", "fd72::/64") // the demo has the usual ones
	s.endpointUp(theirs.Replace(s.yaml(p, "", endpointConfig{Rules: vpcRules()})))
	s.ok(s.client.Do(func() error {
		return errors.Join(os.MkdirAll("/etc/adit/profiles", 0o755), os.WriteFile("/etc/adit/profiles/corp.ovpn", []byte(clientProfile(p, "udp", "plain", "")), 0o644),
			os.WriteFile("/etc/adit/profiles/spare.ovpn", []byte("client\nremote vpn.example.com\nca spare.crt\n"), 0o644),
			os.WriteFile("/etc/adit/policy.json", []byte(`{"Guard": "auto", "AllowSavedPasswords": false, "MaxConnections": 3}`), 0o644))
	}))
	s.aditd()
	before := s.system()
	data := filepath.Join(s.client.Dir, "demo")
	hash, err := bcrypt.GenerateFromPassword([]byte("geheim"), bcrypt.MinCost)
	s.ok(err)
	users := s.write(s.client, "users.yaml", fmt.Sprintf("users:\n  - {name: otto, password: %q}\n", hash))
	e := s.start(s.client, "adit-endpoint demo", bin(t, "adit-endpoint"), "up", "--data", data, "--listen", fmt.Sprintf("127.0.0.1:%d", port+1), "--auth", "directory", "--users", users)
	s.ok(e.WaitFor("profile: ", soon))
	s.adit("import", s.write(s.client, "lab.ovpn", s.read(filepath.Join(data, "client.ovpn"))))
	d := s.desktopSeat(true)
	d.open()
	if got := d.profiles(); got != "corp lab" {
		t.Fatalf("profiles: %s", got)
	}

	d.key(keyMain) // of the managed one
	d.becomes("corp", api.Connected)
	d.sees("that the tunnel is up", d.green)
	d.changes("the second profile is selected", "Tab", "Down")
	d.key(keyMain)
	d.signIn()
	d.becomes("lab", api.Connected)
	d.answered()
	d.until(soon, "the tray tells of both", func() bool {
		i, err := d.seat.Panel.Item()
		return err == nil && strings.HasSuffix(i.Tooltip, "(and others)")
	})
	s.reaches(s.client, none, hostAddr)
	s.reaches(s.client, none, netip.MustParseAddr(demoHost))
	d.shot("several")

	d.changes("the settings", "ctrl+comma")
	d.shot("managed")

	d.changes("the page for a destination", "ctrl+e")
	sent := s.statusOf("lab").Counters.TxPackets
	d.types(demoHost + ":80")
	d.key("Tab", "Tab", "space") // the second button
	d.until(soon, "something went into the tunnel", func() bool { return s.statusOf("lab").Counters.TxPackets > sent })
	d.until(soon, "the window has an answer", func() bool { return d.inFront() && !d.asks() })
	d.shot("tried")

	d.key(keyReport)
	d.asked("where to save the report")
	d.shot("report")
	saved := func() bool {
		found, err := filepath.Glob(filepath.Join(d.seat.Home, "adit-diagnose-*.zip"))
		s.ok(err)
		return len(found) == 1
	}
	d.key("Return")
	d.until(2*soon, "the report is saved", saved)
	d.answered()

	d.choose("Disconnect lab")
	d.becomes("lab", api.Disconnected)
	d.choose("Disconnect corp")
	d.becomes("corp", api.Disconnected)
	s.same("after both connections", before, s.system())

	// Without the window: what the tray begins, and what it leads to.
	d.key("alt+F4")
	d.gone()
	d.choose("Connect lab")
	d.until(2*soon, "the window is in front, to sign in", d.inFront)
	d.asked("name and password")
	d.key("alt+F4")
	d.gone()
	d.choose("Sign in to lab…")
	d.until(soon, "the window is in front again", d.inFront)
	d.signIn()
	d.becomes("lab", api.Connected)
	d.key(keyMain)
	d.becomes("lab", api.Disconnected)
	d.key(keyQuit)
	d.ended()
}
