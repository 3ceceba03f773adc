package release

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestReproducible: make dist makes the same bytes in another directory and without a cache. The smallest program of the tree stands for
// all; make reproduce does it with everything.
func TestReproducible(t *testing.T) {
	if raceDetector {
		t.Skip("the same without the race detector, which the compiler does not have: this compiles for half a minute")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "a", "deeper", "place")
	for _, name := range []string{"go.mod", "go.sum", "Makefile", "NOTICE", "cmd/adit-pkcs11", "platform/token", "ovpn/push", "installer/windows/resources", "installer/version", "platform/durable", "gui/icon"} {
		if err := copyTo(filepath.Join(root, name), filepath.Join(elsewhere, name)); err != nil {
			t.Fatal(err)
		}
	}
	build := func(dir string, env ...string) []byte {
		dist := t.TempDir()
		cmd := exec.Command("make", "dist", "DIST="+dist, "SYSTEMS=windows/amd64", "BINARIES=adit-pkcs11", "VERSION=1.2.3")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("in %s: %v: %s", dir, err, out)
		}
		return read(t, dist, "bin", "windows-amd64", "adit-pkcs11.exe")
	}
	one := build(root)
	if !bytes.Equal(one, build(elsewhere, "GOCACHE="+t.TempDir())) {
		t.Error("the program depends on where it was built")
	}
	for _, own := range []string{root, os.Getenv("HOME") + "/"} {
		if bytes.Contains(one, []byte(own)) {
			t.Errorf("the program names %s", own)
		}
	}
}

func copyTo(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
