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
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/nft"
	"github.com/adit-vpn/adit/routes"
)

const recordVersion = 1

// record is what one Host must undo. It is in the journal before the change that it names.
type record struct {
	Version int    `json:"version"`
	Device  string `json:"device,omitempty"`
	Routes  []row  `json:"routes,omitempty"`
	// Guard is what the table of the Host closes.
	Guard *routes.Guard `json:"guard,omitempty"`
}

func (r record) empty() bool { return len(r.Routes) == 0 && r.Guard == nil }

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

// save writes r so that it survives this process. Routes end with the kernel, and with them the need for a
// record: waiting for the disk would be most of the time that a connection takes. An empty record removes the file.
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
	if err := durable.Swap(j.path, text, 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.last = text
	return nil
}

// CleanUp undoes what crashed runs left behind, as their journals in dir say, and
// returns how many changes it took back. Journals of living Hosts are left alone; one
// that cannot be read is moved aside (NAME.json.bad). It is safe to call again.
func CleanUp(ctx context.Context, dir string, log *slog.Logger) (undone int, err error) {
	return CleanUpBut(ctx, dir, func(string) bool { return false }, log)
}

// CleanUpBut is CleanUp, but the guards of the Hosts whose names keep says yes to stay closed.
func CleanUpBut(ctx context.Context, dir string, keep func(name string) bool, log *slog.Logger) (undone int, err error) {
	log = orSilent(log)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("journal directory: %w", err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	defer nl.Close()
	var errs []error
	names, err := (&resolver{dir: dir, log: log}).names()
	if err != nil {
		errs = append(errs, err)
	}
	for _, e := range entries {
		name, isJournal := strings.CutSuffix(e.Name(), ".json")
		switch {
		case strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), ".json.adit-"):
			os.Remove(filepath.Join(dir, e.Name())) // a save that was cut off before its rename
		case isJournal && e.Type().IsRegular() && validName(name) && !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	for _, name := range guardsLeft(dir) { // whoever deleted the journal could not open them
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		n, err := cleanOne(ctx, nl, dir, name, keep(name), log)
		undone += n
		if err != nil {
			errs = append(errs, fmt.Errorf("clean up %s: %w", name, err))
		}
	}
	return undone, errors.Join(errs...)
}

func cleanOne(ctx context.Context, nl *netlink.Handle, dir, name string, keep bool, log *slog.Logger) (int, error) {
	j, err := openJournal(dir, name)
	if errors.Is(err, ErrBusy) {
		log.Info("journal left alone: its tunnel is running", "journal", name)
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer j.close()
	n, _, err := j.clean(ctx, nl, log, keep)
	return n, err
}

// clean undoes what the run that ended without closing j left behind; with keep not the guard, which it returns, nil for
// none.
func (j *journal) clean(ctx context.Context, nl *netlink.Handle, log *slog.Logger, keep bool) (int, *routes.Guard, error) {
	dns := &resolver{dir: filepath.Dir(j.path), log: log}
	did, dnsErr := dns.remove(ctx, j.name())
	n, guard, err := j.cleanRest(nl, log, keep)
	if did {
		n++
	}
	if n > 0 || guard != nil {
		log.Info("cleaned up after a run that did not end in order", "journal", j.name(), "undone", n, "guard", guard != nil)
	}
	return n, guard, errors.Join(dnsErr, err)
}

// name is the journal's key.
func (j *journal) name() string { return strings.TrimSuffix(filepath.Base(j.path), ".json") }

// cleanRest is clean for what the journal itself names: routes and the guard.
func (j *journal) cleanRest(nl *netlink.Handle, log *slog.Logger, keep bool) (n int, guard *routes.Guard, err error) {
	text, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return j.leftClosed(keep)
	} else if err != nil {
		return 0, nil, err
	}
	if len(bytes.Trim(text, "\x00")) == 0 {
		// The machine stopped before the text of durable.Swap was on disk: nothing that it named is left.
		return 0, nil, os.Remove(j.path)
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
		if err := os.Rename(j.path, bad); err != nil {
			return 0, nil, err
		}
		return j.leftClosed(keep)
	}
	var errs []error
	if r.Guard != nil && !keep {
		if err := nft.Delete(j.table()); err != nil {
			errs = append(errs, err)
		} else {
			r.Guard = nil
			n++
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
	return n, r.Guard, errors.Join(errs...)
}
