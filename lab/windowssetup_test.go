//go:build linux

package lab

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWindowsSetup: the setup program touches nothing where a policy cannot be used, a program cannot be replaced or a newer version is
// there; it goes on where another run of it ended too early; its uninstaller leaves everything where the service cannot undo its
// changes, and a policy that the installation did not bring.
func TestWindowsSetup(t *testing.T) {
	needs(t, "wine", "wineboot", "msibuild", "gcab", "makensis", "x86_64-w64-mingw32-as", "x86_64-w64-mingw32-ld")
	t.Parallel()
	setup := filepath.Join(windowsPackages(t, "1.3.0", "setup", "../cmd/aditd"), "adit-1.3.0-windows-amd64-setup.exe")
	given := t.TempDir()
	for name, text := range map[string]string{"wrong.json": `{"MaxConnection": 2}`, "policy.json": `{"MaxConnections": 2}`} {
		if err := os.WriteFile(filepath.Join(given, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := newWine(t)
	const (
		folder = `C:\Program Files\Adit\`
		entry  = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\Adit`
		policy = `SOFTWARE\Policies\Adit`
	)
	running := func(what string) {
		t.Helper()
		if out, err := w.run("wine", "sc", "query", "Adit"); err != nil || !strings.Contains(out, "RUNNING") {
			t.Errorf("%s: the service does not run: %v\n%s", what, err, out)
		}
	}
	if out, err := w.run("wine", z(setup), "/S", "/AWSCLI=1", "/POLICY="+z(filepath.Join(given, "policy.json"))); err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
	running("set up")

	// A file of another content shows whether a setup came as far as the files.
	mark := w.path(`Program Files\Adit\adit-pkcs11.exe`)
	marked := []byte("an older program")
	again := func(what string, works bool, args ...string) {
		t.Helper()
		if err := os.WriteFile(mark, marked, 0o644); err != nil {
			t.Fatal(err)
		}
		var out string
		var err error
		told := w.toldOf(func() { out, err = w.run("wine", append([]string{z(setup), "/S"}, args...)...) })
		text, e := os.ReadFile(mark)
		if e != nil || (err == nil) != works || bytes.Equal(text, marked) == works {
			t.Errorf("%s: %v, %v; the program is %.20q\n%s", what, err, e, text, out)
		}
		if works && told != 1 {
			t.Errorf("%s: the service was told %d times that it is started again", what, told)
		}
		running(what)
	}
	again("wrong policy", false, "/POLICY="+z(filepath.Join(given, "wrong.json")))

	w.must("wine", "reg", "add", entry, "/v", "Number", "/d", "1.10.0", "/f")
	again("newer version", false)
	again("downgrade not asked for", false, "/DOWNGRADE=0")
	again("downgrade", true, "/DOWNGRADE=1")
	aws := w.path(`Program Files\Adit\aws`)
	if _, err := os.Stat(filepath.Join(aws, "aws-vpn-client.exe")); err != nil {
		t.Errorf("what was asked for once does not stay: %v", err)
	}

	// Somebody else has a program open, until the answer.
	opener := filepath.Join(t.TempDir(), "opener")
	text := "package main\n\nimport \"os\"\n\nfunc main() {\n\tif _, err := os.OpenFile(os.Args[1], os.O_RDWR, 0); err != nil {\n\t\tpanic(err)\n\t}\n" +
		"\tos.Stdout.WriteString(\"open\")\n\tos.Stdin.Read(make([]byte, 1))\n}\n"
	if err := os.WriteFile(opener+".go", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", opener+".exe", opener+".go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	other := w.command(t.Context(), "wine", z(opener+".exe"), folder+"adit-endpoint.exe")
	answer, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err == nil {
		_, err = io.ReadFull(said, make([]byte, len("open")))
	}
	if err != nil {
		t.Fatal(err)
	}
	again("in use", false)
	answer.Close()
	_ = other.Wait()

	w.must("wine", "reg", "delete", entry, "/f")
	again("ended too early", true, "/AWSCLI=0")
	if _, err := os.Stat(aws); err == nil {
		t.Error("what is not wanted any more stays")
	}

	// A service that cannot undo what it has changed: one that cannot even be started.
	service := w.path(`Program Files\Adit\aditd.exe`)
	if err := os.Rename(service, service+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(service, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := w.run("wine", folder+"uninstall.exe", "/S", `_?=C:\PROGRA~1\Adit`); err == nil {
		t.Errorf("it removes what undoes the service's changes\n%s", out)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	if err := os.Rename(service+".kept", service); err != nil {
		t.Fatal(err)
	}

	w.must("wine", "reg", "add", `HKLM\`+policy, "/v", "MaxConnections", "/t", "REG_DWORD", "/d", "3", "/f")
	if out, err := w.run("wine", folder+"uninstall.exe", "/S", "/REMOVEDATA=1", `_?=C:\PROGRA~1\Adit`); err != nil {
		t.Errorf("uninstall: %v\n%s", err, out)
	}
	if _, err := os.Stat(w.path(`ProgramData\Adit`)); err == nil {
		t.Error("the state is left")
	}
	if _, err := os.Stat(service); err == nil {
		t.Error("the service's program is left")
	}
	if got := w.registry(policy); !strings.Contains(got, "0x3") {
		t.Errorf("another's policy went with the installation's: %s", got)
	}
}
