package release

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// BillName is the bill of materials' file of a version.
func BillName(version string) string { return "adit-" + version + ".cdx.json" }

// Bill is the bill of materials in CycloneDX 1.6: every program with its hash, the modules that it says itself were linked into it,
// and their licences, which come from modules. The same programs have the same bill.
func Bill(version string, at time.Time, programs []Program, modules []Module) ([]byte, error) {
	licences := map[string][]string{}
	for _, m := range modules {
		licences[m.Path] = m.Licences
	}
	root := "adit@" + version
	bom := cyclonedx.NewBOM()
	bom.SpecVersion, bom.JSONSchema = cyclonedx.SpecVersion1_6, "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: at.UTC().Format(time.RFC3339),
		Component: &cyclonedx.Component{
			BOMRef: root, Type: cyclonedx.ComponentTypeApplication, Name: "adit", Version: version, Licenses: spdx([]string{"Apache-2.0"}),
		},
	}
	libraries := map[string]cyclonedx.Component{}
	var components []cyclonedx.Component
	var dependencies []cyclonedx.Dependency
	var all []string
	for _, p := range programs {
		ref := fmt.Sprintf("%s/%s/%s", p.OS, p.Arch, p.Name)
		all = append(all, ref)
		components = append(components, cyclonedx.Component{
			BOMRef: ref, Type: cyclonedx.ComponentTypeApplication, Group: p.OS + "/" + p.Arch, Name: p.Name, Version: version,
			Hashes:   &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: p.SHA256}},
			Licenses: spdx([]string{"Apache-2.0"}),
		})
		standard := debug.Module{Path: Standard, Version: strings.TrimPrefix(p.Info.GoVersion, "go")}
		linked := []string{}
		for _, m := range append([]*debug.Module{&standard}, p.Info.Deps...) {
			if m.Replace != nil {
				m = m.Replace
			}
			terms, known := licences[m.Path]
			if !known {
				return nil, fmt.Errorf("%s links %s, which is not in NOTICE", ref, m.Path)
			}
			c, err := library(m, terms)
			if err != nil {
				return nil, err
			}
			libraries[c.BOMRef] = c
			linked = append(linked, c.BOMRef)
		}
		slices.Sort(linked)
		dependencies = append(dependencies, cyclonedx.Dependency{Ref: ref, Dependencies: &linked})
	}
	for _, ref := range sortedKeys(keys(libraries)) {
		components = append(components, libraries[ref])
	}
	dependencies = append([]cyclonedx.Dependency{{Ref: root, Dependencies: &all}}, dependencies...)
	bom.Components, bom.Dependencies = &components, &dependencies

	var text bytes.Buffer
	e := cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON)
	if err := e.SetPretty(true).SetEscapeHTML(false).Encode(bom); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

func keys[V any](m map[string]V) map[string]bool {
	all := map[string]bool{}
	for k := range m {
		all[k] = true
	}
	return all
}

// library is a module. Its hash is that of go.sum (h1, of its files), in hexadecimal digits.
func library(m *debug.Module, terms []string) (cyclonedx.Component, error) {
	ref := "pkg:golang/" + escaped(m.Path) + "@" + url.PathEscape(m.Version)
	c := cyclonedx.Component{
		BOMRef: ref, Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: ref,
		Scope: cyclonedx.ScopeRequired, Licenses: spdx(terms),
	}
	if h1, ok := strings.CutPrefix(m.Sum, "h1:"); ok {
		b, err := base64.StdEncoding.DecodeString(h1)
		if err != nil {
			return c, fmt.Errorf("%s has a bad sum: %w", m.Path, err)
		}
		c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(b)}}
	} else if m.Path != Standard {
		return c, fmt.Errorf("%s has no sum", m.Path)
	}
	return c, nil
}

// escaped is a module's path as package URLs want it: in lower case, each part of it escaped.
func escaped(path string) string {
	parts := strings.Split(strings.ToLower(path), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// spdx lists licences: one covers one part, or a choice of them the whole, as their texts in NOTICE say.
func spdx(names []string) *cyclonedx.Licenses {
	all := cyclonedx.Licenses{}
	for _, name := range names {
		all = append(all, cyclonedx.LicenseChoice{License: &cyclonedx.License{ID: name}})
	}
	return &all
}
