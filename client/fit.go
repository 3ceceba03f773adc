package client

import (
	"net/netip"

	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// fit says how large packets may get that TCP inside makes (openvpn(8), --mssfix). The zero
// value sets no limit.
type fit struct {
	size int
	of   string // what has that size: "" the datagram, "mtu" the packet outside, "fixed" the packet inside
}

// fitOf is the fit of one remote. Without a number, openvpn 2.6 takes the largest fragment, or the MTU of
// the device when it is not the usual one (options.c, options_postprocess_mutate_ce).
func fitOf(line profile.Mssfix, fragment, mtu int) fit {
	switch {
	case line.Set:
		return fit{size: line.Value, of: line.Mode}
	case fragment > 0:
		return fit{size: fragment, of: "mtu"}
	case mtu != 0 && mtu != mtuDefault:
		return fit{size: mtu, of: "fixed"}
	}
	return fit{size: mssfixDefault, of: "mtu"}
}

// inner is the size of the largest packet inside, 0 for no limit. Payload is ovpn.Data's; header
// and framing are what a datagram gets on the way (mss.c, frame_calculate_mssfix).
func (f fit) inner(payload func(size int) int, header, framing int) int {
	switch {
	case f.size == 0:
		return 0
	case f.of == "fixed":
		return f.size
	case f.of == "mtu":
		return payload(f.size - header - framing)
	}
	return payload(f.size - framing)
}

// around is what lies around a datagram on the path outside: the headers of IP and UDP or TCP, and
// what a relay or a stream puts in front of it.
func around(server netip.Addr, l link) (header, front int) {
	header = 20
	if server.Is6() && !server.Is4In6() {
		header = 40
	}
	switch l := l.(type) {
	case *streamLink:
		return header + 20, framing.HeaderSize
	case *relayLink:
		front = l.gap()
	}
	return header + 8, front
}
