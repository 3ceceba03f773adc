package client

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/push"
)

// openvpn ended itself over malformed IPv6 packets inside the tunnel when it looked for TCP's MSS.
// Everything that looks into packets here gets them cut at every length, in buffers that end there, with
// every length field and every next header wrong.
func TestCVE_2017_7508_MalformedInnerPackets(t *testing.T) {
	syn := []byte{0xaa, 0xaa, 0x04, 0xaa, 0, 0, 0, 1, 0, 0, 0, 0, 0x80, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 0x05, 0xb4, 1, 3, 3, 7, 4, 2, 5, 0xff}
	six := append([]byte{0x60, 0, 0, 0, 0, byte(len(syn)), 6, 64}, make([]byte, 32)...)
	six[8], six[24], six[39] = 0xfd, 0xfd, 1
	four := []byte{0x45, 0, 0, byte(20 + len(syn)), 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	clamp := mss.New(1492, 52)
	translate := natOf(push.NAT{Kind: "snat", Network: netip.MustParsePrefix("10.0.0.0/8"), Alias: netip.MustParseAddr("11.0.0.0")})
	guards := []loopGuard{newLoopGuard(netip.MustParseAddrPort("10.0.0.2:1194"), true), newLoopGuard(netip.MustParseAddrPort("[fd00::1]:1194"), false)}
	look := func(p []byte) {
		q := bytes.Clone(p)
		q = q[:len(q):len(q)]
		for i := range guards {
			guards[i].catches(q)
		}
		if !bytes.Equal(p, q) {
			t.Fatalf("looking at %x changed it", p)
		}
		clamp.Apply(q)
		for i := range p {
			if p[i] != q[i] && i < len(p)-len(syn) && len(p) > len(syn) {
				t.Fatalf("the clamp changed the head of %x", p)
			}
		}
		translate.out(q)
		translate.in(q)
	}
	for _, head := range [][]byte{six, four} {
		whole := append(bytes.Clone(head), syn...)
		clamped := bytes.Clone(whole)
		if clamp.Apply(clamped); bytes.Equal(whole, clamped) {
			t.Fatal("the whole packet is not clamped: this test proves nothing")
		}
		for n := range len(whole) + 1 {
			for i := range min(n, len(head)+20) {
				for _, v := range []byte{0, 1, 6, 43, 44, 59, 0x4f, 0x60, 0xf0, 0xff} {
					p := bytes.Clone(whole[:n])
					p[i] = v
					look(p)
				}
			}
		}
		for _, length := range []uint16{0, 1, 39, 40, 0x7fff, 0xffff} {
			p := bytes.Clone(whole)
			binary.BigEndian.PutUint16(p[2:], length)
			binary.BigEndian.PutUint16(p[4:], length)
			look(p)
		}
	}
}
