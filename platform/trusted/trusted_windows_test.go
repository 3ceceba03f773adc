package trusted

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/platform/acl"
)

// TestWalkWindows: each step of the way is looked at, with the last folder and the file as what matters.
func TestWalkWindows(t *testing.T) {
	dir, err := os.MkdirTemp("", "adit-trusted-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) // wine 8 cannot; t.TempDir would fail for it
	path := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var steps []bool
	f, err := walk(path, func(l acl.List, above bool) string {
		if l.Owner == "" {
			t.Errorf("a list without owner: %+v", l)
		}
		steps = append(steps, above)
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 3); true {
		if n, _ := f.Read(b); string(b[:n]) != "{}" {
			t.Errorf("read %q", b[:n])
		}
	}
	f.Close()
	n := strings.Count(path, `\`)
	for i, above := range steps {
		if above != (i < n-1) {
			t.Errorf("step %d of %d: above %v", i, n, above)
		}
	}
	if len(steps) != n+1 {
		t.Errorf("%d steps for %s", len(steps), path)
	}
	folder, err := walk(dir, func(acl.List, bool) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := folder.ReadDir(-1); err != nil || len(entries) != 1 || entries[0].Name() != "policy.json" {
		t.Errorf("folder: %v, %v", entries, err)
	}
	folder.Close()
	for i := range n + 1 {
		at := -1
		_, err := walk(path, func(acl.List, bool) string {
			if at++; at == i {
				return "spoiled"
			}
			return ""
		})
		if !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "spoiled") {
			t.Errorf("step %d spoiled: %v", i, err)
		}
	}
	if _, err := walk(filepath.Join(dir, "none"), func(acl.List, bool) string { return "" }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := walk(filepath.Join(dir, "none", "file"), func(acl.List, bool) string { return "" }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	for _, far := range []string{`\\server\share\policy.json`, `\\?\C:\x`, `\\.\pipe\x`} {
		if _, err := walk(far, strict); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", far, err)
		}
	}
	// A user's folder is not the administrators'.
	if _, err := Dir(dir).Open("policy.json"); !errors.Is(err, ErrUntrusted) {
		t.Errorf("below a user's folder: %v", err)
	}
}
