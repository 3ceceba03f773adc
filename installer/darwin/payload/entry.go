// Package payload writes and reads the two halves of what a macOS package installs: the archive of its files (cpio, in the
// portable format of POSIX.1-1988, "odc") and the bill of materials, by which macOS knows what it has installed. It starts no
// goroutine and touches no file.
package payload

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Entry is one file, directory or symbolic link.
type Entry struct {
	Path     string      // from the root of the installation, without a slash in front; "." is the root itself
	Mode     fs.FileMode // permissions, and ModeDir or ModeSymlink
	UID, GID int
	Data     []byte // of a file
	Target   string // of a link
}

// Limits of what is written and read.
const (
	maxEntries = 10000
	maxSize    = 1<<32 - 1 // bytes of a file: larger ones need another table of the bill
)

// Types of files in st_mode, as both formats have them (<sys/stat.h>).
const (
	typeMask = 0o170000
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

// mode is st_mode of an entry.
func (e Entry) mode() uint32 {
	m := uint32(e.Mode.Perm())
	switch e.Mode.Type() {
	case fs.ModeDir:
		return m | typeDir
	case fs.ModeSymlink:
		return m | typeLink
	}
	return m | typeFile
}

// content is what the archive and checksums have of an entry.
func (e Entry) content() []byte {
	if e.Mode.Type() == fs.ModeSymlink {
		return []byte(e.Target)
	}
	return e.Data
}

// check holds entries to what both formats can say: sorted by path, each in a directory that is there.
func check(entries []Entry, at time.Time) error {
	if len(entries) > maxEntries {
		return fmt.Errorf("%d files are too many", len(entries))
	}
	if s := at.Unix(); s < 0 || s > 1<<32-1 {
		return fmt.Errorf("%v cannot be a file's time", at)
	}
	dirs := map[string]bool{}
	for i, e := range entries {
		bad := func(why string) error { return fmt.Errorf("%q %s", e.Path, why) }
		switch {
		case i == 0 && (e.Path != "." || !e.Mode.IsDir()):
			return errors.New("the root is not the first entry")
		case i > 0 && (!fs.ValidPath(e.Path) || e.Path == "." || strings.ContainsRune(e.Path, 0)):
			return bad("is no path")
		case i > 0 && slices.Compare(strings.Split(entries[i-1].Path, "/"), strings.Split(e.Path, "/")) >= 0 && entries[i-1].Path != ".":
			return bad("is out of order, or there twice")
		case i > 0 && !dirs[path.Dir(e.Path)]:
			return bad("is in no directory")
		case e.Mode.Type() != 0 && e.Mode.Type() != fs.ModeDir && e.Mode.Type() != fs.ModeSymlink:
			return bad("is neither a file, a directory nor a link")
		case e.Mode.Type() == fs.ModeSymlink && e.Target == "" || e.Mode.IsDir() && e.Data != nil:
			return bad("has a content that does not fit")
		case int64(len(e.Data)) > maxSize:
			return bad("is too large")
		case e.UID < 0 || e.GID < 0 || e.UID > 0o777777 || e.GID > 0o777777:
			return bad("has an owner whose number is too large")
		}
		dirs[e.Path] = e.Mode.IsDir()
	}
	if len(entries) == 0 {
		return errors.New("no files")
	}
	return nil
}
