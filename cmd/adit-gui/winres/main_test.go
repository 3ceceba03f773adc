package main

import (
	"bytes"
	"debug/pe"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestResources: what is written is well formed, and windres, where it is there, makes an object with it for the linker.
func TestResources(t *testing.T) {
	dir := t.TempDir()
	const version = `v1.2-3-g0 "quoted" \ é`
	if err := write(dir, version); err != nil {
		t.Fatal(err)
	}
	if err := write(filepath.Join(dir, "missing"), version); err == nil {
		t.Error("written where there is no directory")
	}
	if err := xml.Unmarshal(manifest, new(struct{ XMLName xml.Name })); err != nil {
		t.Error(err)
	}
	windres, err := exec.LookPath("x86_64-w64-mingw32-windres")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Log("left out: the object, which needs windres for Windows (Debian: binutils-mingw-w64-x86-64)")
		return
	}
	object := filepath.Join(dir, "rsrc_windows_amd64.syso")
	cmd := exec.Command(windres, "-i", "adit-gui.rc", "-o", object)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := pe.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Section(".rsrc")
	if s == nil || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 {
		t.Fatalf("no resources for amd64: %+v", f.FileHeader)
	}
	content, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	largest, err := os.ReadFile(filepath.Join(dir, "adit-gui.ico"))
	if err != nil {
		t.Fatal(err)
	}
	for name, part := range map[string][]byte{"manifest": manifest, "picture": largest[len(largest)-1000:], "version": utf16("v1.2-3-g0 -quoted- - -")} {
		if !bytes.Contains(content, part) {
			t.Errorf("the %s is not in the object", name)
		}
	}
}

// utf16 is ASCII text as Windows writes it.
func utf16(text string) []byte {
	var b []byte
	for i := range len(text) {
		b = append(b, text[i], 0)
	}
	return b
}
