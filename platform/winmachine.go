package platform

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/platform/lock"
	"github.com/adit-vpn/adit/routes"
)

// winTunnelType is what Wintun names the kind of our adapters by: Windows describes them as "Adit Tunnel", "Adit Tunnel #2".
const winTunnelType = "Adit"

// winMark is the metric of our rows on devices which are not ours. Nobody else's have it, and that is how rows of
// other Hosts and of crashed runs are known: Windows keeps no other mark in a row. It decides nothing, as an equal row
// of somebody else would have been the underlay's way that ours copies.
const winMark = 9157

// How long a new adapter may take until each family is there, as Windows attaches them after its start.
const (
	winPoll    = 50 * time.Millisecond
	winPolls4  = 200 // 10 s: without IPv4 there is no tunnel
	winPolls6  = 40  // 2 s: IPv6 may be switched off
	winMTU     = 1500
	winLeast6  = 1280 // RFC 8200
	winMaxName = 64
)

// winGuard is the firewall, package wfp.
type winGuard interface {
	// Shut puts g in place of what the guard of that name is, and lets pass what leaves by the device tunnel, 0 for none.
	Shut(name string, g routes.Guard, tunnel uint64) error
	Open(name string) (did bool, err error)
	Names() ([]string, error)
}

// winMachine is the machine over Windows.
type winMachine struct {
	api  winAPI
	name string // of the Host; "" for CleanUp, which opens no TUN
	log  *slog.Logger
	dns  *nrpt
	wall winGuard

	own   atomic.Uint64 // the open TUN's LUID, 0 for none: TUN.Close may come from elsewhere
	inet6 bool          // it has IPv6

	mu sync.Mutex
	// did is what we did last to rows on others' devices: true for adding.
	did map[winRoute]bool
}

func newWinMachine(api winAPI, wall winGuard, dir, name string, log *slog.Logger) *winMachine {
	return &winMachine{api: api, wall: wall, name: name, log: log, dns: &nrpt{api: api, dir: dir, log: log}, did: map[winRoute]bool{}}
}

// lasting: rules for names and the guard outlive a restart.
func (m *winMachine) lasting() bool { return true }

func (m *winMachine) openTUN(name string, mtu int) (TUN, link, error) {
	if mtu <= 0 {
		mtu = winMTU
	}
	tun, l, err := m.create(name, mtu)
	if err != nil {
		return nil, link{}, err
	}
	m.own.Store(uint64(l.Index))
	if err := m.prepare(uint64(l.Index), mtu); err != nil {
		return nil, link{}, errors.Join(fmt.Errorf("set up the adapter %s: %w", l.Device, err), tun.Close())
	}
	return tun, l, nil
}

// create makes the device, while no other Host of the directory does: two would find the same name free.
func (m *winMachine) create(name string, mtu int) (TUN, link, error) {
	held, err := lock.Wait(filepath.Join(m.dns.dir, ".adapter"))
	if err != nil {
		return nil, link{}, fmt.Errorf("journal: %w", err)
	}
	defer held.Remove()
	all, err := m.api.adapters()
	if err != nil {
		return nil, link{}, fmt.Errorf("read the network adapters: %w", err)
	}
	name = freeName(name, all)
	// With the same identity each time, Windows knows the network again and does not ask what kind it is.
	tun, luid, err := m.api.createAdapter(name, guidOf("adapter", m.name), mtu)
	if err != nil {
		return nil, link{}, err
	}
	return &winTUN{tun, &m.own}, link{Index: int(luid), Device: name}, nil
}

// winTUN is a device whose number is free for others once it is closed.
type winTUN struct {
	TUN
	own *atomic.Uint64
}

// Close implements TUN.
func (t *winTUN) Close() error {
	t.own.Store(0)
	return t.TUN.Close()
}

// prepare waits until both families are on the device, and makes them work as on a tunnel.
func (m *winMachine) prepare(luid uint64, mtu int) error {
	wait := func(inet6 bool, polls int) error {
		for i := 1; ; i++ {
			err := m.api.setUp(luid, inet6, familyMTU(inet6, mtu))
			if !errors.Is(err, errWinMissing) || i >= polls {
				return err
			}
			time.Sleep(winPoll)
		}
	}
	if err := wait(false, winPolls4); err != nil {
		return fmt.Errorf("IPv4: %w", err)
	}
	err := wait(true, winPolls6)
	if err != nil && !errors.Is(err, errWinMissing) {
		return fmt.Errorf("IPv6: %w", err)
	}
	m.inet6 = err == nil
	// An adapter of the same identity may have left its servers in the registry.
	if err := m.dns.setServers(luid, false, nil, nil); err != nil || !m.inet6 {
		return err
	}
	return m.dns.setServers(luid, true, nil, nil)
}

func familyMTU(inet6 bool, mtu int) int {
	if inet6 {
		return max(mtu, winLeast6)
	}
	return mtu
}

// freeName is the wish, or our usual name, with a number that makes it nobody else's: Wintun would rename the one that has it.
func freeName(wish string, all []winAdapter) string {
	fit := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
	}
	if wish == "" || len(wish) > winMaxName || strings.ContainsFunc(wish, func(c rune) bool { return !fit(c) }) {
		wish = winTunnelType
	}
	name := wish
	for i := 2; slices.ContainsFunc(all, func(a winAdapter) bool { return strings.EqualFold(a.name, name) }); i++ {
		name = fmt.Sprintf("%s %d", wish, i)
	}
	return name
}

// guidOf is always the same for the same names, in Windows' form.
func guidOf(names ...string) string {
	h := sha256.Sum256([]byte("adit\x00" + strings.Join(names, "\x00")))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // version 8 of RFC 9562: of our own making
	return fmt.Sprintf("{%X-%X-%X-%X-%X}", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func (m *winMachine) setMTU(l link, mtu int) error {
	for _, inet6 := range []bool{false, true} {
		if inet6 && !m.inet6 {
			continue
		}
		if err := m.api.setUp(uint64(l.Index), inet6, familyMTU(inet6, mtu)); err != nil {
			return err
		}
	}
	return nil
}

func (m *winMachine) addAddress(l link, p netip.Prefix) error {
	if p.Addr().Is6() && !m.inet6 {
		m.log.Warn("this system has no IPv6: the tunnel's IPv6 address is left out", "address", p)
		return nil
	}
	err := m.api.addAddress(uint64(l.Index), p)
	if !errors.Is(err, errWinExists) {
		return err
	}
	all, err := m.api.adapters()
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.luid != uint64(l.Index) && slices.ContainsFunc(a.addresses, func(o netip.Prefix) bool { return o.Addr() == p.Addr() }) {
			return fmt.Errorf("the adapter %q has this address", a.name)
		}
	}
	return nil
}

func (m *winMachine) removeAddress(l link, p netip.Prefix) error {
	return but(m.api.removeAddress(uint64(l.Index), p), errWinMissing)
}

// but is err, or nil for one that is no failure here.
func but(err, fine error) error {
	if errors.Is(err, fine) {
		return nil
	}
	return err
}

func (m *winMachine) findLink(name string) (link, error) {
	all, err := m.api.adapters()
	if err != nil {
		return link{}, fmt.Errorf("read the network adapters: %w", err)
	}
	for _, a := range all {
		if a.name == name {
			return link{Index: int(a.luid), Device: name}, nil
		}
	}
	return link{}, errors.New("there is no such network adapter")
}

// winRow is r as Windows has it. There are no rows that lead nowhere: such a one leads on-link into the loopback device, which
// drops what is not its own.
func (m *winMachine) winRow(r row) (winRoute, error) {
	w := winRoute{destination: r.Destination, gateway: r.Gateway, luid: uint64(r.Index), metric: winMark}
	switch {
	case r.Unreachable:
		all, err := m.api.adapters()
		if err != nil {
			return w, fmt.Errorf("read the network adapters: %w", err)
		}
		i := slices.IndexFunc(all, func(a winAdapter) bool { return a.loopback })
		if i < 0 {
			return w, errors.New("there is no loopback device")
		}
		w.luid = all[i].luid
	case m.isOwn(w.luid):
		// All that is sent there comes to us, whatever the gateway.
		w.gateway, w.metric = netip.Addr{}, r.Metric
	}
	return w, nil
}

func (m *winMachine) addRoute(r row) (made bool, err error) {
	w, err := m.winRow(r)
	if err != nil {
		return false, err
	}
	if m.isOwn(w.luid) && r.Destination.Addr().Is6() && !m.inet6 {
		return false, nil // said with the address
	}
	m.remember(w, true)
	err = m.api.addRoute(w)
	switch {
	case errors.Is(err, errWinExists) && m.isOwn(w.luid):
		// The metric is no part of the key: the old row becomes the new one.
		if is, err := m.api.route(w); err != nil || is.metric == w.metric {
			return err == nil, err
		}
		err = m.api.setRoute(w)
	case errors.Is(err, errWinExists):
		// One with our mark is another Host's, or of a crashed run whose journal is lost: ours, too.
		is, err := m.api.route(w)
		return err == nil && is.metric == winMark, but(err, errWinMissing)
	case r.Unreachable && r.Destination.Addr().Is6() && errors.Is(err, errWinMissing):
		return false, nil // no IPv6 in this system: nothing that could leak
	}
	return err == nil, err
}

func (m *winMachine) removeRoute(r row) (did bool, err error) {
	w, err := m.winRow(r)
	if err != nil {
		return false, err
	}
	if there, err := m.there(w.luid); err != nil || !there {
		return false, err // the row went with its device
	}
	is, err := m.api.route(w)
	if err == nil && is.metric != w.metric {
		return false, nil // somebody else's
	}
	if err == nil {
		m.remember(w, false)
		err = m.api.removeRoute(w)
	}
	if errors.Is(err, errWinMissing) {
		return false, nil
	}
	return err == nil, err
}

// there says whether there is such a device.
func (m *winMachine) there(luid uint64) (bool, error) {
	if m.isOwn(luid) {
		return true, nil
	}
	all, err := m.api.adapters()
	if err != nil {
		return false, fmt.Errorf("read the network adapters: %w", err)
	}
	return slices.ContainsFunc(all, func(a winAdapter) bool { return a.luid == luid }), nil
}

// isOwn says whether luid is the open TUN's.
func (m *winMachine) isOwn(luid uint64) bool { return luid != 0 && luid == m.own.Load() }

func (m *winMachine) remember(w winRoute, added bool) {
	if !m.isOwn(w.luid) {
		m.mu.Lock()
		m.did[w.key()] = added
		m.mu.Unlock()
	}
}

func (m *winMachine) watch(own func(index int) bool, signal func()) (func(), error) {
	return m.api.watch(func(e winEvent) {
		if m.matters(e, own) {
			signal()
		}
	})
}

// matters leaves out what we did ourselves, and rows that say nothing about the way to somewhere.
func (m *winMachine) matters(e winEvent, own func(index int) bool) bool {
	switch e.what {
	case winNames:
		return m.dns.lost()
	case winRouteRow:
		if !tells(e.route.destination) {
			return false
		}
		m.mu.Lock()
		added, ours := m.did[e.route.key()]
		m.mu.Unlock()
		if ours && added != e.removed {
			return false
		}
	}
	return !own(int(e.luid)) && !m.isOwn(e.luid) // the Host knows it only when it is ready
}

// tells says whether a row to p says something about the way to other machines.
func tells(p netip.Prefix) bool {
	return p.IsValid() && !p.Addr().IsMulticast() && !p.Addr().IsLoopback() && p != limitedBroadcast
}

var limitedBroadcast = netip.MustParsePrefix("255.255.255.255/32")

func (m *winMachine) closeGuard(name string, g routes.Guard) error {
	return m.wall.Shut(name, g, m.own.Load())
}

func (m *winMachine) openGuard(name string) (did bool, err error) { return m.wall.Open(name) }

func (m *winMachine) guards() ([]string, error) { return m.wall.Names() }
