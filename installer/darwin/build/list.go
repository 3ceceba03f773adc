package main

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/adit-vpn/adit/installer/darwin/payload"
	"github.com/adit-vpn/adit/installer/darwin/xar"
)

// maxUnpacked is how large an archive in a package may become, bytes.
const maxUnpacked = 1 << 30

// content is what a package of a part installs.
type content struct {
	info    packageInfo
	files   []payload.Entry
	scripts []payload.Entry
}

// list says what a package installs, once it is sure that its halves agree.
func list(file string, w io.Writer) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	all, err := examine(b)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, c := range all {
		fmt.Fprintf(w, "%s %s, %d files, %d KiB\n", c.info.Identifier, c.info.Version, c.info.Payload.Files, c.info.Payload.KBytes)
		for _, e := range c.scripts {
			if !e.Mode.IsDir() {
				fmt.Fprintf(w, "  runs or uses %s\n", e.Path)
			}
		}
		for _, e := range c.files {
			target := ""
			if e.Target != "" {
				target = " -> " + e.Target
			}
			fmt.Fprintf(w, "  %v %d/%d %9d %s%s\n", e.Mode, e.UID, e.GID, len(e.Data), path.Join("/", e.Path), target)
		}
	}
	return nil
}

// examine reads a package and holds what it says to what is in it: of each part its bill, its files and its scripts.
func examine(b []byte) ([]content, error) {
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
	var all []content
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
		if want := "#" + dirs[i]; ref.File != want || ref.ID != all[i].info.Identifier || ref.Version != all[i].info.Version {
			return nil, fmt.Errorf("Distribution has %s %s %s for %s %s %s", ref.File, ref.ID, ref.Version, want, all[i].info.Identifier, all[i].info.Version)
		}
	}
	return all, nil
}

func examinePart(file func(string) ([]byte, bool)) (content, error) {
	var c content
	text, _ := file("PackageInfo")
	if err := xml.Unmarshal(text, &c.info); err != nil {
		return c, fmt.Errorf("PackageInfo: %w", err)
	}
	var err error
	if c.files, err = unpacked(file, "Payload"); err != nil {
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
	for _, e := range c.files {
		i, ok := items[e.Path]
		delete(items, e.Path)
		if !ok || !i.Describes(e) {
			return c, fmt.Errorf("%s is something else in the bill of materials", e.Path)
		}
	}
	for p := range items {
		return c, fmt.Errorf("%s is in the bill of materials, and no such file in the package", p)
	}
	if c.info.Payload.Files != len(c.files) {
		return c, fmt.Errorf("PackageInfo counts %d files, and %d are there", c.info.Payload.Files, len(c.files))
	}
	return c, c.checkScripts(file)
}

// checkScripts looks for the scripts that the Installer would look for.
func (c *content) checkScripts(file func(string) ([]byte, bool)) error {
	var wanted []string
	if s := c.info.Scripts; s != nil {
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
	if c.scripts, err = unpacked(file, "Scripts"); err != nil {
		return err
	}
	for _, name := range wanted {
		found := false
		for _, e := range c.scripts {
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
