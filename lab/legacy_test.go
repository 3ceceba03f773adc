//go:build linux

package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestEndpointFollowsOpenVPN: the address of openvpn's client changes under a running
// TCP stream. The endpoint follows its data packets, and then its control packets too:
// the client renegotiates from there.
func TestEndpointFollowsOpenVPN(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn", "ip")
	s := newSite(t)
	key := staticKey()
	l := connectCell(s, newPKI(t), key, cell{Peers: openVPNToAdit, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM", NCP: "ncp"})
	s.reaches(s.client, none, hostAddr)
	four, _ := s.tunnelAddrs(s.client)
	st, err := startStream(s.client, s.host, netip.AddrPortFrom(hostAddr, 5001))
	s.ok(err)
	time.Sleep(time.Second)
	before := s.connections()
	s.run(s.client, "ip", "address", "del", "198.51.100.2/24", "dev", "eth0")
	s.run(s.client, "ip", "address", "add", "198.51.100.77/24", "dev", "eth0")
	s.until(soon, "the endpoint follows", func() bool {
		list := s.connections()
		return len(list) == 1 && strings.HasPrefix(list[0].From, "198.51.100.77:")
	})
	moved := time.Now()
	time.Sleep(2 * time.Second)
	flows, err := st.end()
	s.ok(err)
	for i, f := range flows {
		if f.MaxGap > 5*time.Second {
			t.Errorf("direction %d stood still for %v", i, f.MaxGap)
		}
	}
	s.reaches(s.server, serverInner, four)
	n := l.renegotiations()
	s.until(3*renegotiate*time.Second, "a renegotiation from the new address", func() bool {
		return l.renegotiations() > n && time.Since(moved) > renegotiate*time.Second
	})
	s.reaches(s.client, none, hostAddr)
	list := s.connections()
	if len(list) != 1 || len(before) != 1 || list[0].ID != before[0].ID {
		t.Errorf("connections %+v, before %+v", list, before)
	}
	l.leave()
	s.until(soon, "the endpoint hears the goodbye", l.noticed)
	l.left()
}

// TestLegacyClients: openvpn's client with the options that old files have, one kind
// for each client.
func TestLegacyClients(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, c := range []struct {
		name string
		cell cell
		more []string // lines of the client
		yaml string   // of the endpoint
		says string   // by the client
	}{
		{"net30", cell{Topology: "net30"}, nil, "", "ifconfig 10.64.0.6 10.64.0.5"},
		{"p2p", cell{Topology: "p2p"}, nil, "", "ifconfig 10.64.0.2 10.64.0.1"},
		{"compat-mode 2.4", cell{}, []string{"compat-mode 2.4.0"}, "", "AES-256-GCM"},
		{"compat-mode 2.3", cell{}, []string{"compat-mode 2.3.0", "cipher AES-256-GCM"}, "", "AES-256-GCM"},
		{"large tun-mtu", cell{}, []string{"tun-mtu-max 2000"}, "tun_mtu: 1700\n", "tun-mtu 1700"},
		{"small tun-mtu", cell{}, nil, "tun_mtu: 1700\n", "tun-mtu 1600"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := newPKI(t)
			c.cell.Peers, c.cell.Transport, c.cell.Wrap, c.cell.NCP = openVPNToAdit, "udp", "plain", "ncp"
			if c.cell.Cipher == "" {
				c.cell.Cipher = "AES-256-GCM"
			}
			server := s.endpointUp(s.cellYAML(p, wrapKeys{}, c.cell) + c.yaml)
			client := s.openvpnJoin(p, wrapKeys{}, c.cell, c.more...)
			s.reaches(s.client, none, hostAddr)
			four, six := s.tunnelAddrs(s.client)
			s.reaches(s.server, serverInner, four)
			s.reaches(s.server, serverInner6, six)
			if !strings.Contains(client.Out.String(), c.says) {
				t.Errorf("the client does not say %q", c.says)
			}
			s.terminate(client)
			s.until(soon, "the client is gone", func() bool { return len(s.connections()) == 0 })
			s.terminate(server)
		})
	}
}

// TestEndpointWithSeveralAddresses: openvpn's client at the second address of a machine
// whose listener has all of them hears from that one; it drops packets from the first.
func TestEndpointWithSeveralAddresses(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn", "ip")
	for _, outside := range []string{"v4", "v6"} {
		t.Run(outside, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := newPKI(t)
			second := "198.51.100.200"
			if outside == "v6" {
				second = "2001:db8:1::200"
				s.run(s.server, "ip", "address", "add", second+"/64", "dev", "eth0", "preferred_lft", "0")
			} else {
				s.run(s.server, "ip", "address", "add", second+"/24", "dev", "eth0")
			}
			c := cell{Peers: openVPNToAdit, Transport: "udp", Outside: outside, Wrap: "plain", Cipher: "AES-256-GCM", NCP: "ncp"}
			s.endpointUp(s.cellYAML(p, wrapKeys{}, c))
			profile := cellProfile(p, wrapKeys{}, c, "verb 4")
			first := "remote " + c.server().String()
			if !strings.Contains(profile, first) {
				t.Fatalf("no %q in the profile", first)
			}
			client := s.openvpn(s.client, strings.Replace(profile, first, "remote "+second, 1))
			s.ok(client.WaitFor("Initialization Sequence Completed", soon))
			s.reaches(s.client, none, hostAddr)
			four, _ := s.tunnelAddrs(s.client)
			s.reaches(s.server, serverInner, four)
			if strings.Contains(client.Out.String(), "Incoming packet rejected") {
				t.Error("answers came from another address")
			}
			s.terminate(client)
		})
	}
}
