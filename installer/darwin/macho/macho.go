// Package macho joins programs of macOS for several processors into one, as Apple's lipo does, and says what a program
// needs. The formats are those of <mach-o/fat.h> and <mach-o/loader.h>. It starts no goroutine and touches no file.
package macho

import (
	"bytes"
	"cmp"
	"debug/macho"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Slice is a program for one processor.
type Slice struct {
	CPU    string // as the Installer names it: x86_64 or arm64
	MinOS  Release
	Signed bool // with anything, be it the linker's own
	data   []byte
	header macho.FileHeader
}

// Release is a version of macOS.
type Release struct{ Major, Minor int }

func (r Release) String() string { return fmt.Sprintf("%d.%d", r.Major, r.Minor) }

// Compare orders releases.
func (r Release) Compare(o Release) int {
	return cmp.Or(cmp.Compare(r.Major, o.Major), cmp.Compare(r.Minor, o.Minor))
}

// Load commands that debug/macho does not know.
const (
	versionMin    = 0x24 // LC_VERSION_MIN_MACOSX
	buildVersion  = 0x32 // LC_BUILD_VERSION
	codeSignature = 0x1d // LC_CODE_SIGNATURE

	// pages are where each slice begins: those of arm64 are 16 KiB.
	pages = 14
)

// Slices takes a program apart.
func Slices(b []byte) ([]Slice, error) {
	if len(b) >= 4 && binary.BigEndian.Uint32(b) == macho.MagicFat {
		fat, err := macho.NewFatFile(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		var all []Slice
		for _, arch := range fat.Arches {
			if int64(arch.Offset)+int64(arch.Size) > int64(len(b)) {
				return nil, errors.New("cut off")
			}
			s, err := slice(b[arch.Offset:][:arch.Size])
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
		return all, nil
	}
	s, err := slice(b)
	return []Slice{s}, err
}

func slice(b []byte) (Slice, error) {
	f, err := macho.NewFile(bytes.NewReader(b))
	if err != nil {
		return Slice{}, fmt.Errorf("no program of macOS: %w", err)
	}
	s := Slice{data: b, header: f.FileHeader}
	s.CPU = map[macho.Cpu]string{macho.CpuAmd64: "x86_64", macho.CpuArm64: "arm64"}[f.Cpu]
	if s.CPU == "" || f.Type != macho.TypeExec {
		return Slice{}, fmt.Errorf("a %v for %v", f.Type, f.Cpu)
	}
	for _, load := range f.Loads {
		raw := load.Raw()
		if len(raw) < 16 {
			continue
		}
		var version uint32
		switch f.ByteOrder.Uint32(raw) {
		case codeSignature:
			s.Signed = true
		case versionMin:
			version = f.ByteOrder.Uint32(raw[8:])
		case buildVersion:
			version = f.ByteOrder.Uint32(raw[12:]) // after the platform
		}
		if version != 0 { // 16 bits, 8 and 8
			s.MinOS = Release{int(version >> 16), int(version >> 8 & 0xff)}
		}
	}
	return s, nil
}

// Universal joins programs for different processors. Signatures stay valid, as each slice stays what it is.
func Universal(programs ...[]byte) ([]byte, error) {
	var all []Slice
	for _, p := range programs {
		s, err := Slices(p)
		if err != nil {
			return nil, err
		}
		all = append(all, s...)
	}
	slices.SortFunc(all, func(a, b Slice) int { return cmp.Compare(a.header.Cpu, b.header.Cpu) })
	const page = 1 << pages
	be := binary.BigEndian
	out := be.AppendUint32(be.AppendUint32(nil, macho.MagicFat), uint32(len(all)))
	offset := uint64(page)
	for i, s := range all {
		if i > 0 && s.CPU == all[i-1].CPU {
			return nil, fmt.Errorf("two programs for %s", s.CPU)
		}
		if offset+uint64(len(s.data)) > 1<<32-1 {
			return nil, errors.New("too large together")
		}
		for _, n := range []uint32{uint32(s.header.Cpu), s.header.SubCpu, uint32(offset), uint32(len(s.data)), pages} {
			out = be.AppendUint32(out, n)
		}
		offset += (uint64(len(s.data)) + page - 1) / page * page
	}
	for _, s := range all {
		out = append(out, make([]byte, (page-len(out)%page)%page)...)
		out = append(out, s.data...)
	}
	return out, nil
}
