package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// beside finds a program of ours next to this one; does is what a person misses without it.
func beside(name, does string) (string, error) {
	own, err := os.Executable()
	if err == nil {
		own, err = filepath.EvalSymlinks(own)
	}
	if err != nil {
		return "", err
	}
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(filepath.Dir(own), name)
	if _, err := os.Stat(path); err != nil {
		return "", hinted(fmt.Errorf("%s is missing: it %s", path, does), "install it beside adit; make build makes both")
	}
	return path, nil
}
