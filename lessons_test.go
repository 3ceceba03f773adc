package adit

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLessonsHaveTests holds docs/security-lessons.md to the tree: a row names tests that exist, and each number of
// a CVE stands in the name of one of its row's tests.
func TestLessonsHaveTests(t *testing.T) {
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("docs/security-lessons.md")
	if err != nil {
		t.Fatal(err)
	}
	test, number := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`"), regexp.MustCompile(`CVE-(\d{4})-(\d+)`)
	rows := 0
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| What") {
			continue
		}
		rows++
		tests := test.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test in: %s", line)
		}
		all := ""
		for _, m := range tests {
			if all += m[1] + " "; !names[m[1]] {
				t.Errorf("there is no %s", m[1])
			}
		}
		for _, m := range number.FindAllStringSubmatch(line, -1) {
			if !strings.Contains(all, m[1]+"_"+m[2]) {
				t.Errorf("no test of the row has the number of %s in its name", m[0])
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows", rows)
	}
}
