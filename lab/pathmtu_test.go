//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The path carries smaller packets than its ends believe, and nobody tells them.

// newNarrowSite is a site whose client has a narrow way to the server, and a wide one that it does not use yet. The
// narrow wire is between the routers, of which none complains:
//
//	client eth0 192.168.10.2 --- .1 near .12.1 -(narrow)- .12.2 far .254 --- 198.51.100.1 server --- host
//	       eth1 192.168.11.2 ------------------------------ .11.1
func newNarrowSite(t *testing.T, mtu int) *site {
	t.Helper()
	s := &site{t: t, net: newNet(t)}
	t.Cleanup(s.showLogs)
	s.client, s.server, s.host = s.node("client"), s.node("server"), s.node("host")
	near, far := s.node("near"), s.node("far")
	s.wire(s.client, "eth0", []string{"192.168.10.2/24", "2001:db8:10::2/64"}, near, "eth0", []string{"192.168.10.1/24", "2001:db8:10::1/64"})
	s.wire(near, "eth1", []string{"192.168.12.1/24", "2001:db8:12::1/64"}, far, "eth0", []string{"192.168.12.2/24", "2001:db8:12::2/64"})
	s.wire(s.client, "eth1", []string{"192.168.11.2/24"}, far, "eth1", []string{"192.168.11.1/24"})
	s.wire(s.server, "eth0", []string{"198.51.100.1/24", "2001:db8:1::1/64"}, far, "eth2", []string{"198.51.100.254/24", "2001:db8:1::fe/64"})
	s.wire(s.server, "eth1", []string{"10.0.0.5/24", "fd00:a::5/64"}, s.host, "eth0", []string{"10.0.0.10/24", "fd00:a::10/64"})
	s.ok(near.MTU("eth1", mtu))
	s.ok(far.MTU("eth0", mtu))
	for _, n := range []*Node{near, far} {
		s.ok(n.Forward())
		s.ok(n.Mute())
	}
	s.ok(s.client.Link("eth1", false))
	for _, r := range []struct {
		n        *Node
		dst, via string
	}{
		{s.client, "", "192.168.10.1"}, {s.client, "::/0", "2001:db8:10::1"},
		{near, "198.51.100.0/24", "192.168.12.2"}, {near, "2001:db8:1::/64", "2001:db8:12::2"},
		{far, "192.168.10.0/24", "192.168.12.1"}, {far, "2001:db8:10::/64", "2001:db8:12::1"},
		{s.server, "192.168.0.0/16", "198.51.100.254"}, {s.server, "2001:db8:10::/64", "2001:db8:1::fe"},
	} {
		s.ok(r.n.Route(r.dst, r.via))
	}
	return s
}

// TestNarrowPath: no TCP connection stands still in the tunnel, not even one that begins before the path is
// known, and datagrams of all sizes pass.
func TestNarrowPath(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, c := range []struct {
		cell cell
		mtu  int
	}{
		{cell{Peers: aditToOpenVPN, Wrap: "tls-crypt", Cipher: "AES-256-GCM"}, 1400},
		{cell{Peers: aditToOpenVPN, Wrap: "plain", Cipher: "AES-256-CBC+SHA256"}, 1280},
		{cell{Peers: aditToOpenVPN, Wrap: "plain", Cipher: "AES-256-GCM", Outside: "v6"}, 1400},
		{cell{Peers: aditToEndpoint, Wrap: "tls-crypt", Cipher: "AES-256-GCM"}, 1400},
		{cell{Peers: aditToEndpoint, Wrap: "plain", Cipher: "AES-256-GCM"}, 1280},
	} {
		t.Run(fmt.Sprintf("%s/%s/%d", c.cell.Peers, c.cell.Cipher+c.cell.Outside, c.mtu), func(t *testing.T) {
			t.Parallel()
			c.cell.Transport = "udp"
			s := newNarrowSite(t, c.mtu)
			l := connectCell(s, newPKI(t), staticKey(), c.cell)
			begin := time.Now()
			s.ok(bulk(s.client, s.host, netip.AddrPortFrom(hostAddr, 5004), 1<<20))
			s.knowsPath(c.mtu)
			t.Logf("known within %v", time.Since(begin).Round(10*time.Millisecond))
			if st := s.status().Tunnel; st.MTU < c.mtu-100 || st.MTU >= c.mtu && st.MTU != 1280 { // IPv6 inside wants that
				t.Errorf("the TUN has an MTU of %d", st.MTU)
			}
			for _, host := range []netip.Addr{hostAddr, hostAddr6} {
				s.ok(bulk(s.client, s.host, netip.AddrPortFrom(host, 5004), 4<<20))
			}
			if c.cell.Peers == aditToEndpoint {
				s.ok(sizes(s.client, s.host, netip.AddrPortFrom(hostAddr, 5003)))
				s.ok(sizes(s.client, s.host, netip.AddrPortFrom(hostAddr6, 5003)))
			} else {
				// What openvpn's server sends may not be cut, and is lost; the other direction is ours.
				s.ok(sizesTo(s.client, s.host, netip.AddrPortFrom(hostAddr, 5003)))
			}
			if !strings.Contains(l.client.Out.String(), "loses large packets") {
				t.Error("the client does not say that the path is narrow")
			}
		})
	}
}

// knowsPath waits until the client has found out what the path carries.
func (s *site) knowsPath(mtu int) {
	s.t.Helper()
	s.until(soon, fmt.Sprintf("the path is known to carry %d bytes", mtu), func() bool { return s.status().Tunnel.PathMTU == mtu })
}

// TestWiderPath: in another network the tunnel gets its usual size again.
func TestWiderPath(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newNarrowSite(t, 1400)
	connectCell(s, newPKI(t), staticKey(), cell{Peers: aditToEndpoint, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"})
	s.knowsPath(1400)
	s.ok(s.client.Link("eth0", false))
	s.ok(s.client.Link("eth1", true))
	s.ok(s.client.Route("", "192.168.11.1"))
	s.knowsPath(1492)
	if st := s.status().Tunnel; st.MTU != 1500 {
		t.Errorf("the TUN has an MTU of %d", st.MTU)
	}
	s.ok(bulk(s.client, s.host, netip.AddrPortFrom(hostAddr, 5004), 1<<20))
}

// TestNarrowPathOfOpenVPN: openvpn's client lets no router cut what it sends, nor looks what passes; the endpoint fits its
// TCP connections.
func TestNarrowPathOfOpenVPN(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newNarrowSite(t, 1400)
	l := connectCell(s, newPKI(t), staticKey(), cell{Peers: openVPNToAdit, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM", NCP: "ncp"})
	s.ok(bulk(s.client, s.host, netip.AddrPortFrom(hostAddr, 5004), 1<<20)) // before the path is known
	s.ok(l.server.WaitFor("loses large packets", soon))
	for _, host := range []netip.Addr{hostAddr, hostAddr6} {
		s.ok(bulk(s.client, s.host, netip.AddrPortFrom(host, 5004), 4<<20))
	}
	// What the endpoint sends may be cut.
	four, _ := s.tunnelAddrs(s.client)
	s.ok(sizesTo(s.server, s.client, netip.AddrPortFrom(four, 5003)))
}
