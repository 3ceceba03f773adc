package main

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
	"strings"
)

// needed are the shared libraries of a program, each with the newest version of its symbols (GLIBC_2.34), or "".
type needed map[string]string

// inDebian is the package of each library that a program of ours may want. In rpm libraries are asked for by their own names.
var inDebian = map[string]string{
	"libc.so.6":             "libc6",
	"libm.so.6":             "libc6",
	"libdl.so.2":            "libc6",
	"libpthread.so.0":       "libc6",
	"libresolv.so.2":        "libc6",
	"ld-linux-x86-64.so.2":  "libc6",
	"ld-linux-aarch64.so.1": "libc6",
	"libGLESv2.so.2":        "libgles2",
	"libGL.so.1":            "libgl1",
	"libX11.so.6":           "libx11-6",
}

// libraries reads what a program is linked with: nothing, of a static one.
func libraries(path string) (needed, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s is no program of Linux: %w", path, err)
	}
	defer f.Close()
	list, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n := needed{}
	for _, l := range list {
		n[l] = ""
	}
	if len(list) == 0 {
		return n, nil
	}
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, s := range symbols {
		if old, ok := n[s.Library]; ok && strings.HasPrefix(s.Version, "GLIBC_") && compareGlibc(s.Version, old) > 0 {
			n[s.Library] = s.Version
		}
	}
	return n, nil
}

func compareGlibc(a, b string) int {
	return slices.Compare(glibc(a), glibc(b))
}

// glibc is GLIBC_2.34 as numbers.
func glibc(s string) []int {
	var n []int
	for part := range strings.SplitSeq(strings.TrimPrefix(s, "GLIBC_"), ".") {
		i := 0
		if _, err := fmt.Sscan(part, &i); err != nil {
			return nil
		}
		n = append(n, i)
	}
	return n
}

// packages are the same in the words of deb, or of rpm.
func (n needed) packages(kind string) (list []string, err error) {
	newest := map[string]string{}
	for library, symbols := range n {
		if kind != "deb" {
			list = append(list, fmt.Sprintf("%s(%s)(64bit)", library, symbols))
			continue
		}
		name, ok := inDebian[library]
		if !ok {
			return nil, fmt.Errorf("nobody has said which package of Debian has %s", library)
		}
		if old, ok := newest[name]; !ok || compareGlibc(symbols, old) > 0 {
			newest[name] = symbols
		}
	}
	for name, symbols := range newest {
		if symbols != "" {
			name += " (>= " + strings.TrimPrefix(symbols, "GLIBC_") + ")"
		}
		list = append(list, name)
	}
	slices.SortFunc(list, cmp.Compare[string])
	return list, nil
}
