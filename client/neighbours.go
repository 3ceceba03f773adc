package client

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/routes"
)

// neighbours knows what each connection takes of the machine, so that two do not take the same: one network, or all
// traffic, or one address. A network inside a wider one of another tunnel is no conflict: the longer prefix decides, as in
// every routing table. Who comes first keeps what it has, but not from what is always on. It knows also whose servers are
// asked for names. Safe for concurrent use.
type neighbours struct {
	changed func() // what before says may be another word; any goroutine calls it

	mu   sync.Mutex
	list []share       // with DNS the newest first, as package platform has it
	news chan struct{} // closed, and another one in its place, when list is another one
}

// share is what one connection takes.
type share struct {
	of        *connection
	addresses []netip.Addr
	networks  []netip.Prefix
	routes.Asker
	manager string   // of DNS
	servers []remote // of the profile
}

func newNeighbours(changed func()) *neighbours {
	return &neighbours{changed: changed, news: make(chan struct{})}
}

// claim takes what plan has for c, in place of what c has taken before. Its error is a *failure: another connection has
// taken it, and c's share is as before. What is always on takes it all the same: the other one hears of it and ends, and
// claim waits for that, so that the two do not meet in the system's tables. An address that the same server has given to both is
// claimed once more when it is clear whether the other one's session still lives (outlive).
func (n *neighbours) claim(ctx context.Context, c *connection, plan routes.Plan, manager string) error {
	s := shareOf(c, plan)
	s.manager, s.servers = manager, c.spec.remotes
	always := c.always()
	n.mu.Lock()
	losers, rival, err := n.takeLocked(s, always)
	n.mu.Unlock()
	if rival != nil && !rival.always() { // what is always on has just taken the address
		losers, err = n.outlive(ctx, s, rival)
	}
	if err != nil {
		return err
	}
	n.changed() // not under the lock: who hears of it asks
	ctx, cancel := context.WithTimeout(ctx, yieldTime)
	defer cancel()
	for _, o := range losers {
		o.look()
	}
	for _, o := range losers {
		c.log.Info("what is always on goes first; another tunnel ends", "other", c.nameOf(o))
		s.await(ctx, o)
	}
	return nil
}

// rivalTime is how long a tunnel waits for another one that has its address: a sign of life, or another address.
const rivalTime = 7 * time.Second

// outlive takes s, whose address rival has, once rival has another one. A server gives no address twice: rival's session may be one
// from before it was started anew, which its keepalive has not noticed yet. It is asked for a sign of life, and where there is none,
// a new session gets it another address. With one the error is the conflict, and so is it too late, but for a connection
// that was up already: rival has no session then, and may get one.
func (n *neighbours) outlive(ctx context.Context, s share, rival *connection) (losers []*connection, err error) {
	ctx, cancel := context.WithTimeout(ctx, rivalTime)
	defer cancel()
	n.vacate(s.of)
	s.of.log.Info("the server has given this tunnel the address of another one; does that one still live?", "other", s.of.nameOf(rival))
	alive := rival.doubt()
	for {
		n.mu.Lock()
		moves := n.vacantLocked(rival) // it may wait for us
		losers, other, err := n.takeLocked(s, false)
		news := n.news
		n.mu.Unlock()
		if other != rival {
			if err == nil && !moves {
				s.await(ctx, rival)
			}
			return losers, err
		}
		select {
		case <-news:
		case <-alive:
			return nil, err
		case <-ctx.Done():
			f := *failureAs(err, again)
			f.verdict = again
			return nil, &f
		}
	}
}

// vacate gives back what c has from a session before the one that it has now: two that have swapped theirs would wait for each other.
func (n *neighbours) vacate(c *connection) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.list {
		if n.list[i].of == c {
			n.list[i].addresses, n.list[i].networks = nil, nil
			n.tellLocked()
		}
	}
}

// vacantLocked says whether c has no address.
func (n *neighbours) vacantLocked(c *connection) bool {
	return !slices.ContainsFunc(n.list, func(o share) bool { return o.of == c && len(o.addresses) > 0 })
}

// yieldTime is how long what is always on waits for the end of another tunnel. One that hangs does not keep it away.
const yieldTime = 10 * time.Second

// await waits until nothing that o has in place is s's, or ctx ends.
func (s share) await(ctx context.Context, o *connection) {
	for {
		x, changed := o.next()
		if s.conflict(shareOf(o, x.plan)) == nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// shareOf is what plan takes for c.
func shareOf(c *connection, plan routes.Plan) share {
	s := share{of: c, Asker: routes.Asker{Full: routes.FullTunnel(plan), DNS: plan.DNS}}
	for _, p := range plan.Addresses {
		s.addresses = append(s.addresses, p.Addr())
	}
	for _, r := range plan.Routes {
		if !r.Unreachable {
			s.networks = append(s.networks, r.Destination)
		}
	}
	return s
}

// takeLocked makes s what its connection has, which may be what is always on. Losers are the others that must end for it. With an
// error, rival is the other one if both have their address of the same server.
func (n *neighbours) takeLocked(s share, always bool) (losers []*connection, rival *connection, err error) {
	c := s.of
	for _, o := range n.list {
		if o.of == c {
			continue
		}
		if p := s.conflict(o); p != nil && !always {
			if p.Args["address"] != "" && meet(s.servers, o.servers) {
				rival = o.of
			}
			return nil, rival, &failure{verdict: stop, problem: p}
		} else if p != nil {
			losers = append(losers, o.of)
		}
	}
	i := slices.IndexFunc(n.list, func(o share) bool { return o.of == c })
	switch {
	case i >= 0 && n.list[i].DNS.IsZero() && !s.DNS.IsZero():
		n.list = slices.Insert(slices.Delete(n.list, i, i+1), 0, s)
	case i >= 0:
		n.list[i] = s
	default:
		n.list = slices.Insert(n.list, 0, s)
	}
	n.tellLocked()
	return losers, nil, nil
}

// tellLocked says that list is another one.
func (n *neighbours) tellLocked() {
	close(n.news)
	n.news = make(chan struct{})
}

// The managers of names whose order of several tunnels is known; the first knows servers for each link.
const linkManager = "systemd-resolved"

func plainManagers() []string { return []string{"NetworkManager", "resolvconf", "/etc/resolv.conf"} }

// leave gives back what c has taken.
func (n *neighbours) leave(c *connection) {
	n.mu.Lock()
	n.list = slices.DeleteFunc(n.list, func(o share) bool { return o.of == c })
	n.tellLocked()
	n.mu.Unlock()
	n.changed()
}

// meet says whether two connections may have the same server.
func meet(a, b []remote) bool {
	return slices.ContainsFunc(a, func(x remote) bool {
		return slices.ContainsFunc(b, func(y remote) bool { return strings.EqualFold(x.host, y.host) })
	})
}

// conflict is the Problem of two that take the same; nil: they do not.
func (s share) conflict(o share) *api.Problem {
	args := map[string]string{"profile": s.of.wiring.status.Profile, "other": s.of.nameOf(o.of)}
	for _, a := range s.addresses {
		if slices.Contains(o.addresses, a) {
			args["address"] = a.String()
			return api.NewProblem(api.CodeNetworkConflict, args)
		}
	}
	if s.Full && o.Full {
		args["network"] = "0.0.0.0/0"
		return api.NewProblem(api.CodeNetworkConflict, args)
	}
	for _, p := range s.networks {
		if slices.Contains(o.networks, p) {
			args["network"] = p.String()
			return api.NewProblem(api.CodeNetworkConflict, args)
		}
	}
	return nil
}

// nameOf is another connection's profile, as far as c's person may know it.
func (c *connection) nameOf(o *connection) string {
	if mine, theirs := c.wiring.status, o.wiring.status; theirs.Managed || mine.Owner == theirs.Owner && !mine.Managed {
		return theirs.Profile
	}
	return "another user's tunnel"
}

// before names the connection whose servers are asked for names in place of c's; empty: c's are.
func (n *neighbours) before(c *connection) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.list, func(o share) bool { return o.of == c })
	if i < 0 || n.list[i].manager != linkManager && !slices.Contains(plainManagers(), n.list[i].manager) {
		return ""
	}
	askers := make([]routes.Asker, len(n.list))
	for j, o := range n.list {
		askers[j] = o.Asker
	}
	first := routes.Before(askers, i, n.list[i].manager == linkManager)
	if first < 0 {
		return ""
	}
	return c.nameOf(n.list[first].of)
}
