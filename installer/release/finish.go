package release

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/adit-vpn/adit/installer/manifest"
	"github.com/adit-vpn/adit/installer/version"
)

// Options say what a release says of itself.
type Options struct {
	Version string
	At      time.Time // of the commit
	Days    int       // how long the manifest proves something; 0: forever
	Minimum string    // older versions must be replaced; empty: none must
}

// Finish writes what accompanies the programs and packages in dist: the bill of materials, the manifest, and the checksums of all
// that is published. modules are those of Linked, of which dist's NOTICE has to be made. The same files have the same results.
func Finish(dist string, modules []Module, o Options) error {
	notice, err := os.ReadFile(filepath.Join(dist, "NOTICE"))
	if err != nil {
		return err
	}
	if string(notice) != Notice(modules) {
		return errors.New("NOTICE is not that of what the programs link: make notice")
	}
	v, err := version.Parse(o.Version)
	if err != nil {
		return err
	}
	programs, err := Programs(dist)
	if err != nil {
		return err
	}
	bill, err := Bill(v.String(), o.At, programs, modules)
	if err != nil {
		return err
	}
	billName := BillName(v.String())
	if err := os.WriteFile(filepath.Join(dist, billName), bill, 0o644); err != nil {
		return err
	}
	files, err := published(dist, packagesDir, templatesDir, billName, "NOTICE")
	if err != nil {
		return err
	}
	m := manifest.Manifest{Version: v.String(), Released: o.At, Minimum: o.Minimum}
	if o.Days > 0 {
		m.Expires = o.At.AddDate(0, 0, o.Days)
	}
	for _, p := range programs {
		m.Programs = append(m.Programs, p.File)
	}
	fat, err := universal(dist)
	if err != nil {
		return err
	}
	m.Programs = append(m.Programs, fat...)
	var sums strings.Builder
	for _, name := range files {
		f, err := describe(filepath.Join(dist, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", f.SHA256, name)
		if path.Dir(name) == packagesDir {
			m.Packages = append(m.Packages, f)
		}
	}
	text, err := m.Text()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dist, ManifestName), text, 0o644); err != nil {
		return err
	}
	f, err := describe(filepath.Join(dist, ManifestName))
	if err != nil {
		return err
	}
	fmt.Fprintf(&sums, "%s  %s\n", f.SHA256, ManifestName)
	return os.WriteFile(filepath.Join(dist, SumsName), []byte(sums.String()), 0o644)
}
