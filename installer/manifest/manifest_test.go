package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"github.com/adit-vpn/adit/installer/toolstest"
)

var day = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// sample is a manifest with everything in it.
func sample() Manifest {
	return Manifest{
		Format: format, Product: product, Version: "1.2.3", Released: day, Expires: day.AddDate(1, 0, 0), Minimum: "1.1.0",
		Programs: []File{
			{Name: "adit", OS: "darwin", Arch: Any, Size: 9, SHA256: sum("fat")},
			{Name: "adit", OS: "linux", Arch: "amd64", Size: 3, SHA256: sum("one")},
			{Name: "adit", OS: "linux", Arch: "arm64", Size: 4, SHA256: sum("four")},
			{Name: "aditd", OS: "linux", Arch: "amd64", Size: 3, SHA256: sum("two")},
			{Name: "adit.exe", OS: "windows", Arch: "amd64", Size: 3, SHA256: sum("exe")},
		},
		Packages: []File{{Name: "adit_1.2.3~rc.1+4.gabc_amd64.deb", Size: 5, SHA256: sum("three")}},
	}
}

func text(t *testing.T, m Manifest) []byte {
	t.Helper()
	b, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	m := sample()
	shuffled := sample()
	slices.Reverse(shuffled.Programs)
	shuffled.Released = shuffled.Released.In(time.FixedZone("east", 9*3600))
	if a, b := text(t, m), text(t, shuffled); !bytes.Equal(a, b) {
		t.Errorf("the order of the files or the time zone changes the text:\n%s\n%s", a, b)
	}
	got, err := Parse(text(t, m))
	if err != nil {
		t.Fatal(err)
	}
	if again := text(t, got); !bytes.Equal(again, text(t, m)) {
		t.Errorf("another text after reading:\n%s", again)
	}
	if got.Version != m.Version || !got.Expires.Equal(m.Expires) || !reflect.DeepEqual(got.Packages, m.Packages) || len(got.Programs) != len(m.Programs) {
		t.Errorf("read %+v", got)
	}
	forever := sample()
	forever.Expires = time.Time{}
	if b := text(t, forever); bytes.Contains(b, []byte("expires")) {
		t.Errorf("a manifest without an end has one:\n%s", b)
	}
	if _, err := Parse([]byte(strings.Replace(string(text(t, m)), `"product"`, `"of_later": [1], "product"`, 1))); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	good := string(text(t, sample()))
	for name, change := range map[string][2]string{
		"another product":   {`"product": "adit"`, `"product": "bigdit"`},
		"no product":        {`"product": "adit",`, ``},
		"a later format":    {`"format": 1`, `"format": 2`},
		"no version":        {`"version": "1.2.3"`, `"version": ""`},
		"a bad minimum":     {`"minimum": "1.1.0"`, `"minimum": "new"`},
		"no time":           {`"released": "2026-11-23T10:00:00Z",`, ``},
		"ends before":       {`"expires": "2027`, `"expires": "2025`},
		"a path":            {`"name": "aditd"`, `"name": "../aditd"`},
		"a hidden file":     {`"name": "aditd"`, `"name": ".aditd"`},
		"a stream":          {`"name": "aditd"`, `"name": "aditd:x"`},
		"an upper hash":     {sum("two"), strings.ToUpper(sum("two"))},
		"a short hash":      {sum("two"), sum("two")[2:]},
		"no hash":           {sum("two"), strings.Repeat("x", 64)},
		"a negative size":   {`"size": 5`, `"size": -5`},
		"a giant size":      {`"size": 5`, `"size": 5000000000000000`},
		"a strange system":  {`"os": "windows"`, `"os": "win\ndows"`},
		"something follows": {"\n  ]\n}\n", "\n  ]\n}\n{}"},
		"no JSON":           {`{`, ``},
	} {
		changed := strings.Replace(good, change[0], change[1], 1)
		if changed == good {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := Parse([]byte(changed)); err == nil {
			t.Errorf("%s is accepted", name)
		} else if strings.ContainsRune(err.Error(), '\n') || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse(bytes.Repeat([]byte(" "), MaxSize+1)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("too large: %v", err)
	}
	many := sample()
	for i := range maxFiles + 1 {
		many.Packages = append(many.Packages, File{Name: fmt.Sprint("f", i), SHA256: sum("x")})
	}
	if _, err := many.Text(); err == nil {
		t.Error("too many files are written")
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("x", 200)
	for name, want := range map[string]bool{
		"adit": true, "Adit-1.2.3~rc.1+4.gabc_x64.msi": true, "0": true, "a.": true, long: true, long + "x": false,
		"": false, ".adit": false, "-adit": false, "~": false, "a/b": false, `a\b`: false, "..": false, "a b": false, "ä": false, "a\n": false, "a\x00b": false,
	} {
		if fileName(name) != want {
			t.Errorf("%q is a file's name: %t", name, !want)
		}
	}
	for text, want := range map[string]bool{"": true, "linux": true, "amd64": true, long[:16]: true, long[:17]: false, "Linux": false, "a b": false, "a-b": false, "a\n": false} {
		if word(text) != want {
			t.Errorf("%q is a word: %t", text, !want)
		}
	}
}

func TestBeside(t *testing.T) {
	m := sample()
	m.Version = "1.2.3-4-gabc1234"
	for running, want := range map[string]string{
		"1.2.3-4-gabc1234": Current, "v1.2.3-4-gabc1234": Current, "1.2.3-4-gabc1234-dirty": Other, "1.2.3-4-gdef1234": Other, "1.2.3": Older, "1.2.3-rc.9": Older,
		"1.2.3-5-gabc1234": Newer, "1.3.0": Newer, "one": Unknown, "": Unknown, "1.1.0": Older,
		"1.0.9": Older + "!", "dev": Older + "!", "1.1.0-rc.1": Older + "!",
	} {
		got, must := m.Beside(running)
		if must {
			got += "!"
		}
		if got != want {
			t.Errorf("%q is %s, want %s", running, got, want)
		}
	}
	if m.Expired(m.Expires.Add(-1)) || !m.Expired(m.Expires) {
		t.Error("when it expires")
	}
	if got := m.Names("linux", "amd64"); !slices.Equal(got, []string{"adit", "aditd"}) {
		t.Errorf("linux has %v", got)
	}
	if got := m.Hashes("adit", "darwin", "arm64"); !slices.Equal(got, []string{sum("fat")}) {
		t.Errorf("an arm64 Mac's adit has %v", got)
	}
	if got := m.Hashes("adit", "linux", "riscv64"); got != nil {
		t.Errorf("a system without programs has %v", got)
	}
}

func newKey(t *testing.T) (minisign.PrivateKey, Key) {
	t.Helper()
	_, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return private, Public(private)
}

func TestSigned(t *testing.T) {
	private, key := newKey(t)
	b := text(t, sample())
	signature, err := Sign(b, private, "adit 1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := Sign(b, private, "adit 1.2.3"); !bytes.Equal(signature, again) {
		t.Error("signing twice makes two signatures")
	}
	if m, err := Open(b, signature, key); err != nil || m.Version != "1.2.3" {
		t.Fatalf("%v, %v", m.Version, err)
	}
	for name, try := range map[string]func() error{
		"a changed manifest": func() error {
			_, err := Open(bytes.Replace(b, []byte("1.2.3"), []byte("1.2.2"), 1), signature, key)
			return err
		},
		"a changed comment": func() error {
			_, err := Open(b, bytes.Replace(signature, []byte("adit 1.2.3"), []byte("adit 1.2.4"), 1), key)
			return err
		},
		"an empty signature": func() error { _, err := Open(b, nil, key); return err },
		"a long signature": func() error {
			_, err := Open(b, append(signature, bytes.Repeat([]byte("x"), MaxKey)...), key)
			return err
		},
		"no key":              func() error { _, err := Open(b, signature, Key{}); return err },
		"a key of other hand": func() error { _, other := newKey(t); _, err := Open(b, signature, other); return err },
	} {
		if try() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	_, other := newKey(t)
	if _, err := Open(b, signature, other); err == nil || !strings.Contains(err.Error(), key.ID()) || !strings.Contains(err.Error(), other.ID()) {
		t.Errorf("the error does not name the keys: %v", err)
	}
}

func TestParseKey(t *testing.T) {
	_, key := newKey(t)
	for _, in := range []string{key.String(), key.String() + "\n", "untrusted comment: minisign public key\n" + key.String() + "\n", "untrusted comment: x\r\n" + key.String() + "\r\n"} {
		if got, err := ParseKey([]byte(in)); err != nil || got.String() != key.String() || got.ID() != key.ID() {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, in := range []string{"", "RW", "not a key", key.String()[:50], key.String() + "\nuntrusted", strings.Repeat("A", MaxKey+1), strings.Repeat("A", 56)} {
		if _, err := ParseKey([]byte(in)); err == nil {
			t.Errorf("%q is a key", in)
		}
	}
}

// TestMinisign exchanges keys and signatures with the program minisign, both ways.
func TestMinisign(t *testing.T) {
	toolstest.Needs(t, "minisign")
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("minisign", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("minisign %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := text(t, sample())
	write("manifest.json", b)

	run("-G", "-W", "-p", "their.pub", "-s", "their.key")
	their, err := ParseKey(read("their.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, legacy := range [][]string{nil, {"-l"}} {
		run(append([]string{"-S", "-s", "their.key", "-m", "manifest.json"}, legacy...)...)
		if _, err := Open(b, read("manifest.json.minisig"), their); err != nil {
			t.Errorf("their signature %v: %v", legacy, err)
		}
	}

	private, key := newKey(t)
	signature, err := Sign(b, private, "adit 1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	write("manifest.json.minisig", signature)
	if out := run("-V", "-P", key.String(), "-m", "manifest.json"); !strings.Contains(out, "Trusted comment: adit 1.2.3") {
		t.Errorf("minisign says %s", out)
	}
	var theirs minisign.PrivateKey
	if err := theirs.UnmarshalText(bytes.TrimSpace(read("their.key"))); err != nil {
		t.Fatalf("their key: %v", err)
	}
	if got := Public(theirs).String(); got != their.String() {
		t.Errorf("their key's public half is %s, and they say %s", got, their.String())
	}
}

func FuzzParse(f *testing.F) {
	b, err := sample().Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":1,"product":"adit","version":"1.0.0","released":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(in)
		if err != nil {
			return
		}
		out, err := m.Text()
		if err != nil {
			t.Fatalf("it is read, and not written: %v", err)
		}
		if _, err := Parse(out); err != nil && len(out) <= MaxSize {
			t.Fatalf("it is written, and not read again: %v", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	_, private, err := minisign.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)))
	if err != nil {
		f.Fatal(err)
	}
	b, err := sample().Text()
	if err != nil {
		f.Fatal(err)
	}
	signature, err := Sign(b, private, "adit")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signature, []byte(Public(private).String()))
	f.Fuzz(func(t *testing.T, signature, key []byte) {
		k, err := ParseKey(key)
		if err != nil {
			return
		}
		if again, err := ParseKey([]byte(k.String())); err != nil || again.String() != k.String() {
			t.Fatalf("the key %s is read as %s: %v", k, again, err)
		}
		_, _ = Open(b, signature, k)
	})
}
