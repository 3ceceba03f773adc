package platform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/lock"
	"github.com/adit-vpn/adit/routes"
)

const recordVersion = 1

// record is what one Host must undo. It is in the journal before the change that it names.
type record struct {
	Version int    `json:"version"`
	Device  string `json:"device,omitempty"`
	// Addresses are those on the device, which end with it: by them other Hosts know the device as a tunnel's. Not on Linux.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Routes    []row          `json:"routes,omitempty"`
	// DNS says that names may be set; on Linux the resolver has a record of its own.
	DNS bool `json:"dns,omitempty"`
	// Guard is what the guard of the Host closes.
	Guard *routes.Guard `json:"guard,omitempty"`
}

func (r record) empty() bool {
	return len(r.Addresses) == 0 && len(r.Routes) == 0 && !r.DNS && r.Guard == nil
}

// journal is one record's file, locked while its Host lives: a kill releases the
// lock, and that is how CleanUp knows a crashed run from a live one.
type journal struct {
	path string
	lock *lock.File
	last []byte // what is on disk
	// write replaces the file. What ends with the kernel needs no record that outlives it: waiting for the disk
	// would be most of the time that a connection takes.
	write func(path string, content []byte, mode fs.FileMode) error
}

func validName(s string) bool {
	if s == "" || len(s) > 100 || s[0] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.", c) >= 0) {
			return false
		}
	}
	return true
}

// openJournal locks name's journal. It does not read it: leftovers are CleanUp's.
func openJournal(dir, name string) (*journal, error) {
	if !validName(name) {
		return nil, fmt.Errorf("journal name %q is not valid", name)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal directory: %w", err)
	}
	held, err := lock.Take(filepath.Join(dir, name+".lock"))
	if errors.Is(err, lock.ErrHeld) {
		return nil, fmt.Errorf("%w: %s", ErrBusy, name)
	} else if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &journal{path: filepath.Join(dir, name+".json"), lock: held, write: durable.Swap}, nil
}

func (j *journal) close() error { return j.lock.Remove() }

// name is the journal's key.
func (j *journal) name() string { return strings.TrimSuffix(filepath.Base(j.path), ".json") }

// save writes r so that it survives this process. An empty record removes the file.
func (j *journal) save(r record) error {
	if r.empty() {
		j.last = nil
		if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("journal: %w", err)
		}
		return nil
	}
	r.Version = recordVersion
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if bytes.Equal(text, j.last) {
		return nil
	}
	if err := j.write(j.path, text, 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.last = text
	return nil
}

// load reads what an earlier run left; false when there is nothing, or nothing that can be read. What cannot be read is
// moved aside.
func (j *journal) load(log *slog.Logger) (r record, found bool, err error) {
	text, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	} else if err != nil {
		return record{}, false, err
	}
	if len(bytes.Trim(text, "\x00")) == 0 {
		// The machine stopped before the text of durable.Swap was on disk: nothing that it named is left.
		return record{}, false, os.Remove(j.path)
	}
	err = json.Unmarshal(text, &r)
	if err == nil && r.Version == recordVersion {
		return r, true, nil
	}
	bad := j.path + ".bad"
	for i := 1; ; i++ {
		if _, err := os.Lstat(bad); errors.Is(err, fs.ErrNotExist) {
			break
		}
		bad = fmt.Sprintf("%s.bad%d", j.path, i)
	}
	log.Warn("journal cannot be read and is moved aside; check routes and DNS by hand", "journal", j.path, "moved", bad, "version", r.Version, "error", err)
	return record{}, false, os.Rename(j.path, bad)
}

// peek is what another Host's journal says now; nothing when it cannot be read.
func (j *journal) peek() (r record) {
	text, err := os.ReadFile(j.path)
	if err != nil || json.Unmarshal(text, &r) != nil || r.Version != recordVersion {
		return record{}
	}
	return r
}

// journalNames are the keys of the journals in dir. Saves that were cut off before their rename are removed.
func journalNames(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("journal directory: %w", err)
	}
	for _, e := range entries {
		name, isJournal := strings.CutSuffix(e.Name(), ".json")
		switch {
		case strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), ".json.adit-"):
			os.Remove(filepath.Join(dir, e.Name()))
		case isJournal && e.Type().IsRegular() && validName(name):
			names = append(names, name)
		}
	}
	return names, nil
}

// cleanAll locks the journal of each name once, and gives those that no living Host holds to clean, which says how many
// changes it took back.
func cleanAll(dir string, names []string, log *slog.Logger, clean func(*journal) (int, error)) (undone int, err error) {
	slices.Sort(names)
	var errs []error
	for _, name := range slices.Compact(names) {
		n, err := cleanOne(dir, name, log, clean)
		undone += n
		if err != nil {
			errs = append(errs, fmt.Errorf("clean up %s: %w", name, err))
		}
	}
	return undone, errors.Join(errs...)
}

func cleanOne(dir, name string, log *slog.Logger, clean func(*journal) (int, error)) (int, error) {
	j, err := openJournal(dir, name)
	if errors.Is(err, ErrBusy) {
		log.Info("journal left alone: its tunnel is running", "journal", name)
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer j.close()
	return clean(j)
}
