package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/routes"
)

// applied is one tunnel that is up, or what is left of it, for explainOver.
type applied struct {
	key key
	explainable
	foreign bool // it is none of the caller's business: another user's
}

// explainOver says which way a packet to dest would go over several tunnels: the row with the longest
// prefix decides, as in the system's own table. There must be at least one.
func explainOver(tunnels []applied, dest netip.Addr) routes.Explanation {
	var best routes.Explanation
	for i, t := range tunnels {
		x := routes.Explain(t.plan, t.device, t.facts, dest)
		if x.Way == routes.WayTunnel || x.Way == routes.WayAround || x.Way == routes.WayUnreachable {
			x.Profile = t.key.name
			if t.foreign {
				x.Profile, x.DNS, x.Reason = "", "", "another user's tunnel"
				x.Text = fmt.Sprintf("%s is decided by another user's tunnel", dest)
			}
		} else if t.foreign {
			x.DNS = ""
		}
		longer := x.Route.IsValid() && (!best.Route.IsValid() || x.Route.Bits() > best.Route.Bits() ||
			x.Route.Bits() == best.Route.Bits() && best.Way == routes.WayUnderlay)
		if i == 0 || longer {
			best = x
		}
	}
	best.Guard = routes.GuardOpen
	for _, t := range tunnels { // what one of them stops does not leave
		g := t.plan.Guard
		if blocks := g.Blocks(best); blocks || best.Guard == routes.GuardOpen {
			best.Guard, best.Blocked = g.Explain(best), blocks
			if blocks {
				break
			}
		}
	}
	return best
}

// destinationOf reads an address, or asks the resolver for a name's first one.
func destinationOf(ctx context.Context, resolver Resolver, text string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Unmap().WithZone(""), nil
	}
	invalid := func(detail string) error {
		return api.NewProblem(api.CodeDestinationInvalid, map[string]string{"destination": strconv.Quote(text), "detail": detail})
	}
	if text == "" || len(text) > 253 {
		return netip.Addr{}, invalid("it is neither an address nor a name")
	}
	if _, port, found := strings.Cut(text, ":"); found && !strings.Contains(port, ":") {
		return netip.Addr{}, invalid("ports are 1 to 65535")
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addrs, err := resolver.LookupNetIP(ctx, "ip", text)
	if d := (*net.DNSError)(nil); errors.As(err, &d) && !d.IsNotFound {
		return netip.Addr{}, invalid("its name cannot be looked up now: no name server answers")
	}
	if err != nil {
		return netip.Addr{}, invalid(err.Error())
	}
	if len(addrs) == 0 {
		return netip.Addr{}, invalid("it has no address")
	}
	return addrs[0].Unmap(), nil
}
