package offload

import "encoding/binary"

// Train gives the packets of a list one by one, super-packets cut. The zero value is empty.
type Train struct {
	rest []Packet
	cut  cut
}

// Reset makes t begin with the first of pkts, which belong to it until the end.
func (t *Train) Reset(pkts []Packet) { t.rest, t.cut.b = pkts, nil }

// Next returns one packet, nil at the end. It is valid until the following Next, which may write over
// its end: the header of each packet is put in front of its payload, where the one before was.
func (t *Train) Next() []byte {
	if t.cut.b == nil {
		if len(t.rest) == 0 {
			return nil
		}
		p := &t.rest[0]
		t.rest = t.rest[1:]
		if p.Segment == 0 {
			return p.Bytes
		}
		t.cut.begin(p)
	}
	return t.cut.next()
}

// cut is a super-packet of which a part is cut off (RFC 9293 and 768 as seen by Linux,
// Documentation/networking/segmentation-offloads.rst).
type cut struct {
	b       []byte // the super-packet; nil when all of it is cut
	at      int    // bytes of payload that are cut off
	segment int
	ip      int
	header  int
	udp     bool
	head    [maxHeader]byte // as it was
}

func (c *cut) begin(p *Packet) {
	c.b, c.at, c.segment, c.ip, c.header, c.udp = p.Bytes, 0, p.Segment, p.ip, p.header, p.udp
	copy(c.head[:], c.b[:c.header])
}

func (c *cut) next() []byte {
	end := min(c.at+c.header+c.segment, len(c.b))
	p, last := c.b[c.at:end], end == len(c.b)
	copy(p, c.head[:c.header])

	pseudo := putLengths(p, len(p), c.ip, c.udp)
	if p[0]>>4 == 4 {
		// Each packet its own number, as if they had been sent one by one.
		binary.BigEndian.PutUint16(p[4:], binary.BigEndian.Uint16(p[4:])+uint16(c.at/c.segment))
		putIPv4Checksum(p[:c.ip])
	}
	body := p[c.ip:]
	if c.udp {
		putChecksum(body, udpChecksum, pseudo)
		if body[udpChecksum] == 0 && body[udpChecksum+1] == 0 {
			body[udpChecksum], body[udpChecksum+1] = 0xff, 0xff // zero means none
		}
	} else {
		sequence := binary.BigEndian.Uint32(body[tcpSequence:])
		binary.BigEndian.PutUint32(body[tcpSequence:], sequence+uint32(c.at))
		if !last {
			body[tcpFlags] &^= flagFIN | flagPSH
		}
		if c.at > 0 {
			body[tcpFlags] &^= flagCWR // once
		}
		putChecksum(body, tcpChecksum, pseudo)
	}

	c.at += c.segment
	if last {
		c.b = nil
	}
	return p
}

// putLengths writes the length of a packet of total bytes into its headers and returns the sum of the
// pseudo header.
func putLengths(head []byte, total, ip int, udp bool) uint64 {
	if udp {
		binary.BigEndian.PutUint16(head[ip+udpLength:], uint16(total-ip))
	}
	if head[0]>>4 == 4 {
		binary.BigEndian.PutUint16(head[2:], uint16(total))
	} else {
		binary.BigEndian.PutUint16(head[4:], uint16(total-ipv6Size))
	}
	return pseudoSum(head, protocol(udp), total-ip)
}
