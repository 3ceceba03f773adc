package client

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// counterInterval is how often watchers hear about moving counters.
const counterInterval = time.Second

// board holds the newest status of every connection. Safe for concurrent use.
type board struct {
	mu       sync.Mutex
	sequence uint64
	entries  map[key]entry
	policy   *api.Policy   // nil: nothing is managed
	changed  chan struct{} // closed and replaced at each change
}

type entry struct {
	status  api.Connection
	present func(*api.Connection) // fills in what changes without a new status; nil: nothing does
	person  func() string         // whose a managed connection is; nil or empty: nobody's
}

func newBoard() *board { return &board{entries: map[key]entry{}, changed: make(chan struct{})} }

// put shows a connection's new state.
func (b *board) put(k key, status api.Connection, present func(*api.Connection), person func() string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries[k] = entry{status, present, person}
	b.touchLocked()
}

// touch says that what present fills in has changed.
func (b *board) touch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.touchLocked()
}

// setPolicy shows what is managed. The board takes p over.
func (b *board) setPolicy(p *api.Policy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policy = p
	b.touchLocked()
}

// drop forgets a connection.
func (b *board) drop(k key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.entries[k]; ok {
		delete(b.entries, k)
		b.touchLocked()
	}
}

// dropEnded forgets an owner's connections that failed for good.
func (b *board) dropEnded(owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, e := range b.entries {
		if k.owner == owner && e.status.State == api.Disconnected {
			delete(b.entries, k)
			b.touchLocked()
		}
	}
}

func (b *board) touchLocked() {
	b.sequence++
	close(b.changed)
	b.changed = make(chan struct{})
}

// get returns the newest status of one connection.
func (b *board) get(k key) (api.Connection, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.entries[k]
	return e.status, ok
}

// snapshot is the status as caller may see it, and a channel that closes at the next change.
func (b *board) snapshot(caller api.Caller) (api.Status, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := api.Status{Sequence: b.sequence, Connections: []api.Connection{}, Policy: b.policy}
	keys := make([]key, 0, len(b.entries))
	for k := range b.entries {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y key) int {
		return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.owner, y.owner))
	})
	own := ownerOf(caller)
	for _, k := range keys {
		e := b.entries[k]
		c := e.status
		person := ""
		if e.person != nil {
			person = e.person()
		}
		if e.present != nil {
			e.present(&c)
		}
		mine := belongs(k, person, own)
		if !mine && !caller.Root {
			// Anybody sees that a tunnel exists, and nothing else.
			if c.State != api.Disconnected {
				brief := api.Connection{Owner: c.Owner, Managed: c.Managed, Hidden: true, State: c.State, Since: c.Since}
				if k.owner == managedOwner { // everybody has the profile, and is told what becomes of everybody's traffic
					brief.Profile, brief.FullTunnel, brief.Guard, brief.GuardClosed = c.Profile, c.FullTunnel, c.Guard, c.GuardClosed
					if c.State == api.NeedsLogin {
						brief.Problem = anotherSignsIn(c.Profile)
					}
				}
				s.Connections = append(s.Connections, complete(brief))
			}
			continue
		}
		if c.Login != nil && (!mine || k.owner == managedOwner && !caller.Person && !caller.Member) {
			login := *c.Login
			login.URL = ""
			c.Login = &login
		}
		s.Connections = append(s.Connections, complete(c))
	}
	return s, b.changed
}

// complete makes empty lists of missing ones, as the JSON contract says.
func complete(c api.Connection) api.Connection {
	if c.Tunnel.Addresses == nil {
		c.Tunnel.Addresses = []netip.Prefix{}
	}
	if c.Routes == nil {
		c.Routes = []api.Route{}
	}
	for _, l := range []*[]string{&c.DNS.Servers, &c.DNS.Search, &c.DNS.Split} {
		if *l == nil {
			*l = []string{}
		}
	}
	if c.Guard == "" {
		c.Guard = guardOff
	}
	return c
}

// watch sends the snapshot now and at every change, and once a second while
// counters move, until ctx ends. A slow receiver gets the newest, not all.
func (b *board) watch(ctx context.Context, caller api.Caller, send func(api.Status) error) error {
	tick := time.NewTicker(counterInterval)
	defer tick.Stop()
	var last api.Status
	first := true
	for {
		s, changed := b.snapshot(caller)
		if first || s.Sequence != last.Sequence || moved(last, s) {
			if err := send(s); err != nil {
				return err
			}
			first, last = false, s
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// moved says whether a counter differs between two snapshots of one sequence. A keepalive alone moves nothing.
func moved(a, b api.Status) bool {
	for i := range b.Connections {
		if i >= len(a.Connections) || inside(a.Connections[i].Counters) != inside(b.Connections[i].Counters) {
			return true
		}
	}
	return false
}

// inside is n without what passed outside.
func inside(n api.Counters) api.Counters {
	n.WireRxBytes, n.WireTxBytes = 0, 0
	return n
}
