package main

import (
	"bytes"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program links a program that does nothing.
func program(t *testing.T, arch, name string) string {
	t.Helper()
	dir := t.TempDir()
	source, out := filepath.Join(dir, "main.go"), filepath.Join(dir, name)
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", out, source)
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// TestResources: 7-Zip reads version, manifest and icon in a program of each processor, whose other parts are as they were. Again it is the
// same bytes; another version takes the place of the first one.
func TestResources(t *testing.T) {
	if _, err := exec.LookPath("7z"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("needs 7z (Debian: p7zip-full)")
	}
	for _, arch := range []string{"amd64", "arm64"} {
		path := program(t, arch, "adit-gui.exe")
		before := parts(t, path)
		if err := put(path, "v1.2.3-rc.1-4-gabc1234"); err != nil {
			t.Fatal(err)
		}
		once, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		after := parts(t, path)
		for name, content := range before {
			if strings.HasPrefix(name, ".") && !bytes.Equal(after[name], content) {
				t.Errorf("%s: the part %s has changed", arch, name)
			}
		}
		said := strings.Join(strings.Fields(string(bytes.ReplaceAll(after[".rsrc/1033/version.txt"], []byte{0}, nil))), " ")
		for _, want := range []string{"FILEVERSION 1,2,3,0", "PRODUCTVERSION 1,2,3,0", `"FileVersion", "1.2.3-rc.1-4-gabc1234"`, `"FileDescription", "Adit"`,
			`"OriginalFilename", "adit-gui.exe"`, `"CompanyName", "The Adit authors"`} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %s is not in\n%s", arch, want, said)
			}
		}
		var manifest struct {
			Level struct {
				Level string `xml:"level,attr"`
			} `xml:"trustInfo>security>requestedPrivileges>requestedExecutionLevel"`
			Known struct {
				ID string `xml:"Id,attr"`
			} `xml:"compatibility>application>supportedOS"`
			Long string `xml:"application>windowsSettings>longPathAware"`
		}
		if err := xml.Unmarshal(after[".rsrc/1033/MANIFEST/1"], &manifest); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
		if manifest.Level.Level != "asInvoker" || manifest.Long != "true" || manifest.Known.ID != "{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}" {
			t.Errorf("%s: %+v", arch, manifest)
		}
		if _, ok := after[".rsrc/0/GROUP_ICON/GLFW_ICON"]; !ok {
			t.Errorf("%s: no icon among %d parts", arch, len(after))
		}
		if err := put(path, "v1.2.3-rc.1-4-gabc1234"); err != nil {
			t.Fatal(err)
		}
		if twice, err := os.ReadFile(path); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s: again it is not the same: %v", arch, err)
		}
		if err := put(path, "2.0.0"); err != nil {
			t.Fatal(err)
		}
		if other := parts(t, path)[".rsrc/1033/version.txt"]; !bytes.Contains(bytes.ReplaceAll(other, []byte{0}, nil), []byte("2,0,0,0")) {
			t.Errorf("%s: another version: %s", arch, other)
		}
	}
	other := program(t, "amd64", "other.exe")
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "adit.exe"): "no such file",
		other:                                  "none of Adit's programs",
	} {
		if err := put(path, "1.2.3"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	text := filepath.Join(t.TempDir(), "adit.exe")
	if err := os.WriteFile(text, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := put(text, "1.2.3"); err == nil {
		t.Error("it puts them into a text")
	}
	ours := filepath.Join(filepath.Dir(other), "adit.exe")
	if err := os.Rename(other, ours); err != nil {
		t.Fatal(err)
	}
	if err := put(ours, "one"); err == nil {
		t.Error("a version that is none passes")
	}
}

// parts are what 7-Zip takes a program apart into.
func parts(t *testing.T, path string) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("7z", "x", "-aou", "-o"+dir, path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(at string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, at)
		all[name], err = os.ReadFile(at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
