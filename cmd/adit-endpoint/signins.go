package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/adit-vpn/adit/platform/durable"
)

// signInsName is the file in which an endpoint leaves who is signed in, until its next start.
const signInsName = "signins.json"

// maxSignIns bounds the file, bytes.
const maxSignIns = 64 << 20

// takeSignIns reads the file and removes it, also when it cannot be read: a run that crashes leaves none, and
// old ones, with what an administrator has ended since, must not come back. nil: there are none.
func takeSignIns(dir string) ([]byte, error) {
	file := filepath.Join(dir, signInsName)
	if err := durable.Sweep(dir); err != nil { // a run that was killed while it wrote
		return nil, err
	}
	text, err := readSignIns(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if e := os.Remove(file); e != nil {
		return nil, e
	}
	if e := durable.SyncDir(dir); e != nil && err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

// readSignIns reads the file, if it is not too large.
func readSignIns(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSignIns+1))
	if err == nil && len(text) > maxSignIns {
		err = fmt.Errorf("%s: larger than %d bytes", file, maxSignIns)
	}
	return text, err
}

// leaveSignIns writes the file, if there is something to write.
func leaveSignIns(dir string, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	return durable.Write(filepath.Join(dir, signInsName), text, 0o600)
}
