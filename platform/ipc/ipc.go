// Package ipc is the service's door: a local socket that tells who knocks. It
// carries bytes and the caller's identity as the operating system states it; who may
// do what is decided above (package client/api). It starts no goroutine.
package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
)

// Peer is who is at the other end of a connection, as of the moment it connected.
type Peer struct {
	UID uint32
	GID uint32
	PID int // 0 when the system does not say
	// Groups holds the ids of the primary and the supplementary groups of the process.
	Groups []uint32
}

// InGroup says whether the peer's process runs with the named group. A group
// that does not exist has no members. It asks the system.
func (p Peer) InGroup(name string) bool {
	group, err := user.LookupGroup(name)
	if err != nil {
		return false
	}
	gid, err := strconv.ParseUint(group.Gid, 10, 32)
	return err == nil && slices.Contains(p.Groups, uint32(gid))
}

// Person says whether the account is one of those that systems give to people, not to programs.
func (p Peer) Person() bool { return p.UID >= firstPerson && p.UID != nobody }

// nobody is the account of programs that shall have no rights.
const nobody = 65534

// ErrInUse says that another process answers at the socket's path.
var ErrInUse = errors.New("another process is listening there")

// ErrNotSupported says that this package does not know the operating system yet.
var ErrNotSupported = errors.New("local sockets are not supported yet on this system")

// Listen opens the socket at path with the permission bits of mode and a parent directory
// that is made, 0755, where it is missing. A socket that nobody answers any more is
// replaced; any other file there, also a symbolic link, is an error.
// Close of the listener removes the socket. Accepted connections go to PeerOf.
func Listen(path string, mode os.FileMode) (net.Listener, error) {
	l, err := listen(path, mode)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// Dial connects to the socket at path. The error wraps the system's
// (fs.ErrNotExist, fs.ErrPermission, syscall.ECONNREFUSED).
func Dial(ctx context.Context, path string) (net.Conn, error) { return dial(ctx, path) }

// PeerOf says who is at the other end of a connection that Listen's listener accepted. It takes two system calls, and looks
// up no names: whoever floods the socket shall not keep its owner busy.
func PeerOf(c net.Conn) (Peer, error) {
	p, err := peerOf(c)
	if err != nil {
		return Peer{}, fmt.Errorf("peer identity: %w", err)
	}
	if !slices.Contains(p.Groups, p.GID) {
		p.Groups = append(p.Groups, p.GID)
	}
	return p, nil
}

// User is the account's name, or the number when it has none. It asks the system.
func (p Peer) User() string {
	id := strconv.FormatUint(uint64(p.UID), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
