package ipc

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DefaultPath is where the service listens.
const DefaultPath = "/run/adit/aditd.sock"

// firstPerson is the first account that is a person's (login.defs(5), UID_MIN).
const firstPerson = 1000

// member says whether the process ran with the named group.
func (d details) member(group string) bool { return d.inGroup(group) }

// managed starts the service where systemd knows it, and definitions are where that looks (systemd.unit(5)).
const managed = "sudo systemctl start aditd"

var definitions = []string{"/etc/systemd/system/aditd.service", "/usr/local/lib/systemd/system/aditd.service", "/usr/lib/systemd/system/aditd.service", "/lib/systemd/system/aditd.service"}

// narrow sets the mode that bind gives to the socket's file, still under the umask (unix(7)).
func narrow(fd int, mode os.FileMode) error { return unix.Fchmod(fd, uint32(mode.Perm())) }

// peerOf reads SO_PEERCRED and SO_PEERGROUPS: what the process was at connect(2),
// so that a later setuid or exec changes nothing (socket(7)).
func peerOf(c net.Conn) (Peer, error) {
	var (
		pid    int
		uid    uint32
		groups []uint32
	)
	err := withFD(c, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return os.NewSyscallError("getsockopt SO_PEERCRED", err)
		}
		pid, uid = int(cred.Pid), cred.Uid
		groups, err = peerGroups(fd)
		groups = append(groups, cred.Gid)
		return err
	})
	return peerFrom(pid, uid, groups), err
}

// peerGroups reads the supplementary groups. The kernel answers ERANGE with the wanted
// length when the buffer is too small.
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ERANGE && int(size/4) > len(groups):
			groups = make([]uint32, size/4)
		default:
			return nil, os.NewSyscallError("getsockopt SO_PEERGROUPS", errno)
		}
	}
}
