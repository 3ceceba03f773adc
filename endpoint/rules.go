package endpoint

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// access decides for the clients of one association which destinations they may
// reach. It is immutable: the data path looks up without a lock.
//
// AWS's rules (administrator guide, "Authorization rules"): nothing passes
// unless a rule allows it; the longest prefix of any rule counts, and only then
// who may use that prefix. Besides, a route must exist, through the client's own
// association. Both lookups are folded into one table: its prefixes are those of all
// rules and routes, and the value of each is the outcome for addresses that are
// in none of the longer ones.
type access struct{ table *bart.Fast[bool] }

// newAccess folds rules and the reachable ranges (routes through the association).
// closed ranges are never reachable: the clients' own, since client-to-client
// needs a route of its own.
func newAccess(rules []Rule, reachable, closed []netip.Prefix) *access {
	var allow, routes bart.Table[bool]
	for _, r := range rules {
		allow.Insert(r.CIDR, r.All)
	}
	for _, p := range reachable {
		routes.Insert(p, true)
	}
	a := &access{table: new(bart.Fast[bool])}
	inside := func(p netip.Prefix) bool {
		return slices.ContainsFunc(closed, func(c netip.Prefix) bool { return c.Bits() <= p.Bits() && c.Contains(p.Addr()) })
	}
	fold := func(p netip.Prefix) {
		if inside(p) { // a rule for a part of it must not open that part
			return
		}
		allowed, ok := allow.LookupPrefix(p)
		_, routed := routes.LookupPrefix(p)
		a.table.Insert(p, ok && allowed && routed)
	}
	for p := range allow.All() {
		fold(p)
	}
	for p := range routes.All() {
		fold(p)
	}
	for _, p := range closed {
		a.table.Insert(p, false)
	}
	return a
}

// allowed says whether a packet to dst may pass.
func (a *access) allowed(dst netip.Addr) bool {
	ok, found := a.table.Lookup(dst)
	return found && ok
}
