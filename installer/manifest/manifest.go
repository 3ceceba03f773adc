// Package manifest is what a release says of itself: its version and the hash of every file, in JSON that is signed with minisign.
// An administrator hosts it where the machines can reach it; nobody asks for it unless told to. The package reads no file, has no
// clock, and starts no goroutine.
package manifest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/installer/version"
)

// Bounds of what is read.
const (
	MaxSize   = 1 << 20 // bytes of a manifest
	maxFiles  = 1000
	maxFile   = 1 << 40 // bytes
	format    = 1
	product   = "adit"
	shaLength = 64 // of SHA-256 in hexadecimal digits
)

// Any is the Arch of a file that every processor of its system runs.
const Any = "any"

// Manifest is what one release says. Fields that this version does not know are left alone; another Format is refused.
type Manifest struct {
	Format  int    `json:"format"`
	Product string `json:"product"`
	// Version is what installer/version reads.
	Version  string    `json:"version"`
	Released time.Time `json:"released"`
	// Expires: from then on the manifest proves nothing, so that nobody can show an old one forever. Zero: never.
	Expires time.Time `json:"expires,omitzero"`
	// Minimum: what is older has to be replaced. Empty: nothing has.
	Minimum string `json:"minimum,omitempty"`
	// Programs are what is installed, Packages what installs it.
	Programs []File `json:"programs"`
	Packages []File `json:"packages"`
}

// File is one file of a release.
type File struct {
	Name   string `json:"name"` // without a directory
	OS     string `json:"os,omitempty"`
	Arch   string `json:"arch,omitempty"` // Go's words; of macOS' universal files Any
	Size   int64  `json:"size"`           // bytes
	SHA256 string `json:"sha256"`         // in lower case
}

// fileName says whether s can be a file's name everywhere. No regular expression: adit would compile it at each start.
func fileName(s string) bool {
	const signs, most = "._+~-", 200
	return s != "" && len(s) <= most && !strings.Contains(signs, s[:1]) && strings.Trim(s, small+capital+signs) == ""
}

// word says whether s is one of Go's words for a system or a processor, or empty.
func word(s string) bool { return len(s) <= 16 && strings.Trim(s, small) == "" }

const (
	small   = "abcdefghijklmnopqrstuvwxyz0123456789"
	capital = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// Parse reads and checks a manifest whose signature was verified.
func Parse(text []byte) (Manifest, error) {
	var m Manifest
	if len(text) > MaxSize {
		return m, fmt.Errorf("the manifest is larger than %d bytes", MaxSize)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("the manifest is not JSON as expected: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, errors.New("something follows the manifest")
	}
	if err := m.check(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// Text is the manifest in JSON; the same manifest has the same text.
func (m Manifest) Text() ([]byte, error) {
	m.Format, m.Product = format, product
	m.Released, m.Expires = m.Released.UTC(), m.Expires.UTC()
	m.Programs, m.Packages = sorted(m.Programs), sorted(m.Packages)
	if err := m.check(); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

func sorted(files []File) []File {
	files = append([]File{}, files...) // never null
	slices.SortFunc(files, func(a, b File) int {
		return slices.Compare([]string{a.OS, a.Arch, a.Name, a.SHA256}, []string{b.OS, b.Arch, b.Name, b.SHA256})
	})
	return files
}

func (m Manifest) check() error {
	switch {
	case m.Format != format:
		return fmt.Errorf("the manifest has format %d, and this program reads format %d", m.Format, format)
	case m.Product != product:
		return fmt.Errorf("the manifest is of %.40q, not of %s", m.Product, product)
	case m.Released.UTC().Year() < 2000 || m.Released.UTC().Year() > 9000:
		return errors.New("the manifest does not say when it was released")
	case m.Expires.UTC().Year() > 9000:
		return errors.New("the manifest expires too late to be written")
	case !m.Expires.IsZero() && !m.Expires.After(m.Released):
		return errors.New("the manifest expires before its release")
	case len(m.Programs)+len(m.Packages) > maxFiles:
		return fmt.Errorf("the manifest lists more than %d files", maxFiles)
	}
	if _, err := version.Parse(m.Version); err != nil {
		return fmt.Errorf("the manifest: %w", err)
	}
	if _, err := version.Parse(m.Minimum); m.Minimum != "" && err != nil {
		return fmt.Errorf("the manifest's minimum: %w", err)
	}
	for _, f := range slices.Concat(m.Programs, m.Packages) {
		if err := f.check(); err != nil {
			return err
		}
	}
	return nil
}

func (f File) check() error {
	switch {
	case !fileName(f.Name):
		return fmt.Errorf("the manifest lists %.80q, which is no file's name", f.Name)
	case !word(f.OS) || !word(f.Arch):
		return fmt.Errorf("the manifest says of %s that it is for %.20q, %.20q", f.Name, f.OS, f.Arch)
	case f.Size < 0 || f.Size > maxFile:
		return fmt.Errorf("the manifest says of %s that it has %d bytes", f.Name, f.Size)
	case len(f.SHA256) != shaLength || strings.ToLower(f.SHA256) != f.SHA256:
		return fmt.Errorf("the manifest has no SHA-256 of %s in lower case", f.Name)
	}
	if _, err := hex.DecodeString(f.SHA256); err != nil {
		return fmt.Errorf("the manifest has no SHA-256 of %s in lower case", f.Name)
	}
	return nil
}

// Expired says whether the manifest proves nothing at now any more.
func (m Manifest) Expired(now time.Time) bool { return !m.Expires.IsZero() && !now.Before(m.Expires) }

// States of a program, beside the release.
const (
	Current = "current"
	Older   = "older"
	Newer   = "newer"
	Other   = "other"   // as many commits after the same tag, but another commit or changed files
	Unknown = "unknown" // its version cannot be read
)

// Beside says how a program of that version stands to the release, and whether it must be replaced.
func (m Manifest) Beside(running string) (state string, must bool) {
	v, err := version.Parse(running)
	if err != nil {
		return Unknown, false
	}
	released, err := version.Parse(m.Version)
	if err != nil {
		return Unknown, false // check refuses that
	}
	if least, err := version.Parse(m.Minimum); err == nil && v.Compare(least) < 0 {
		must = true
	}
	switch c := v.Compare(released); {
	case c < 0:
		return Older, must
	case c > 0:
		return Newer, must
	case v.String() != released.String():
		return Other, must
	}
	return Current, must
}

// Hashes are those that the release has of a program; several when the system has it in several builds. None: the release
// does not have it.
func (m Manifest) Hashes(name, goos, goarch string) []string {
	var all []string
	for _, f := range m.Programs {
		if f.Name == name && f.OS == goos && (f.Arch == goarch || f.Arch == Any) {
			all = append(all, f.SHA256)
		}
	}
	return all
}

// Names are the programs of a system, each once.
func (m Manifest) Names(goos, goarch string) []string {
	var all []string
	for _, f := range m.Programs {
		if f.OS == goos && (f.Arch == goarch || f.Arch == Any) {
			all = append(all, f.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
