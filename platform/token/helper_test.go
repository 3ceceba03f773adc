//go:build unix

package token

import (
	"os"
	"strings"
	"testing"
)

// TestHelperThatDies: a helper that ends, or says nonsense, is an error in words, and so is each call after it.
func TestHelperThatDies(t *testing.T) {
	for name, script := range map[string]string{
		"ends":     "#!/bin/sh\necho 'module: no reader' >&2\n",
		"nonsense": "#!/bin/sh\nread x; echo nonsense; cat >/dev/null\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/helper"
			if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path, "m", ID{})
			if err == nil || !strings.Contains(err.Error(), "the program that speaks to the token ended") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
}
