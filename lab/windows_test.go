//go:build linux

package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

// wine is a Windows of its own for a test, below a directory.
type wine struct {
	t   *testing.T
	dir string
}

// newWine makes one, as Windows 10, in which programs in Go run: they want a library that wine 8 lacks, whose one function is
// another's.
func newWine(t *testing.T) *wine {
	t.Helper()
	w := &wine{t, filepath.Join(t.TempDir(), "wine")}
	t.Cleanup(func() { w.server("-k"); w.server("-w") })
	w.must("wineboot", "-i")
	// Wine gives a service ten seconds to start, which is little on a busy machine.
	w.must("wine", "reg", "add", `HKLM\SYSTEM\CurrentControlSet\Control`, "/v", "ServicesPipeTimeout", "/d", "90000", "/f")
	w.server("-k")
	w.server("-w")
	// Services end when nothing else runs: a prompt waits for what nobody types.
	prompt := w.command(context.Background(), "wine", "cmd.exe")
	typed, err := prompt.StdinPipe()
	if err == nil {
		err = prompt.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { typed.Close(); _ = prompt.Wait() })
	w.must("wine", "winecfg", "-v", "win10")
	stub := filepath.Join(t.TempDir(), "stub")
	for name, text := range map[string]string{".def": "LIBRARY bcryptprimitives\nEXPORTS\nProcessPrng = ADVAPI32.SystemFunction036\n", ".s": ".text\nnop\n"} {
		if err := os.WriteFile(stub+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.must("x86_64-w64-mingw32-as", "-o", stub+".o", stub+".s")
	w.must("x86_64-w64-mingw32-ld", "-shared", "-e", "0", "-o", w.path(`windows\system32\bcryptprimitives.dll`), stub+".o", stub+".def")
	return w
}

// path is where a path on disk C: is here.
func (w *wine) path(name string) string {
	return filepath.Join(w.dir, "drive_c", filepath.FromSlash(strings.ReplaceAll(name, `\`, "/")))
}

// command is a program in this Windows.
func (w *wine) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(w.dir), "WINEPREFIX=" + w.dir, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree=;mshtml=", "LC_ALL=C.UTF-8"}
	return cmd
}

// run runs a program, and returns what it wrote.
func (w *wine) run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := w.command(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second // the service has inherited them
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return strings.ReplaceAll(out.String(), "\r", ""), err
}

func (w *wine) must(name string, args ...string) string {
	w.t.Helper()
	out, err := w.run(name, args...)
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// server speaks to the prefix's own server, also when the test has ended.
func (w *wine) server(arg string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/lib/wine/wineserver64", arg)
	cmd.Env = []string{"WINEPREFIX=" + w.dir, "HOME=" + filepath.Dir(w.dir)}
	_ = cmd.Run() // it may have ended already
}

// registry is what reg query says of a key and a value, or of all of it; empty when it is not there. Wine's reg sometimes says
// nothing at all on a busy machine, and is asked again.
func (w *wine) registry(key string, args ...string) string {
	w.t.Helper()
	var out string
	var err error
	for range 3 {
		out, err = w.run("wine", append([]string{"reg", "query", `HKLM\` + key}, args...)...)
		switch {
		case strings.Contains(out, "Unable to find the specified registry"):
			return ""
		case err == nil && out != "":
			return out
		}
	}
	w.t.Fatalf("reg query HKLM\\%s %q: %v\n%s", key, args, err, out)
	return ""
}

// files are all on disk C: that installers may have made. Windows' own copies of packages, and what is thrown away, are none.
func (w *wine) files() []string {
	w.t.Helper()
	var out []string
	root := w.path("")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if strings.HasPrefix(name, "windows/Installer") || strings.Contains(name, "emp/") || strings.HasSuffix(name, ".log") {
			return nil
		}
		out = append(out, name)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// toldOf counts how often the service was told of a restart meanwhile: notes in its state directory, which live for a moment.
func (w *wine) toldOf(what func()) int {
	w.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		w.t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, w.path(`ProgramData\Adit`), unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		w.t.Fatal(err)
	}
	what()
	count := 0
	for b := make([]byte, 64<<10); ; {
		n, err := unix.Read(fd, b)
		if errors.Is(err, unix.EAGAIN) {
			return count
		}
		if err != nil {
			w.t.Fatal(err)
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; { // inotify(7): the length of the name is the last field before it
			begin := at + unix.SizeofInotifyEvent
			at = begin + int(binary.NativeEndian.Uint32(b[begin-4:]))
			if string(bytes.TrimRight(b[begin:at], "\x00")) == "restart" {
				count++
			}
		}
	}
}

// z is a path of this machine for programs there.
func z(path string) string { return `Z:` + strings.ReplaceAll(path, "/", `\`) }

// windowsPackages builds packages of a version, with the real adit and aditd and stand-ins for the other programs, which are large
// and of which nothing runs here. It returns their directory.
func windowsPackages(t *testing.T, version, kinds string, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, arch := range []string{"amd64", "arm64"} {
		for _, name := range []string{"adit", "aditd", "adit-pkcs11", "adit-endpoint", "adit-gui", "aws-vpn-client"} {
			if arch == "amd64" && slices.Contains(programs, "../cmd/"+name) {
				continue
			}
			path := filepath.Join(dir, "windows-"+arch, name+".exe")
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("stands in for "+name+" "+version), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, args := range [][]string{
		append([]string{"build", "-ldflags", "-s -w -X main.version=" + version, "-o", filepath.Join(dir, "windows-amd64") + "/"}, programs...),
		{"run", "../installer/windows/build", "-version", version, "-kinds", kinds, "-bin", dir, "-gui", filepath.Join(dir, "windows-amd64", "adit-gui.exe"), "-text", "../LICENSE", "-out", dir},
	} {
		cmd := exec.Command("go", args...)
		if cmd.Env = os.Environ(); args[0] == "build" {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir
}

// TestWindowsPackages: the MSI installs without a question, with a managed profile, a policy and the app's start with each session; the service
// runs and answers; a newer version replaces it and nothing is lost, an older one only where that was asked for; after the removal all is as before but for the state, and that goes where it was asked for. Then the
// same with the setup program. A policy that cannot be used installs nothing.
func TestWindowsPackages(t *testing.T) {
	needs(t, "wine", "wineboot", "msibuild", "gcab", "makensis", "x86_64-w64-mingw32-as", "x86_64-w64-mingw32-ld")
	t.Parallel()
	old := filepath.Join(windowsPackages(t, "1.1.0", "msi", "../cmd/adit", "../cmd/aditd"), "adit-1.1.0-windows-amd64.msi")
	// The service alone is real in the setup program: packing takes it a second for each megabyte.
	setup := filepath.Join(windowsPackages(t, "1.3.0", "setup", "../cmd/aditd"), "adit-1.3.0-windows-amd64-setup.exe")
	newer := filepath.Join(windowsPackages(t, "1.2.0", "msi", "../cmd/adit", "../cmd/aditd"), "adit-1.2.0-windows-amd64.msi")
	given := filepath.Join(t.TempDir(), "roll out")
	text := "client\ndev tun\nremote vpn.example.com 1194\nauth-user-pass\nca ca.crt\n"
	for name, text := range map[string]string{
		"corp.ovpn": text, "ca.crt": string(ovpntest.NewPKI(t).CA()), "wrong.json": `{"MaxConnection": 2}`,
		"policy.json": `{"AllowSavedPasswords": false, "MaxConnections": 2, "AllowedServers": ["vpn.example.com"]}`,
	} {
		if err := errors.Join(os.MkdirAll(given, 0o755), os.WriteFile(filepath.Join(given, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	w := newWine(t)
	before := w.files()
	msi := func(how, path string, args ...string) error {
		out, err := w.run("wine", append([]string{"msiexec", how, z(path), "/qn", "/l*v", `C:\install.log`}, args...)...)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	const (
		program   = `C:\Program Files\Adit\adit.exe`
		uninstall = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`
		run       = `SOFTWARE\Microsoft\Windows\CurrentVersion\Run`
		policy    = `SOFTWARE\Policies\Adit`
		service   = `SYSTEM\CurrentControlSet\Services\Adit`
		paths     = `SYSTEM\CurrentControlSet\Control\Session Manager\Environment`
		events    = `SYSTEM\CurrentControlSet\Services\EventLog\Application\Adit`
		classes   = `SOFTWARE\Classes\`
	)
	installed := []string{"LICENSE.txt", "adit-endpoint.exe", "adit-gui.exe", "adit-pkcs11.exe", "adit.exe", "aditd.exe"}
	check := func(what string, more ...string) {
		t.Helper()
		var names []string
		entries, err := os.ReadDir(w.path(`Program Files\Adit`))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if want := append(slices.Clone(installed), more...); err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: files %q, %v", what, names, err)
		}
		out, err := w.run("wine", "sc", "query", "Adit")
		for deadline := time.Now().Add(30 * time.Second); err == nil && strings.Contains(out, "START_PENDING") && time.Now().Before(deadline); {
			time.Sleep(200 * time.Millisecond) // the setup program does not wait for it
			out, err = w.run("wine", "sc", "query", "Adit")
		}
		if err != nil || !strings.Contains(out, "RUNNING") {
			t.Errorf("%s: the service does not run: %v\n%s", what, err, out)
		}
		for _, c := range []struct{ key, want string }{
			{service, "DisplayName    REG_SZ    Adit VPN\n"}, {service, "DependOnService    REG_MULTI_SZ    BFE"}, {service, "Dnscache\n"}, {service, "Start    REG_DWORD    0x2\n"},
			{service, `C:\Program Files\Adit\aditd.exe`}, {service, "ObjectName    REG_SZ    LocalSystem\n"}, {events, `%SystemRoot%\System32\EventCreate.exe`},
			{run, `"C:\Program Files\Adit\adit-gui.exe" --hidden`}, {classes + ".ovpn", "Adit.Profile"},
			{classes + `Adit.Profile\shell\open\command`, `"C:\Program Files\Adit\adit-gui.exe" -- "%1"`},
			{policy, "AllowSavedPasswords    REG_DWORD    0x0\n"}, {policy, "AllowedServers    REG_MULTI_SZ    vpn.example.com\n"},
		} {
			if got := w.registry(c.key); !strings.Contains(got, c.want) {
				t.Errorf("%s: %q is not in HKLM\\%s\n%s", what, c.want, c.key, got)
			}
		}
		if !slices.ContainsFunc(w.files(), func(s string) bool { return strings.HasSuffix(s, "/Adit.lnk") }) {
			t.Errorf("%s: the Start menu has no Adit", what)
		}
		profile, err := os.ReadFile(w.path(`ProgramData\Adit\Profiles\corp.ovpn`))
		if err != nil || !bytes.Contains(profile, []byte("<ca>")) {
			t.Errorf("%s: managed profile: %v\n%s", what, err, profile)
		}
	}
	// answers are what the programs of a version say. It has a profile that somebody imported.
	answers := func(what, version string) {
		t.Helper()
		if out := w.must("wine", program, "version"); strings.Count(out, version) != 2 {
			t.Errorf("%s: versions\n%s", what, out)
		}
		if out := w.must("wine", program, "profiles"); !strings.Contains(out, "mine") {
			t.Errorf("%s: the profile is lost:\n%s", what, out)
		}
		if codes := regexp.MustCompile(`\\\{[0-9A-F-]{36}\}`).FindAllString(w.registry(uninstall), -1); len(codes) != 1 {
			t.Errorf("%s: installed: %q", what, codes)
		}
	}

	// A folder of profiles ends in the character that would hide the quote behind it.
	if err := msi("/i", old, "AUTOSTART=1", "PROFILE="+z(given)+`\`, "POLICY="+z(filepath.Join(given, "policy.json"))); err != nil {
		t.Fatalf("install: %v", err)
	}
	w.must("wine", program, "import", z(filepath.Join(given, "corp.ovpn")), "--name", "mine")
	check("installed")
	answers("installed", "1.1.0")
	if got := w.registry(paths, "/v", "PATH"); !strings.Contains(got, `;C:\Program Files\Adit\`) {
		t.Errorf("PATH: %s", got)
	}
	if _, err := w.run("wine", z(setup), "/S"); err == nil {
		t.Error("the setup program installs over the package")
	}

	if err := msi("/i", newer); err != nil {
		t.Fatalf("upgrade: %v", err)
	}
	check("upgraded")
	answers("upgraded", "1.2.0")
	if err := msi("/i", old); err == nil {
		t.Error("an older version replaces a newer one, and nobody asked for it")
	}
	answers("downgrade refused", "1.2.0")
	if err := msi("/i", old, "DOWNGRADE=1"); err != nil {
		t.Fatalf("downgrade: %v", err)
	}
	check("downgraded")
	answers("downgraded", "1.1.0")

	gone := func(what string, state bool) {
		t.Helper()
		// The setup's uninstaller goes on in a copy of itself.
		deadline := time.Now().Add(30 * time.Second)
		for _, err := os.Stat(w.path(`Program Files\Adit`)); err == nil && time.Now().Before(deadline); _, err = os.Stat(w.path(`Program Files\Adit`)) {
			time.Sleep(100 * time.Millisecond)
		}
		for _, name := range w.files() {
			if !slices.Contains(before, name) && !(state && strings.HasPrefix(name, "ProgramData/Adit")) {
				t.Errorf("%s: %s is left", what, name)
			}
		}
		for _, key := range []string{service, events, classes + "Adit.Profile", classes + "Adit.Link", classes + `.ovpn\OpenWithProgids`, `SOFTWARE\Adit`, uninstall + `\Adit`} {
			if got := w.registry(key); got != "" {
				t.Errorf("%s: HKLM\\%s is left:\n%s", what, key, got)
			}
		}
		for key, value := range map[string]string{run: "adit-gui", paths: `Files\Adit`, uninstall: "{", `SOFTWARE\RegisteredApplications`: "Adit", classes + ".ovpn": "Adit"} {
			if got := w.registry(key); strings.Contains(got, value) {
				t.Errorf("%s: HKLM\\%s:\n%s", what, key, got)
			}
		}
		if _, err := os.Stat(w.path(`ProgramData\Adit`)); (err == nil) != state {
			t.Errorf("%s: state: %v", what, err)
		}
		if (w.registry(policy) != "") != state {
			t.Errorf("%s: policy: %s", what, w.registry(policy))
		}
	}
	// A service that cannot undo what it has changed: another program in its place knows no such command.
	daemon, other := w.path(`Program Files\Adit\aditd.exe`), w.path(`Program Files\Adit\adit.exe`)
	content, err := os.ReadFile(other)
	if err == nil {
		err = errors.Join(os.Rename(daemon, daemon+".kept"), os.WriteFile(daemon, content, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := w.toldOf(func() {
		if err := msi("/x", old); err == nil {
			t.Error("it removes what undoes the service's changes")
		}
	}); n != 0 {
		t.Error("the service was told that it is started again, and it is not")
	}
	if err := errors.Join(os.Remove(daemon), os.Rename(daemon+".kept", daemon)); err != nil {
		t.Fatal(err)
	}
	w.must("wine", "net", "start", "Adit") // as Windows does after what failed; wine does not
	check("removal refused")
	answers("removal refused", "1.1.0")
	// What Windows Installer says to the older package in an upgrade, and wine's does not.
	if n := w.toldOf(func() {
		if err := msi("/x", old, "UPGRADINGPRODUCTCODE={00000000-0000-0000-0000-000000000000}"); err != nil {
			t.Errorf("remove: %v", err)
		}
	}); n != 1 {
		t.Errorf("the service was told %d times that an upgrade starts it again", n)
	}
	gone("removed", true)

	w.must("wine", "reg", "delete", `HKLM\`+policy, "/f")
	if out, err := w.run("wine", z(setup), "/S", "/AUTOSTART=1", "/PROFILE="+z(filepath.Join(given, "corp.ovpn")), "/POLICY="+z(filepath.Join(given, "policy.json"))); err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
	check("set up", "uninstall.exe")
	if got := w.registry(uninstall+`\Adit`, "/v", "DisplayVersion"); !strings.Contains(got, "1.3.0") {
		t.Errorf("list of programs: %s", got)
	}
	if err := msi("/i", newer); err == nil {
		t.Error("the package installs over the setup program's")
	}
	if out, err := w.run("wine", `C:\Program Files\Adit\uninstall.exe`, "/S", "/REMOVEDATA=1"); err != nil {
		t.Errorf("uninstall: %v\n%s", err, out)
	}
	gone("uninstalled", false)

	if err := msi("/i", newer, "ADDLOCAL=Core,Gui,AwsCli"); err != nil {
		t.Fatalf("install again: %v", err)
	}
	if _, err := os.Stat(w.path(`Program Files\Adit\aws\aws-vpn-client.exe`)); err != nil || !strings.Contains(w.registry(paths, "/v", "PATH"), `;C:\Program Files\Adit\aws\`) {
		t.Errorf("what was asked for is not there, or not in PATH: %v, %s", err, w.registry(paths, "/v", "PATH"))
	}
	if w.registry(run) != "" && strings.Contains(w.registry(run), "adit-gui") {
		t.Error("the app starts with each session, and nobody asked for it")
	}
	if err := msi("/x", newer, "REMOVEDATA=1"); err != nil {
		t.Errorf("remove with the state: %v", err)
	}
	gone("removed with the state", false)

	// Wine's way back leaves the service's name, so that this comes last.
	if err := msi("/i", old, "POLICY="+z(filepath.Join(given, "wrong.json"))); err == nil {
		t.Error("it installs with a policy that cannot be used")
	}
	if _, err := os.Stat(w.path(`Program Files\Adit`)); !errors.Is(err, fs.ErrNotExist) || w.registry(policy) != "" {
		t.Errorf("an installation that failed left programs or a policy: %v, %s", err, w.registry(policy))
	}
}
