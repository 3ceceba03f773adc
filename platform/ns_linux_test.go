package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/routes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// enterNS moves the test's goroutine into a new network namespace. The thread is
// never given back, so the namespace ends with the test.
func enterNS(t *testing.T) *netlink.Handle {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nl.Close)
	return nl
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// laptop is a namespace with one uplink, eth0, and a default route per family.
func laptop(t *testing.T) *netlink.Handle {
	t.Helper()
	nl := enterNS(t)
	// No link-local addresses: they come when they like, and the tables are compared exactly.
	must(t, sysctl("net/ipv6/conf/default/addr_gen_mode", "1"))
	lo, err := nl.LinkByName("lo")
	must(t, err)
	must(t, nl.LinkSetUp(lo))
	must(t, nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "router"}))
	for _, n := range []string{"eth0", "router"} {
		l, err := nl.LinkByName(n)
		must(t, err)
		must(t, nl.LinkSetUp(l))
	}
	eth, _ := nl.LinkByName("eth0")
	for _, a := range []string{"192.168.1.20/24", "2001:db8:1::20/64"} {
		x, err := netlink.ParseAddr(a)
		must(t, err)
		if x.IP.To4() == nil {
			x.Flags = unix.IFA_F_NODAD
		}
		must(t, nl.AddrAdd(eth, x))
	}
	for _, r := range [][2]string{{"0.0.0.0/0", "192.168.1.1"}, {"::/0", "2001:db8:1::1"}} {
		_, dst, _ := net.ParseCIDR(r[0])
		must(t, nl.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(r[1]), LinkIndex: eth.Attrs().Index}))
	}
	// The kernel finishes bringing links up on its own time.
	for range 2000 {
		now := table(t, nl)
		if strings.Contains(now, "ff00::/8 type 5 dev eth0") && strings.Contains(now, "ff00::/8 type 5 dev router") &&
			strings.Contains(now, "2001:db8:1::20/128 type 2") && mainTable(t, nl) == bare {
			return nl
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("the laptop does not come up:\n%s", table(t, nl))
	return nil
}

// table is the whole routing state: every table, every address, sorted.
func table(t *testing.T, nl *netlink.Handle) string {
	t.Helper()
	names := map[int]string{}
	links, err := nl.LinkList()
	must(t, err)
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var out []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rs, err := nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		must(t, err)
		for _, r := range rs {
			if r.Table == unix.RT_TABLE_MAIN {
				continue
			}
			out = append(out, fmt.Sprintf("table %d %v type %d dev %s metric %d", r.Table, r.Dst, r.Type, names[r.LinkIndex], r.Priority))
		}
		as, err := nl.AddrList(nil, family)
		must(t, err)
		for _, a := range as {
			out = append(out, fmt.Sprintf("addr %s dev %s", a.IPNet, names[a.LinkIndex]))
		}
	}
	slices.Sort(out)
	return mainTable(t, nl) + strings.Join(out, "\n")
}

// mainTable is the main table, in the manner of ip route.
func mainTable(t *testing.T, nl *netlink.Handle) string {
	t.Helper()
	rs, err := listRoutes(nl, netlink.FAMILY_V4, netlink.FAMILY_V6)
	must(t, err)
	var out []string
	for _, k := range rs {
		r, ok := rowOf(k)
		if !ok {
			t.Fatalf("row %v", k)
		}
		s := r.Destination.String()
		if r.Unreachable {
			s = "unreachable " + s
		}
		if r.Gateway.IsValid() {
			s += " via " + r.Gateway.String()
		}
		if r.Index != 0 {
			l, err := nl.LinkByIndex(r.Index)
			must(t, err)
			s += " dev " + l.Attrs().Name
		}
		if k.Protocol == routeProtocol {
			s += " ours"
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, "\n") + "\n"
}

func wayTo(t *testing.T, nl *netlink.Handle, dest string) string {
	t.Helper()
	rs, err := nl.RouteGet(net.ParseIP(dest))
	if errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH) {
		return "unreachable"
	}
	must(t, err)
	if rs[0].Type == unix.RTN_UNREACHABLE {
		return "unreachable"
	}
	l, err := nl.LinkByIndex(rs[0].LinkIndex)
	must(t, err)
	return l.Attrs().Name
}

func openHost(t *testing.T, dir, name, etc string) *linuxHost {
	t.Helper()
	h, err := NewHost(HostConfig{JournalDir: dir, Name: name, Etc: etc, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Bus: "unix:path=/nonexistent", Resolvconf: "/nonexistent/resolvconf"})
	must(t, err)
	t.Cleanup(func() { h.Close() })
	return h.(*linuxHost)
}

// kill drops a Host as a kill -9 does: the kernel closes its files, and nobody undoes anything.
func kill(h *linuxHost) {
	if t := h.device(); t != nil {
		t.Close()
	}
	h.journal.lock.Close()
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	if h.dnsWatch != nil {
		h.dnsWatch.close()
		h.dnsWatch = nil
	}
	if h.keeper != nil {
		_ = h.keeper.close()
	}
	h.watch.close()
	h.nl.Close()
}

func etcDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 192.168.1.1\noptions edns0\n"), 0o640))
	return dir
}

const outer = "203.0.113.7"

func fullReply() push.Reply {
	return push.Reply{
		Topology: "subnet", Address: netip.MustParsePrefix("10.64.0.2/27"), RouteGateway: netip.MustParseAddr("10.64.0.1"),
		Redirect: &push.Redirect{Def1: true}, Routes: []push.Route{{Destination: netip.MustParsePrefix("10.1.0.0/16"), Metric: 5}},
		DNS: push.DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.2:53")}, Search: []string{"corp.example"}},
	}
}

func buildPlan(t *testing.T, h Host, r push.Reply) routes.Plan {
	t.Helper()
	f, err := h.Facts(context.Background())
	must(t, err)
	p, err := routes.Build(r, f, routes.Policy{Server: netip.MustParseAddr(outer)})
	must(t, err)
	return p
}

const bare = `0.0.0.0/0 via 192.168.1.1 dev eth0
192.168.1.0/24 dev eth0
2001:db8:1::/64 dev eth0
::/0 via 2001:db8:1::1 dev eth0
`

const fullTable = `0.0.0.0/0 via 192.168.1.1 dev eth0
0.0.0.0/1 dev tun0 ours
10.1.0.0/16 dev tun0 ours
10.64.0.0/27 dev tun0
128.0.0.0/1 dev tun0 ours
192.168.1.0/24 dev eth0
2001:db8:1::/64 dev eth0
203.0.113.7/32 via 192.168.1.1 dev eth0 ours
::/0 via 2001:db8:1::1 dev eth0
unreachable 8000::/1 ours
unreachable ::/1 ours
`

func TestFullTunnelAndBack(t *testing.T) {
	nl, ctx, dir, etc := laptop(t), context.Background(), filepath.Join(t.TempDir(), "journal"), etcDir(t)
	before := table(t, nl)
	if got := mainTable(t, nl); got != bare {
		t.Fatalf("the laptop starts with\n%s", got)
	}
	h := openHost(t, dir, "one", etc)
	if err := h.Apply(ctx, routes.Plan{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}); err == nil {
		t.Error("a plan was applied without a device")
	}
	tun, err := h.OpenTUN("", 1400)
	must(t, err)
	if _, err := h.OpenTUN("", 1400); err == nil {
		t.Error("a second TUN opened beside the first")
	}
	plan := buildPlan(t, h, fullReply())
	for range 2 { // the second Apply finds nothing to do
		must(t, h.Apply(ctx, plan))
		if got := mainTable(t, nl); got != fullTable {
			t.Fatalf("during:\n%s", got)
		}
	}
	for dest, want := range map[string]string{"192.0.2.1": "tun0", outer: "eth0", "10.1.2.3": "tun0", "192.168.1.9": "eth0", "2606::1": "unreachable"} {
		if got := wayTo(t, nl, dest); got != want {
			t.Errorf("%s goes by %s, want %s", dest, got, want)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "one.json")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("journal: %v %v", st, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("journal directory: %v %v", st, err)
	}
	if f, err := h.Facts(ctx); err != nil || len(f.Routes) != 4 || len(f.Addresses) != 2 || len(f.DNS) != 1 || f.DNS[0].String() != "192.168.1.1" {
		t.Errorf("facts beside a tunnel: %+v %v", f, err)
	}
	other := openHost(t, dir, "two", etc)
	if f, err := other.Facts(ctx); err != nil || len(f.Routes) != 4 || len(f.Addresses) != 2 {
		t.Errorf("facts beside another one's tunnel: %+v %v", f, err)
	}
	must(t, other.Close())
	// A packet of an application comes out of the device.
	conn, err := net.Dial("udp", "192.0.2.1:9")
	must(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("through the tunnel"))
	must(t, err)
	if got := readPacket(t, tun, 17); !strings.Contains(string(got), "through the tunnel") {
		t.Errorf("read %q", got)
	}
	must(t, h.Apply(ctx, routes.Plan{}))
	if got := mainTable(t, nl); got != bare {
		t.Errorf("after the zero plan:\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "one.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("journal after undo: %v", err)
	}
	must(t, h.Apply(ctx, plan))
	must(t, tun.Close()) // the device may go first
	must(t, h.Close())
	if got := table(t, nl); got != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in the journal: %v", left)
	}
	if text, _ := os.ReadFile(filepath.Join(etc, "resolv.conf")); string(text) != "nameserver 192.168.1.1\noptions edns0\n" {
		t.Errorf("resolv.conf: %s", text)
	}
	if err := h.Apply(ctx, plan); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
	must(t, h.Close())
}

// readPacket waits for a packet with this IPv4 protocol number.
func readPacket(t *testing.T, tun TUN, protocol byte) []byte {
	t.Helper()
	pkts := make([]offload.Packet, tun.BatchSize())
	for {
		n, err := tun.Read(pkts)
		must(t, err)
		for i := range n {
			if p := pkts[i].Bytes; len(p) >= 20 && p[0]>>4 == 4 && p[9] == protocol {
				return p
			}
		}
	}
}

func TestPlansChangeWithoutAGap(t *testing.T) {
	nl, ctx := laptop(t), context.Background()
	h := openHost(t, t.TempDir(), "one", etcDir(t))
	tun, err := h.OpenTUN("", 1500)
	must(t, err)
	defer tun.Close()
	must(t, h.Apply(ctx, buildPlan(t, h, fullReply())))
	// The same network with another address: the kernel would drop all with the first one.
	moved := fullReply()
	moved.Address, moved.TunMTU = netip.MustParsePrefix("10.64.0.9/27"), 1400
	must(t, h.Apply(ctx, buildPlan(t, h, moved)))
	if got := mainTable(t, nl); got != fullTable {
		t.Errorf("after an address change:\n%s", got)
	}
	if !strings.Contains(table(t, nl), "addr 10.64.0.9/27 dev tun0") || strings.Contains(table(t, nl), "10.64.0.2/27") || tun.MTU() != 1400 {
		t.Errorf("addresses:\n%s\nMTU %d", table(t, nl), tun.MTU())
	}
	// Full becomes split, with IPv6.
	split := push.Reply{Topology: "subnet", Address: moved.Address, Address6: netip.MustParsePrefix("fd64::2/64"),
		Routes: []push.Route{{Destination: netip.MustParsePrefix("10.1.0.0/16")}, {Destination: netip.MustParsePrefix("2001:db8:99::/48")}}}
	must(t, h.Apply(ctx, buildPlan(t, h, split)))
	want := `0.0.0.0/0 via 192.168.1.1 dev eth0
10.1.0.0/16 dev tun0 ours
10.64.0.0/27 dev tun0
192.168.1.0/24 dev eth0
2001:db8:1::/64 dev eth0
2001:db8:99::/48 dev tun0 ours
::/0 via 2001:db8:1::1 dev eth0
fd64::/64 dev tun0
`
	if got := mainTable(t, nl); got != want {
		t.Errorf("split:\n%s", got)
	}
	// What somebody else took away comes back with the next Apply.
	must(t, nl.RouteDel(h.record.Routes[0].kernel()))
	must(t, h.Apply(ctx, buildPlan(t, h, split)))
	if got := mainTable(t, nl); got != want {
		t.Errorf("after a loss:\n%s", got)
	}
}

func TestForeignRoutesStay(t *testing.T) {
	nl, ctx := laptop(t), context.Background()
	eth, _ := nl.LinkByName("eth0")
	for _, d := range []string{"0.0.0.0/1", "10.1.0.0/16", "8000::/1"} {
		_, dst, _ := net.ParseCIDR(d)
		gw := net.ParseIP("192.168.1.2")
		if dst.IP.To4() == nil {
			gw = net.ParseIP("2001:db8:1::2")
		}
		must(t, nl.RouteAdd(&netlink.Route{Dst: dst, Gw: gw, LinkIndex: eth.Attrs().Index, Protocol: unix.RTPROT_STATIC}))
	}
	before := table(t, nl)
	h := openHost(t, t.TempDir(), "one", etcDir(t))
	tun, err := h.OpenTUN("", 1500)
	must(t, err)
	r := fullReply()
	r.Routes[0].Metric = 0
	must(t, h.Apply(ctx, buildPlan(t, h, r)))
	for dest, want := range map[string]string{"1.1.1.1": "tun0", "10.1.2.3": "tun0", "9000::1": "unreachable", outer: "eth0"} {
		if got := wayTo(t, nl, dest); got != want {
			t.Errorf("%s goes by %s, want %s\n%s", dest, got, want, mainTable(t, nl))
		}
	}
	tun.Close()
	must(t, h.Close())
	if got := table(t, nl); got != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, got)
	}
}

func TestTwoTunnelsToOneServer(t *testing.T) {
	nl, ctx, dir := laptop(t), context.Background(), t.TempDir()
	before := table(t, nl)
	a, b := openHost(t, dir, "a", etcDir(t)), openHost(t, dir, "b", etcDir(t))
	if _, err := NewHost(HostConfig{JournalDir: dir, Name: "a"}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second Host of one name: %v", err)
	}
	var tuns []TUN
	for i, h := range []*linuxHost{a, b} {
		tun, err := h.OpenTUN("tun0", 1500)
		must(t, err)
		tuns = append(tuns, tun)
		if want := fmt.Sprintf("tun%d", i); tun.Name() != want {
			t.Errorf("device %s, want %s", tun.Name(), want)
		}
		r := fullReply()
		r.Address = netip.MustParsePrefix(fmt.Sprintf("10.64.%d.2/27", i))
		must(t, h.Apply(ctx, buildPlan(t, h, r)))
	}
	tuns[0].Close()
	must(t, a.Close())
	for dest, want := range map[string]string{"192.0.2.1": "tun1", outer: "eth0", "2606::1": "unreachable"} {
		if got := wayTo(t, nl, dest); got != want {
			t.Errorf("after the first ended, %s goes by %s, want %s", dest, got, want)
		}
	}
	if n, err := CleanUp(ctx, dir, nil); n != 0 || err != nil {
		t.Errorf("CleanUp beside a living tunnel undid %d, %v", n, err)
	}
	tuns[1].Close()
	must(t, b.Close())
	if got := table(t, nl); got != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, got)
	}
}

func TestCrash(t *testing.T) {
	nl, ctx, dir, etc := laptop(t), context.Background(), t.TempDir(), etcDir(t)
	before := table(t, nl)
	crash := func() {
		h := openHost(t, dir, "one", etc)
		_, err := h.OpenTUN("", 1500)
		must(t, err)
		must(t, h.Apply(ctx, buildPlan(t, h, fullReply())))
		kill(h)
		if got := table(t, nl); got == before {
			t.Fatal("the crash left nothing behind: the test proves nothing")
		}
	}
	clean := func(how string) {
		if got := table(t, nl); got != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", how, before, got)
		}
		text, _ := os.ReadFile(filepath.Join(etc, "resolv.conf"))
		if string(text) != "nameserver 192.168.1.1\noptions edns0\n" {
			t.Errorf("%s: resolv.conf: %s", how, text)
		}
	}
	crash()
	n, err := CleanUpBut(ctx, dir, func(name string) bool { t.Errorf("%s is asked about, and closes nothing", name); return true }, nil)
	if n != 4 || err != nil { // the way around, two unreachable halves, resolv.conf
		t.Errorf("CleanUpBut undid %d, %v", n, err)
	}
	clean("CleanUpBut")
	if n, err := CleanUp(ctx, dir, nil); n != 0 || err != nil {
		t.Errorf("the second CleanUp undid %d, %v", n, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in the journal: %v", left)
	}
	crash()
	must(t, openHost(t, dir, "one", etc).Close()) // a new run under the same name cleans up too
	clean("NewHost")
}

func TestCleanUpBadJournal(t *testing.T) {
	enterNS(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"cut.json": `{"version":1,"routes":[{"dest`, "future.json": `{"version":9}`, "note.txt": "mine",
		".cut.json.adit-1": "x", "empty.json": "", "zeros.json": "\x00\x00\x00", "evil.json": `{"version":1,"routes":[{"destination":"0.0.0.0/0"}]}`, stateName: `{"version":1,"kind":"magic","tunnels":[{"name":"evil","dns":{}}]}`} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	n, err := CleanUp(context.Background(), dir, nil)
	if n != 0 || err == nil || !strings.Contains(err.Error(), "evil") {
		t.Errorf("CleanUp: %d, %v", n, err)
	}
	var got []string
	left, _ := os.ReadDir(dir)
	for _, e := range left {
		got = append(got, e.Name())
	}
	if want := ".dns.state cut.json.bad evil.json future.json.bad note.txt"; strings.Join(got, " ") != want {
		t.Errorf("left %q, want %q", got, want)
	}
	if n, err := CleanUp(context.Background(), filepath.Join(dir, "none"), nil); n != 0 || err != nil {
		t.Errorf("no directory: %d, %v", n, err)
	}
	if _, err := NewHost(HostConfig{JournalDir: dir, Name: "../x"}); err == nil {
		t.Error("a journal name with a slash was taken")
	}
}

func TestGatewayOutsideTheLocalNetwork(t *testing.T) {
	nl := enterNS(t)
	must(t, sysctl("net/ipv6/conf/all/disable_ipv6", "1"))
	must(t, sysctl("net/ipv6/conf/default/disable_ipv6", "1"))
	must(t, nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "router"}))
	eth, _ := nl.LinkByName("eth0")
	router, _ := nl.LinkByName("router")
	must(t, nl.LinkSetUp(eth))
	must(t, nl.LinkSetUp(router))
	a, _ := netlink.ParseAddr("198.51.100.9/32")
	must(t, nl.AddrAdd(eth, a))
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	k := &netlink.Route{Dst: all, Gw: net.ParseIP("172.31.1.1"), LinkIndex: eth.Attrs().Index}
	k.SetFlag(netlink.FLAG_ONLINK)
	must(t, nl.RouteAdd(k))
	before := table(t, nl)
	h := openHost(t, t.TempDir(), "cloud", etcDir(t))
	tun, err := h.OpenTUN("", 1500)
	must(t, err)
	must(t, h.Apply(context.Background(), buildPlan(t, h, fullReply())))
	if got := wayTo(t, nl, outer); got != "eth0" {
		t.Errorf("the server goes by %s", got)
	}
	tun.Close()
	must(t, h.Close())
	if got := table(t, nl); got != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, got)
	}
}

func TestChanges(t *testing.T) {
	nl, ctx := laptop(t), context.Background()
	h := openHost(t, t.TempDir(), "one", etcDir(t))
	notes, err := openNotes(unix.NETLINK_ROUTE, netNotes)
	must(t, err)
	defer notes.Close()
	tun, err := h.OpenTUN("", 1500)
	must(t, err)
	defer tun.Close()
	// What we do ourselves must not matter; the foreign address at the end must.
	must(t, h.Apply(ctx, buildPlan(t, h, fullReply())))
	must(t, h.Apply(ctx, routes.Plan{}))
	select { // what the laptop's making may have signalled
	case <-h.Changes():
	default:
	}
	eth, _ := nl.LinkByName("eth0")
	a, _ := netlink.ParseAddr("192.168.7.1/24")
	must(t, nl.AddrAdd(eth, a))
	<-h.Changes()
	buf, seen := make([]byte, 1<<16), 0
	w := &watch{links: map[int32]uint32{}} // as the Host's, which has a goroutine of its own
	for {
		n, err := notes.Read(buf)
		must(t, err)
		ms, err := syscall.ParseNetlinkMessage(buf[:n])
		must(t, err)
		for _, m := range ms {
			// The first note comes before anybody can know the device's index.
			if seen == 0 && (m.Header.Type != unix.RTM_NEWLINK || w.matters(m)) {
				t.Errorf("the making of the device signals a change: type %d, %x", m.Header.Type, m.Data)
			}
			w.ignore(int(h.watch.own.Load()))
			if !w.matters(m) {
				seen++
				continue
			}
			if int(m.Data[4]) != eth.Attrs().Index || m.Header.Type != unix.RTM_NEWADDR {
				t.Fatalf("our own doing signals a change: type %d, %x", m.Header.Type, m.Data)
			}
			if seen < 10 {
				t.Errorf("only %d notes of our own were seen", seen)
			}
			return
		}
	}
}

// A cable that is plugged in changes no address and no route, and the kernel's note of it names no flag.
func TestCarrierIsAChange(t *testing.T) {
	nl := laptop(t)
	h := openHost(t, t.TempDir(), "one", etcDir(t))
	w := &watch{links: maps.Clone(h.watch.links)}
	notes, err := openNotes(unix.NETLINK_ROUTE, netNotes)
	must(t, err)
	defer notes.Close()
	eth, _ := nl.LinkByName("eth0")
	router, _ := nl.LinkByName("router")
	if w.links[int32(eth.Attrs().Index)]&unix.IFF_LOWER_UP == 0 {
		t.Fatalf("the links at the start: %v", w.links)
	}
	// next is the next note about eth0 that matters.
	next := func() uint32 {
		buf := make([]byte, 1<<16)
		for {
			n, err := notes.Read(buf)
			must(t, err)
			ms, err := syscall.ParseNetlinkMessage(buf[:n])
			must(t, err)
			for _, m := range ms {
				if w.matters(m) && m.Header.Type == unix.RTM_NEWLINK && int(binary.NativeEndian.Uint32(m.Data[4:])) == eth.Attrs().Index {
					return binary.NativeEndian.Uint32(m.Data[8:])
				}
			}
		}
	}
	must(t, nl.LinkSetDown(router))
	if flags := next(); flags&unix.IFF_UP == 0 || flags&unix.IFF_LOWER_UP != 0 {
		t.Errorf("without a carrier the flags are %x", flags)
	}
	must(t, nl.LinkSetUp(router))
	for next()&unix.IFF_LOWER_UP == 0 { // RUNNING may follow later
	}
}

func TestAsleep(t *testing.T) {
	a := Asleep()
	if a < 0 || Asleep() < a-time.Second {
		t.Errorf("asleep for %v", a)
	}
}
