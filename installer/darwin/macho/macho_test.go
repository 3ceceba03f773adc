package macho

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// thin is a program without anything to run: a header and its load commands.
func thin(cpu macho.Cpu, kind macho.Type, loads ...[]uint32) []byte {
	le := binary.LittleEndian
	var commands []byte
	for _, l := range loads {
		for _, n := range l {
			commands = le.AppendUint32(commands, n)
		}
	}
	var b []byte
	for _, n := range []uint32{macho.Magic64, uint32(cpu), 3, uint32(kind), uint32(len(loads)), uint32(len(commands)), 0, 0} {
		b = le.AppendUint32(b, n)
	}
	return append(b, commands...)
}

var (
	built  = []uint32{buildVersion, 24, 1, 12<<16 | 3<<8 | 1, 0, 0}
	least  = []uint32{versionMin, 16, 10<<16 | 15<<8, 0}
	signed = []uint32{codeSignature, 16, 0, 0}

	intel = thin(macho.CpuAmd64, macho.TypeExec, least)
	apple = thin(macho.CpuArm64, macho.TypeExec, built, signed)
)

func TestSlices(t *testing.T) {
	joined, err := Universal(apple, intel)
	if err != nil {
		t.Fatal(err)
	}
	want := []Slice{{CPU: "x86_64", MinOS: Release{10, 15}}, {CPU: "arm64", MinOS: Release{12, 3}, Signed: true}}
	got, err := Slices(joined)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d slices, %v", len(got), err)
	}
	for i, g := range got {
		if g.CPU != want[i].CPU || g.MinOS != want[i].MinOS || g.Signed != want[i].Signed {
			t.Errorf("got %+v, want %+v", g, want[i])
		}
	}
	if again, err := Universal(joined); err != nil || !bytes.Equal(again, joined) {
		t.Error("what is joined is not what it was after joining it again", err)
	}
	if got := want[1].MinOS.String(); got != "12.3" || want[0].MinOS.Compare(want[1].MinOS) >= 0 {
		t.Errorf("%s, %d", got, want[0].MinOS.Compare(want[1].MinOS))
	}
}

func TestRefuses(t *testing.T) {
	joined, err := Universal(apple, intel)
	if err != nil {
		t.Fatal(err)
	}
	for name, programs := range map[string][][]byte{
		"text":            {[]byte("#!/bin/sh\n")},
		"nothing":         {nil},
		"twice the same":  {apple, apple},
		"one is in there": {joined, apple},
		"a library":       {thin(macho.CpuArm64, macho.TypeDylib)},
		"32 bits":         {thin(macho.CpuArm, macho.TypeExec)},
		"cut off":         {joined[:len(joined)-1]},
	} {
		if _, err := Universal(programs...); err == nil {
			t.Errorf("%s was joined", name)
		}
	}
}

// TestReal: programs of the Go toolchain come out as they went in, and begin at a page.
func TestReal(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"adit\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var programs [][]byte
	for _, cpu := range []string{"amd64", "arm64"} {
		out := filepath.Join(dir, cpu)
		cmd := exec.Command("go", "build", "-o", out, source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=darwin", "GOARCH="+cpu)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, b)
	}
	joined, err := Universal(programs...)
	if err != nil {
		t.Fatal(err)
	}
	fat, err := macho.NewFatFile(bytes.NewReader(joined))
	if err != nil {
		t.Fatal(err)
	}
	for i, arch := range fat.Arches {
		if arch.Offset%(1<<14) != 0 || arch.Align != 14 || !bytes.Equal(joined[arch.Offset:][:arch.Size], programs[i]) {
			t.Errorf("%v at %d is not what it was", arch.Cpu, arch.Offset)
		}
	}
	all, err := Slices(joined)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all, func(s Slice) bool { return s.CPU == "arm64" && s.Signed && s.MinOS.Major >= 11 }) {
		t.Errorf("%+v", all)
	}
}

func FuzzSlices(f *testing.F) {
	joined, err := Universal(apple, intel)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(joined)
	f.Add(apple)
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = Slices(b) })
}
