package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tarball makes adit-VERSION-linux-ARCH.tar.gz for systems without deb and rpm: the programs without the desktop app, their pages and
// completions as they lie below a prefix, and install.sh.
func (j *job) tarball(arch string) error {
	dir := fmt.Sprintf("adit-%s-linux-%s", j.version, arch)
	files := []file{
		{"install.sh", source + "/install.sh", 0o755, ""},
		{"LICENSE", "LICENSE", 0o644, ""},
		{"NOTICE", "NOTICE", 0o644, ""},
		{"CHANGELOG.md", "CHANGELOG.md", 0o644, ""},
		{"INSTALL.md", "docs/install/linux.md", 0o644, ""},
		{"share/man/man8/aditd.8", source + "/man/aditd.8", 0o644, ""},
		{"share/doc/adit/policy.json", source + "/policy.json", 0o644, ""},
		{"share/doc/adit/endpoint.yaml", source + "/endpoint.yaml", 0o644, ""},
		{"share/doc/adit/adit-endpoint.service", source + "/adit-endpoint.service", 0o644, ""},
	}
	for _, program := range []string{"adit", "adit-userspace", "adit-pkcs11", "aditd", "adit-endpoint", "aws-vpn-client"} {
		at, err := j.program(arch, program)
		if err != nil {
			return err
		}
		files = append(files, file{"lib/adit/" + program, at, 0o755, ""})
	}
	for _, program := range []string{"adit", "adit-endpoint"} {
		var p pack
		j.fromPages(&p, program, "tar")
		for _, f := range p.files {
			files = append(files, file{strings.TrimSuffix(strings.TrimPrefix(f.dst, "/usr/"), ".gz"), f.src, 0o644, ""})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.dst, b.dst) })
	return j.write(filepath.Join(j.out, dir+".tar.gz"), dir, files)
}

// write makes an archive whose bytes depend on the files and the date alone.
func (j *job) write(target, dir string, files []file) (err error) {
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	squeeze, _ := gzip.NewWriterLevel(out, j.level) // the level is good
	archive := tar.NewWriter(squeeze)
	made := map[string]bool{}
	// folder writes the folders on the way to a file, once each.
	var folder func(string) error
	folder = func(name string) error {
		if name == "." || made[name] {
			return nil
		}
		made[name] = true
		if err := folder(path.Dir(name)); err != nil {
			return err
		}
		return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: j.date, Uname: "root", Gname: "root", Format: tar.FormatUSTAR})
	}
	for _, f := range files {
		if err := folder(path.Join(dir, path.Dir(f.dst))); err != nil {
			return err
		}
		if err := copyInto(archive, path.Join(dir, f.dst), f.src, f.mode, j); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), squeeze.Close())
}

func copyInto(archive *tar.Writer, name, src string, mode fs.FileMode, j *job) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	about, err := in.Stat()
	if err != nil {
		return err
	}
	err = archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode), Size: about.Size(), ModTime: j.date, Uname: "root", Gname: "root", Format: tar.FormatUSTAR})
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, in)
	return err
}
