//go:build linux || darwin

package logfile

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// opened is a log as a service manager opens it.
func opened(t *testing.T) (*os.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, path
}

func own(t *testing.T, f *os.File, path string, bytes int64, old int) *Log {
	t.Helper()
	l, err := Own(f, path, Limits{Bytes: bytes, Old: old, Mode: 0o640, UID: os.Getuid(), GID: os.Getgid()})
	if err != nil || l == nil {
		t.Fatalf("%v, %v", l, err)
	}
	return l
}

func say(t *testing.T, l *Log, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if n, err := l.Write([]byte(line + "\n")); n != len(line)+1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
}

// holds compares the files of a log with what should be in them, lines as words.
func holds(t *testing.T, path string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = strings.Join(strings.Fields(string(b)), " ")
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestRotate(t *testing.T) {
	f, path := opened(t)
	fmt.Fprintln(f, "0123456789") // of an earlier run
	l := own(t, f, path, 10, 2)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	say(t, l, "a")
	holds(t, path, map[string]string{"log": "a", "log.0": "0123456789"})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	say(t, l, "bbbbbbb", "c", "dddddddddd", "e")
	holds(t, path, map[string]string{"log": "e", "log.0": "c dddddddddd", "log.1": "a bbbbbbb"})
	// What the descriptor's owner writes itself is in the same place.
	fmt.Fprintln(f, "crash")
	holds(t, path, map[string]string{"log": "e crash", "log.0": "c dddddddddd", "log.1": "a bbbbbbb"})
}

// TestOthersRotate: newsyslog, or an administrator, has moved or removed the file.
func TestOthersRotate(t *testing.T) {
	f, path := opened(t)
	l := own(t, f, path, 100, 2)
	say(t, l, "a")
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	say(t, l, "b")
	holds(t, path, map[string]string{"log": "b", "log.moved": "a"})
	if err := os.WriteFile(path+".new", []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	say(t, l, "c")
	holds(t, path, map[string]string{"log": "new c", "log.moved": "a"})
}

// TestCannot: whatever hinders the rotation, nothing that is said is lost, and nobody's link is followed.
func TestCannot(t *testing.T) {
	f, path := opened(t)
	l := own(t, f, path, 4, 2)
	for _, name := range []string{".0/in", ".1/in"} { // no file can take their names
		if err := os.MkdirAll(path+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	say(t, l, "aaaa", "b")
	if b, err := os.ReadFile(path); err != nil || string(b) != "aaaa\nb\n" {
		t.Errorf("%q, %v", b, err)
	}

	f, path = opened(t)
	l = own(t, f, path, 4, 2)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, path); err != nil {
		t.Fatal(err)
	}
	say(t, l, "a")
	if _, err := os.Stat(other); err == nil {
		t.Error("the link was followed")
	}
	if info, err := f.Stat(); err != nil || info.Size() != 2 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestAnother: a terminal or a pipe is left alone, and so is a file elsewhere.
func TestAnother(t *testing.T) {
	f, path := opened(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for out, path := range map[*os.File]string{w: path, f: path + ".missing"} {
		if l, err := Own(out, path, Limits{}); l != nil || err != nil {
			t.Errorf("%v, %v", l, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAtOnce(t *testing.T) {
	f, path := opened(t)
	l := own(t, f, path, 1000, 100)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				_, _ = l.Write([]byte("123456789\n"))
			}
		})
	}
	all.Wait()
	total := 0
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil || len(b) > 1000 || strings.Count(string(b), "\n")*10 != len(b) {
			t.Errorf("%s: %d bytes, %v", file, len(b), err)
		}
		total += len(b)
	}
	if total != 16000 || len(files) != 16 {
		t.Errorf("%d bytes in %d files", total, len(files))
	}
}

// TestCrash: what the runtime says of a program that crashes is in the file that is there then. The test is the program, too.
func TestCrash(t *testing.T) {
	if path := os.Getenv("LOGFILE_CRASH"); path != "" {
		l, err := Own(os.Stderr, path, Limits{Bytes: 1, Old: 1, Mode: fs.FileMode(0o640), UID: os.Getuid(), GID: os.Getgid()})
		if err != nil || l == nil {
			t.Fatal(l, err)
		}
		say(t, l, "first", "second")
		go panic("the end")
		select {}
	}
	f, path := opened(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), "LOGFILE_CRASH="+path)
	cmd.Stderr = f
	if err := cmd.Run(); err == nil {
		t.Fatal("it did not crash")
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(b), "second\npanic: the end\n") {
		t.Errorf("%v, %q", err, b)
	}
	if b, err := os.ReadFile(path + ".0"); err != nil || string(b) != "first\n" {
		t.Errorf("%v, %q", err, b)
	}
}
