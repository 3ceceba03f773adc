//go:build !windows

package trusted

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// below opens dir for walk: what is above a test's folder is not the test's to choose.
func below(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWalk(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("files have to be root's")
		}
		t.Skip("needs root: files have to be root's, and another user's")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		spoil  func(dir string) error
		fault  string // which path; empty: it is read
		reason string
	}{
		{"nothing", func(string) error { return nil }, "", ""},
		{"the file is somebody's", func(d string) error { return os.Chown(d+"/adit/policy.json", 65534, 0) }, "policy.json", "belongs to user 65534"},
		{"the folder is somebody's", func(d string) error { return os.Chown(d+"/adit", 65534, 0) }, "adit", "belongs to user 65534"},
		{"all can write the file", func(d string) error { return os.Chmod(d+"/adit/policy.json", 0o646) }, "policy.json", "others than root can write it (mode 0646)"},
		{"a group can write the folder", func(d string) error { return os.Chmod(d+"/adit", 0o775) }, "adit", "others than root can write it (mode 0775)"},
		{"all can write the folder, sticky", func(d string) error { return os.Chmod(d+"/adit", 0o777|os.ModeSticky) }, "adit", "(mode 1777)"},
		{"the file is a link", func(d string) error {
			return errors.Join(os.Rename(d+"/adit/policy.json", d+"/adit/other"), os.Symlink("other", d+"/adit/policy.json"))
		}, "policy.json", "symbolic link"},
		{"the folder is a link", func(d string) error {
			return errors.Join(os.Rename(d+"/adit", d+"/other"), os.Symlink("other", d+"/adit"))
		}, "adit", "symbolic link"},
		{"a pipe", func(d string) error {
			return errors.Join(os.Remove(d+"/adit/policy.json"), unix.Mkfifo(d+"/adit/policy.json", 0o644))
		}, "policy.json", "neither a file nor a folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			must(os.Mkdir(dir+"/adit", 0o755))
			must(os.WriteFile(dir+"/adit/policy.json", []byte("{}"), 0o644))
			must(c.spoil(dir))
			f, err := walk(below(t, dir), []string{"adit", "policy.json"}, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK)
			if c.fault == "" {
				must(err)
				f.Close()
				return
			}
			var at *fs.PathError
			if !errors.Is(err, ErrUntrusted) || !errors.As(err, &at) || filepath.Base(at.Path) != c.fault || !strings.Contains(err.Error(), c.reason) {
				t.Fatalf("%v, want %s: %s", err, c.fault, c.reason)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Temporary folders lie where everybody can write.
	if _, err := fs.ReadFile(Dir(dir), "file"); !errors.Is(err, ErrUntrusted) {
		t.Errorf("below a folder that all can write: %v", err)
	}
	if _, err := Dir("/").Open("no such folder/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	for _, bad := range []string{"../etc/passwd", "/etc/passwd", "", "a/../b"} {
		if _, err := Dir("/usr").Open(bad); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := Dir("relative").Open("file"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a relative folder: %v", err)
	}
	if entries, err := fs.ReadDir(Dir("/usr"), "."); err != nil || len(entries) == 0 {
		t.Errorf("a folder of the system: %v, %v", entries, err)
	}
}
