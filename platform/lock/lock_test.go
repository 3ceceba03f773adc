package lock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(path); !errors.Is(err, ErrHeld) {
		t.Fatalf("second lock: %v, want ErrHeld", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Take(path)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
	if _, err := Take(filepath.Join(path, "missing")); err == nil {
		t.Fatal("a lock below a file was taken")
	}
}

// A lock that is removed is free, and whoever waited for it holds the file of now.
func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan *File, 1)
	go func() {
		l, err := Wait(path)
		if err != nil {
			t.Error(err)
		}
		waited <- l
	}()
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	second := <-waited
	if _, err := Take(path); !errors.Is(err, ErrHeld) {
		t.Fatalf("beside the one who waited: %v, want ErrHeld", err)
	}
	if err := second.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the file is still there: %v", err)
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "above", "state")
	for range 2 { // the second time it is there
		if err := Folder(dir); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Folder(file); err == nil {
		t.Error("a file is a folder")
	}
}

func TestPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a mode is not what protects folders there; package acl has the tests")
	}
	dir := t.TempDir()
	for mode, shared := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o775: true, 0o777 | os.ModeSticky: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := Private(dir); errors.Is(err, ErrShared) != shared || (err == nil) == shared {
			t.Errorf("mode %v: %v", mode, err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode()&(os.ModePerm|os.ModeSticky) != mode {
			t.Errorf("the mode is now %v, %v", info.Mode(), err)
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, 65534, -1)); err != nil {
			t.Fatal(err)
		}
		if err := Private(dir); !errors.Is(err, ErrShared) {
			t.Errorf("somebody else's: %v", err)
		}
	}
	if err := Private(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing directory passes")
	}
}
