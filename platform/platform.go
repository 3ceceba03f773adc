// Package platform is the only place that knows the operating system: TUN
// devices, routes, DNS. The layer above says the whole wanted state (a
// routes.Plan); this one reads what is there, and changes the difference.
package platform

import (
	"context"

	"github.com/adit-vpn/adit/routes"
)

// TUN moves batches of IP packets. The shape is that of
// golang.zx2c4.com/wireguard/tun. One goroutine may Read while another Writes.
type TUN interface {
	// Read fills bufs[i][offset:offset+sizes[i]] with packets and returns how many.
	// len(bufs) must be at least BatchSize. A blocked Read returns os.ErrClosed
	// on Close. The caller owns bufs. A wrapped tun.ErrTooManySegments is not fatal.
	Read(bufs [][]byte, sizes []int, offset int) (int, error)
	// Write sends each bufs[i][offset:]; offset must be at least 10, because the
	// headroom is used for the virtio header, and a buf with spare capacity may be
	// grown when packets are coalesced. It does not keep bufs.
	Write(bufs [][]byte, offset int) (int, error)
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
	// Close undoes everything that Apply did and frees the Host. It does not close the TUN.
	Close() error
}
