package darwin

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestLaunchDaemon: the property list says what launchd must do, for the path of a package and for others. Python's
// plistlib reads it as well, where it is there.
func TestLaunchDaemon(t *testing.T) {
	for _, path := range []string{Programs + "/aditd", "/opt/a & <b>/aditd"} {
		text := LaunchDaemon(path)
		d := xml.NewDecoder(bytes.NewReader(text))
		var words []string
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if chars, ok := token.(xml.CharData); ok && strings.TrimSpace(string(chars)) != "" {
				words = append(words, string(chars))
			}
		}
		got := strings.Join(words, "|")
		want := "Label|" + Label + "|ProgramArguments|" + path + "|RunAtLoad|KeepAlive|ThrottleInterval|2|ProcessType|Interactive|StandardErrorPath|" + Log
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}

		python, err := exec.LookPath("python3")
		if err != nil && os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		if err != nil {
			t.Log("left out: reading it with Python's plistlib (needs python3)")
			continue
		}
		cmd := exec.Command(python, "-c", "import plistlib,sys; d=plistlib.loads(sys.stdin.buffer.read()); print(d['Label'],d['ProgramArguments'],d['KeepAlive'],d['RunAtLoad'],d['ThrottleInterval'])")
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.CombinedOutput()
		if want := Label + " ['" + path + "'] True True 2\n"; err != nil || string(out) != want {
			t.Errorf("plistlib: %q, %v; want %q", out, err, want)
		}
	}
	if !strings.HasSuffix(Daemon, "/"+Label+".plist") {
		t.Errorf("%s is not named for %s", Daemon, Label)
	}
}

// TestPage: what docs/install/macos.md has people type is what a shell takes, and its places are those of the packages.
func TestPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/install/macos.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(b), "```")
	typed := 0
	for i := 1; i < len(blocks); i += 2 {
		script, ok := strings.CutPrefix(blocks[i], "sh\n")
		if !ok {
			t.Errorf("a block that is not for a shell: %q", blocks[i])
			continue
		}
		typed++
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s%s", script, out)
		}
		for word := range strings.FieldsSeq(script) {
			if file := strings.TrimPrefix(word, "./"); strings.HasPrefix(file, "installer/") {
				if _, err := os.Stat("../../" + file); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if typed < 5 {
		t.Errorf("%d blocks", typed)
	}
	for _, place := range []string{Programs + "/uninstall", Daemon, Links + "/adit", Log, "system/" + Label} {
		if !strings.Contains(string(b), place) {
			t.Errorf("%s is not in the page", place)
		}
	}
}
