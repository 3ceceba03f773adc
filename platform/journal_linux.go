package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/durable"
)

const recordVersion = 1

// record is what one Host must undo. It is in the journal before the change that it names.
type record struct {
	Version int        `json:"version"`
	Device  string     `json:"device,omitempty"`
	Routes  []row      `json:"routes,omitempty"`
	DNS     *dnsRecord `json:"dns,omitempty"`
}

func (r record) empty() bool { return len(r.Routes) == 0 && r.DNS == nil }

// outlivesBoot says whether the record names a file of the system. Routes and what
// systemd-resolved knows end with the kernel, and with them the need for a record.
func (r record) outlivesBoot() bool { return r.DNS != nil && r.DNS.Kind != dnsResolved }

// journal is one record's file, locked while its Host lives: a kill releases the
// lock, and that is how CleanUp knows a crashed run from a live one.
type journal struct {
	path string
	lock *os.File
	last []byte // what is on disk
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
	for {
		path := filepath.Join(dir, name+".lock")
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("journal lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("%w: %s", ErrBusy, name)
			}
			return nil, fmt.Errorf("journal lock: %w", err)
		}
		// The holder before us may have removed the file that we locked.
		a, err1 := f.Stat()
		b, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(a, b) {
			return &journal{path: filepath.Join(dir, name+".json"), lock: f}, nil
		}
		f.Close()
	}
}

func (j *journal) close() error {
	os.Remove(j.lock.Name())
	return j.lock.Close()
}

// save writes r so that it survives this process, and a power cut where what it names does;
// waiting for the disk would be most of the time that a connection takes. An empty record
// removes the file.
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
	replace := durable.Swap
	if r.outlivesBoot() {
		replace = durable.Write
	}
	if err := replace(j.path, text, 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.last = text
	return nil
}

// CleanUp undoes what crashed runs left behind, as their journals in dir say, and
// returns how many changes it took back. Journals of living Hosts are left alone; one
// that cannot be read is moved aside (NAME.json.bad). It is safe to call again.
func CleanUp(ctx context.Context, dir string, log *slog.Logger) (undone int, err error) {
	log = orSilent(log)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("journal directory: %w", err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	defer nl.Close()
	var errs []error
	for _, e := range entries {
		name, isJournal := strings.CutSuffix(e.Name(), ".json")
		switch {
		case strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), ".json.adit-"):
			os.Remove(filepath.Join(dir, e.Name())) // a save that was cut off before its rename
		case isJournal && e.Type().IsRegular() && validName(name):
			n, err := cleanOne(ctx, nl, dir, name, log)
			undone += n
			if err != nil {
				errs = append(errs, fmt.Errorf("clean up %s: %w", name, err))
			}
		}
	}
	return undone, errors.Join(errs...)
}

func cleanOne(ctx context.Context, nl *netlink.Handle, dir, name string, log *slog.Logger) (int, error) {
	j, err := openJournal(dir, name)
	if errors.Is(err, ErrBusy) {
		log.Info("journal left alone: its tunnel is running", "journal", name)
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer j.close()
	return j.clean(ctx, nl, log)
}

// clean undoes what the run that ended without closing j left behind.
func (j *journal) clean(ctx context.Context, nl *netlink.Handle, log *slog.Logger) (int, error) {
	text, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	if len(bytes.Trim(text, "\x00")) == 0 {
		// The machine stopped before the text of durable.Swap was on disk: nothing that it named is left.
		return 0, os.Remove(j.path)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil || r.Version != recordVersion {
		bad := j.path + ".bad"
		for i := 1; ; i++ {
			if _, err := os.Lstat(bad); errors.Is(err, fs.ErrNotExist) {
				break
			}
			bad = fmt.Sprintf("%s.bad%d", j.path, i)
		}
		log.Warn("journal cannot be read and is moved aside; check routes and DNS by hand", "journal", j.path, "moved", bad, "version", r.Version, "error", err)
		return 0, os.Rename(j.path, bad)
	}
	var errs []error
	n := 0
	if r.DNS != nil {
		did, err := r.DNS.undo(ctx, nl, log)
		if err != nil {
			errs = append(errs, err)
		} else {
			r.DNS = nil
			if did {
				n++
			}
		}
	}
	var left []row
	for _, x := range r.Routes {
		did, err := delRow(nl, x)
		if err != nil {
			errs = append(errs, err)
			left = append(left, x)
		} else if did {
			n++
		}
	}
	r.Routes = left
	if err := j.save(r); err != nil {
		errs = append(errs, err)
	}
	log.Info("cleaned up after a run that did not end in order", "journal", strings.TrimSuffix(filepath.Base(j.path), ".json"), "undone", n)
	return n, errors.Join(errs...)
}
