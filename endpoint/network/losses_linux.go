package network

import (
	"errors"
	"maps"
	"net/netip"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Losses implements Network.
func (k *Kernel) Losses() <-chan map[string]string { return k.losses.ch }

// gather is how long a change waits for those that come with it, so that one look serves them all.
const gather = 50 * time.Millisecond

// listen tells watch whenever the machine's links, addresses or routing rules change, until the socket is closed.
func (k *Kernel) listen() {
	defer close(k.stirred)
	for {
		_, _, err := k.changes.Receive()
		// ENOBUFS: so much happened at once that some of it was not told. A look finds it all.
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			k.mu.Lock()
			if !k.closed {
				k.log.Warn("lost associations are not noticed any more", "err", err)
			}
			k.mu.Unlock()
			return
		}
		select {
		case k.stirred <- struct{}{}:
		default:
		}
	}
}

// watch looks at the machine after changes, until listen ends.
func (k *Kernel) watch() {
	// Settings of the kernel are those of the thread's namespace. This one is not used for anything else.
	runtime.LockOSThread()
	if here, err := netns.Get(); err == nil {
		if !here.Equal(k.ns) {
			err = netns.Set(k.ns)
		}
		here.Close()
		if err != nil {
			k.log.Warn("lost associations are not noticed", "err", err)
			for range k.stirred {
			}
			return
		}
	}
	for {
		select {
		case _, open := <-k.stirred:
			if !open {
				return
			}
			time.Sleep(gather)
		case <-k.again.C:
		}
		k.mu.Lock()
		if !k.closed {
			k.look()
		}
		k.mu.Unlock()
	}
}

// look finds which associations are lost, and puts back what went with an interface: its ways and its settings. Under mu.
func (k *Kernel) look() {
	if err := k.setWays(k.waysFor(k.wanted, k.numbers)); err != nil {
		k.log.Warn("the associations' routes are not as they should be", "err", err)
	}
	k.refused = map[string]error{}
	for _, a := range k.wanted.Associations {
		if a.Interface != "" {
			if _, err := k.forwardBy(k.wanted, a.Interface); err != nil {
				k.refused[a.Interface] = err
			}
		}
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
	if wait := k.losses.tell(k.wanted, mine, k.down, time.Now()); wait > 0 {
		k.again.Reset(wait)
	}
}

// down says why the interface of an association carries nothing; "" if it does.
func (k *Kernel) down(a Association) string {
	if a.Interface == "" {
		return ""
	}
	l, err := k.rtnl.LinkByName(a.Interface)
	switch {
	case noLink(err):
		return "interface " + a.Interface + " is gone"
	case err != nil:
		return ""
	case l.Attrs().RawFlags&unix.IFF_UP == 0:
		return "interface " + a.Interface + " is down"
	case l.Attrs().RawFlags&unix.IFF_RUNNING == 0:
		return "interface " + a.Interface + " has no link"
	case k.refused[a.Interface] != nil:
		return "interface " + a.Interface + " does not forward: " + k.refused[a.Interface].Error()
	}
	return ""
}

// noLink says whether err is that there is no such interface.
func noLink(err error) bool {
	var none netlink.LinkNotFoundError
	return errors.As(err, &none)
}
