package main

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/installer/darwin"
	"github.com/adit-vpn/adit/installer/toolstest"
)

// epoch is the time of all files in these tests, SOURCE_DATE_EPOCH.
const epoch = "1763892000" // 2025-11-23 10:00 UTC

// thin is a program without anything to run, for macOS 12.0 or later; the linker signs those of arm64.
func thin(cpu macho.Cpu, name string, signed bool) []byte {
	le := binary.LittleEndian
	loads := []uint32{0x32, 24, 1, 12 << 16, 0, 0} // LC_BUILD_VERSION
	count := uint32(1)
	if signed {
		loads = append(loads, 0x1d, 16, 0, 0) // LC_CODE_SIGNATURE
		count++
	}
	var b []byte
	for _, n := range slices.Concat([]uint32{macho.Magic64, uint32(cpu), 3, uint32(macho.TypeExec), count, uint32(4 * len(loads)), 0, 0}, loads) {
		b = le.AppendUint32(b, n)
	}
	return append(b, name...)
}

// programs puts programs where make dist has them, and says where.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"adit", "aditd", "adit-pkcs11", "adit-endpoint", "aws-vpn-client"} {
		write(t, filepath.Join(dir, "darwin-amd64", name), thin(macho.CpuAmd64, name, false))
		write(t, filepath.Join(dir, "darwin-arm64", name), thin(macho.CpuArm64, name, true))
	}
	return dir
}

// pages are manual pages and completions where the programs with the tag manual write them.
func pages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"man1/adit.1", "man1/adit-connect.1", "man1/adit-endpoint.1", "man1/adit-endpoint-up.1",
		"zsh/_adit", "zsh/_adit-endpoint", "bash/adit", "bash/adit-endpoint", "fish/adit.fish", "fish/adit-endpoint.fish"} {
		write(t, filepath.Join(dir, name), []byte(name+"\n"))
	}
	return dir
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tool runs a program and returns what it says.
func tool(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// made makes an app and all packages, in a directory of their own.
func made(t *testing.T) string {
	t.Helper()
	out, license := t.TempDir(), filepath.Join(t.TempDir(), "LICENSE")
	write(t, license, []byte("words\n"))
	gui := filepath.Join(t.TempDir(), "adit-gui")
	write(t, gui, thin(macho.CpuArm64, "adit-gui", true))
	intel := gui + "-amd64"
	write(t, intel, thin(macho.CpuAmd64, "adit-gui", false))
	app := filepath.Join(out, "Adit.app")
	if err := run([]string{"app", "-version", "1.2.3-rc.1", "-o", app, gui, intel}, "", nil); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"pkg", "-version", "1.2.3-rc.1", "-bin", programs(t), "-pages", pages(t), "-app", app, "-o", out, license}, epoch, nil); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPackages: what is made twice is the same, holds what people install, and is read by others.
func TestPackages(t *testing.T) {
	first, second := made(t), made(t)
	t.Run("others read", func(t *testing.T) { othersRead(t, first) })
	t.Run("app", func(t *testing.T) { lookAtApp(t, filepath.Join(first, "Adit.app")) })
	files, err := filepath.Glob(filepath.Join(first, "*.pkg"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(f))
		if !bytes.Equal(read(t, f), read(t, filepath.Join(second, filepath.Base(f)))) {
			t.Errorf("%s is another the second time", f)
		}
	}
	if want := []string{"Adit-1.2.3-rc.1.pkg", "adit-cli-1.2.3-rc.1.pkg", "adit-endpoint-1.2.3-rc.1.pkg", "adit-gui-1.2.3-rc.1.pkg"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}

	var all, parts strings.Builder
	if err := run([]string{"list", filepath.Join(first, names[0])}, "", &all); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{1, 3, 2} {
		if err := run([]string{"list", filepath.Join(first, names[i])}, "", &parts); err != nil {
			t.Fatal(err)
		}
	}
	if all.String() != parts.String() {
		t.Errorf("the package of all has\n%s\nits parts\n%s", all.String(), parts.String())
	}
	for _, line := range []string{
		"com.adit.cli 1.2.3, 27 files,", "com.adit.gui 1.2.3, 10 files,", "com.adit.endpoint 1.2.3, 18 files,",
		"runs or uses postinstall\n",
		"drwxrwxr-x 0/80         0 /Applications\n", "-rw-r--r-- 0/0         8 /Applications/Adit.app/Contents/PkgInfo\n",
		"drwxr-xr-x 0/0         0 /Library/Adit\n", "-rw-r--r-- 0/0         6 /Library/Adit/LICENSE\n",
		"-rwxr-xr-x 0/0     32844 /Library/Adit/adit\n", " /Library/Adit/aditd\n", " /Library/Adit/aws-vpn-client\n", " /Library/Adit/adit-pkcs11\n", " /Library/Adit/uninstall\n",
		" /Library/LaunchDaemons/com.adit.aditd.plist\n", " /Library/Adit/adit-endpoint\n",
		"-rw-r--r-- 0/0        20 /Library/Adit/share/man/man1/adit-connect.1\n", " /Library/Adit/share/man/man8/aditd.8\n", " /Library/Adit/share/zsh/site-functions/_adit\n",
		" /Library/Adit/share/bash-completion/completions/adit\n", " /Library/Adit/share/fish/vendor_completions.d/adit.fish\n",
		" /Library/Adit/share/man/man1/adit-endpoint-up.1\n", " /Library/Adit/share/zsh/site-functions/_adit-endpoint\n",
	} {
		if !strings.Contains(all.String(), line) {
			t.Errorf("no %q in\n%s", line, all.String())
		}
	}
}

// TestServicePage: the manual page of aditd is one, and its places are those of the packages.
func TestServicePage(t *testing.T) {
	for _, place := range []string{darwin.Programs, darwin.Daemon, darwin.Log} {
		if !bytes.Contains(servicePage, []byte(place+"\n")) {
			t.Errorf("%s is not in the page", place)
		}
	}
	toolstest.Needs(t, "mandoc")
	if out := tool(t, servicePage, "mandoc", "-T", "lint", "-W", "warning"); out != "" {
		t.Error(out)
	}
}

// othersRead: 7-Zip takes the package apart, GNU cpio its archives, and all is as it should be.
func othersRead(t *testing.T, dir string) {
	toolstest.Needs(t, "7z", "cpio", "bsdtar")
	out := t.TempDir()
	file := filepath.Join(dir, "Adit-1.2.3-rc.1.pkg")
	tool(t, nil, "7z", "x", "-y", "-o"+out, file)

	text := string(read(t, filepath.Join(out, "Distribution")))
	for _, want := range []string{
		`hostArchitectures="x86_64,arm64"`, `<os-version min="12.0">`,
		`id="com.adit.cli" title="Adit" description="The service, and adit for the terminal." start_enabled="false" start_selected="true">`,
		`id="com.adit.gui" title="Desktop app" description="Adit.app, with its icon in the menu bar." start_enabled="true" start_selected="true">`,
		`clients." start_enabled="true" start_selected="false">`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}

	client := filepath.Join(out, "adit-cli.pkg")
	archive := []byte(tool(t, read(t, filepath.Join(client, "Payload")), "gzip", "-dc"))
	listed := tool(t, archive, "cpio", "-itv", "--numeric-uid-gid", "--quiet")
	for _, e := range strings.Split(strings.TrimSpace(listed), "\n") {
		f := strings.Fields(e)
		if f[2] != "0" || f[3] != "0" || f[7] != "2025" && !strings.HasPrefix(e, "d") && !strings.Contains(e, "Nov 23") {
			t.Errorf("not root's, or of another time: %s", e)
		}
	}
	unpacked := t.TempDir()
	tool(t, archive, "bsdtar", "-x", "-f", "-", "-C", unpacked)
	fat, err := macho.OpenFat(filepath.Join(unpacked, "Library/Adit/aditd"))
	if err != nil {
		t.Fatal(err)
	}
	if len(fat.Arches) != 2 {
		t.Errorf("%d processors", len(fat.Arches))
	}
	_ = fat.Close()
	if got, want := read(t, filepath.Join(unpacked, darwin.Daemon)), darwin.LaunchDaemon("/Library/Adit/aditd"); !bytes.Equal(got, want) {
		t.Errorf("the daemon is %s", got)
	}

	scripts := tool(t, read(t, filepath.Join(client, "Scripts")), "bsdtar", "-t", "-v", "--numeric-owner", "-f", "-")
	for _, name := range []string{"postinstall", "link"} {
		if !strings.Contains(scripts, " ./"+name+"\n") {
			t.Errorf("no %s in\n%s", name, scripts)
		}
	}
	if strings.Count(scripts, "-rwxr-xr-x") != 2 {
		t.Errorf("scripts that cannot be run:\n%s", scripts)
	}
}

// lookAtApp: an app has what macOS looks for, and nobody's type of files that it could not open.
func lookAtApp(t *testing.T, app string) {
	if info, err := os.Stat(filepath.Join(app, "Contents/MacOS/adit-gui")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if !bytes.HasPrefix(read(t, filepath.Join(app, "Contents/Resources/adit.icns")), []byte("icns")) {
		t.Error("no icon")
	}
	plist := read(t, filepath.Join(app, "Contents/Info.plist"))
	toolstest.Needs(t, "python3")
	out := tool(t, plist, "python3", "-c", `import plistlib, sys
d = plistlib.loads(sys.stdin.buffer.read())
print(d['CFBundleExecutable'], d['CFBundleIdentifier'], d['CFBundleIconFile'], d['CFBundleVersion'], d['LSMinimumSystemVersion'], d['CFBundleLocalizations'], d['NSHighResolutionCapable'], 'CFBundleDocumentTypes' in d)`)
	if want := "adit-gui com.adit.gui adit.icns 1.2.3 12.0 ['en', 'ja'] True False\n"; out != want {
		t.Errorf("got  %swant %s", out, want)
	}
}

// TestRefuses: what is missing or wrong is named, with what helps.
func TestRefuses(t *testing.T) {
	without := programs(t)
	if err := os.Remove(filepath.Join(without, "darwin-arm64", "aditd")); err != nil {
		t.Fatal(err)
	}
	unsigned := programs(t)
	write(t, filepath.Join(unsigned, "darwin-arm64", "adit"), thin(macho.CpuArm64, "adit", false))
	linux := programs(t)
	write(t, filepath.Join(linux, "darwin-amd64", "adit"), []byte("\x7fELF and more"))
	swapped := programs(t)
	write(t, filepath.Join(swapped, "darwin-amd64", "adit"), thin(macho.CpuArm64, "adit", true))
	empty, out, texts := t.TempDir(), t.TempDir(), pages(t)
	for _, c := range []struct {
		args  []string
		epoch string
		usage bool
		want  string
	}{
		{nil, epoch, true, "app, pkg or list is missing"},
		{[]string{"frob"}, epoch, true, `"frob" is neither`},
		{[]string{"pkg", "-version", "1.2", "-bin", empty, "-o", out}, epoch, true, `version "1.2"`},
		{[]string{"pkg", "-bin", empty, "-o", out}, epoch, true, `version ""`},
		{[]string{"pkg", "-version", "1.2.3", "-bin", empty}, epoch, true, "-o is missing"},
		{[]string{"pkg", "-version", "1.2.3", "-o", out}, epoch, true, "-bin is missing"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", programs(t), "-o", out}, epoch, true, "-pages is missing"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", programs(t), "-pages", empty, "-o", out}, epoch, false, "make package-darwin makes them"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", empty, "-pages", texts, "-o", out}, "", true, "SOURCE_DATE_EPOCH"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", empty, "-pages", texts, "-o", out}, epoch, false, "adit is missing; make dist makes it"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", without, "-pages", texts, "-o", out}, epoch, false, "darwin-arm64/aditd is missing"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", unsigned, "-pages", texts, "-o", out}, epoch, false, "adit: its program for arm64 is not signed"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", linux, "-pages", texts, "-o", out}, epoch, false, "adit: no program of macOS"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", swapped, "-pages", texts, "-o", out}, epoch, false, "adit: two programs for arm64"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", programs(t), "-pages", texts, "-o", out, filepath.Join(empty, "NOTICE")}, epoch, false, "NOTICE"},
		{[]string{"pkg", "-version", "1.2.3", "-bin", programs(t), "-app", empty, "-pages", texts, "-o", out}, epoch, false, "is no app"},
		{[]string{"app", "-version", "1.2.3", "-o", filepath.Join(out, "a.app"), filepath.Join(empty, "adit-gui")}, "", false, "make gui makes it on a Mac"},
		{[]string{"app", "-version", "1.2.3", "-o", out, "adit-gui"}, "", true, "-o NAME.app"},
		{[]string{"list"}, "", true, "list takes one package"},
		{[]string{"list", filepath.Join(linux, "darwin-amd64", "adit")}, "", false, "no xar archive"},
	} {
		err := run(c.args, c.epoch, &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, new(wrongUsage)) != c.usage {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
	if left, err := os.ReadDir(out); err != nil || len(left) != 0 {
		t.Errorf("%v, %v: packages were made", left, err)
	}
}
