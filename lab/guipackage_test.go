//go:build linux

package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/lab/seat"
)

// guiPackage makes the deb of the desktop app, of version 1.2.3.
func (s *site) guiPackage() string {
	s.t.Helper()
	app, err := guiFile()
	s.ok(err)
	dir := s.t.TempDir()
	programs := filepath.Join(dir, "linux-"+runtime.GOARCH)
	s.ok(os.Mkdir(programs, 0o755))
	text, err := os.ReadFile(app)
	s.ok(err)
	s.ok(os.WriteFile(filepath.Join(programs, "adit-gui"), text, 0o755)) // nfpm would pack a symbolic link as one
	cmd := exec.Command("go", "run", "./installer/linux/build", "-quick", "-version", "1.2.3", "-bin", dir, "-out", dir, "-arch", runtime.GOARCH, "-formats", "deb", "-packages", "adit-gui")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "adit-gui_1.2.3_"+runtime.GOARCH+".deb")
}

// TestDesktopPackage: the desktop app comes from an organization's own repository to a machine that has what the package asks
// for and nothing more, opens a profile that a person of no rank double-clicks, and one that a command line names, and leaves with all
// that it has told the desktop.
func TestDesktopPackage(t *testing.T) {
	t.Parallel()
	needsDesktop(t)
	needs(t, "dpkg-deb", "dpkg-scanpackages")
	s := &site{t: t, net: newNet(t)}
	n := s.node("machine")
	deb := s.guiPackage()
	depends, err := exec.Command("dpkg-deb", "-f", deb, "Depends").Output()
	s.ok(err)
	// What opens files on a desktop is there before us.
	wants := []string{"xdg-utils", "shared-mime-info", "desktop-file-utils", "libglib2.0-bin"}
	for _, d := range strings.Split(strings.TrimSpace(string(depends)), ", ") {
		if name, _, _ := strings.Cut(d, " "); name != "adit" {
			wants = append(wants, name)
		}
	}
	b := &boxed{&world{site: s}, s.box(n, wants...), "/usr/bin/adit"}

	const home = "/home/alice"
	b.in(b.box, "useradd", "--create-home", "alice")
	before := b.files()
	packages, err := linuxPackages()
	b.ok(err)
	repository := t.TempDir()
	for _, from := range []string{filepath.Join(packages, "adit_1.2.3_"+runtime.GOARCH+".deb"), deb} {
		text, err := os.ReadFile(from)
		b.ok(err)
		b.ok(os.WriteFile(filepath.Join(repository, filepath.Base(from)), text, 0o644))
		b.ok(b.box.Write("/root/repository/"+filepath.Base(from), text, 0o644))
	}
	list := exec.Command("dpkg-scanpackages", "--multiversion", ".")
	list.Dir = repository
	index, err := list.Output()
	b.ok(err)
	b.ok(b.box.Write("/root/repository/Packages", index, 0o644))
	b.ok(b.box.Write("/root/adit.list", []byte("deb [trusted=yes] file:/root/repository ./\n"), 0o644))
	apt := []string{"apt-get", "-q", "-o", "Dir::Etc::SourceList=/root/adit.list", "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Sandbox::User=root"}
	b.in(b.box, append(apt, "update")...)
	b.in(b.box, append(apt, "install", "-y", "--no-install-recommends", "adit-gui")...)
	b.in(b.box, "usermod", "-aG", "adit", "alice")

	// The person's desktop: its display is this machine's, and reached by its name in the network of both.
	desk, err := seat.Start(seat.Config{Dir: filepath.Join(n.Dir, "seat"), Width: 1000, Height: 720, Managed: true, Run: in(n).Run})
	b.ok(err)
	t.Cleanup(desk.Close)
	b.in(b.box, "install", "-d", "-o", "alice", "-m", "700", "/run/user/alice")
	env := []string{"HOME=" + home, "XDG_RUNTIME_DIR=/run/user/alice", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/alice/bus", "XDG_CURRENT_DESKTOP=GNOME",
		"LIBGL_ALWAYS_SOFTWARE=1", "LANG=en_US.UTF-8"}
	for _, e := range desk.Env {
		if strings.HasPrefix(e, "DISPLAY=") {
			env = append(env, e)
		}
	}
	alice := func(argv ...string) []string {
		return slices.Concat([]string{"setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "env", "--chdir=" + home}, env, argv)
	}
	profile := clientProfile(newPKI(t), "udp", "plain", "")
	for _, name := range []string{".config/adit/gui.json", "office.ovpn", "the other.ovpn"} {
		text := profile
		if strings.HasSuffix(name, ".json") {
			text = `{"version": 1, "theme": "light", "language": "en"}`
		}
		b.ok(b.box.Write(filepath.Join(home, name), []byte(text), 0o600))
	}
	b.in(b.box, "chown", "-R", "alice:", home)

	const app = "io.github.adit_vpn.Adit.desktop"
	for want, ask := range map[string][]string{
		"  standard::content-type: application/x-openvpn-profile": {"gio", "info", "-a", "standard::content-type", home + "/office.ovpn"},
		app: {"xdg-mime", "query", "default", "application/x-openvpn-profile"},
		"Default application for “x-scheme-handler/adit”: " + app: {"gio", "mime", "x-scheme-handler/adit"},
	} {
		if says := b.in(b.box, alice(ask...)...); !slices.Contains(strings.Split(strings.TrimSpace(says), "\n"), want) {
			t.Errorf("%q says %q, want %q", ask, says, want)
		}
	}

	d := &desktopApp{site: s, colours: s.lightColours(), seat: desk}
	profiles := func() (names []string) {
		var list []api.Profile
		if err := json.Unmarshal([]byte(b.in(b.box, alice("adit", "profiles", "--json")...)), &list); err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			names = append(names, p.Name)
		}
		slices.Sort(names)
		return names
	}
	adds := func(want ...string) {
		t.Helper()
		d.asked(fmt.Sprintf("add %s?", want))
		b.until(2*soon, "the profile is added", func() bool {
			d.key("Return") // nothing happens until the profile has been read
			return slices.Equal(profiles(), want)
		})
		d.answered()
	}
	_, err = b.box.Start(alice("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path=/run/user/alice/bus")...)
	b.ok(err)
	b.until(soon, "the session's bus", func() bool { _, err := b.tryIn(b.box, "test", "-S", "/run/user/alice/bus"); return err == nil })
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := b.box.Read(home + "/said")
			t.Logf("the app said:\n%s", said)
		}
	})
	b.in(b.box, alice("sh", "-c", "exec xdg-open office.ovpn >said 2>&1")...) // by gio, as a file: address
	d.until(2*soon, "the window has the keyboard", d.inFront)
	adds("office")
	b.in(b.box, alice("adit-gui", "the other.ovpn")...) // to the one that runs
	adds("office", "the other")
	d.key(keyQuit)
	d.gone()
	b.until(2*soon, "the app ends", func() bool {
		_, err := b.tryIn(b.box, "grep", "-qx", "adit-gui", "-r", "/proc", "--include=comm")
		return err != nil
	})

	b.in(b.box, append(apt, "purge", "-y", "adit-gui", "adit")...)
	left := slices.DeleteFunc(different(before, b.files()), func(f string) bool { return strings.Contains(f, home+"/") })
	if len(left) > 0 {
		t.Errorf("purged, the machine differs:\n%s", strings.Join(left, "\n"))
	}
	if failed := b.in(b.box, "systemctl", "--failed", "--plain", "--no-legend"); failed != "" {
		t.Errorf("failed: %s", failed)
	}
}
