//go:build linux

package lab

import "testing"

// TestLargeServerMTU: openvpn's server pushes its own tun-mtu, which is larger than what our client takes. The client
// takes what it can, as openvpn's does.
func TestLargeServerMTU(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	key := staticKey()
	p, k, c := newPKI(t), wrapKeys{key, key}, cell{Peers: aditToOpenVPN, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM", NCP: "ncp"}
	s.openvpnUp(p, k, c, "tun-mtu 9000", `push "tun-mtu 9000"`)
	s.aditd()
	s.connect(cellProfile(p, k, c))
	s.reaches(s.client, none, hostAddr)
	if mtu := s.status().Tunnel.MTU; mtu != 1600 {
		t.Errorf("the TUN has an MTU of %d", mtu)
	}
}
