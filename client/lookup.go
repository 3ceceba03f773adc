package client

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
)

// LookupNetIP implements Resolver for the names of servers. While a tunnel, or what is left of one, has the system's
// names and routes, it asks the resolvers of the network outside, past both; what they say is the server's address
// also when the tunnel is down. Safe for concurrent use.
func (c *connection) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	seen := c.explain()
	servers := seen.facts.Resolvers()
	if seen.plan.IsZero() || len(servers) == 0 {
		return c.resolver.LookupNetIP(ctx, network, host)
	}
	var turn atomic.Uint32 // names and address families are asked for side by side
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		a := servers[int(turn.Add(1)-1)%len(servers)]
		way, _ := seen.facts.Way(a) // without one, by any device
		return c.dialer.DialDNS(ctx, network, netip.AddrPortFrom(a, 53), way.Device)
	}}
	return r.LookupNetIP(ctx, network, host)
}
