//go:build linux || darwin

package ipc

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func mustListen(t *testing.T, path string, mode os.FileMode) net.Listener {
	t.Helper()
	l, err := Listen(path, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestPeerIsThisProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := mustListen(t, path, 0o600)
	c, err := Dial(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := PeerOf(s)
	if err != nil {
		t.Fatal(err)
	}
	if p.Account != Account(strconv.Itoa(os.Getuid())) || p.Root != (os.Getuid() == 0) || !slices.Contains(p.more.groups, uint32(os.Getgid())) || p.PID != os.Getpid() || p.User() == "" {
		t.Errorf("peer %+v, want uid %d gid %d pid %d", p, os.Getuid(), os.Getgid(), os.Getpid())
	}
	if p.more.inGroup("no-such-group-here") {
		t.Error("is in a group that does not exist")
	}
	if p.Root && os.Getgid() == 0 && !p.more.inGroup("root") && !p.more.inGroup("wheel") {
		t.Errorf("root is not in its own group: %+v", p)
	}
}

func TestListenMakesDirectoryAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s")
	for _, mode := range []os.FileMode{0o666, 0o600} {
		l := mustListen(t, path, mode)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != fs.ModeSocket|mode {
			t.Errorf("socket has %v, want %v", info.Mode(), mode)
		}
		if dir, _ := os.Stat(filepath.Dir(path)); dir.Mode().Perm() != 0o755 {
			t.Errorf("directory has %v", dir.Mode())
		}
		l.Close()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("socket is left behind: %v", err)
		}
	}
}

func TestListenLeavesALivingSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	mustListen(t, path, 0o600)
	if _, err := Listen(path, 0o600); !errors.Is(err, ErrInUse) {
		t.Fatalf("second listener: %v, want ErrInUse", err)
	}
	c, err := Dial(context.Background(), path)
	if err != nil {
		t.Fatalf("the first listener is gone: %v", err)
	}
	c.Close()
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := mustListen(t, path, 0o600)
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after kill -9
	l.Close()
	if _, err := Dial(context.Background(), path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial of the stale socket: %v", err)
	}
	mustListen(t, path, 0o600)
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, dangling := filepath.Join(dir, "link"), filepath.Join(dir, "dangling")
	if err := errors.Join(os.Symlink(target, link), os.Symlink(filepath.Join(dir, "nothing"), dangling)); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                             "empty",
		"a\x00b":                       "zero byte",
		target:                         "a regular file",
		link:                           "a symbolic link",
		dangling:                       "a symbolic link",
		filepath.Join(target, "s"):     "not a directory",
		filepath.Join(open, "s"):       "writable by everybody",
		dir + strings.Repeat("/x", 99): "sockets allow",
	} {
		l, err := Listen(path, 0o666)
		if err == nil {
			l.Close()
			t.Errorf("%q: no error", path)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
	if b, _ := os.ReadFile(target); string(b) != "precious" {
		t.Errorf("the file in the way now has %q", b)
	}
	if info, _ := os.Stat(target); info.Mode().Perm() != 0o600 {
		t.Errorf("the link's target now has mode %v", info.Mode())
	}
	if _, err := os.Lstat(filepath.Join(dir, "nothing")); err == nil {
		t.Error("a dangling link was followed")
	}
}

func TestNoAbstractName(t *testing.T) {
	t.Chdir(t.TempDir())
	mustListen(t, "@adit", 0o600)
	if info, err := os.Lstat("@adit"); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("@adit is not a file: %v %v", info, err)
	}
}

func TestPeerOfSomethingElse(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if p, err := PeerOf(a); err == nil {
		t.Errorf("a pipe has the identity %+v", p)
	}
}
