package platform

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/adit-vpn/adit/platform/lock"
)

// addRoutes makes all wanted rows exist, journal first. Rows that are gone meanwhile come back.
func (h *machineHost) addRoutes(want []row) error {
	if len(want) == 0 {
		return nil
	}
	return lockedRows(h.dir, func() error {
		ours := rowsOfOthers(h.dir, h.name) // and what this Host has made already
		for _, w := range want {
			if slices.ContainsFunc(h.record.Routes, func(r row) bool { return r.key() == w.key() }) {
				ours[sameRow(w)] = true
			} else {
				h.record.Routes = append(h.record.Routes, w)
			}
		}
		if err := h.journal.save(h.record); err != nil {
			return err // what cannot be undone after a crash is not done
		}
		var errs []error
		for _, w := range want {
			made, err := h.m.addRoute(w)
			if err != nil {
				errs = append(errs, fmt.Errorf("add route %s: %w", w.Destination, err))
			}
			if !made && !ours[sameRow(w)] {
				h.log.Debug("route is not ours to add", "route", w.Destination, "error", err)
				h.forget(w)
			}
		}
		return errors.Join(errs...)
	})
}

// removeRoutes deletes our rows that are no longer wanted, the newest first.
func (h *machineHost) removeRoutes(want []row) error {
	if len(h.record.Routes) == 0 {
		return nil
	}
	return lockedRows(h.dir, func() error {
		others := rowsOfOthers(h.dir, h.name)
		var errs []error
		for _, r := range slices.Backward(slices.Clone(h.record.Routes)) {
			if slices.ContainsFunc(want, func(w row) bool { return w.key() == r.key() }) {
				continue
			}
			if !others[sameRow(r)] {
				if _, err := h.m.removeRoute(r); err != nil {
					errs = append(errs, fmt.Errorf("delete route %s: %w", r.Destination, err))
					continue
				}
			}
			h.forget(r)
		}
		return errors.Join(errs...)
	})
}

func (h *machineHost) forget(r row) {
	h.record.Routes = slices.DeleteFunc(h.record.Routes, func(x row) bool { return x.key() == r.key() })
}

// sameRow is what these systems tell rows apart by: two tunnels to one server have one row in common.
func sameRow(r row) row {
	r.Metric, r.Device = 0, ""
	return r
}

// lockedRows runs f while no other Host of the journals in dir adds or deletes routes.
func lockedRows(dir string, f func() error) error {
	held, err := lock.Wait(filepath.Join(dir, ".routes"))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return errors.Join(f(), held.Remove())
}

// rowsOfOthers are the rows that journals in dir name, but for name's own.
func rowsOfOthers(dir, name string) map[row]bool {
	names, _ := journalNames(dir) // none is no harm: a route is missed until it is set again
	out := map[row]bool{}
	for _, n := range names {
		if n == name {
			continue
		}
		for _, r := range (&journal{path: filepath.Join(dir, n+".json")}).peek().Routes {
			out[sameRow(r)] = true
		}
	}
	return out
}

// tunnels are the devices that the journals in dir name, with their addresses: another program's device may have the name of one
// that is gone.
func tunnels(dir string) map[string][]netip.Addr {
	names, _ := journalNames(dir) // none is no harm: a device counts as the underlay's until the next look
	out := map[string][]netip.Addr{}
	for _, n := range names {
		r := (&journal{path: filepath.Join(dir, n+".json")}).peek()
		for _, p := range r.Addresses {
			out[r.Device] = append(out[r.Device], p.Addr())
		}
	}
	return out
}
