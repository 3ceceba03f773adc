package platform

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/nft"
	"github.com/adit-vpn/adit/routes"
)

const (
	// Mark is the routing mark (SO_MARK) of the service's own packets to servers and resolvers. Only those
	// who may configure the network can set one.
	Mark = 0xad1700
	// passed marks what a guard has let through as its own: the guards of all tunnels let it leave.
	passed = Mark + 1
	// tunnelGroup is the interface group of our tunnels' devices ("ip link show group 157").
	tunnelGroup = 157
	// guardTable begins the names of our tables; the Host's name follows, and which journal it is in.
	guardTable = "adit_guard_"
)

// The guard of one Host is a table of its own, replaced in one transaction. It looks at packets where they leave the
// machine, its own and those that it forwards, when it is decided by which device they do. A drop in any table is final,
// and an accept is not: what one tunnel lets through the others must not stop. So each table first, in a chain before
// all decisions, gives the packets that are its own process' to its own server the mark passed.
var (
	guardStrips  = nftables.ChainPriorityRef(-30)
	guardSorts   = nftables.ChainPriorityRef(-20)
	guardDecides = nftables.ChainPriorityRef(-10)
	guardInside  = nftables.ChainPriorityRef(-310) // before connection tracking
)

// closeGuard puts g, which stops something, in place of what is there, journal first. The function that it returns waits
// until that is done: closing the first time takes milliseconds, in which routes can be set. On an error what was there
// stays.
func (h *linuxHost) closeGuard(g routes.Guard) (wait func() error, err error) {
	nothing := func() error { return nil }
	was := h.record.Guard
	if was != nil && was.Equal(g) && h.guarded {
		return nothing, nil
	}
	if h.keeper == nil {
		if h.keeper, err = keepGuard(h.journal.table(), h.log); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrGuard, err)
		}
	}
	h.record.Guard = &g
	if err := h.journal.save(h.record); err != nil {
		h.record.Guard = was
		return nil, err // what cannot be undone after a crash is not done
	}
	done := make(chan error, 1)
	go func() { done <- h.keeper.put(g, was == nil) }() // wait waits for it
	wait = func() error {
		if err := <-done; err != nil {
			h.record.Guard = was
			return fmt.Errorf("%w: %w", ErrGuard, errors.Join(err, h.journal.save(h.record)))
		}
		if !h.guarded {
			h.log.Info("the guard is set", "closed", len(g.Closed), "all", g.Full())
		}
		h.guarded = true
		return nil
	}
	if was == nil {
		return wait, nil
	}
	return nothing, wait()
}

// openGuard takes the guard away.
func (h *linuxHost) openGuard() (err error) {
	if h.record.Guard == nil {
		return nil
	}
	if h.keeper != nil {
		err = h.keeper.remove()
	} else {
		err = nft.Delete(h.journal.table())
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGuard, err)
	}
	h.log.Info("the guard is gone")
	h.record.Guard, h.guarded = nil, false
	return h.journal.save(h.record)
}

// Guard implements Host.
func (h *linuxHost) Guard() routes.Guard {
	if h.record.Guard == nil {
		return routes.Guard{}
	}
	return *h.record.Guard
}

// table is the name of the nftables table of j's Host. Services with other journals have tables of their own.
func (j *journal) table() string {
	h := fnv.New32a()
	h.Write([]byte(filepath.Dir(j.path)))
	return fmt.Sprintf("%s%s_%08x", guardTable, j.name(), h.Sum32())
}

// leftClosed is the guard of a run whose journal is gone or cannot be read: all that is closed, or nil for none; unless keep
// says yes to it, it is opened, and n is 1.
func (j *journal) leftClosed(keep func(name string) bool) (n int, g *routes.Guard, err error) {
	there, err := nft.Exists(j.table())
	switch {
	case err != nil || !there:
		return 0, nil, nil // such as a kernel without nftables, which guards nothing
	case !keep(j.name()):
		return 1, nil, nft.Delete(j.table())
	}
	c, err := nft.Open()
	if err != nil {
		return 0, nil, err
	}
	defer c.Close()
	all := routes.Everything()
	return 0, &all, errors.Join(j.save(record{Guard: &all}), closeGuard(c, j.table(), all, false))
}

// guardsLeft are the names of the Hosts with journals in dir whose guards are closed.
func guardsLeft(dir string) (names []string) {
	tables, err := nft.Tables()
	if err != nil {
		return nil // as in leftClosed
	}
	for _, t := range tables {
		name, ok := strings.CutPrefix(t, guardTable)
		if i := strings.LastIndexByte(name, '_'); ok && i > 0 && validName(name[:i]) && (&journal{path: filepath.Join(dir, name[:i]+".json")}).table() == t {
			names = append(names, name[:i])
		}
	}
	return names
}

// closeGuard makes a table anew, in one transaction. First says that there should be none yet.
func closeGuard(c *nft.Conn, table string, g routes.Guard, first bool) error {
	write := func(begin func(*nftables.Conn, string) *nftables.Table) error {
		err := c.Transact(func(tx *nftables.Conn) error {
			r := guardRules{c: tx, t: begin(tx, table)}
			r.strip()
			r.sort(g)
			r.decide(g)
			r.inside(g)
			return r.failed
		})
		if err != nil {
			return fmt.Errorf("nftables table %s: %w", table, err)
		}
		return nil
	}
	if first {
		if err := write(nft.Create); !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return write(nft.Replace)
}

// guardRules writes one table.
type guardRules struct {
	c      *nftables.Conn
	t      *nftables.Table
	failed error
}

func (r *guardRules) among(ps []netip.Prefix) []nft.Match {
	ms, err := nft.Among(r.c, r.t, ps, true)
	r.failed = errors.Join(r.failed, err)
	return ms
}

func (r *guardRules) chain(name string, hook *nftables.ChainHook, prio *nftables.ChainPriority) func(...[]expr.Any) {
	return nft.Chain(r.c, r.t, name, nftables.ChainTypeFilter, hook, prio)
}

// strip takes the mark passed from packets that brought it along: some programs set any mark for any user ("ping -m").
func (r *guardRules) strip() {
	add := r.chain("strip", nftables.ChainHookPostrouting, guardStrips)
	add(nft.Number(expr.MetaKeyMARK, passed, true), nft.SetMark(0))
}

// sort gives the service's own packets the mark passed.
func (r *guardRules) sort(g routes.Guard) {
	add := r.chain("sort", nftables.ChainHookPostrouting, guardSorts)
	mark := uint32(Mark)
	if g.Mark != 0 {
		mark = uint32(g.Mark)
	}
	own := nft.Number(expr.MetaKeyMARK, mark, true)
	pass := slices.Concat(nft.SetMark(passed), nft.Verdict(expr.VerdictAccept))
	for _, e := range g.Outer {
		proto := byte(unix.IPPROTO_UDP)
		if e.Transport == "tcp" {
			proto = unix.IPPROTO_TCP
		}
		port := nft.Protocol(proto)
		if e.Port != 0 {
			port = nft.Port(proto, e.Port, false)
		}
		add(own, nft.To(e.Address), port, pass)
	}
	// The service asks the underlay's resolvers with its usual mark.
	for _, a := range g.Resolvers {
		for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			add(nft.Number(expr.MetaKeyMARK, Mark, true), nft.To(a), nft.Port(proto, 53, false), pass)
		}
	}
}

// decide lets pass what may, and drops what is closed.
func (r *guardRules) decide(g routes.Guard) {
	if len(g.Closed) == 0 {
		return // only others' guards are closed
	}
	add := r.chain("decide", nftables.ChainHookPostrouting, guardDecides)
	accept, drop := nft.Verdict(expr.VerdictAccept), nft.Verdict(expr.VerdictDrop)
	add(nft.Device(expr.MetaKeyOIFNAME, "lo", true), accept)
	add(nft.Number(expr.MetaKeyOIFGROUP, tunnelGroup, true), accept)
	add(nft.Number(expr.MetaKeyMARK, passed, true), accept)
	// DHCP and DHCPv6: from the client's port to the server's (RFC 2131 4.1, RFC 8415 7.2).
	add(nft.Family(true), nft.Port(unix.IPPROTO_UDP, 68, true), nft.Port(unix.IPPROTO_UDP, 67, false), accept)
	for _, to := range []string{"fe80::/10", "ff02::1:2/128", "ff05::1:3/128"} {
		add(nft.InRange(netip.MustParsePrefix(to), true), nft.Port(unix.IPPROTO_UDP, 546, true), nft.Port(unix.IPPROTO_UDP, 547, false), accept)
	}
	// Who is my router, who has this address, and to which groups do I listen, so that the question arrives
	// (RFC 4861 4.1, 4.3, 4.4; RFC 3810 5). A router forwards none of them: it checks the hop limit.
	for _, typ := range []byte{133, 135, 136} {
		add(nft.Family(false), nft.ICMP(false, typ), nft.HopLimit(255), accept)
	}
	for _, typ := range []byte{131, 132, 143} {
		add(nft.InRange(netip.MustParsePrefix("ff02::/16"), true), nft.ICMP(false, typ), accept)
	}
	for _, m := range r.among(g.Past) {
		add(m.Exprs, accept)
	}
	names := func(match []expr.Any, verdict []expr.Any) { // in plain, over TLS and over QUIC (RFC 7858, RFC 9250)
		for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			for _, port := range []uint16{53, 853} {
				add(match, nft.Port(proto, port, false), verdict)
			}
		}
	}
	if len(g.Web) > 0 {
		for _, a := range g.Resolvers {
			names(nft.To(a), accept)
		}
	}
	for _, port := range []uint16{80, 443} {
		for _, m := range r.among(g.Web) { // a set is one rule's
			add(m.Exprs, nft.Port(unix.IPPROTO_TCP, port, false), accept)
		}
	}
	if g.DNS {
		names(nil, drop)
	}
	for _, m := range r.among(g.Local) {
		add(m.Exprs, accept)
	}
	for _, m := range r.among(g.Closed) {
		add(m.Exprs, []expr.Any{&expr.Counter{}}, drop)
	}
}

// inside drops what comes to the tunnel's addresses from elsewhere: a neighbour could find out by such packets
// which connections run in the tunnel, and inject into them (CVE-2019-14899).
func (r *guardRules) inside(g routes.Guard) {
	add := r.chain("inside", nftables.ChainHookPrerouting, guardInside)
	var ps []netip.Prefix
	for _, a := range g.Inside {
		ps = append(ps, netip.PrefixFrom(a, a.BitLen()))
	}
	for _, m := range r.among(ps) {
		add(nft.Device(expr.MetaKeyIIFNAME, "lo", false), nft.Number(expr.MetaKeyIIFGROUP, tunnelGroup, false), m.Exprs, nft.Verdict(expr.VerdictDrop))
	}
}
