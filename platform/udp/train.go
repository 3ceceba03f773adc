package udp

import "net/netip"

// What the kernel takes as one train (UDP_SEGMENT): udp(7) and the largest payload
// of a UDP datagram over IPv4, in bytes.
const (
	maxSegments = 64
	maxTrain    = 65507
)

// AppendTrains appends to ms the fewest messages to addr that hold the datagrams lying
// in buf one after the other, with the given sizes in bytes: runs of equal size, of
// which the last may be shorter. The messages point into buf.
func AppendTrains(ms []Message, addr netip.AddrPort, buf []byte, sizes []int) []Message {
	for i := 0; i < len(sizes); {
		first, total, n := sizes[i], 0, 0
		for i < len(sizes) && n < maxSegments && sizes[i] <= first && total+sizes[i] <= max(maxTrain, first) {
			total += sizes[i]
			n++
			i++
			if sizes[i-1] < first {
				break
			}
		}
		m := Message{Addr: addr, Buf: buf[:total:total], N: total}
		if n > 1 {
			m.Segment = first
		}
		ms = append(ms, m)
		buf = buf[total:]
	}
	return ms
}
