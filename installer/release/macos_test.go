package release

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// apple stands in for what only a Mac has, and for what takes minutes: a signature is a line more.
var apple = map[string]string{
	"codesign":    `for f; do [ ! -f "$f" ] || echo codesigned >>"$f"; [ ! -d "$f" ] || echo codesigned >>"$f/signature"; done`,
	"productsign": `[ "$1" = --sign ] && cp "$3" "$4" && echo productsigned >>"$4"`,
	"xcrun": `case "$1 $2" in
"notarytool submit") [ "$(tail -n 1 "$3")" = productsigned ] ;;
"stapler staple") echo stapled >>"$3" ;;
*) exit 1 ;;
esac`,
	"go": `mkdir -p dist/Adit.app && echo app >dist/Adit.app/adit-gui`,
	"make": `case "$*" in
"-o dist package-darwin") for p in adit-cli adit-gui Adit; do cat dist/bin/darwin-*/* dist/Adit.app/* >dist/packages/$p-1.2.3.pkg; done ;;
"finish RELEASE_KEY=RWkey KEY=adit.key") find dist -type f -exec sha256sum {} + >finished ;;
*) exit 1 ;;
esac`,
}

// TestSignedForMacOS: what docs/install/macos.md has people type after make release signs every program before it is packed, and
// every package before it is listed; and the steps of make in between build nothing anew.
func TestSignedForMacOS(t *testing.T) {
	_, rest, _ := strings.Cut(string(read(t, "../../docs/install/macos.md")), "## Sign and notarize\n")
	_, rest, _ = strings.Cut(rest, "```sh\n")
	script, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the page has no commands that sign")
	}
	dir, tools := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "adit.pub"), "untrusted comment\nRWkey\n")
	write(t, filepath.Join(dir, "dist/packages/adit-cli-1.2.3.pkg"), "unsigned\n")
	makefile := string(read(t, "../../Makefile"))
	_, programs, _ := strings.Cut(makefile, "\nBINARIES := ")
	programs, _, _ = strings.Cut(programs, "\n")
	for name := range strings.FieldsSeq(programs) {
		for _, arch := range []string{"amd64", "arm64"} {
			write(t, filepath.Join(dir, "dist/bin/darwin-"+arch, name), name+"\n")
		}
	}
	for name, text := range apple {
		write(t, filepath.Join(tools, name), "#!/bin/sh\nset -e\n"+text+"\n")
		if err := os.Chmod(filepath.Join(tools, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-e")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(script)
	cmd.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	signed, err := filepath.Glob(filepath.Join(dir, "dist/bin/*/*"))
	if err != nil || len(signed) < 8 {
		t.Fatalf("%d programs, %v", len(signed), err)
	}
	for _, path := range signed {
		if text := read(t, path); string(text) != filepath.Base(path)+"\ncodesigned\n" {
			t.Errorf("%s is %q", path, text)
		}
	}
	for _, name := range []string{"adit-cli", "adit-gui", "Adit"} {
		text := read(t, dir, "dist/packages", name+"-1.2.3.pkg")
		if n := bytes.Count(text, []byte("codesigned\n")); n != len(signed)+1 || !bytes.HasSuffix(text, []byte("\ncodesigned\nproductsigned\nstapled\n")) {
			t.Errorf("the package %s has %d signed programs: %q", name, n, text)
		}
	}
	if out, err := command(dir, "sha256sum", "--strict", "-c", "finished"); err != nil || strings.Count(out, ": OK") != len(signed)+5 {
		t.Errorf("what is listed was changed later: %v: %s", err, out)
	}
	if strays, err := filepath.Glob(filepath.Join(dir, "dist/*.pkg")); err != nil || len(strays) > 0 {
		t.Errorf("packages outside dist/packages: %q, %v", strays, err)
	}

	for _, target := range [][]string{{"-o", "dist", "package-darwin"}, {"finish"}} {
		out, err := command("../..", "make", append([]string{"-n"}, target...)...)
		if err != nil || !strings.Contains(out, "go run ./installer/") || strings.Contains(out, "go build") || strings.Contains(out, "rm -rf dist") {
			t.Errorf("make %q: %v: %s", target, err, out)
		}
	}
}
