package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/installer/toolstest"
)

// at is the time of all files of these tests.
var at = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// sample is one of each kind; "a.b" sorts before "a/…" as bytes, and after it as a path.
var sample = []Entry{
	{Path: ".", Mode: fs.ModeDir | 0o755},
	{Path: "a", Mode: fs.ModeDir | 0o775, GID: 80},
	{Path: "a/file", Mode: 0o644, UID: 501, Data: []byte("123456789")},
	{Path: "a/link", Mode: fs.ModeSymlink | 0o755, Target: "file"},
	{Path: "a.b", Mode: 0o755, Data: []byte{}},
}

// many are more files than one node of a tree holds.
func many() []Entry {
	entries := []Entry{{Path: ".", Mode: fs.ModeDir | 0o755}, {Path: "d", Mode: fs.ModeDir | 0o755}}
	for i := range 2*perLeaf + 3 {
		entries = append(entries, Entry{Path: fmt.Sprintf("d/%04d", i), Mode: 0o644, Data: fmt.Append(nil, i)})
	}
	return entries
}

func TestArchiveRoundTrip(t *testing.T) {
	b, err := Archive(sample, at)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadArchive(b)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(sample)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for n := range b {
		if _, err := ReadArchive(b[:n]); err == nil {
			t.Errorf("read when cut off after %d bytes", n)
		}
	}
	for name, bad := range map[string]string{
		"a device":         strings.Replace(string(b), "100644", "060644", 1),
		"setuid":           strings.Replace(string(b), "100644", "104644", 1),
		"above the root":   strings.Replace(string(b), "./a/file", "../afile", 1),
		"digits":           strings.Replace(string(b), "100644", "10064x", 1),
		"a long name":      strings.Replace(string(b), "00001100000000011", "77777700000000011", 1),
		"a large file":     strings.Replace(string(b), "00000000011./a/file", "77777777777./a/file", 1),
		"another's format": strings.Replace(string(b), "070707", "070701", 1),
	} {
		if bad == string(b) {
			t.Errorf("%s: nothing was changed", name)
		} else if _, err := ReadArchive([]byte(bad)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// TestCpioReads: GNU cpio lists what is meant.
func TestCpioReads(t *testing.T) {
	toolstest.Needs(t, "cpio")
	b, err := Archive(sample, at)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cpio", "-itv", "--numeric-uid-gid", "--quiet")
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line) // mode, links, owner, group, size, month, day, time or year, name
		got = append(got, strings.Join(slices.Concat(f[0:1], f[2:5], f[8:]), " "))
	}
	want := []string{
		"drwxr-xr-x 0 0 0 .", "drwxrwxr-x 0 80 0 a", "-rw-r--r-- 501 0 9 a/file", "lrwxr-xr-x 0 0 4 a/link -> file", "-rwxr-xr-x 0 0 0 a.b",
	}
	for i := range got { // newer ones print the ./ that is in it
		got[i] = strings.Replace(got[i], " ./", " ", 1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRefuses(t *testing.T) {
	root := Entry{Path: ".", Mode: fs.ModeDir | 0o755}
	for name, entries := range map[string][]Entry{
		"nothing":          nil,
		"no root":          {{Path: "a", Mode: 0o644}},
		"above the root":   {root, {Path: "../a", Mode: 0o644}},
		"a slash in front": {root, {Path: "/a", Mode: 0o644}},
		"a NUL":            {root, {Path: "a\x00b", Mode: 0o644}},
		"no directory":     {root, {Path: "a/b", Mode: 0o644}},
		"in a file":        {root, {Path: "a", Mode: 0o644}, {Path: "a/b", Mode: 0o644}},
		"twice":            {root, {Path: "a", Mode: 0o644}, {Path: "a", Mode: 0o644}},
		"out of order":     {root, {Path: "b", Mode: 0o644}, {Path: "a", Mode: 0o644}},
		"a pipe":           {root, {Path: "a", Mode: fs.ModeNamedPipe | 0o644}},
		"a link to ''":     {root, {Path: "a", Mode: fs.ModeSymlink | 0o755}},
		"a large owner":    {root, {Path: "a", Mode: 0o644, UID: 1 << 20}},
		"too many":         make([]Entry, maxEntries+1),
	} {
		if _, err := Archive(entries, at); err == nil {
			t.Errorf("archive: %s was written", name)
		}
		if _, err := Bill(entries, at); err == nil {
			t.Errorf("bill: %s was written", name)
		}
	}
	if _, err := Bill([]Entry{root}, time.Unix(-1, 0)); err == nil {
		t.Error("a time before 1970 was written")
	}
}

func TestBillRoundTrip(t *testing.T) {
	for name, entries := range map[string][]Entry{"sample": sample, "many": many()} {
		b, err := Bill(entries, at)
		if err != nil {
			t.Fatal(err)
		}
		items, err := ReadBill(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		byPath := map[string]Item{}
		for _, i := range items {
			byPath[i.Path] = i
		}
		if len(items) != len(entries) || len(byPath) != len(entries) {
			t.Errorf("%s: %d items of %d entries", name, len(items), len(entries))
		}
		for _, e := range entries {
			if i := byPath[e.Path]; !i.Describes(e) || i.Mtime != uint32(at.Unix()) {
				t.Errorf("%s: %+v for %+v", name, i, e)
			}
		}
	}
	got := Item{Path: "a/file", Mode: 0o100644, UID: 501, Mtime: uint32(at.Unix()), Size: 9, Checksum: 930766865}
	b, _ := Bill(sample, at)
	if items, err := ReadBill(b); err != nil || !slices.Contains(items, got) {
		t.Errorf("%+v, %v: %+v is missing", items, err, got)
	}
}

// TestBillAsApples: the parts are where those are that Apple's tools have written: a bill of six files of a package of Python's
// for macOS was taken apart by hand, whose numbers these are.
func TestBillAsApples(t *testing.T) {
	b, err := Bill(sample, at)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	table := b[be.Uint32(b[16:]):]
	block := func(n int) []byte { return b[be.Uint32(table[4+8*n:]):][:be.Uint32(table[8+8*n:])] }
	for n, want := range map[int]string{
		// sums: version 1, one more than there are files, of one kind of processor (none) 13 bytes
		1:  "000000010000000600000001" + "00000000000000000000000d00000000",
		2:  "7472656500000001000000030000100000000005" + "00", // Paths
		4:  "7472656500000001000000050000100000000000" + "00", // HLIndex
		6:  "000000010000000700000000" + "00",                 // VIndex
		7:  "7472656500000001000000080000008000000000" + "00",
		9:  "74726565000000010000000a0000100000000000" + "00", // Size64
		11: "0201000f41ed" + "0000000000000000" + fmt.Sprintf("%08x", at.Unix()) + "00000000" + "01" + "0000000000000000",
		12: "000000010000000b", 13: "000000002e00",
	} {
		if got := fmt.Sprintf("%x", block(n)); got != want {
			t.Errorf("block %d is %s, want %s", n, got, want)
		}
	}
	if got := be.Uint32(b[12:]); int(got) != int(be.Uint32(table))-1 {
		t.Errorf("%d blocks in the header, %d in the table", got, be.Uint32(table))
	}
	if end := be.Uint32(b[16:]) + be.Uint32(b[20:]); int(end) != len(b) {
		t.Errorf("the table ends at %d of %d", end, len(b))
	}
}

// TestReadBillRefuses: no change of a byte, and no end too early, makes it stumble.
func TestReadBillRefuses(t *testing.T) {
	b, err := Bill(sample, at)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(b); n += 7 {
		if _, err := ReadBill(b[:n]); err == nil {
			t.Errorf("read when cut off after %d bytes", n)
		}
	}
	for i := range b {
		for _, bit := range []byte{0x01, 0xff} {
			bad := slices.Clone(b)
			bad[i] ^= bit
			_, _ = ReadBill(bad) // it may be valid; it must end
		}
	}
	if _, err := ReadBill([]byte("BOMStore")); err == nil {
		t.Error("a header alone was read")
	}
}

// TestChecksum: the vectors of cksum.
func TestChecksum(t *testing.T) {
	toolstest.Needs(t, "cksum")
	for text, want := range map[string]uint32{"": 4294967295, "123456789": 930766865, strings.Repeat("a", 1000): 0} {
		if text != "" && want == 0 {
			out, err := cksum(t, text)
			if err != nil {
				t.Fatal(err)
			}
			want = out
		}
		if got := Checksum([]byte(text)); got != want {
			t.Errorf("%d for %d bytes, want %d", got, len(text), want)
		}
	}
}

func cksum(t *testing.T, text string) (n uint32, err error) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("cksum", file).Output()
	if err == nil {
		_, err = fmt.Sscan(string(out), &n)
	}
	return n, err
}

func FuzzReadBill(f *testing.F) {
	for _, entries := range [][]Entry{sample, many()} {
		b, err := Bill(entries, at)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := ReadBill(b)
		if err == nil && len(items) > maxEntries {
			t.Errorf("%d items", len(items))
		}
	})
}

func FuzzReadArchive(f *testing.F) {
	b, err := Archive(sample, at)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := ReadArchive(b)
		if err != nil {
			return
		}
		for _, e := range entries {
			if !fs.ValidPath(e.Path) {
				t.Errorf("%q is a path", e.Path)
			}
		}
	})
}
