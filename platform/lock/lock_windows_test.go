package lock

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPrivateJunction: a junction is not judged by what it leads to.
func TestPrivateJunction(t *testing.T) {
	dir, err := os.MkdirTemp("", "adit-lock-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) // wine 8 cannot; t.TempDir would fail for it
	own, junction := filepath.Join(dir, "own"), filepath.Join(dir, "junction")
	if err := Folder(own); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cmd", "/c", "mklink", "/J", junction, own).CombinedOutput(); err != nil {
		t.Fatalf("mklink: %v: %s", err, out)
	}
	if _, err := os.Lstat(junction); err != nil { // wine 8's mklink makes none, and says nothing
		t.Fatal(err)
	}
	for name, err := range map[string]error{"Private": Private(junction), "Folder": Folder(junction)} {
		if !errors.Is(err, ErrShared) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
