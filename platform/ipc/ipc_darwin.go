package ipc

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// DefaultPath is where the service listens.
const DefaultPath = "/var/run/adit/aditd.sock"

// firstPerson is the first account that is a person's.
const firstPerson = 501

// units: there is no systemd.
func units() []string { return nil }

// narrow does nothing: darwin sets no mode before bind. The umask of a service (022)
// keeps others from connecting until Chmod.
func narrow(int, os.FileMode) error { return nil }

// peerOf reads LOCAL_PEERCRED and LOCAL_PEERPID (unix(4)).
func peerOf(c net.Conn) (Peer, error) {
	var p Peer
	err := withFD(c, func(fd int) error {
		cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err != nil {
			return os.NewSyscallError("getsockopt LOCAL_PEERCRED", err)
		}
		p = Peer{UID: cred.Uid}
		n := min(max(int(cred.Ngroups), 0), len(cred.Groups))
		p.Groups = append(p.Groups, cred.Groups[:n]...)
		if n > 0 {
			p.GID = p.Groups[0]
		}
		pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
		if err != nil {
			return os.NewSyscallError("getsockopt LOCAL_PEERPID", err)
		}
		p.PID = pid
		return nil
	})
	return p, err
}
