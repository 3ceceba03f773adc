package client

import "github.com/adit-vpn/adit/ovpn/profile"

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

// inner is the size of the largest packet inside, 0 for no limit. Payload is ovpn.Data's; headers
// are those of the path outside, front is what a relay or a stream puts in front of a datagram
// (mss.c, frame_calculate_mssfix).
func (f fit) inner(payload func(size int) int, headers, front int) int {
	switch {
	case f.size == 0:
		return 0
	case f.of == "fixed":
		return f.size
	case f.of == "mtu":
		return payload(f.size - headers - front)
	}
	return payload(f.size - front)
}

// outer is the size of the packet outside that the largest of those makes, for a limit that is set. Overhead is what a datagram
// adds at most.
func (f fit) outer(overhead, headers, front int) int {
	switch f.of {
	case "fixed":
		return f.size + overhead + front + headers
	case "mtu":
		return f.size
	}
	return f.size + headers
}
