package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"time"

	"github.com/adit-vpn/adit/gui/icon"
)

// writeMSI makes the package for Windows Installer.
func writeMSI(ctx context.Context, p product, out string, at time.Time) error {
	dir, err := os.MkdirTemp("", "adit-msi-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const stream = "adit.cab"
	cab := filepath.Join(dir, stream)
	if err := cabinet(ctx, dir, cab, p.files, at); err != nil {
		return err
	}
	tables := append(p.tables(stream), table{"Icon", 1, []string{"Name s72", "Data v0"}, [][]any{{"adit.ico", "adit.ico.ibd"}}})
	// A package's own code is another one for each content.
	h := sha256.New()
	content, err := os.ReadFile(cab)
	if err != nil {
		return err
	}
	h.Write(content)
	for _, t := range tables {
		text, err := t.archive()
		if err != nil {
			return err
		}
		h.Write(text)
	}
	tables = append(tables, summary{subject: "Adit " + p.version, author: manufacturer, template: p.template(), at: at,
		code: named("package", fmt.Sprintf("%x", h.Sum(nil)))}.table())
	if err := os.Mkdir(filepath.Join(dir, "Icon"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "Icon", "adit.ico.ibd"), icons(), 0o644); err != nil {
		return err
	}
	return writeDatabase(ctx, dir, out, tables, stream, cab)
}

// icons are the app's, as the list of programs shows them.
func icons() []byte {
	var all []image.Image
	for _, size := range []int{16, 32, 48, 256} {
		all = append(all, icon.Application(size))
	}
	return icon.ICO(all...)
}
