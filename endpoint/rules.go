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
// association or to other clients. Both lookups are folded into one table: its prefixes are those of all
// rules and routes, and the value of each is the outcome for addresses that are
// in none of the longer ones.
type access struct{ table *bart.Fast[way] }

// way is where a packet of a client goes.
type way uint8

const (
	dropped   way = iota
	toNetwork     // through the client's association
	toClients
)

// newAccess folds rules, for a client in groups, the reachable ranges (routes through
// the association), and the ways from client to client. No other route, however wide, leads into
// the clients' own ranges.
func newAccess(rules []Rule, groups []string, reachable, clients, local []netip.Prefix) *access {
	var allow bart.Table[bool]
	var routes bart.Table[way]
	for _, r := range rules {
		already, _ := allow.Get(r.CIDR) // one range may have a rule for each of several groups
		allow.Insert(r.CIDR, already || r.All || r.Group != "" && slices.Contains(groups, r.Group))
	}
	for _, list := range []struct {
		prefixes []netip.Prefix
		way      way
	}{{reachable, toNetwork}, {clients, dropped}, {local, toClients}} {
		for _, p := range list.prefixes {
			if list.way != toNetwork || !slices.ContainsFunc(clients, func(c netip.Prefix) bool { return within(p, c) }) {
				routes.Insert(p, list.way)
			}
		}
	}
	a := &access{table: new(bart.Fast[way])}
	fold := func(p netip.Prefix) {
		to := dropped
		if allowed, _ := allow.LookupPrefix(p); allowed {
			to, _ = routes.LookupPrefix(p)
		}
		a.table.Insert(p, to)
	}
	for p := range allow.All() {
		fold(p)
	}
	for p := range routes.All() {
		fold(p)
	}
	return a
}

// way says where a packet to dst goes.
func (a *access) way(dst netip.Addr) way {
	to, _ := a.table.Lookup(dst)
	return to
}

// grants makes the access of clients: it depends on the association and on those of a client's groups that rules
// name. Clients that have the same share one. Safe for concurrent use.
type grants struct {
	rules     []Rule
	reachable map[string][]netip.Prefix // by association
	clients   []netip.Prefix            // their own ranges
	local     []netip.Prefix            // of clients: those that clients may have routes to
	named     map[string]bool           // groups in rules

	mu   sync.Mutex
	made map[grantKey]*access
}

type grantKey struct {
	association string
	groups      string // those that rules name, sorted, with NUL between
}

// maxGrants bounds what is kept: with many groups, no two users may have the same.
const maxGrants = 4096

func newGrants(rules []Rule) *grants {
	g := &grants{rules: rules, reachable: map[string][]netip.Prefix{}, named: map[string]bool{}, made: map[grantKey]*access{}}
	for _, r := range rules {
		if r.Group != "" {
			g.named[r.Group] = true
		}
	}
	return g
}

// of is what a client may reach through an association.
func (g *grants) of(association string, groups []string) *access {
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
	a := newAccess(g.rules, relevant, g.reachable[association], g.clients, g.local)
	g.made[key] = a
	return a
}
