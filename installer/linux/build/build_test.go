//go:build linux

package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/installer/toolstest"
)

// made are packages of both processors, out of programs that stand for ours.
type made struct{ dir, bin string }

func packages(t *testing.T) made {
	t.Helper()
	t.Chdir("../../..")
	m := made{t.TempDir(), t.TempDir()}
	program, err := os.ReadFile("/bin/true") // with libc, so that there is something to depend on
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		dir := filepath.Join(m.bin, "linux-"+arch)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"adit", "adit-userspace", "adit-pkcs11", "aditd", "aws-vpn-client", "adit-gui", "adit-endpoint"} {
			if err := os.WriteFile(filepath.Join(dir, name), program, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Remove(filepath.Join(m.bin, "linux-arm64", "adit-gui")); err != nil {
		t.Fatal(err)
	}
	m.build(t, m.dir)
	return m
}

// build makes the packages into a directory.
func (m made) build(t *testing.T, out string) {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if err := run([]string{"-quick", "-version", "v1.2.3-rc.1", "-bin", m.bin, "-out", out}); err != nil {
		t.Fatal(err)
	}
}

// says is what a tool prints; its errors are the test's.
func says(t *testing.T, name string, args ...string) string {
	t.Helper()
	toolstest.Needs(t, name)
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%.2000s", name, err, out)
	}
	return string(out)
}

// has are the lines that must be in text.
func has(t *testing.T, what, text string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !slices.Contains(strings.Split(text, "\n"), l) {
			t.Errorf("%s has no line %q:\n%s", what, l, text)
		}
	}
}

var spaces = regexp.MustCompile(` +`)

// TestPackages looks at the packages with the systems' own tools.
func TestPackages(t *testing.T) {
	m := packages(t)
	var files []string
	found, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		files = append(files, f.Name())
	}
	if want := []string{
		"adit-1.2.3-rc.1-linux-amd64.tar.gz", "adit-1.2.3-rc.1-linux-arm64.tar.gz",
		"adit-1.2.3~rc.1-1.aarch64.rpm", "adit-1.2.3~rc.1-1.x86_64.rpm",
		"adit-endpoint-1.2.3~rc.1-1.aarch64.rpm", "adit-endpoint-1.2.3~rc.1-1.x86_64.rpm",
		"adit-endpoint_1.2.3~rc.1_amd64.deb", "adit-endpoint_1.2.3~rc.1_arm64.deb",
		"adit-gui-1.2.3~rc.1-1.x86_64.rpm", "adit-gui_1.2.3~rc.1_amd64.deb",
		"adit_1.2.3~rc.1_amd64.deb", "adit_1.2.3~rc.1_arm64.deb",
	}; !slices.Equal(files, want) {
		t.Fatalf("the packages are %q", files)
	}
	at := func(name string) string { return filepath.Join(m.dir, name) }
	t.Run("deb", func(t *testing.T) { debs(t, at) })
	t.Run("rpm", func(t *testing.T) { rpms(t, at) })
	t.Run("tree", func(t *testing.T) {
		out := t.TempDir()
		if err := run([]string{"-version", "1.2.3", "-bin", m.bin, "-out", out, "-arch", "amd64", "-formats", "tree"}); err != nil {
			t.Fatal(err)
		}
		for _, name := range packageNames {
			tree := says(t, "find", filepath.Join(out, "tree", name), "(", "-type", "f", "-o", "-type", "l", ")", "-printf", "%m %P %l\n")
			has(t, name, tree, "777 usr/bin/"+name+" ../lib/adit/"+name, "755 usr/lib/adit/"+name+" ")
		}
		says(t, "bash", "-n", source+"/arch/PKGBUILD")
		about := says(t, "bash", "-c", "source "+source+"/arch/PKGBUILD; for p in ${pkgname[@]}; do type -t package_$p; done; type -t build; echo ${#source[@]} ${#sha256sums[@]}")
		if about != "function\nfunction\nfunction\nfunction\n1 1\n" {
			t.Errorf("the PKGBUILD has %q", about)
		}
	})
	t.Run("tarball", func(t *testing.T) { tarballs(t, at("adit-1.2.3-rc.1-linux-arm64.tar.gz")) })
	t.Run("lintian", func(t *testing.T) {
		for _, name := range files {
			if strings.HasSuffix(name, "_amd64.deb") {
				// These are packages for tests: not compressed, of programs that stand for ours.
				out := says(t, "lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", "uses-no-compression-for-data-tarball", at(name))
				if out != "" {
					t.Errorf("%s: %s", name, out)
				}
			}
		}
	})
	t.Run("again", func(t *testing.T) {
		again := t.TempDir()
		m.build(t, again)
		for _, name := range files {
			first, err := os.ReadFile(at(name))
			if err != nil {
				t.Fatal(err)
			}
			if second, err := os.ReadFile(filepath.Join(again, name)); err != nil || !bytes.Equal(first, second) {
				t.Errorf("%s is another one the second time (%v)", name, err)
			}
		}
	})
}

func debs(t *testing.T, at func(string) string) {
	list := func(name string) string {
		return spaces.ReplaceAllString(says(t, "dpkg-deb", "-c", at(name)), " ")
	}
	field := func(name, field string) string {
		return strings.TrimSpace(says(t, "dpkg-deb", "-f", at(name), field))
	}
	core := list("adit_1.2.3~rc.1_arm64.deb")
	for _, path := range []string{
		`drwxr-xr-x root/root .* ./etc/adit/profiles/`, `-rwxr-xr-x root/root .* ./usr/lib/adit/aditd`, `-rwxr-xr-x root/root .* ./usr/lib/adit/adit-userspace`,
		`lrwxrwxrwx root/root .* ./usr/bin/adit -> ../lib/adit/adit`, `lrwxrwxrwx root/root .* ./usr/sbin/aditd -> ../lib/adit/aditd`,
		`-rw-r--r-- root/root .* 2023-11-14 22:13 ./usr/lib/systemd/system/aditd.service`, `-rw-r--r-- root/root .* ./usr/lib/sysusers.d/adit.conf`,
		`-rw-r--r-- root/root .* ./usr/share/man/man1/adit-connect.1.gz`, `-rw-r--r-- root/root .* ./usr/share/man/man8/aditd.8.gz`,
		`-rw-r--r-- root/root .* ./usr/share/bash-completion/completions/adit`, `-rw-r--r-- root/root .* ./usr/share/zsh/vendor-completions/_adit`,
		`-rw-r--r-- root/root .* ./usr/share/fish/vendor_completions.d/adit.fish`, `-rw-r--r-- root/root .* ./usr/share/doc/adit/NOTICE.gz`,
	} {
		if !regexp.MustCompile(`(?m)^` + path + `$`).MatchString(core) {
			t.Errorf("no %s in:\n%s", path, core)
		}
	}
	for _, never := range []string{"adit-endpoint", "./var/", "./run/", "./etc/adit/policy.json"} {
		if strings.Contains(core, never) {
			t.Errorf("%s is in:\n%s", never, core)
		}
	}
	if d := field("adit_1.2.3~rc.1_arm64.deb", "Depends"); !regexp.MustCompile(`^libc6 \(>= 2\.[0-9]+\), passwd$`).MatchString(d) {
		t.Errorf("adit depends on %q", d)
	}
	if d := field("adit-gui_1.2.3~rc.1_amd64.deb", "Depends"); !strings.Contains(d, "adit (= 1.2.3~rc.1), ") || !strings.Contains(d, "libxcursor1") {
		t.Errorf("adit-gui depends on %q", d)
	}
	if a := field("adit_1.2.3~rc.1_arm64.deb", "Architecture"); a != "arm64" {
		t.Errorf("the processor is %q", a)
	}
	for name, want := range map[string]string{"adit_1.2.3~rc.1_amd64.deb": "", "adit-endpoint_1.2.3~rc.1_amd64.deb": "/etc/adit-endpoint/endpoint.yaml\n"} {
		dir := t.TempDir()
		says(t, "dpkg-deb", "-e", at(name), dir)
		if conf, _ := os.ReadFile(filepath.Join(dir, "conffiles")); string(conf) != want {
			t.Errorf("%s has the configuration files %q", name, conf)
		}
		scripts := []string{"postinst", "prerm", "postrm"}
		if strings.HasPrefix(name, "adit_") {
			scripts = append(scripts, "preinst")
		}
		for _, script := range scripts {
			says(t, "sh", "-n", filepath.Join(dir, script))
		}
	}

	dir := t.TempDir()
	for _, name := range []string{"adit_1.2.3~rc.1_amd64.deb", "adit-gui_1.2.3~rc.1_amd64.deb", "adit-endpoint_1.2.3~rc.1_amd64.deb"} {
		says(t, "dpkg-deb", "-x", at(name), dir)
	}
	t.Run("pages", func(t *testing.T) {
		pages, err := filepath.Glob(filepath.Join(dir, "usr/share/man/man?/*.gz"))
		if err != nil || len(pages) < 30 {
			t.Fatalf("%d pages, %v", len(pages), err)
		}
		says(t, "gunzip", pages...)
		for i := range pages {
			pages[i] = strings.TrimSuffix(pages[i], ".gz")
		}
		if out := says(t, "mandoc", append([]string{"-T", "lint", "-W", "warning"}, pages...)...); out != "" {
			t.Error(out)
		}
	})
	t.Run("desktop", func(t *testing.T) {
		share := filepath.Join(dir, "usr/share")
		if out := says(t, "desktop-file-validate", filepath.Join(share, "applications", appID+".desktop")); out != "" {
			t.Error(out)
		}
		says(t, "appstreamcli", "validate", "--no-net", "--pedantic", filepath.Join(share, "metainfo", appID+".metainfo.xml"))
		says(t, "update-mime-database", filepath.Join(share, "mime"))
		globs, err := os.ReadFile(filepath.Join(share, "mime", "globs2"))
		if err != nil {
			t.Fatal(err)
		}
		has(t, "the list of file names", string(globs), "50:application/x-openvpn-profile:*.ovpn")
		icons, err := filepath.Glob(filepath.Join(share, "icons/hicolor/*/apps/"+appID+".png"))
		if err != nil || len(icons) != 9 {
			t.Errorf("icons: %q, %v", icons, err)
		}
	})
}

func rpms(t *testing.T, at func(string) string) {
	query := func(name string, what ...string) string {
		return says(t, "rpm", append(append([]string{"-qp"}, what...), at(name))...)
	}
	const core = "adit-1.2.3~rc.1-1.x86_64.rpm"
	files := query(core, "--qf", "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]")
	has(t, core, files, "drwxr-xr-x root /etc/adit/profiles", "-rwxr-xr-x root /usr/lib/adit/aditd",
		"-rw-r--r-- root /usr/lib/systemd/system/aditd.service", "-rw-r--r-- root /usr/share/zsh/site-functions/_adit", "-rw-r--r-- root /usr/share/licenses/adit/LICENSE")
	has(t, core, query(core, "--qf", "[%{FILENAMES} %{FILELINKTOS}\n]"), "/usr/bin/adit ../lib/adit/adit", "/usr/sbin/aditd ../lib/adit/aditd")
	if needs := query(core, "--requires"); !regexp.MustCompile(`(?m)^libc\.so\.6\(GLIBC_2\.[0-9]+\)\(64bit\)$`).MatchString(needs) {
		t.Errorf("%s needs %q", core, needs)
	}
	has(t, "adit-gui", query("adit-gui-1.2.3~rc.1-1.x86_64.rpm", "--requires"), "adit = 1.2.3~rc.1-1", "libXcursor.so.1()(64bit)")
	has(t, "adit-endpoint", query("adit-endpoint-1.2.3~rc.1-1.aarch64.rpm", "--configfiles"), "/etc/adit-endpoint/endpoint.yaml")
	about := query("adit-endpoint-1.2.3~rc.1-1.aarch64.rpm", "--qf", "%{ARCH} %{VERSION} %{RELEASE} %{LICENSE} %{BUILDTIME} %{BUILDHOST}\n")
	has(t, "adit-endpoint", about, "aarch64 1.2.3~rc.1 1 Apache-2.0 1700000000 localhost")
	scripts := query(core, "--scripts")
	for _, s := range []string{"postinstall scriptlet", "preinstall scriptlet", "preuninstall scriptlet", "postuninstall scriptlet", "try-restart aditd.service", "aditd cleanup"} {
		if !strings.Contains(scripts, s) {
			t.Errorf("no %q in %s", s, scripts)
		}
	}
	scriptFiles, err := filepath.Glob(source + "/rpm/*")
	if err != nil || len(scriptFiles) != 6 {
		t.Errorf("scripts: %q, %v", scriptFiles, err)
	}
	for _, f := range scriptFiles {
		says(t, "sh", "-n", f)
	}
	// rpm itself: what is in them is what their headers say, and they fit together.
	root := t.TempDir()
	all := []string{"--root", root, "-i", "--nodeps", "--noscripts", "--ignorearch", at(core), at("adit-gui-1.2.3~rc.1-1.x86_64.rpm"), at("adit-endpoint-1.2.3~rc.1-1.x86_64.rpm")}
	if os.Geteuid() != 0 {
		return // chroot
	}
	says(t, "rpm", append([]string{"--test"}, all...)...)
	says(t, "rpm", all...)
	if out := says(t, "rpm", "--root", root, "-V", "--nodeps", "--noscripts", "adit", "adit-gui", "adit-endpoint"); out != "" {
		t.Errorf("installed otherwise than packed: %s", out)
	}
}

func tarballs(t *testing.T, archive string) {
	out := spaces.ReplaceAllString(says(t, "tar", "-tvzf", archive), " ")
	for _, path := range []string{
		`-rwxr-xr-x root/root .* adit-1.2.3-rc.1-linux-arm64/install.sh`, `-rwxr-xr-x root/root .* adit-1.2.3-rc.1-linux-arm64/lib/adit/aditd`,
		`-rw-r--r-- root/root .* adit-1.2.3-rc.1-linux-arm64/share/man/man1/adit.1`, `-rw-r--r-- root/root .* adit-1.2.3-rc.1-linux-arm64/NOTICE`,
	} {
		if !regexp.MustCompile(`(?m)^` + path + `$`).MatchString(out) {
			t.Errorf("no %s in:\n%s", path, out)
		}
	}
}

// TestInstaller runs install.sh as a person without root does: install, a newer version over it, and away.
func TestInstaller(t *testing.T) {
	t.Chdir("../../..")
	from, prefix := t.TempDir(), filepath.Join(t.TempDir(), "some prefix")
	script, err := os.ReadFile(source + "/install.sh")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"install.sh": string(script), "lib/adit/adit": "1", "lib/adit/aditd": "1", "lib/adit/adit-endpoint": "1", "lib/adit/old": "1",
		"share/man/man1/adit.1": "page", "share/doc/adit/policy.json": "{}",
	}
	put := func() {
		t.Helper()
		for name, text := range files {
			path := filepath.Join(from, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	tree := func() map[string]string {
		t.Helper()
		m := map[string]string{}
		err := filepath.WalkDir(prefix, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(prefix, path)
			if to, err := os.Readlink(path); err == nil {
				m[rel] = "-> " + to
				return nil
			}
			text, err := os.ReadFile(path)
			m[rel] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	install := filepath.Join(from, "install.sh")
	put()
	says(t, "sh", install, "--no-service", "--prefix", prefix)
	if err := os.WriteFile(filepath.Join(prefix, "bin", "other"), []byte("another program's"), 0o755); err != nil {
		t.Fatal(err)
	}
	delete(files, "lib/adit/old")
	if err := os.Remove(filepath.Join(from, "lib/adit/old")); err != nil {
		t.Fatal(err)
	}
	files["lib/adit/adit"] = "2"
	put()
	says(t, "sh", install, "--no-service", "--prefix="+prefix)
	got := tree()
	delete(got, "lib/adit/installed")
	want := map[string]string{
		"bin/adit": "-> ../lib/adit/adit", "bin/adit-endpoint": "-> ../lib/adit/adit-endpoint", "sbin/aditd": "-> ../lib/adit/aditd", "bin/other": "another program's",
		"lib/adit/adit": "2", "lib/adit/aditd": "1", "lib/adit/adit-endpoint": "1", "share/man/man1/adit.1": "page", "share/doc/adit/policy.json": "{}",
	}
	if !maps.Equal(got, want) {
		t.Errorf("installed: %q", got)
	}
	says(t, "sh", install, "--no-service", "--prefix", prefix, "--uninstall")
	if got := tree(); !maps.Equal(got, map[string]string{"bin/other": "another program's"}) {
		t.Errorf("left: %q", got)
	}

	// Names that are another program's stay its own.
	theirs := map[string]string{"bin/adit": "another program's", "sbin/aditd": "-> /usr/lib/adit/aditd", "bin/other": "another program's"}
	if err := os.WriteFile(filepath.Join(prefix, "bin", "adit"), []byte(theirs["bin/adit"]), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/lib/adit/aditd", filepath.Join(prefix, "sbin", "aditd")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out := says(t, "sh", install, "--no-service", "--prefix", prefix)
		for _, name := range []string{"bin/adit", "sbin/aditd"} {
			if !strings.Contains(out, "install.sh: "+prefix+"/"+name+" is another program's, and stays as it is; ") {
				t.Errorf("it does not say whose %s is: %s", name, out)
			}
		}
		if got := tree(); got["bin/adit"] != theirs["bin/adit"] || got["sbin/aditd"] != theirs["sbin/aditd"] || got["bin/adit-endpoint"] != want["bin/adit-endpoint"] {
			t.Errorf("beside another program: %q", got)
		}
	}
	// A link of ours that became another's since.
	endpoint := filepath.Join(prefix, "bin", "adit-endpoint")
	theirs["bin/adit-endpoint"] = "-> /opt/endpoint"
	if err := errors.Join(os.Remove(endpoint), os.Symlink("/opt/endpoint", endpoint)); err != nil {
		t.Fatal(err)
	}
	says(t, "sh", install, "--no-service", "--prefix", prefix, "--uninstall")
	if got := tree(); !maps.Equal(got, theirs) {
		t.Errorf("of others is left: %q", got)
	}
	for _, wrong := range [][]string{{"--what"}, {"--prefix"}, {"--prefix", "relative"}, {"--no-service", "--prefix", prefix, "--uninstall"}} {
		out, err := exec.Command("sh", append([]string{install}, wrong...)...).CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), "install.sh: ") || !strings.Contains(string(out), "\nhint: ") {
			t.Errorf("%q: %v %s", wrong, err, out)
		}
	}
}

// TestWrittenPages: the pages that nobody makes from a command line name all of its flags.
func TestWrittenPages(t *testing.T) {
	for page, c := range map[string]struct{ program, flag string }{
		"../man/aditd.8":    {"../../../cmd/aditd/main.go", `flags\.\w+Var\(&o\.\w+, "([a-z-]+)"`},
		"../man/adit-gui.1": {"../../../cmd/adit-gui/main.go", `f\.\w+Var\(&o\.\w+, "([a-z-]+)"`},
	} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		code, err := os.ReadFile(c.program)
		if err != nil {
			t.Fatal(err)
		}
		flags := regexp.MustCompile(c.flag).FindAllSubmatch(code, -1)
		if len(flags) < 3 {
			t.Fatalf("%s has %d flags", c.program, len(flags))
		}
		for _, f := range flags {
			if slices.Contains([]string{"profile", "check"}, string(f[1])) && c.program == "../../../cmd/aditd/main.go" {
				continue // of aditd provision, which is for Windows
			}
			if name := `\-\-` + strings.ReplaceAll(string(f[1]), "-", `\-`); !strings.Contains(string(text), name) {
				t.Errorf("%s does not name %s", page, name)
			}
		}
	}
}

func TestLibraries(t *testing.T) {
	n := needed{"libc.so.6": "GLIBC_2.34", "libm.so.6": "GLIBC_2.4", "libX11.so.6": ""}
	deb, err := n.packages("deb")
	if want := []string{"libc6 (>= 2.34)", "libx11-6"}; err != nil || !slices.Equal(deb, want) {
		t.Errorf("%q, %v", deb, err)
	}
	rpm, err := n.packages("rpm")
	if want := []string{"libX11.so.6()(64bit)", "libc.so.6(GLIBC_2.34)(64bit)", "libm.so.6(GLIBC_2.4)(64bit)"}; err != nil || !slices.Equal(rpm, want) {
		t.Errorf("%q, %v", rpm, err)
	}
	if _, err := (needed{"libvendor.so": ""}).packages("deb"); err == nil || !strings.Contains(err.Error(), "libvendor.so") {
		t.Errorf("a library that is in no package: %v", err)
	}
	if _, err := libraries("build_test.go"); err == nil {
		t.Error("a text is a program")
	}
}

func TestRefuses(t *testing.T) {
	t.Chdir("../../..")
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	for says, args := range map[string][]string{
		"is not like 1.2.3":              {"-version", "one"},
		`-formats: there is no "zip"`:    {"-formats", "zip"},
		`-packages: there is no "other"`: {"-formats", "rpm", "-packages", "adit,other"},
		`-arch: there is no "mips"`:      {"-arch", "mips"},
		"flag provided but not defined":  {"-other"},
	} {
		if err := run(append([]string{"-out", t.TempDir()}, args...)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := (&job{bin: t.TempDir(), tmp: t.TempDir()}).pack("adit", "deb", "amd64"); !errors.Is(err, errNotBuilt) {
		t.Errorf("a program that is missing: %v", err)
	}
	if _, err := epoch("yesterday"); err == nil {
		t.Error("yesterday is a time")
	}
}
