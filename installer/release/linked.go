package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Standard is what the standard library is called in lists of modules, and Own is the module of Adit, whose own licence is the file
// LICENSE.
const (
	Standard = "std"
	Own      = "github.com/adit-vpn/adit"
)

// Module is one that some program links, on some system.
type Module struct {
	Path, Version string
	Programs      []string // sorted
	Licences      []string // SPDX names, sorted
	Texts         []Text   // of its licences and notices
}

// Text is one file of a module.
type Text struct {
	Name string // inside the module, with slashes
	Body string // with \n, without spaces at its end
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir, Name string
	Standard              bool
	Deps                  []string
	Module                *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// builds are how the programs are built for each system; the GUI alone uses cgo.
var builds = []struct {
	goos, cgo, tags string
	gui             bool
}{
	{goos: "linux", cgo: "0"}, {goos: "windows", cgo: "0"}, {goos: "darwin", cgo: "0"},
	{goos: "linux", cgo: "1", tags: "gui,migrated_fynedo,no_emoji,gles", gui: true},
	{goos: "windows", cgo: "1", tags: "gui,migrated_fynedo,no_emoji", gui: true},
	{goos: "darwin", cgo: "1", tags: "gui,migrated_fynedo,no_emoji", gui: true},
}

// Linked lists the modules that the programs of the tree at root link, on any system, by path; the standard library is one. It
// reads their licences from the module cache. Both processors of a system link the same modules.
func Linked(root string) ([]Module, error) {
	programs := map[string]map[string]bool{} // of a module
	dirs := map[string]map[string]bool{}     // of a module: those of its packages
	modules := map[string]Module{}
	roots := map[string]string{}
	programDirs, err := filepath.Glob(filepath.Join(root, "cmd", "*", "main.go"))
	if err != nil || len(programDirs) == 0 {
		return nil, fmt.Errorf("there are no programs below %s: %w", filepath.Join(root, "cmd"), cmp.Or(err, fs.ErrNotExist))
	}
	for _, b := range builds {
		var packages []string
		for _, path := range programDirs {
			if name := filepath.Base(filepath.Dir(path)); (name == "adit-gui") == b.gui {
				packages = append(packages, "./cmd/"+name)
			}
		}
		list, err := goList(root, b.goos, b.cgo, b.tags, packages)
		if err != nil {
			return nil, err
		}
		of := map[string]string{} // a package's module
		for _, p := range list {
			switch {
			case p.Standard:
				of[p.ImportPath] = Standard
				modules[Standard] = Module{Path: Standard}
				continue
			case p.Module == nil:
				continue // "C" and the like
			}
			m := p.Module
			of[p.ImportPath] = m.Path
			if modules[m.Path] = (Module{Path: m.Path, Version: m.Version}); m.Main {
				modules[m.Path] = Module{Path: m.Path}
			}
			roots[m.Path] = m.Dir
			add(dirs, m.Path, p.Dir)
		}
		for _, p := range list {
			if p.Name != "main" || !strings.HasPrefix(p.ImportPath, Own+"/") {
				continue
			}
			for _, d := range append(p.Deps, p.ImportPath) {
				if m, ok := of[d]; ok {
					add(programs, m, filepath.Base(p.ImportPath))
				}
			}
		}
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	roots[Standard] = strings.TrimSpace(string(goroot))
	add(dirs, Standard, roots[Standard])
	var all []Module
	for path, m := range modules {
		m.Programs = sortedKeys(programs[path])
		if m.Texts, err = texts(roots[path], sortedKeys(dirs[path]), path != Standard && path != Own); err != nil {
			return nil, err
		}
		if path == Own { // LICENSE is a file of its own
			m.Texts = slices.DeleteFunc(m.Texts, func(t Text) bool { return !strings.Contains(t.Name, "/") })
		}
		if err := m.identify(); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Module) int { return cmp.Compare(a.Path, b.Path) })
	return all, nil
}

func goList(root, goos, cgo, tags string, packages []string) ([]pkg, error) {
	// -e: what cgo would say of headers of another system does not matter here.
	cmd := exec.Command("go", append([]string{"list", "-e", "-deps", "-tags", tags, "-json=ImportPath,Dir,Name,Standard,Deps,Module"}, packages...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED="+cgo)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd, err, problems.String())
	}
	var list []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", cmd, err)
		}
		list = append(list, p)
	}
}

// legal are the names of files about rights.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents|unlicense|ofl)([._-][a-z0-9._-]*)?$`)

// texts finds what a module says about rights: beside its packages, above them up to its root, and below them in folders of
// data that they embed or of C that they compile; not below the root unless told to.
func texts(root string, packages []string, below bool) ([]Text, error) {
	look := map[string]bool{}
	for _, dir := range packages {
		for up := dir; ; up = filepath.Dir(up) {
			look[up] = true
			if up == root || len(up) <= len(root) {
				break
			}
		}
		if dir == root && !below {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() || path == dir {
				return err
			}
			goFiles, err := filepath.Glob(filepath.Join(path, "*.go"))
			if err != nil || len(goFiles) > 0 || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") {
				return cmp.Or(err, fs.SkipDir)
			}
			look[path] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var all []Text
	for dir := range look {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() || !legal.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(root, filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			all = append(all, Text{filepath.ToSlash(name), tidy(string(b))})
		}
	}
	slices.SortFunc(all, func(a, b Text) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// tidy has lines that end alike.
func tidy(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \t\f")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// additional are files beside a licence: they are passed on, and grant or demand nothing else.
var additional = regexp.MustCompile(`(?i)^(notice|patents|copyright)([._-].*)?$`)

func (m *Module) identify() error {
	for _, t := range m.Texts {
		names, err := Identify([]byte(t.Body))
		if additional.MatchString(filepath.Base(t.Name)) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s %s: %s: %w", m.Path, m.Version, t.Name, err)
		}
		m.Licences = append(m.Licences, names...)
	}
	if len(m.Licences) == 0 && m.Path != Own {
		return fmt.Errorf("%s %s has no licence", m.Path, m.Version)
	}
	slices.Sort(m.Licences)
	m.Licences = slices.Compact(m.Licences)
	return nil
}

func add(to map[string]map[string]bool, key, value string) {
	if to[key] == nil {
		to[key] = map[string]bool{}
	}
	to[key][value] = true
}

func sortedKeys(m map[string]bool) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
