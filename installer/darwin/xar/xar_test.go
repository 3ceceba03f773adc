package xar

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/installer/toolstest"
)

// at is the time in archives of these tests.
var at = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// sample are files, one of them empty, in directories that have no entry and in one that has.
var sample = []File{
	{Name: "Distribution", Data: []byte("<xml/>\n")},
	{Name: "part.pkg", Dir: true},
	{Name: "part.pkg/Bom", Data: bytes.Repeat([]byte{0, 1, 2}, 5000)},
	{Name: "Resources/en.lproj/a & b.txt", Data: []byte("text")},
	{Name: "empty", Data: []byte{}},
}

func TestRoundTrip(t *testing.T) {
	b, err := Write(sample, at)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Write(sample, at)
	if err != nil || !bytes.Equal(b, again) {
		t.Error("two archives of the same differ", err)
	}
	files, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Distribution", "part.pkg/", "part.pkg/Bom", "Resources/", "Resources/en.lproj/", "Resources/en.lproj/a & b.txt", "empty"}
	var got []string
	for _, f := range files {
		if f.Dir {
			f.Name += "/"
		}
		got = append(got, f.Name)
		for _, s := range sample {
			if s.Name == f.Name && !bytes.Equal(s.Data, f.Data) {
				t.Errorf("%s has another content", f.Name)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOthersRead: 7-Zip and libarchive unpack it, and find no fault.
func TestOthersRead(t *testing.T) {
	b, err := Write(sample, at)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a.xar")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"7z":     {"x", "-y", "-o" + filepath.Join(dir, "7z"), file},
		"bsdtar": {"-x", "-f", file, "-C", filepath.Join(dir, "bsdtar")},
	} {
		t.Run(name, func(t *testing.T) {
			toolstest.Needs(t, name)
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, f := range sample {
				got, err := os.ReadFile(filepath.Join(dir, name, f.Name))
				if f.Dir {
					continue
				}
				if err != nil || !bytes.Equal(got, f.Data) {
					t.Errorf("%s: %v, or another content", f.Name, err)
				}
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, names := range [][]string{{""}, {"/a"}, {"../a"}, {"a/../b"}, {"."}, {"a\x00"}, {"a\x01"}, {"a", "a"}, {"a", "a/b"}} {
		var files []File
		for _, n := range names {
			files = append(files, File{Name: n})
		}
		if _, err := Write(files, at); err == nil {
			t.Errorf("%q was written", names)
		}
	}
}

// TestReadRefuses: every change of a byte is found, but in the header's own size and in what no checksum covers.
func TestReadRefuses(t *testing.T) {
	b, err := Write(sample[:1], at)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 0x40
		if _, err := Read(bad); err == nil {
			t.Errorf("byte %d of %d may be anything", i, len(b))
		}
	}
	for n := range b {
		if _, err := Read(b[:n]); err == nil {
			t.Errorf("read when cut off after %d bytes", n)
		}
	}
	for name, change := range map[string][2]string{
		"a link":              {"<type>file", "<type>symlink"},
		"a path for a name":   {"<name>Distribution", "<name>../Distribution"},
		"a name in base64":    {"<name>", `<name enctype="base64">`},
		"beyond the heap":     {"<offset>20", "<offset>9020"},
		"a negative offset":   {"<offset>20", "<offset>-20"},
		"a negative length":   {"<length>7", "<length>-7"},
		"two sizes":           {"<size>7", "<size>8"},
		"unknown compression": {"application/octet-stream", "application/x-bzip2"},
		"unknown checksum":    {`<archived-checksum style="sha1"`, `<archived-checksum style="md5"`},
		"the table's":         {`<checksum style="sha1"`, `<checksum style="sha256"`},
	} {
		if _, err := Read(rewrite(t, b, change)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if _, err := Read(rewrite(t, b, [2]string{"Distribution", "Contribution"})); err != nil {
		t.Errorf("not even an allowed change was read: %v", err)
	}
}

// rewrite changes the table of contents, and makes its checksum again.
func rewrite(t testing.TB, b []byte, change [2]string) []byte {
	t.Helper()
	packed, unpacked := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	text, err := inflate(b[headerSize:][:packed], int64(unpacked))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), change[0]) {
		t.Fatalf("no %q in %s", change[0], text)
	}
	changed := strings.ReplaceAll(string(text), change[0], change[1])
	table := deflate(t, changed)
	out := slices.Clone(b[:headerSize])
	binary.BigEndian.PutUint64(out[8:], uint64(len(table)))
	binary.BigEndian.PutUint64(out[16:], uint64(len(changed)))
	heap := slices.Clone(b[headerSize+packed:])
	sum := sha1.Sum(table)
	copy(heap, sum[:])
	return append(append(out, table...), heap...)
}

// TestCompressed: Apple's tools compress small files, which is zlib whatever they call it.
func TestCompressed(t *testing.T) {
	content := strings.Repeat("text ", 100)
	packed := deflate(t, content)
	b, err := Write([]File{{Name: "PackageInfo", Data: packed}}, at)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum([]byte(content))
	packedSum := sha1.Sum(packed)
	b = rewrite(t, b, [2]string{plain, zipped})
	b = rewrite(t, b, [2]string{"<size>" + itoa(len(packed)), "<size>" + itoa(len(content))})
	if _, err := Read(b); err == nil {
		t.Error("the checksum of the whole was not looked at")
	}
	b = rewrite(t, b, [2]string{`<extracted-checksum style="sha1">` + hexOf(packedSum), `<extracted-checksum style="sha1">` + hexOf(sum)})
	files, err := Read(b)
	if err != nil || string(files[0].Data) != content {
		t.Errorf("%v, %v", files, err)
	}
	for _, size := range []string{"499", "501", "-1", "99999999999"} {
		if _, err := Read(rewrite(t, b, [2]string{"<size>500", "<size>" + size})); err == nil {
			t.Errorf("500 bytes were taken for %s", size)
		}
	}
}

// TestSigned: productsign puts a signature into the table, and before the files in the heap; both are passed over.
func TestSigned(t *testing.T) {
	b, err := Write(sample[:1], at)
	if err != nil {
		t.Fatal(err)
	}
	const signature = `<signature style="RSA"><offset>20</offset><size>4</size><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>AAAA</X509Certificate></X509Data></KeyInfo></signature>`
	b = rewrite(t, b, [2]string{"<offset>20", "<offset>24"}) // of the file
	b = rewrite(t, b, [2]string{"</creation-time>", "</creation-time>" + signature})
	heap := headerSize + int(binary.BigEndian.Uint64(b[8:])) + sha1.Size
	files, err := Read(slices.Insert(b, heap, []byte("sign")...))
	if err != nil || len(files) != 1 || !bytes.Equal(files[0].Data, sample[0].Data) {
		t.Errorf("%v, %v", files, err)
	}
}

func FuzzRead(f *testing.F) {
	b, err := Write(sample, at)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(rewrite(f, b, [2]string{plain, zipped}))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := Read(b)
		if err != nil {
			return
		}
		for _, file := range files {
			if !valid(file.Name) {
				t.Errorf("%q is a name", file.Name)
			}
		}
	})
}

func deflate(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func itoa(n int) string                { return strconv.Itoa(n) }
func hexOf(sum [sha1.Size]byte) string { return hex.EncodeToString(sum[:]) }
