package main

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/adit-vpn/adit/platform/svc"
)

// script is the setup program's, for makensis.
//
//go:embed setup.nsi
var script string

// writeSetup makes the setup program, for people without Windows Installer. Its uninstaller is signed, too, if sign is not empty.
func writeSetup(ctx context.Context, p product, out, sign string, at time.Time) error {
	dir, err := os.MkdirTemp("", "adit-setup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var names, programs []string
	for _, f := range p.files {
		staged := filepath.Join(dir, f.name)
		err := copyFile(f.source, staged)
		if err == nil {
			err = os.Chtimes(staged, at, at)
		}
		if err != nil {
			return err
		}
		if f.folder == "" {
			names = append(names, f.name)
		}
		if ext := filepath.Ext(f.name); ext == ".exe" || ext == ".dll" {
			programs = append(programs, f.place())
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "adit.ico"), icons(), 0o644); err != nil {
		return err
	}
	t, err := template.New("setup.nsi").Delims("<<", ">>").Parse(script)
	if err != nil {
		return err
	}
	text, err := os.Create(filepath.Join(dir, "setup.nsi"))
	if err != nil {
		return err
	}
	whole, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	err = t.Execute(text, map[string]any{
		"Version": p.version, "Number": p.number, "Out": whole, "Files": names, "Programs": programs, "Gui": has(p.files, "adit-gui.exe"), "Sign": sign,
		"Service": svc.Name, "Title": svc.Title, "Text": svc.Text, "Needs": strings.Join(svc.Needs(), "/"), "Recovery": recovery(),
		"UpgradeCode": upgradeCode, "Aws": awsFolder,
		"Publisher": manufacturer, "Home": homePage,
	})
	if e := text.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return run(ctx, "makensis", "-V2", "-WX", "-NOCD", "-DFILES="+dir, text.Name())
}
