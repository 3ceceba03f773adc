//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestW4 is the article "Reach the internet and the office while connected" by its page: the route table of a full
// tunnel, exactly; what is unreachable through it and why; the switch of the endpoint to split tunnel; and the
// user's own ways to one.
func TestW4(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "ip", "ping", "nft")
	w := newWorld(t)
	w.data = "adit-endpoint-data"
	p := w.page("internet-and-office.md", map[string]*Node{"client": w.client, "endpoint": w.server})
	p.Stays = []string{"adit-endpoint up"}
	p.Swap = [][2]string{{"scp ", "cp "}, {"client:", w.client.Dir + "/"}}
	w.aditd()
	p.section("1. An endpoint that takes all traffic")
	w.reaches(w.client, none, officeAddr)
	before := w.system()

	// The whole table, not IPv4's main one alone.
	p.section("2. The route table of a full tunnel")
	st := w.status()
	if !st.FullTunnel || len(st.Tunnel.Addresses) != 2 || st.Tunnel.Addresses[0].Bits() != 27 {
		t.Errorf("full tunnel: %t, addresses %v", st.FullTunnel, st.Tunnel.Addresses)
	}
	tableBefore, guardBefore, _ := strings.Cut(before, "\nnftables: ")
	now, guard, _ := strings.Cut(w.system(), "\nnftables: ")
	more, gone := added(tableBefore, now)
	if guardBefore != "" || !strings.Contains(guard, "ip daddr 203.0.113.1 udp dport 1194") {
		t.Errorf("the full tunnel's guard: before %q, now %q", guardBefore, guard)
	}
	own := st.Tunnel.Addresses[0].Addr().String()
	own6 := st.Tunnel.Addresses[1].Addr().String()
	want := fullTunnelTable(st.Tunnel.Device, own, own6)
	var table []string
	for _, row := range more {
		if strings.HasPrefix(row, "table ") {
			table = append(table, plain(row))
		} else if row != ownResolver && !strings.HasPrefix(row, "resolv.conf: # Made by Adit") {
			t.Errorf("the full tunnel adds to the system: %s", row)
		}
	}
	slices.Sort(table)
	slices.Sort(want)
	if !slices.Equal(table, want) {
		t.Errorf("the full tunnel adds to the table\n%s\nexpected\n%s", strings.Join(table, "\n"), strings.Join(want, "\n"))
	}
	if len(gone) != 1 || gone[0] != "resolv.conf: nameserver 192.0.2.53" {
		t.Errorf("the full tunnel removes from the table: %q", gone)
	}

	p.section("3. What is out of reach, and why")
	w.same("after the full tunnel", before, w.system())

	p.section("4. A split tunnel")
	w.until(soon, "the client is back, without a full tunnel", func() bool {
		st = w.status()
		return st.State == api.Connected && !st.FullTunnel
	})
	p.section("5. What goes where")
	w.same("after the split tunnel", before, w.system())
	p.section("6. When you cannot change the endpoint")
	w.same("after the user's own split tunnels", before, w.system())
	w.until(soon, "the service knows the company's profile", func() bool { return strings.Contains(w.adit("profiles"), "company (managed)") })
	p.section("7. Where policy does not allow it")
}

// fullTunnelTable are the rows that a full tunnel adds: the halves of both
// families through it, the server's own address past it, and what the kernel makes
// of the tunnel's addresses.
func fullTunnelTable(tun, own, own6 string) []string {
	net4 := netip.PrefixFrom(netip.MustParseAddr(own), 27).Masked()
	net6 := netip.PrefixFrom(netip.MustParseAddr(own6), 123).Masked()
	last := net4.Addr().As4()
	last[3] += 31
	main := func(dst, rest string) string { return "table 254 " + dst + " " + rest + " type 1 proto 157" }
	kernel := func(table int, dst, src string, metric, typ int) string {
		return fmt.Sprintf("table %d %s via <nil> dev %s src %s metric %d type %d proto 2", table, dst, tun, src, metric, typ)
	}
	return []string{
		main("0.0.0.0/1", "via <nil> dev "+tun+" src <nil> metric 0"),
		main("128.0.0.0/1", "via <nil> dev "+tun+" src <nil> metric 0"),
		main("::/1", "via <nil> dev "+tun+" src <nil> metric 50"),
		main("8000::/1", "via <nil> dev "+tun+" src <nil> metric 50"),
		main(worldServer.String()+"/32", "via 192.168.10.1 dev eth0 src <nil> metric M"),
		kernel(254, net4.String(), own, 0, 1),
		kernel(254, net6.String(), "<nil>", 256, 1),
		kernel(254, "fe80::/64", "<nil>", 256, 1),
		kernel(255, own+"/32", own, 0, 2),
		kernel(255, netip.AddrFrom4(last).String()+"/32", own, 0, 3),
		kernel(255, own6+"/128", "<nil>", 0, 2),
		kernel(255, "fe80::X/128", "<nil>", 0, 2),
		kernel(255, "ff00::/8", "<nil>", 256, 5),
	}
}

var (
	linkLocal   = regexp.MustCompile(`fe80::[0-9a-f:]+/128`) // chosen by the kernel
	aroundRow   = regexp.MustCompile(`(203\.0\.113\.1/32 .* metric )\d+`)
	ownResolver = "nameserver 10.1.0.2"
)

// plain takes what is chosen at random out of a row.
func plain(row string) string {
	return aroundRow.ReplaceAllString(linkLocal.ReplaceAllString(row, "fe80::X/128"), "${1}M")
}
