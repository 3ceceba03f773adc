//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/client/api"
)

// The client's machine moves, sleeps its link, or meets a blocked port, under a live tunnel.

// newRoamingSite is a site whose client has two networks, of which it uses one at a time:
//
//	client eth0 192.168.10.2 --- .1 router .254 --- 198.51.100.1 server --- host
//	       eth1 192.168.11.2 --- .1
func newRoamingSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, net: newNet(t)}
	t.Cleanup(s.showLogs)
	s.client, s.server, s.host = s.node("client"), s.node("server"), s.node("host")
	router := s.node("router")
	s.between = router
	s.wire(s.client, "eth0", []string{"192.168.10.2/24"}, router, "eth0", []string{"192.168.10.1/24"})
	s.wire(s.client, "eth1", []string{"192.168.11.2/24"}, router, "eth1", []string{"192.168.11.1/24"})
	s.wire(s.server, "eth0", []string{"198.51.100.1/24"}, router, "eth2", []string{"198.51.100.254/24"})
	s.wire(s.server, "eth1", []string{"10.0.0.5/24", "fd00:a::5/64"}, s.host, "eth0", []string{"10.0.0.10/24", "fd00:a::10/64"})
	s.ok(router.Forward())
	s.ok(s.client.Link("eth1", false))
	s.ok(s.client.Route("", "192.168.10.1"))
	s.ok(s.server.Route("192.168.0.0/16", "198.51.100.254"))
	return s
}

// roamers are the peers of a client that moves.
func roamers() []cell {
	return []cell{
		{Peers: aditToEndpoint, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"},
		{Peers: aditToOpenVPN, Transport: "udp", Wrap: "tls-auth", Cipher: "AES-256-GCM"},
		{Peers: aditToEndpoint, Transport: "tcp", Wrap: "plain", Cipher: "AES-256-GCM"},
		{Peers: aditToOpenVPN, Transport: "tcp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"},
	}
}

// moves are the ways to get another address, or to lose the network for a while.
func moves() map[string]func(s *site) {
	return map[string]func(s *site){
		// As from Ethernet to Wi-Fi: another device, another network, another gateway.
		"device": func(s *site) {
			s.ok(s.client.Link("eth0", false))
			s.ok(s.client.Link("eth1", true))
			s.ok(s.client.Route("", "192.168.11.1"))
		},
		// As another lease of DHCP.
		"address": func(s *site) {
			s.ok(s.client.Do(func() error {
				link, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				old, _ := netlink.ParseAddr("192.168.10.2/24")
				next, _ := netlink.ParseAddr("192.168.10.7/24")
				if err := netlink.AddrDel(link, old); err != nil {
					return err
				}
				time.Sleep(300 * time.Millisecond)
				return netlink.AddrAdd(link, next)
			}))
			s.ok(s.client.Route("", "192.168.10.1")) // it went with the address
		},
		// As a cable that is pulled out and put back.
		"link": func(s *site) {
			s.ok(s.client.Link("eth0", false))
			time.Sleep(2 * time.Second)
			s.ok(s.client.Link("eth0", true))
			s.ok(s.client.Route("", "192.168.10.1"))
		},
	}
}

// tunFile is aditd's handle of the TUN: its number and the inode behind it.
func tunFile(t *testing.T, p *Proc) string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && to == "/dev/net/tun" {
			info, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(p.Cmd.Process.Pid), "fdinfo", e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(info)) {
				if !strings.HasPrefix(line, "pos:") { // which counts the bytes
					found += e.Name() + " " + line
				}
			}
		}
	}
	if found == "" {
		t.Fatal("aditd holds no TUN")
	}
	return found
}

// TestRoaming: a TCP connection in the tunnel lives through each move, on one TUN. Over UDP the session goes on,
// too. Over TCP there is a new one; our endpoint gives it another address, since several clients may
// have one certificate, and the connection inside ends.
func TestRoaming(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, c := range roamers() {
		for how, move := range moves() {
			t.Run(c.Peers+"/"+c.Transport+"/"+how, func(t *testing.T) {
				t.Parallel()
				s := newRoamingSite(t)
				p, k := newPKI(t), staticKey()
				if c.Peers == aditToEndpoint {
					s.endpointUp(s.cellYAML(p, wrapKeys{k, k}, c))
				} else {
					s.openvpnUp(p, wrapKeys{k, k}, c)
				}
				service := s.aditd()
				s.connect(cellProfile(p, wrapKeys{k, k}, c))
				s.reaches(s.client, none, hostAddr)
				four, _ := s.tunnelAddrs(s.client)
				handle, was := tunFile(t, service), s.status()
				st, err := startStream(s.client, s.host, netip.AddrPortFrom(hostAddr, 5001))
				s.ok(err)
				time.Sleep(time.Second)

				begin := time.Now()
				move(s)
				there := time.Now()
				s.until(soon, "packets pass again", s.passes)
				t.Logf("packets pass again %v after the move began, %v after the network was there", time.Since(begin).Round(10*time.Millisecond), time.Since(there).Round(10*time.Millisecond))
				time.Sleep(3 * time.Second)
				flows, err := st.end()
				readdressed := c.Peers == aditToEndpoint && c.Transport == "tcp" && how != "link"
				if err != nil && !readdressed {
					t.Error(err)
				}
				t.Logf("the stream stood still for %v and %v", flows[0].MaxGap, flows[1].MaxGap)
				if most := 8 * time.Second; !readdressed && (flows[0].MaxGap > most || flows[1].MaxGap > most) {
					t.Errorf("the stream stood still for %v and %v", flows[0].MaxGap, flows[1].MaxGap)
				}
				if now := tunFile(t, service); now != handle {
					t.Errorf("the TUN was %q and is %q", handle, now)
				}
				now := s.status()
				if addr, _ := s.tunnelAddrs(s.client); now.State != api.Connected || now.Tunnel.Device != was.Tunnel.Device || addr != four && !readdressed {
					t.Errorf("the tunnel was %+v at %v and is %+v at %v", was.Tunnel, four, now.Tunnel, addr)
				}
				if c.Transport == "udp" {
					if n := strings.Count(service.Out.String(), "control channel is up"); n != 1 {
						t.Errorf("%d sessions", n)
					}
					if !strings.Contains(service.Out.String(), "the tunnel goes on") {
						t.Error("the client does not say that the tunnel goes on")
					}
				}
				if c.Peers == aditToEndpoint {
					if n := len(s.connections()); n != 1 && c.Transport == "udp" {
						t.Errorf("the endpoint has %d connections", n)
					}
				}
			})
		}
	}
}

// TestFailover: the first remote's UDP port is blocked on the way, and the second remote is TCP.
func TestFailover(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	p, c := newPKI(t), cell{Peers: aditToOpenVPN, Transport: "tcp", Wrap: "plain", Cipher: "AES-256-GCM"}
	s.openvpnUp(p, wrapKeys{}, c)
	s.ok(s.server.Loss(1)) // all of UDP
	service := s.aditd()
	remote := fmt.Sprintf("remote %s %d udp", serverOuter, port)
	profile := strings.Replace(cellProfile(p, wrapKeys{}, c), "proto tcp\n", remote+"\nproto tcp\n", 1)
	s.connect(profile) // within 20 s
	s.reaches(s.client, none, hostAddr)
	if st := s.status(); st.Server.Transport != "tcp" {
		t.Errorf("connected over %s", st.Server.Transport)
	}
	if !strings.Contains(service.Out.String(), "transport=udp") {
		t.Error("UDP was not tried")
	}
}

// TestStrayedPackets: a packet of the tunnel that a route leads into the tunnel is dropped, and others to the
// server's address pass.
func TestStrayedPackets(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	p, c := newPKI(t), cell{Peers: aditToOpenVPN, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM"}
	s.openvpnUp(p, wrapKeys{}, c)
	s.aditd()
	s.connect(cellProfile(p, wrapKeys{}, c))
	s.reaches(s.client, none, hostAddr)
	device := s.status().Tunnel.Device
	// From an address that routes by the tunnel, as somebody's policy routing may want it.
	four, _ := s.tunnelAddrs(s.client)
	send := func(port int) {
		s.ok(s.client.Do(func() error {
			d := net.Dialer{LocalAddr: &net.UDPAddr{IP: four.AsSlice()}, Control: bindTo(device)}
			conn, err := d.Dial("udp", netip.AddrPortFrom(serverOuter, uint16(port)).String())
			if err != nil {
				return err
			}
			defer conn.Close()
			for sent := 0; sent < 20; {
				_, err := conn.Write([]byte("a packet that strayed"))
				switch {
				case err == nil:
					sent++
				case !errors.Is(err, syscall.ECONNREFUSED):
					return err
				}
				// A refusal is what the machine behind the tunnel answered to an earlier packet: this one was
				// not sent, and the next one will be.
			}
			return nil
		}))
	}
	count := func(port int) uint64 {
		before := s.status().Counters.TxPackets
		send(port)
		time.Sleep(300 * time.Millisecond)
		return s.status().Counters.TxPackets - before
	}
	if n := count(port + 1); n < 20 {
		t.Errorf("%d packets to another port entered the tunnel: the test proves nothing", n)
	}
	if n := count(port); n > 5 { // the kernel has its own to say
		t.Errorf("%d of the tunnel's own packets entered the tunnel", n)
	}
}

// bindTo ties a socket to a device, whatever the routes say.
func bindTo(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), device) })
		return errors.Join(err, failed)
	}
}
