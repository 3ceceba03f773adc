//go:build linux

package lab

import (
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestAssociations: an endpoint with two associations of one VPC.
//
//	client ------- server -- eth1 10.0.0.5 ------- 10.0.0.10 host
//	second -------+       \- eth3 10.0.1.5 ------- 10.0.1.10 other
//
// Both host and other have 10.9.9.9. The clients, one of them openvpn, go to the associations in turn: each reaches 10.9.9.9 by
// the interface of its own and is seen with that one's address, and they reach each other. Those of an association that loses its
// link go on through the other one, until it is back.
func TestAssociations(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	second := s.secondClient()
	other := s.node("other")
	s.wire(s.server, "eth3", []string{"10.0.1.5/24"}, other, "eth0", []string{"10.0.1.10/24"})
	both := netip.MustParseAddr("10.9.9.9")
	for _, n := range []*Node{s.host, other} {
		s.ok(n.Do(func() error { return configure("lo", []string{"10.9.9.9/32"}) }))
		s.mirror(n, both)
	}
	// The machine's own routes lead to one of them only, and strictly so.
	s.ok(s.server.Route("10.9.9.0/24", "10.0.0.10"))
	s.ok(s.server.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/conf/eth3/rp_filter", []byte("1"), 0)
	}))
	before := s.routesOf(s.server)

	ca := newAuthority(t, "lab CA")
	of := func(name string) pki { return pki{ca.PEM, ca.server("lab server"), ca.client(name)} }
	config := s.yaml(of("alice"), "", endpointConfig{Rules: []string{"10.0.0.0/16", "10.9.9.9/32", "10.64.0.0/22"}, More: `
routes:
  - {destination: 10.9.9.0/24, target: subnet-a}
  - {destination: 10.9.9.0/24, target: subnet-b}
  - {destination: 10.64.0.0/22, target: local}
`})
	for old, better := range map[string]string{
		"interface: eth1}]":   "interface: eth1, gateway: 10.0.0.10}, {id: subnet-b, cidr: 10.0.1.0/24, zone: b, address: 10.0.1.5, interface: eth3, gateway: 10.0.1.10}]",
		"{subnet: subnet-a}]": "{subnet: subnet-a}, {subnet: subnet-b}]",
	} {
		if !strings.Contains(config, old) {
			t.Fatalf("no %s in the configuration", old)
		}
		config = strings.Replace(config, old, better, 1)
	}
	up := s.endpointUp(config)
	s.aditd()
	s.connect(clientProfile(of("alice"), "udp", "", ""))
	join := func(name string) *Proc {
		p := s.openvpn(second, clientProfile(of(name), "udp", "", "", "explicit-exit-notify 1", "connect-retry 1"))
		s.ok(p.WaitFor("Initialization Sequence Completed", soon))
		return p
	}
	bob := join("bob")

	subnets := func() string { // of the clients
		var list []string
		for _, c := range s.connections() {
			list = append(list, c.Client+" "+c.Subnet)
		}
		return strings.Join(list, ", ")
	}
	if got := subnets(); got != "alice subnet-a, bob subnet-b" {
		t.Fatalf("clients: %s", got)
	}
	stays := s.connections()[0].ID
	seen := func(n *Node) string { return s.seenFrom(n, both) }
	if a, b := seen(s.client), seen(second); a != "10.0.0.5" || b != "10.0.1.5" {
		t.Errorf("seen as %s and %s", a, b)
	}

	// From client to client, between associations. Nothing of it passes the machine's tunnel device.
	alice, _ := s.tunnelAddrs(s.client)
	bobs, _ := s.tunnelAddrs(second)
	s.reaches(s.client, none, bobs)
	s.reaches(second, none, alice)
	index := s.tunIndex(s.server)
	device := func() (packets uint64) {
		s.ok(s.server.Do(func() error {
			l, err := netlink.LinkByIndex(index)
			if err == nil {
				packets = l.Attrs().Statistics.RxPackets + l.Attrs().Statistics.TxPackets
			}
			return err
		}))
		return packets
	}
	quiet := device()
	s.reaches(s.client, none, bobs)
	if n := device(); n != quiet {
		t.Errorf("%d packets of one ping between clients passed the tunnel device", n-quiet)
	}
	s.reaches(s.client, none, hostAddr)
	if device() == quiet {
		t.Error("nothing is counted there")
	}

	// One is lost: its client comes back through the other one, and the other's client notices nothing.
	s.ok(s.server.Link("eth3", false))
	s.ok(up.WaitFor("an association is lost", soon))
	s.until(soon, "bob came back", func() bool { return subnets() == "alice subnet-a, bob subnet-a" })
	s.until(soon, "bob is seen through the other association", func() bool { return seen(second) == "10.0.0.5" })
	if s.connections()[0].ID != stays {
		t.Error("alice has another session")
	}
	s.ok(s.server.Link("eth3", true))
	s.ok(up.WaitFor("an association is back", 2*soon))
	s.ok(bob.Cmd.Process.Signal(syscall.SIGTERM))
	s.until(soon, "bob left", func() bool { return subnets() == "alice subnet-a" })
	join("carol")
	if got := subnets(); got != "alice subnet-a, carol subnet-b" {
		t.Errorf("clients: %s", got)
	}
	s.until(soon, "carol is seen through the association that is back", func() bool { return seen(second) == "10.0.1.5" })

	s.terminate(up)
	s.until(soon, "rules and routes are as before", func() bool { return s.routesOf(s.server) == before })
}
