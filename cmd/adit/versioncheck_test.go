package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/installer/manifest"
)

// signed is a manifest with its signature, by a new key.
func signed(m manifest.Manifest) (text, signature []byte, key manifest.Key, err error) {
	if m.Released.IsZero() {
		m.Released = time.Now().Add(-time.Hour)
	}
	if text, err = m.Text(); err != nil {
		return nil, nil, key, err
	}
	_, private, err := minisign.GenerateKey(nil)
	if err != nil {
		return nil, nil, key, err
	}
	signature, err = manifest.Sign(text, private, "adit "+m.Version)
	return text, signature, manifest.Public(private), err
}

func hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// writeRelease is the script's command "release VERSION [altered|expired]": manifest.json, its signature and release.pub of a
// release whose adit is the one that runs.
func writeRelease(ts *testscript.TestScript, _ bool, args []string) {
	own, err := os.Executable()
	ts.Check(err)
	b, err := os.ReadFile(own)
	ts.Check(err)
	if slices.Contains(args, "altered") {
		b = b[1:]
	}
	m := manifest.Manifest{Version: args[0], Programs: []manifest.File{{Name: "adit", OS: runtime.GOOS, Arch: runtime.GOARCH, Size: int64(len(b)), SHA256: hash(b)}}}
	if slices.Contains(args, "expired") {
		m.Released, m.Expires = time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC), time.Date(2021, 1, 1, 12, 0, 0, 0, time.UTC)
	}
	text, signature, key, err := signed(m)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("manifest.json"), text, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("manifest.json.minisig"), signature, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("release.pub"), []byte("untrusted comment: of a test\n"+key.String()+"\n"), 0o600))
}

// TestCompare: what runs and what is installed, beside a release.
func TestCompare(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	for name, content := range map[string]string{"adit": "adit of 1.2.3", "aditd": "aditd of 1.2.3", "adit-userspace": "something else"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := func(name, content string) manifest.File {
		return manifest.File{Name: name, OS: "linux", Arch: "amd64", Size: int64(len(content)), SHA256: hash([]byte(content))}
	}
	whole := manifest.Manifest{Version: "1.2.3", Released: now.AddDate(0, -1, 0), Expires: now.AddDate(0, 1, 0), Minimum: "1.1.0",
		Programs: []manifest.File{program("adit", "adit of 1.2.3"), program("aditd", "aditd of 1.2.3"), program("adit-endpoint", "not installed here")}}
	changed := whole
	changed.Programs = append(slices.Clone(whole.Programs), program("adit-userspace", "adit-userspace of 1.2.3"))
	old := whole
	old.Expires = now.Add(-time.Hour)
	bare := whole
	bare.Programs = nil
	running := func(adit, aditd string) versions {
		v := versions{Adit: api.Version{Version: adit, OS: "linux", Arch: "amd64"}}
		if aditd != "" {
			v.Aditd = &api.Version{Version: aditd}
		}
		return v
	}
	for _, tt := range []struct {
		name        string
		m           manifest.Manifest
		v           versions
		adit, aditd string
		files       string
		problem     string // of the error; empty: none
		hint        string
	}{
		{"all as released", whole, running("1.2.3", "v1.2.3"), "current", "current", "adit: as released, adit-endpoint: not installed, aditd: as released", "", ""},
		{"no service", whole, running("1.2.3", ""), "current", "", "adit: as released, adit-endpoint: not installed, aditd: as released", "", ""},
		{"a file was changed", changed, running("1.2.3", "1.2.3"), "current", "current", "adit: as released, adit-endpoint: not installed, adit-userspace: altered, aditd: as released",
			"adit-userspace is not the file that was released", "install 1.2.3 again"},
		{"older", whole, running("1.2.2", "1.2.2"), "older", "older", "", "adit 1.2.2 is older than the release, 1.2.3 (and 1 more)", "install 1.2.3"},
		{"much older", whole, running("1.0.9", ""), "older", "", "", "adit 1.0.9 must be replaced: the release says so of everything before 1.1.0", "install 1.2.3"},
		{"the service was not restarted", whole, running("1.2.3", "1.2.2"), "current", "older", "adit: as released, adit-endpoint: not installed, aditd: as released",
			"aditd 1.2.2 is older than the release, 1.2.3", "restart it"},
		{"newer", changed, running("1.3.0", "1.3.0"), "newer", "newer", "", "", ""},
		{"expired", old, running("1.2.3", ""), "current", "", "adit: as released, adit-endpoint: not installed, aditd: as released", "the manifest expired on 2026-11-23", "newest release"},
		{"expired, and newer", old, running("1.3.0", ""), "newer", "", "", "the manifest expired", "newest release"},
		{"no files listed", bare, running("1.2.3", ""), "current", "", "", "", ""},
		{"no version", whole, running("custom", ""), "unknown", "", "", "the version of adit, custom, cannot be compared", "install 1.2.3"},
	} {
		r := compare(tt.m, tt.v, dir, "", now)
		files := make([]string, len(r.Programs))
		for i, f := range r.Programs {
			files[i] = f.Name + ": " + f.State
		}
		if r.Adit != tt.adit || r.Aditd != tt.aditd || strings.Join(files, ", ") != tt.files {
			t.Errorf("%s: adit is %s, aditd %q, files %v", tt.name, r.Adit, r.Aditd, files)
		}
		err := r.err()
		if r.OK != (tt.problem == "") || (err == nil) != r.OK {
			t.Errorf("%s: ok is %v, the error %v", tt.name, r.OK, err)
		} else if err != nil {
			if h := err.(*hintedError); !strings.Contains(err.Error(), tt.problem) || !strings.Contains(h.hints[0], tt.hint) {
				t.Errorf("%s: %v, hints %q", tt.name, err, h.hints)
			}
		}
	}
}

// TestCompareService: the service's own program counts, wherever it is.
func TestCompareService(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	own, apart := t.TempDir(), t.TempDir()
	write := func(dir, name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write(own, "adit", "adit")
	released, changed := write(apart, "aditd", "aditd"), write(apart, "other", "altered")
	m := manifest.Manifest{Version: "1.2.3", Released: now}
	for _, name := range []string{"adit", "aditd"} {
		m.Programs = append(m.Programs, manifest.File{Name: name, OS: "linux", Arch: "amd64", Size: int64(len(name)), SHA256: hash([]byte(name))})
	}
	v := versions{Adit: api.Version{Version: "1.2.3", OS: "linux", Arch: "amd64"}, Aditd: &api.Version{Version: "1.2.3"}}
	for service, want := range map[string]string{
		released: "",
		changed:  changed + " is not the file that was released",
		"":       "a service runs, and its program is not compared: there is no " + filepath.Join(own, "aditd"),
	} {
		if r := compare(m, v, own, service, now); r.OK != (want == "") || strings.Join(r.Problems, "") != want {
			t.Errorf("%q: %q", service, r.Problems)
		}
	}
	v.Aditd = nil
	if r := compare(m, v, own, "", now); !r.OK {
		t.Errorf("no service: %q", r.Problems)
	}
}

// TestFetchRelease: over https, with the signature beside the manifest and before the query.
func TestFetchRelease(t *testing.T) {
	text, signature, key, err := signed(manifest.Manifest{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	asked := []string{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		switch r.URL.Path {
		case "/adit/manifest.json":
			w.Write(text)
		case "/adit/manifest.json.minisig", "/large.minisig":
			w.Write(signature)
		case "/large":
			w.Write(make([]byte, manifest.MaxSize+1))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	m, err := openManifest(t.Context(), server.Client(), server.URL+"/adit/manifest.json?v=1", key)
	if err != nil || m.Version != "1.2.3" || !slices.Equal(asked, []string{"/adit/manifest.json?v=1", "/adit/manifest.json.minisig?v=1"}) {
		t.Errorf("%v, %v, asked for %v", m.Version, err, asked)
	}
	asked = nil
	if _, err := openManifest(t.Context(), server.Client(), server.URL+"/%61dit%2Fmanifest.json", key); err != nil || !slices.Equal(asked, []string{"/%61dit%2Fmanifest.json", "/%61dit%2Fmanifest.json.minisig"}) {
		t.Errorf("%v, asked for %v", err, asked)
	}
	for path, want := range map[string]string{"/large": "too large for a release's manifest", "/other": "404"} {
		if _, err := openManifest(t.Context(), server.Client(), server.URL+path, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := openManifest(t.Context(), server.Client(), "http://127.0.0.1:1/manifest.json", key); err == nil || !strings.Contains(err.Error(), "over https") {
		t.Errorf("http: %v", err)
	}
}
