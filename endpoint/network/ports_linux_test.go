package network

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// TestSourcePorts: with an address of the association the target sees the client's port, unless somebody has it, or it may be a service's.
func TestSourcePorts(t *testing.T) {
	w := wanted("127.0.0.1/32")
	w.Associations[0].Source = netip.MustParseAddr("127.0.0.1")
	p := newPair(t, UserspaceConfig{}, w)
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tellAddress(t, stream)
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	seen := func(network string, port uint16) (as uint16) {
		t.Helper()
		ask := stream.Addr().String()
		if network == "udp" {
			ask = datagrams.LocalAddr().String()
		}
		to, proto := full(netip.MustParseAddrPort(ask))
		from, _ := full(netip.AddrPortFrom(clientAddr, port))
		if network == "udp" {
			c, err := gonet.DialUDP(p.client, &from, &to, proto)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			_, at, err := datagrams.ReadFrom(make([]byte, 10))
			if err != nil {
				t.Fatal(err)
			}
			return at.(*net.UDPAddr).AddrPort().Port()
		}
		c, err := dialFrom(t.Context(), p, from, to, proto)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		line, _ := bufio.NewReader(c).ReadString('\n')
		at, err := netip.ParseAddrPort(line)
		if err != nil {
			t.Fatal(err)
		}
		return at.Port()
	}
	for _, network := range []string{"tcp", "udp"} {
		free, taken := ports(t, network)
		if got := seen(network, free); got != free {
			t.Errorf("%s: port %d is seen as %d", network, free, got)
		}
		if got := seen(network, taken); got == taken {
			t.Errorf("%s: port %d, which somebody has, is seen", network, taken)
		}
		if got := seen(network, 8080); got == 8080 {
			t.Errorf("%s: a service's port is taken", network)
		}
	}
}

// ports are one that is free, and one that the test has.
func ports(t *testing.T, network string) (free, taken uint16) {
	t.Helper()
	for {
		var port [2]uint16
		for i := range port {
			if network == "tcp" {
				l, err := net.Listen(network, "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				port[i] = l.Addr().(*net.TCPAddr).AddrPort().Port()
				if i == 0 {
					l.Close()
				} else {
					t.Cleanup(func() { l.Close() })
				}
				continue
			}
			c, err := net.ListenPacket(network, "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			port[i] = c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
			if i == 0 {
				c.Close()
			} else {
				t.Cleanup(func() { c.Close() })
			}
		}
		if min(port[0], port[1]) >= keptPorts && port[0] != port[1] {
			return port[0], port[1]
		}
	}
}

// dialFrom connects from an address and port of the client.
func dialFrom(ctx context.Context, p *pair, from, to tcpip.FullAddress, proto tcpip.NetworkProtocolNumber) (net.Conn, error) {
	c, err := gonet.DialTCPWithBind(ctx, p.client, from, to, proto)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return c, nil
}
