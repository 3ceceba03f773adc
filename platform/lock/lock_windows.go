package lock

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/adit-vpn/adit/platform/acl"
)

// private looks at the folder's access list: the system, the administrators and this user may write. The folder is itself one: a
// junction, which everybody can make where everybody may add, would have the access list of what it leads to, and lead elsewhere
// a moment later.
func private(dir string, _ os.FileInfo) error {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(name, windows.READ_CONTROL|windows.FILE_READ_ATTRIBUTES, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer windows.CloseHandle(h)
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return fmt.Errorf("%w: %s leads to another folder (a junction or a link)", ErrShared, dir)
	}
	list, err := acl.Of(h)
	if err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	self, _, err := acl.User()
	if err != nil {
		return err
	}
	if why := list.Fault(self); why != "" {
		return fmt.Errorf("%w: %s: %s", ErrShared, dir, why)
	}
	return nil
}

// mkdir makes a folder that takes no rights from the one above, where everybody may add (C:\ProgramData): it is the
// system's and the administrators', and without their rights this user's.
func mkdir(dir string) error {
	self, admin, err := acl.User()
	if err != nil {
		return err
	}
	rights := "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	if !admin {
		rights = "O:" + self + "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;" + self + ")"
	}
	sd, err := windows.SecurityDescriptorFromString(rights)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	if err := windows.CreateDirectory(name, sa); err != nil && !errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return nil
}

// noFollow is part of how a lock's file is opened: nothing here.
const noFollow = 0

func take(f *os.File, wait bool) error {
	how := uint32(windows.LOCKFILE_EXCLUSIVE_LOCK)
	if !wait {
		how |= windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrHeld
	}
	return err
}

// remove closes first: Windows removes no file that is open, and so none that another one has opened meanwhile.
func remove(f *os.File) error {
	err := f.Close()
	_ = os.Remove(f.Name())
	return err
}
