//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// TestPointToPoint: two equal peers, of which one is openvpn; nothing is pushed.
// Both work out cipher, keys and peer id by themselves (P2P NCP).
func TestPointToPoint(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	if openvpnMinor() < 6 {
		t.Skip("P2P NCP begins with openvpn 2.6")
	}
	for _, c := range []cell{
		{Peers: openVPNToOpenVPN, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"},
		{Peers: aditToOpenVPN, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"},
		{Peers: aditToOpenVPN, Transport: "tcp", Wrap: "tls-auth", Cipher: "CHACHA20-POLY1305"},
	} {
		t.Run(c.Peers+"/"+c.Transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p, key := newPKI(t), staticKey()
			wire := s.tap(s.server, "eth0")
			// The server's configuration without what makes it one for many.
			config := strings.NewReplacer(
				"server 10.8.0.0 255.255.255.0\n", "tls-server\nifconfig 10.8.0.1 10.8.0.2\n",
				"server-ipv6 fd00:8::/64\n", "ifconfig-ipv6 fd00:8::1/64 fd00:8::2\n",
				"push \"route 10.0.0.0 255.255.0.0\"\npush \"route-ipv6 fd00:a::/64\"\n", "",
				"topology subnet\n", "topology p2p\n", "keepalive 1 20\n", "ping 1\nping-restart 20\n",
			).Replace(openvpnServer(s, p, key, c, "reneg-sec 0"))
			server := s.openvpn(s.server, config)
			profile := strings.Replace(cellProfile(p, wrapKeys{key, key}, c,
				"ifconfig 10.8.0.2 10.8.0.1", "ifconfig-ipv6 fd00:8::2/64 fd00:8::1", "topology p2p", "route 10.0.0.0 255.255.0.0", "route-ipv6 fd00:a::/64",
				"ping 1", "ping-restart 20", fmt.Sprint("reneg-sec ", renegotiate)), "client\n", "tls-client\n", 1)
			renegotiated := func() int { return 0 }
			if c.Peers == openVPNToOpenVPN {
				client := s.openvpn(s.client, profile)
				s.ok(client.WaitFor("Initialization Sequence Completed", soon))
				renegotiated = func() int { return len(handshakes.FindAllString(client.Out.String(), -1)) - 1 }
			} else {
				service := s.aditd()
				s.connect(profile)
				renegotiated = func() int { return strings.Count(service.Out.String(), "renegotiation=true") }
			}
			s.ok(server.WaitFor("Initialization Sequence Completed", soon))
			check := func() {
				s.reaches(s.client, none, hostAddr)
				s.reaches(s.client, none, hostAddr6)
				s.reaches(s.server, serverInner, netip.MustParseAddr("10.8.0.2"))
				s.reaches(s.server, serverInner6, netip.MustParseAddr("fd00:8::2"))
			}
			check()
			s.until(2*soon, "two renegotiations", func() bool { return renegotiated() >= 2 })
			check()
			out := server.Out.String()
			if want := "cipher=" + c.cipher(); !strings.Contains(out, "P2P mode NCP negotiation result: TLS_export=1, DATA_v2=1") || !strings.Contains(out, want) {
				t.Errorf("openvpn does not say %s as the result of P2P NCP", want)
			}
			for _, w := range wire.seen() {
				if w.opcodes[opDataV1] > 0 {
					t.Errorf("packets by opcode: %v", w.opcodes)
				}
			}
		})
	}
}
