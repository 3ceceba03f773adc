package client

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/routes"
)

// What a profile's routes to host names may become, whatever a network's resolver says.
const (
	mostNetworks = 64 // names that are looked up
	mostPerName  = 16 // addresses of each, the lowest: the same ones however the resolver turns them round
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
		c.lookUpNetworks(ctx)
	}
}

// lookUpNetworks finds the addresses of host names in the profile's own routes, as openvpn does before its tunnel is up. A name
// that is not found now keeps the addresses of last time.
func (c *connection) lookUpNetworks(ctx context.Context) {
	var hosts []string
	for _, r := range c.spec.own.Routes {
		if h := r.Host(); h != "" && !slices.Contains(hosts, h) && len(hosts) < mostNetworks {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 || c.stopsNames() {
		return
	}
	limit := resolveTimeout
	if c.out != nil { // an outage must not become longer by it
		limit = resolveOffline
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found := make([][]netip.Addr, len(hosts))
	var all sync.WaitGroup
	for i, h := range hosts {
		all.Go(func() {
			addrs, err := c.LookupNetIP(ctx, "ip4", h)
			for _, a := range addrs {
				if a = a.Unmap(); a.Is4() && !a.IsUnspecified() { // resolvers say 0.0.0.0 of what they block
					found[i] = append(found[i], a)
				}
			}
			slices.SortFunc(found[i], netip.Addr.Compare)
			found[i] = slices.Compact(found[i])
			switch n := len(found[i]); {
			case n == 0:
				c.log.Warn("a route of the profile names a host that is not found", "host", h, errorKey, err)
			case n > mostPerName:
				found[i] = found[i][:mostPerName]
				c.log.Warn("a route of the profile names a host with more addresses than are taken", "host", h, "addresses", n, "taken", mostPerName)
			}
		})
	}
	all.Wait()
	named := map[string][]netip.Addr{}
	for i, h := range hosts {
		named[h] = c.named[h]
		if len(found[i]) > 0 {
			named[h] = found[i]
		}
	}
	c.named = named
}

// byAddress returns routes with a route to each address in the place of one to a host name. One whose name was never found stays
// as it is.
func byAddress(list []push.Route, named map[string][]netip.Addr) []push.Route {
	var out []push.Route
	for _, r := range list {
		if r.Host() == "" || len(named[r.Host()]) == 0 {
			out = append(out, r)
			continue
		}
		for _, a := range named[r.Host()] {
			x := r
			x.Destination, x.Word, x.Bits = netip.PrefixFrom(a, r.Bits).Masked(), "", 0
			out = append(out, x)
		}
	}
	return out
}

// lookUpPast asks the resolvers of the network outside, of which there must be one.
func lookUpPast(ctx context.Context, dialer Dialer, facts routes.Facts, network, host string) ([]netip.Addr, error) {
	servers := facts.Askable()
	var turn atomic.Uint32 // names and address families are asked for side by side
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		a := servers[int(turn.Add(1)-1)%len(servers)]
		device := a.Zone()
		if device == "" {
			way, _ := facts.Way(a) // without one, by any device
			device = way.Device
		}
		return dialer.DialPast(ctx, network, netip.AddrPortFrom(a, 53), device)
	}}
	return r.LookupNetIP(ctx, network, host)
}
