package payload

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// The fields of a header: octal digits of fixed width after the magic (POSIX.1-1988, "cpio interchange format").
const (
	magicODC   = "070707"
	headerODC  = 76 // bytes
	trailerODC = "TRAILER!!!"
)

// Archive writes entries, which are sorted by the parts of their paths, root first; all have the same time.
func Archive(entries []Entry, at time.Time) ([]byte, error) {
	if err := check(entries, at); err != nil {
		return nil, err
	}
	var b []byte
	add := func(name string, inode, mode, uid, gid, links int, mtime int64, content []byte) {
		b = fmt.Appendf(b, magicODC+"%06o%06o%06o%06o%06o%06o%06o%011o%06o%011o", 0, inode, mode, uid, gid, links, 0, mtime, len(name)+1, len(content))
		b = append(append(append(b, name...), 0), content...)
	}
	for i, e := range entries {
		name := "."
		if e.Path != "." {
			name = "./" + e.Path
		}
		links := 1
		if e.Mode.IsDir() {
			links = 2
		}
		add(name, i+1, int(e.mode()), e.UID, e.GID, links, at.Unix(), e.content())
	}
	add(trailerODC, 0, 0, 0, 0, 1, 0, nil)
	return b, nil
}

// ReadArchive reads what Archive writes, and any archive of this format with files, directories and links. Data is part of b.
func ReadArchive(b []byte) ([]Entry, error) {
	var entries []Entry
	for {
		if len(b) < headerODC || string(b[:6]) != magicODC {
			return nil, errors.New("no cpio archive of the portable format, or cut off")
		}
		var err error
		field := func(from, width int) int64 {
			n, e := strconv.ParseUint(string(b[from:from+width]), 8, 33)
			if e != nil && err == nil {
				err = fmt.Errorf("a header has %q for a number", b[from:from+width])
			}
			return int64(n)
		}
		mode, uid, gid := field(18, 6), field(24, 6), field(30, 6)
		nameSize, size := field(59, 6), field(65, 11)
		if err != nil {
			return nil, err
		}
		b = b[headerODC:]
		if nameSize < 1 || nameSize > int64(len(b)) || size > int64(len(b))-nameSize || b[nameSize-1] != 0 {
			return nil, errors.New("an entry is cut off")
		}
		name, content := string(b[:nameSize-1]), b[nameSize:nameSize+size]
		b = b[nameSize+size:]
		if name == trailerODC {
			return entries, nil
		}
		if len(entries) == maxEntries {
			return nil, fmt.Errorf("more than %d files", maxEntries)
		}
		e := Entry{Path: strings.TrimPrefix(name, "./"), UID: int(uid), GID: int(gid), Mode: fs.FileMode(mode & 0o777)}
		if !fs.ValidPath(e.Path) || strings.ContainsRune(e.Path, 0) {
			return nil, fmt.Errorf("%q is no path", name)
		}
		if mode&^(typeMask|0o777) != 0 {
			return nil, fmt.Errorf("%q has mode %o: none of ours takes another's rights", name, mode)
		}
		switch mode & typeMask {
		case typeDir:
			e.Mode |= fs.ModeDir
		case typeLink:
			e.Mode |= fs.ModeSymlink
			e.Target = string(content)
		case typeFile:
			e.Data = content
		default:
			return nil, fmt.Errorf("%q is neither a file, a directory nor a link", name)
		}
		entries = append(entries, e)
	}
}
