//go:build linux || darwin

package trusted

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// open walks to path one component at a time, so that what was checked is what is opened.
func open(path string) (*os.File, error) {
	const how = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK // the last: a pipe must not hold us
	at, err := unix.Open("/", how|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	f := os.NewFile(uintptr(at), "/")
	if err := check(f); err != nil {
		f.Close()
		return nil, err
	}
	return walk(f, strings.Split(strings.Trim(path, "/"), "/"), how)
}

// walk opens names one below the other, beginning in f, which it closes.
func walk(f *os.File, names []string, how int) (*os.File, error) {
	for i, name := range names {
		if name == "" {
			continue
		}
		here := filepath.Join(f.Name(), name)
		flags := how
		if i < len(names)-1 {
			flags |= unix.O_DIRECTORY
		}
		fd, err := unix.Openat(int(f.Fd()), name, flags, 0)
		if err != nil {
			var st unix.Stat_t
			link := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
			f.Close()
			if link {
				return nil, refused(here, "it is a symbolic link")
			}
			return nil, &fs.PathError{Op: "open", Path: here, Err: err}
		}
		f.Close()
		f = os.NewFile(uintptr(fd), here)
		if err := check(f); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// check says why an open file is not trusted.
func check(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG && st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return refused(f.Name(), "it is neither a file nor a folder")
	case st.Uid != 0:
		return refused(f.Name(), fmt.Sprintf("it belongs to user %d, not to root", st.Uid))
	case st.Mode&0o022 != 0:
		return refused(f.Name(), fmt.Sprintf("others than root can write it (mode %04o)", st.Mode&0o7777))
	}
	fault, err := extended(int(f.Fd()))
	switch {
	case err != nil:
		return &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	case fault != "":
		return refused(f.Name(), fault)
	}
	return nil
}
