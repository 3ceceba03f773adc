package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// file is one file of the packages.
type file struct {
	name    string // what it is called there
	source  string // where it is now
	feature string // what people may choose: Core, Gui, Endpoint, AwsCli
	folder  string // below the one of the programs; empty: that one
}

// awsFolder keeps what has the name of AWS's command out of the folder that is in everybody's PATH.
const awsFolder = "aws"

// place is where the file is below the folder of the programs, with Windows' separators.
func (f file) place() string {
	if f.folder == "" {
		return f.name
	}
	return f.folder + `\` + f.name
}

// key is the file's name in tables and in the cabinet ("Identifier", learn.microsoft.com).
func (f file) key() string { return strings.ReplaceAll(f.name, "-", "_") }

// component is the name of the component that holds the file.
func (f file) component() string { return "c_" + strings.ReplaceAll(f.key(), ".", "_") }

// payload is what there is to install of an architecture: the programs in bin, the app if gui is not empty, Wintun if there is
// one, and texts.
func payload(bin, gui string, wintun *wintunFiles, texts []string) ([]file, error) {
	files := []file{
		{"adit.exe", filepath.Join(bin, "adit.exe"), "Core", ""},
		{"aditd.exe", filepath.Join(bin, "aditd.exe"), "Core", ""},
		{"adit-pkcs11.exe", filepath.Join(bin, "adit-pkcs11.exe"), "Core", ""},
		{"adit-endpoint.exe", filepath.Join(bin, "adit-endpoint.exe"), "Endpoint", ""},
		{"aws-vpn-client.exe", filepath.Join(bin, "aws-vpn-client.exe"), "AwsCli", awsFolder},
	}
	if gui != "" {
		files = append(files, file{"adit-gui.exe", gui, "Gui", ""})
	}
	if wintun != nil {
		files = append(files, file{"wintun.dll", wintun.dll, "Core", ""}, file{"wintun-license.txt", wintun.license, "Core", ""})
	}
	for _, text := range texts {
		name := filepath.Base(text)
		if filepath.Ext(name) == "" {
			name += ".txt"
		}
		files = append(files, file{name, text, "Core", ""})
	}
	for _, f := range files {
		info, err := os.Stat(f.source)
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("it is not a file")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return files, nil
}

// has says whether a file is among them.
func has(files []file, name string) bool {
	for _, f := range files {
		if f.name == name {
			return true
		}
	}
	return false
}
