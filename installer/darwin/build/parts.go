package main

import (
	_ "embed"
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
	"github.com/adit-vpn/adit/installer/darwin/flat"
	"github.com/adit-vpn/adit/installer/darwin/macho"
	"github.com/adit-vpn/adit/installer/darwin/payload"
	"github.com/adit-vpn/adit/installer/version"
)

// input is what packages are made of.
type input struct {
	version  version.Version
	bin, app string // directories; app may be empty
	pages    string // the directory of manual pages and completions, as installer/linux/manual writes them
	texts    map[string][]byte
	at       time.Time
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

// parts are all that there is to install.
func (in input) parts() ([]flat.Part, error) {
	client := flat.Part{
		ID: "com.adit.cli", Short: "adit-cli", Title: "Adit", Text: "The service, and adit for the terminal.",
		Selected: true, Fixed: true, Scripts: darwin.Scripts(),
	}
	files := map[string]payload.Entry{
		darwin.Daemon:                  {Mode: 0o644, Data: darwin.LaunchDaemon(darwin.Programs + "/aditd")},
		darwin.Programs + "/uninstall": {Mode: 0o755, Data: darwin.Uninstaller()},
	}
	if err := in.addPages(files, "adit"); err != nil {
		return nil, err
	}
	files[darwin.Shared+"/man/man8/aditd.8"] = payload.Entry{Mode: 0o644, Data: servicePage}
	for name, text := range in.texts {
		files[darwin.Programs+"/"+name] = payload.Entry{Mode: 0o644, Data: text}
	}
	if err := in.add(&client, files, "adit", "aditd", "adit-pkcs11", "aws-vpn-client"); err != nil {
		return nil, err
	}
	endpoint := flat.Part{
		ID: "com.adit.endpoint", Short: "adit-endpoint", Title: "Endpoint for tests",
		Text: "adit-endpoint: a VPN server on this Mac, for those who test clients.", Scripts: darwin.EndpointScripts(),
	}
	files = map[string]payload.Entry{}
	if err := in.addPages(files, "adit-endpoint"); err != nil {
		return nil, err
	}
	if err := in.add(&endpoint, files, "adit-endpoint"); err != nil {
		return nil, err
	}
	all := []flat.Part{client, endpoint}
	if in.app != "" {
		app := flat.Part{
			ID: appID, Short: "adit-gui", Title: "Desktop app", Text: "Adit.app, with its icon in the menu bar.",
			Selected: true, Bundle: "Applications/Adit.app",
		}
		if err := in.addApp(&app); err != nil {
			return nil, err
		}
		all = slices.Insert(all, 1, app)
	}
	return all, nil
}

//go:embed aditd.8
var servicePage []byte

// addPages puts the manual pages and completions of a program where darwin's script link finds them. Pages of adit-endpoint begin
// with adit-, too.
func (in input) addPages(files map[string]payload.Entry, program string) error {
	from := map[string]string{ // what is in Shared: what is in pages
		"zsh/site-functions/_" + program:                 "zsh/_" + program,
		"bash-completion/completions/" + program:         "bash/" + program,
		"fish/vendor_completions.d/" + program + ".fish": "fish/" + program + ".fish",
		"man/man1/" + program + ".1":                     "man1/" + program + ".1",
	}
	all, err := os.ReadDir(filepath.Join(in.pages, "man1"))
	if err != nil {
		return fmt.Errorf("manual pages: %w; make package-darwin makes them", err)
	}
	for _, page := range all {
		if strings.HasPrefix(page.Name(), "adit-endpoint") == (program == "adit-endpoint") {
			from["man/man1/"+page.Name()] = "man1/" + page.Name()
		}
	}
	for to, name := range from {
		text, err := os.ReadFile(filepath.Join(in.pages, filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("manual pages: %w; make package-darwin makes them", err)
		}
		files[darwin.Shared+"/"+to] = payload.Entry{Mode: 0o644, Data: text}
	}
	return nil
}

// add puts files and programs into a part, with the directories above them.
func (in input) add(p *flat.Part, files map[string]payload.Entry, programs ...string) error {
	for _, name := range programs {
		joined, err := in.program(name)
		if err != nil {
			return err
		}
		files[darwin.Programs+"/"+name] = payload.Entry{Mode: 0o755, Data: joined.data}
		demand(p, joined)
	}
	p.Entries = tree(files)
	return nil
}

// demand has a part ask for what one of its programs needs.
func demand(p *flat.Part, joined program) {
	if joined.needs.Compare(p.Needs) > 0 {
		p.Needs = joined.needs
	}
	if p.CPUs == nil {
		p.CPUs = joined.cpus
	}
	p.CPUs = slices.DeleteFunc(slices.Clone(p.CPUs), func(cpu string) bool { return !slices.Contains(joined.cpus, cpu) })
}

// addApp reads an app from its directory, whoever owns it there: signed or not.
func (in input) addApp(p *flat.Part) error {
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
		at := path.Join("/", p.Bundle, filepath.ToSlash(rel))
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
	demand(p, joined)
	p.Entries = tree(files)
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
			if dir == "Applications" { // as it is on every Mac: administrators may put apps there
				all[dir] = payload.Entry{Mode: fs.ModeDir | 0o775, GID: darwin.Admin}
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
