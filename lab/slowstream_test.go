//go:build linux

package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestSlowStream: more comes at once for openvpn's client, over TCP, than its wire carries in some seconds, and the
// endpoint pings it meanwhile. All of it arrives, in the same session: over TCP openvpn restarts at the first packet
// that others have overtaken by more than its window.
func TestSlowStream(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	key := staticKey()
	p, k, c := newPKI(t), wrapKeys{key, key}, cell{Peers: openVPNToAdit, Transport: "tcp", Wrap: "tls-crypt", Cipher: "AES-256-GCM", NCP: "ncp"}
	s.endpointUp(s.cellYAML(p, k, c))
	client := s.openvpnJoin(p, k, c, "reneg-sec 0")
	s.reaches(s.client, none, hostAddr)
	before := s.connections()
	s.ok(s.server.Rate("eth0", 500_000))

	at := netip.AddrPortFrom(hostAddr, 5003).String()
	far, err := s.host.ListenPacket("udp", at)
	s.ok(err)
	defer far.Close()
	near, err := s.client.Dial("udp", at, time.Second)
	s.ok(err)
	defer near.Close()
	s.ok(near.(*net.UDPConn).SetReadBuffer(4 << 20))
	_, err = near.Write(nil)
	s.ok(err)
	s.ok(far.SetReadDeadline(time.Now().Add(soon)))
	_, from, err := far.ReadFrom(nil)
	s.ok(err)
	const packets, size = 300, 1400 // what the endpoint keeps for one client at most is a little more
	buf := make([]byte, size)
	for i := range packets {
		binary.BigEndian.PutUint16(buf, uint16(i))
		_, err := far.WriteTo(buf, from)
		s.ok(err)
		time.Sleep(time.Millisecond) // for the buffers between host and endpoint
	}
	s.ok(near.SetReadDeadline(time.Now().Add(2 * soon)))
	for i := range packets {
		if _, err := near.Read(buf); err != nil {
			t.Errorf("packet %d of %d: %v", i, packets, err)
			break
		}
		if n := binary.BigEndian.Uint16(buf); int(n) != i {
			t.Errorf("packet %d came instead of %d", n, i)
			break
		}
	}
	for _, bad := range []string{"bad packet ID", "Fatal decryption error"} {
		if strings.Contains(client.Out.String(), bad) {
			t.Errorf("the client says %q", bad)
		}
	}
	if after := s.connections(); len(after) != 1 || len(before) != 1 || after[0].ID != before[0].ID {
		t.Errorf("connections %+v, before %+v", after, before)
	}
}
