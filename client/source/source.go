// Package source reads a profile as the person who names it: a file with what it refers to, or an https
// URL. It belongs to the person's own process; the service opens no path and no address that a user named. It
// starts no goroutine.
package source

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

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

const (
	maxSource    = 4 << 20 // bytes of a profile or of a file that it refers to
	fetchTimeout = 30 * time.Second
)

// Source is a profile's text as the user named it, not yet parsed.
type Source struct {
	Title string // for messages
	Name  string // for the profile
	Text  []byte
	// Files reads what the text refers to, as the user; nil for a text from the network, which
	// must not choose among this machine's files.
	Files profile.Files
}

// stdin is the argument that stands for the standard input.
const stdin = "-"

// Read reads a file or the standard input, or fetches an https URL. Its errors are *api.Problem, or ctx's.
func Read(ctx context.Context, client *http.Client, arg string) (Source, error) {
	if u, err := url.Parse(arg); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
		return fetch(ctx, client, u)
	}
	text, err := readFile(arg)
	if err != nil {
		return Source{}, err
	}
	if what := foreign(text); what != "" {
		return Source{}, api.NewProblem(api.CodeNotAProfile, map[string]string{"file": arg, "what": what})
	}
	dir, title := filepath.Dir(arg), filepath.Base(arg)
	if arg == stdin {
		title = "stdin"
	}
	return Source{
		Title: title, Name: baseName(title), Text: text,
		Files: func(name string) ([]byte, error) { return readBeside(dir, name) },
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
	if name == stdin {
		return readLimited(os.Stdin, "the standard input", maxSource)
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.NewProblem(api.CodeFileNotFound, map[string]string{"file": name})
	}
	if err != nil {
		return nil, unreadable(name, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, unreadable(name, errors.New("it is a folder, and not the profile in it"))
	}
	return readLimited(f, name, maxSource)
}

func readLimited(r io.Reader, name string, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, unreadable(name, err)
	}
	if int64(len(b)) > most {
		return nil, api.NewProblem(api.CodeFileTooLarge, map[string]string{"file": name, "limit": mebibytes(most)})
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
		err = fmt.Errorf("%s is larger than %s", name, mebibytes(maxSource))
	}
	return b, err
}

// fetch gets a profile over https.
func fetch(ctx context.Context, client *http.Client, u *url.URL) (Source, error) {
	shown := u.Redacted()
	text, err := Fetch(ctx, client, u, maxSource)
	if err != nil {
		return Source{}, err
	}
	if what := foreign(text); what != "" {
		return Source{}, api.NewProblem(api.CodeNotAProfile, map[string]string{"file": shown, "what": what})
	}
	title := path.Base(u.Path)
	if title == "/" || title == "." {
		title = u.Hostname()
	}
	return Source{Title: title, Name: baseName(title), Text: text}, nil
}

// Fetch gets at most that many bytes over https, and follows redirects to https only. Its errors are *api.Problem, or ctx's.
func Fetch(ctx context.Context, client *http.Client, u *url.URL, most int64) ([]byte, error) {
	shown := u.Redacted()
	if u.Scheme != "https" {
		return nil, api.NewProblem(api.CodeURLNotHTTPS, map[string]string{"url": shown})
	}
	failed := func(detail string) error {
		return api.NewProblem(api.CodeFetchFailed, map[string]string{"url": shown, "detail": detail})
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
		return nil, failed(err.Error())
	}
	resp, err := limited.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var wrapped *url.Error // its text has the URL with its password
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, failed(err.Error())
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, failed("the server says " + resp.Status)
	}
	return readLimited(resp.Body, shown, most)
}

// unreadable leaves out what err's text would repeat.
func unreadable(name string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return api.NewProblem(api.CodeFileUnreadable, map[string]string{"file": name, "detail": err.Error()})
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
