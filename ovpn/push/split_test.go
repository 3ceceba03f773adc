package push

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
		err  string
	}{
		{"", nil, ""},
		{"  \t ", nil, ""},
		{"# comment", nil, ""},
		{"; comment", nil, ""},
		{"remote vpn.example.com 1194 # here", []string{"remote", "vpn.example.com", "1194"}, ""},
		{"a#b c;d", []string{"a#b", "c;d"}, ""},
		{`"two words" 'single "quoted" \ word' ""`, []string{"two words", `single "quoted" \ word`, ""}, ""},
		{`"esc \" \\ aped"`, []string{`esc " \ aped`}, ""},
		{`c:\\dir\\my\ file.crt`, []string{`c:\dir\my file.crt`}, ""},
		{`a"b c'd`, []string{`a"b`, `c'd`}, ""},
		{`\"a`, []string{`"a`}, ""},
		{`"a"b`, []string{"a", "b"}, ""},
		{`c:\dir`, nil, "two backslashes"},
		{`'c:\dir'`, []string{`c:\dir`}, ""},
		{`"open`, nil, "no closing quote"},
		{`'open`, nil, "no closing quote"},
		{`end\`, nil, "backslash at the end"},
		{strings.Repeat("x ", 17), slices.Repeat([]string{"x"}, 16), ErrTooManyWords.Error()},
		{strings.Repeat("x ", 16) + "# more", slices.Repeat([]string{"x"}, 16), ""},
	} {
		got, err := Split(c.line)
		if !slices.Equal(got, c.want) {
			t.Errorf("Split(%q) = %q, want %q", c.line, got, c.want)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Split(%q): error %v, want %q", c.line, err, c.err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", `a "b c" 'd'`, `\\ \" #`, "\"", `"\"`, "x;y ;z", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 4096 {
			return
		}
		words, err := Split(line)
		if len(words) > MaxWords || err != nil && !errors.Is(err, ErrTooManyWords) && words != nil {
			t.Fatalf("%q: %d words beside error %v", line, len(words), err)
		}
		again, err := Split(string(AppendOption(nil, words...)))
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q: %q became %q (%v)", line, words, again, err)
		}
	})
}
