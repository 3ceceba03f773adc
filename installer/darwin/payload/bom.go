package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// The bill of materials is a file of numbered blocks, some of which have names. Apple documents none of it. What is known
// is in the notes of those who have read such files (github.com/igankevich/stuckliste, docs/; github.com/indygreg/apple-platform-rs,
// apple-bom), and in the files themselves. All numbers are big-endian:
//
//	header   "BOMStore", version 1, number of blocks, place of the table of blocks, place of the list of names
//	table    how many, and the place (offset, size) of each block; block 0 is nothing. Then the same of free places
//	names    how many; of each: block, length, text
//
// Named are BomInfo (sums), Paths (the files), and HLIndex, VIndex, Size64 (hard links, patterns, files above 4 GiB), which are
// empty here. Paths and the last three are trees: a block that names the tree's first node; a node is a leaf, and knows the next,
// or refers to nodes below. A file is three blocks: what it is; its number with that block; its name with its directory's number.
const (
	magicBOM  = "BOMStore"
	headerBOM = 512 // bytes, most of them empty
	nodeSize  = 4096
	perLeaf   = 256 // files; there is room for 510, and Apple's tools leave some

	pointerSize = 8 // offset and size
)

// Kinds of files, in the first byte of what a file is.
const (
	kindFile = 1
	kindDir  = 2
	kindLink = 3
)

// whole says that a bill has more of each file than its path.
const whole = 0x000f

// Item is a file in a bill.
type Item struct {
	Path     string // as in Entry
	Mode     uint32 // st_mode
	UID, GID uint32
	Mtime    uint32 // seconds since 1970
	Size     uint32 // bytes; 0 of a directory, whose size is its file system's
	Checksum uint32 // as Checksum makes it; 0 of a directory
	Target   string // of a link
}

// Bill writes the bill of materials of entries, which are as Archive wants them.
func Bill(entries []Entry, at time.Time) ([]byte, error) {
	if err := check(entries, at); err != nil {
		return nil, err
	}
	blocks := [][]byte{nil}
	add := func(b []byte) uint32 {
		blocks = append(blocks, b)
		return uint32(len(blocks) - 1)
	}
	be := binary.BigEndian
	u32 := func(numbers ...uint32) (b []byte) {
		for _, n := range numbers {
			b = be.AppendUint32(b, n)
		}
		return b
	}
	tree := func(first uint32, size, count int) uint32 {
		return add(append(append([]byte("tree"), u32(1, first, uint32(size), uint32(count))...), 0))
	}
	// The first ones are in the order of Apple's: nothing in them says that it must be so.
	info := add(nil)
	leaves := (len(entries) + perLeaf - 1) / perLeaf
	root := uint32(len(blocks)) + 1 // the block after the tree's
	paths := tree(root, nodeSize, len(entries))
	for range leaves {
		add(nil)
	}
	if leaves > 1 {
		root = add(nil)
		be.PutUint32(blocks[paths][8:], root)
	}
	empty := func(size int) uint32 {
		leaf := make([]byte, size)
		leaf[1] = 1
		t := tree(uint32(len(blocks))+1, size, 0)
		add(leaf)
		return t
	}
	links := empty(nodeSize)
	patterns := add(append(u32(1, uint32(len(blocks))+1, 0), 0))
	empty(128)
	large := empty(nodeSize)

	// Leaves are sorted by directory, then by name.
	type row struct {
		parent      uint32
		name        string
		number, key uint32 // blocks: what with its number, and the name
	}
	numbers := map[string]uint32{}
	rows := make([]row, 0, len(entries))
	var sum uint32 // it overflows, as Apple's does
	for i, e := range entries {
		number := uint32(i + 1)
		numbers[e.Path] = number
		r := row{name: e.Path}
		if i > 0 {
			r.parent, r.name = numbers[path.Dir(e.Path)], path.Base(e.Path)
		}
		sum += uint32(len(e.content()))
		what := add(describe(e, at))
		r.number = add(u32(number, what))
		r.key = add(append(append(u32(r.parent), r.name...), 0))
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		if a.parent != b.parent {
			return int(a.parent) - int(b.parent)
		}
		return bytes.Compare([]byte(a.name), []byte(b.name))
	})
	var top []byte // pairs of a leaf and its last key
	for i, part := range slices.Collect(slices.Chunk(rows, perLeaf)) {
		var before, after uint32
		own := paths + 1 + uint32(i)
		if i > 0 {
			before = own - 1
		}
		if i < leaves-1 {
			after = own + 1
		}
		var pairs []byte
		for _, r := range part {
			pairs = append(pairs, u32(r.number, r.key)...)
		}
		blocks[own] = node(1, after, before, pairs)
		top = append(top, u32(own, part[len(part)-1].key)...)
	}
	if leaves > 1 {
		blocks[root] = node(0, 0, 0, top)
	}
	// One more than there are files is what Apple's say.
	blocks[info] = u32(1, uint32(len(entries)+1), 1, 0, 0, sum, 0)

	out := make([]byte, headerBOM)
	table := u32(uint32(len(blocks)), 0, 0)
	for _, b := range blocks[1:] {
		table = append(table, u32(uint32(len(out)), uint32(len(b)))...)
		out = append(out, b...)
	}
	table = append(table, make([]byte, 4+2*pointerSize)...) // no free places, and two that nobody counts, as in Apple's
	names := u32(5)
	for _, n := range []struct {
		name  string
		block uint32
	}{{"BomInfo", info}, {"Paths", paths}, {"HLIndex", links}, {"VIndex", patterns}, {"Size64", large}} {
		names = append(append(append(names, u32(n.block)...), byte(len(n.name))), n.name...)
	}
	copy(out, append([]byte(magicBOM), u32(
		1, uint32(len(blocks)-1), uint32(len(out)+len(names)), uint32(len(table)), uint32(len(out)), uint32(len(names)))...))
	return append(append(out, names...), table...), nil
}

// node is a block of a tree.
func node(leaf uint16, next, before uint32, pairs []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, leaf)
	b = binary.BigEndian.AppendUint16(b, uint16(len(pairs)/8))
	b = binary.BigEndian.AppendUint32(b, next)
	b = binary.BigEndian.AppendUint32(b, before)
	b = append(b, pairs...)
	return append(b, make([]byte, nodeSize-len(b))...)
}

// describe is the block of what a file is. Programs are files like others in it: what Apple's tools add of each
// processor's part is only in theirs.
func describe(e Entry, at time.Time) []byte {
	be := binary.BigEndian
	kind, content := byte(kindFile), e.content()
	switch e.mode() & typeMask {
	case typeDir:
		kind = kindDir
	case typeLink:
		kind = kindLink
	}
	b := be.AppendUint16([]byte{kind, 1}, whole)
	b = be.AppendUint16(b, uint16(e.mode()))
	b = be.AppendUint32(b, uint32(e.UID))
	b = be.AppendUint32(b, uint32(e.GID))
	b = be.AppendUint32(b, uint32(at.Unix()))
	b = append(be.AppendUint32(b, uint32(len(content))), 1)
	if kind != kindDir {
		b = be.AppendUint32(b, Checksum(content))
	}
	if kind == kindLink {
		b = be.AppendUint32(b, uint32(len(content)+1))
		b = append(append(b, content...), 0)
	}
	return append(b, make([]byte, 8)...)
}

// bill reads a file of blocks.
type bill struct {
	b     []byte
	table []byte // pairs of offset and size
}

func (b bill) block(n uint32) ([]byte, error) {
	if n == 0 || int64(n)*pointerSize+pointerSize > int64(len(b.table)) {
		return nil, fmt.Errorf("there is no block %d", n)
	}
	return cut(b.b, binary.BigEndian.Uint32(b.table[n*pointerSize:]), binary.BigEndian.Uint32(b.table[n*pointerSize+4:]))
}

func cut(b []byte, offset, size uint32) ([]byte, error) {
	if int64(offset)+int64(size) > int64(len(b)) {
		return nil, errors.New("a block is beyond the end")
	}
	return b[offset : offset+size], nil
}

// numbers are the first big-endian numbers of a block.
func numbers(b []byte, count int) ([]uint32, error) {
	if len(b) < 4*count {
		return nil, errors.New("a block is too short")
	}
	out := make([]uint32, count)
	for i := range out {
		out[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return out, nil
}

// ReadBill reads the files of a bill of materials, Apple's too, sorted by path.
func ReadBill(b []byte) ([]Item, error) {
	if len(b) < headerBOM || string(b[:8]) != magicBOM {
		return nil, errors.New("no bill of materials")
	}
	h, _ := numbers(b[8:], 6) // it is long enough
	if h[0] != 1 {
		return nil, fmt.Errorf("version %d of bills of materials is unknown", h[0])
	}
	table, err := cut(b, h[2], h[3])
	if err != nil || len(table) < 4 {
		return nil, errors.New("the table of blocks is beyond the end")
	}
	count := binary.BigEndian.Uint32(table)
	if int64(count)*pointerSize > int64(len(table)-4) {
		return nil, errors.New("the table of blocks is cut off")
	}
	f := bill{b, table[4 : 4+count*pointerSize]}
	names, err := cut(b, h[4], h[5])
	if err != nil {
		return nil, err
	}
	paths, err := named(names, "Paths")
	if err != nil {
		return nil, err
	}
	return f.files(paths)
}

// named finds the block of a name.
func named(list []byte, name string) (uint32, error) {
	if len(list) < 4 {
		return 0, errors.New("no list of names")
	}
	for list = list[4:]; len(list) >= 5; {
		block, length := binary.BigEndian.Uint32(list), int(list[4])
		if list = list[5:]; length > len(list) {
			break
		}
		if string(list[:length]) == name {
			return block, nil
		}
		list = list[length:]
	}
	return 0, fmt.Errorf("nothing in it is called %s", name)
}

// files walks the tree of paths: down on the left, then from leaf to leaf.
func (b bill) files(tree uint32) ([]Item, error) {
	head, err := b.block(tree)
	if err != nil {
		return nil, err
	}
	if len(head) < 12 || string(head[:4]) != "tree" {
		return nil, errors.New("the paths are in no tree")
	}
	type found struct {
		parent uint32
		name   string
		item   Item
	}
	all := map[uint32]found{}
	seen := map[uint32]bool{}
	for at := binary.BigEndian.Uint32(head[8:]); at != 0; {
		if seen[at] {
			return nil, errors.New("the tree has a circle")
		}
		seen[at] = true
		n, err := b.block(at)
		if err != nil {
			return nil, err
		}
		fields, err := numbers(n, 3) // leaf and count, next, before
		if err != nil {
			return nil, err
		}
		leaf, count := fields[0]>>16 != 0, int(fields[0]&0xffff)
		pairs, err := numbers(n[12:], 2*count)
		if err != nil {
			return nil, err
		}
		if !leaf {
			if count == 0 {
				return nil, errors.New("a node of the tree is empty")
			}
			at = pairs[0]
			continue
		}
		for i := range count {
			number, item, err := b.item(pairs[2*i])
			if err != nil {
				return nil, err
			}
			key, err := b.block(pairs[2*i+1])
			if err != nil {
				return nil, err
			}
			if len(key) < 6 || key[len(key)-1] != 0 || all[number].name != "" || len(all) == maxEntries {
				return nil, errors.New("a file without a name, or one too many")
			}
			all[number] = found{binary.BigEndian.Uint32(key), string(key[4 : len(key)-1]), item}
		}
		at = fields[1]
	}
	items := make([]Item, 0, len(all))
	for _, f := range all {
		name, depth := f.name, 0
		for up := f.parent; up != 0; depth++ {
			parent, ok := all[up]
			if !ok || depth > 100 {
				return nil, fmt.Errorf("%q is in no directory", f.name)
			}
			name, up = path.Join(parent.name, name), parent.parent
		}
		f.item.Path = name
		items = append(items, f.item)
	}
	slices.SortFunc(items, func(a, b Item) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
	return items, nil
}

// item reads a file's number, and what it is.
func (b bill) item(block uint32) (uint32, Item, error) {
	fail := func(err error) (uint32, Item, error) { return 0, Item{}, err }
	pair, err := b.block(block)
	if err != nil {
		return fail(err)
	}
	p, err := numbers(pair, 2)
	if err != nil {
		return fail(err)
	}
	d, err := b.block(p[1])
	if err != nil {
		return fail(err)
	}
	const fixed = 23 // bytes before what is special of a kind
	if p[0] == 0 || len(d) < fixed+8 {
		return fail(errors.New("a file of which nothing is said"))
	}
	be := binary.BigEndian
	i := Item{
		Mode: uint32(be.Uint16(d[4:])), UID: be.Uint32(d[6:]), GID: be.Uint32(d[10:]),
		Mtime: be.Uint32(d[14:]), Size: be.Uint32(d[18:]),
	}
	rest := d[fixed:]
	switch d[0] {
	case kindDir:
		i.Size = 0
	case kindFile, kindLink:
		i.Checksum = be.Uint32(rest)
	default:
		return fail(fmt.Errorf("a file of kind %d", d[0]))
	}
	if d[0] == kindLink {
		length := int64(be.Uint32(rest[4:]))
		if rest = rest[8:]; length < 1 || length > int64(len(rest)) || rest[length-1] != 0 {
			return fail(errors.New("a link to nowhere"))
		}
		i.Target = string(rest[:length-1])
	}
	return p[0], i, nil
}

// Checksum is that of POSIX's cksum: a CRC of the content and its length.
func Checksum(b []byte) uint32 {
	var table [256]uint32
	for i := range table {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
		table[i] = c
	}
	var crc uint32
	for _, c := range b {
		crc = crc<<8 ^ table[byte(crc>>24)^c]
	}
	for n := len(b); n > 0; n >>= 8 {
		crc = crc<<8 ^ table[byte(crc>>24)^byte(n)]
	}
	return ^crc
}

// Describes says whether an item is that of an entry.
func (i Item) Describes(e Entry) bool {
	want := Item{Path: e.Path, Mode: e.mode(), UID: uint32(e.UID), GID: uint32(e.GID), Mtime: i.Mtime, Target: e.Target}
	if !e.Mode.IsDir() {
		want.Size, want.Checksum = uint32(len(e.content())), Checksum(e.content())
	}
	return i == want
}
