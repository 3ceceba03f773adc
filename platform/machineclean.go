package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/routes"
)

// cleanUpMachine is CleanUpBut over a machine.
func cleanUpMachine(ctx context.Context, dir string, m machine, keep func(name string) bool, log *slog.Logger) (undone int, err error) {
	log = orSilent(log)
	names, err := journalNames(dir)
	if err != nil {
		return 0, err
	}
	// Whoever deleted a journal could not take back what it named.
	closed, guardErr := m.guards()
	dns, dnsErr := m.dnsNames(ctx)
	undone, err = cleanAll(dir, slices.Concat(names, closed, dns), log, func(j *journal) (int, error) {
		n, _, err := j.cleanMachine(ctx, m, closed, log, keep)
		return n, err
	})
	return undone, errors.Join(guardErr, dnsErr, err)
}

// cleanMachine undoes what the run that ended without closing j left behind; not the guard that keep says yes to, which it returns,
// nil for none. Closed are the names whose guard is closed.
func (j *journal) cleanMachine(ctx context.Context, m machine, closed []string, log *slog.Logger, keep func(name string) bool) (n int, guard *routes.Guard, err error) {
	if m.lasting() {
		j.write = durable.Write
	}
	r, _, err := j.load(log)
	if err != nil {
		return 0, nil, err
	}
	count := func(did bool) {
		if did {
			n++
		}
	}
	r.Device, r.Addresses = "", nil // they ended with the run
	var errs []error
	did, err := m.removeDNS(ctx, j.name())
	count(did)
	if r.DNS = err != nil; r.DNS {
		errs = append(errs, err)
	}
	errs = append(errs, lockedRows(filepath.Dir(j.path), func() error {
		others := rowsOfOthers(filepath.Dir(j.path), j.name())
		var left []row
		var errs []error
		for _, x := range r.Routes {
			if x.Destination.Bits() <= 0 || others[sameRow(x)] {
				continue
			}
			did, err := m.removeRoute(x)
			count(did)
			if err != nil {
				errs = append(errs, fmt.Errorf("delete route %s: %w", x.Destination, err))
				left = append(left, x)
			}
		}
		r.Routes = left
		return errors.Join(errs...)
	}))
	switch {
	case r.Guard == nil && !slices.Contains(closed, j.name()):
	case keep(j.name()):
		if r.Guard == nil { // the journal is gone: nobody knows what it named
			all := routes.Everything()
			r.Guard = &all
		}
		// Once more, without a tunnel: what was let pass by the crashed run's device would pass by whose number it is now.
		errs = append(errs, m.closeGuard(j.name(), *r.Guard))
	default:
		did, err := m.openGuard(j.name())
		count(did)
		if err != nil {
			errs = append(errs, err)
		} else {
			r.Guard = nil
		}
	}
	errs = append(errs, j.save(r))
	if n > 0 || r.Guard != nil {
		log.Info("cleaned up after a run that did not end in order", "journal", j.name(), "undone", n, "guard", r.Guard != nil)
	}
	return n, r.Guard, errors.Join(errs...)
}
