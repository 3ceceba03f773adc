//go:build linux

package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/adit-vpn/adit/client/api"
)

// secondClient adds another client's machine to a site, with a wire of its own to the server.
func (s *site) secondClient() *Node {
	s.t.Helper()
	n := s.node("second")
	s.wire(n, "eth0", []string{"198.51.101.2/24"}, s.server, "eth2", []string{"198.51.101.1/24"})
	s.ok(n.Route("", "198.51.101.1"))
	return n
}

// tunIndex is the number of a node's only tun device.
func (s *site) tunIndex(n *Node) (index int) {
	s.t.Helper()
	s.ok(n.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if l.Type() == "tuntap" {
				index = l.Attrs().Index
			}
		}
		return err
	}))
	return index
}

// TestPushUpdate: a reload that changes routes and DNS reaches our client in the running tunnel
// where push_update is on, and does not disturb a TCP connection in it. openvpn 2.6, which does not
// know PUSH_UPDATE, is reset at the same time, as all are where it is off.
func TestPushUpdate(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	const firstNet, secondNet = "192.0.2.0/24", "203.0.113.0/24"
	for _, tt := range []struct {
		transport, wrap string
		on              bool
	}{
		{"udp", "tls-crypt", true},
		{"tcp", "plain", true},
		{"udp", "tls-crypt", false},
	} {
		name := tt.transport + "/off"
		if tt.on {
			name = tt.transport + "/on"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			second := s.secondClient()
			p, key := newPKI(t), staticKey()
			c := cell{Peers: aditToEndpoint, Transport: tt.transport, Wrap: tt.wrap, Cipher: "AES-256-GCM", NCP: "ncp"}
			base := s.cellYAML(p, wrapKeys{key, key}, c)
			if tt.on {
				base += "push_update: true\n"
			}
			with := func(dns string, routes ...string) string {
				text := base
				if dns != "" {
					text += "dns_servers: [" + dns + "]\n"
				}
				if len(routes) > 0 {
					text += "routes:\n"
				}
				for _, r := range routes {
					text += "  - {destination: " + r + ", target: subnet-a}\n"
				}
				return text
			}
			s.endpointUp(with("10.0.0.2", firstNet))
			service := s.aditd()
			s.connect(cellProfile(p, wrapKeys{key, key}, c))
			theirs := c
			theirs.Peers = openVPNToAdit
			openvpn := s.openvpn(second, cellProfile(p, wrapKeys{key, key}, theirs, "verb 4", "connect-retry 1"))
			s.ok(openvpn.WaitFor("Initialization Sequence Completed", soon))
			s.reaches(s.client, none, hostAddr)
			s.reaches(second, none, hostAddr)

			device := " dev " + s.status().Tunnel.Device + " "
			routed := func(n *Node, dst, by string) bool {
				for line := range strings.Lines(s.routesOf(n)) {
					if strings.Contains(line, " "+dst+" ") && strings.Contains(line, by) {
						return true
					}
				}
				return false
			}
			if !routed(s.client, firstNet, device) || !strings.Contains(s.resolvConf(s.client), "nameserver 10.0.0.2\n") {
				t.Fatalf("at first the client has\n%s", s.system())
			}
			handle, index, was := tunFile(t, service), s.tunIndex(s.client), s.status()
			four, six := s.tunnelAddrs(s.client)
			ids := func() (adit, other string) {
				for _, c := range s.connections() {
					if c.Address == four {
						adit = c.ID
					} else {
						other = c.ID
					}
				}
				return adit, other
			}
			ours, others := ids()
			st, err := startStream(s.client, s.host, netip.AddrPortFrom(hostAddr, 5001))
			s.ok(err)

			reload := func(config, reset string) {
				t.Helper()
				s.write(s.server, "endpoint.yaml", config)
				if said := s.endpointCmd("reload"); !strings.Contains(said, "reloaded, "+reset+" sessions reset") {
					t.Errorf("reload says %q, expected %s sessions", said, reset)
				}
			}
			if !tt.on {
				reload(with("10.0.0.3", secondNet), "2")
				s.until(2*soon, "both clients have the new route", func() bool {
					return routed(s.client, secondNet, device) && routed(second, secondNet, "")
				})
				s.until(2*soon, "both clients are connected anew", func() bool {
					list := s.connections()
					return len(list) == 2 && list[0].ID != ours && list[0].ID != others && list[1].ID != ours && list[1].ID != others
				})
				if n := strings.Count(service.Out.String(), "control channel is up"); n != 2 {
					t.Errorf("%d sessions of our client", n)
				}
				s.reaches(s.client, none, hostAddr)
				s.reaches(second, none, hostAddr)
				if _, err := st.end(); err != nil {
					t.Logf("the TCP connection did not survive the reset: %v", err)
				}
				s.terminate(openvpn)
				return
			}

			// One route less, one more, another DNS server.
			reload(with("10.0.0.3", secondNet), "1")
			s.until(soon, "the client has the new route and the new DNS server only", func() bool {
				conf := s.resolvConf(s.client)
				return routed(s.client, secondNet, device) && !routed(s.client, firstNet, "") &&
					strings.Contains(conf, "nameserver 10.0.0.3\n") && !strings.Contains(conf, "10.0.0.2")
			})
			s.until(2*soon, "openvpn has the new route", func() bool { return routed(second, secondNet, "") && !routed(second, firstNet, "") })
			if _, now := ids(); now == others {
				t.Error("openvpn was not reset")
			}
			s.reaches(second, none, hostAddr)
			s.terminate(openvpn)
			s.until(soon, "openvpn's session is over", func() bool { return len(s.connections()) == 1 })

			// All traffic, without any DNS server, and back again.
			full := strings.Replace(with(""), "split_tunnel: true", "split_tunnel: false", 1)
			reload(full, "0")
			s.until(soon, "all traffic goes through the tunnel", func() bool {
				return routed(s.client, "0.0.0.0/1", device) && !routed(s.client, secondNet, "") && !strings.Contains(s.resolvConf(s.client), "10.0.0.")
			})
			s.reaches(s.client, none, hostAddr)
			reload(with("10.0.0.2", firstNet, secondNet), "0")
			s.until(soon, "both ranges go through the tunnel, and nothing else", func() bool {
				return routed(s.client, firstNet, device) && routed(s.client, secondNet, device) && !routed(s.client, "0.0.0.0/1", "") &&
					strings.Contains(s.resolvConf(s.client), "nameserver 10.0.0.2\n")
			})
			time.Sleep(time.Second)
			flows, err := st.end()
			if err != nil {
				t.Errorf("the TCP connection in the tunnel: %v", err)
			}
			for i, f := range flows {
				if f.Bytes == 0 || f.MaxGap > longestStall+2*f.Late {
					t.Errorf("direction %d carried %d bytes and stood still for %v (its sender for %v)", i, f.Bytes, f.MaxGap, f.Late)
				}
			}
			if now := tunFile(t, service); now != handle || s.tunIndex(s.client) != index {
				t.Errorf("the TUN was %q, index %d, and is %q, %d", handle, index, now, s.tunIndex(s.client))
			}
			if four2, six2 := s.tunnelAddrs(s.client); four2 != four || six2 != six {
				t.Errorf("the addresses were %v and %v and are %v and %v", four, six, four2, six2)
			}
			if now, _ := ids(); now != ours {
				t.Errorf("the session was %s and is %s", ours, now)
			}
			if now := s.status(); now.State != api.Connected || !now.Since.Equal(was.Since) {
				t.Errorf("the tunnel was up since %v, now it is %s since %v", was.Since, now.State, now.Since)
			}
			if n := strings.Count(service.Out.String(), "control channel is up"); n != 1 {
				t.Errorf("%d sessions of our client", n)
			}
		})
	}
}
