//go:build unix

package ipc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestStartCommand: what is said can be typed as it stands.
func TestStartCommand(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unit, beside, odd := file("units/aditd.service"), file("bin/aditd"), file("it's here/aditd")
	nowhere := func(string) (string, error) { return "", errors.New("not found") }
	at := func(path string) func(string) (string, error) {
		return func(string) (string, error) { return path, nil }
	}
	for _, c := range []struct {
		self string
		unit string
		look func(string) (string, error)
		want string
	}{
		{filepath.Join(dir, "bin/adit"), unit, at(beside), "sudo start it"},
		{filepath.Join(dir, "bin/adit"), "", nowhere, "sudo " + beside},
		{filepath.Join(dir, "bin/adit"), "", at("/usr/bin/aditd"), "sudo " + beside},
		{filepath.Join(dir, "bin/adit"), "", at(beside), "sudo aditd"},
		{filepath.Join(dir, "elsewhere/adit"), filepath.Join(dir, "none"), nowhere, "sudo aditd"},
		{filepath.Join(filepath.Dir(odd), "adit"), "", nowhere, `sudo '` + dir + `/it'\''s here/aditd'`},
		{"", "", nowhere, "sudo aditd"},
	} {
		if got := startCommand(c.self, []string{c.unit}, "sudo start it", c.look); got != c.want {
			t.Errorf("%s: %q, want %q", c.self, got, c.want)
		}
	}
}
