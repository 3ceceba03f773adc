// Package ipc is the service's door: a local socket that tells who knocks. It
// carries bytes and the caller's identity as the operating system states it; who may
// do what is decided above (package client/api). No goroutine outlives a call.
package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Account is an account's name for programs: its number on Linux and macOS ("1000"), its security identifier on Windows
// ("S-1-5-21-…-1001"). Other than names it is never given to somebody else. The zero value is nobody's.
type Account string

// maxSID is the length of the longest security identifier as text: one of 15 parts ([MS-DTYP] 2.4.2.1).
const maxSID = 184

// Valid says whether the account has one of the two forms, which are also safe as names of files.
func (a Account) Valid() bool {
	if n, err := strconv.ParseUint(string(a), 10, 32); err == nil {
		return strconv.FormatUint(n, 10) == string(a)
	}
	parts, ok := strings.CutPrefix(string(a), "S-1-")
	if !ok || len(a) > maxSID {
		return false
	}
	for part := range strings.SplitSeq(parts, "-") {
		if n, err := strconv.ParseUint(part, 10, 48); err != nil || strconv.FormatUint(n, 10) != part {
			return false
		}
	}
	return true
}

// Peer is who is at the other end of a connection, as of the moment it connected.
type Peer struct {
	Account Account
	PID     int // 0 when the system does not say
	// Root is whoever may change all of the system: root, and on Windows SYSTEM and administrators whose program runs
	// with their rights ("as administrator").
	Root bool
	// Person says that the account is one of those that systems give to people, not to programs.
	Person bool

	more details
}

// Member says whether the peer may have things of its own with the service: who is in the named group (Linux), or who
// works at the machine's own screen (macOS, Windows). It asks the system.
func (p Peer) Member(group string) bool { return p.more.member(group) }

// User is the account's name, or the account when it has none. It asks the system.
func (p Peer) User() string {
	if name, err := nameOf(p.Account); err == nil {
		return name
	}
	return string(p.Account)
}

// ErrInUse says that another process answers at the socket's path.
var ErrInUse = errors.New("another process is listening there")

// ErrImpostor says that a program of another user has made the pipe that is the service's (Windows).
var ErrImpostor = errors.New("another user's program listens there, not the service")

// Listen opens the socket at path with the permission bits of mode and a parent directory
// that is made, 0755, where it is missing. A socket that nobody answers any more is
// replaced; any other file there, also a symbolic link, is an error.
// Close of the listener removes the socket. Accepted connections go to PeerOf.
//
// On Windows it is a named pipe: the one that path names (\\.\pipe\NAME), or one of the path's own, without a file. Mode
// 0666 is for everybody who is signed in at a screen of the machine or by remote desktop, others are for this user.
func Listen(path string, mode os.FileMode) (net.Listener, error) {
	l, err := listen(path, mode)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// Dial connects to the socket at path. The error wraps the system's
// (fs.ErrNotExist, fs.ErrPermission, syscall.ECONNREFUSED), or ErrImpostor.
func Dial(ctx context.Context, path string) (net.Conn, error) { return dial(ctx, path) }

// ErrSilent says that nothing was read from a connection yet, and that the system tells only then who is there (Windows).
var ErrSilent = errors.New("nothing was read yet")

// PeerOf says who is at the other end of a connection that Listen's listener accepted; its error may be ErrSilent. It
// takes a few system calls, and looks up no names: whoever floods the socket shall not keep its owner busy.
func PeerOf(c net.Conn) (Peer, error) {
	p, err := peerOf(c)
	if err != nil {
		return Peer{}, fmt.Errorf("peer identity: %w", err)
	}
	return p, nil
}
