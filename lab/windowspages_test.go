//go:build linux

package lab

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

// windowsTools stands in for two programs of Windows that wine lacks, under the name by which it is started: tar -xf of a zip archive,
// and certutil -hashfile, of which a person compares what it prints.
const windowsTools = `package main

import (
	"archive/zip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	args := strings.Join(os.Args[1:], " ")
	switch name := strings.ToLower(filepath.Base(os.Args[0])); {
	case strings.HasPrefix(name, "tar") && len(os.Args) == 3 && os.Args[1] == "-xf":
		z, err := zip.OpenReader(os.Args[2])
		if err == nil {
			err = os.CopyFS(".", z)
		}
		end(err)
	case strings.HasPrefix(name, "certutil") && len(os.Args) == 4 && os.Args[1] == "-hashfile" && os.Args[3] == "SHA256":
		f, err := os.Open(os.Args[2])
		end(err)
		h := sha256.New()
		_, err = io.Copy(h, f)
		end(err)
		fmt.Printf("SHA256 hash of %s:\r\n%x\r\nCertUtil: -hashfile command completed successfully.\r\n", os.Args[2], h.Sum(nil))
	default:
		end(fmt.Errorf("%s does not stand in for %s", name, args))
	}
}

func end(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
`

// typed is what a command prompt in a folder of this machine does with a line: the last exit code says whether it failed.
func (w *wine) typed(folder string) func(string) (string, error) {
	return func(command string) (string, error) {
		line := "@echo off\r\ncd /d " + z(folder) + "\r\n" + command + "\r\n"
		if err := os.WriteFile(w.path("typed.cmd"), []byte(line), 0o644); err != nil {
			return "", err
		}
		return w.run("wine", "cmd.exe", "/c", `C:\typed.cmd`)
	}
}

// says expects something of what a command that changes nothing has printed. It is asked again for ten seconds: the service looks at the
// registry every two, and of what is printed on a busy machine wine sometimes loses all.
func (w *wine) says(typed func(string) (string, error), command, said string, want ...string) {
	w.t.Helper()
	lacks := func(part string) bool { return !strings.Contains(said, part) }
	for end := time.Now().Add(10 * time.Second); slices.ContainsFunc(want, lacks) && time.Now().Before(end); time.Sleep(time.Second) {
		var err error
		if said, err = typed(command); err != nil {
			said += err.Error()
		}
	}
	if slices.ContainsFunc(want, lacks) {
		w.t.Errorf("%s: there is not all of %q in\n%s", command, want, said)
	}
}

// TestWindowsPages follows docs/install/windows.md and, before it removes Adit again, docs/install/mdm.md and docs/policy.md.
func TestWindowsPages(t *testing.T) {
	needs(t, "wine", "wineboot", "msibuild", "gcab", "osslsigncode", "openssl", "make", "x86_64-w64-mingw32-as", "x86_64-w64-mingw32-ld")
	t.Parallel()
	packages := windowsPackages(t, "1.2.3", "msi,zip", "../cmd/adit", "../cmd/aditd")
	w := newWine(t)
	folder := w.path("roll-out")
	downloaded(t, w, packages, folder)
	const (
		msiexec = "msiexec /i adit-1.2.3-windows-amd64.msi /qn"
		policy  = `SOFTWARE\Policies\Adit`

		environment = `SYSTEM\CurrentControlSet\Control\Session Manager\Environment`
	)
	program, state := w.path(`Program Files\Adit\aditd.exe`), w.path(`ProgramData\Adit`)
	profile, wintun := w.path(`ProgramData\Adit\Profiles\corp.ovpn`), w.path(`Program Files\Adit\wintun.dll`)
	typed := w.typed(folder)
	must := func(command string) {
		t.Helper()
		if out, err := typed(command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}

	if out, err := typed("adit version"); err == nil {
		t.Fatalf("a program that is not there is no error: %s", out)
	}
	p := follow(t, "../docs/install/windows.md", true)
	p.Terminal = typed
	p.Apart = map[string]string{
		"winget settings --enable LocalManifestFiles":   "wine has no winget",
		"winget install --manifest winget":              "wine has no winget; TestWinget in installer/windows/build reads the manifest",
		"make gui-windows":                              "takes a quarter of an hour: by hand",
		"make package-windows WINTUN=wintun-0.14.1.zip": "the real archive is not here: by hand without it, and what the command starts makes this test's packages",
	}
	for p.next < len(p.commands) {
		c := p.commands[p.next]
		switch { // the page's alternatives begin where the first of them began
		case strings.HasPrefix(c.Text, msiexec) && strings.Contains(c.Text, "PROFILE="):
			must(msiexec + ` PROFILE=C:\roll-out\corp.ovpn`) // as the page says, of no effect where it is installed
			there(t, "installed before", profile, false)
			must("msiexec /x adit-1.2.3-windows-amd64.msi /qn")
			// Wine leaves an empty entry, beyond which its cmd.exe finds nothing, and does not say so.
			w.must("wine", "reg", "add", `HKLM\`+environment, "/v", "PATH", "/t", "REG_EXPAND_SZ", "/d", `%SystemRoot%\system32;%SystemRoot%`, "/f")
		case strings.HasPrefix(c.Text, "msiexec /x") && strings.Contains(c.Text, "REMOVEDATA=1"):
			must(msiexec)
		case strings.HasPrefix(c.Text, `"%ProgramFiles%\Adit\aditd" provision`):
			if err := os.Remove(profile); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(c.Text, "#!"):
			p.Terminal = func(script string) (string, error) {
				return signed(script, filepath.Join(folder, "adit-1.2.3-windows-amd64.msi"))
			}
		}
		said := p.step()
		switch {
		case strings.HasPrefix(c.Text, msiexec):
			there(t, c.Text, program, true)
			given := strings.Contains(c.Text, "PROFILE=")
			there(t, c.Text, profile, given)
			if set := strings.Contains(w.registry(policy), "MaxConnections    REG_DWORD    0x2\n"); set != given {
				t.Errorf("%s: the policy is there: %t", c.Text, set)
			}
		case strings.HasPrefix(c.Text, "sc query"):
			w.says(typed, c.Text, said, "RUNNING")
		case c.Text == "adit version":
			w.says(typed, c.Text, said, "adit   1.2.3 (", "aditd  1.2.3 (")
		case strings.HasSuffix(c.Text, "--check"):
			there(t, c.Text, profile, false)
		case strings.HasPrefix(c.Text, `"%ProgramFiles%\Adit\aditd" provision`):
			there(t, c.Text, profile, true)
		case strings.HasPrefix(c.Text, "copy"):
			there(t, c.Text, wintun, true)
			managedWindows(t, w)
		case strings.HasPrefix(c.Text, "msiexec /x"):
			there(t, c.Text, program, false)
			there(t, c.Text, wintun, true) // which the package has not brought
			there(t, c.Text, state, !strings.Contains(c.Text, "REMOVEDATA=1"))
			if w.registry(policy) == "" {
				t.Errorf("%s: the policy is gone, which a management tool has written", c.Text)
			}
		}
	}
}

// downloaded fills the administrator's folder, and gives Windows what wine lacks of it.
func downloaded(t *testing.T, w *wine, packages, folder string) {
	t.Helper()
	write := func(path, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(folder, "corp.ovpn"), "client\ndev tun\nremote vpn.example.com 1194\nauth-user-pass\nca ca.crt\n")
	write(filepath.Join(folder, "ca.crt"), string(ovpntest.NewPKI(t).CA()))
	write(filepath.Join(folder, "policy.json"), `{"MaxConnections": 2}`)
	for _, kind := range []string{"msi", "zip"} {
		name := "adit-1.2.3-windows-amd64." + kind
		if err := os.Rename(filepath.Join(packages, name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	dll, err := z.Create("wintun/bin/amd64/wintun.dll")
	if err == nil {
		_, err = dll.Write([]byte("stands in for wintun.dll"))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(folder, "wintun-0.14.1.zip"), archive.String())

	write(w.path(`windows\PolicyDefinitions\en-US\windows.adml`), "of Windows itself")
	source, program := filepath.Join(t.TempDir(), "tools.go"), filepath.Join(t.TempDir(), "tools.exe")
	write(source, windowsTools)
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tar.exe", "certutil.exe"} {
		path := w.path(`windows\system32\` + name)
		_ = os.Remove(path) // a link to wine's own, which does nothing
		write(path, string(text))
	}
}

// there is an error where a file is and should not be, or the other way round.
func there(t *testing.T, what, path string, want bool) {
	t.Helper()
	if _, err := os.Stat(path); (err == nil) != want {
		t.Errorf("%s: %s is there: %t", what, path, err == nil)
	}
}

// managedWindows follows docs/install/mdm.md and docs/policy.md on a Windows with Adit.
func managedWindows(t *testing.T, w *wine) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.json"), []byte(`{"AllowSavedPasswords": false, "MaxConnections": 3}`), 0o644); err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(dir, "dist")
	made := func(command string) (string, error) { // the tree's own dist may be somebody's
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, "POLICY=", "POLICY="+dir+"/")+" DIST="+dist)
		cmd.Dir = ".."
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const role = "TestAnsible follows it"
	p := follow(t, "../docs/install/mdm.md", true)
	p.Apart = map[string]string{
		"Connect-MgGraph -Scopes DeviceManagementConfiguration.ReadWrite.All": "needs Intune",
		"Invoke-MgGraphRequest -Method POST -Uri https://graph.microsoft.com/v1.0/deviceManagement/deviceConfigurations -ContentType application/json -Body (Get-Content -Raw -Encoding utf8 intune/custom-profile.json)": "needs Intune; TestCustomProfile in installer/mdm reads the file",
		`plutil -p "/Library/Managed Preferences/com.adit.client.plist"`: "needs a Mac; TestPlistlib in installer/mdm reads the file",
		"cd dist/mdm/ansible": role,
		"ansible-playbook -i inventory.ini playbook.yml --syntax-check": role,
		"ansible-playbook -i inventory.ini playbook.yml --check --diff": role,
		"ansible-playbook -i inventory.ini playbook.yml":                role,
	}
	p.Terminal = made
	for p.next < len(p.commands) {
		c := p.commands[p.next]
		switch c.Section {
		case "Group policies":
			p.Terminal = w.typed(filepath.Join(dist, "mdm", "windows"))
		case "Editors":
			p.Terminal = func(settings string) (string, error) {
				var editor struct {
					Schemas []struct{ URL string } `json:"json.schemas"`
				}
				if err := json.Unmarshal([]byte("{"+settings+"}"), &editor); err != nil || len(editor.Schemas) != 1 {
					return "", fmt.Errorf("no settings of an editor: %w", err)
				}
				_, err := os.Stat(filepath.Join(dir, editor.Schemas[0].URL))
				return "", err
			}
		}
		said := p.step()
		switch {
		case strings.HasPrefix(c.Text, "make mdm") && !strings.Contains(c.Text, "POLICY="):
			there(t, c.Text, filepath.Join(dist, "mdm", "intune", "oma-uri.md"), true)
		case strings.HasPrefix(c.Text, "reg query"):
			w.says(p.Terminal, c.Text, said, "MaxConnections    REG_DWORD    0x2\n")
		case strings.HasPrefix(c.Text, "reg import"):
			if got := w.registry(`SOFTWARE\Policies\Adit`); !strings.Contains(got, "AllowSavedPasswords    REG_DWORD    0x0\n") || !strings.Contains(got, "MaxConnections    REG_DWORD    0x3\n") {
				t.Errorf("%s: %s", c.Text, got)
			}
		}
	}
	for _, name := range []string{"adit.admx", `en-US\adit.adml`, `ja-JP\adit.adml`} {
		there(t, "templates", w.path(`windows\PolicyDefinitions\`+name), true)
	}

	const rights = "wine's icacls changes nothing"
	p = follow(t, "../docs/policy.md", true)
	p.Apart = map[string]string{
		`mkdir C:\ProgramData\Adit`:                            "what has the rights that follow; " + rights,
		`icacls C:\ProgramData\Adit /setowner "*S-1-5-32-544"`: rights,
		`icacls C:\ProgramData\Adit /inheritance:r /grant:r "*S-1-5-18:(OI)(CI)F" "*S-1-5-32-544:(OI)(CI)F"`: rights,
	}
	for p.next < len(p.commands) {
		if text := p.commands[p.next].Text; strings.HasPrefix(text, "reg ") {
			p.Terminal = w.typed(dir)
		} else {
			p.Terminal = func(policy string) (string, error) { // all of one, or a key of one
				if !strings.HasPrefix(policy, "{") {
					policy = "{" + policy + "}"
				}
				_, err := client.ParsePolicy([]byte(policy))
				return "", err
			}
		}
		p.step()
	}
	w.says(w.typed(dir), "adit status", "", `AutoConnect "corp"`, "MaxConnections 3\n")
}

// signed runs the page's script on a package, without the time stamp, which somebody on the internet makes.
func signed(script, path string) (string, error) {
	dir := filepath.Dir(path)
	const stamp = "-ts http://timestamp.digicert.com "
	if !strings.Contains(script, stamp) {
		return "", fmt.Errorf("the script has no %q", stamp)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "sign"), []byte(strings.Replace(script, stamp, "", 1)), 0o755),
		os.WriteFile(filepath.Join(dir, "password.txt"), []byte("secret"), 0o600)); err != nil {
		return "", err
	}
	cmd := exec.Command("sh", "-ec", `openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=Adit -addext extendedKeyUsage=codeSigning -keyout key.pem -out cert.pem
openssl pkcs12 -export -inkey key.pem -in cert.pem -out adit.p12 -passout file:password.txt
./sign "$1"
osslsigncode verify -in "$1" -CAfile cert.pem`, "sh", filepath.Base(path))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
