package profile

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRemarks: every code that the source names has words, and no others have.
func TestRemarks(t *testing.T) {
	named := map[Code]bool{lockedCode: true}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:\b(?:remark|ignore|later|refuse|about)\(|return |: )"([a-z0-9_]+)"`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if f == "remark.go" || strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range code.FindAllStringSubmatch(string(text), -1) {
			if c := Code(m[1]); Template(c) != "" || strings.HasPrefix(m[0], "remark(") || strings.HasPrefix(m[0], "about(") {
				named[c] = true
			}
		}
	}
	for name, r := range rules() {
		if r.apply == nil || r.why != "" {
			named[r.why] = true
		}
		if r.apply == nil && Template(r.why) == "" {
			t.Errorf("%s: %q has no words", name, r.why)
		}
	}
	named["value"] = true // remarkOf
	for c := range named {
		if Template(c) == "" {
			t.Errorf("%q has no words", c)
		}
	}
	for _, c := range Codes() {
		if !named[c] {
			t.Errorf("%q is said nowhere", c)
		}
	}
}

// TestFindingCodes: each finding of a check has a code that says the same as its text.
func TestFindingCodes(t *testing.T) {
	const text = "client\nremote h 99999\nproto x\nup /bin/sh\ncipher BF-CBC\ncryptoapicert x\ndev tap\nverb many\nca ca.crt\nnovel 1\nverify-novel 1\n<key>\nx\n</key>\n<connection>\nremote a\n"
	p, err := Parse("x", []byte(text), nil)
	if err == nil || p == nil {
		t.Fatal(err)
	}
	seen := map[Code]bool{}
	for _, f := range p.Check(testNow()).Problems {
		words := (&Remark{f.Code, f.Args}).Error()
		switch {
		case f.Ignored:
			words = f.Directive + " is ignored: " + words
		case f.Directive != "":
			words = f.Directive + ": " + words
		}
		if words != f.Text || strings.ContainsAny(words, "{}") {
			t.Errorf("%q says %q", f.Text, words)
		}
		seen[f.Code] = true
	}
	for _, c := range []Code{"number", "protocol", "no_program", "cipher_refused", "system_store", "tap", "file_refused", "unknown_directive", "unknown_security", "no_private_key", "connection_open", "ca_missing", "no_server_check"} {
		if !seen[c] {
			t.Errorf("%s is not found: %v", c, seen)
		}
	}
}
