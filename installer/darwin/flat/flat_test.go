package flat

import (
	"encoding/xml"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/installer/darwin/macho"
	"github.com/adit-vpn/adit/installer/darwin/payload"
	"github.com/adit-vpn/adit/installer/darwin/xar"
)

var stamp = Stamp{"1.2.3", time.Unix(1763892000, 0)}

// parts are one that runs a script, one that is for one processor and an app, and one that is neither.
var parts = []Part{
	{
		ID: "com.example.a", Short: "a", Title: "A", Text: "The first.", Selected: true, Fixed: true,
		Entries: []payload.Entry{
			{Path: ".", Mode: fs.ModeDir | 0o755},
			{Path: "one", Mode: 0o755, Data: []byte("one")},
			{Path: "two", Mode: fs.ModeSymlink | 0o755, Target: "one"},
		},
		Scripts: map[string][]byte{"postinstall": []byte("#!/bin/sh\n"), "more": []byte("#!/bin/sh\n")},
		Needs:   macho.Release{Major: 11}, CPUs: []string{"x86_64", "arm64"},
	},
	{
		ID: "com.example.c", Short: "c", Title: "C", Text: "An app.", Selected: true, Bundle: "C.app",
		Entries: []payload.Entry{{Path: ".", Mode: fs.ModeDir | 0o755}, {Path: "C.app", Mode: fs.ModeDir | 0o755}},
		Needs:   macho.Release{Major: 12, Minor: 3}, CPUs: []string{"arm64"},
	},
	{
		ID: "com.example.b", Short: "b", Title: "B", Text: "Another.",
		Entries: []payload.Entry{{Path: ".", Mode: fs.ModeDir | 0o755}, {Path: "b", Mode: 0o644, Data: make([]byte, 2000)}},
		Needs:   macho.Release{Major: 12, Minor: 1}, CPUs: []string{"x86_64", "arm64"},
	},
}

func TestRoundTrip(t *testing.T) {
	var single []Content
	for _, p := range parts {
		b, err := Component(p, stamp)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Read(b)
		if err != nil {
			t.Fatal(err)
		}
		single = append(single, c...)
	}
	b, err := Product("com.example", "Example", parts, stamp)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Read(b)
	if err != nil || !reflect.DeepEqual(all, single) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, all, single)
	}
	for i, c := range all {
		if p := parts[i]; c.ID != p.ID || c.Version != "1.2.3" || !reflect.DeepEqual(c.Files, p.Entries) {
			t.Errorf("got %+v, want %+v", c, p)
		}
	}
	if all[2].KBytes != 2 {
		t.Errorf("%d KiB", all[2].KBytes)
	}
}

// TestWords: what the Installer is told of each part, and of all.
func TestWords(t *testing.T) {
	b, err := Product("com.example", "Example", parts, stamp)
	if err != nil {
		t.Fatal(err)
	}
	files, err := xar.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	var d distribution
	if err := xml.Unmarshal(files[find(t, files, "Distribution")].Data, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title != "Example" || d.Product.ID != "com.example" || d.Options.CPUs != "arm64" || d.Volume.OS.Min != "12.3" || !d.Domains.System || d.Domains.Anywhere || d.Domains.Home {
		t.Errorf("%+v", d)
	}
	for i, p := range parts {
		c := d.Choices[i]
		if c.ID != p.ID || c.Ref.ID != p.ID || d.Outline[i].Choice != p.ID || c.Title != p.Title || c.Text != p.Text || c.Selected != p.Selected || c.Enabled == p.Fixed {
			t.Errorf("%+v for %+v", c, p)
		}
	}
	for i, want := range []string{"a.pkg", "c.pkg"} {
		var info packageInfo
		if err := xml.Unmarshal(files[find(t, files, want+"/PackageInfo")].Data, &info); err != nil {
			t.Fatal(err)
		}
		if info.Overwrite || info.Moves || info.Identifier != parts[i].ID || info.Version != "1.2.3" || info.Auth != "root" || info.Location != "/" {
			t.Errorf("%+v", info)
		}
		if scripted := info.Scripts != nil; scripted != (i == 0) || scripted && info.Scripts.Postinstall.File != "./postinstall" {
			t.Errorf("%s: %+v", want, info.Scripts)
		}
		if isApp := info.Bundle != nil; isApp != (i == 1) || isApp && (info.Bundle.Path != "./C.app" || len(info.Upgrade.Bundle) != 1 || len(info.BundleVersion.Bundle)+len(info.Relocate.Bundle) != 0) {
			t.Errorf("%s: %+v", want, info)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	bad := slices.Clone(parts)
	bad[0].CPUs = []string{"x86_64"}
	if _, err := Product("com.example", "Example", bad, stamp); err == nil || !strings.Contains(err.Error(), "no processor") {
		t.Errorf("no processor runs all: %v", err)
	}
	bad[0].Entries = nil
	if _, err := Component(bad[0], stamp); err == nil {
		t.Error("a package of nothing was made")
	}
}

func FuzzRead(f *testing.F) {
	b, err := Product("com.example", "Example", parts, stamp)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Read(b)
		if err == nil && len(all) == 0 {
			t.Error("a package of nothing was read")
		}
	})
}

// TestReadRefuses: a package whose halves do not agree is found out.
func TestReadRefuses(t *testing.T) {
	b, err := Product("com.example", "Example", parts, stamp)
	if err != nil {
		t.Fatal(err)
	}
	files, err := xar.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(b); err != nil {
		t.Fatal(err)
	}
	replaced := func(name string, data []byte) []xar.File {
		all := slices.Clone(files)
		all[find(t, all, name)].Data = data
		return all
	}
	text := func(name, from, to string) []xar.File {
		old := string(files[find(t, files, name)].Data)
		if !strings.Contains(old, from) {
			t.Fatalf("no %q in %s", from, old)
		}
		return replaced(name, []byte(strings.Replace(old, from, to, 1)))
	}
	other := func(name, from string) []xar.File { return replaced(name, files[find(t, files, from)].Data) }
	for name, all := range map[string][]xar.File{
		"another's bill":      other("a.pkg/Bom", "b.pkg/Bom"),
		"another's files":     other("a.pkg/Payload", "b.pkg/Payload"),
		"no files":            replaced("a.pkg/Payload", nil),
		"no bill":             replaced("a.pkg/Bom", nil),
		"a wrong count":       text("a.pkg/PackageInfo", `numberOfFiles="3"`, `numberOfFiles="4"`),
		"no such script":      text("a.pkg/PackageInfo", "./postinstall", "./preinstall"),
		"no such package":     text("Distribution", "#a.pkg", "#z.pkg"),
		"of another version":  text("Distribution", `version="1.2.3" install`, `version="1.2.4" install`),
		"one less than named": slices.DeleteFunc(slices.Clone(files), func(f xar.File) bool { return strings.HasPrefix(f.Name, "c.pkg") }),
		"nothing":             files[:1],
	} {
		bad, err := xar.Write(all, stamp.At)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(bad); err == nil {
			t.Errorf("%s was not noticed", name)
		}
	}
}

func find(t *testing.T, files []xar.File, name string) int {
	t.Helper()
	i := slices.IndexFunc(files, func(f xar.File) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("no %s", name)
	}
	return i
}
