// Package watch says when files may have changed, so that nobody has to look at them all the time.
package watch

import (
	"path/filepath"
	"slices"
)

// way is what leads from the root of the file system to the folders, which may be missing or be replaced anywhere, with them. What is above
// something comes before it.
func way(folders []string) []string {
	var out []string
	for _, p := range folders {
		for p = filepath.Clean(p); !slices.Contains(out, p); p = filepath.Dir(p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// matters says whether a change of the file or folder called name is one of the way or in one of the folders.
func matters(way, folders []string, name string) bool {
	return slices.Contains(way, name) || slices.Contains(folders, filepath.Dir(name))
}
