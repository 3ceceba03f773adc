//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/adit-vpn/adit/lab"
)

const (
	wireguardDevice = "wg0"
	wireguardPort   = 51820
	wireguardNet    = "10.9.0." // the server is .1, client i is .(i+2)
)

// wireguardTunnel is wireguard-go at both ends, configured by its socket; its cipher is always
// ChaCha20-Poly1305 and its MTU 1420.
type wireguardTunnel struct {
	program string
	server  *ecdh.PrivateKey
	clients map[*host]*ecdh.PrivateKey
}

func (t *wireguardTunnel) serve(s *side) (err error) {
	if t.server, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return err
	}
	t.clients = map[*host]*ecdh.PrivateKey{}
	config := fmt.Sprintf("set=1\nprivate_key=%x\nlisten_port=%d\n", t.server.Bytes(), wireguardPort)
	for i, c := range s.clients {
		if t.clients[c], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return err
		}
		config += fmt.Sprintf("public_key=%x\nallowed_ip=%s%d/32\n", t.clients[c].PublicKey().Bytes(), wireguardNet, i+2)
	}
	p, err := s.server.Start(t.program, "--foreground", wireguardDevice)
	if err != nil {
		return err
	}
	s.daemons, s.carriers = append(s.daemons, p), append(s.carriers, p)
	return configureWireguard(s.server, p, config, wireguardNet+"1/24", "")
}

func (t *wireguardTunnel) attach(*side, *host) error { return nil }

func (t *wireguardTunnel) ways() []string { return []string{byProcess} }

func (t *wireguardTunnel) begin(_ context.Context, c *host, _ string) (<-chan error, error) {
	p, err := c.node.Start(t.program, "--foreground", wireguardDevice)
	if err != nil {
		return nil, err
	}
	c.process, c.carriers = p, []*lab.Proc{p}
	config := fmt.Sprintf("set=1\nprivate_key=%x\npublic_key=%s\nendpoint=%s:%d\nallowed_ip=0.0.0.0/0\n",
		t.clients[c].Bytes(), hex.EncodeToString(t.server.PublicKey().Bytes()), c.remote, wireguardPort)
	return ended(nil), configureWireguard(c.node, p, config, fmt.Sprintf("%s%d/24", wireguardNet, c.index+2), behind)
}

func (t *wireguardTunnel) check(context.Context, *host) error { return nil }

func (t *wireguardTunnel) end(_ context.Context, c *host) error {
	p := c.process
	if err := c.stop(); err != nil {
		return fmt.Errorf("%w: %s", err, p.Out)
	}
	return nil
}

// configureWireguard waits for the program's socket, hands it its configuration (wireguard.com/xplatform)
// and gives its device an address and a route.
func configureWireguard(n *lab.Node, p *lab.Proc, config, address, route string) error {
	for deadline := time.Now().Add(soon); ; {
		err := n.Do(func() error { return askWireguard("/var/run/wireguard/"+wireguardDevice+".sock", config) })
		if err == nil {
			break
		}
		select {
		case <-p.Done():
			return fmt.Errorf("wireguard-go ended: %w: %s", p.Err(), p.Out)
		case <-time.After(time.Millisecond):
		}
		if !isRefused(err) || time.Now().After(deadline) {
			return err
		}
	}
	return n.Do(func() error {
		link, err := netlink.LinkByName(wireguardDevice)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link)); err != nil || route == "" {
			return err
		}
		_, dst, err := net.ParseCIDR(route)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst})
	})
}

func askWireguard(path, config string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(config + "\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	return wireguardAnswer(answer)
}

// wireguardAnswer is nil for "errno=0".
func wireguardAnswer(line string) error {
	if strings.TrimSpace(line) != "errno=0" {
		return fmt.Errorf("wireguard-go refuses its configuration: %q", line)
	}
	return nil
}
