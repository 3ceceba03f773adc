package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/installer/darwin"
	"github.com/adit-vpn/adit/installer/darwin/macho"
	"github.com/adit-vpn/adit/installer/darwin/payload"
	"github.com/adit-vpn/adit/installer/version"
)

// input is what packages are made of.
type input struct {
	version  version.Version
	bin, app string // directories; app may be empty
	texts    map[string][]byte
	at       time.Time
}

// part is what people install or leave out: one component package.
type part struct {
	id, short       string // com.adit.cli and adit-cli
	title, text     string // in the Installer
	selected, fixed bool   // at first, and for good
	bundle          string // the path of its app, if it is one
	entries         []payload.Entry
	scripts         map[string][]byte
	needs           macho.Release
	cpus            []string
}

// program is a program with what the system must be for it.
type program struct {
	data  []byte
	needs macho.Release
	cpus  []string
}

// join makes one program of those for several processors.
func join(name string, programs [][]byte) (program, error) {
	fail := func(err error) (program, error) { return program{}, fmt.Errorf("%s: %w", name, err) }
	data := programs[0]
	var err error
	if len(programs) > 1 {
		if data, err = macho.Universal(programs...); err != nil {
			return fail(err)
		}
	}
	all, err := macho.Slices(data)
	if err != nil {
		return fail(err)
	}
	p := program{data: data}
	for _, s := range all {
		if s.CPU == "arm64" && !s.Signed {
			return fail(errors.New("its program for arm64 is not signed, not even by the linker: macOS would not run it"))
		}
		if s.MinOS.Compare(p.needs) > 0 {
			p.needs = s.MinOS
		}
		p.cpus = append(p.cpus, s.CPU)
	}
	return p, nil
}

// admin is the group of administrators, who may put apps into /Applications.
const admin = 80

// parts are all that there is to install.
func (in input) parts() ([]part, error) {
	client := part{
		id: "com.adit.cli", short: "adit-cli", title: "Adit", text: "The service, and adit for the terminal.",
		selected: true, fixed: true, scripts: darwin.Scripts(),
	}
	files := map[string]payload.Entry{
		darwin.Daemon:                  {Mode: 0o644, Data: darwin.LaunchDaemon(darwin.Programs + "/aditd")},
		darwin.Programs + "/uninstall": {Mode: 0o755, Data: darwin.Uninstaller()},
	}
	for name, text := range in.texts {
		files[darwin.Programs+"/"+name] = payload.Entry{Mode: 0o644, Data: text}
	}
	if err := in.add(&client, files, "adit", "aditd", "adit-pkcs11"); err != nil {
		return nil, err
	}
	endpoint := part{
		id: "com.adit.endpoint", short: "adit-endpoint", title: "Endpoint for tests",
		text: "adit-endpoint: a VPN server on this Mac, for those who test clients.", scripts: darwin.EndpointScripts(),
	}
	if err := in.add(&endpoint, map[string]payload.Entry{}, "adit-endpoint"); err != nil {
		return nil, err
	}
	all := []part{client, endpoint}
	if in.app != "" {
		app := part{
			id: appID, short: "adit-gui", title: "Desktop app", text: "Adit.app, with its icon in the menu bar.",
			selected: true, bundle: "Applications/Adit.app",
		}
		if err := in.addApp(&app); err != nil {
			return nil, err
		}
		all = slices.Insert(all, 1, app)
	}
	return all, nil
}

// add puts files and programs into a part, with the directories above them.
func (in input) add(p *part, files map[string]payload.Entry, programs ...string) error {
	for _, name := range programs {
		joined, err := in.program(name)
		if err != nil {
			return err
		}
		files[darwin.Programs+"/"+name] = payload.Entry{Mode: 0o755, Data: joined.data}
		p.need(joined)
	}
	p.entries = tree(files)
	return nil
}

func (p *part) need(joined program) {
	if joined.needs.Compare(p.needs) > 0 {
		p.needs = joined.needs
	}
	if p.cpus == nil {
		p.cpus = joined.cpus
	}
	p.cpus = slices.DeleteFunc(slices.Clone(p.cpus), func(cpu string) bool { return !slices.Contains(joined.cpus, cpu) })
}

// addApp reads an app from its directory, whoever owns it there: signed or not.
func (in input) addApp(p *part) error {
	files := map[string]payload.Entry{}
	var main []byte
	err := filepath.WalkDir(in.app, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(in.app, file)
		if err != nil {
			return err
		}
		at := path.Join("/", p.bundle, filepath.ToSlash(rel))
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := payload.Entry{Mode: 0o644}
		switch info.Mode().Type() {
		case fs.ModeDir:
			e.Mode = fs.ModeDir | 0o755
		case fs.ModeSymlink:
			e.Mode = fs.ModeSymlink | 0o755
			e.Target, err = os.Readlink(file)
		case 0:
			if info.Mode()&0o100 != 0 {
				e.Mode = 0o755
			}
			if e.Data, err = os.ReadFile(file); filepath.ToSlash(rel) == "Contents/MacOS/adit-gui" {
				main = e.Data
			}
		default:
			err = fmt.Errorf("%s is neither a file, a directory nor a link", file)
		}
		files[at] = e
		return err
	})
	if err != nil {
		return err
	}
	if main == nil {
		return fmt.Errorf("%s is no app of adit-gui's: Contents/MacOS/adit-gui is missing", in.app)
	}
	joined, err := join("adit-gui", [][]byte{main})
	if err != nil {
		return err
	}
	p.need(joined)
	p.entries = tree(files)
	return nil
}

// tree adds the directories above files, by absolute path, and sorts all. Everything is root's.
func tree(files map[string]payload.Entry) []payload.Entry {
	all := map[string]payload.Entry{".": {Mode: fs.ModeDir | 0o755}}
	for at, e := range files {
		at = strings.TrimPrefix(at, "/")
		all[at] = e
		for dir := path.Dir(at); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; ok {
				continue
			}
			all[dir] = payload.Entry{Mode: fs.ModeDir | 0o755}
			if dir == "Applications" { // as it is on every Mac
				all[dir] = payload.Entry{Mode: fs.ModeDir | 0o775, GID: admin}
			}
		}
	}
	entries := make([]payload.Entry, 0, len(all))
	for at, e := range all {
		e.Path = at
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b payload.Entry) int {
		if a.Path == "." {
			return -1
		}
		if b.Path == "." {
			return 1
		}
		return slices.Compare(strings.Split(a.Path, "/"), strings.Split(b.Path, "/"))
	})
	return entries
}
