package offload

import (
	"encoding/binary"
	"math/bits"
)

// Sums here are of 64-bit words in the machine's order, with the carry added at the low end. The order of
// bytes does not matter to the Internet checksum as long as it is the same throughout (RFC 1071).

// wideSize is from where on sumWide is worth its call, bytes.
const wideSize = 256

// sum adds b to s.
func sum(b []byte, s uint64) uint64 {
	var c uint64
	if len(b) >= wideSize {
		var wide uint64
		wide, b = sumWide(b)
		s, c = bits.Add64(s, wide, 0)
		s += c
	}
	for len(b) >= 64 {
		w := b[:64:64]
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[0:]), 0)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[8:]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[16:]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[24:]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[32:]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[40:]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[48:]), c)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[56:]), c)
		s += c // no overflow: the largest sum with a carry is one less than the largest word
		b = b[64:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(b), 0)
		s += c
		b = b[8:]
	}
	if len(b) > 0 {
		var w [8]byte
		copy(w[:], b)
		s, c = bits.Add64(s, binary.NativeEndian.Uint64(w[:]), 0)
		s += c
	}
	return s
}

// fold makes 16 bits of a sum, in the machine's order.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}

// pseudoSum is the sum of the pseudo header of a packet whose transport part has n bytes.
func pseudoSum(p []byte, proto byte, n int) uint64 {
	var w [8]byte
	w[1] = proto
	binary.BigEndian.PutUint32(w[4:], uint32(n))
	s := binary.NativeEndian.Uint64(w[:])
	if p[0]>>4 == 4 {
		return sum(p[12:20], s)
	}
	return sum(p[8:40], s)
}

// putChecksum computes the checksum over body, at offset at of which it stands.
func putChecksum(body []byte, at int, pseudo uint64) {
	body[at], body[at+1] = 0, 0
	binary.NativeEndian.PutUint16(body[at:], ^fold(sum(body, pseudo)))
}

func putIPv4Checksum(header []byte) { putChecksum(header, 10, 0) }

// right says whether the checksum in b is that of b.
func right(b []byte, pseudo uint64) bool { return fold(sum(b, pseudo)) == 0xffff }

// Complete writes the checksum of b that begins at start and stands offset bytes behind start, where
// the sum of the pseudo header is already (VIRTIO_NET_HDR_F_NEEDS_CSUM); false when that is outside of b.
func Complete(b []byte, start, offset int) bool {
	if start+offset+2 > len(b) {
		return false
	}
	c := ^fold(sum(b[start:], 0))
	if c == 0 {
		c = 0xffff // the same number, and UDP's zero means none
	}
	binary.NativeEndian.PutUint16(b[start+offset:], c)
	return true
}
