// Package toolstest finds other people's programs, which read in the tests what installer/ writes. For tests alone.
package toolstest

import (
	"os"
	"os/exec"
	"testing"
)

// Needs skips the test where one of these programs is missing; with CI=true it fails.
func Needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", program)
		}
		t.Skipf("needs %s (a package among the Makefile's PACKAGES has it)", program)
	}
}
