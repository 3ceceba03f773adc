package main

import "testing"

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{"work": "work", "my home": "'my home'", "it's": `'it'\''s'`, "": "''", "a;b": "'a;b'", "日本": "日本"} {
		if got := quoted(in); got != want {
			t.Errorf("quoted(%q) = %s, want %s", in, got, want)
		}
	}
}
