package release

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/adit-vpn/adit/installer/darwin/macho"
	"github.com/adit-vpn/adit/installer/manifest"
)

var at = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// linked asks go list once.
var linked = sync.OnceValues(func() ([]Module, error) { return Linked("../..") })

func modules(t *testing.T) []Module {
	t.Helper()
	all, err := linked()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestNotice: every module that a program links has a licence that is allowed, and NOTICE has its text.
func TestNotice(t *testing.T) {
	b, err := os.ReadFile("../../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != Notice(modules(t)) {
		t.Error("NOTICE is not that of what the programs link: make notice")
	}
	programs := map[string]string{}
	for _, m := range modules(t) {
		if len(m.Programs) == 0 {
			t.Errorf("%s is in no program", m.Path)
		}
		programs[m.Path] = strings.Join(m.Programs, " ")
	}
	for path, want := range map[string]string{
		"github.com/spf13/cobra": "adit adit-endpoint", "fyne.io/fyne/v2": "adit-gui", "github.com/ebitengine/purego": "adit-pkcs11",
		Standard: "adit adit-endpoint adit-gui adit-pkcs11 aditd",
	} {
		if !strings.HasPrefix(programs[path], want) {
			t.Errorf("%s is in %s, want %s", path, programs[path], want)
		}
	}
	for _, text := range []string{"Copyright 2009 The Go Authors", "gui/font/OFL.txt", "theme/font/LICENSE_Inter.txt", "glfw/LICENSE.md", "WireGuard LLC"} {
		if !strings.Contains(string(b), text) {
			t.Errorf("NOTICE has no %q", text)
		}
	}
}

func TestIdentify(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004\n": "Apache-2.0",
		"Redistribution and use in source and binary forms, with or\nwithout modification, are permitted provided that the following conditions are\nmet:\n* Neither the name of X may be used to endorse or promote products derived\n// from this software": "BSD-3-Clause",
		"Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following conditions are met: 1.":                                                                                                   "BSD-2-Clause",
		"# Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files":                                                                                                                  "MIT",
	} {
		if got, err := Identify([]byte(text)); err != nil || strings.Join(got, ",") != want {
			t.Errorf("%.40q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "All rights reserved.", "GNU GENERAL PUBLIC LICENSE\nVersion 3", "under the terms of the GNU Lesser\nGeneral Public License", "Mozilla Public License Version 2.0",
		"Apache License Version 2.0, January 2004, with the Commons Clause", "Permission is hereby granted to nobody",
	} {
		if got, err := Identify([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	for _, name := range []string{"LICENSE", "LICENSE.txt", "License.md", "COPYING", "NOTICE", "OFL.txt", "LICENSE-reader", "LICENSE_Inter.txt", "PATENTS", "UNLICENSE"} {
		if !legal.MatchString(name) {
			t.Errorf("%s is not looked at", name)
		}
	}
	for _, name := range []string{"licenses.go.txt2/x", "main.c", "copyrighted", "license check"} {
		if legal.MatchString(name) {
			t.Errorf("%s is looked at", name)
		}
	}
}

// dist makes a directory as make dist and make package leave it, with a small program of Go for three systems.
func dist(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := t.TempDir()
	write(t, filepath.Join(source, "main.go"), "package main\n\nvar version = \"dev\"\n\nfunc main() { println(version) }\n")
	write(t, filepath.Join(source, "go.mod"), "module example.test/adit\n\ngo 1.26\n")
	build := func(goos, arch, name string) []byte {
		path := filepath.Join(dir, "bin", goos+"-"+arch, name)
		cmd := exec.Command("go", "build", "-ldflags", "-s -w -X main.version=1.2.3", "-o", path, ".")
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	build("linux", "amd64", "adit")
	exe := build("windows", "amd64", "adit.exe")
	build("darwin", "amd64", "adit")
	build("darwin", "arm64", "adit")
	write(t, filepath.Join(dir, "NOTICE"), Notice(modules(t)))
	write(t, filepath.Join(dir, "packages", "adit_1.2.3_amd64.deb"), "a package")
	write(t, filepath.Join(dir, "mdm", "Adit.admx"), "a template")

	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	w, err := z.Create("adit/adit.exe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(append(exe, "a signature"...)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "packages", "adit-1.2.3-windows-amd64.zip"), archive.String())
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFinish: manifest, checksums and bill are those of the files, and the same when they are made again.
func TestFinish(t *testing.T) {
	dir := dist(t)
	o := Options{Version: "v1.2.3", At: at, Days: 400, Minimum: "1.1.0"}
	if err := Finish(dir, modules(t), o); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Parse(read(t, dir, ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != "1.2.3" || !m.Released.Equal(at) || !m.Expires.Equal(at.AddDate(0, 0, 400)) || m.Minimum != "1.1.0" {
		t.Errorf("the manifest says %+v", m)
	}
	signed := append(read(t, dir, "bin/windows-amd64/adit.exe"), "a signature"...)
	f, err := sum("adit.exe", bytes.NewReader(signed))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Hashes("adit.exe", "windows", "amd64"); !slices.Equal(got, []string{f.SHA256}) {
		t.Errorf("adit.exe has %v, want the one that is installed, %v", got, f.SHA256)
	}
	fat, err := macho.Universal(read(t, dir, "bin/darwin-amd64/adit"), read(t, dir, "bin/darwin-arm64/adit"))
	if err != nil {
		t.Fatal(err)
	}
	if f, err = sum("adit", bytes.NewReader(fat)); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(m.Hashes("adit", "darwin", "arm64"), f.SHA256) || !slices.Contains(m.Hashes("adit", "darwin", "amd64"), f.SHA256) {
		t.Error("macOS' adit for both processors is not listed")
	}
	if len(m.Programs) != 5 || len(m.Packages) != 2 || len(m.Hashes("adit", "linux", "amd64")) != 1 {
		t.Errorf("the manifest lists %v and %v", m.Programs, m.Packages)
	}

	out, err := command(dir, "sha256sum", "--strict", "-c", SumsName)
	if err != nil || strings.Count(out, ": OK") != 6 {
		t.Errorf("sha256sum: %v: %s", err, out)
	}
	for _, name := range []string{"packages/adit_1.2.3_amd64.deb", "mdm/Adit.admx", "NOTICE", "manifest.json", "adit-1.2.3.cdx.json"} {
		if !strings.Contains(out, name+": OK") {
			t.Errorf("SHA256SUMS does not list %s", name)
		}
	}

	before := t.TempDir()
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := Finish(dir, modules(t), o); err != nil {
		t.Fatal(err)
	}
	if n, err := Same(before, dir); err != nil || n != 11 {
		t.Errorf("made again it differs: %d files, %v", n, err)
	}
	write(t, filepath.Join(dir, "mdm", "Adit.adml"), "another")
	write(t, filepath.Join(dir, "mdm", "Adit.admx"), "changed")
	if _, err := Same(before, dir); err == nil || err.Error() != fmt.Sprintf("mdm/Adit.adml is in %s alone\nmdm/Adit.admx differs", dir) {
		t.Errorf("differences: %v", err)
	}

	write(t, filepath.Join(dir, "NOTICE"), "none")
	if err := Finish(dir, modules(t), o); err == nil || !strings.Contains(err.Error(), "make notice") {
		t.Errorf("an old NOTICE: %v", err)
	}
	if err := Finish(t.TempDir(), modules(t), o); err == nil {
		t.Error("a release of nothing")
	}
	if o.Version = "next"; Finish(dir, modules(t), o) == nil {
		t.Error("a release without a version")
	}
}

// TestWrongPrograms: what is not the program that its place says is no part of a release.
func TestWrongPrograms(t *testing.T) {
	dir := dist(t)
	if err := os.Rename(filepath.Join(dir, "bin/linux-amd64"), filepath.Join(dir, "bin/linux-arm64")); err != nil {
		t.Fatal(err)
	}
	if _, err := Programs(dir); err == nil || !strings.Contains(err.Error(), "this is a program for linux/amd64") {
		t.Errorf("a program of another system: %v", err)
	}
	write(t, filepath.Join(dir, "bin/darwin-amd64/adit"), "#!/bin/sh\n")
	if _, err := Programs(dir); err == nil || !strings.Contains(err.Error(), "no program of Go") {
		t.Errorf("a script: %v", err)
	}
}

// TestBill: the bill of a program of the tree follows CycloneDX's own schema, and has what the program links.
func TestBill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "adit-pkcs11")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/adit-pkcs11")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := describe(path)
	if err != nil {
		t.Fatal(err)
	}
	file.OS, file.Arch = "linux", "amd64"
	programs := []Program{{file, info}}
	text, err := Bill("1.2.3", at, programs, modules(t))
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := Bill("1.2.3", at, programs, modules(t)); !bytes.Equal(text, again) {
		t.Error("made again it differs")
	}
	validate(t, text)
	type component struct {
		Ref           string `json:"bom-ref"`
		Name, Version string
		Hashes        []struct{ Alg, Content string }
		Licenses      []struct{ License struct{ ID string } }
	}
	var bill struct {
		Components   []component
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	want := []string{"linux/amd64/adit-pkcs11", "pkg:golang/github.com/ebitengine/purego@", "pkg:golang/std@1."}
	for _, prefix := range want {
		i := slices.IndexFunc(bill.Components, func(c component) bool { return strings.HasPrefix(c.Ref, prefix) })
		if i < 0 {
			t.Errorf("%s is not listed", prefix)
			continue
		}
		if c := bill.Components[i]; len(c.Licenses) == 0 || c.Licenses[0].License.ID == "" || c.Version == "" || c.Name != "std" && (len(c.Hashes) != 1 || len(c.Hashes[0].Content) != 64) {
			t.Errorf("%s: %+v", prefix, c)
		}
	}
	last := bill.Dependencies[len(bill.Dependencies)-1]
	if last.Ref != want[0] || len(last.DependsOn) != len(info.Deps)+1 {
		t.Errorf("%s depends on %v", last.Ref, last.DependsOn)
	}

	strange := &buildinfo.BuildInfo{GoVersion: "go1.26.0", Deps: []*debug.Module{{Path: "example.test/unknown", Version: "v1.0.0", Sum: "h1:"}}}
	if _, err := Bill("1.2.3", at, []Program{{file, strange}}, modules(t)); err == nil || !strings.Contains(err.Error(), "example.test/unknown, which is not in NOTICE") {
		t.Errorf("a module that nobody looked at: %v", err)
	}
}

// validate holds a bill to the schema that comes with the library.
func validate(t *testing.T, text []byte) {
	t.Helper()
	out, err := command(".", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go")
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	for _, name := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schemax.json"} {
		b := read(t, strings.TrimSpace(out), "schema", name)
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range []string{"http://cyclonedx.org/schema/" + name, "http://cyclonedx.org/schema/" + strings.Replace(name, "schemax", "schema", 1)} {
			if err := c.AddResource(url, schema); err != nil && !strings.Contains(err.Error(), "already exists") {
				t.Fatal(err)
			}
		}
	}
	s, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	bill, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(bill); err != nil {
		t.Errorf("the bill is not as CycloneDX wants it: %v", err)
	}
	bill.(map[string]any)["components"].([]any)[0].(map[string]any)["licenses"] = "MIT"
	if s.Validate(bill) == nil {
		t.Error("the schema takes everything")
	}
}

func command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
