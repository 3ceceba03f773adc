package view

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the goldens of testdata anew, to be read before they are committed")

// golden compares text with testdata/name.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == text {
		return
	}
	a, b := strings.Split(string(want), "\n"), strings.Split(text, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "(end)", "(end)"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Fatalf("%s, line %d:\nis   %s\nwant %s\nread what changed, then: go test ./gui/view -run %s -update", file, i+1, y, x, t.Name())
		}
	}
}

// dump writes what is not zero in v, a line each.
func dump(v any) string {
	var out strings.Builder
	walk(&out, "", reflect.ValueOf(v))
	return out.String()
}

func walk(out *strings.Builder, path string, v reflect.Value) {
	if b, ok := v.Interface().(Button); ok {
		marks := ""
		for _, m := range []struct {
			on   bool
			text string
		}{{!b.Enabled, "off"}, {b.Default, "enter"}, {b.Cancel, "esc"}, {b.Danger, "danger"}, {b.Why != "", b.Why}} {
			if m.on {
				marks += ", " + m.text
			}
		}
		fmt.Fprintf(out, "%s: [%s] %s %s%s\n", path, b.Label, b.Action.Kind, b.Action.Profile, marks)
		return
	}
	if i, ok := v.Interface().(MenuItem); ok {
		fmt.Fprintf(out, "%s: [%s] %s %s %t\n", path, i.Label, i.Action.Kind, i.Action.Profile, i.Enabled)
		return
	}
	if c, ok := v.Interface().(Command); ok {
		key := c.Key.Name
		if c.Key.Shift {
			key = "Shift+" + key
		}
		if c.Key.Primary {
			key = "Ctrl+" + key
		}
		fmt.Fprintf(out, "%s: [%s] %s%s %s, %s, %t %t\n", path, c.Label, c.Page, c.Action.Kind, c.Action.Profile, key, c.Enabled, c.Current)
		return
	}
	if r, ok := v.Interface().(Row); ok {
		warn := ""
		if r.Warn {
			warn = " (!)"
		}
		fmt.Fprintf(out, "%s: %s = %s%s\n", path, r.Label, r.Value, warn)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walk(out, path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			walk(out, strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		if v.Type() == reflect.TypeFor[[samples]Sample]() {
			known := 0
			for i := range v.Len() {
				if v.Index(i).Interface().(Sample).Known {
					known++
				}
			}
			fmt.Fprintf(out, "%s: %d known\n", path, known)
			return
		}
		for i := range v.Len() {
			walk(out, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	default:
		if !v.IsZero() {
			fmt.Fprintf(out, "%s: %v\n", path, v.Interface())
		}
	}
}
