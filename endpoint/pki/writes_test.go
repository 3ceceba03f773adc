package pki

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// frozen makes what change does to p's directory stop after moves of its files, as a kill does, and gives another PKI of the same directory.
func frozen(t *testing.T, p *PKI, moves int, change func(*PKI) error) *PKI {
	t.Helper()
	before := snapshot(t, p.dir)
	if err := change(p); err != nil {
		t.Fatal(err)
	}
	after := snapshot(t, p.dir)
	var changed []string
	for name, text := range after {
		if old, there := before[name]; !there || old != text {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		t.Fatal("nothing was changed")
	}
	sort.Slice(changed, func(i, j int) bool { // the certificate last, as writeAll's callers have it
		a, b := strings.HasSuffix(changed[i], ".crt"), strings.HasSuffix(changed[j], ".crt")
		return a != b && b || a == b && changed[i] < changed[j]
	})
	var list []string
	for i, name := range changed {
		list = append(list, strconv.Quote(name))
		if i < moves {
			continue
		}
		if err := write(p.path(writingDir, strconv.Itoa(i)), []byte(after[name])); err != nil {
			t.Fatal(err)
		}
		if old, there := before[name]; there {
			err := write(p.path(name), []byte(old))
			if err != nil {
				t.Fatal(err)
			}
		} else if err := os.Remove(p.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(p.path(writingDir, writingList), []byte("["+strings.Join(list, ",")+"]")); err != nil {
		t.Fatal(err)
	}
	again, err := OpenAt(p.dir, p.now)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// snapshot is every file below dir but the lock and a change's own, by its name with slashes.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".adit.lock" {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		if !strings.HasPrefix(rel, writingDir) {
			files[filepath.ToSlash(rel)] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestKilledChange ends the making of a CA, of a certificate and a renewal after each move: the next call finishes it.
func TestKilledChange(t *testing.T) {
	for moves := range 8 {
		t.Run(strconv.Itoa(moves), func(t *testing.T) {
			p, err := Open(filepath.Join(t.TempDir(), "pki"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(p.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			p = frozen(t, p, moves, func(p *PKI) error { return p.Init(Options{}) })
			if !p.Exists() {
				t.Error("there is no CA")
			}
			if made := exists(p.CAFile()); !made {
				if err := p.Init(Options{}); err != nil {
					t.Errorf("asked again: %v", err)
				}
			}
			if err := p.Init(Options{}); !errors.Is(err, ErrCAExists) {
				t.Errorf("asked once more: %v", err)
			}
			p = frozen(t, p, moves, func(p *PKI) error { _, err := p.Server("server", Options{}); return err })
			if err := p.Recover(); err != nil {
				t.Fatal(err)
			}
			first := mustRead(t, p, "server")
			p = frozen(t, p, moves, func(p *PKI) error { _, err := p.Renew("server", Options{}); return err })
			if err := p.Recover(); err != nil {
				t.Fatal(err)
			}
			b, err := p.Bundle("server")
			if err != nil {
				t.Fatal(err)
			}
			key, err := parseKey([]byte(b.Key))
			if err != nil {
				t.Fatal(err)
			}
			now := mustRead(t, p, "server")
			if now.SerialNumber.Cmp(first.SerialNumber) == 0 || !sameKey(now.PublicKey, key) {
				t.Error("the renewal is not whole")
			}
			if exists(p.path(writingDir)) {
				t.Error("the files of the change are still there")
			}
			list, err := p.List()
			if err != nil || len(list) != 2 {
				t.Errorf("%d certificates, %v", len(list), err)
			}
			if err := p.Revoke("server"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStrangeList: a list that names files elsewhere moves nothing.
func TestStrangeList(t *testing.T) {
	for _, list := range []string{`["../../elsewhere"]`, `["/etc/elsewhere"]`, `{`, `["a","` + strings.Repeat("b\",\"", maxWrites) + `c"]`} {
		p := newPKI(t, Options{})
		if err := write(p.path(writingDir, "0"), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := write(p.path(writingDir, writingList), []byte(list)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Client("alice", Options{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), writingList) {
			t.Errorf("%s: %v", list, err)
		}
		if exists(filepath.Join(filepath.Dir(filepath.Dir(p.dir)), "elsewhere")) || exists(p.path("a")) {
			t.Errorf("%s: a file was moved", list)
		}
	}
}
