// Package mss lowers the segment size that TCP handshakes inside a tunnel announce, so that full
// segments fit the path outside (openvpn's mss.c, --mssfix). It changes packets in place and
// allocates nothing.
package mss

import (
	"encoding/binary"
	"net/netip"
)

// Clamp is one limit. The zero value changes nothing. Immutable.
type Clamp struct{ v4, v6 uint16 }

// Headers is what IP (without options) and UDP or, on a stream, TCP put in front of what we send to
// an address outside, in bytes.
func Headers(to netip.Addr, stream bool) int {
	n := 20 + 8
	if stream {
		n = 20 + 20
	}
	if to.Is6() && !to.Is4In6() {
		n += 20
	}
	return n
}

// minInner is less than any path has; a smaller limit cannot be meant.
const minInner = 100

// New computes the clamp for outer packets of at most outer bytes, overhead bytes of which
// are not the inner packet. An outer of 0, or one too small to be meant, gives the zero value.
func New(outer, overhead int) Clamp {
	inner := outer - overhead
	if outer <= 0 || inner < minInner || inner > 65535 {
		return Clamp{}
	}
	return Clamp{v4: uint16(inner - 40), v6: uint16(inner - 60)}
}

// Apply changes the MSS option of a SYN in place, with its checksum. Anything else,
// fragments and malformed packets included, stays as it is.
func (c Clamp) Apply(p []byte) {
	if c.v4 == 0 || len(p) < 40 {
		return
	}
	limit := c.v4
	switch p[0] >> 4 {
	case 4:
		header := int(p[0]&15) * 4
		if p[9] != 6 || header < 20 || len(p) < header+20 || binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
			return
		}
		p = p[header:]
	case 6:
		if p[6] != 6 || len(p) < 60 {
			return
		}
		p, limit = p[40:], c.v6
	default:
		return
	}
	const syn = 2
	if p[13]&syn == 0 {
		return
	}
	end := int(p[12]>>4) * 4
	if end > len(p) {
		return
	}
	for i := 20; i < end; {
		switch kind := p[i]; {
		case kind == 0:
			return
		case kind == 1:
			i++
			continue
		case i+1 >= end || p[i+1] < 2 || i+int(p[i+1]) > end:
			return
		case kind == 2 && p[i+1] == 4:
			old := binary.BigEndian.Uint16(p[i+2:])
			if old > limit {
				binary.BigEndian.PutUint16(p[i+2:], limit)
				FixChecksum(p[16:18], old, limit, i%2 == 1)
			}
			return
		}
		i += int(p[i+1])
	}
}

// FixChecksum updates an Internet checksum for one changed 16-bit value (RFC 1624). A value at an
// odd place counts with its bytes swapped.
func FixChecksum(sum []byte, old, now uint16, odd bool) {
	if odd {
		old, now = old<<8|old>>8, now<<8|now>>8
	}
	s := uint32(^binary.BigEndian.Uint16(sum)) + uint32(^old) + uint32(now)
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	binary.BigEndian.PutUint16(sum, ^uint16(s))
}
