// Package durable replaces files whole: whatever happens meanwhile, a reader
// finds the old or the new content. It starts no goroutine.
package durable

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// mark is in the names of files that are being written.
const mark = ".adit-"

// Write replaces the file at path; after a power cut, too, one of the two
// contents is there. The file belongs to this process's user and has exactly mode.
func Write(path string, content []byte, mode fs.FileMode) error {
	if err := replace(path, content, mode, (*os.File).Sync); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Swap is Write for a file that need not outlive a reboot: it does not wait for
// the disk, and after a power cut the file may be empty.
func Swap(path string, content []byte, mode fs.FileMode) error {
	return replace(path, content, mode, func(*os.File) error { return nil })
}

// replace writes another file beside path, and renames it after sync.
func replace(path string, content []byte, mode fs.FileMode, sync func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+mark+"*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = sync(f)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Sweep removes what killed writers left in dir. Nobody may be writing there.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), mark) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
