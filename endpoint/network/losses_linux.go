package network

import (
	"errors"
	"maps"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Losses implements Network.
func (k *Kernel) Losses() <-chan map[string]string { return k.losses.ch }

// watch looks at the machine whenever its links or addresses change, until the socket is closed.
func (k *Kernel) watch() {
	for {
		_, _, err := k.changes.Receive()
		k.mu.Lock()
		// ENOBUFS: so much happened at once that some of it was not told. A look finds it all.
		if k.closed || err != nil && !errors.Is(err, unix.ENOBUFS) {
			if !k.closed {
				k.log.Warn("lost associations are not noticed any more", "err", err)
			}
			k.mu.Unlock()
			return
		}
		k.look()
		k.mu.Unlock()
	}
}

// look finds which associations are lost, and puts the ways back that the kernel took away with an interface. Under mu.
func (k *Kernel) look() {
	ways, rules := k.waysFor(k.wanted, k.numbers)
	if err := errors.Join(k.addWays(ways, rules), k.dropWays(ways, rules)); err != nil {
		k.log.Warn("the associations' routes are not as they should be", "err", err)
	}
	mine := map[netip.Addr]bool{}
	addrs, err := k.rtnl.AddrList(nil, netlink.FAMILY_ALL)
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			mine[ip.Unmap()] = true
		}
	}
	if err != nil { // what is not known is not lost
		mine = maps.Clone(k.losses.seen)
	}
	k.losses.tell(k.wanted, mine, k.down)
}

// down says why the interface of an association carries nothing; "" if it does.
func (k *Kernel) down(a Association) string {
	if a.Interface == "" {
		return ""
	}
	l, err := k.rtnl.LinkByName(a.Interface)
	var none netlink.LinkNotFoundError
	switch {
	case errors.As(err, &none):
		return "interface " + a.Interface + " is gone"
	case err != nil:
		return ""
	case l.Attrs().RawFlags&unix.IFF_UP == 0:
		return "interface " + a.Interface + " is down"
	case l.Attrs().RawFlags&unix.IFF_RUNNING == 0:
		return "interface " + a.Interface + " has no link"
	}
	return ""
}
