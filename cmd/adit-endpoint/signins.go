package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/platform/durable"
)

// signInsName is the file in which an endpoint leaves who is signed in, until its next start.
const signInsName = "signins.json"

// maxSignIns bounds the file, bytes.
const maxSignIns = 64 << 20

// takeSignIns reads the file and removes it: a run that crashes leaves none, and old ones must not
// come back.
func takeSignIns(dir string) ([]byte, error) {
	file := filepath.Join(dir, signInsName)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxSignIns {
		err = &fs.PathError{Op: "read", Path: file, Err: fs.ErrInvalid}
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return text, os.Remove(file)
}

// leaveSignIns writes the file, if there is something to write.
func leaveSignIns(dir string, srv *endpoint.Server) error {
	text, err := srv.SignIns()
	if err != nil || text == nil {
		return err
	}
	return durable.Write(filepath.Join(dir, signInsName), text, 0o600)
}
