package client

import (
	"encoding/binary"
	"net/netip"
)

// loopGuard recognises packets of the tunnel that have strayed into the tunnel: to the server's
// own address, protocol and port (openvpn 2.7's rule, forward.c). Such a packet would be sealed
// into a larger one that takes the same way. Other packets to the server's address pass, since they may
// belong into the tunnel. The zero value catches nothing.
type loopGuard struct {
	proto    byte
	is6      bool
	four     [4]byte
	sixteen  [16]byte
	port     uint16
	catching bool
}

const (
	protoTCP = 6
	protoUDP = 17
)

func newLoopGuard(server netip.AddrPort, stream bool) loopGuard {
	a := server.Addr().Unmap()
	g := loopGuard{proto: protoUDP, port: server.Port(), is6: a.Is6(), sixteen: a.As16(), catching: true}
	if a.Is4() {
		g.four = a.As4()
	}
	if stream {
		g.proto = protoTCP
	}
	return g
}

// catches says whether p is one. Of a fragmented packet it sees the first fragment, and
// the rest is worth nothing without it.
func (g *loopGuard) catches(p []byte) bool {
	if !g.catching || len(p) < 20 {
		return false
	}
	var ports []byte
	switch p[0] >> 4 {
	case 4:
		header := int(p[0]&15) * 4
		if g.is6 || p[9] != g.proto || [4]byte(p[16:20]) != g.four || len(p) < header+4 || binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
			return false
		}
		ports = p[header:]
	case 6:
		if !g.is6 || len(p) < 44 || p[6] != g.proto || [16]byte(p[24:40]) != g.sixteen {
			return false
		}
		ports = p[40:]
	default:
		return false
	}
	return binary.BigEndian.Uint16(ports[2:]) == g.port
}
