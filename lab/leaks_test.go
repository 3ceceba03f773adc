//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Where the client's programs send to all the time, beside the tunnel and through it.
var (
	elsewhere  = netip.MustParseAddr("192.0.2.80")
	elsewhere6 = netip.MustParseAddr("2001:db8:99::80")
	nearbyDNS  = []netip.Addr{netip.MustParseAddr("192.168.10.1"), netip.MustParseAddr("192.168.11.1")}
)

// newGuardSite is newRoamingSite with IPv6, and the client in its first network.
func newGuardSite(t *testing.T) *site {
	t.Helper()
	s := newRoamingSite(t)
	s.ok(s.between.Do(func() error {
		if err := configure("eth0", []string{"2001:db8:10::1/64"}); err != nil {
			return err
		}
		return configure("eth1", []string{"2001:db8:11::1/64"})
	}))
	s.moveTo(0)
	return s
}

// moveTo takes the client from one of its two networks to the other.
func (s *site) moveTo(network int) {
	s.t.Helper()
	from, to := fmt.Sprintf("eth%d", 1-network), fmt.Sprintf("eth%d", network)
	s.ok(s.client.Link(from, false))
	s.ok(s.client.Do(func() error { return configure(to, []string{fmt.Sprintf("2001:db8:1%d::2/64", network)}) }))
	for _, gateway := range []string{fmt.Sprintf("192.168.1%d.1", network), fmt.Sprintf("2001:db8:1%d::1", network)} {
		if err := s.client.Route("", gateway); err != nil && !errors.Is(err, unix.EEXIST) {
			s.t.Fatal(err)
		}
	}
}

// leaks sees what the client sends by its devices, and says what of it should not be there.
type leaks struct {
	s    *site
	wait sync.WaitGroup

	mu   sync.Mutex
	seen map[string]int // by kind
}

// leaks begins to watch all of the client's wires, and to send one packet of every kind each 20 ms, until the test ends.
func (s *site) leaks(router *Node, devices ...string) *leaks {
	s.t.Helper()
	l := &leaks{s: s, seen: map[string]int{}}
	stop := make(chan struct{})
	s.t.Cleanup(func() { close(stop); l.wait.Wait() })
	for _, device := range devices {
		var fd int
		s.ok(router.Do(func() (err error) {
			iface, err := net.InterfaceByName(device)
			if err != nil {
				return err
			}
			all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
			if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all)); err != nil {
				return err
			}
			wake := unix.NsecToTimeval(int64(100 * time.Millisecond))
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wake); err != nil {
				return err
			}
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: iface.Index})
		}))
		l.wait.Go(func() {
			defer unix.Close(fd)
			buf := make([]byte, 1<<16)
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, from, err := unix.Recvfrom(fd, buf, 0)
				if ll, ok := from.(*unix.SockaddrLinklayer); err == nil && ok && ll.Pkttype != unix.PACKET_OUTGOING {
					if kind := kindOf(buf[:n]); kind != "" {
						l.mu.Lock()
						l.seen[kind]++
						l.mu.Unlock()
					}
				}
			}
		})
	}
	l.wait.Go(func() {
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				_ = s.client.Do(func() error { probe(); return nil })
			}
		}
	})
	return l
}

// probe sends one packet of every kind. What becomes of them the wire says.
func probe() {
	send := func(to netip.AddrPort, kind, protocol int, data []byte) {
		family := unix.AF_INET6
		var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
		if to.Addr().Is4() {
			family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
		}
		fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return
		}
		defer unix.Close(fd)
		if kind == unix.SOCK_STREAM {
			_ = unix.Connect(fd, sa)
			return
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		_ = unix.Sendto(fd, data, 0, sa)
	}
	small, large := []byte("probe"), make([]byte, 3000)
	for _, a := range []netip.Addr{elsewhere, elsewhere6} {
		send(netip.AddrPortFrom(a, 443), unix.SOCK_STREAM, 0, nil)
		send(netip.AddrPortFrom(a, 9), unix.SOCK_DGRAM, 0, small)
		send(netip.AddrPortFrom(a, 9), unix.SOCK_DGRAM, 0, large)
		send(netip.AddrPortFrom(a, 53), unix.SOCK_DGRAM, 0, small)
	}
	send(netip.AddrPortFrom(elsewhere, 0), unix.SOCK_RAW, unix.IPPROTO_ICMP, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0})
	send(netip.AddrPortFrom(elsewhere6, 0), unix.SOCK_RAW, unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 0, 0, 0})
	for _, a := range nearbyDNS {
		send(netip.AddrPortFrom(a, 53), unix.SOCK_DGRAM, 0, small)
		send(netip.AddrPortFrom(a, 53), unix.SOCK_STREAM, 0, nil)
	}
	// To the server itself, but not the tunnel's packets (TunnelCrack ServerIP), and into the network behind it.
	send(netip.AddrPortFrom(serverOuter, 443), unix.SOCK_STREAM, 0, nil)
	send(netip.AddrPortFrom(serverOuter, port), unix.SOCK_DGRAM, 0, []byte("\x00probe"))
	send(netip.AddrPortFrom(hostAddr, 9), unix.SOCK_DGRAM, 0, small)
}

// kinds are all that probe sends.
func kinds() []string {
	return []string{"tcp 443", "udp 9", "fragment", "udp 53", "ping", "tcp6 443", "udp6 9", "fragment6", "udp6 53", "ping6",
		"nearby udp 53", "nearby tcp 53", "server tcp 443", "server foreign udp", "vpc udp 9"}
}

// kindOf names what an IP packet is, if a guard that closes everything should have stopped it.
func kindOf(b []byte) string {
	var dst netip.Addr
	var proto byte
	var rest []byte
	six := ""
	switch {
	case len(b) >= 40 && b[0]>>4 == 6:
		dst, _ = netip.AddrFromSlice(b[24:40])
		proto, rest, six = b[6], b[40:], "6"
	case len(b) >= 20 && b[0]>>4 == 4:
		dst, _ = netip.AddrFromSlice(b[16:20])
		proto, rest = b[9], b[int(b[0]&15)*4:]
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			if dst == serverOuter && proto == unix.IPPROTO_UDP {
				return "" // the tunnel's, of a packet that filled it
			}
			return "fragment"
		}
	default:
		return "" // ARP
	}
	if proto == unix.IPPROTO_HOPOPTS && len(rest) > 8 && six != "" { // as reports of groups have it (RFC 3810 5)
		proto, rest = rest[0], rest[8+8*int(rest[1]):]
	}
	if len(rest) < 8 {
		return "short" + six
	}
	where := ""
	nearby := dst.IsPrivate() && slices.Contains(nearbyDNS, dst) || dst.IsMulticast() || dst.IsLinkLocalUnicast()
	switch {
	case nearby:
		where = "nearby "
	case dst == serverOuter:
		where = "server "
	case dst == hostAddr:
		where = "vpc "
	}
	switch proto {
	case unix.IPPROTO_FRAGMENT:
		return "fragment6"
	case unix.IPPROTO_ICMPV6:
		switch rest[0] {
		case 128:
			return where + "ping6"
		case 131, 132, 133, 135, 136, 143: // groups and neighbours
			return ""
		}
		return fmt.Sprintf("%sicmp6 %d", where, rest[0])
	case unix.IPPROTO_ICMP:
		return where + "ping"
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		to := binary.BigEndian.Uint16(rest[2:])
		name := "udp"
		if proto == unix.IPPROTO_TCP {
			name = "tcp"
		}
		if dst == serverOuter && to == port {
			if name == "udp" && len(rest) > 8 && rest[8] != 0 {
				return "" // the tunnel: no packet of OpenVPN begins with 0
			}
			return "server foreign " + name
		}
		if nearby && to != 53 {
			return "" // the local network
		}
		return fmt.Sprintf("%s%s%s %d", where, name, six, to)
	}
	return fmt.Sprintf("%sprotocol%s %d", where, six, proto)
}

// all waits until every kind was seen: the watcher and the probes work, and nothing is closed.
func (l *leaks) all(when string) {
	l.s.t.Helper()
	l.forget()
	l.s.until(soon, "all kinds of packets were seen "+when, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !slices.ContainsFunc(kinds(), func(k string) bool { return l.seen[k] == 0 })
	})
}

// forget begins anew. What is on its way is seen before.
func (l *leaks) forget() {
	time.Sleep(30 * time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.seen)
}

// kinds are those seen since forget, in words. It forgets them.
func (l *leaks) kinds() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer clear(l.seen)
	var what []string
	for _, k := range slices.Sorted(maps.Keys(l.seen)) {
		what = append(what, fmt.Sprintf("%s (%d)", k, l.seen[k]))
	}
	return strings.Join(what, ", ")
}

// none demands that nothing was seen since forget that should not have been.
func (l *leaks) none(when string) {
	l.s.t.Helper()
	time.Sleep(30 * time.Millisecond)
	if what := l.kinds(); what != "" {
		l.s.t.Errorf("%s leaked: %s", when, what)
	}
}
