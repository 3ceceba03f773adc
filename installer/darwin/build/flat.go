package main

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/installer/darwin/payload"
	"github.com/adit-vpn/adit/installer/darwin/xar"
)

// The elements of PackageInfo, which Apple does not document: as pkgbuild writes them ("Flat Package Format - The missing
// documentation", s.sudre.free.fr).
type (
	packageInfo struct {
		XMLName    xml.Name `xml:"pkg-info"`
		Overwrite  bool     `xml:"overwrite-permissions,attr"`
		Moves      bool     `xml:"relocatable,attr"`
		Identifier string   `xml:"identifier,attr"`
		Action     string   `xml:"postinstall-action,attr"`
		Version    string   `xml:"version,attr"`
		Format     int      `xml:"format-version,attr"`
		Generator  string   `xml:"generator-version,attr"`
		Location   string   `xml:"install-location,attr"`
		Auth       string   `xml:"auth,attr"`
		Payload    struct {
			Files  int   `xml:"numberOfFiles,attr"`
			KBytes int64 `xml:"installKBytes,attr"`
		} `xml:"payload"`
		Bundle *bundle `xml:"bundle"`
		// Lists of bundles. In bundleVersion would be those that an older version does not replace, and in relocate those that
		// are installed wherever somebody has moved them to.
		BundleVersion bundles      `xml:"bundle-version"`
		Upgrade       bundles      `xml:"upgrade-bundle"`
		Update        bundles      `xml:"update-bundle"`
		Atomic        bundles      `xml:"atomic-update-bundle"`
		Strict        bundles      `xml:"strict-identifier"`
		Relocate      bundles      `xml:"relocate"`
		Scripts       *scriptsList `xml:"scripts"`
	}
	bundle struct {
		Path    string `xml:"path,attr,omitempty"`
		ID      string `xml:"id,attr"`
		Short   string `xml:"CFBundleShortVersionString,attr,omitempty"`
		Version string `xml:"CFBundleVersion,attr,omitempty"`
	}
	bundles struct {
		Bundle []bundle `xml:"bundle"`
	}
	scriptsList struct {
		Preinstall  *scriptFile `xml:"preinstall"`
		Postinstall *scriptFile `xml:"postinstall"`
	}
	scriptFile struct {
		File string `xml:"file,attr"`
	}
)

// flat makes the package of a part.
func flat(p part, in input) ([]byte, error) {
	files, err := component(p, in)
	if err != nil {
		return nil, err
	}
	return xar.Write(files, in.at)
}

// component is what is in the package of a part.
func component(p part, in input) ([]xar.File, error) {
	bill, err := payload.Bill(p.entries, in.at)
	if err != nil {
		return nil, err
	}
	archive, err := packed(p.entries, in)
	if err != nil {
		return nil, err
	}
	info := packageInfo{
		// Directories that are there already stay whose they are.
		Identifier: p.id, Version: in.version.Pkg(), Format: 2, Action: "none", Generator: "adit", Location: "/", Auth: "root",
	}
	info.Payload.Files, info.Payload.KBytes = len(p.entries), p.kbytes()
	if p.bundle != "" {
		info.Bundle = &bundle{"./" + p.bundle, p.id, in.version.Pkg(), in.version.Pkg()}
		info.Upgrade.Bundle = []bundle{{ID: p.id}} // what the old one had and the new one has not is removed
		info.Strict.Bundle = info.Upgrade.Bundle
	}
	files := []xar.File{{Name: "Bom", Data: bill}, {Name: "Payload", Data: archive}}
	if len(p.scripts) > 0 {
		info.Scripts = &scriptsList{Postinstall: &scriptFile{"./postinstall"}}
		entries := []payload.Entry{{Path: ".", Mode: fs.ModeDir | 0o755}}
		for _, name := range slices.Sorted(maps.Keys(p.scripts)) {
			entries = append(entries, payload.Entry{Path: name, Mode: 0o755, Data: p.scripts[name]})
		}
		scripts, err := packed(entries, in)
		if err != nil {
			return nil, err
		}
		files = append(files, xar.File{Name: "Scripts", Data: scripts})
	}
	text, err := document(info)
	return append(files, xar.File{Name: "PackageInfo", Data: text}), err
}

// kbytes is the room that a part takes, in KiB.
func (p part) kbytes() int64 {
	var sum int64
	for _, e := range p.entries {
		sum += (int64(len(e.Data)) + 1023) / 1024
	}
	return sum
}

// packed is an archive as it is in packages: cpio in gzip, without a time or a name of its own.
func packed(entries []payload.Entry, in input) ([]byte, error) {
	archive, err := payload.Archive(entries, in.at)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(archive); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

func document(v any) ([]byte, error) {
	b, err := xml.MarshalIndent(v, "", "    ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}

// The elements of Distribution (developer.apple.com, "Distribution Definition Reference").
type (
	distribution struct {
		XMLName xml.Name `xml:"installer-gui-script"`
		Spec    int      `xml:"minSpecVersion,attr"`
		Title   string   `xml:"title"`
		Options struct {
			Customize string `xml:"customize,attr"`
			Scripts   bool   `xml:"require-scripts,attr"` // of the Distribution itself
			RootOnly  bool   `xml:"rootVolumeOnly,attr"`
			CPUs      string `xml:"hostArchitectures,attr"`
		} `xml:"options"`
		Domains struct {
			Anywhere bool `xml:"enable_anywhere,attr"`
			Home     bool `xml:"enable_currentUserHome,attr"`
			System   bool `xml:"enable_localSystem,attr"`
		} `xml:"domains"`
		Volume  volume    `xml:"volume-check"`
		Outline []line    `xml:"choices-outline>line"`
		Choices []choice  `xml:"choice"`
		Refs    []pkgRef  `xml:"pkg-ref"`
		Product productID `xml:"product"`
	}
	volume struct {
		OS struct {
			Min string `xml:"min,attr"`
		} `xml:"allowed-os-versions>os-version"`
	}
	line struct {
		Choice string `xml:"choice,attr"`
	}
	choice struct {
		ID       string `xml:"id,attr"`
		Title    string `xml:"title,attr"`
		Text     string `xml:"description,attr"`
		Enabled  bool   `xml:"start_enabled,attr"`
		Selected bool   `xml:"start_selected,attr"`
		Ref      pkgRef `xml:"pkg-ref"`
	}
	pkgRef struct {
		ID         string `xml:"id,attr"`
		Version    string `xml:"version,attr,omitempty"`
		KBytes     int64  `xml:"installKBytes,attr,omitempty"`
		Conclusion string `xml:"onConclusion,attr,omitempty"`
		Auth       string `xml:"auth,attr,omitempty"`
		File       string `xml:",chardata"`
	}
	productID struct {
		ID      string `xml:"id,attr"`
		Version string `xml:"version,attr"`
	}
)

// product makes the package with all parts, from which people choose.
func product(parts []part, in input) ([]byte, error) {
	d := distribution{Spec: 1, Title: "Adit", Product: productID{"com.adit", in.version.Pkg()}}
	d.Options.Customize, d.Options.RootOnly = "allow", true
	d.Domains.System = true
	cpus, needs := slices.Clone(parts[0].cpus), parts[0].needs
	var files []xar.File
	for _, p := range parts {
		inside, err := component(p, in)
		if err != nil {
			return nil, err
		}
		dir := p.short + ".pkg"
		files = append(files, xar.File{Name: dir, Dir: true})
		for _, f := range inside {
			files = append(files, xar.File{Name: dir + "/" + f.Name, Data: f.Data})
		}
		cpus = slices.DeleteFunc(cpus, func(cpu string) bool { return !slices.Contains(p.cpus, cpu) })
		if p.needs.Compare(needs) > 0 {
			needs = p.needs
		}
		d.Outline = append(d.Outline, line{p.id})
		d.Choices = append(d.Choices, choice{p.id, p.title, p.text, !p.fixed, p.selected, pkgRef{ID: p.id}})
		d.Refs = append(d.Refs, pkgRef{p.id, in.version.Pkg(), p.kbytes(), "none", "root", "#" + dir})
	}
	if len(cpus) == 0 {
		return nil, fmt.Errorf("no processor runs all programs")
	}
	d.Options.CPUs, d.Volume.OS.Min = strings.Join(cpus, ","), needs.String()
	text, err := document(d)
	if err != nil {
		return nil, err
	}
	return xar.Write(append([]xar.File{{Name: "Distribution", Data: text}}, files...), in.at)
}
