package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/durable"
)

// shared is the machine-wide account of kernel settings that endpoints changed:
// the value before the first, and who needs the change. The last one puts the
// value back. A lock file guards it.
type shared struct{ dir, id string }

// holding is one changed setting in one network namespace.
type holding struct {
	Was   string            `json:"was"`
	Each  map[string]string `json:"each,omitempty"` // for …/all/…: the interfaces' own values, which it overwrote
	Users []string          `json:"users"`
}

// hold sets name to value for us and remembers what it was.
func (s *shared) hold(name, value string) error {
	return s.change(func(all map[string]holding) error {
		h, known := all[name]
		if !known {
			was, err := getSysctl(name)
			if err != nil {
				return fmt.Errorf("network: read %s: %w", name, err)
			}
			h.Was = was
			if before, after, ok := strings.Cut(name, "/all/"); ok {
				h.Each = map[string]string{}
				entries, err := os.ReadDir(sysctlPath(before))
				if err != nil {
					return fmt.Errorf("network: read %s: %w", before, err)
				}
				for _, e := range entries {
					each := before + "/" + e.Name() + "/" + after
					if v, err := getSysctl(each); err == nil && e.Name() != "all" {
						h.Each[each] = v
					}
				}
			}
		}
		if !slices.Contains(h.Users, s.id) {
			h.Users = append(h.Users, s.id)
		}
		all[name] = h
		return nil
	}, func() error {
		if now, err := getSysctl(name); err == nil && now == value {
			return nil
		}
		return setSysctl(name, value)
	})
}

// release gives up our hold; the last user puts the value back.
func (s *shared) release(name string) error {
	return s.change(func(all map[string]holding) error { return s.drop(all, name) }, nil)
}

// releaseAll gives up every hold of ours.
func (s *shared) releaseAll() error {
	if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil // the machine was started since
	}
	return s.change(func(all map[string]holding) error {
		var errs []error
		for name := range all {
			errs = append(errs, s.drop(all, name))
		}
		return errors.Join(errs...)
	}, nil)
}

func (s *shared) drop(all map[string]holding, name string) error {
	h, ok := all[name]
	if !ok || !slices.Contains(h.Users, s.id) {
		return nil
	}
	h.Users = slices.DeleteFunc(h.Users, func(u string) bool { return u == s.id })
	if len(h.Users) > 0 {
		all[name] = h
		return nil
	}
	restore := func(name, value string) error {
		now, err := getSysctl(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && now == value {
			return nil // the interface is gone, or somebody put it back
		}
		return setSysctl(name, value)
	}
	err := restore(name, h.Was)
	for each, was := range h.Each {
		err = errors.Join(err, restore(each, was))
	}
	if err == nil {
		delete(all, name)
	}
	return err
}

// change edits the account under its lock: first on disk, then the kernel. A
// failed edit is still written, as far as it came.
func (s *shared) change(edit func(map[string]holding) error, then func() error) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("network: lock %s: %w", lock.Name(), err)
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return fmt.Errorf("network: network namespace: %w", err)
	}
	path := filepath.Join(s.dir, fmt.Sprintf("forwarding-%d.json", ns.Ino))
	all := map[string]holding{}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network: %s: %w", path, err)
	}
	failed := edit(all)
	if len(all) == 0 {
		err = os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else if b, err = json.Marshal(all); err == nil {
		err = durable.Write(path, b, 0o600)
	}
	if failed = errors.Join(failed, err); failed != nil || then == nil {
		return failed
	}
	return then()
}
