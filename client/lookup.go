package client

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/routes"
)

// LookupNetIP implements Resolver for the names of servers. While a tunnel, or what is left of one, has the system's
// names and routes, it asks the resolvers of the network outside, past both; what they say is the server's address
// also when the tunnel is down. Safe for concurrent use.
func (c *connection) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	seen := c.explain()
	if seen.plan.IsZero() || len(seen.facts.Resolvers()) == 0 {
		return c.resolver.LookupNetIP(ctx, network, host)
	}
	return lookUpPast(ctx, c.dialer, seen.facts, network, host)
}

// stopsNames says whether the guard leaves nobody to ask for names: it stops the questions of other programs, and the system's only
// servers for names are such, on this machine.
func (c *connection) stopsNames() bool {
	return c.plan.Guard.DNS && len(c.facts.Resolvers()) == 0
}

// unasked words f anew where that is why a name has no address.
func (c *connection) unasked(f *failure) *failure {
	if c.stopsNames() && f.problem.Code == api.CodeServerNameUnknown {
		args := maps.Clone(f.problem.Args)
		args["profile"] = c.wiring.status.Profile
		f.problem = api.NewProblem(f.problem.Code, args)
	}
	return f
}

// lookUpBefore finds the servers while the guard is still open, where nobody could be asked once it is closed.
func (c *connection) lookUpBefore(ctx context.Context) {
	fctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	if facts, err := c.underlay(fctx); err == nil && len(facts.Resolvers()) == 0 {
		c.remotes.lookUpAll(ctx)
	}
}

// lookUpPast asks the resolvers of the network outside, of which there must be one.
func lookUpPast(ctx context.Context, dialer Dialer, facts routes.Facts, network, host string) ([]netip.Addr, error) {
	servers := facts.Resolvers()
	var turn atomic.Uint32 // names and address families are asked for side by side
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		a := servers[int(turn.Add(1)-1)%len(servers)]
		way, _ := facts.Way(a) // without one, by any device
		return dialer.DialPast(ctx, network, netip.AddrPortFrom(a, 53), way.Device)
	}}
	return r.LookupNetIP(ctx, network, host)
}
