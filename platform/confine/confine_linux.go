package confine

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The capabilities that the service uses: devices, addresses, routes, rules, marks; sockets bound to a device (which
// kernels before 5.7 ask NET_RAW for); a low port, where a profile says lport; and a resolv.conf of another account's, to
// write it and to put it back as it was.
const own = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_CHOWN

// What resolvconf, the one program that the service starts, may have in addition: its scripts belong to the system's
// name servers, and wake or start them under their own accounts.
const children = own | 1<<unix.CAP_FOWNER | 1<<unix.CAP_KILL | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID

// Process leaves this process of root the capabilities of a network service, and what it starts little more; neither can
// get others back (capabilities(7)). It changes all threads, which a program with cgo cannot do (syscall.ENOTSUP), and cannot be undone. Another user's process has nothing to
// give up. No new privileges (prctl(2)) are not refused: then what it starts could have no more than the service itself.
func Process() error {
	if os.Geteuid() != 0 {
		return nil
	}
	var header = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	// Without SETPCAP, as in some containers, the bounding set is whoever started us's affair.
	if had[0].Effective&(1<<unix.CAP_SETPCAP) != 0 {
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			if c < 32 && children&(1<<c) != 0 {
				continue
			}
			if _, _, e := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); e != 0 && e != unix.EINVAL { // unknown to an older kernel
				return fmt.Errorf("capability %d: %w", c, e)
			}
		}
	}
	keep := [2]unix.CapUserData{{Effective: had[0].Effective & own, Permitted: had[0].Permitted & own}}
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&keep[0])), 0); e != 0 {
		return fmt.Errorf("capabilities: %w", e)
	}
	return nil
}
