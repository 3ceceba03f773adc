package pki

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/adit-vpn/adit/platform/durable"
)

// writingDir has the files of one change, by number, while they are written; as soon as writingList is there, too, all of them are, and
// the change counts: whoever takes the lock next finishes it.
const (
	writingDir  = "writing"
	writingList = "files.json" // below it: where they belong, relative to the PKI's directory
)

// maxWrites is how many files one change has at most; the CA has the most.
const maxWrites = 16

// file is one that belongs to a change.
type file struct {
	path string
	text []byte
}

// writeAll replaces all of files, or none: where there is no room, or the program is ended in between, nothing has changed. With the lock held.
func (p *PKI) writeAll(files []file) error {
	dir := p.path(writingDir)
	if err := os.RemoveAll(dir); err != nil { // of one that did not come to the list
		return p.ioError(dir, err)
	}
	var to []string
	for i, f := range files {
		rel, err := filepath.Rel(p.dir, f.path)
		if err == nil {
			err = write(filepath.Join(dir, strconv.Itoa(i)), f.text)
		}
		if err != nil {
			os.RemoveAll(dir)
			return p.ioError(f.path, err)
		}
		to = append(to, filepath.ToSlash(rel))
	}
	text, err := json.Marshal(to)
	if err == nil {
		err = write(filepath.Join(dir, writingList), text)
	}
	if err != nil {
		os.RemoveAll(dir)
		return p.ioError(dir, err)
	}
	return p.finishWrites()
}

// beingWritten says whether a change was interrupted when nothing but moving was left to do.
func (p *PKI) beingWritten() bool { return exists(p.path(writingDir, writingList)) }

// finishWrites moves the files of a change to where they belong, as far as that is not done. Every step may be repeated. With the lock held.
func (p *PKI) finishWrites() error {
	dir := p.path(writingDir)
	list := filepath.Join(dir, writingList)
	text, err := os.ReadFile(list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var to []string
	if err == nil {
		err = json.Unmarshal(text, &to)
	}
	for _, rel := range to {
		if err == nil && (len(to) > maxWrites || !filepath.IsLocal(filepath.FromSlash(rel))) {
			err = errors.New("no list of files in this directory")
		}
	}
	if err != nil {
		return p.ioError(list, err)
	}
	for i, rel := range to {
		path := p.path(filepath.FromSlash(rel))
		if err := move(filepath.Join(dir, strconv.Itoa(i)), path); err != nil {
			return p.ioError(path, err)
		}
		if err := durable.SyncDir(filepath.Dir(path)); err != nil {
			return p.ioError(path, err)
		}
	}
	if err := os.Remove(list); err != nil { // first: without it the rest means nothing
		return p.ioError(list, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return p.ioError(dir, err)
	}
	return nil
}
