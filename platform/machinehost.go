package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/routes"
)

// undoTime bounds Close, which must not hang on a resolver that does not answer.
const undoTime = 10 * time.Second

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
		_, h.record.Guard, err = h.journal.cleanMachine(context.Background(), m, closed, log, func(string) bool { return true })
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

// Apply implements Host.
func (h *machineHost) Apply(ctx context.Context, plan routes.Plan) error {
	return carryOut(ctx, h, plan)
}

func (h *machineHost) begin(t *machineTUN, want []netip.Prefix) {
	h.record.Device, h.record.Addresses = h.link().Device, nil
	if t != nil {
		h.record.Addresses = union(h.addrs, want)
	}
}

func (h *machineHost) save() error {
	if h.device() != nil {
		h.record.Addresses = slices.Clone(h.addrs)
	}
	return h.journal.save(h.record)
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

func (h *machineHost) rows(plan routes.Plan) ([]row, error) {
	return planRows(plan, h.name, h.link(), h.m.findLink)
}

func (h *machineHost) setMTU(t *machineTUN, mtu int) error {
	if err := h.m.setMTU(t.link, mtu); err != nil {
		return err
	}
	t.mtu.Store(int64(mtu))
	return nil
}

// addAddresses puts the device into the journal first: other tunnels would take it for the underlay's.
func (h *machineHost) addAddresses(t *machineTUN, want []netip.Prefix) error {
	if err := h.journal.save(h.record); err != nil {
		return err
	}
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
func (h *machineHost) closeGuard(g routes.Guard) (wait func() error, err error) {
	was := h.record.Guard
	h.record.Guard = &g
	if err := h.journal.save(h.record); err != nil {
		h.record.Guard = was
		return nil, err // what cannot be undone after a crash is not done
	}
	if err := h.m.closeGuard(h.name, g); err != nil {
		h.record.Guard = was
		return nil, fmt.Errorf("%w: %w", ErrGuard, errors.Join(err, h.journal.save(h.record)))
	}
	if was == nil {
		h.log.Info("the guard is set", "closed", len(g.Closed), "all", g.Full())
	}
	return func() error { return nil }, nil
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
