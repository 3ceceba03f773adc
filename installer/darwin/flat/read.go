package flat

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/adit-vpn/adit/installer/darwin/payload"
	"github.com/adit-vpn/adit/installer/darwin/xar"
)

// maxUnpacked is how large an archive in a package may become, bytes.
const maxUnpacked = 1 << 30

// Content is what a component installs.
type Content struct {
	ID, Version string
	KBytes      int64
	Files       []payload.Entry
	Scripts     []payload.Entry // what it runs, and what that uses
}

// Read reads a package and holds what it says to what is in it: of each component its bill of materials, its files and its scripts.
// Packages of others may have what it does not read.
func Read(b []byte) ([]Content, error) {
	files, err := xar.Read(b)
	if err != nil {
		return nil, err
	}
	byName := map[string][]byte{}
	var dirs []string
	for _, f := range files {
		byName[f.Name] = f.Data
		if path.Base(f.Name) == "PackageInfo" && !f.Dir {
			dirs = append(dirs, path.Dir(f.Name))
		}
	}
	var all []Content
	for _, dir := range dirs {
		c, err := examinePart(func(name string) ([]byte, bool) { b, ok := byName[path.Join(dir, name)]; return b, ok })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("nothing to install is in it")
	}
	text, ok := byName["Distribution"]
	if !ok {
		return all, nil
	}
	var d distribution
	if err := xml.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("Distribution: %w", err)
	}
	if len(d.Refs) != len(all) {
		return nil, fmt.Errorf("Distribution names %d packages, and %d are there", len(d.Refs), len(all))
	}
	for i, ref := range d.Refs {
		if want := "#" + dirs[i]; ref.File != want || ref.ID != all[i].ID || ref.Version != all[i].Version {
			return nil, fmt.Errorf("Distribution has %s %s %s for %s %s %s", ref.File, ref.ID, ref.Version, want, all[i].ID, all[i].Version)
		}
	}
	return all, nil
}

func examinePart(file func(string) ([]byte, bool)) (Content, error) {
	var c Content
	var info packageInfo
	text, _ := file("PackageInfo")
	if err := xml.Unmarshal(text, &info); err != nil {
		return c, fmt.Errorf("PackageInfo: %w", err)
	}
	c.ID, c.Version, c.KBytes = info.Identifier, info.Version, info.Payload.KBytes
	var err error
	if c.Files, err = unpacked(file, "Payload"); err != nil {
		return c, err
	}
	bom, _ := file("Bom")
	bill, err := payload.ReadBill(bom)
	if err != nil {
		return c, fmt.Errorf("Bom: %w", err)
	}
	items := map[string]payload.Item{}
	for _, i := range bill {
		items[i.Path] = i
	}
	for _, e := range c.Files {
		i, ok := items[e.Path]
		delete(items, e.Path)
		if !ok || !i.Describes(e) {
			return c, fmt.Errorf("%s is something else in the bill of materials", e.Path)
		}
	}
	for p := range items {
		return c, fmt.Errorf("%s is in the bill of materials, and no such file in the package", p)
	}
	if info.Payload.Files != len(c.Files) {
		return c, fmt.Errorf("PackageInfo counts %d files, and %d are there", info.Payload.Files, len(c.Files))
	}
	return c, c.checkScripts(info, file)
}

// checkScripts looks for the scripts that the Installer would look for.
func (c *Content) checkScripts(info packageInfo, file func(string) ([]byte, bool)) error {
	var wanted []string
	if s := info.Scripts; s != nil {
		for _, f := range []*scriptFile{s.Preinstall, s.Postinstall} {
			if f != nil {
				wanted = append(wanted, strings.TrimPrefix(f.File, "./"))
			}
		}
	}
	if _, ok := file("Scripts"); !ok && len(wanted) == 0 {
		return nil
	}
	var err error
	if c.Scripts, err = unpacked(file, "Scripts"); err != nil {
		return err
	}
	for _, name := range wanted {
		found := false
		for _, e := range c.Scripts {
			found = found || e.Path == name && e.Mode&(fs.ModeType|0o111) == 0o111 && bytes.HasPrefix(e.Data, []byte("#!"))
		}
		if !found {
			return fmt.Errorf("%s is no script that can be run", name)
		}
	}
	return nil
}

// unpacked reads an archive of a package.
func unpacked(file func(string) ([]byte, bool), name string) ([]payload.Entry, error) {
	b, ok := file(name)
	if !ok {
		return nil, fmt.Errorf("%s is missing", name)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	archive, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(archive) > maxUnpacked {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxUnpacked)
	}
	entries, err := payload.ReadArchive(archive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return entries, nil
}
