package mss

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// checksum is the Internet checksum over the pseudo header and a TCP segment.
func checksum(src, dst netip.Addr, seg []byte) uint16 {
	b := append(append(src.AsSlice(), dst.AsSlice()...), 0, 6)
	b = binary.BigEndian.AppendUint16(b, uint16(len(seg)))
	b = append(b, seg...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func TestClamp(t *testing.T) {
	src, dst := netip.MustParseAddr("10.8.0.2"), netip.MustParseAddr("10.98.0.1")
	// The second form puts the option at an odd place.
	for _, options := range [][]byte{{2, 4, 0x05, 0xb4, 1, 1, 1, 0}, {1, 2, 4, 0x05, 0xb4, 1, 1, 0}} {
		p := make([]byte, 20, 48)
		p[0], p[9] = 0x45, 6
		seg := make([]byte, 20)
		seg[12], seg[13] = 7<<4, 2
		seg = append(seg, options...)
		binary.BigEndian.PutUint16(seg[16:], checksum(src, dst, seg))
		p = append(p, seg...)
		New(1492, 52).Apply(p)
		at := 20 + 20 + bytes.IndexByte(options, 2) + 2
		if got := binary.BigEndian.Uint16(p[at:]); got != 1400 {
			t.Errorf("MSS %d, want 1400", got)
		}
		sum := binary.BigEndian.Uint16(p[36:])
		binary.BigEndian.PutUint16(p[36:], 0)
		if want := checksum(src, dst, p[20:]); sum != want {
			t.Errorf("checksum %04x, want %04x", sum, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		to     string
		stream bool
		want   int
	}{
		{"192.0.2.1", false, 28},
		{"192.0.2.1", true, 40},
		{"2001:db8::1", false, 48},
		{"2001:db8::1", true, 60},
		{"::ffff:192.0.2.1", false, 28}, // as a socket for both families writes it
		{"::ffff:192.0.2.1", true, 40},
	} {
		if got := Headers(netip.MustParseAddr(c.to), c.stream); got != c.want {
			t.Errorf("to %s, stream %t: %d, want %d", c.to, c.stream, got, c.want)
		}
	}
}

func FuzzClamp(f *testing.F) {
	f.Add([]byte("\x45\x00\x00\x30\x00\x00\x00\x00\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02aabbssssaaaa\x70\x02wwccuu\x02\x04\x05\xb4\x01\x01\x01\x00"))
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 24, 6, 64}, make([]byte, 60)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		q := bytes.Clone(p)
		New(1492, 72).Apply(q)
		changed := 0
		for i := range p {
			if p[i] != q[i] {
				changed++
			}
		}
		if len(p) != len(q) || changed > 4 {
			t.Errorf("%d bytes changed", changed)
		}
	})
}
