package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/nft"
	"github.com/adit-vpn/adit/routes"
)

// CleanUp undoes what crashed runs left behind, as their journals in dir say, and
// returns how many changes it took back. Journals of living Hosts are left alone; one
// that cannot be read is moved aside (NAME.json.bad). It is safe to call again.
func CleanUp(ctx context.Context, dir string, log *slog.Logger) (undone int, err error) {
	return CleanUpBut(ctx, dir, func(string) bool { return false }, log)
}

// CleanUpBut is CleanUp, but the guards of the Hosts whose names keep says yes to stay closed. It is asked about closed guards alone.
func CleanUpBut(ctx context.Context, dir string, keep func(name string) bool, log *slog.Logger) (undone int, err error) {
	log = orSilent(log)
	names, err := journalNames(dir)
	if err != nil {
		return 0, err
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	defer nl.Close()
	dns, dnsErr := (&resolver{dir: dir, log: log}).names()
	// Whoever deleted a journal could not open its guard.
	names = slices.Concat(dns, names, guardsLeft(dir))
	undone, err = cleanAll(dir, names, log, func(j *journal) (int, error) {
		n, _, err := j.clean(ctx, nl, log, keep)
		return n, err
	})
	return undone, errors.Join(dnsErr, err)
}

// clean undoes what the run that ended without closing j left behind; not the guard that keep says yes to, which it returns, nil for
// none.
func (j *journal) clean(ctx context.Context, nl *netlink.Handle, log *slog.Logger, keep func(name string) bool) (int, *routes.Guard, error) {
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

// cleanRest is clean for what the journal itself names: routes and the guard.
func (j *journal) cleanRest(nl *netlink.Handle, log *slog.Logger, keep func(name string) bool) (n int, guard *routes.Guard, err error) {
	r, found, err := j.load(log)
	if err != nil {
		return 0, nil, err
	}
	if !found {
		return j.leftClosed(keep)
	}
	var errs []error
	if r.Guard != nil && !keep(j.name()) {
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
