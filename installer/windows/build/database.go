package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// table is one table of a Windows Installer database ("Windows Installer Database Tables", learn.microsoft.com).
type table struct {
	name    string
	keys    int      // how many of the first columns are its key
	columns []string // name and type, as in an archive file: "File s72"
	rows    [][]any  // texts and numbers; nil is null
}

// archive writes the table as msibuild reads it ("Text Archive Files", learn.microsoft.com).
func (t table) archive() ([]byte, error) {
	var names, types []string
	for _, c := range t.columns {
		name, kind, _ := strings.Cut(c, " ")
		names, types = append(names, name), append(types, kind)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\r\n%s\r\n%s\t%s\r\n", strings.Join(names, "\t"), strings.Join(types, "\t"), t.name, strings.Join(names[:t.keys], "\t"))
	for _, row := range t.rows {
		if len(row) != len(names) {
			return nil, fmt.Errorf("table %s: row %v has %d columns, not %d", t.name, row, len(row), len(names))
		}
		for i, v := range row {
			if i > 0 {
				b.WriteByte('\t')
			}
			if v == nil {
				continue
			}
			text := fmt.Sprint(v)
			// The archive has a code page of its own, and no way to write line ends that all readers know.
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				return nil, fmt.Errorf("table %s: %q is not plain ASCII", t.name, text)
			}
			b.WriteString(text)
		}
		b.WriteString("\r\n")
	}
	return b.Bytes(), nil
}

// summary is what a database says about itself ("Summary Information Stream Property Set", learn.microsoft.com).
type summary struct {
	subject, author, template, code string
	at                              time.Time
}

// The words of a package: its files are compressed (bit 1) and have long names. Arm64 needs Windows Installer 5.0.
const (
	compressed = 2
	installer5 = 500
)

func (s summary) table() table {
	at := s.at.UTC().Format("2006/01/02 15:04:05")
	return table{"_SummaryInformation", 1, []string{"PropertyId i2", "Value l255"}, [][]any{
		{1, 1252}, {2, "Installation Database"}, {3, s.subject}, {4, s.author}, {5, "Installer"}, {7, s.template}, {9, s.code},
		{12, at}, {13, at}, {14, installer5}, {15, compressed}, {18, "msitools"}, {19, 2},
	}}
}

// cabinet packs files under other names, in their order. All get the same time.
func cabinet(ctx context.Context, dir, out string, files []file, at time.Time) error {
	args := []string{"--create", "--zip", "--nopath", out}
	for _, f := range files {
		staged := filepath.Join(dir, f.key())
		content, err := os.ReadFile(f.source)
		if err == nil {
			err = os.WriteFile(staged, content, 0o644)
		}
		if err == nil {
			err = os.Chtimes(staged, at, at)
		}
		if err != nil {
			return err
		}
		args = append(args, staged)
	}
	return run(ctx, "gcab", args...)
}

// writeDatabase makes a package out of tables and a cabinet, whose name in the package is stream.
func writeDatabase(ctx context.Context, dir, out string, tables []table, stream, cab string) error {
	whole, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	args := []string{whole}
	for _, t := range tables {
		text, err := t.archive()
		if err != nil {
			return err
		}
		name := t.name + ".idt"
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
		args = append(args, "-i", name)
	}
	if err := os.Remove(out); err != nil && !os.IsNotExist(err) {
		return err
	}
	return runIn(ctx, dir, "msibuild", append(args, "-a", stream, cab)...)
}

// run runs a tool of packaging, with the time in UTC, so that what it writes does not depend on where it runs.
func run(ctx context.Context, name string, args ...string) error {
	return runIn(ctx, "", name, args...)
}

// runIn is run in a directory: msibuild looks for a table's files where it was started.
func runIn(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// named is the GUID that a name has among ours, the same at each build (RFC 9562, version 5).
func named(parts ...string) string {
	h := sha1.New()
	h.Write([]byte(upgradeCode))
	for _, p := range parts {
		fmt.Fprintf(h, "/%s", p)
	}
	b := h.Sum(nil)[:16]
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("{%x-%x-%x-%x-%x}", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}
