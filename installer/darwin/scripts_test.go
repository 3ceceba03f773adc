package darwin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mac is a directory that scripts take for a Mac: their absolute paths are below it, and instead of launchctl and others they
// run notes of what they were asked.
type mac struct {
	t    *testing.T
	root string
}

// newMac makes one. Loaded says whether launchd knows the service at first.
func newMac(t *testing.T, loaded bool) mac {
	t.Helper()
	m := mac{t, t.TempDir()}
	for _, dir := range []string{"/fake", "/Library/Adit", "/Library/LaunchDaemons", "/var/log", "/var/db/adit", "/Applications/Adit.app", "/Users/ann/Library/LaunchAgents"} {
		if err := os.MkdirAll(m.root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range pagesOfMac {
		if err := os.MkdirAll(filepath.Dir(m.root+file), 0o755); err != nil {
			t.Fatal(err)
		}
		m.write(file, "")
	}
	// launchd forgets a service only when it is asked for the second time after bootout.
	m.program("launchctl", `case "$1" in
bootout) [ ! -e "$M/var/run/adit/restart" ] || echo "(to be started again)" >>"$M/calls"
	if [ -e "$M/loaded" ]; then rm "$M/loaded"; touch "$M/ending"; else exit 3; fi ;;
enable) rm "$M/disabled" ;;
disable) touch "$M/disabled" ;;
bootstrap) [ ! -e "$M/disabled" ] && [ ! -e "$M/loaded" ] && [ ! -e "$M/ending" ] && touch "$M/loaded" ;;
print) if [ -e "$M/ending" ]; then rm "$M/ending"; else [ -e "$M/loaded" ]; fi ;;
print-disabled) echo "disabled services = {"; [ ! -e "$M/disabled" ] || echo '	"com.adit.aditd" => disabled'; echo "}" ;;
esac`)
	m.program("pkgutil", `[ "$2" != com.adit.gui ] || exit 1`)
	m.program("id", "echo 0")
	m.program("sleep", "")
	if loaded {
		m.write("/loaded", "")
	}
	return m
}

// pagesOfMac are the manual pages and completions of a package, by where people's programs look for them.
var pagesOfMac = map[string]string{
	"/usr/local/share/man/man1/adit.1":                     Shared + "/man/man1/adit.1",
	"/usr/local/share/man/man8/aditd.8":                    Shared + "/man/man8/aditd.8",
	"/usr/local/share/zsh/site-functions/_adit":            Shared + "/zsh/site-functions/_adit",
	"/usr/local/share/bash-completion/completions/adit":    Shared + "/bash-completion/completions/adit",
	"/usr/local/share/fish/vendor_completions.d/adit.fish": Shared + "/fish/vendor_completions.d/adit.fish",
}

// program puts one into the way of a script; it notes its arguments first.
func (m mac) program(name, body string) {
	m.write("/fake/"+name, "#!/bin/sh\nM="+m.root+"\necho "+name+` "$@" >>"$M/calls"`+"\n"+body+"\n")
}

func (m mac) write(path, text string) {
	m.t.Helper()
	if err := os.WriteFile(m.root+path, []byte(text), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m mac) there(path string) bool {
	_, err := os.Lstat(m.root + path)
	return err == nil
}

// run runs scripts, the first of them, and returns what was called and said.
func (m mac) run(scripts map[string][]byte, first string, args ...string) (calls, said string, err error) {
	m.t.Helper()
	places := []string{"PATH=", "PATH=" + m.root + "/fake:", "/Users/*/Library/", m.root + "/Users/*/Library/"}
	for _, dir := range []string{"/Library/", "/usr/local/", "/var/", "/Applications/", "/Users/"} {
		places = append(places, dir, m.root+dir)
	}
	dir := m.t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.NewReplacer(places...).Replace(string(text))), 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	_ = os.Remove(m.root + "/calls")
	out, err := exec.Command(filepath.Join(dir, first), args...).CombinedOutput()
	b, _ := os.ReadFile(m.root + "/calls")
	return strings.ReplaceAll(string(b), m.root, ""), strings.ReplaceAll(string(out), m.root, ""), err
}

func TestPostinstall(t *testing.T) {
	const daemon = "system/com.adit.aditd"
	install := func(m mac) (string, string, error) { return m.run(Scripts(), "postinstall", "/a.pkg", "/", "/") }
	start := "launchctl print-disabled system\nlaunchctl bootout " + daemon + "\n"
	end := "launchctl bootstrap system " + Daemon + "\n"

	t.Run("first", func(t *testing.T) {
		m := newMac(t, false)
		calls, said, err := install(m)
		if want := start + "launchctl print " + daemon + "\n" + end; err != nil || calls != want || said != "" {
			t.Errorf("%v, %q\ngot  %s\nwant %s", err, said, calls, want)
		}
		if target, err := os.Readlink(m.root + "/usr/local/bin/adit"); err != nil || target != m.root+"/Library/Adit/adit" {
			t.Errorf("adit is a link to %s, %v", target, err)
		}
		for at, file := range pagesOfMac {
			if target, err := os.Readlink(m.root + at); err != nil || target != m.root+file {
				t.Errorf("%s is a link to %s, %v", at, target, err)
			}
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		m := newMac(t, true)
		if err := os.MkdirAll(filepath.Dir(m.root+Restart), 0o755); err != nil {
			t.Fatal(err)
		}
		calls, said, err := install(m)
		if want := start + "(to be started again)\nlaunchctl print " + daemon + "\nsleep 0.2\nlaunchctl print " + daemon + "\n" + end; err != nil || said != "" || calls != want {
			t.Errorf("%v, %q\ngot  %s\nwant %s", err, said, calls, want)
		}
		if !m.there("/loaded") || m.there(Restart) {
			t.Error("the service does not run, or would think at each end that it is started again")
		}
		if _, said, err = install(m); err != nil || said != "" {
			t.Errorf("once more: %v, %q", err, said)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		m := newMac(t, false)
		m.write("/disabled", "")
		calls, said, err := install(m)
		if err != nil || strings.Contains(calls, "bootstrap") || !strings.Contains(said, "sudo launchctl enable "+daemon) || !m.there("/disabled") {
			t.Errorf("%v, %q, %s", err, said, calls)
		}
	})
	t.Run("disabled and running", func(t *testing.T) {
		m := newMac(t, true)
		m.write("/disabled", "")
		calls, said, err := install(m)
		if err != nil || !strings.Contains(calls, "launchctl bootout "+daemon+"\n") || !strings.HasSuffix(calls, end+"launchctl disable "+daemon+"\n") ||
			!strings.Contains(said, "stays disabled") || !m.there("/loaded") || !m.there("/disabled") {
			t.Errorf("%v, %q, %s", err, said, calls)
		}
	})
	t.Run("another volume", func(t *testing.T) {
		m := newMac(t, false)
		calls, said, err := m.run(Scripts(), "postinstall", "/a.pkg", "/Volumes/Other", "/Volumes/Other")
		if err != nil || calls != "" || !strings.Contains(said, "/Volumes/Other is not the running system") || m.there("/usr/local/bin/adit") {
			t.Errorf("%v, %q, %s", err, said, calls)
		}
	})
	t.Run("never ends", func(t *testing.T) {
		m := newMac(t, true)
		m.program("launchctl", "")
		if _, said, err := install(m); err == nil || said != "adit: the old service does not stop\n" {
			t.Errorf("%v, %q", err, said)
		}
	})
	t.Run("does not start", func(t *testing.T) {
		m := newMac(t, true)
		if err := os.MkdirAll(filepath.Dir(m.root+Restart), 0o755); err != nil {
			t.Fatal(err)
		}
		m.program("launchctl", `case "$1" in print-disabled) ;; *) exit 5 ;; esac`)
		if _, said, err := install(m); err == nil || !strings.Contains(said, "sudo /Library/Adit/aditd cleanup") || m.there(Restart) {
			t.Errorf("%v, %q", err, said)
		}
	})
	t.Run("another's adit", func(t *testing.T) {
		m := newMac(t, false)
		if err := os.MkdirAll(m.root+Links, 0o755); err != nil {
			t.Fatal(err)
		}
		m.write(Links+"/adit", "another's")
		if _, said, err := install(m); err != nil || said != "adit: /usr/local/bin/adit is another's and stays; ours is /Library/Adit/adit\n" {
			t.Errorf("%v, %q", err, said)
		}
		if b, err := os.ReadFile(m.root + Links + "/adit"); err != nil || string(b) != "another's" {
			t.Errorf("%q, %v", b, err)
		}
	})
	t.Run("the name is taken meanwhile", func(t *testing.T) {
		m := newMac(t, false)
		m.program("ln", `PATH=/usr/bin:/bin; [ -e "$M/elsewhere" ] || { mkdir "$M/elsewhere"; ln -s "$M/elsewhere" "$M/usr/local/bin/adit"; }; ln "$@" 2>/dev/null`)
		_, said, err := install(m)
		if inside, _ := os.ReadDir(m.root + "/elsewhere"); err != nil || len(inside) != 0 || !strings.Contains(said, "is another's and stays") {
			t.Errorf("%v, %q, in another directory: %v", err, said, inside)
		}
	})
	// /usr/local is a person's, who has put links where root goes.
	t.Run("links in the way", func(t *testing.T) {
		m := newMac(t, false)
		for at, to := range map[string]string{"/usr/local/bin": "/elsewhere", "/usr/local/share/man": "/elsewhere/man", "/usr/local/share/zsh": "/missing"} {
			for _, dir := range []string{filepath.Dir(at), "/elsewhere/man"} {
				if err := os.MkdirAll(m.root+dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(m.root+to, m.root+at); err != nil {
				t.Fatal(err)
			}
		}
		_, said, err := install(m)
		inside, _ := filepath.Glob(m.root + "/elsewhere/*/*")
		if err != nil || len(inside) != 0 || m.there("/elsewhere/adit") || m.there("/missing") || !m.there("/usr/local/share/bash-completion/completions/adit") ||
			!strings.Contains(said, "adit: /usr/local/bin is a link or no directory: no adit there; it is /Library/Adit/adit\n") ||
			!strings.Contains(said, "adit: /usr/local/share/zsh/site-functions is a link or no directory: no _adit there;") {
			t.Errorf("%v, %q, in another directory: %v", err, said, inside)
		}
	})
	t.Run("endpoint", func(t *testing.T) {
		m := newMac(t, false)
		calls, said, err := m.run(EndpointScripts(), "postinstall", "/a.pkg", "/", "/")
		if err != nil || calls != "" || said != "" || !m.there(Links+"/adit-endpoint") {
			t.Errorf("%v, %q, %s", err, said, calls)
		}
	})
}

func TestUninstall(t *testing.T) {
	installed := func(t *testing.T) mac {
		m := newMac(t, true)
		m.program("aditd", "exit $(cat $M/cleanup 2>/dev/null || echo 0)")
		if err := os.Rename(m.root+"/fake/aditd", m.root+Programs+"/aditd"); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{Daemon, Log, Log + ".0", "/var/db/adit/profile", "/Users/ann/Library/LaunchAgents/io.github.adit_vpn.Adit.plist"} {
			m.write(path, "")
		}
		if _, said, err := m.run(map[string][]byte{"link": link}, "link", "adit"); err != nil {
			t.Fatal(err, said)
		}
		if err := os.Symlink("/opt/other", m.root+Links+"/adit-endpoint"); err != nil {
			t.Fatal(err)
		}
		m.write("/usr/local/share/man/man1/other.1", "")
		return m
	}
	uninstall := func(m mac, args ...string) (string, string, error) {
		return m.run(map[string][]byte{"uninstall": Uninstaller()}, "uninstall", args...)
	}
	left := func(m mac) (all []string) {
		for _, path := range []string{Programs, Daemon, Log, Log + ".0", Links + "/adit", "/usr/local/share/man/man1/adit.1", "/usr/local/share/man/man8", "/usr/local/share/zsh", "/Applications/Adit.app", "/Users/ann/Library/LaunchAgents/io.github.adit_vpn.Adit.plist", "/loaded"} {
			if m.there(path) {
				all = append(all, path)
			}
		}
		return all
	}
	for _, purge := range []bool{false, true} {
		m := installed(t)
		var args []string
		if purge {
			args = []string{"--purge"}
		}
		calls, said, err := uninstall(m, args...)
		if err != nil || len(left(m)) != 0 || !m.there(Links+"/adit-endpoint") || !m.there("/usr/local/share/man/man1/other.1") || m.there("/var/db/adit") == purge {
			t.Errorf("purge %v: %v, %q; left: %q", purge, err, said, left(m))
		}
		if (said == "profiles and settings stay in /var/db/adit\n") == purge {
			t.Errorf("purge %v: %q", purge, said)
		}
		order := []string{"launchctl bootout", "aditd cleanup", "pkgutil --forget com.adit.cli", "pkgutil --forget com.adit.endpoint"}
		for i, at := 0, 0; i < len(order); i++ {
			n := strings.Index(calls[at:], order[i])
			if n < 0 {
				t.Errorf("no %s in its place:\n%s", order[i], calls)
				break
			}
			at += n
		}
		if strings.Contains(calls, "--forget com.adit.gui") {
			t.Error("forgets what was not installed")
		}
	}

	m := installed(t)
	m.write("/cleanup", "1")
	if _, said, err := uninstall(m); err == nil || !strings.Contains(said, "nothing was removed") || !m.there(Programs+"/aditd") {
		t.Errorf("routes were left: %v, %q", err, said)
	}
	m = installed(t)
	m.program("id", "echo 501")
	if _, said, err := uninstall(m); err == nil || !strings.Contains(said, "hint: sudo /Library/Adit/uninstall") || len(left(m)) == 0 {
		t.Errorf("without root: %v, %q", err, said)
	}
	if _, said, err := uninstall(m, "--all"); err == nil || !strings.HasPrefix(said, "usage: ") {
		t.Errorf("a wrong flag: %v, %q", err, said)
	}
}
