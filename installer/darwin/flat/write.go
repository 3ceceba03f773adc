// Package flat writes and reads the packages that macOS' Installer takes: component packages, of which each installs files and runs
// scripts, and product archives, out of whose components people choose. It starts no goroutine and touches no file.
package flat

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/installer/darwin/macho"
	"github.com/adit-vpn/adit/installer/darwin/payload"
	"github.com/adit-vpn/adit/installer/darwin/xar"
)

// Part is what people install or leave out: one component.
type Part struct {
	ID, Short       string // com.adit.cli and adit-cli
	Title, Text     string // in the Installer
	Selected, Fixed bool   // at first, and for good
	Bundle          string // the path of its app, if it is one
	Entries         []payload.Entry
	Scripts         map[string][]byte // what is run and used; of those that are run only postinstall
	// Needs is the oldest macOS, and CPUs are the processors, that run all its programs.
	Needs macho.Release
	CPUs  []string
}

// Stamp is what all packages of a release have in common.
type Stamp struct {
	Version string // three numbers, as bundles have them
	At      time.Time
}

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

// Component makes the package of a part.
func Component(p Part, s Stamp) ([]byte, error) {
	files, err := component(p, s)
	if err != nil {
		return nil, err
	}
	return xar.Write(files, s.At)
}

// component is what is in the package of a part.
func component(p Part, s Stamp) ([]xar.File, error) {
	bill, err := payload.Bill(p.Entries, s.At)
	if err != nil {
		return nil, err
	}
	archive, err := packed(p.Entries, s.At)
	if err != nil {
		return nil, err
	}
	info := packageInfo{
		// Directories that are there already stay whose they are.
		Identifier: p.ID, Version: s.Version, Format: 2, Action: "none", Generator: "adit", Location: "/", Auth: "root",
	}
	info.Payload.Files, info.Payload.KBytes = len(p.Entries), p.kbytes()
	if p.Bundle != "" {
		info.Bundle = &bundle{"./" + p.Bundle, p.ID, s.Version, s.Version}
		info.Upgrade.Bundle = []bundle{{ID: p.ID}} // what the old one had and the new one has not is removed
		info.Strict.Bundle = info.Upgrade.Bundle
	}
	files := []xar.File{{Name: "Bom", Data: bill}, {Name: "Payload", Data: archive}}
	if len(p.Scripts) > 0 {
		info.Scripts = &scriptsList{Postinstall: &scriptFile{"./postinstall"}}
		entries := []payload.Entry{{Path: ".", Mode: fs.ModeDir | 0o755}}
		for _, name := range slices.Sorted(maps.Keys(p.Scripts)) {
			entries = append(entries, payload.Entry{Path: name, Mode: 0o755, Data: p.Scripts[name]})
		}
		scripts, err := packed(entries, s.At)
		if err != nil {
			return nil, err
		}
		files = append(files, xar.File{Name: "Scripts", Data: scripts})
	}
	text, err := document(info)
	return append(files, xar.File{Name: "PackageInfo", Data: text}), err
}

// kbytes is the room that a part takes, in KiB.
func (p Part) kbytes() int64 {
	var sum int64
	for _, e := range p.Entries {
		sum += (int64(len(e.Data)) + 1023) / 1024
	}
	return sum
}

// packed is an archive as it is in packages: cpio in gzip, without a time or a name of its own.
func packed(entries []payload.Entry, at time.Time) ([]byte, error) {
	archive, err := payload.Archive(entries, at)
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

// Product makes the package with all parts, from which people choose; identifier and title are its own.
func Product(id, title string, parts []Part, s Stamp) ([]byte, error) {
	d := distribution{Spec: 1, Title: title, Product: productID{id, s.Version}}
	d.Options.Customize, d.Options.RootOnly = "allow", true
	d.Domains.System = true
	cpus, needs := slices.Clone(parts[0].CPUs), parts[0].Needs
	var files []xar.File
	for _, p := range parts {
		inside, err := component(p, s)
		if err != nil {
			return nil, err
		}
		dir := p.Short + ".pkg"
		files = append(files, xar.File{Name: dir, Dir: true})
		for _, f := range inside {
			files = append(files, xar.File{Name: dir + "/" + f.Name, Data: f.Data})
		}
		cpus = slices.DeleteFunc(cpus, func(cpu string) bool { return !slices.Contains(p.CPUs, cpu) })
		if p.Needs.Compare(needs) > 0 {
			needs = p.Needs
		}
		d.Outline = append(d.Outline, line{p.ID})
		d.Choices = append(d.Choices, choice{p.ID, p.Title, p.Text, !p.Fixed, p.Selected, pkgRef{ID: p.ID}})
		d.Refs = append(d.Refs, pkgRef{p.ID, s.Version, p.kbytes(), "none", "root", "#" + dir})
	}
	if len(cpus) == 0 {
		return nil, fmt.Errorf("no processor runs all programs")
	}
	d.Options.CPUs, d.Volume.OS.Min = strings.Join(cpus, ","), needs.String()
	text, err := document(d)
	if err != nil {
		return nil, err
	}
	return xar.Write(append([]xar.File{{Name: "Distribution", Data: text}}, files...), s.At)
}
