package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The packets of each association's clients leave by its own interface, whatever the machine's routes say: they are marked when they
// come from the TUN, and a rule for that TUN and mark names the association's own routing table. It knows the subnet, and
// what is behind the subnet's gateway; for the rest the machine's routes decide.

const (
	// wayMark is the mark of an association's packets, with its number, 1 to maxWays, in the last byte. Only rules for our TUN ask for it.
	wayMark = 0xad1800
	maxWays = 255
	// wayTables is the first routing table of all endpoints: each has those from wayTables + 256 × the TUN's index on.
	wayTables = 0x20000000
	// wayPriority is that of the rules: after the machine's own addresses, before its routes.
	wayPriority = 20179
)

// way is one route of an association.
type way struct {
	number  int // of the association
	dst     netip.Prefix
	link    int        // index
	gateway netip.Addr // invalid: on the link
}

// wayRule is the rule for one association's table in one family.
type wayRule struct {
	number int
	family int
}

// waysOf is the first table of the TUN with an index.
func waysOf(index int) int { return wayTables + (index&0x1fffff)<<8 }

// apart says whether the associations of w need ways of their own.
func (w Wanted) apart() bool {
	named, gateway := false, false
	for _, a := range w.Associations {
		named = named || a.Interface != ""
		gateway = gateway || len(a.Via) > 0
	}
	return named && (gateway || len(w.Associations) > 1)
}

// number gives each association of w its number, the same as long as it is there. The result is nil when they need none.
func (k *Kernel) number(w Wanted) (map[string]int, error) {
	if !w.apart() {
		return nil, nil
	}
	if len(w.Associations) > maxWays {
		return nil, fmt.Errorf("%w: more than %d associations", ErrWanted, maxWays)
	}
	out, taken := map[string]int{}, map[int]bool{}
	if len(k.numbers)+len(w.Associations) <= maxWays { // the table in force still marks the packets of those that go
		for _, n := range k.numbers {
			taken[n] = true
		}
	}
	for _, a := range w.Associations {
		if n := k.numbers[a.Subnet]; n != 0 {
			out[a.Subnet], taken[n] = n, true
		}
	}
	next := 1
	for _, a := range w.Associations {
		if out[a.Subnet] != 0 {
			continue
		}
		for taken[next] {
			next++
		}
		out[a.Subnet], taken[next] = next, true
	}
	return out, nil
}

// waysFor is what w wants. Interfaces that are down or gone have none until they are up.
func (k *Kernel) waysFor(w Wanted, numbers map[string]int) (ways []way, rules []wayRule) {
	if numbers == nil {
		return nil, nil
	}
	for _, a := range w.Associations {
		l, err := k.rtnl.LinkByName(a.Interface)
		if a.Interface == "" || err != nil || l.Attrs().Flags&net.FlagUp == 0 {
			continue
		}
		n := numbers[a.Subnet]
		put := func(dst netip.Prefix, gateway netip.Addr) {
			if (dst.Addr().Is4() && w.ClientCIDR.IsValid() || dst.Addr().Is6() && w.ClientCIDR6.IsValid()) &&
				!slices.ContainsFunc(ways, func(have way) bool { return have.number == n && have.dst == dst }) {
				ways = append(ways, way{n, dst, l.Attrs().Index, gateway})
			}
		}
		for _, p := range a.Ranges {
			put(p.Masked(), netip.Addr{})
		}
		behind := slices.Clone(a.Networks)
		for _, r := range w.Routes {
			if r.Association == a.Subnet {
				behind = append(behind, r.Destination)
			}
		}
		for _, gateway := range a.Via {
			for _, p := range behind {
				if p.Addr().Is4() == gateway.Is4() {
					put(p.Masked(), gateway)
				}
			}
		}
		if w.ClientCIDR.IsValid() {
			rules = append(rules, wayRule{n, netlink.FAMILY_V4})
		}
		if w.ClientCIDR6.IsValid() {
			rules = append(rules, wayRule{n, netlink.FAMILY_V6})
		}
	}
	return ways, rules
}

// setWays has the kernel serve exactly ways and rules.
func (k *Kernel) setWays(ways []way, rules []wayRule) error {
	return errors.Join(k.addWays(ways, rules), k.dropWays(ways, rules))
}

// addWays puts ways and rules in place, beside those that are there. The kernel may have lost some with their interface, and
// other programs may have removed some.
func (k *Kernel) addWays(ways []way, rules []wayRule) error {
	served := k.served(ways)
	for _, v := range ways {
		if !served[v] {
			if err := k.rtnl.RouteReplace(k.wayRoute(v)); err != nil {
				return fmt.Errorf("network: add the route to %s by device %d: %w", v.dst, v.link, err)
			}
		}
		if !slices.Contains(k.ways, v) {
			k.ways = append(k.ways, v)
		}
	}
	for _, r := range rules {
		if err := k.rtnl.RuleAdd(k.wayRule(r)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("network: add the routing rule of %s: %w", k.device(), err)
		}
		if !slices.Contains(k.rules, r) {
			k.rules = append(k.rules, r)
		}
	}
	return nil
}

// served are the routes that the kernel has in the tables of ways. What cannot be read counts as missing.
func (k *Kernel) served(ways []way) map[way]bool {
	out, read := map[way]bool{}, map[wayRule]bool{}
	for _, v := range ways {
		t := wayRule{v.number, netlink.FAMILY_V6}
		if v.dst.Addr().Is4() {
			t.family = netlink.FAMILY_V4
		}
		if read[t] {
			continue
		}
		read[t] = true
		routes, err := k.lists.RouteListFiltered(t.family, &netlink.Route{Table: k.tables + t.number}, netlink.RT_FILTER_TABLE)
		if err != nil {
			continue
		}
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			bits, _ := r.Dst.Mask.Size()
			dst, _ := netip.AddrFromSlice(r.Dst.IP)
			gateway, _ := netip.AddrFromSlice(r.Gw)
			out[way{t.number, netip.PrefixFrom(dst.Unmap(), bits), r.LinkIndex, gateway.Unmap()}] = true
		}
	}
	return out
}

// dropWays takes away what is neither in ways nor in rules. What the kernel keeps is tried again at the next look.
func (k *Kernel) dropWays(ways []way, rules []wayRule) error {
	var errs []error
	rest, kept := slices.Clone(ways), slices.Clone(rules)
	for _, r := range k.rules {
		if slices.Contains(rules, r) {
			continue
		}
		if err := gone(k.rtnl.RuleDel(k.wayRule(r))); err != nil {
			errs, kept = append(errs, fmt.Errorf("network: remove a routing rule of %s: %w", k.device(), err)), append(kept, r)
		}
	}
	for _, v := range k.ways {
		same := func(o way) bool { return o.number == v.number && o.dst == v.dst } // which has replaced it
		if slices.ContainsFunc(ways, same) {
			continue
		}
		if err := gone(k.rtnl.RouteDel(k.wayRoute(v))); err != nil {
			errs, rest = append(errs, fmt.Errorf("network: remove the route to %s by device %d: %w", v.dst, v.link, err)), append(rest, v)
		}
	}
	k.ways, k.rules = rest, kept
	return errors.Join(errs...)
}

// gone is err, unless it says that what should go is not there, nor maybe the whole address family (ipv6.disable=1).
func gone(err error) error {
	for _, absent := range []error{unix.ESRCH, unix.ENOENT, unix.ENODEV, unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EPFNOSUPPORT} {
		if errors.Is(err, absent) {
			return nil
		}
	}
	return err
}

func (k *Kernel) wayRoute(v way) *netlink.Route {
	r := &netlink.Route{Table: k.tables + v.number, Dst: ipNet(v.dst), LinkIndex: v.link}
	switch {
	case v.gateway.IsValid():
		r.Gw, r.Flags = v.gateway.AsSlice(), int(netlink.FLAG_ONLINK)
	case v.dst.Addr().Is4():
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

func (k *Kernel) wayRule(r wayRule) *netlink.Rule {
	out := netlink.NewRule()
	out.Family, out.Priority, out.Table, out.IifName, out.Mark = r.family, wayPriority, k.tables+r.number, k.device(), wayMark|uint32(r.number)
	return out
}

// bootID tells this start of the machine from others: what routing tables there were is forgotten then.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// cleanWays removes the rules and tables of an endpoint, the first of which is tables.
func cleanWays(tables int) error {
	ours := func(table int) bool { return table >= tables && table <= tables+maxWays }
	var errs []error
	// list lists once more when something has changed meanwhile. On machines where that goes on, what it finds has to do.
	list := func(once func() error) {
		for range 3 {
			if err := once(); !errors.Is(err, netlink.ErrDumpInterrupted) {
				errs = append(errs, gone(err))
				return
			}
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list(func() error {
			rules, err := netlink.RuleList(family)
			for _, r := range rules {
				if ours(r.Table) {
					r.Family = family
					errs = append(errs, gone(netlink.RuleDel(&r)))
				}
			}
			return err
		})
		list(func() error {
			var routes []netlink.Route
			err := netlink.RouteListFilteredIter(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
				if ours(r.Table) {
					routes = append(routes, r)
				}
				return true
			})
			for _, r := range routes {
				errs = append(errs, gone(netlink.RouteDel(&r)))
			}
			return err
		})
	}
	return errors.Join(errs...)
}
