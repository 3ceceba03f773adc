package acl

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attrlist is what is asked for (struct attrlist, getattrlist(2)).
type attrlist struct {
	bitmaps, reserved               uint16
	common, volume, dir, file, fork uint32
}

const (
	attrBitMapCount      = 5
	attrExtendedSecurity = 0x00400000 // ATTR_CMN_EXTENDED_SECURITY
)

// FaultOf says why the access list of an open file or folder lets others than its owner write; empty: it does not, or
// there is none.
func FaultOf(fd int) (string, error) {
	want := attrlist{bitmaps: attrBitMapCount, common: attrExtendedSecurity}
	var buf [4 + 8 + kauthHeader + kauthEntries*kauthEntry]byte
	_, _, errno := syscall.Syscall6(unix.SYS_FGETATTRLIST, uintptr(fd), uintptr(unsafe.Pointer(&want)),
		uintptr(unsafe.Pointer(&buf)), unsafe.Sizeof(buf), 0, 0)
	switch {
	case errno == unix.ENOTSUP: // the file system has no such lists
		return "", nil
	case errno != 0:
		return "", os.NewSyscallError("fgetattrlist", errno)
	}
	// The length of all, then where the list is, seen from there, and its length (attrreference).
	at, n := int(int32(binary.LittleEndian.Uint32(buf[4:]))), int(binary.LittleEndian.Uint32(buf[8:]))
	if n == 0 {
		return "", nil
	}
	if at < 8 || n < 0 || at > len(buf)-4 || n > len(buf)-4-at {
		return "", errors.New("fgetattrlist: its answer is not understood")
	}
	return kauthFault(buf[4+at:][:n]), nil
}
