package udp

import "encoding/binary"

// IP_UNICAST_IF and IPV6_UNICAST_IF of ws2ipdef.h, which have one number: the interface by which a socket sends, whatever the
// routes say.
const optionUnicastIF = 31

// unicastIF is the option's value for the interface with an index: in the order of the network for IPv4, in
// the machine's own for IPv6.
func unicastIF(index uint32, inet6 bool) uint32 {
	if inet6 {
		return index
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], index)
	return binary.NativeEndian.Uint32(b[:])
}
