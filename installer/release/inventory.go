package release

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/installer/darwin/macho"
	"github.com/adit-vpn/adit/installer/manifest"
)

// Names in the directory of a release.
const (
	binDir       = "bin"      // <system>-<processor>/
	packagesDir  = "packages" // what people install
	templatesDir = "mdm"      // what administrators import
	ManifestName = "manifest.json"
	SumsName     = "SHA256SUMS"

	maxProgram = 1 << 30 // bytes
)

// Program is one that was built, with what Go's linker noted in it.
type Program struct {
	manifest.File
	Info *buildinfo.BuildInfo
}

// Programs looks at every program that is installed: those in dist/bin, and those in the archives for Windows, which may
// have got a signature after they were built.
func Programs(dist string) ([]Program, error) {
	files, err := filepath.Glob(filepath.Join(dist, binDir, "*-*", "*"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no programs in %s: make dist makes them", filepath.Join(dist, binDir))
	}
	var all []Program
	for _, path := range files { // sorted
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		goos, arch, _ := strings.Cut(filepath.Base(filepath.Dir(path)), "-")
		p, err := program(filepath.Base(path), goos, arch, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, p)
	}
	archives, err := filepath.Glob(filepath.Join(dist, packagesDir, "*.zip"))
	if err != nil {
		return nil, err
	}
	for _, path := range archives {
		m := windowsZip.FindStringSubmatch(path)
		if m == nil {
			continue
		}
		packed, err := zipped(path, m[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, p := range packed {
			all = slices.DeleteFunc(all, func(q Program) bool { return q.Name == p.Name && q.OS == p.OS && q.Arch == p.Arch })
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b Program) int {
		return slices.Compare([]string{a.OS, a.Arch, a.Name}, []string{b.OS, b.Arch, b.Name})
	})
	return all, nil
}

// program reads what Go's linker noted in a program.
func program(name, goos, arch string, b []byte) (Program, error) {
	f, err := sum(name, bytes.NewReader(b))
	if err != nil {
		return Program{}, err
	}
	info, err := buildinfo.Read(bytes.NewReader(b))
	if err != nil {
		return Program{}, fmt.Errorf("this is no program of Go: %w", err)
	}
	if isOS, isArch := setting(info, "GOOS"), setting(info, "GOARCH"); isOS != goos || isArch != arch {
		return Program{}, fmt.Errorf("this is a program for %s/%s", isOS, isArch)
	}
	f.OS, f.Arch = goos, arch
	return Program{f, info}, nil
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// describe hashes a file.
func describe(path string) (manifest.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return manifest.File{}, err
	}
	defer f.Close()
	return sum(filepath.Base(path), f)
}

func sum(name string, r io.Reader) (manifest.File, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return manifest.File{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// windowsZip is the name of an archive with the programs of Windows as they are installed.
var windowsZip = regexp.MustCompile(`windows-(amd64|arm64)\.zip$`)

// zipped reads the programs of an archive for Windows.
func zipped(path, arch string) ([]Program, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var all []Program
	for _, entry := range z.File {
		if !strings.HasSuffix(entry.Name, ".exe") {
			continue
		}
		r, err := entry.Open()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(r, maxProgram))
		r.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name, err)
		}
		p, err := program(filepath.Base(entry.Name), "windows", arch, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// universal lists the programs of macOS as its packages have them, for both processors in one.
func universal(dist string) ([]manifest.File, error) {
	files, err := filepath.Glob(filepath.Join(dist, binDir, "darwin-amd64", "*"))
	if err != nil {
		return nil, err
	}
	var all []manifest.File
	for _, path := range files {
		name := filepath.Base(path)
		intel, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		apple, err := os.ReadFile(filepath.Join(dist, binDir, "darwin-arm64", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		both, err := macho.Universal(intel, apple)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		f, err := sum(name, bytes.NewReader(both))
		if err != nil {
			return nil, err
		}
		f.OS, f.Arch = "darwin", manifest.Any
		all = append(all, f)
	}
	return all, nil
}

// published lists the files below some directories of dist, and some files in it, by path inside dist; what is missing is left out.
func published(dist string, names ...string) ([]string, error) {
	var all []string
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(dist, name), func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil || d.IsDir():
				return err
			case !d.Type().IsRegular():
				return fmt.Errorf("%s is no file", path)
			}
			rel, err := filepath.Rel(dist, path)
			all = append(all, filepath.ToSlash(rel))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}
