package endpoint

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

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

// newAccess folds rules, for a client in groups, and the reachable ranges (routes through
// the association). closed ranges are never reachable: the clients' own, since client-to-client
// needs a route of its own.
func newAccess(rules []Rule, groups []string, reachable, closed []netip.Prefix) *access {
	var allow, routes bart.Table[bool]
	for _, r := range rules {
		already, _ := allow.Get(r.CIDR) // one range may have a rule for each of several groups
		allow.Insert(r.CIDR, already || r.All || r.Group != "" && slices.Contains(groups, r.Group))
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

// grants makes the access of clients: it depends on the association and on those of a client's groups that rules
// name. Clients that have the same share one. Safe for concurrent use.
type grants struct {
	rules     []Rule
	reachable [][]netip.Prefix // by association
	closed    []netip.Prefix
	named     map[string]bool // groups in rules

	mu   sync.Mutex
	made map[grantKey]*access
}

type grantKey struct {
	association int
	groups      string // those that rules name, sorted, with NUL between
}

// maxGrants bounds what is kept: with many groups, no two users may have the same.
const maxGrants = 4096

func newGrants(rules []Rule) *grants {
	g := &grants{rules: rules, named: map[string]bool{}, made: map[grantKey]*access{}}
	for _, r := range rules {
		if r.Group != "" {
			g.named[r.Group] = true
		}
	}
	return g
}

// of is what a client may reach through an association.
func (g *grants) of(association int, groups []string) *access {
	var relevant []string
	for _, id := range groups {
		if g.named[id] {
			relevant = append(relevant, id)
		}
	}
	slices.Sort(relevant)
	relevant = slices.Compact(relevant)
	key := grantKey{association, strings.Join(relevant, "\x00")}
	g.mu.Lock()
	defer g.mu.Unlock()
	if a, ok := g.made[key]; ok {
		return a
	}
	if len(g.made) >= maxGrants {
		clear(g.made)
	}
	a := newAccess(g.rules, relevant, g.reachable[association], g.closed)
	g.made[key] = a
	return a
}
