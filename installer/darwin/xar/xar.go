// Package xar writes and reads xar archives, the container of macOS packages: a header, a compressed XML table of contents,
// and a heap with the files. The format is that of Apple's xar (github.com/apple-oss-distributions/xar, xar.h) and of the
// xar project's wiki ("xarformat"). Files are stored as they are, and read so or compressed by zlib; links, devices, extended
// attributes and signatures are neither written nor looked at. It starts no goroutine and touches no file.
package xar

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" // what Apple's own tools put there; it finds accidents, a package's signature finds malice
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
	"time"
)

// File is one file, or an empty directory.
type File struct {
	Name string // a path without a slash in front; directories above it need no entry
	Dir  bool
	Data []byte
}

const (
	magic      = "xar!"
	headerSize = 28 // bytes
	// Of algorithms of checksums, in the header (XAR_CKSUM_SHA1, XAR_CKSUM_SHA256).
	algSHA1, algSHA256 = 1, 3

	// Bounds of what Read takes.
	maxTOC   = 16 << 20 // bytes, compressed and not
	maxFile  = 1 << 30  // bytes of a compressed file
	maxFiles = 10000
	maxDepth = 32
)

// The elements of the table of contents.
type (
	document struct {
		XMLName xml.Name `xml:"xar"`
		TOC     contents `xml:"toc"`
	}
	contents struct {
		Checksum digestAt `xml:"checksum"`
		Created  string   `xml:"creation-time"`
		Files    []*entry `xml:"file"`
	}
	digestAt struct {
		Style  string `xml:"style,attr"`
		Size   int64  `xml:"size"`
		Offset int64  `xml:"offset"`
	}
	entry struct {
		ID    int      `xml:"id,attr"`
		Name  name     `xml:"name"`
		Type  string   `xml:"type"`
		Mode  string   `xml:"mode"`
		UID   int      `xml:"uid"`
		User  string   `xml:"user"`
		GID   int      `xml:"gid"`
		Group string   `xml:"group"`
		Mtime string   `xml:"mtime"`
		Data  *data    `xml:"data"`
		Files []*entry `xml:"file"`
	}
	name struct {
		Encoding string `xml:"enctype,attr,omitempty"`
		Text     string `xml:",chardata"`
	}
	data struct {
		Archived  digest   `xml:"archived-checksum"`
		Extracted digest   `xml:"extracted-checksum"`
		Encoding  encoding `xml:"encoding"`
		Size      int64    `xml:"size"`
		Offset    int64    `xml:"offset"`
		Length    int64    `xml:"length"`
	}
	digest struct {
		Style string `xml:"style,attr"`
		Hex   string `xml:",chardata"`
	}
	encoding struct {
		Style string `xml:"style,attr"`
	}
)

const (
	plain  = "application/octet-stream"
	zipped = "application/x-gzip" // which is zlib's format, RFC 1950
)

// Write makes an archive of files that are all root's, in their order. at is the only time in it.
func Write(files []File, at time.Time) ([]byte, error) {
	when := at.UTC().Format("2006-01-02T15:04:05Z")
	doc := document{TOC: contents{Checksum: digestAt{Style: "sha1", Size: sha1.Size}, Created: strings.TrimSuffix(when, "Z")}}
	heap := make([]byte, sha1.Size) // the table's checksum comes first
	made := map[string]*entry{".": {}}
	id := 0
	add := func(p, kind, mode string) (*entry, error) {
		parent, ok := made[path.Dir(p)]
		if !ok || parent.Type == "file" || made[p] != nil {
			return nil, fmt.Errorf("%s: is there twice, or in a file", p)
		}
		id++
		e := &entry{ID: id, Name: name{Text: path.Base(p)}, Type: kind, Mode: mode, User: "root", Group: "wheel", Mtime: when}
		parent.Files = append(parent.Files, e)
		made[p] = e
		return e, nil
	}
	for _, f := range files {
		if !valid(f.Name) {
			return nil, fmt.Errorf("%q is no name for an archive", f.Name)
		}
		var above []string
		for dir := path.Dir(f.Name); made[dir] == nil; dir = path.Dir(dir) {
			above = append(above, dir)
		}
		for i := len(above) - 1; i >= 0; i-- {
			if _, err := add(above[i], "directory", "0755"); err != nil {
				return nil, err
			}
		}
		if f.Dir {
			if _, err := add(f.Name, "directory", "0755"); err != nil {
				return nil, err
			}
			continue
		}
		e, err := add(f.Name, "file", "0644")
		if err != nil {
			return nil, err
		}
		sum := sha1.Sum(f.Data)
		d := digest{"sha1", hex.EncodeToString(sum[:])}
		e.Data = &data{
			Archived: d, Extracted: d, Encoding: encoding{plain},
			Size: int64(len(f.Data)), Offset: int64(len(heap)), Length: int64(len(f.Data)),
		}
		heap = append(heap, f.Data...)
	}
	doc.TOC.Files = made["."].Files

	text, err := xml.MarshalIndent(doc, "", " ")
	if err != nil {
		return nil, err
	}
	text = append([]byte(xml.Header), append(text, '\n')...)
	var table bytes.Buffer
	z := zlib.NewWriter(&table)
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	sum := sha1.Sum(table.Bytes())
	copy(heap, sum[:])

	out := binary.BigEndian.AppendUint16([]byte(magic), headerSize)
	out = binary.BigEndian.AppendUint16(out, 1) // version
	out = binary.BigEndian.AppendUint64(out, uint64(table.Len()))
	out = binary.BigEndian.AppendUint64(out, uint64(len(text)))
	out = binary.BigEndian.AppendUint32(out, algSHA1)
	out = append(out, table.Bytes()...)
	return append(out, heap...), nil
}

// Read returns what is in an archive, directories before what is in them. Every checksum is checked. Data may be part of b.
func Read(b []byte) ([]File, error) {
	if len(b) < headerSize || string(b[:4]) != magic {
		return nil, errors.New("no xar archive")
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if v := binary.BigEndian.Uint16(b[6:]); v != 1 {
		return nil, fmt.Errorf("xar version %d is unknown", v)
	}
	packed, unpacked := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	if size < headerSize || size > len(b) || packed > maxTOC || unpacked > maxTOC || packed > uint64(len(b)-size) {
		return nil, errors.New("the table of contents is too large, or cut off")
	}
	table, heap := b[size:size+int(packed)], b[size+int(packed):]
	text, err := inflate(table, int64(unpacked))
	if err != nil {
		return nil, fmt.Errorf("table of contents: %w", err)
	}
	var doc document
	if err := xml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("table of contents: %w", err)
	}
	style := map[uint32]string{algSHA1: "sha1", algSHA256: "sha256"}[binary.BigEndian.Uint32(b[24:])]
	if style == "" || doc.TOC.Checksum.Style != style {
		return nil, fmt.Errorf("the table's checksum is of an unknown kind (%q)", doc.TOC.Checksum.Style)
	}
	sum, err := part(heap, doc.TOC.Checksum.Offset, doc.TOC.Checksum.Size)
	if err != nil {
		return nil, fmt.Errorf("the table's checksum: %w", err)
	}
	if err := check(table, digest{style, hex.EncodeToString(sum)}); err != nil {
		return nil, fmt.Errorf("table of contents: %w", err)
	}
	r := reader{heap: heap, seen: map[string]bool{}}
	if err := r.walk("", doc.TOC.Files, 0); err != nil {
		return nil, err
	}
	return r.files, nil
}

// reader collects files.
type reader struct {
	heap  []byte
	seen  map[string]bool
	files []File
}

func (r *reader) walk(dir string, entries []*entry, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("directories in %d directories", maxDepth)
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name.Text)
		if e.Name.Encoding != "" || strings.Contains(e.Name.Text, "/") || !valid(p) || p == dir || r.seen[p] {
			return fmt.Errorf("%q: no name, or a second time", p)
		}
		if len(r.files) == maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		r.seen[p] = true
		switch e.Type {
		case "directory":
			r.files = append(r.files, File{Name: p, Dir: true})
			if err := r.walk(p, e.Files, depth+1); err != nil {
				return err
			}
		case "file":
			content, err := r.content(e.Data)
			if err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			r.files = append(r.files, File{Name: p, Data: content})
		default:
			return fmt.Errorf("%s: a %q cannot be read", p, e.Type)
		}
	}
	return nil
}

func (r *reader) content(d *data) ([]byte, error) {
	if d == nil {
		return nil, nil // an empty file
	}
	stored, err := part(r.heap, d.Offset, d.Length)
	if err != nil {
		return nil, err
	}
	if err := check(stored, d.Archived); err != nil {
		return nil, err
	}
	switch d.Encoding.Style {
	case plain:
		if d.Size != d.Length {
			return nil, errors.New("two sizes")
		}
		return stored, nil
	case zipped:
		content, err := inflate(stored, d.Size)
		if err != nil {
			return nil, err
		}
		return content, check(content, d.Extracted)
	}
	return nil, fmt.Errorf("compression %q cannot be read", d.Encoding.Style)
}

// inflate undoes zlib, and wants exactly size bytes.
func inflate(b []byte, size int64) ([]byte, error) {
	if size < 0 || size > maxFile {
		return nil, errors.New("too large")
	}
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(out)) != size {
		return nil, errors.New("not of the size that it says")
	}
	return out, nil
}

func part(heap []byte, offset, length int64) ([]byte, error) {
	if offset < 0 || length < 0 || offset > int64(len(heap)) || length > int64(len(heap))-offset {
		return nil, errors.New("is beyond the end of the archive")
	}
	return heap[offset : offset+length], nil
}

func check(b []byte, want digest) error {
	var h hash.Hash
	switch want.Style {
	case "sha1":
		h = sha1.New()
	case "sha256":
		h = sha256.New()
	default:
		return fmt.Errorf("checksums of kind %q are unknown", want.Style)
	}
	h.Write(b)
	if hex.EncodeToString(h.Sum(nil)) != strings.TrimSpace(want.Hex) {
		return errors.New("the checksum is wrong")
	}
	return nil
}

// valid names are relative, clean, and nothing that XML changes.
func valid(p string) bool {
	return p != "" && p != "." && p == path.Clean(p) && p[0] != '/' && p != ".." && !strings.HasPrefix(p, "../") &&
		!strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0xFFFD || r == 0xFFFE || r == 0xFFFF })
}
