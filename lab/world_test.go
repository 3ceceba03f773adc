//go:build linux

package lab

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// world is the network of the stories:
//
//	             office 192.168.20.9
//	                 |
//	client ------- router ------- server ------- host ------- internet
//	192.168.10.2   .1 | 203.0.113.254  .1 | 10.1.0.5  .10   192.0.2.80
//	                  +---------------------------------------/
//
// Client and office are one company; the router is its way out. Server is the
// endpoint's machine, with the VPC 10.1.0.0/16 behind; host is in the VPC and is its
// internet gateway too. The internet machine is reached by both ways and tells
// its callers their address.
type world struct {
	*site
	office, router, internet *Node
}

var (
	worldServer = netip.MustParseAddr("203.0.113.1")
	worldHost   = netip.MustParseAddr("10.1.0.10")
	officeAddr  = netip.MustParseAddr("192.168.20.9")
	webAddr     = netip.MustParseAddr("192.0.2.80")
)

const (
	clientSeen   = "192.168.10.2" // by the internet, on the old path
	endpointSeen = "10.1.0.5"     // through the endpoint
)

func newWorld(t *testing.T) *world {
	t.Helper()
	s := &site{t: t, net: newNet(t)}
	t.Cleanup(s.showLogs)
	s.client, s.server, s.host = s.node("client"), s.node("server"), s.node("host")
	w := &world{site: s, office: s.node("office"), router: s.node("router"), internet: s.node("internet")}
	s.wire(s.client, "eth0", []string{"192.168.10.2/24"}, w.router, "eth0", []string{"192.168.10.1/24"})
	s.wire(w.office, "eth0", []string{"192.168.20.9/24"}, w.router, "eth1", []string{"192.168.20.1/24"})
	s.wire(s.server, "eth0", []string{"203.0.113.1/24"}, w.router, "eth2", []string{"203.0.113.254/24"})
	s.wire(s.server, "eth1", []string{"10.1.0.5/24"}, s.host, "eth0", []string{"10.1.0.10/24"})
	s.wire(w.internet, "eth0", []string{"198.18.0.2/30"}, w.router, "eth3", []string{"198.18.0.1/30"})
	s.wire(w.internet, "eth1", []string{"198.18.1.2/30"}, s.host, "eth1", []string{"198.18.1.1/30"})
	s.ok(w.internet.Do(func() error { return configure("lo", []string{"192.0.2.80/32"}) }))
	s.ok(w.router.Forward())
	s.ok(s.host.Forward())
	for _, r := range []struct {
		n        *Node
		dst, via string
	}{
		{s.client, "", "192.168.10.1"},
		{w.office, "", "192.168.20.1"},
		{w.router, "192.0.2.0/24", "198.18.0.2"},
		{s.server, "192.168.0.0/16", "203.0.113.254"},
		{s.server, "", "10.1.0.10"},
		{s.host, "192.0.2.0/24", "198.18.1.2"},
		{w.internet, "192.168.0.0/16", "198.18.0.1"},
		{w.internet, "10.1.0.0/16", "198.18.1.1"},
	} {
		s.ok(r.n.Route(r.dst, r.via))
	}
	s.mirror(w.internet, webAddr)
	s.mirror(s.host, worldHost)
	return w
}

// mirrorPort is where mirrors listen.
const mirrorPort = 80

// mirror tells each caller the address that it is seen with, over HTTP.
func (s *site) mirror(n *Node, addr netip.Addr) {
	s.t.Helper()
	l, err := n.Listen("tcp", netip.AddrPortFrom(addr, mirrorPort).String())
	s.ok(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			c.SetDeadline(time.Now().Add(2 * time.Second))
			c.Read(make([]byte, 1024)) // the request: closing before it was read would reset the connection
			fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%s\n", host)
			c.Close()
		}
	}()
	s.t.Cleanup(func() { l.Close(); <-done })
}

// seenAs is the address with which the client appears at a mirror, "" if it does not come through.
func (s *site) seenAs(addr netip.Addr) string { return s.seenFrom(s.client, addr) }

// seenFrom is seenAs for another node.
func (s *site) seenFrom(n *Node, addr netip.Addr) string {
	c, err := n.Dial("tcp", netip.AddrPortFrom(addr, mirrorPort).String(), 1500*time.Millisecond)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil {
		return ""
	}
	_, host, _ := strings.Cut(string(b), "\r\n\r\n")
	return strings.TrimSpace(host)
}

// seen demands how the client appears at a mirror.
func (s *site) seen(addr netip.Addr, as string) {
	s.t.Helper()
	if got := s.seenAs(addr); got != as {
		s.t.Fatalf("%s sees the client as %q, expected %q", addr, got, as)
	}
}

// worldYAML is the endpoint's configuration, with its own PKI.
func (w *world) worldYAML(full bool, routes, rules []string, more ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `data: %s
listen: 203.0.113.1:1194
network: kernel
client_cidr: 10.64.0.0/22
client_cidr_v6: fd64::/64
split_tunnel: %t
networks: [{vpc: vpc-a, cidr: 10.1.0.0/16, subnets: [{id: subnet-a, cidr: 10.1.0.0/24, zone: a, address: 10.1.0.5, interface: eth1}]}]
associations: [{subnet: subnet-a}]
`, w.dataDir(), !full)
	if len(routes) > 0 {
		b.WriteString("routes:\n")
	}
	for _, r := range routes {
		fmt.Fprintf(&b, "  - {destination: %s, target: subnet-a}\n", r)
	}
	if len(rules) > 0 {
		b.WriteString("authorization_rules:\n")
	}
	for _, r := range rules {
		fmt.Fprintf(&b, "  - {cidr: %s, all: true}\n", r)
	}
	for _, m := range more {
		b.WriteString(m + "\n")
	}
	return b.String()
}

// reload gives the endpoint another configuration and returns what it says.
func (w *world) reload(config string) string {
	w.t.Helper()
	w.write(w.server, "endpoint.yaml", config)
	return w.endpointCmd("reload")
}

// importOwn imports the profile that the endpoint made for its own client.
func (w *world) importOwn() {
	w.t.Helper()
	text, err := os.ReadFile(w.dataDir() + "/client.ovpn")
	w.ok(err)
	w.adit("import", w.write(w.client, "lab.ovpn", string(text)))
}

// added are the lines of after that before lacks, and gone those that are missing.
func added(before, after string) (more, gone []string) {
	count := map[string]int{}
	for l := range strings.Lines(before + "\n") {
		count[strings.TrimSpace(l)]++
	}
	for l := range strings.Lines(after + "\n") {
		if l = strings.TrimSpace(l); count[l] > 0 {
			count[l]--
		} else if l != "" {
			more = append(more, l)
		}
	}
	for l, n := range count {
		for range n {
			gone = append(gone, l)
		}
	}
	return more, gone
}

// same demands that nothing of the system changed.
func (s *site) same(what, before, after string) {
	s.t.Helper()
	if before != after {
		more, gone := added(before, after)
		s.t.Errorf("%s: the system is not as before.\nmore:\n%s\ngone:\n%s", what, strings.Join(more, "\n"), strings.Join(gone, "\n"))
	}
}

// settled is same, once the kernel has brought its links up again.
func (s *site) settled(what, before string) {
	s.t.Helper()
	for end := time.Now().Add(soon); time.Now().Before(end) && s.system() != before; {
		time.Sleep(50 * time.Millisecond)
	}
	s.same(what, before, s.system())
}

// system is everything a tunnel may change in the client: addresses, routes, rules, DNS and the firewall.
func (s *site) system() string {
	s.t.Helper()
	return s.routesOf(s.client) + "\nresolv.conf: " + s.resolvConf(s.client) + "\nnftables: " + s.run(s.client, "nft", "--stateless", "list", "ruleset")
}
