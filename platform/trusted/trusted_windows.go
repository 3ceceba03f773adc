package trusted

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/adit-vpn/adit/platform/acl"
)

// judge says why a file or folder is not trusted; above is one that is not the last folder of the way.
type judge func(l acl.List, above bool) string

// strict wants the owner to be SYSTEM or the administrators, and nobody else to be able to write.
func strict(l acl.List, above bool) string {
	if above {
		return l.FaultAbove()
	}
	return l.Fault()
}

// open walks to path one component at a time, so that what was checked is what is opened.
func open(path string) (*os.File, error) { return walk(path, strict) }

func walk(path string, fault judge) (*os.File, error) {
	volume := filepath.VolumeName(path)
	if len(volume) != 2 || volume[1] != ':' { // on a disk of this machine, under its letter
		return nil, refused(path, "it is not on a disk with a letter")
	}
	var names []string
	for name := range strings.SplitSeq(path[len(volume):], `\`) {
		if name != "" {
			names = append(names, name)
		}
	}
	here := volume + `\`
	at, err := openAt(0, `\??\`+here, true)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: here, Err: err}
	}
	for i := 0; ; i++ {
		// The last folder of the way to a file is one that only administrators add to.
		if err := check(at, here, i < len(names)-1, fault); err != nil {
			windows.CloseHandle(at)
			return nil, err
		}
		if i == len(names) {
			return os.NewFile(uintptr(at), here), nil
		}
		here = filepath.Join(here, names[i])
		next, err := openAt(at, names[i], i < len(names)-1)
		windows.CloseHandle(at)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: here, Err: err}
		}
		at = next
	}
}

// openAt opens a name in an open folder for reading: the thing itself where it leads elsewhere (a reparse point).
func openAt(folder windows.Handle, name string, dir bool) (windows.Handle, error) {
	wide, err := windows.NewNTUnicodeString(name)
	if err != nil {
		return 0, err
	}
	oa := &windows.OBJECT_ATTRIBUTES{RootDirectory: folder, ObjectName: wide, Attributes: windows.OBJ_CASE_INSENSITIVE}
	oa.Length = uint32(unsafe.Sizeof(*oa))
	options := uint32(windows.FILE_OPEN_REPARSE_POINT | windows.FILE_SYNCHRONOUS_IO_NONALERT | windows.FILE_OPEN_FOR_BACKUP_INTENT)
	if dir {
		options |= windows.FILE_DIRECTORY_FILE
	}
	var h windows.Handle
	err = windows.NtCreateFile(&h, windows.FILE_GENERIC_READ, oa, new(windows.IO_STATUS_BLOCK), nil, 0,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, windows.FILE_OPEN, options, 0, 0)
	var status windows.NTStatus
	if errors.As(err, &status) {
		err = status.Errno()
	}
	return h, err
}

// check says why an open file or folder is not trusted.
func check(h windows.Handle, path string, above bool, fault judge) error {
	var info windows.ByHandleFileInformation
	if t, err := windows.GetFileType(h); err != nil || t != windows.FILE_TYPE_DISK {
		return refused(path, "it is neither a file nor a folder")
	}
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return refused(path, "it is a link (reparse point)")
	}
	list, err := acl.Of(h)
	if err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if why := fault(list, above); why != "" {
		return refused(path, why)
	}
	return nil
}
