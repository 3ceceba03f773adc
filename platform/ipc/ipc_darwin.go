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

// member says whether the account is the one at the machine's screen: it owns the console, which is root's while nobody
// is signed in.
func (d details) member(string) bool {
	var st unix.Stat_t
	return unix.Stat("/dev/console", &st) == nil && d.uid != 0 && st.Uid == d.uid
}

// managed starts the service where launchd knows it, and definitions are where that looks (launchd.plist(5)).
const managed = "sudo adit service start"

var definitions = []string{"/Library/LaunchDaemons/com.adit.aditd.plist"}

// narrow does nothing: darwin sets no mode before bind. The umask of a service (022)
// keeps others from connecting until Chmod.
func narrow(int, os.FileMode) error { return nil }

// peerOf reads LOCAL_PEERCRED and LOCAL_PEERPID (unix(4)).
func peerOf(c net.Conn) (Peer, error) {
	var (
		pid    int
		uid    uint32
		groups []uint32
	)
	err := withFD(c, func(fd int) error {
		cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err != nil {
			return os.NewSyscallError("getsockopt LOCAL_PEERCRED", err)
		}
		uid = cred.Uid
		groups = append(groups, cred.Groups[:min(max(int(cred.Ngroups), 0), len(cred.Groups))]...)
		if pid, err = unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID); err != nil {
			return os.NewSyscallError("getsockopt LOCAL_PEERPID", err)
		}
		return nil
	})
	return peerFrom(pid, uid, groups), err
}
