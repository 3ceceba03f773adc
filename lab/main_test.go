//go:build linux

package lab

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// The lab's tests run the shipped binaries, and Debian's openvpn as the other
// side, in namespaces of their own. They need root and openvpn; without, they are
// skipped, but not where CI=true.

// sideBySide is how many tests run at once. They wait more than they work: a
// matrix cell sends 2 Mbit/s both ways.
const sideBySide = 6

// TestMain sets how many tests run at once, and removes what they leave.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(sideBySide)); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "adit-lab-")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Setenv("TMPDIR", dir)) // some tests run programs in it as nobody
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// binaries is the directory of our programs: ADIT_LAB_BIN, or a new one with what is built once, without
// cgo, as make build does it.
var binaries = sync.OnceValues(func() (dir string, err error) {
	if os.Geteuid() != 0 {
		return "", ErrRoot
	}
	if dir = os.Getenv("ADIT_LAB_BIN"); dir != "" {
		return dir, nil
	}
	dir = filepath.Join(os.TempDir(), "bin")
	for _, args := range [][]string{
		{"-o", dir + "/", "../cmd/aditd", "../cmd/adit-endpoint", "../cmd/adit-pkcs11", "../cmd/aws-vpn-client"},
		{"-o", filepath.Join(dir, "adit-userspace"), "../cmd/adit"},
		{"-o", filepath.Join(dir, "adit"), "-tags", "nouserspace", "../cmd/adit"},
	} {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	return dir, nil
})

// bin is the path of one of our programs.
func bin(t *testing.T, name string) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// needs skips the test, or fails it in CI, when root or a tool is missing.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	missing := func(what error) {
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	if os.Geteuid() != 0 {
		missing(ErrRoot)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		missing(fmt.Errorf("tun devices: %w", err))
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing(errors.New("needs " + tool + " (apt-get install " + tool + ")"))
		}
	}
}
