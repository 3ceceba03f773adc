// Package trusted reads files that nobody but the administrator can have put where they are: each folder on the way, from
// the root of the file system on, and the file itself belong to root, can be written by root alone, and are reached
// without links. It writes nothing and starts no goroutine.
package trusted

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// ErrUntrusted says that others than root could have changed a file, or where its name leads.
var ErrUntrusted = errors.New("not trusted")

// FS is a folder as an fs.FS. Each Open looks anew at all that is above the file; the path in its error is the one
// that is at fault. Files are regular ones and folders. Safe for concurrent use.
type FS struct{ dir string }

// Dir makes an FS of the folder at dir, an absolute path, which may be missing.
func Dir(dir string) FS { return FS{filepath.Clean(dir)} }

// Open opens a file for reading. An error is a *fs.PathError that wraps ErrUntrusted or the system's error.
func (f FS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) || !filepath.IsAbs(f.dir) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	file, err := open(filepath.Join(f.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	return file, nil
}

// refused is a reason not to trust path.
func refused(path, why string) error {
	return &fs.PathError{Op: "trust", Path: path, Err: untrusted(why)}
}

// untrusted is a reason that is ErrUntrusted.
type untrusted string

func (u untrusted) Error() string { return string(u) }

func (u untrusted) Is(target error) bool { return target == ErrUntrusted }
