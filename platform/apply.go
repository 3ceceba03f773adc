package platform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/adit-vpn/adit/routes"
)

// steps are what a Host does to a system for a plan, one by one. Its devices are *T. All may be repeated: what is there
// already is no error, and stays.
type steps[T any] interface {
	// usable says whether the Host can be used, and ctx has not ended.
	usable(ctx context.Context) error
	// device is the open one, or T's zero value.
	device() T
	// begin comes first, and notes in the record what will be there: the device, and with it the addresses want.
	begin(t T, want []netip.Prefix)
	// save puts into the journal what is there in the end. Steps that need the journal before do so by themselves.
	save() error
	// closeGuard puts g in force before anything else, or at the latest once wait returns. On an error what was there stays.
	closeGuard(g routes.Guard) (wait func() error, err error)
	openGuard() error
	setMTU(t T, mtu int) error
	addAddresses(t T, want []netip.Prefix) error
	// removeAddresses takes away ours that are not wanted, and says whether there were any.
	removeAddresses(t T, want []netip.Prefix) (removed bool, err error)
	// rows are the plan's routes as the system has them. On an error those that could be made are there, too.
	rows(plan routes.Plan) ([]row, error)
	addRoutes(want []row) error
	// removeRoutes takes away ours that are not wanted.
	removeRoutes(want []row) error
	// applyDNS makes d the tunnel's names; the zero DNS takes them back.
	applyDNS(ctx context.Context, d routes.DNS, full bool) error
}

// carryOut is Host.Apply over its steps. It adds before it deletes: while a plan changes, no packet finds a gap. The guard comes
// first where it closes, and last where it opens.
func carryOut[T interface {
	TUN
	comparable
}](ctx context.Context, h steps[T], plan routes.Plan) error {
	if err := h.usable(ctx); err != nil {
		return err
	}
	var none T
	t := h.device()
	if t == none && (len(plan.Addresses) > 0 || slices.ContainsFunc(plan.Routes, func(r routes.Route) bool { return !r.Unreachable })) {
		return errors.New("apply: no TUN device is open")
	}
	var errs []error
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	h.begin(t, plan.Addresses)
	guarded := func() error { return nil }
	if !plan.Guard.IsZero() {
		var err error
		if guarded, err = h.closeGuard(plan.Guard); err != nil {
			return err // nothing that the guard ought to guard
		}
	}
	if t != none {
		if plan.MTU > 0 && plan.MTU != t.MTU() {
			if err := h.setMTU(t, plan.MTU); err != nil {
				fail(fmt.Errorf("set MTU %d of %s: %w", plan.MTU, t.Name(), err))
			}
		}
		fail(h.addAddresses(t, plan.Addresses))
	}
	want, err := h.rows(plan)
	fail(err)
	fail(h.addRoutes(want))
	dnsErr := h.applyDNS(ctx, plan.DNS, routes.FullTunnel(plan))
	fail(h.removeRoutes(want))
	if t != none {
		removed, err := h.removeAddresses(t, plan.Addresses)
		fail(err)
		if removed && len(plan.Addresses) > 0 {
			// A system may drop routes with an address, as Linux does with a device's last one: put back what went.
			fail(h.addAddresses(t, plan.Addresses))
			fail(h.addRoutes(want))
		}
	}
	if plan.Guard.IsZero() {
		fail(h.openGuard())
	}
	fail(guarded())
	fail(h.save())
	if dnsErr != nil {
		fail(fmt.Errorf("%w: %w", ErrDNS, dnsErr))
	}
	return errors.Join(errs...)
}
