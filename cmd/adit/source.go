package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/profile"
)

const (
	maxSource    = 4 << 20 // bytes of a profile or of a file that it refers to
	fetchTimeout = 30 * time.Second
)

// source is a profile's text as the user named it, not yet parsed.
type source struct {
	title string // for messages
	name  string // for the profile
	text  []byte
	// files reads what the text refers to, as the user; nil for a text from the network, which
	// must not choose among this machine's files.
	files profile.Files
}

// readSource reads a file or fetches an https URL.
func readSource(ctx context.Context, client *http.Client, arg string) (source, error) {
	if u, err := url.Parse(arg); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
		return fetch(ctx, client, u)
	}
	text, err := readFile(arg)
	if err != nil {
		return source{}, err
	}
	dir := filepath.Dir(arg)
	return source{
		title: filepath.Base(arg), name: baseName(filepath.Base(arg)), text: text,
		files: func(name string) ([]byte, error) { return readBeside(dir, name) },
	}, nil
}

// baseName is a file's name without the suffix that profiles have.
func baseName(file string) string {
	for _, suffix := range []string{".ovpn", ".conf"} {
		if name, ok := strings.CutSuffix(file, suffix); ok && name != "" {
			return name
		}
	}
	return file
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hinted(fmt.Errorf("there is no file %s", name), "give the path of an .ovpn file")
	}
	if err != nil {
		return nil, hinted(err, "check that you may read the file: ls -l "+name)
	}
	defer f.Close()
	return readLimited(f, name)
}

func readLimited(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err != nil {
		return nil, hinted(fmt.Errorf("cannot read it: %w", err), "give the path of an .ovpn file")
	}
	if len(b) > maxSource {
		return nil, hinted(fmt.Errorf("%s is larger than %d MiB", name, maxSource>>20), "this does not look like a profile; check the path")
	}
	return b, nil
}

// readBeside reads a file that a profile in dir refers to. A path from Windows
// (keys\ca.crt) is tried with slashes when there is no file of that name.
func readBeside(dir, name string) ([]byte, error) {
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	file := at(name)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(name, `\`) {
		if i, e := os.Stat(at(strings.ReplaceAll(name, `\`, "/"))); e == nil {
			file, info, err = at(strings.ReplaceAll(name, `\`, "/")), i, nil
		}
	}
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a pipe would block, a device never end
		return nil, fmt.Errorf("%s is not a plain file", name)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err == nil && len(b) > maxSource {
		err = fmt.Errorf("%s is larger than %d MiB", name, maxSource>>20)
	}
	return b, err
}

// fetch gets a profile over https, and follows redirects to https only.
func fetch(ctx context.Context, client *http.Client, u *url.URL) (source, error) {
	shown := u.Redacted()
	if u.Scheme != "https" {
		return source{}, &usageError{"a profile holds keys: " + shown + " is not https", []string{"use an https URL, or fetch it yourself and give the file"}}
	}
	limited := *client // the caller's stays as it is
	limited.Timeout = fetchTimeout
	limited.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" {
			return errors.New("redirected away from https")
		}
		if len(via) >= 5 {
			return errors.New("redirected too often")
		}
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return source{}, err
	}
	const hint = "check the address in a browser, or fetch it yourself and give the file"
	resp, err := limited.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return source{}, ctx.Err()
		}
		var wrapped *url.Error // its text has the URL with its password
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return source{}, hinted(fmt.Errorf("fetch %s: %w", shown, err), hint)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return source{}, hinted(fmt.Errorf("fetch %s: the server says %s", shown, resp.Status), hint)
	}
	text, err := readLimited(resp.Body, shown)
	if err != nil {
		return source{}, err
	}
	title := path.Base(u.Path)
	if title == "/" || title == "." {
		title = u.Hostname()
	}
	return source{title: title, name: baseName(title), text: text}, nil
}

// parse reads the profile and words its first error.
func (s source) parse(arg string) (*profile.Profile, error) {
	p, err := profile.Parse(s.title, s.text, s.files)
	if err == nil {
		return p, nil
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	text := all[0].Error()
	if n := len(all) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return nil, hinted(errors.New(text), "see every line's verdict with: adit check "+arg)
}
