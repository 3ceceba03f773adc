package durable

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for name, write := range map[string]func(string, []byte, fs.FileMode) error{"Write": Write, "Swap": Swap} {
		for _, content := range []string{"one", "", "another, longer one"} {
			if err := write(path, []byte(content), 0o640); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != content {
				t.Errorf("%s: %q %v, want %q", name, got, err, content)
			}
			if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o640 {
				t.Errorf("%s: mode %v %v", name, info.Mode(), err)
			}
		}
	}
	only(t, dir, "state.json")
}

// A failed replacement leaves the old file and nothing beside it.
func TestFailureLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	only(t, dir, "state")
	if err := Write(filepath.Join(dir, "missing", "state"), nil, 0o600); err == nil {
		t.Error("wrote into a missing directory")
	}
}

func only(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("left in the directory: %v %v", entries, err)
	}
}
