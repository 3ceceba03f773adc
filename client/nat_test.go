package client

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	sums "gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/adit-vpn/adit/ovpn/push"
)

// packet4 is an IPv4 packet with right checksums; body is of the protocol, its checksum still zero.
func packet4(proto byte, src, dst string, fragment uint16, body []byte) []byte {
	p := append(make([]byte, 24), body...) // with 4 bytes of options
	a, b := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	p[0], p[8], p[9] = 0x46, 64, proto
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[6:], fragment)
	copy(p[12:], a.AsSlice())
	copy(p[16:], b.AsSlice())
	copy(p[20:], []byte{1, 1, 1, 0})
	binary.BigEndian.PutUint16(p[10:], ^sums.Checksum(p[:24], 0))
	if fragment&0x1fff == 0 {
		at := map[byte]int{1: 2, 6: 16, 17: 6}[proto]
		if at == 0 {
			return p
		}
		binary.BigEndian.PutUint16(p[24+at:], ^sums.Checksum(p[24:], pseudo(p)))
	}
	return p
}

// pseudo is the sum of what a transport's checksum covers of the IP header.
func pseudo(p []byte) uint16 {
	if p[9] == 1 {
		return 0
	}
	h := header.IPv4(p)
	return header.PseudoHeaderChecksum(tcpip.TransportProtocolNumber(p[9]), h.SourceAddress(), h.DestinationAddress(), h.PayloadLength())
}

// sound demands right checksums, computed by another implementation from nothing.
func sound(t *testing.T, p []byte) {
	t.Helper()
	if sums.Checksum(p[:24], 0) != 0xffff {
		t.Errorf("the header's checksum is wrong: %x", p[:24])
	}
	if binary.BigEndian.Uint16(p[6:])&0x1fff == 0 && p[6]&0x20 == 0 && sums.Checksum(p[24:], pseudo(p)) != 0xffff {
		t.Errorf("the checksum of protocol %d is wrong", p[9])
	}
}

func natRules() nat {
	rule := func(kind, network, alias string) push.NAT {
		return push.NAT{Kind: kind, Network: netip.MustParsePrefix(network), Alias: netip.MustParseAddr(alias)}
	}
	return natOf(
		rule("snat", "10.8.0.0/24", "172.16.9.0"),
		rule("dnat", "192.168.5.0/24", "10.1.5.0"),
		rule("snat", "172.16.9.0/24", "1.1.1.0"), // an address is exchanged once
		rule("dnat", "192.168.0.0/16", "10.2.0.0"),
	)
}

func TestNATBothWays(t *testing.T) {
	body := bytes.Repeat([]byte{0xa5, 0, 3}, 20)
	for _, c := range []struct{ src, dst, outSrc, outDst string }{
		{"10.8.0.7", "192.168.5.9", "172.16.9.7", "10.1.5.9"},
		{"10.8.0.7", "192.168.6.9", "172.16.9.7", "10.2.6.9"},
		{"10.8.0.255", "8.8.8.8", "172.16.9.255", "8.8.8.8"},
		{"10.9.0.7", "192.168.5.0", "10.9.0.7", "10.1.5.0"},
		{"10.9.0.7", "8.8.8.8", "10.9.0.7", "8.8.8.8"},
		{"192.168.5.9", "10.8.0.7", "192.168.5.9", "10.8.0.7"}, // the roles do not mix
	} {
		for _, proto := range []byte{1, 6, 17, 47} {
			for _, fragment := range []uint16{0, 0x2000, 0x2010, 0x0010} {
				b := bytes.Clone(body)
				if proto == 1 {
					b[0] = 8 // echo
				}
				switch at := map[byte]int{1: 2, 6: 16, 17: 6}[proto]; {
				case at != 0 && fragment&0x1fff == 0:
					b[at], b[at+1] = 0, 0
				}
				p := packet4(proto, c.src, c.dst, fragment, b)
				want := packet4(proto, c.outSrc, c.outDst, fragment, b)
				natRules().out(p)
				if !bytes.Equal(p, want) {
					t.Errorf("%s → %s, protocol %d, fragment %#x: got %x, want %x", c.src, c.dst, proto, fragment, p, want)
				}
				if proto != 47 {
					sound(t, p)
				}
				// The answer has the addresses exchanged, and comes back as one to the original.
				answer := packet4(proto, c.outDst, c.outSrc, fragment, b)
				natRules().in(answer)
				if want := packet4(proto, c.dst, c.src, fragment, b); !bytes.Equal(answer, want) {
					t.Errorf("answer to %s → %s, protocol %d: got %x, want %x", c.src, c.dst, proto, answer, want)
				}
			}
		}
	}
}

// UDP says "no checksum" by zero: that stays, and a sum that becomes zero is written as all ones (RFC 768).
func TestNATAndUDPZero(t *testing.T) {
	p := packet4(17, "10.8.0.7", "192.168.5.9", 0, make([]byte, 30))
	p[24+6], p[24+7] = 0, 0
	natRules().out(p)
	if p[24+6] != 0 || p[24+7] != 0 {
		t.Error("a checksum was made of nothing")
	}
	for v := range 1 << 16 {
		b := make([]byte, 10)
		binary.BigEndian.PutUint16(b[8:], uint16(v))
		p := packet4(17, "10.8.0.7", "192.168.5.9", 0, b)
		if p[24+6] == 0 && p[24+7] == 0 {
			continue
		}
		natRules().out(p)
		if p[24+6] == 0 && p[24+7] == 0 {
			t.Fatalf("payload %#x: the checksum became zero, which means none", v)
		}
	}
}

// An ICMP error quotes the packet that it answers.
func TestNATInsideOfErrors(t *testing.T) {
	quoted := func(src, dst string) []byte { return packet4(17, src, dst, 0, make([]byte, 8)) }
	inner := quoted("172.16.9.7", "10.1.5.9") // as we sent it out
	p := packet4(1, "10.1.5.1", "172.16.9.7", 0, append([]byte{3, 4, 0, 0, 0, 0, 5, 0}, inner...))
	natRules().in(p)
	sound(t, p)
	q := p[24+8:]
	if got := header.IPv4(q); got.SourceAddress().String() != "10.8.0.7" || got.DestinationAddress().String() != "192.168.5.9" || sums.Checksum(q[:24], 0) != 0xffff {
		t.Errorf("quoted %s → %s", got.SourceAddress(), got.DestinationAddress())
	}
	if got := header.IPv4(p); got.SourceAddress().String() != "192.168.5.1" || got.DestinationAddress().String() != "10.8.0.7" {
		t.Errorf("error %s → %s", got.SourceAddress(), got.DestinationAddress())
	}

	p2 := packet4(1, "10.8.0.7", "192.168.5.1", 0, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, quoted("192.168.5.9", "10.8.0.7")...))
	natRules().out(p2)
	sound(t, p2)
	if got := header.IPv4(p2[24+8:]); got.SourceAddress().String() != "10.1.5.9" || got.DestinationAddress().String() != "172.16.9.7" {
		t.Errorf("quoted on the way out %s → %s", got.SourceAddress(), got.DestinationAddress())
	}
}

func TestNATAllocatesNothing(t *testing.T) {
	p, n := packet4(6, "10.8.0.7", "192.168.5.9", 0, make([]byte, 40)), natRules()
	if got := testing.AllocsPerRun(100, func() { n.out(p); n.in(p) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestNATOfFileAndPush(t *testing.T) {
	rule := func(alias string) push.NAT {
		return push.NAT{Kind: "snat", Network: netip.MustParsePrefix("10.8.0.0/24"), Alias: netip.MustParseAddr(alias)}
	}
	s := spec{own: push.Reply{ClientNAT: []push.NAT{rule("1.0.0.0")}}}
	r := push.Reply{ClientNAT: []push.NAT{rule("2.0.0.0")}}
	if n := s.nat(r); len(n) != 2 || n[0].alias != 1<<24 || n[1].alias != 2<<24 {
		t.Errorf("%+v", n)
	}
	s.noPull = true
	if n := s.nat(r); len(n) != 1 {
		t.Errorf("with route-nopull: %+v", n)
	}
}

// swapped is a packet on the way back: source and destination change places, also in what an ICMP error quotes.
// That leaves every checksum as right or wrong as it was.
func swapped(p []byte) []byte {
	p = bytes.Clone(p)
	swap := func(q []byte) (size int, ok bool) {
		h := header.IPv4(q)
		if len(q) < 20 || q[0]>>4 != 4 || h.HeaderLength() < 20 || int(h.HeaderLength()) > len(q) {
			return 0, false
		}
		src, dst := h.SourceAddress(), h.DestinationAddress()
		h.SetSourceAddress(dst)
		h.SetDestinationAddress(src)
		return int(h.HeaderLength()), true
	}
	n, ok := swap(p)
	if ok && p[9] == 1 && header.IPv4(p).FragmentOffset() == 0 && len(p) >= n+8 && bytes.IndexByte([]byte{3, 4, 5, 11, 12}, p[n]) >= 0 {
		swap(p[n+8:])
	}
	return p
}

// FuzzNAT takes packets of any shape. With entries that only swap two networks each packet out, turned
// around and in is what it was, and a checksum is after the exchange as right or wrong as before.
func FuzzNAT(f *testing.F) {
	f.Add(packet4(6, "10.8.0.7", "192.168.5.9", 0, make([]byte, 40)))
	f.Add(packet4(17, "172.16.9.1", "10.1.5.1", 0x2000, make([]byte, 8)))
	f.Add(packet4(1, "10.1.5.1", "172.16.9.7", 0, append([]byte{3, 4, 0, 0, 0, 0, 5, 0}, packet4(17, "192.168.5.1", "10.8.0.7", 0, make([]byte, 8))...)))
	rule := func(kind, network, alias string) push.NAT {
		return push.NAT{Kind: kind, Network: netip.MustParsePrefix(network), Alias: netip.MustParseAddr(alias)}
	}
	n := natOf(
		rule("snat", "10.8.0.0/24", "172.16.9.0"), rule("snat", "172.16.9.0/24", "10.8.0.0"),
		rule("dnat", "192.168.5.0/24", "10.1.5.0"), rule("dnat", "10.1.5.0/24", "192.168.5.0"),
	)
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 200 {
			return // adds nothing but time to make it small
		}
		out := bytes.Clone(p)
		n.out(out)
		size := ipv4Header(p)
		if size == 0 {
			if !bytes.Equal(p, out) {
				t.Fatal("no whole IPv4 header, and changed")
			}
			return
		}
		same := func(what string, before, after uint16) {
			if before%0xffff != after%0xffff { // two zeros
				t.Fatalf("%s: the sum was %#x and is %#x: %x → %x", what, before, after, p, out)
			}
		}
		same("header", sums.Checksum(p[:size], 0), sums.Checksum(out[:size], 0))
		first := header.IPv4(p).FragmentOffset() == 0
		at, body := map[byte]int{6: 16, 17: 6}[p[9]], p[size:]
		exempt := p[9] == 17 && len(body) >= 8 && body[6] == 0 && body[7] == 0
		if at != 0 && first && len(body) >= at+2 && !exempt {
			sum := func(p []byte) uint16 {
				return sums.Checksum(p[size:], header.PseudoHeaderChecksum(tcpip.TransportProtocolNumber(p[9]), header.IPv4(p).SourceAddress(), header.IPv4(p).DestinationAddress(), uint16(len(body))))
			}
			same("transport", sum(p), sum(out))
		}
		back := swapped(out)
		n.in(back)
		back = swapped(back)
		zeros := []int{10} // fields whose two zeros are equal
		switch {
		case at != 0 && first && len(body) >= at+2:
			zeros = append(zeros, size+at)
		case p[9] == 1 && len(body) >= 8+12:
			zeros = append(zeros, size+8+10)
		}
		for _, i := range zeros {
			if len(p) < i+2 {
				continue
			}
			if a, b := binary.BigEndian.Uint16(p[i:]), binary.BigEndian.Uint16(back[i:]); a%0xffff == 0 && b%0xffff == 0 && (a == 0xffff || !exempt) {
				copy(back[i:i+2], p[i:])
			}
		}
		if !bytes.Equal(back, p) {
			t.Fatalf("out and in again:\n%x became\n%x by way of\n%x", p, back, out)
		}
	})
}
