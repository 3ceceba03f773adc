package watch

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestWayLeadsDown wants each folder once and after the one above it: one that was watched before that could be made between the two
// looks and would stay unseen.
func TestWayLeadsDown(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "etc", "adit", "profiles")
	got := way([]string{deep, filepath.Join(root, "etc", "adit"), filepath.Join(root, "etc.d"), deep + string(filepath.Separator)})
	for i, p := range got {
		if above := filepath.Dir(p); above != p && !slices.Contains(got[:i], above) {
			t.Errorf("%s comes before %s", p, above)
		}
		if slices.Contains(got[:i], p) {
			t.Errorf("%s is there twice", p)
		}
	}
	if !slices.Contains(got, deep) || !slices.Contains(got, filepath.Join(root, "etc.d")) {
		t.Errorf("a folder is missing: %q", got)
	}
}
