// Command resources puts into programs for Windows what Windows shows of them: icon, version, and the manifest that says which Windows
// they know. It takes programs as the linker has made them, before they are signed, and replaces what they have of that. The
// same program and version make the same bytes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"

	"github.com/tc-hib/winres"
	"github.com/tc-hib/winres/version"

	"github.com/adit-vpn/adit/gui/icon"
	number "github.com/adit-vpn/adit/installer/version"
	"github.com/adit-vpn/adit/platform/durable"
)

// describe is what the list of processes and the properties of a file say of a program; empty of one that is none of ours.
func describe(name string) string {
	switch name {
	case "adit":
		return "Adit command line"
	case "adit-endpoint":
		return "Adit endpoint"
	case "adit-gui":
		return "Adit"
	case "adit-pkcs11":
		return "Adit smart cards"
	case "aditd":
		return "Adit service"
	case "aws-vpn-client":
		return "Adit, in place of aws-vpn-client"
	}
	return ""
}

func main() {
	v := flag.String("version", "dev", "of the programs, as git describe writes it")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: resources [-version VERSION] FILE.exe…")
		os.Exit(2)
	}
	for _, path := range flag.Args() {
		if err := put(path, *v); err != nil {
			fmt.Fprintf(os.Stderr, "resources: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

// put replaces the program at path by one with its resources.
func put(path, v string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	all, err := resources(strings.TrimSuffix(filepath.Base(path), ".exe"), v)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := all.WriteToEXE(&out, bytes.NewReader(content)); err != nil {
		return err
	}
	return durable.Swap(path, out.Bytes(), info.Mode())
}

// resources are a program's.
func resources(name, v string) (*winres.ResourceSet, error) {
	text := describe(name)
	if text == "" {
		return nil, errors.New("it is none of Adit's programs")
	}
	of, err := number.Parse(v)
	if err != nil {
		return nil, err
	}
	var out winres.ResourceSet
	var sizes []image.Image
	for _, size := range []int{16, 20, 24, 32, 40, 48, 64, 96, 128, 256} { // from lists to large tiles
		sizes = append(sizes, icon.Application(size))
	}
	picture, err := winres.LoadICO(bytes.NewReader(icon.ICO(sizes...)))
	if err != nil {
		return nil, err
	}
	// GLFW, below the app's toolkit, looks for the window's icon by that name; Explorer takes the first one.
	if err := out.SetIcon(winres.Name("GLFW_ICON"), picture); err != nil {
		return nil, err
	}
	numbers := [4]uint16{uint16(of.Major), uint16(of.Minor), uint16(of.Patch)}
	about := version.Info{FileVersion: numbers, ProductVersion: numbers}
	for _, row := range [][2]string{
		{version.ProductName, "Adit"}, {version.FileDescription, text}, {version.CompanyName, "The Adit authors"}, {version.LegalCopyright, "The Adit authors"},
		{version.InternalName, name}, {version.OriginalFilename, name + ".exe"}, {version.FileVersion, of.String()}, {version.ProductVersion, of.String()},
	} {
		if err := about.Set(version.LangDefault, row[0], row[1]); err != nil {
			return nil, err
		}
	}
	out.SetVersionInfo(about)
	app := name == "adit-gui"
	manifest := winres.AppManifest{Description: text, Compatibility: winres.Win10AndAbove, ExecutionLevel: winres.AsInvoker, LongPathAware: true, UseCommonControlsV6: app}
	if app {
		manifest.DPIAwareness = winres.DPIPerMonitorV2
	}
	out.SetManifest(manifest)
	return &out, nil
}
