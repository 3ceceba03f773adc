package udp

import (
	"net/netip"
	"time"
)

// refusals remembers to whom the kernel takes no trains of how long datagrams: those would have to become
// fragments, each (udp(7), UDP_SEGMENT). Such datagrams go one by one, until the kernel may have
// forgotten the narrow path. The zero value is ready.
type refusals struct {
	segments map[netip.AddrPort]int // the shortest that was refused, bytes; the zero key on connected sockets
	since    time.Time
}

const (
	refusalTime = 10 * time.Minute // the kernel forgets a path's MTU after this (net.ipv4.route.mtu_expires)
	maxRefusals = 4096
)

func (r *refusals) add(to netip.AddrPort, segment int) {
	if len(r.segments) == 0 || len(r.segments) >= maxRefusals {
		r.segments, r.since = map[netip.AddrPort]int{}, time.Now()
	}
	r.segments[to] = segment
}

func (r *refusals) allow(to netip.AddrPort, segment int) bool {
	if len(r.segments) == 0 {
		return true
	}
	refused, ok := r.segments[to]
	return !ok || segment < refused
}

func (r *refusals) expire() {
	if len(r.segments) > 0 && time.Since(r.since) > refusalTime {
		r.segments = nil
	}
}
