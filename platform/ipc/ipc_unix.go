//go:build linux || darwin

package ipc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the shortest sun_path of our systems (darwin's 104), less the final NUL.
const maxPath = 103

func listen(path string, mode os.FileMode) (net.Listener, error) {
	path, err := address(path)
	if err != nil {
		return nil, err
	}
	if err := prepareDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The bits are narrowed before bind, so that there is no moment at which more
	// people may connect than mode says, and widened past the umask after it.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = narrow(int(fd), mode) }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, ErrInUse // made by somebody since removeStale
	}
	if err != nil {
		return nil, err
	}
	// The directory belongs to us or is sticky (prepareDir), so path is still ours.
	if err := os.Chmod(path, mode.Perm()); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// prepareDir makes a missing directory open to all for reading, whatever the umask,
// and refuses one where strangers could replace the socket.
func prepareDir(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.Chmod(dir, 0o755)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("directory %s is writable by everybody", dir)
	}
	return nil
}

// removeStale removes a socket that nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("a file that is no socket (%s) is in the way", kind(info.Mode()))
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return ErrInUse
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) { // its owner just left
		return nil
	}
	return fmt.Errorf("cannot tell whether the socket there is in use: %w", err)
}

func kind(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "a regular file"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeDir:
		return "a directory"
	default:
		return m.Type().String()
	}
}

// address returns path in a form that package net takes for a file.
func address(path string) (string, error) {
	if path == "" {
		return "", errors.New("the socket's path is empty")
	}
	if strings.IndexByte(path, 0) >= 0 {
		return "", errors.New("the socket's path contains a zero byte")
	}
	if path[0] == '@' { // package net would take it for an abstract name
		path = "./" + path
	}
	if len(path) > maxPath {
		return "", fmt.Errorf("the path is %d bytes long; sockets allow %d", len(path), maxPath)
	}
	return path, nil
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	path, err := address(path)
	if err != nil {
		return nil, err
	}
	for {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if !errors.Is(err, unix.EAGAIN) {
			return c, err
		}
		// So many wait there that there is no room to wait (unix(7)).
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(fullWait):
		}
	}
}

// fullWait is the pause before another try at a socket whose queue is full.
const fullWait = 10 * time.Millisecond

// details are what of a peer the system is asked about later.
type details struct {
	uid    uint32
	groups []uint32 // the primary and the supplementary ones of the process
}

// nobody is the account of programs that shall have no rights.
const nobody = 65534

func peerFrom(pid int, uid uint32, groups []uint32) Peer {
	return Peer{
		Account: Account(strconv.FormatUint(uint64(uid), 10)), PID: pid, Root: uid == 0,
		Person: uid >= firstPerson && uid != nobody, more: details{uid, groups},
	}
}

// nameOf is the account's name.
func nameOf(a Account) (string, error) {
	u, err := user.LookupId(string(a))
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

// inGroup says whether the process ran with the named group. A group that does not exist has no members.
func (d details) inGroup(name string) bool {
	group, err := user.LookupGroup(name)
	if err != nil {
		return false
	}
	gid, err := strconv.ParseUint(group.Gid, 10, 32)
	return err == nil && slices.Contains(d.groups, uint32(gid))
}

// withFD runs f on the descriptor of a unix socket.
func withFD(c net.Conn, f func(fd int) error) error {
	s, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("a %T has no identity", c)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}
