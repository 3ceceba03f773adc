package ipc

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dialAs connects with the identity of another user, which only this goroutine's
// thread takes on; the thread dies with the goroutine.
func dialAs(t *testing.T, path string, uid, gid uint32, groups []uint32) (net.Conn, error) {
	t.Helper()
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not fit for others
		set := func(trap, a, b, c uintptr) error {
			if _, _, errno := unix.RawSyscall(trap, a, b, c); errno != 0 {
				return errno
			}
			return nil
		}
		err := set(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0)
		if err == nil {
			err = set(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid))
		}
		if err == nil {
			err = set(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		c, err := Dial(context.Background(), path)
		done <- result{c, err}
	}()
	r := <-done
	return r.conn, r.err
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// openDir is a directory that other users can reach, unlike t.TempDir.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "adit-ipc-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPeerIsAnotherUser(t *testing.T) {
	needRoot(t)
	path := filepath.Join(openDir(t), "s")
	l := mustListen(t, path, 0o666)
	many := make([]uint32, 100) // more than fit the first buffer
	for i := range many {
		many[i] = 70000 + uint32(i)
	}
	for _, groups := range [][]uint32{nil, {4242, 4343}, many} {
		c, err := dialAs(t, path, 65534, 54321, groups)
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p, err := PeerOf(s)
		if err != nil {
			t.Fatal(err)
		}
		want := append(slices.Clone(groups), 54321)
		if p.Account != "65534" || p.Root || p.Person || !slices.Equal(p.more.groups, want) {
			t.Errorf("peer %+v, want account 65534, groups %v", p, want)
		}
		if p.Member("root") {
			t.Error("a stranger is in group root")
		}
		c.Close()
		s.Close()
	}
}

func TestModeKeepsOthersOut(t *testing.T) {
	needRoot(t)
	path := filepath.Join(openDir(t), "s")
	mustListen(t, path, 0o600)
	if c, err := dialAs(t, path, 65534, 65534, nil); !errors.Is(err, fs.ErrPermission) {
		if err == nil {
			c.Close()
		}
		t.Errorf("another user at a 0600 socket: %v, want permission denied", err)
	}
}
