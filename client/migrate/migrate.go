// Package migrate finds the profiles of other VPN clients where those keep them, and makes profile texts of them. It
// reads as the person who asks, in the person's own process; the service never reads another program's files. It
// writes nothing, starts no goroutine, and takes no saved password: only what a profile says.
package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/adit-vpn/adit/ovpn/profile"
)

// What is read at most: a folder that somebody names may be any.
const (
	maxFile     = 4 << 20  // bytes of one file
	maxBytes    = 64 << 20 // of all files of one search
	maxProfiles = 500
	maxEntries  = 5000 // files and folders of one search
	maxDepth    = 6    // folders below the first
	maxName     = 64   // bytes of a profile's name, as the service has it
)

// Client is another VPN client, by the word that names it.
type Client string

// The clients whose profiles can be found.
const (
	AWS            Client = "aws"
	OpenVPN        Client = "openvpn"
	Tunnelblick    Client = "tunnelblick"
	NetworkManager Client = "networkmanager"
)

// Clients are all of them, in the order in which they are shown.
func Clients() []Client { return []Client{AWS, OpenVPN, Tunnelblick, NetworkManager} }

// Title is the client's name for people.
func (c Client) Title() string {
	switch c {
	case AWS:
		return "the AWS VPN client"
	case OpenVPN:
		return "OpenVPN Connect, OpenVPN GUI or openvpn"
	case Tunnelblick:
		return "Tunnelblick"
	case NetworkManager:
		return "NetworkManager"
	}
	return string(c)
}

// Profile is one profile of another client.
type Profile struct {
	Name string // as the other client calls it, in letters that names have here; unique among those of one Find
	Path string // the file that it comes from, as the system writes it
	// Text is for profile.Parse, with Files; Err says why there is none.
	Text  []byte
	Files profile.Files
	// Notes are what the other client's profile says and Text cannot.
	Notes []string
	Err   error
}

// Missing says that there is no profile where one was looked for.
type Missing struct {
	Client Client
	Looked []string
}

func (e *Missing) Error() string {
	if len(e.Looked) == 0 {
		return "this system has no usual place for profiles of " + e.Client.Title()
	}
	return "no profiles of " + e.Client.Title() + " in " + strings.Join(e.Looked, ", ")
}

// Find reads the profiles of a client at its usual places, or at one path of the system if that is not empty: a file or
// a folder. What cannot be read is a Profile with Err. The error is *Missing, or says why the path cannot be read.
func (s System) Find(c Client, at string) ([]Profile, error) {
	f := &finder{s: s}
	if at != "" {
		info, err := fs.Stat(s.Files, s.name(at))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, reason(err))
		}
		f.single = !info.IsDir()
	}
	switch c {
	case AWS:
		f.aws(at)
	case OpenVPN:
		f.openvpn(at)
	case Tunnelblick:
		f.tunnelblick(at)
	case NetworkManager:
		f.networkManager(at)
	default:
		return nil, fmt.Errorf("unknown client %q", c)
	}
	if len(f.found) == 0 {
		return nil, &Missing{c, f.looked}
	}
	f.nameAll()
	return f.found, nil
}

// finder is one search.
type finder struct {
	s       System
	single  bool // the path is a file
	looked  []string
	found   []Profile
	entries int
	bytes   int // that were read
}

// full says that add takes no more.
func (f *finder) full() bool { return len(f.found) > maxProfiles }

// read reads a plain file, up to the limit of them all.
func (f *finder) read(name string) ([]byte, error) {
	if f.bytes >= maxBytes {
		return nil, fmt.Errorf("it and those before have more than %d MiB: name a folder with fewer", maxBytes>>20)
	}
	b, err := f.s.read(name)
	f.bytes += len(b)
	return b, err
}

// add takes a profile, up to the limit.
func (f *finder) add(p Profile) {
	switch {
	case len(f.found) < maxProfiles:
		f.found = append(f.found, p)
	case len(f.found) == maxProfiles:
		f.found = append(f.found, Profile{Name: "more", Path: p.Path, Err: fmt.Errorf("there are more than %d profiles: name a folder with fewer", maxProfiles)})
	}
}

// plain takes a file that is an .ovpn profile already.
func (f *finder) plain(name, file string) {
	if f.full() {
		return
	}
	text, err := f.read(file)
	f.add(Profile{Name: name, Path: f.s.native(file), Text: text, Files: f.s.beside(path.Dir(file)), Err: err})
}

// walk calls visit for everything in dir and below. When visit returns false for a folder, what is in it is left
// out. Links to folders are not followed.
func (f *finder) walk(dir string, depth int, visit func(file string, folder bool) bool) {
	entries, err := fs.ReadDir(f.s.Files, dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.add(Profile{Name: path.Base(dir), Path: f.s.native(dir), Err: reason(err)})
		}
		return
	}
	for _, e := range entries {
		if f.entries++; f.entries > maxEntries {
			if f.entries == maxEntries+1 {
				f.add(Profile{Name: path.Base(dir), Path: f.s.native(dir), Err: fmt.Errorf("there are more than %d files: name a folder with fewer", maxEntries)})
			}
			return
		}
		file := path.Join(dir, e.Name())
		if visit(file, e.IsDir()) && e.IsDir() && depth < maxDepth {
			f.walk(file, depth+1, visit)
		}
	}
}

// nameAll makes the names fit, and unique: a second one of a name is called by its folder, too.
func (f *finder) nameAll() {
	taken := map[string]bool{}
	for i := range f.found {
		p := &f.found[i]
		name := tidy(p.Name)
		if taken[name] {
			folder := path.Base(path.Dir(f.s.name(p.Path)))
			name = tidy(short(p.Name, maxName/2) + " (" + short(folder, maxName/3) + ")")
		}
		for n := 2; taken[name]; n++ {
			name = tidy(short(p.Name, maxName/2) + fmt.Sprintf(" (%d)", n))
		}
		taken[name], p.Name = true, name
	}
}

// tidy makes a name that the service takes out of any text.
func tidy(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), strings.ContainsRune(" ._-@+()", r):
			return r
		case r == '[' || r == '{':
			return '('
		case r == ']' || r == '}':
			return ')'
		}
		return '-'
	}, strings.ToValidUTF8(name, "-"))
	name = strings.TrimLeftFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if name = strings.TrimRight(short(name, maxName), " ."); name == "" {
		return "profile"
	}
	return name
}

// short cuts a text to at most n bytes of whole runes.
func short(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// bare is a file's name without the suffix that profiles have.
func bare(file string, suffixes ...string) string {
	base := path.Base(file)
	for _, s := range suffixes {
		if len(base) > len(s) && strings.EqualFold(base[len(base)-len(s):], s) {
			return base[:len(base)-len(s)]
		}
	}
	return base
}

func hasSuffix(file string, suffixes ...string) bool {
	return slices.ContainsFunc(suffixes, func(s string) bool { return bare(file, s) != path.Base(file) })
}

// reason leaves out the path, which is shown beside it.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
