package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/endpoint"
)

// TestSignInsFile: what one run leaves the next one takes, once. Whatever is wrong with it, the file is gone
// afterwards, nobody is signed in, and there is one line that says why.
func TestSignInsFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, file string)
		text string
		err  string
		left []string // of the directory, but other files
	}{
		{name: "none", make: func(*testing.T, string) {}},
		{name: "left", text: `{"proof":"p"}`, make: func(t *testing.T, file string) {
			if err := leaveSignIns(filepath.Dir(file), []byte(`{"proof":"p"}`)); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
				t.Errorf("%v %v", info, err)
			}
		}},
		{name: "replaced", text: "new", make: func(t *testing.T, file string) {
			for _, text := range []string{"old, and longer", "new"} {
				if err := leaveSignIns(filepath.Dir(file), []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{name: "nothing to leave", make: func(t *testing.T, file string) {
			if err := leaveSignIns(filepath.Dir(file), nil); err != nil {
				t.Fatal(err)
			}
			if fileExists(file) {
				t.Error("an empty file was written")
			}
		}},
		// durable.Write's name for what it has not renamed yet.
		{name: "killed before the rename", make: func(t *testing.T, file string) {
			write(t, filepath.Join(filepath.Dir(file), "."+signInsName+".adit-123"), `{"proof":"p","list":[{"user":"ann`)
		}},
		{name: "too large", err: "signins.json: larger than 67108864 bytes", make: func(t *testing.T, file string) {
			write(t, file, "")
			if err := os.Truncate(file, maxSignIns+1); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "unreadable", err: "is a directory", make: func(t *testing.T, file string) {
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "neither readable nor removable", err: "signins.json: directory not empty", left: []string{signInsName}, make: func(t *testing.T, file string) {
			if err := os.MkdirAll(filepath.Join(file, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "adit-endpoint.yaml"), "listen: x\n")
			tt.make(t, filepath.Join(dir, signInsName))
			text, err := takeSignIns(dir)
			if string(text) != tt.text || (err != nil) != (tt.err != "") || err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("took %q, %v; want %q, %q", text, err, tt.text, tt.err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if want := append([]string{"adit-endpoint.yaml"}, tt.left...); strings.Join(names, " ") != strings.Join(want, " ") {
				t.Errorf("left in the directory: %q, want %q", names, want)
			}
			if text, _ := takeSignIns(dir); text != nil {
				t.Errorf("took %q again", text)
			}
		})
	}
}

// TestSignInsOutliveAFailedStart: an endpoint that cannot start leaves who is signed in to the next one, which can.
func TestSignInsOutliveAFailedStart(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"pki", "init"}, {"pki", "server"}} {
		if code, _, errs := call(t, dir, args...); code != 0 {
			t.Fatal(errs)
		}
	}
	const kept = `{"proof":"p","list":[]}`
	if err := leaveSignIns(dir, []byte(kept)); err != nil {
		t.Fatal(err)
	}
	list, file := filepath.Join(dir, "crl.pem"), filepath.Join(dir, "adit.yaml")
	write(t, list, "not a list")
	text := endpoint.BuiltinText(endpoint.DefaultListen(), "udp", "userspace")
	write(t, file, strings.Replace(text, "mutual: {}", fmt.Sprintf("mutual: {crl: %q}", list), 1))
	if code, _, errs := call(t, dir, "up", "--config", file); code != 1 || !strings.Contains(errs, "crl.pem") {
		t.Errorf("up without a revocation list: %d %s", code, errs)
	}
	if text, err := takeSignIns(dir); string(text) != kept {
		t.Errorf("left %q, %v", text, err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
