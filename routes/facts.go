package routes

import (
	"net/netip"
	"slices"
)

// Way is the underlay's route to a; false when there is none.
func (f Facts) Way(a netip.Addr) (UnderlayRoute, bool) { return f.lookup(a.Unmap().WithZone("")) }

// lookup finds the underlay's route to a: the longest prefix, then the lowest metric.
func (f Facts) lookup(a netip.Addr) (UnderlayRoute, bool) {
	var best UnderlayRoute
	found := false
	for _, r := range f.Routes {
		if !r.Destination.IsValid() || !r.Destination.Contains(a) {
			continue
		}
		if !found || r.Destination.Bits() > best.Destination.Bits() ||
			r.Destination.Bits() == best.Destination.Bits() && r.Metric < best.Metric {
			best, found = r, true
		}
	}
	return best, found
}

// defaultRoute is the underlay's default route of a family.
func (f Facts) defaultRoute(v4 bool) (UnderlayRoute, bool) {
	var best UnderlayRoute
	found := false
	for _, r := range f.Routes {
		if !r.Destination.IsValid() || r.Destination.Bits() != 0 || r.Destination.Addr().Is4() != v4 {
			continue
		}
		if !found || r.Metric < best.Metric {
			best, found = r, true
		}
	}
	return best, found
}

// onLink finds the device whose local network holds a.
func (f Facts) onLink(a netip.Addr) (string, bool) {
	r, ok := f.lookup(a)
	return r.Device, ok && !r.Gateway.IsValid() && r.Destination.Bits() > 0
}

// Resolvers are those of DNS that are reached over the network: a stub on this machine asks others, and how they are
// reached is its affair. They have no zones: so rules of a guard name them.
func (f Facts) Resolvers() []netip.Addr {
	var out []netip.Addr
	for _, a := range f.Askable() {
		if a = a.WithZone(""); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// Askable are the Resolvers as a socket wants them: a link-local one with its zone, the device by which it is reached, where the
// system says which. Routes do not: each device has one to all link-local addresses.
func (f Facts) Askable() []netip.Addr {
	var out []netip.Addr
	for _, a := range f.DNS {
		if a = a.Unmap(); !a.IsLinkLocalUnicast() {
			a = a.WithZone("")
		}
		if a.IsValid() && !a.IsLoopback() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
