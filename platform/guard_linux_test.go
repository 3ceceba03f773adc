package platform

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/nft"
	"github.com/adit-vpn/adit/routes"
)

// wire sees what leaves the laptop by eth0.
type wire struct {
	t  *testing.T
	fd int
}

// tap opens the other end of the laptop's wire, and makes all its neighbours known.
func tap(t *testing.T, nl *netlink.Handle) *wire {
	t.Helper()
	eth, err := nl.LinkByName("eth0")
	must(t, err)
	far, err := nl.LinkByName("router")
	must(t, err)
	for _, a := range []string{"192.168.1.1", "192.168.1.50", "2001:db8:1::1", "fe80::1", "198.51.100.77", "10.9.0.7"} {
		must(t, nl.NeighSet(&netlink.Neigh{LinkIndex: eth.Attrs().Index, IP: net.ParseIP(a), State: netlink.NUD_PERMANENT, HardwareAddr: far.Attrs().HardwareAddr}))
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: far.Attrs().Index}))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 10_000}))
	return &wire{t, fd}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// packet is one that a program of the laptop sends.
type packet struct {
	to        string // address:port; of icmp the address alone
	transport string // udp, tcp, icmp
	mark      int
	from      string // own port; empty: any
}

func (p packet) String() string { return fmt.Sprintf("%s %s mark %#x", p.transport, p.to, p.mark) }

// leaves sends p and says whether it came to the wire.
func (w *wire) leaves(p packet) bool {
	w.t.Helper()
	to, err := netip.ParseAddrPort(p.to)
	if err != nil {
		to = netip.AddrPortFrom(netip.MustParseAddr(p.to), 0)
	}
	for buf := make([]byte, 2048); ; { // what came before is of no interest
		if n, _, err := unix.Recvfrom(w.fd, buf, unix.MSG_DONTWAIT); n <= 0 || err != nil {
			break
		}
	}
	w.send(p, to)
	buf := make([]byte, 2048)
	for end := time.Now().Add(60 * time.Millisecond); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(w.fd, buf, 0)
		if err == nil && isFor(buf[:n], p.transport, to) {
			return true
		}
	}
	return false
}

func (w *wire) send(p packet, to netip.AddrPort) {
	w.t.Helper()
	family, proto, kind := unix.AF_INET6, 0, unix.SOCK_DGRAM
	var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	}
	data := []byte("probe")
	switch p.transport {
	case "tcp":
		kind = unix.SOCK_STREAM
	case "icmp":
		kind, proto = unix.SOCK_RAW, unix.IPPROTO_ICMP
		data = []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
		if family == unix.AF_INET6 {
			proto, data = unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 0, 0, 0}
			sa = &unix.SockaddrInet6{Addr: to.Addr().As16()} // a raw socket takes the port for a protocol
		}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	must(w.t, err)
	defer unix.Close(fd)
	must(w.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, p.mark))
	if p.from != "" {
		a := netip.MustParseAddrPort(p.from)
		if a.Addr().Is4() {
			must(w.t, unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}))
		} else {
			must(w.t, unix.Bind(fd, &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}))
		}
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	if kind == unix.SOCK_STREAM {
		_ = unix.Connect(fd, sa) // in progress
		return
	}
	_ = unix.Sendto(fd, data, 0, sa) // a guard may say EPERM: what counts is the wire
}

// isFor says whether an IP packet of that transport goes to that address and port.
func isFor(ip []byte, transport string, to netip.AddrPort) bool {
	var dst netip.Addr
	var proto byte
	var rest []byte
	switch {
	case len(ip) >= 40 && ip[0]>>4 == 6:
		dst, _ = netip.AddrFromSlice(ip[24:40])
		proto, rest = ip[6], ip[40:]
	case len(ip) >= 20 && ip[0]>>4 == 4:
		dst, _ = netip.AddrFromSlice(ip[16:20])
		proto, rest = ip[9], ip[int(ip[0]&15)*4:]
	}
	if dst != to.Addr() || len(rest) < 4 {
		return false
	}
	switch transport {
	case "udp", "tcp":
		want := byte(unix.IPPROTO_UDP)
		if transport == "tcp" {
			want = unix.IPPROTO_TCP
		}
		return proto == want && binary.BigEndian.Uint16(rest[2:]) == to.Port()
	}
	return proto == unix.IPPROTO_ICMP || proto == unix.IPPROTO_ICMPV6
}

// expect sends each packet and compares.
func (w *wire) expect(when string, want bool, ps ...packet) {
	w.t.Helper()
	for _, p := range ps {
		if got := w.leaves(p); got != want {
			w.t.Errorf("%s: %v leaves: %t, want %t", when, p, got, want)
		}
	}
}

func probeUDP(to string) packet  { return packet{to: to, transport: "udp"} }
func probeTCP(to string) packet  { return packet{to: to, transport: "tcp"} }
func probePing(to string) packet { return packet{to: to, transport: "icmp"} }

func marked(p packet) packet { p.mark = Mark; return p }

// guards are those of the programs' tables, in nftables' own words.
func guards(t *testing.T, h *linuxHost) bool {
	t.Helper()
	there, err := nft.Exists(h.journal.table())
	must(t, err)
	return there
}

// TestGuardFull: nothing leaves beside a full tunnel but what its guard names, whatever the routes say.
func TestGuardFull(t *testing.T) {
	nl, ctx := laptop(t), context.Background()
	w := tap(t, nl)
	outside := []packet{probeUDP("203.0.113.5:4000"), probeTCP("203.0.113.5:443"), probePing("203.0.113.5"), probeUDP("203.0.113.5:53"),
		probeUDP("[2001:db8:9::5]:4000"), probeTCP("[2001:db8:9::5]:443"), probePing("2001:db8:9::5"), probeUDP("198.51.100.7:1194"), probeTCP("198.51.100.7:1194")}
	nearby := []packet{probeUDP("192.168.1.50:4000"), probeTCP("192.168.1.50:445"), probePing("192.168.1.1"), probeUDP("224.0.0.251:5353"), probeUDP("192.168.1.255:137")}
	names := []packet{probeUDP("192.168.1.1:53"), probeTCP("192.168.1.1:53"), probeUDP("192.168.1.1:853"), probeTCP("192.168.1.1:853")}
	own := []packet{marked(probeUDP("198.51.100.7:1194"))}
	resolver := []packet{marked(probeUDP("192.168.1.1:53")), marked(probeTCP("192.168.1.1:53"))}
	lease := []packet{{to: "192.168.1.1:67", transport: "udp", from: "192.168.1.20:68"}, {to: "255.255.255.255:67", transport: "udp", from: "192.168.1.20:68"},
		{to: "[fe80::1]:547", transport: "udp", from: "[::]:546"}}
	probes := [][]packet{outside, nearby, names, own, resolver}
	for _, ps := range probes {
		w.expect("without a guard", true, ps...) // the wire sees each of them
	}
	h := openHost(t, t.TempDir(), "one", etcDir(t))
	facts, err := h.Facts(ctx)
	must(t, err)
	policy := routes.GuardPolicy{On: true, Outer: []routes.Endpoint{{Address: netip.MustParseAddr("198.51.100.7"), Port: 1194, Transport: "udp"}}}
	shut := func(old routes.Guard, p routes.GuardPolicy, web ...netip.Prefix) routes.Guard {
		t.Helper()
		plan := routes.Shut(old, facts, p, web)
		must(t, h.Apply(ctx, plan))
		return plan.Guard
	}
	g := shut(routes.Everything(), policy)
	w.expect("full", false, append(outside, names...)...)
	w.expect("full", true, nearby...)
	w.expect("full", true, append(own, resolver...)...)
	w.expect("full", true, lease[:2]...)
	w.expect("full, another port", false, marked(probeUDP("198.51.100.7:1195")), marked(probeTCP("198.51.100.7:1194")), marked(probeUDP("203.0.113.5:53")), packet{to: "203.0.113.5:4000", transport: "udp", mark: passed - 2},
		packet{to: "203.0.113.5", transport: "icmp", mark: passed})

	forbids := policy
	forbids.ForbidLocal = true
	shut(g, forbids)
	w.expect("without local networks", false, append(append(outside, names...), nearby...)...)
	w.expect("without local networks", true, append(own, lease[:2]...)...)

	shut(g, policy, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))
	w.expect("during a sign-in", true, append(names, probeTCP("203.0.113.5:443"), probeTCP("203.0.113.5:80"), probeTCP("[2001:db8:9::5]:443"))...)
	w.expect("during a sign-in", false, probeUDP("203.0.113.5:443"), probeTCP("203.0.113.5:22"), probeUDP("203.0.113.5:53"), probeTCP("203.0.113.5:53"))

	shut(g, policy, netip.MustParsePrefix("203.0.113.5/32"))
	w.expect("during a sign-in at one host", true, probeTCP("203.0.113.5:443"), names[0])
	w.expect("during a sign-in at one host", false, probeTCP("203.0.113.6:443"), probeTCP("[2001:db8:9::5]:443"))

	must(t, h.Apply(ctx, routes.Plan{}))
	if guards(t, h) {
		t.Error("the table is left")
	}
	for _, ps := range probes {
		w.expect("after", true, ps...)
	}
	must(t, h.Close())
}

// TestGuardSplit: what belongs into the tunnel does not leave beside it, and the rest does; two tunnels' guards stand
// beside each other.
func TestGuardSplit(t *testing.T) {
	nl, ctx, dir, etc := laptop(t), context.Background(), t.TempDir(), etcDir(t)
	w := tap(t, nl)
	split := func(name, closed, server string) *linuxHost {
		h := openHost(t, dir, name, etc)
		p := routes.GuardPolicy{On: true, Outer: []routes.Endpoint{{Address: netip.MustParseAddr(server), Transport: "tcp"}}}
		facts, err := h.Facts(ctx)
		must(t, err)
		var g routes.Guard
		for _, c := range strings.Fields(closed) {
			g.Closed = append(g.Closed, netip.MustParsePrefix(c))
		}
		must(t, h.Apply(ctx, routes.Shut(g, facts, p, nil)))
		return h
	}
	a := split("a", "10.0.0.0/8 10.1.0.0/16 172.16.0.0/13 172.24.0.0/13 fd00::/8", "198.51.100.7")
	defer a.Close()
	w.expect("split", false, probeUDP("10.2.3.4:4000"), probeTCP("10.1.0.1:443"), probePing("10.255.255.255"), probeUDP("172.16.0.1:9"), probeUDP("172.31.255.1:9"), probeUDP("[fd12::1]:9"))
	w.expect("split", true, probeUDP("203.0.113.5:4000"), probeUDP("192.168.1.1:53"), probeTCP("[2001:db8:9::5]:443"), probeUDP("9.255.255.1:9"), probeUDP("11.0.0.1:9"), probeUDP("172.32.0.1:9"), probeUDP("172.15.0.1:9"), probeTCP("198.51.100.7:5"))
	b := split("b", "0.0.0.0/0 ::/0", "198.51.100.8")
	w.expect("beside a full one", false, probeUDP("203.0.113.5:4000"), probeTCP("198.51.100.7:443"), marked(probeUDP("198.51.100.8:443")))
	w.expect("beside a full one", true, marked(probeTCP("198.51.100.7:443")), marked(probeTCP("198.51.100.8:443")))
	must(t, b.Close())
	w.expect("after the full one", true, probeUDP("203.0.113.5:4000"))
	w.expect("after the full one", false, probeUDP("10.2.3.4:4000"))
}

// TestGuardCrash: what a killed run closed stays closed; the next run of the name takes it over, and CleanUp opens it.
func TestGuardCrash(t *testing.T) {
	nl, ctx, dir, etc := laptop(t), context.Background(), t.TempDir(), etcDir(t)
	w := tap(t, nl)
	probe := probeUDP("203.0.113.5:4000")
	before := table(t, nl)
	closed := func() *linuxHost {
		h := openHost(t, dir, "one", etc)
		_, err := h.OpenTUN("", 1500)
		must(t, err)
		facts, err := h.Facts(ctx)
		must(t, err)
		reply := fullReply()
		reply.DNS = push.DNS{}
		plan, err := routes.Build(reply, facts, routes.Policy{Server: netip.MustParseAddr(outer),
			Guard: routes.GuardPolicy{On: true, Outer: []routes.Endpoint{{Address: netip.MustParseAddr(outer), Port: 443, Transport: "udp"}}}})
		must(t, err)
		must(t, h.Apply(ctx, plan))
		return h
	}
	kill(closed())
	w.expect("after the crash", false, probe)
	if n, err := CleanUpBut(ctx, dir, func(name string) bool { return name == "one" }, nil); n != 3 || err != nil {
		t.Errorf("undid %d, %v", n, err)
	}
	if got := table(t, nl); got != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, got)
	}
	w.expect("after the tidying", false, probe)
	h := openHost(t, dir, "one", etc)
	if !h.Guard().Full() {
		t.Errorf("the next run knows of %+v", h.Guard())
	}
	w.expect("in the next run", false, probe)
	must(t, h.Leave())
	w.expect("after a run that left it", false, probe)
	if n, err := CleanUp(ctx, dir, nil); n != 1 || err != nil {
		t.Errorf("CleanUp undid %d, %v", n, err)
	}
	w.expect("after CleanUp", true, probe)

	// A journal that nobody can read.
	h = closed()
	kill(h)
	must(t, os.WriteFile(filepath.Join(dir, "one.json"), []byte("{"), 0o600))
	h = openHost(t, dir, "one", etc)
	w.expect("after an unreadable journal", false, probe)
	must(t, h.Close())
	w.expect("after its end", true, probe)
	kill(closed())
	must(t, os.WriteFile(filepath.Join(dir, "one.json"), []byte("{"), 0o600))
	_, err := CleanUp(ctx, dir, nil)
	must(t, err)
	w.expect("after CleanUp of an unreadable journal", true, probe)

	// A journal that somebody deleted, together with its folder.
	kill(closed())
	must(t, os.RemoveAll(dir))
	w.expect("without a journal", false, probe)
	if n, err := CleanUp(ctx, dir, nil); n != 1 || err != nil {
		t.Errorf("CleanUp without a journal undid %d, %v", n, err)
	}
	w.expect("after CleanUp without a journal", true, probe)
}

// TestCVE_2019_14899_PacketsFromBesideTheTunnel: packets to the tunnel's address come in by the tunnel only (CVE-2019-14899).
func TestCVE_2019_14899_PacketsFromBesideTheTunnel(t *testing.T) {
	nl, ctx := laptop(t), context.Background()
	h := openHost(t, t.TempDir(), "one", etcDir(t))
	tun, err := h.OpenTUN("", 1500)
	must(t, err)
	defer tun.Close()
	defer h.Close()
	far, err := nl.LinkByName("router")
	must(t, err)
	eth, err := nl.LinkByName("eth0")
	must(t, err)
	must(t, sysctl("net/ipv4/conf/all/rp_filter", "0"))
	must(t, sysctl("net/ipv4/conf/eth0/rp_filter", "0"))
	l, err := net.ListenPacket("udp4", ":4000")
	must(t, err)
	defer l.Close()
	raw, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(raw)
	arrives := func() bool {
		t.Helper()
		// 192.168.1.50:9 → 10.64.0.2:4000, no UDP checksum
		ip := []byte{0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 192, 168, 1, 50, 10, 64, 0, 2, 0, 9, 4000 >> 8, 4000 & 255, 0, 9, 0, 0, 'x'}
		sum := uint32(0)
		for i := 0; i < 20; i += 2 {
			sum += uint32(ip[i])<<8 | uint32(ip[i+1])
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
		to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: far.Attrs().Index, Halen: 6}
		copy(to.Addr[:], eth.Attrs().HardwareAddr)
		must(t, unix.Sendto(raw, ip, 0, to))
		must(t, l.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		n, _, _ := l.ReadFrom(make([]byte, 100))
		return n == 1
	}
	facts, err := h.Facts(ctx)
	must(t, err)
	for _, on := range []bool{false, true} {
		plan, err := routes.Build(fullReply(), facts, routes.Policy{Server: netip.MustParseAddr(outer), Guard: routes.GuardPolicy{On: on}})
		must(t, err)
		must(t, h.Apply(ctx, plan))
		if got := arrives(); got == on {
			t.Errorf("guard %t: the injected packet arrives: %t", on, got)
		}
	}
}
