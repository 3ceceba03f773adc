package model

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/adit-vpn/adit/endpoint"
)

// What runs, and what lies in the directories of endpoints.

// start puts the endpoint of a record in force at the beginning. An error is remembered, and shown with the endpoint.
func (m *Model) start(d *Declared, r *record) {
	var text string
	var err error
	if r.CRL != "" { // the store is what counts, not its copy
		if text, err = m.store.list(r.ID); err == nil {
			err = writeCRL(d, r, text)
		}
	}
	var cfg endpoint.Config
	if err != nil {
		err = fmt.Errorf("revocation list: %w", err)
	} else if cfg, err = m.compile(d, r); err == nil && r.runs() {
		err = m.rt.Apply(context.Background(), r.ID, cfg)
	}
	m.note(r.ID, err)
	if err != nil {
		m.o.Log.Error("an endpoint of the API does not run: mend it, then adit-endpoint reload", "endpoint", r.ID, "error", err)
	}
}

// note remembers why an endpoint does not run; nil: it does.
func (m *Model) note(id string, err error) {
	if err == nil {
		m.broken.Delete(id)
	} else {
		m.broken.Store(id, said(err))
	}
}

// fault is why an endpoint that should run does not; empty: it runs.
func (m *Model) fault(r *record) string {
	if !r.runs() || m.rt.Running(r.ID) {
		return ""
	}
	if why, ok := m.broken.Load(r.ID); ok {
		return "The endpoint does not run: " + why.(string)
	}
	return "The endpoint does not run: the log of adit-endpoint says why"
}

// said is an error in the words of an answer: callers need not know where files are here. The log says it whole.
func said(err error) string {
	words := strings.Split(err.Error(), " ")
	for i, w := range words {
		name := strings.TrimLeft(w, `"'(`)
		if filepath.IsAbs(strings.TrimRight(name, `"'):,;`)) {
			words[i] = w[:len(w)-len(name)] + filepath.Base(name)
		}
	}
	return strings.Join(words, " ")
}

// logs are the files that outlast an endpoint.
const logs = "connections"

// clear removes what lies in the directory of an endpoint that is gone, all but its connection log. What cannot be removed stays, and
// is said.
func (m *Model) clear(d *Declared, id string) {
	m.broken.Delete(id)
	dir, err := DataDir(&d.Config, id)
	if err == nil {
		err = empty(dir, func(name string) bool { return !strings.HasPrefix(name, logs) })
	}
	if err == nil {
		os.Remove(dir) // unless there is a log
	} else {
		m.o.Log.Warn("files of a deleted endpoint stay behind", "endpoint", id, "error", err)
	}
}

// clearStrays removes what requests have left that nobody answered: directories without a record, lists that no record names.
func (m *Model) clearStrays(s *snapshot) {
	dir, err := DataDir(&s.declared.Config, "")
	if err != nil {
		return
	}
	there, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.o.Log.Warn("files of deleted endpoints stay behind", "error", err)
	}
	for _, e := range there {
		r := s.records[e.Name()]
		switch {
		case !e.IsDir() || !strings.HasPrefix(e.Name(), endpointPrefix):
		case r == nil:
			m.clear(&s.declared, e.Name())
		default:
			inUse := filepath.Base(crlFile("", r.CRL))
			if err := empty(filepath.Join(dir, e.Name()), func(name string) bool { return strings.HasPrefix(name, crlPrefix) && name != inUse }); err != nil {
				m.o.Log.Warn("an old revocation list stays behind", "endpoint", r.ID, "error", err)
			}
		}
	}
}

// empty removes what is in a directory and unwanted.
func empty(dir string, unwanted func(name string) bool) error {
	there, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range there {
		if unwanted(e.Name()) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// dropList removes the file of a revocation list that nobody uses any more. What cannot be removed stays, and hurts nobody.
func (m *Model) dropList(d *Declared, r *record) {
	dir, err := DataDir(&d.Config, r.ID)
	if err == nil {
		err = os.Remove(crlFile(dir, r.CRL))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.o.Log.Warn("an old revocation list stays behind", "endpoint", r.ID, "error", err)
	}
}

// tidy removes what nobody needs after a change.
func (m *Model) tidy(d *draft, gone []string) {
	old, next := d.before.records[d.dirty], d.records[d.dirty]
	if old != nil && next != nil && old.CRL != "" && next.CRL != old.CRL {
		m.dropList(&d.declared, old)
	}
	for _, id := range gone {
		m.clear(&d.declared, id)
	}
}
