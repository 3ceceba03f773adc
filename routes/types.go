// Package routes decides, as pure functions, what the operating system must look
// like while a tunnel is up: addresses, routes into the tunnel, routes around it
// for the server's own address, DNS, and what may leave beside the tunnel (Guard). It touches nothing; package platform applies
// a Plan, and the zero Plan means "as we found it".
package routes

import (
	"net/netip"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Plan is the whole wanted OS state of one tunnel. It is a plain value:
// comparable with Equal, printable as JSON. The zero Plan undoes everything.
type Plan struct {
	MTU       int            `json:"mtu,omitempty"`       // of the TUN device; 0 = leave
	Addresses []netip.Prefix `json:"addresses,omitempty"` // on the TUN device
	Routes    []Route        `json:"routes,omitempty"`    // into the tunnel
	Around    []Route        `json:"around,omitempty"`    // past the tunnel, through the underlay
	DNS       DNS            `json:"dns"`
	Guard     Guard          `json:"guard"`
	// Notes says in plain words what Build refused or changed. It is for people
	// and no part of the wanted state: Equal does not look at it.
	Notes []string `json:"notes,omitempty"`
}

// Route is one route and why it is there.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway"`          // zero: on-link
	Device      string       `json:"device,omitempty"` // empty: the tunnel's device (Routes); the underlay's for Around
	Metric      int          `json:"metric,omitempty"` // 0 = the system's default
	Unreachable bool         `json:"unreachable,omitempty"`
	Reason      string       `json:"reason"` // one short phrase: "pushed by the server", "the server's own address", …
}

// DNS is the wanted resolver configuration of the tunnel's link.
type DNS struct {
	Servers []netip.AddrPort `json:"servers,omitempty"`
	Search  []string         `json:"search,omitempty"`
	Split   []string         `json:"split,omitempty"` // only these domains go to Servers; empty: all
	DNSSEC  string           `json:"dnssec,omitempty"`
	// Transport and SNI as in push.DNS.
	Transport string `json:"transport,omitempty"`
	SNI       string `json:"sni,omitempty"`
}

// Facts is what the operating system says about the underlay, that is without
// the tunnel's own routes and addresses.
type Facts struct {
	// Routes is the underlay's unicast table: main-table routes of both families
	// that are not through one of our own tunnels.
	Routes []UnderlayRoute `json:"routes"`
	// Addresses are the machine's own addresses with their on-link prefix.
	Addresses []netip.Prefix `json:"addresses"`
	// DNS lists the underlay's resolvers as far as known.
	DNS []netip.Addr `json:"dns,omitempty"`
	// OneRow says that the system has one route for a destination: none of ours goes beside one of somebody else.
	OneRow bool `json:"one_row,omitempty"`
	// DNSManager is who keeps the resolver's configuration here, for people: "systemd-resolved"; "" = not known.
	DNSManager string `json:"dns_manager,omitempty"`
}

// UnderlayRoute is one row of the underlay's routing table.
type UnderlayRoute struct {
	Destination netip.Prefix `json:"destination"` // 0.0.0.0/0 or ::/0 for the default
	Gateway     netip.Addr   `json:"gateway"`     // zero: on-link
	Device      string       `json:"device"`
	Hardware    string       `json:"hardware,omitempty"` // address of Device: hexadecimal bytes with colons; "" = none
	Metric      int          `json:"metric"`
}

// Policy is what the user and the administrator add to the server's wishes.
type Policy struct {
	Server netip.Addr // the server's own outer address, as connected
	// Own are the routes and options that the profile's own text names, in the
	// form of a reply; they are merged before the pushed ones.
	Own    push.Reply
	NoPull bool           // route-nopull: pushed routes and DNS are ignored
	Add    []netip.Prefix // settings route+=
	Remove []netip.Prefix // settings route-=: a route equal to or inside it is dropped; 0.0.0.0/0 also drops a redirect
	// MTU is the largest packet in bytes that the path outside carries, whatever the server says; but IPv6 keeps
	// its 1280. 0 = no limit.
	MTU int
	// DefaultMTU is what the TUN has where neither server nor profile says, bytes; 0 = leave.
	DefaultMTU int
	Guard      GuardPolicy
}
