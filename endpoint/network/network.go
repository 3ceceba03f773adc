// Package network is what lies behind the endpoint: where the packets of
// clients go, and where the answers come from. Userspace forwards them from the
// endpoint's own sockets without root; Kernel gives them to the OS through a TUN
// and nftables. Who may reach what is decided before a packet comes here, by the
// endpoint's authorization rules; this package only refuses what no association
// and no route names.
//
// A Network owns its goroutines; Close waits for them.
package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/adit-vpn/adit/platform"
)

// Network is where the packets of clients go. Apply and Close may be called
// from any goroutine, one at a time; each queue follows the rules of platform.TUN.
type Network interface {
	// Queues are the packet doors, one at least, always the same: the endpoint Writes packets from
	// clients into any of them, and must Read all, for any may give packets to any client; those of one flow
	// come from one queue. They belong to the Network: Close closes them.
	Queues() []platform.TUN
	// Apply makes the network serve exactly these attachments, adding before it
	// deletes. On error what was served before is still served. It keeps nothing of w's lists.
	Apply(ctx context.Context, w Wanted) error
	// Forget ends what is open for the addresses of a client that left: whoever gets
	// an address next must not hear the answers to the one before. Any goroutine; nothing
	// after Close.
	Forget(clients ...netip.Addr)
	// Losses tells which associations cannot carry packets, and why, whenever that changes and lasts: by Subnet, all that are wanted,
	// "" for those that can, the newest only. It is always the same channel, for one reader; Close closes it.
	Losses() <-chan map[string]string
	// Close undoes everything that Apply did and waits for the Network's goroutines.
	Close() error
}

// Wanted is the whole wanted state. The zero Wanted serves nobody.
type Wanted struct {
	ClientCIDR  netip.Prefix // invalid: no IPv4 inside
	ClientCIDR6 netip.Prefix // invalid: no IPv6 inside
	// Gateways are the endpoint's own tunnel addresses: the first host of each
	// slice, with the slice's length (10.64.0.1/27).
	Gateways     []netip.Prefix
	Associations []Association
	Routes       []Route
}

// Association is one target network.
type Association struct {
	Subnet string // its id, unique in a Wanted; DemoSubnet is the built-in one
	// Slices are the parts of the client CIDRs whose clients use this association.
	Slices []netip.Prefix
	// Source is the address that the target network sees. Invalid: the OS chooses. Source6 is for IPv6 beside a Source of IPv4.
	Source, Source6 netip.Addr
	// Plain4 and Plain6 have the target network see the clients' own addresses, which it must route here. Kernel only.
	Plain4, Plain6 bool
	// Interface is where the target network is ("eth1"). Empty: the OS's routes
	// decide, as they always do for Userspace.
	Interface string
	// Ranges are the subnet's own, which are on the Interface's link.
	Ranges []netip.Prefix
	// Via are gateways in Ranges, one for each family at most, which lead to Networks and to the Routes through this
	// association. Where there is none the OS's routes decide, as they always do for Userspace.
	Via []netip.Addr
	// Networks are the ranges reachable through it.
	Networks []netip.Prefix
	// Restricted says that its clients begin nothing but what one of Permits names; what is open goes on when they
	// change, and answers always pass.
	Restricted bool
	Permits    []Permit
}

// clone shares no list with w: a Network looks at what it serves at any time, and who applied it may go on with its own.
func (w Wanted) clone() Wanted {
	w.Gateways, w.Routes, w.Associations = slices.Clone(w.Gateways), slices.Clone(w.Routes), slices.Clone(w.Associations)
	for i := range w.Associations {
		a := &w.Associations[i]
		a.Slices, a.Ranges, a.Via = slices.Clone(a.Slices), slices.Clone(a.Ranges), slices.Clone(a.Via)
		a.Networks, a.Permits = slices.Clone(a.Networks), slices.Clone(a.Permits)
	}
	return w
}

// source is what a family's packets leave with; invalid: the OS chooses.
func (a Association) source(v4 bool) netip.Addr {
	for _, s := range []netip.Addr{a.Source, a.Source6} {
		if s.IsValid() && s.Is4() == v4 {
			return s
		}
	}
	return netip.Addr{}
}

// Route is a further destination reached through an association.
type Route struct {
	Destination netip.Prefix
	Association string // its Subnet
}

// DemoSubnet is the Subnet of the built-in demo network, which only Userspace has.
const DemoSubnet = "demo"

// Demo returns the range of the built-in demo network.
func Demo() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 98, 0, 0}), 24) }

// DemoAddress is the one host in it.
func DemoAddress() netip.Addr { return netip.AddrFrom4([4]byte{10, 98, 0, 1}) }

// ErrUnsupported: this network cannot be made here (another OS, missing rights).
var ErrUnsupported = errors.New("network: not supported here")

// ErrWanted: a Wanted contradicts itself.
var ErrWanted = errors.New("network: wrong attachments")

// Check reports the first contradiction in w, wrapped in ErrWanted.
func (w Wanted) Check() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrWanted, fmt.Sprintf(format, args...))
	}
	if w.ClientCIDR.IsValid() && !w.ClientCIDR.Addr().Is4() {
		return wrong("client cidr %s is not IPv4", w.ClientCIDR)
	}
	if w.ClientCIDR6.IsValid() && !w.ClientCIDR6.Addr().Is6() {
		return wrong("client cidr %s is not IPv6", w.ClientCIDR6)
	}
	inside := func(p netip.Prefix) bool {
		for _, c := range []netip.Prefix{w.ClientCIDR, w.ClientCIDR6} {
			if c.IsValid() && c.Contains(p.Addr()) && p.Bits() >= c.Bits() {
				return true
			}
		}
		return false
	}
	for _, g := range w.Gateways {
		if !inside(g) {
			return wrong("gateway %s is not inside the client cidr", g)
		}
	}
	known := map[string]Association{}
	for _, a := range w.Associations {
		if a.Subnet == "" {
			return wrong("an association has no subnet")
		}
		if _, twice := known[a.Subnet]; twice {
			return wrong("subnet %s is associated twice", a.Subnet)
		}
		known[a.Subnet] = a
		for _, s := range a.Slices {
			if !s.IsValid() || !inside(s) {
				return wrong("slice %s of %s is not inside the client cidr", s, a.Subnet)
			}
		}
		for _, n := range a.Networks {
			if !n.IsValid() {
				return wrong("subnet %s has an invalid range", a.Subnet)
			}
		}
		for _, p := range a.Permits {
			if !p.To.IsValid() || p.First > p.Last {
				return wrong("subnet %s: a permit to %s, ports %d to %d", a.Subnet, p.To, p.First, p.Last)
			}
		}
		for _, s := range []netip.Addr{a.Source, a.Source6} {
			if s.IsValid() && (s.IsUnspecified() || s.IsMulticast()) {
				return wrong("subnet %s: %s cannot be a source address", a.Subnet, s)
			}
		}
		if a.Source6.IsValid() && (!a.Source6.Is6() || a.Source.Is6() || a.Plain6) {
			return wrong("subnet %s: a second source address for IPv6, %s", a.Subnet, a.Source6)
		}
		for _, v := range a.Via {
			if a.Interface == "" || !containsAddr(a.Ranges, v) {
				return wrong("subnet %s: gateway %s needs an interface, and a range that it is in", a.Subnet, v)
			}
		}
	}
	for _, r := range w.Routes {
		if !r.Destination.IsValid() {
			return wrong("a route has no destination")
		}
		if _, ok := known[r.Association]; !ok {
			return wrong("route %s goes to %s, which is not associated", r.Destination, r.Association)
		}
	}
	return nil
}
