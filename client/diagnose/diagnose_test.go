package diagnose

import (
	"archive/zip"
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// TestWithoutService: the system's part is there, and the rest says why not.
func TestWithoutService(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	c := api.NewClient(socket)
	defer c.Close()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	entries, err := Collect(t.Context(), Source{Client: c, Socket: socket, Own: api.Version{Version: "v9"}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := Write(&archive, entries, now); err != nil {
		t.Fatal(err)
	}
	files := unzip(t, archive.Bytes())
	for _, name := range []string{"status.json", "log.txt", "profiles.json", "explain.json"} {
		i := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name })
		if i < 0 || !strings.Contains(entries[i].Missing, "it is not running") || files[name] != "" {
			t.Errorf("%s: %+v", name, entries)
		}
		if !strings.Contains(files["README.txt"], name) {
			t.Errorf("%s is not in README.txt:\n%s", name, files["README.txt"])
		}
	}
	for name, want := range map[string]string{"README.txt": "2026-01-02 03:04:05 UTC", "versions.json": `"version": "v9"`, "service.json": "it is not running"} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s has no %q:\n%s", name, want, files[name])
		}
	}
	for name := range files {
		if !strings.Contains(files["README.txt"], name) && name != "README.txt" {
			t.Errorf("README.txt does not say what %s is", name)
		}
	}
}

// unzip returns the files of an archive, none of them twice or outside it.
func unzip(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range z.File {
		if _, twice := files[f.Name]; twice || !filepath.IsLocal(f.Name) {
			t.Errorf("%s is there twice, or elsewhere", f.Name)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(b)
	}
	return files
}

func TestUnique(t *testing.T) {
	b := &bundle{}
	for _, c := range [][2]string{
		{"work", "work"}, {"Work", "Work_2"}, {"../../etc/passwd", "______etc_passwd"}, {"北", "_"}, {"南", "__2"}, {"a.b", "a_b"}, {"a b", "a_b_2"}, {"", "_2_2"},
	} {
		if got := b.unique(c[0]); got != c[1] && c[0] != "" || got == "" {
			t.Errorf("%q is %q, want %q", c[0], got, c[1])
		}
	}
}
