package client

import (
	"context"
	"net/netip"
	"slices"
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
	list []share // with DNS the newest first, as package platform has it
}

// share is what one connection takes.
type share struct {
	of        *connection
	addresses []netip.Addr
	networks  []netip.Prefix
	routes.Asker
	manager string // of DNS
}

func newNeighbours(changed func()) *neighbours { return &neighbours{changed: changed} }

// claim takes what plan has for c, in place of what c has taken before. Its error is a *failure: another connection has
// taken it, and c's share is as before. What is always on takes it all the same: the other one hears of it and ends, and
// claim waits for that, so that the two do not meet in the system's tables.
func (n *neighbours) claim(ctx context.Context, c *connection, plan routes.Plan, manager string) error {
	s := shareOf(c, plan)
	s.manager = manager
	losers, err := n.take(s)
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

// take makes s what its connection has. Losers are the others that must end for it.
func (n *neighbours) take(s share) (losers []*connection, err error) {
	c := s.of
	always := c.always()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.list {
		if o.of == c {
			continue
		}
		if p := s.conflict(o); p != nil && !always {
			return nil, &failure{verdict: stop, problem: p}
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
	return losers, nil
}

// The managers of names whose order of several tunnels is known; the first knows servers for each link.
const linkManager = "systemd-resolved"

func plainManagers() []string { return []string{"NetworkManager", "resolvconf", "/etc/resolv.conf"} }

// leave gives back what c has taken.
func (n *neighbours) leave(c *connection) {
	n.mu.Lock()
	n.list = slices.DeleteFunc(n.list, func(o share) bool { return o.of == c })
	n.mu.Unlock()
	n.changed()
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
