package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/nft"
)

const (
	defaultShared = "/run/adit-endpoint"
	journalName   = "kernel-network.json"
	tablePrefix   = "adit_endpoint_"
)

// Kernel is a Network of the operating system: a TUN device, an nftables table
// with source NAT and forward rules, and forwarding switched on for the
// interfaces concerned. All calls must be made in the network namespace that
// NewKernel was called in. An accept in our table does not overrule another
// table's drop: a firewall that drops forwarded packets must let ours pass.
type Kernel struct {
	cfg    KernelConfig
	log    *slog.Logger
	queues []platform.TUN // of one TUN device
	shared shared
	filter *netlink.Handle // of connection tracking
	rtnl   *netlink.Handle // of links, addresses, routes and rules
	lists  *netlink.Handle // of routes, the kernel giving only those of the table that is asked for
	ns     netns.NsHandle  // where all this is
	tables int             // the first of our routing tables

	forgetting sync.Mutex // guards leaving
	leaving    *leavers   // those of whom the search has not begun; nil: nobody

	mu      sync.Mutex
	closed  bool
	addrs   []netip.Prefix // on the TUN
	routes  []netip.Prefix // to the TUN
	sysctl  []string       // held in shared
	ways    []way
	rules   []wayRule
	numbers map[string]int // of associations, in ways and rules; nil: none
	wanted  Wanted         // of the last Apply that succeeded
	losses  losses
	refused map[string]error // interfaces that do not forward

	changes  *nl.NetlinkSocket // of links, addresses and routing rules
	stirred  chan struct{}     // there was one
	again    *time.Timer       // to look without one
	watching sync.WaitGroup
}

// journal is what CleanUp needs to know after a crash.
type journal struct {
	ID        string `json:"id"`
	SharedDir string `json:"shared_dir"`
	Tables    int    `json:"tables,omitempty"` // the first of its routing tables, in the start of the machine that Boot tells
	Boot      string `json:"boot,omitempty"`
}

var idPattern = regexp.MustCompile(`^[a-z0-9_]{1,16}$`)

// NewKernel makes the TUN. It serves nobody until Apply. What a crashed
// predecessor with the same StateDir left behind is removed first.
func NewKernel(c KernelConfig) (Network, error) {
	if !idPattern.MatchString(c.ID) {
		return nil, fmt.Errorf("network: id %q is not 1 to 16 lower-case letters, digits or _", c.ID)
	}
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.SharedDir == "" {
		c.SharedDir = defaultShared
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: --network kernel needs root; use --network userspace", ErrUnsupported)
	}
	if err := CleanUp(c.StateDir); err != nil {
		return nil, err
	}
	k := &Kernel{cfg: c, log: c.Log, shared: shared{dir: c.SharedDir, id: c.ID}, losses: newLosses(), ns: netns.None(),
		stirred: make(chan struct{}, 1), again: time.NewTimer(0)}
	k.again.Stop()
	if err := k.openSockets(); err != nil {
		k.closeSockets()
		return nil, err
	}
	if err := k.open(); err != nil {
		k.closeSockets()
		return nil, err
	}
	k.watching.Go(k.listen)
	k.watching.Go(k.watch)
	return k, nil
}

// openSockets opens what the kernel is asked and told by.
func (k *Kernel) openSockets() (err error) {
	if k.ns, err = netns.Get(); err != nil {
		return fmt.Errorf("network: network namespace: %w", err)
	}
	if k.filter, err = netlink.NewHandle(unix.NETLINK_NETFILTER); err != nil {
		return fmt.Errorf("network: connection tracking: %w", err)
	}
	if k.rtnl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("network: routes: %w", err)
	}
	if k.lists, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("network: routes: %w", err)
	}
	if err := k.lists.SetStrictCheck(true); err != nil { // Linux before 4.20 gives all routes, and the package picks
		k.log.Debug("lists of routes are long", "err", err)
	}
	k.changes, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
	if err != nil {
		return fmt.Errorf("network: changes of links, addresses and rules: %w", err)
	}
	return nil
}

func (k *Kernel) closeSockets() {
	for _, h := range []*netlink.Handle{k.filter, k.rtnl, k.lists} {
		if h != nil {
			h.Close()
		}
	}
	if k.changes != nil {
		k.changes.Close()
	}
	k.ns.Close()
}

// open makes the TUN, once what CleanUp must know is written.
func (k *Kernel) open() error {
	if err := k.free(); err != nil {
		return err
	}
	j := journal{ID: k.cfg.ID, SharedDir: k.cfg.SharedDir, Boot: bootID()}
	if err := j.write(k.cfg.StateDir); err != nil {
		return err
	}
	undo := func(err error) error {
		for _, q := range k.queues {
			q.Close()
		}
		return errors.Join(err, CleanUp(k.cfg.StateDir))
	}
	var err error
	if k.queues, err = platform.CreateTUN(k.cfg.Name, k.cfg.MTU, max(k.cfg.Queues, 1)); err != nil {
		return undo(err)
	}
	link, err := k.rtnl.LinkByName(k.device())
	if err != nil {
		return undo(fmt.Errorf("network: find %s: %w", k.device(), err))
	}
	k.tables = waysOf(link.Attrs().Index)
	j.Tables = k.tables
	if err := j.write(k.cfg.StateDir); err != nil {
		return undo(err)
	}
	return nil
}

func (j journal) write(dir string) error {
	b, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("network: journal: %w", err)
	}
	if err := durable.Write(filepath.Join(dir, journalName), b, 0o600); err != nil {
		return fmt.Errorf("network: journal: %w", err)
	}
	return nil
}

// free makes sure that no running endpoint has our id.
func (k *Kernel) free() error {
	name := tablePrefix + k.cfg.ID
	there, err := nft.Exists(name)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if there {
		return fmt.Errorf("network: table inet %s exists: another endpoint with id %s is running, or crashed with another data directory", name, k.cfg.ID)
	}
	return nil
}

// Queues implements Network.
func (k *Kernel) Queues() []platform.TUN { return k.queues }

// device is the TUN device's name.
func (k *Kernel) device() string { return k.queues[0].Name() }

// Apply implements Network: forwarding, addresses and routes come first, then the
// whole table is replaced in one transaction, then what is not wanted goes.
func (k *Kernel) Apply(_ context.Context, w Wanted) error {
	if err := w.Check(); err != nil {
		return err
	}
	w = w.clone()
	for _, a := range w.Associations {
		if a.Subnet == DemoSubnet {
			return fmt.Errorf("%w: the %s network exists only in the userspace network", ErrWanted, DemoSubnet)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return os.ErrClosed
	}
	for _, a := range w.Associations {
		// One that was there is lost, and may come back. Nothing else need wait for it.
		was := func(b Association) bool { return a.Interface == b.Interface }
		if a.Interface == "" || slices.ContainsFunc(k.wanted.Associations, was) {
			continue
		}
		if _, err := netlink.LinkByName(a.Interface); err != nil {
			return fmt.Errorf("%w: subnet %s: interface %s: %w", ErrWanted, a.Subnet, a.Interface, err)
		}
	}
	link, err := netlink.LinkByName(k.device())
	if err != nil {
		return fmt.Errorf("network: find %s: %w", k.device(), err)
	}
	for _, c := range []netip.Prefix{w.ClientCIDR, w.ClientCIDR6} {
		if err := unclaimed(link, c); err != nil {
			return err
		}
	}
	sysctls, err := k.forward(w)
	if err != nil {
		return err
	}
	var addrs, routes []netip.Prefix
	for _, g := range w.Gateways {
		if err := netlink.AddrReplace(link, tunAddr(g)); err != nil {
			return fmt.Errorf("network: add address %s to %s: %w", g, k.device(), err)
		}
		addrs = append(addrs, g)
		if !slices.Contains(k.addrs, g) {
			k.addrs = append(k.addrs, g)
		}
	}
	for _, c := range []netip.Prefix{w.ClientCIDR, w.ClientCIDR6} {
		if !c.IsValid() {
			continue
		}
		if err := netlink.RouteReplace(tunRoute(link, c)); err != nil {
			return fmt.Errorf("network: add route %s to %s: %w", c, k.device(), err)
		}
		routes = append(routes, c)
		if !slices.Contains(k.routes, c) {
			k.routes = append(k.routes, c)
		}
	}
	numbers, err := k.number(w)
	if err != nil {
		return err
	}
	ways, rules := k.waysFor(w, numbers)
	err = k.addWays(ways, rules)
	if err == nil {
		err = k.replaceTable(w, numbers)
	}
	if err != nil { // routes in force may have been replaced
		return errors.Join(err, k.setWays(k.waysFor(k.wanted, k.numbers)))
	}
	k.numbers, k.wanted = numbers, w
	// From here on the new state is served; what follows only tidies up.
	var errs []error
	for _, c := range k.routes {
		if !slices.Contains(routes, c) {
			errs = append(errs, netlink.RouteDel(tunRoute(link, c)))
		}
	}
	for _, a := range k.addrs {
		if !slices.Contains(addrs, a) {
			errs = append(errs, netlink.AddrDel(link, tunAddr(a)))
		}
	}
	for _, s := range k.sysctl {
		if !slices.Contains(sysctls, s) {
			errs = append(errs, k.shared.release(s))
		}
	}
	errs = append(errs, k.dropWays(ways, rules))
	k.addrs, k.routes, k.sysctl = addrs, routes, sysctls
	if err := errors.Join(errs...); err != nil {
		k.log.Warn("something old stays behind", "err", err)
	}
	k.look()
	return nil
}

// Forget implements Network: what connection tracking knows of the client goes.
func (k *Kernel) Forget(clients ...netip.Addr) {
	k.forgetting.Lock()
	b := k.leaving
	first := b == nil
	if first {
		b = &leavers{gone: map[netip.Addr]bool{}, done: make(chan struct{})}
		k.leaving = b
	}
	for _, c := range clients {
		if c.IsValid() {
			b.gone[c] = true
		}
	}
	k.forgetting.Unlock()
	if !first {
		<-b.done
		return
	}
	defer close(b.done)
	k.mu.Lock() // while another one searches, more join
	defer k.mu.Unlock()
	k.forgetting.Lock()
	k.leaving = nil
	k.forgetting.Unlock()
	if k.closed {
		return
	}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if !b.has(family) {
			continue
		}
		if _, err := k.filter.ConntrackDeleteFilters(netlink.ConntrackTable, family, b); err != nil {
			k.log.Warn("connections of clients that left stay until they time out", "clients", len(b.gone), "err", err)
		}
	}
}

// leavers are addresses that are forgotten together: each search goes through the connections of the whole machine.
type leavers struct {
	gone map[netip.Addr]bool
	done chan struct{} // closed when they are forgotten
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (l *leavers) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	a, ok := netip.AddrFromSlice(f.Forward.SrcIP)
	return ok && l.gone[a.Unmap()]
}

func (l *leavers) has(family netlink.InetFamily) bool {
	for a := range l.gone {
		if a.Is6() == (family == unix.AF_INET6) {
			return true
		}
	}
	return false
}

// Close implements Network.
func (k *Kernel) Close() error {
	k.mu.Lock()
	already := k.closed
	k.closed = true
	k.mu.Unlock()
	if already {
		return nil
	}
	k.again.Stop()
	k.changes.Close()
	k.watching.Wait()
	close(k.losses.ch)
	k.closeSockets()
	// The TUN takes its addresses and routes along. It goes before the table, so
	// that no packet passes unfiltered.
	var errs []error
	for _, q := range k.queues {
		errs = append(errs, q.Close())
	}
	return errors.Join(errors.Join(errs...), CleanUp(k.cfg.StateDir))
}

// CleanUp removes what a crashed Kernel network with this state directory left
// behind: its tables, its routing rules and its hold on forwarding. Nothing left behind is no error.
func CleanUp(stateDir string) error {
	path := filepath.Join(stateDir, journalName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("network: journal: %w", err)
	}
	var j journal
	if err := json.Unmarshal(b, &j); err != nil || !idPattern.MatchString(j.ID) || !filepath.IsAbs(j.SharedDir) {
		return fmt.Errorf("network: journal %s cannot be read: remove the nftables table inet %s… by hand, then the file", path, tablePrefix)
	}
	var ways error
	if j.Tables >= wayTables && j.Boot == bootID() {
		ways = cleanWays(j.Tables)
	}
	if err := errors.Join(nft.Delete(tablePrefix+j.ID), ways, (&shared{dir: j.SharedDir, id: j.ID}).releaseAll()); err != nil {
		return fmt.Errorf("network: clean up %s: %w", j.ID, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network: journal: %w", err)
	}
	return nil
}

func tunAddr(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// unclaimed refuses a client range that somebody else routes already, such as another
// endpoint on this machine: replacing the route would take its clients away.
func unclaimed(link netlink.Link, cidr netip.Prefix) error {
	if !cidr.IsValid() {
		return nil
	}
	family := netlink.FAMILY_V4
	if cidr.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: ipNet(cidr.Masked())}, netlink.RT_FILTER_DST)
	if err != nil {
		return fmt.Errorf("network: look for routes to %s: %w", cidr, err)
	}
	for _, r := range routes {
		if r.LinkIndex == link.Attrs().Index {
			continue
		}
		device := fmt.Sprintf("device %d", r.LinkIndex)
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			device = l.Attrs().Name
		}
		return fmt.Errorf("network: %s is routed to %s already; give this endpoint another client range", cidr, device)
	}
	return nil
}

func tunRoute(link netlink.Link, p netip.Prefix) *netlink.Route {
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(p.Masked())}
	if p.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
