// Command winres writes what Windows is told about adit-gui.exe (icon, version, manifest) into a directory, as windres
// of binutils reads it: adit-gui.rc, and the files that it names.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"

	"github.com/adit-vpn/adit/gui/icon"
)

// manifest says which Windows the program knows, and what it can do there (learn.microsoft.com, "Application manifests").
//
//go:embed adit-gui.manifest
var manifest []byte

// sizes of the icon, in pixels, from lists to large tiles.
var sizes = []int{16, 20, 24, 32, 40, 48, 64, 96, 128, 256}

func main() {
	version := flag.String("version", "dev", "of the program, as people see it")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: winres [-version TEXT] DIRECTORY")
		os.Exit(2)
	}
	if err := write(flag.Arg(0), *version); err != nil {
		fmt.Fprintln(os.Stderr, "winres:", err)
		os.Exit(1)
	}
}

func write(dir, version string) error {
	for name, content := range map[string][]byte{"adit-gui.ico": ico(), "adit-gui.manifest": manifest, "adit-gui.rc": script(version)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// script is the resource script. GLFW, below the toolkit, looks for the window's icon by that name; Explorer takes the
// first one. 24 is RT_MANIFEST, and 1 the manifest of a program.
func script(version string) []byte {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' { // they mean something in a script
			return '-'
		}
		return r
	}, version)
	return fmt.Appendf(nil, `GLFW_ICON ICON "adit-gui.ico"
1 24 "adit-gui.manifest"
1 VERSIONINFO
BEGIN
  BLOCK "StringFileInfo"
  BEGIN
    BLOCK "040904B0"
    BEGIN
      VALUE "ProductName", "Adit"
      VALUE "FileDescription", "Adit"
      VALUE "InternalName", "adit-gui"
      VALUE "OriginalFilename", "adit-gui.exe"
      VALUE "ProductVersion", "%s"
      VALUE "FileVersion", "%s"
    END
  END
  BLOCK "VarFileInfo"
  BEGIN
    VALUE "Translation", 0x0409, 0x04B0
  END
END
`, text, text)
}

// ico is the application's icon in all sizes.
func ico() []byte {
	var all []image.Image
	for _, size := range sizes {
		all = append(all, icon.Application(size))
	}
	return icon.ICO(all...)
}
