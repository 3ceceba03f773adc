// Package platform is the only place that knows the operating system: TUN
// devices, routes, DNS, the firewall. The layer above says the whole wanted state (a
// routes.Plan); this one reads what is there, and changes the difference.
package platform

import (
	"context"

	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/routes"
)

// TUN moves batches of IP packets. One goroutine may Read while another Writes.
type TUN interface {
	// Read waits for a packet, takes those that are there with it, and returns how many of pkts it
	// filled. Their memory is the TUN's: the caller may change it, until the next Read. Any error is
	// final, and os.ErrClosed wrapped in it; a blocked Read returns it on Close.
	Read(pkts []offload.Packet) (int, error)
	// Write sends pkts, of which none is empty, in the order of each flow. It keeps and changes
	// nothing. An error means that some were not sent; only os.ErrClosed is final.
	Write(pkts [][]byte) (int, error)
	// BatchSize is the most packets, or super-packets, that a Read gives.
	BatchSize() int
	// Name is the device's name in the OS ("tun0"), empty in userspace.
	Name() string
	MTU() int
	Close() error
}

// Host is one tunnel's door to the operating system. Not safe for concurrent
// use, but for Changes. Implementations: New<OS> here, and package userspace.
type Host interface {
	// OpenTUN makes the device. Name is a hint ("" = pick one). The TUN lives until Close
	// of the TUN; a second OpenTUN before that is an error.
	OpenTUN(name string, mtu int) (TUN, error)
	// Facts reads the underlay: what the OS looks like without our own changes.
	Facts(ctx context.Context) (routes.Facts, error)
	// Apply makes the OS look like plan, writing to the journal first. It is
	// idempotent; the zero Plan undoes. On error it has done as much as it could
	// and remembers what is really there, so that a later Apply still undoes it.
	Apply(ctx context.Context, plan routes.Plan) error
	// Changes signals (coalesced) that the underlay's addresses or routes changed.
	Changes() <-chan struct{}
	// Guard is the one in force: of the last plan, or what a crashed run of the same name left closed.
	Guard() routes.Guard
	// Close undoes everything that Apply did and frees the Host. It does not close the TUN.
	Close() error
	// Leave frees the Host, as a crash would: the guard stays closed, for the next Host of the name or CleanUp.
	// Everything else of the plan is undone.
	Leave() error
}
