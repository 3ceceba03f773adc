package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// signer has a program that signs files in place. Without one nothing is signed.
type signer struct {
	program string
	dir     string // for signed copies
}

// sign signs a file of ours where it is.
func (s signer) sign(ctx context.Context, path string) error {
	if s.program == "" {
		return nil
	}
	return run(ctx, s.program, path)
}

// programs replaces our programs by signed copies. Wintun's has its authors' signature.
func (s signer) programs(ctx context.Context, files []file, arch string) ([]file, error) {
	if s.program == "" {
		return files, nil
	}
	dir := filepath.Join(s.dir, "signed-"+arch)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	out := append([]file(nil), files...)
	for i, f := range out {
		if !strings.HasSuffix(f.name, ".exe") {
			continue
		}
		out[i].source = filepath.Join(dir, f.name)
		if err := copyFile(f.source, out[i].source); err != nil {
			return nil, err
		}
		if err := s.sign(ctx, out[i].source); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if e := out.Close(); err == nil {
		err = e
	}
	return err
}
