// Package offload cuts super-packets into packets and joins packets to super-packets, as
// network cards and Linux do for TCP and UDP (TSO, USO, GRO): one long packet passes the IP
// stack of this machine in place of many. It copies no payload, allocates nothing per packet,
// and knows no operating system. Nothing here is safe for concurrent use.
package offload

import "encoding/binary"

// Packet is one IP packet, or a super-packet that stands for several of one TCP or UDP flow.
type Packet struct {
	// Bytes is the whole of it, header first. Addresses and ports of a super-packet may be changed
	// before it is cut; its lengths and checksums are put right by the cut.
	Bytes []byte
	// Segment is how many bytes of payload each packet carries, of which the last may have fewer;
	// 0 when Bytes is one packet already.
	Segment int

	// Of a super-packet:
	ip     int // length of the IP header, IPv6 extensions included
	header int // … and of the next one together
	udp    bool
}

// Header numbers: protocols, and the places of fields (RFC 791, 8200, 9293, 768).
const (
	protoTCP = 6
	protoUDP = 17

	ipv4Size = 20
	ipv6Size = 40
	udpSize  = 8

	tcpSequence = 4
	tcpFlags    = 13
	tcpChecksum = 16
	udpLength   = 4
	udpChecksum = 6

	flagFIN = 0x01
	flagPSH = 0x08
	flagACK = 0x10
	flagCWR = 0x80

	maxHeader = 256   // of IP and TCP together: both with all options, or IPv6 with a few extensions
	maxJoin   = 65535 // bytes of a super-packet
)

// Super returns b as a super-packet whose packets carry segment bytes of payload behind a TCP or UDP header at
// start; false when it is none that can be cut, or carries nothing. b is at most 65535 bytes.
func Super(b []byte, start, segment int, udp bool) (Packet, bool) {
	if len(b) < ipv4Size || len(b) > maxJoin || start < ipv4Size || start > len(b) || segment <= 0 {
		return Packet{}, false
	}
	switch n := transport(b[start:], protocol(udp)); {
	case n == 0, start+n >= len(b), start+n > maxHeader:
	case b[0]>>4 == 4 && int(b[0]&15)*4 == start, b[0]>>4 == 6 && start >= ipv6Size:
		return Packet{Bytes: b, Segment: segment, ip: start, header: start + n, udp: udp}, true
	}
	return Packet{}, false
}

// protocol is the number of UDP, or else of TCP.
func protocol(udp bool) byte {
	if udp {
		return protoUDP
	}
	return protoTCP
}

// network is the length of b's IP header and the protocol behind it; false when b is no whole packet,
// or a fragment.
func network(b []byte) (header int, proto byte, ok bool) {
	switch {
	case len(b) < ipv4Size:
		return 0, 0, false
	case b[0]>>4 == 4:
		header = int(b[0]&15) * 4
		const moreOrOffset = 0x3fff
		return header, b[9], header >= ipv4Size && header <= len(b) && binary.BigEndian.Uint16(b[6:])&moreOrOffset == 0
	case b[0]>>4 == 6 && len(b) >= ipv6Size:
		return ipv6Size, b[6], true
	}
	return 0, 0, false
}

// transport is the length of the TCP or UDP header that b begins with, 0 for none.
func transport(b []byte, proto byte) int {
	switch {
	case proto == protoUDP && len(b) >= udpSize:
		return udpSize
	case proto == protoTCP && len(b) >= 20:
		if n := int(b[12]>>4) * 4; n >= 20 && n <= len(b) {
			return n
		}
	}
	return 0
}
