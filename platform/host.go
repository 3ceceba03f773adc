package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/lock"
	"github.com/adit-vpn/adit/routes"
)

// undoTime bounds Close, which must not hang on a resolver that does not answer.
const undoTime = 10 * time.Second

// machine is what the Host of macOS and of Windows asks of its system, one effect a call. All calls may be repeated: to add
// what is there, and to remove what is gone, is no error. They come from one goroutine at a time; Hosts have a machine each.
type machine interface {
	// openTUN makes a device; name is a hint. Its MTU is set.
	openTUN(name string, mtu int) (TUN, link, error)
	setMTU(l link, mtu int) error
	addAddress(l link, p netip.Prefix) error
	removeAddress(l link, p netip.Prefix) error
	// findLink finds the device that Facts call name.
	findLink(name string) (link, error)
	// addRoute is also told of rows that are there. Made is false where an equal row was there already; the Host knows
	// whether it is one of ours, and removes no others. One to the same destination by another way is an error.
	addRoute(r row) (made bool, err error)
	// removeRoute leaves a row alone that somebody else has changed meanwhile.
	removeRoute(r row) (did bool, err error)
	// facts is the underlay: without the device own (its Index is 0 if there is none) and rows that we made.
	facts(ctx context.Context, own link) (routes.Facts, error)
	// setDNS makes d what tunnel name wants of the resolver; full says that all traffic goes through it. d is not
	// zero, and its values are valid (validDNS). On error nothing need be left as it was: removeDNS follows.
	setDNS(ctx context.Context, name string, l link, d routes.DNS, full bool) error
	// removeDNS is also told of names that have set none.
	removeDNS(ctx context.Context, name string) (did bool, err error)
	// dnsNames are the names of the Hosts of this journal directory that have set DNS, as the system itself shows it.
	dnsNames(ctx context.Context) ([]string, error)
	// closeGuard is told each wanted guard that stops or announces something, also when it is closed already: who can, looks
	// whether it still is. It is atomic: what was there stays until g is in force whole.
	closeGuard(name string, g routes.Guard) error
	// openGuard is also told of names whose guard is open.
	openGuard(name string) (did bool, err error)
	// guards are the names of the Hosts of this journal directory whose guard is closed, as the system itself shows
	// it: also those of crashed runs. A system without a firewall has none.
	guards() (names []string, err error)
	// watch calls signal when links, addresses or routes have changed, but those of the device that own says yes to, and
	// rows that we made. Stop waits until signal is called no more. It is called once.
	watch(own func(index int) bool, signal func()) (stop func(), err error)
	// lasting says whether something of it outlives a restart of the system, and so the journal must.
	lasting() bool
}

// machineHost is the Host over a machine.
type machineHost struct {
	name    string
	dir     string
	log     *slog.Logger
	m       machine
	journal *journal
	record  record
	addrs   []netip.Prefix // what we put on the device
	changes chan struct{}
	stop    func() // the watch
	own     atomic.Int64

	mu     sync.Mutex // guards tun and closed, because TUN.Close may come from elsewhere
	tun    *machineTUN
	closed bool
}

// machineTUN is a machine's TUN, with what its Host must know of it.
type machineTUN struct {
	TUN
	link   link
	mtu    atomic.Int64
	closed atomic.Bool
}

// MTU implements TUN.
func (t *machineTUN) MTU() int { return int(t.mtu.Load()) }

// Close implements TUN.
func (t *machineTUN) Close() error {
	t.closed.Store(true)
	return t.TUN.Close()
}

// newHost undoes first what a crashed run of the same name left behind, but for its guard. M is the Host's own.
func newHost(cfg HostConfig, m machine) (Host, error) {
	log := orSilent(cfg.Log)
	if cfg.JournalDir == "" {
		return nil, errors.New("host: no journal directory")
	}
	j, err := openJournal(cfg.JournalDir, cfg.Name)
	if err != nil {
		return nil, err
	}
	h := &machineHost{name: cfg.Name, dir: cfg.JournalDir, log: log, m: m, journal: j, changes: make(chan struct{}, 1)}
	closed, err := m.guards()
	if err == nil {
		_, h.record.Guard, err = h.journal.cleanMachine(context.Background(), m, closed, log, true)
	}
	if err == nil {
		h.stop, err = m.watch(func(index int) bool { return index != 0 && int64(index) == h.own.Load() }, h.signal)
	}
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	return h, nil
}

func orSilent(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// signal says that something has changed. Safe from any goroutine.
func (h *machineHost) signal() {
	select {
	case h.changes <- struct{}{}:
	default:
	}
}

func (h *machineHost) usable(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	return ctx.Err()
}

// OpenTUN implements Host.
func (h *machineHost) OpenTUN(name string, mtu int) (TUN, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, os.ErrClosed
	}
	if h.tun != nil && !h.tun.closed.Load() {
		return nil, fmt.Errorf("the TUN device %s is open already", h.tun.Name())
	}
	dev, l, err := h.m.openTUN(name, mtu)
	if err != nil {
		return nil, err
	}
	h.own.Store(int64(l.Index))
	t := &machineTUN{TUN: dev, link: l}
	t.mtu.Store(int64(dev.MTU()))
	h.tun, h.addrs = t, nil
	return t, nil
}

// device is the open TUN, or nil.
func (h *machineHost) device() *machineTUN {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tun == nil || h.tun.closed.Load() {
		return nil
	}
	return h.tun
}

func (h *machineHost) link() link {
	if t := h.device(); t != nil {
		return t.link
	}
	return link{}
}

// Facts implements Host.
func (h *machineHost) Facts(ctx context.Context) (routes.Facts, error) {
	if err := h.usable(ctx); err != nil {
		return routes.Facts{}, err
	}
	return h.m.facts(ctx, h.link())
}

// Apply adds before it deletes: while a plan changes, no packet finds a gap.
func (h *machineHost) Apply(ctx context.Context, plan routes.Plan) error {
	if err := h.usable(ctx); err != nil {
		return err
	}
	t := h.device()
	if t == nil && !plan.IsZero() && (len(plan.Addresses) > 0 || slices.ContainsFunc(plan.Routes, func(r routes.Route) bool { return !r.Unreachable })) {
		return errors.New("apply: no TUN device is open")
	}
	var errs []error
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	h.record.Device, h.record.Addresses = h.link().Device, nil
	if t != nil {
		h.record.Addresses = union(h.addrs, plan.Addresses)
	}
	if !plan.Guard.IsZero() {
		if err := h.closeGuard(plan.Guard); err != nil {
			return err // nothing that the guard ought to guard
		}
	}
	if t != nil {
		if plan.MTU > 0 && plan.MTU != t.MTU() {
			if err := h.m.setMTU(t.link, plan.MTU); err != nil {
				fail(fmt.Errorf("set MTU %d of %s: %w", plan.MTU, t.Name(), err))
			} else {
				t.mtu.Store(int64(plan.MTU))
			}
		}
		if err := h.journal.save(h.record); err != nil {
			return errors.Join(append(errs, err)...) // other tunnels would take the device for the underlay's
		}
		fail(h.addAddresses(t, plan.Addresses))
	}
	want, err := planRows(plan, h.name, h.link(), h.m.findLink)
	fail(err)
	fail(h.addRoutes(want))
	dnsErr := h.applyDNS(ctx, plan.DNS, routes.FullTunnel(plan))
	fail(h.removeRoutes(want))
	if t != nil {
		removed, err := h.removeAddresses(t, plan.Addresses)
		fail(err)
		if removed && len(plan.Addresses) > 0 {
			// A system may drop routes with an address: put back what went.
			fail(h.addAddresses(t, plan.Addresses))
			fail(h.addRoutes(want))
		}
	}
	if plan.Guard.IsZero() {
		fail(h.openGuard())
	}
	if t != nil {
		h.record.Addresses = slices.Clone(h.addrs)
	}
	fail(h.journal.save(h.record))
	if dnsErr != nil {
		fail(fmt.Errorf("%w: %w", ErrDNS, dnsErr))
	}
	return errors.Join(errs...)
}

// union is a with what b has beside it.
func union(a, b []netip.Prefix) []netip.Prefix {
	out := slices.Clone(a)
	for _, p := range b {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

func (h *machineHost) addAddresses(t *machineTUN, want []netip.Prefix) error {
	var errs []error
	for _, p := range want {
		if err := h.m.addAddress(t.link, p); err != nil {
			errs = append(errs, fmt.Errorf("add address %s to %s: %w", p, t.Name(), err))
		} else if !slices.Contains(h.addrs, p) {
			h.addrs = append(h.addrs, p)
		}
	}
	return errors.Join(errs...)
}

func (h *machineHost) removeAddresses(t *machineTUN, want []netip.Prefix) (removed bool, err error) {
	var errs []error
	var left []netip.Prefix
	for _, p := range h.addrs {
		if slices.Contains(want, p) {
			left = append(left, p)
		} else if err := h.m.removeAddress(t.link, p); err != nil {
			errs = append(errs, fmt.Errorf("remove address %s from %s: %w", p, t.Name(), err))
			left = append(left, p)
		} else {
			removed = true
		}
	}
	h.addrs = left
	return removed, errors.Join(errs...)
}

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

// applyDNS makes the resolver look like d, journal first. Full says that all traffic goes through the tunnel.
func (h *machineHost) applyDNS(ctx context.Context, d routes.DNS, full bool) error {
	remove := func() error {
		if !h.record.DNS {
			return nil
		}
		if _, err := h.m.removeDNS(ctx, h.name); err != nil {
			return err
		}
		h.record.DNS = false
		return nil
	}
	if d.IsZero() {
		return remove()
	}
	if err := validDNS(d); err != nil {
		return errors.Join(err, remove())
	}
	if h.link().Index == 0 {
		return errors.Join(errors.New("no TUN device is open"), remove())
	}
	h.record.DNS = true
	if err := h.journal.save(h.record); err != nil {
		return err
	}
	if err := h.m.setDNS(ctx, h.name, h.link(), d, full); err != nil {
		return errors.Join(err, remove())
	}
	return nil
}

// closeGuard puts g in place of what is there, journal first. On an error what was there stays.
func (h *machineHost) closeGuard(g routes.Guard) error {
	was := h.record.Guard
	h.record.Guard = &g
	if err := h.journal.save(h.record); err != nil {
		h.record.Guard = was
		return err // what cannot be undone after a crash is not done
	}
	if err := h.m.closeGuard(h.name, g); err != nil {
		h.record.Guard = was
		return fmt.Errorf("%w: %w", ErrGuard, errors.Join(err, h.journal.save(h.record)))
	}
	if was == nil {
		h.log.Info("the guard is set", "closed", len(g.Closed), "all", g.Full())
	}
	return nil
}

// openGuard takes the guard away.
func (h *machineHost) openGuard() error {
	if h.record.Guard == nil {
		return nil
	}
	if _, err := h.m.openGuard(h.name); err != nil {
		return fmt.Errorf("%w: %w", ErrGuard, err)
	}
	h.log.Info("the guard is gone")
	h.record.Guard = nil
	return h.journal.save(h.record)
}

// Guard implements Host.
func (h *machineHost) Guard() routes.Guard {
	if h.record.Guard == nil {
		return routes.Guard{}
	}
	return *h.record.Guard
}

// Changes implements Host.
func (h *machineHost) Changes() <-chan struct{} { return h.changes }

// Close undoes everything and lets the journal go. Called twice it does nothing.
func (h *machineHost) Close() error { return h.end(routes.Plan{}) }

// Leave undoes everything but the guard.
func (h *machineHost) Leave() error { return h.end(routes.Plan{Guard: h.Guard()}) }

func (h *machineHost) end(last routes.Plan) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	err := h.Apply(ctx, last)
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.stop()
	return errors.Join(err, h.journal.close())
}

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
		n, _, err := j.cleanMachine(ctx, m, closed, log, keep(j.name()))
		return n, err
	})
	return undone, errors.Join(guardErr, dnsErr, err)
}

// cleanMachine undoes what the run that ended without closing j left behind; with keep not the guard, which it returns, nil
// for none. Closed are the names whose guard is closed.
func (j *journal) cleanMachine(ctx context.Context, m machine, closed []string, log *slog.Logger, keep bool) (n int, guard *routes.Guard, err error) {
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
	switch there := slices.Contains(closed, j.name()); {
	case keep && (there || r.Guard != nil):
		if r.Guard == nil { // the journal is gone: nobody knows what it named
			all := routes.Everything()
			r.Guard = &all
		}
		// Once more, without a tunnel: what was let pass by the crashed run's device would pass by whose number it is now.
		errs = append(errs, m.closeGuard(j.name(), *r.Guard))
	case !keep && (there || r.Guard != nil):
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
