package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
)

// TestReadSecret: what is too long is never cut and tried, which would count against the account.
func TestReadSecret(t *testing.T) {
	longest := strings.Repeat("p", maxPassphrase)
	for _, c := range []struct{ name, text, want, problem string }{
		{name: "one line", text: "hunter2\n", want: "hunter2"},
		{name: "no newline", text: "hunter2", want: "hunter2"},
		{name: "more lines, from Windows", text: "hunter2\r\nmore\r\n", want: "hunter2"},
		{name: "empty"},
		{name: "longest", text: longest + "\r\n", want: longest},
		{name: "longest, no newline", text: longest, want: longest},
		{name: "too long", text: longest + "p\n", problem: "longer than 1024 bytes"},
		{name: "far too long", text: longest + longest + longest, problem: "longer than 1024 bytes"},
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readSecret(file, "password")
		if got != push.Secret(c.want) || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %d bytes, error %v", c.name, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), "pp") {
			t.Errorf("%s: the error has the secret in it: %v", c.name, err)
		}
	}
	if _, err := readSecret(t.TempDir(), "password"); err == nil || !strings.Contains(err.Error(), "cannot read the password") {
		t.Errorf("a directory: %v", err)
	}
}
