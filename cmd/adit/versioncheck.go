package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/installer/manifest"
	"github.com/adit-vpn/adit/platform/svc/manage"
)

// releaseKey is the public key of the project's releases, set when one is linked (-ldflags "-X main.releaseKey=RW…").
var releaseKey string

// checkedRelease is what adit version --check found, in the form of --json.
type checkedRelease struct {
	Manifest string     `json:"manifest"` // as it was named
	Version  string     `json:"version"`
	Released time.Time  `json:"released"`
	Expires  *time.Time `json:"expires"` // null: never
	Minimum  string     `json:"minimum"` // empty: none
	Key      string     `json:"key"`     // minisign's name of the key that signed
	Adit     string     `json:"adit"`    // a state of package manifest
	Aditd    string     `json:"aditd"`   // the same; empty when the service is not reached
	// Directory has the installed programs. They are compared when their version is the release's. Service is the file
	// that the system runs as aditd; empty when it does not tell: then the one in Directory is compared.
	Directory string        `json:"directory"`
	Service   string        `json:"service"`
	Programs  []programFile `json:"programs"`
	OK        bool          `json:"ok"`
	Problems  []string      `json:"problems"`
	hint      string        // for the first of them that has one
}

// programFile is an installed program beside the release's.
type programFile struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// States of an installed program.
const (
	asReleased   = "as released"
	altered      = "altered"
	notInstalled = "not installed"
	unreadable   = "unreadable"
)

// checkRelease reads a manifest, verifies it, and compares it with what runs and with what is installed. It sends nothing
// but the request for the URL that the person named.
func checkRelease(ctx context.Context, arg, keyFile string, v versions) (checkedRelease, error) {
	key, err := publicKey(keyFile)
	if err != nil {
		return checkedRelease{}, err
	}
	m, err := openManifest(ctx, http.DefaultClient, arg, key)
	if err != nil {
		return checkedRelease{}, err
	}
	dir, err := ownDirectory()
	if err != nil {
		return checkedRelease{}, err
	}
	program := ""
	if v.Aditd != nil {
		program = serviceProgram(ctx)
	}
	r := compare(m, v, dir, program, time.Now())
	r.Manifest, r.Key = arg, key.ID()
	return r, nil
}

// publicKey is the person's, or the one that this program was released with.
func publicKey(file string) (manifest.Key, error) {
	if file == "" {
		if releaseKey == "" {
			return manifest.Key{}, hinted(errors.New("this adit was built without the key of a release: it cannot tell who signed the manifest"), "name the signer's public key with: --key FILE")
		}
		key, err := manifest.ParseKey([]byte(releaseKey))
		if err != nil {
			return key, hinted(fmt.Errorf("this adit was built with a bad key: %w", err), "name the signer's public key with: --key FILE")
		}
		return key, nil
	}
	text, err := readSmall(file, manifest.MaxKey, "the public key that minisign -G writes into minisign.pub")
	if err != nil {
		return manifest.Key{}, err
	}
	key, err := manifest.ParseKey(text)
	if err != nil {
		return key, hinted(fmt.Errorf("%s: %w", file, err), "give the file that minisign -G writes as minisign.pub")
	}
	return key, nil
}

// openManifest reads a manifest and the signature beside it, from files or over https.
func openManifest(ctx context.Context, client *http.Client, arg string, key manifest.Key) (manifest.Manifest, error) {
	read := func(name string, most int) ([]byte, error) {
		return readSmall(name, most, "the manifest.json of a release, with manifest.json"+manifest.Suffix+" beside it")
	}
	signature := arg + manifest.Suffix
	if u, err := url.Parse(arg); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
		if u.Scheme == "http" {
			return manifest.Manifest{}, &usageError{"a manifest is fetched over https: " + u.Redacted(), []string{"use an https URL, or fetch it yourself and give the file"}}
		}
		read = func(name string, most int) ([]byte, error) {
			at, err := url.Parse(name)
			if err != nil {
				return nil, err
			}
			text, err := source.Fetch(ctx, client, at, int64(most))
			if api.IsCode(err, api.CodeFileTooLarge) {
				err = hinted(fmt.Errorf("%s is too large for a release's manifest", at.Redacted()), "check the address")
			}
			return text, err
		}
		arg = u.String()
		u.Path += manifest.Suffix // before a query
		if u.RawPath != "" {
			u.RawPath += manifest.Suffix
		}
		signature = u.String()
	}
	text, err := read(arg, manifest.MaxSize)
	if err != nil {
		return manifest.Manifest{}, err
	}
	signed, err := read(signature, manifest.MaxKey)
	if err != nil {
		return manifest.Manifest{}, err
	}
	m, err := manifest.Open(text, signed, key)
	if err != nil {
		return m, hinted(fmt.Errorf("%s: %w", filepath.Base(arg), err), "take manifest and signature from one release, and the key from whoever made it")
	}
	return m, nil
}

// readSmall reads a file that nobody makes large; wanted says what it should have been.
func readSmall(name string, most int, wanted string) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hinted(fmt.Errorf("there is no file %s", name), "give "+wanted)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > most {
		return nil, hinted(fmt.Errorf("%s is larger than %d bytes", name, most), "give "+wanted)
	}
	return text, nil
}

// ownDirectory is where this program is, with links resolved.
func ownDirectory() (string, error) {
	own, err := os.Executable()
	if err == nil {
		own, err = filepath.EvalSymlinks(own)
	}
	return filepath.Dir(own), err
}

// serviceProgram is the file that the system's service manager runs as the service; empty when it does not tell.
func serviceProgram(ctx context.Context) string {
	m, done, err := manage.System(ctx, managed)
	if err != nil {
		return ""
	}
	defer done()
	s, err := m.Status(ctx)
	if err != nil || s.State != manage.Running {
		return ""
	}
	return s.Program
}

// compare judges what runs, and what is installed: in dir, and the service's program where it is known.
func compare(m manifest.Manifest, v versions, dir, service string, now time.Time) checkedRelease {
	r := checkedRelease{Version: m.Version, Released: m.Released, Minimum: m.Minimum, Directory: dir, Service: service, Programs: []programFile{}, Problems: []string{}}
	problem := func(hint, format string, args ...any) {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
		r.hint = cmp.Or(r.hint, hint)
	}
	judge := func(program string, running api.Version, hint string) string {
		state, must := m.Beside(running.Version)
		switch {
		case must:
			problem(hint, "%s %s must be replaced: the release says so of everything before %s", program, running.Version, m.Minimum)
		case state == manifest.Older:
			problem(hint, "%s %s is older than the release, %s", program, running.Version, m.Version)
		case state == manifest.Other:
			problem(hint, "%s %s is another build than the release, %s", program, running.Version, m.Version)
		case state == manifest.Unknown:
			problem(hint, "the version of %s, %s, cannot be compared", program, running.Version)
		}
		return state
	}
	install := "install " + m.Version
	r.Adit = judge("adit", v.Adit, install)
	if v.Aditd != nil {
		hint := install
		if v.Aditd.Version != v.Adit.Version {
			hint = "the service is not of the version of adit: restart it, or install " + m.Version
		}
		r.Aditd = judge("aditd", *v.Aditd, hint)
	}
	if r.Adit == manifest.Current {
		for _, name := range m.Names(v.Adit.OS, v.Adit.Arch) {
			path, isService := filepath.Join(dir, name), strings.TrimSuffix(name, ".exe") == "aditd"
			if isService && service != "" {
				path = service
			}
			state, err := fileState(path, m.Hashes(name, v.Adit.OS, v.Adit.Arch))
			r.Programs = append(r.Programs, programFile{name, state})
			switch {
			case state == notInstalled && isService && v.Aditd != nil:
				problem("compare it with the adit that lies beside the service's program", "a service runs, and its program is not compared: there is no %s", path)
			case err != nil:
				problem("", "%s cannot be compared: %v", name, err)
			case state == altered:
				problem("install "+m.Version+" again, from a package that you trust", "%s is not the file that was released", path)
			}
		}
	}
	if !m.Expires.IsZero() {
		r.Expires = &m.Expires
	}
	if m.Expired(now) {
		problem("fetch the manifest of the newest release", "the manifest expired on %s: there may be a newer release than %s", day(&m.Expires), m.Version)
	}
	r.OK = len(r.Problems) == 0
	return r
}

// fileState compares a file with the hashes that it may have.
func fileState(path string, hashes []string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return notInstalled, nil
	}
	if err != nil {
		return unreadable, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return unreadable, err
	}
	if slices.Contains(hashes, hex.EncodeToString(h.Sum(nil))) {
		return asReleased, nil
	}
	return altered, nil
}

// err is nil when all is well, else the first problem.
func (r checkedRelease) err() error {
	if r.OK {
		return nil
	}
	text := r.Problems[0]
	if n := len(r.Problems) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return hinted(errors.New(text), r.hint)
}
