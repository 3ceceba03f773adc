package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/routes"
)

// linuxHost is the Host over netlink. One goroutine of its own watches the underlay.
type linuxHost struct {
	name    string
	log     *slog.Logger
	nl      *netlink.Handle
	journal *journal
	record  record
	dns     *resolver
	addrs   []netip.Prefix // what we put on the device
	watch   *watch
	guarded bool         // record.Guard is what nftables has
	keeper  *guardKeeper // nil until a guard is closed

	dnsWatch *dnsWatch // nil while the tunnel has no DNS

	mu     sync.Mutex // guards tun and closed, because TUN.Close may come from elsewhere
	tun    *linuxTUN
	closed bool
}

// NewHost is the door to this Linux system, in the calling thread's network
// namespace. What a crashed run of the same name left behind is undone first, but for its guard.
func NewHost(cfg HostConfig) (Host, error) {
	log := orSilent(cfg.Log)
	if cfg.JournalDir == "" {
		return nil, errors.New("host: no journal directory")
	}
	if cfg.Etc == "" {
		cfg.Etc = "/etc"
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	j, err := openJournal(cfg.JournalDir, cfg.Name)
	if err != nil {
		nl.Close()
		return nil, err
	}
	var w *watch
	_, left, err := j.clean(context.Background(), nl, log, func(string) bool { return true })
	if err == nil {
		w, err = newWatch(nl)
	}
	if err != nil {
		nl.Close()
		j.close()
		return nil, err
	}
	return &linuxHost{
		name: cfg.Name, log: log, nl: nl, journal: j, watch: w, record: record{Guard: left},
		dns: &resolver{dir: cfg.JournalDir, etc: cfg.Etc, bus: cfg.Bus, resolvconf: cfg.Resolvconf, log: log},
	}, nil
}

func (h *linuxHost) usable(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	return ctx.Err()
}

func (h *linuxHost) OpenTUN(name string, mtu int) (TUN, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, os.ErrClosed
	}
	if h.tun != nil && !h.tun.closed.Load() {
		return nil, fmt.Errorf("the TUN device %s is open already", h.tun.name)
	}
	queues, err := createTUN(h.nl, name, mtu, 1, h.watch.ignore)
	if err != nil {
		return nil, err
	}
	t := queues[0]
	if err := h.nl.LinkSetGroup(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: t.index}}, tunnelGroup); err != nil {
		return nil, errors.Join(fmt.Errorf("set the group of %s: %w", t.name, err), t.Close())
	}
	h.tun, h.addrs = t, nil
	// A new address in the old one's network must not vanish with the old one.
	if err := sysctl("net/ipv4/conf/"+t.name+"/promote_secondaries", "1"); err != nil {
		h.log.Debug("promote_secondaries not set", "device", t.name, "error", err)
	}
	return t, nil
}

// device is the open TUN, or nil.
func (h *linuxHost) device() *linuxTUN {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tun == nil || h.tun.closed.Load() {
		return nil
	}
	return h.tun
}

func (h *linuxHost) deviceName() string {
	if t := h.device(); t != nil {
		return t.name
	}
	return ""
}

func (h *linuxHost) deviceIndex() int {
	if t := h.device(); t != nil {
		return t.index
	}
	return 0
}

// Apply implements Host.
func (h *linuxHost) Apply(ctx context.Context, plan routes.Plan) error { return carryOut(ctx, h, plan) }

func (h *linuxHost) begin(*linuxTUN, []netip.Prefix) { h.record.Device = h.deviceName() }

func (h *linuxHost) save() error { return h.journal.save(h.record) }

func (h *linuxHost) setMTU(t *linuxTUN, mtu int) error {
	if err := h.nl.LinkSetMTU(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: t.index}}, mtu); err != nil {
		return err
	}
	t.mtu.Store(int64(mtu))
	return nil
}

func (h *linuxHost) addAddresses(t *linuxTUN, want []netip.Prefix) error {
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: t.index, Name: t.name}}
	var errs []error
	for _, p := range want {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is4() {
			a.Broadcast = net.IPv4zero // a TUN has no broadcast
		} else {
			// Nobody else can hold the address on this link: usable at once.
			a.Flags = unix.IFA_F_NODAD
			h.enableIPv6(t)
		}
		err := h.nl.AddrAdd(link, a)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			if !p.Addr().Is4() && noFamily(err) {
				h.log.Warn("this system has no IPv6: the tunnel's IPv6 address is left out", "address", p)
				continue
			}
			errs = append(errs, fmt.Errorf("add address %s to %s: %w", p, t.name, err))
			continue
		}
		if !slices.Contains(h.addrs, p) {
			h.addrs = append(h.addrs, p)
		}
	}
	return errors.Join(errs...)
}

// enableIPv6 opens IPv6 on our own device where the system closes it for new ones.
func (h *linuxHost) enableIPv6(t *linuxTUN) {
	key := "net/ipv6/conf/" + t.name + "/disable_ipv6"
	if text, err := os.ReadFile(filepath.Join("/proc/sys", key)); err == nil && strings.TrimSpace(string(text)) == "1" {
		if err := sysctl(key, "0"); err != nil {
			h.log.Warn("IPv6 stays closed on the tunnel", "device", t.name, "error", err)
		}
	}
}

func (h *linuxHost) removeAddresses(t *linuxTUN, want []netip.Prefix) (removed bool, err error) {
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: t.index, Name: t.name}}
	var errs []error
	var left []netip.Prefix
	for _, p := range h.addrs {
		if slices.Contains(want, p) {
			left = append(left, p)
			continue
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}, Broadcast: net.IPv4zero}
		if err := h.nl.AddrDel(link, a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) && !noFamily(err) {
			errs = append(errs, fmt.Errorf("remove address %s from %s: %w", p, t.name, err))
			left = append(left, p)
			continue
		}
		removed = true
	}
	h.addrs = left
	return removed, errors.Join(errs...)
}

func sysctl(key, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644)
}

func (h *linuxHost) Changes() <-chan struct{} { return h.watch.changes }

// Close undoes everything and lets the journal go. Called twice it does nothing.
func (h *linuxHost) Close() error { return h.end(routes.Plan{}) }

// Leave undoes everything but the guard.
func (h *linuxHost) Leave() error { return h.end(routes.Plan{Guard: h.Guard()}) }

func (h *linuxHost) end(last routes.Plan) error {
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
	if h.dnsWatch != nil { // DNS that could not be taken back
		h.dnsWatch.close()
	}
	if h.keeper != nil {
		err = errors.Join(err, h.keeper.close())
	}
	h.watch.close()
	h.nl.Close()
	return errors.Join(err, h.journal.close())
}
