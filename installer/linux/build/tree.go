package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// tree lays the files of a package out in out/tree/NAME, for systems that pack them themselves (Arch's makepkg, Nix).
func (j *job) tree(p pack) error {
	root := filepath.Join(j.out, "tree", p.name)
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	for _, f := range p.files {
		at := filepath.Join(root, f.dst)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		var err error
		switch f.kind {
		case "dir":
			err = os.MkdirAll(at, f.mode)
		case "symlink":
			err = os.Symlink(f.src, at)
		default:
			err = copyFile(at, f.src, f.mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
