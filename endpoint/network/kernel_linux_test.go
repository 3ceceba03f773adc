package network

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	gipv4 "gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	gipv6 "gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	gicmp "gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/nft"
	"github.com/adit-vpn/adit/platform/userspace"
)

// inNamespaces runs do on a thread in a namespace E joined by a veth to another
// one, T: E has eth1 10.0.0.1/24, 10.0.0.5, fd00::1, fd00::5; T has 10.0.0.9,
// 10.0.9.9 and fd00::9, and 10.9.9.9 and fd09::9, of which E knows nothing. T's servers tell each caller its address.
func inNamespaces(t *testing.T, do func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread dies with its namespace
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
				runtime.Goexit()
			}
		}
		target, err := netns.New()
		must(err)
		defer target.Close()
		up := func(name string, addrs ...string) {
			t.Helper()
			must(bringUp(name, addrs...))
		}
		up("lo")
		here, err := netns.New()
		must(err)
		defer here.Close()
		up("lo")
		must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(target))}))
		up("eth1", "10.0.0.1/24", "10.0.0.5/24", "fd00::1/64", "fd00::5/64")
		must(netns.Set(target))
		up("eth0", "10.0.0.9/24", "10.0.9.9/32", "169.254.169.254/32", "10.9.9.9/32", "fd00::9/64", "fd09::9/128")
		// It knows a way back to clients whose addresses are not translated.
		must(netlink.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.64.0.0/22")), Gw: net.IPv4(10, 0, 0, 1)}))
		for _, addr := range []string{"10.0.0.9:7", "10.0.9.9:7", "169.254.169.254:7", "10.9.9.9:7", "[fd00::9]:7", "[fd09::9]:7"} {
			l, err := net.Listen("tcp", addr)
			must(err)
			tellAddress(t, l)
		}
		must(netns.Set(here))
		for _, behind := range []string{"10.0.9.0/24", "169.254.169.254/32"} {
			must(netlink.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix(behind)), Gw: net.IPv4(10, 0, 0, 9)}))
		}
		// The kernel takes an IPv6 address for its own a moment later.
		for _, own := range []string{"fd00::1", "fd00::5"} {
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				if r, _ := netlink.RouteGet(net.ParseIP(own)); len(r) > 0 && r[0].Type == unix.RTN_LOCAL {
					break
				}
				if time.Now().After(end) {
					t.Errorf("%s is not there", own)
					return
				}
			}
		}
		do(t)
	}()
	<-done
}

// tellAddress serves until the test ends.
func tellAddress(t *testing.T, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr())
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// bringUp gives an interface addresses, ready at once.
func bringUp(name string, addrs ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	// No link-local addresses: they come a moment later and would blur the comparison.
	if err := setSysctl("net/ipv6/conf/"+name+"/addr_gen_mode", "1"); err != nil {
		return err
	}
	for _, s := range addrs {
		a, err := netlink.ParseAddr(s)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

// state is all that a Kernel network may touch.
func state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, args := range [][]string{{"nft", "list", "ruleset"}, {"ip", "route", "show", "table", "all"}, {"ip", "-6", "route", "show", "table", "all"},
		{"ip", "-o", "addr"}, {"ip", "rule"}, {"ip", "-6", "rule"}} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		fmt.Fprintf(&b, "%v:\n%s", args, out)
	}
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding", "net/ipv4/conf/eth1/forwarding", "net/ipv4/conf/eth1/rp_filter", "net/ipv4/conf/eth2/rp_filter",
		"net/ipv6/conf/all/forwarding", "net/ipv6/conf/eth1/forwarding", "net/ipv6/conf/eth1/force_forwarding"} {
		v, err := getSysctl(name)
		fmt.Fprintln(&b, name, v, err != nil)
	}
	return b.String()
}

func kernelWanted() Wanted {
	p := netip.MustParsePrefix
	return Wanted{ClientCIDR: p("10.64.0.0/22"), ClientCIDR6: p("fd64::/64"),
		Gateways: []netip.Prefix{p("10.64.0.1/27"), p("fd64::1/112")},
		Associations: []Association{
			{Subnet: "subnet-a", Slices: []netip.Prefix{p("10.64.0.0/27")}, Source: netip.MustParseAddr("10.0.0.5"), Interface: "eth1",
				Networks: []netip.Prefix{p("10.0.0.0/24")}},
			{Subnet: "subnet-6", Slices: []netip.Prefix{p("fd64::/112")}, Source: netip.MustParseAddr("fd00::5"), Networks: []netip.Prefix{p("fd00::/64")}},
		}}
}

// join puts a client's stack behind k's TUN.
func join(t *testing.T, k Network) *pair {
	t.Helper()
	link := userspace.NewLink(1400)
	s := stack.New(stack.Options{NetworkProtocols: []stack.NetworkProtocolFactory{gipv4.NewProtocol, gipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, gicmp.NewProtocol4}})
	if err := s.CreateNIC(1, link.Endpoint()); err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{clientAddr, clientAddr6} {
		proto, zero := gipv4.ProtocolNumber, make([]byte, 4)
		if a.Is6() {
			proto, zero = gipv6.ProtocolNumber, make([]byte, 16)
		}
		if err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: proto,
			AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
		sub, err := tcpip.NewSubnet(tcpip.AddrFromSlice(zero), tcpip.MaskFromBytes(zero))
		if err != nil {
			t.Fatal(err)
		}
		s.AddRoute(tcpip.Route{Destination: sub, NIC: 1})
	}
	var wg sync.WaitGroup
	queues := k.Queues()
	wg.Go(func() { pump(t, queues[0], link) })
	to := &oneWriter{TUN: link}
	for _, q := range queues {
		wg.Go(func() { pump(t, to, q) })
	}
	t.Cleanup(func() {
		link.Close()
		closeQueues(k)
		wg.Wait()
		s.Close()
		s.Wait()
	})
	return &pair{t: t, client: s}
}

// oneWriter lets several write to one TUN.
type oneWriter struct {
	platform.TUN
	mu sync.Mutex
}

func (w *oneWriter) Write(pkts [][]byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.TUN.Write(pkts)
}

// closeQueues takes the TUN away, as the kernel does when a process dies.
// die leaves what a killed process does: who is dead puts nothing back.
func die(k Network) {
	dead := k.(*Kernel)
	dead.changes.Close()
	dead.watching.Wait()
	closeQueues(k)
}

func closeQueues(k Network) {
	for _, q := range k.Queues() {
		q.Close()
	}
}

// ask connects from the client and returns what the server says of it.
func (p *pair) ask(addr string) (string, error) {
	c, err := p.dial(p.t.Context(), "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	b, err := io.ReadAll(c)
	if host, _, ok := strings.Cut(string(b), "]"); ok {
		return host + "]", err
	}
	host, _, _ := strings.Cut(string(b), ":")
	return host, err
}

func openKernel(t *testing.T, id, dir, shared string) Network {
	t.Helper()
	k, err := NewKernel(KernelConfig{ID: id, Name: "adit-" + id, MTU: 1400, Queues: 2, StateDir: dir, SharedDir: shared,
		Own: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:8008"), netip.MustParseAddrPort("[::]:8010")}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKernel(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		dir, shared := t.TempDir(), t.TempDir()
		for _, port := range []string{"8008", "8009", "8010"} { // the machine's own: 8008 of one address, and 8010, are the endpoint's
			l, err := net.Listen("tcp", ":"+port)
			if err != nil {
				t.Error(err)
				return
			}
			tellAddress(t, l)
		}
		before := state(t)
		k := openKernel(t, "one", dir, shared)
		w := kernelWanted()
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if v, _ := getSysctl("net/ipv4/conf/all/forwarding"); v != "0" {
			t.Error("forwarding is on for the whole machine")
		}
		p := join(t, k)
		for addr, want := range map[string]string{"10.0.0.9:7": "10.0.0.5", "[fd00::9]:7": "[fd00::5]", "10.0.0.1:8009": "10.64.0.2", "10.0.0.5:8008": "10.64.0.2"} {
			if got, err := p.ask(addr); err != nil || got != want {
				t.Errorf("%s saw %s, %v instead of %s", addr, got, err, want)
			}
		}
		if err := p.ping("10.64.0.1", []byte("gateway"), 2*time.Second); err != nil {
			t.Error(err)
		}
		if err := p.ping("10.0.0.9", []byte("target"), 2*time.Second); err != nil {
			t.Error(err)
		}
		tracked := func() (n int) {
			flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range flows {
				if f.Forward.SrcIP.Equal(clientAddr.AsSlice()) {
					n++
				}
			}
			return n
		}
		if tracked() == 0 {
			t.Error("nothing is tracked, so that there is nothing to forget")
		}
		// Many leave at once; each knows that its own are gone when Forget returns.
		var wg sync.WaitGroup
		for i := range byte(100) {
			wg.Go(func() { k.Forget(netip.AddrFrom4([4]byte{10, 64, 200, i}), netip.AddrFrom16([16]byte{0xfd, 15: i})) })
		}
		if n := tracked(); n == 0 {
			t.Error("the connections of another client are gone")
		}
		wg.Go(func() {
			k.Forget(clientAddr, netip.Addr{})
			if n := tracked(); n != 0 {
				t.Errorf("%d connections of a client that left stay", n)
			}
		})
		wg.Wait()
		refused := []string{"10.0.9.9:7", "10.0.0.1:8008", "10.0.0.1:8010", "10.0.0.5:8010", "[fd00::5]:8010", "10.64.0.1:8009"}
		for _, addr := range refused {
			wg.Go(func() {
				if got, err := p.askBriefly(addr); err == nil {
					t.Errorf("%s is reached as %s", addr, got)
				}
			})
		}
		wg.Wait()
		// A further route, and the old addresses go with the old slice.
		w.Routes = []Route{{netip.MustParsePrefix("10.0.9.0/24"), "subnet-a"}}
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if got, err := p.ask("10.0.9.9:7"); err != nil || got != "10.0.0.5" {
			t.Errorf("the route: %s, %v", got, err)
		}
		// A default route reaches neither a cloud's credentials nor other clients.
		w.Routes = append(w.Routes, Route{netip.MustParsePrefix("0.0.0.0/0"), "subnet-a"})
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if got, err := p.ask("10.0.9.9:7"); err != nil || got != "10.0.0.5" {
			t.Errorf("the default route: %s, %v", got, err)
		}
		if got, err := p.askBriefly("169.254.169.254:7"); err == nil {
			t.Errorf("the credentials are reached as %s", got)
		}
		networks := w.Associations[0].Networks
		w.Associations[0].Networks = append(networks, netip.MustParsePrefix("169.254.169.254/32"))
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if got, err := p.ask("169.254.169.254:7"); err != nil || got != "10.0.0.5" {
			t.Errorf("the named link-local address: %s, %v", got, err)
		}
		w.Associations[0].Networks, w.Routes = networks, w.Routes[:1]
		w.Gateways = w.Gateways[:1]
		w.ClientCIDR6, w.Associations = netip.Prefix{}, w.Associations[:1]
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if s := state(t); strings.Contains(s, "fd64") || strings.Contains(s, "fd00::5 ip6") {
			t.Errorf("what is not wanted stays: %s", s)
		}
		if err := k.Apply(t.Context(), Wanted{Routes: []Route{{netip.MustParsePrefix("10.0.9.0/24"), "subnet-x"}}}); !errors.Is(err, ErrWanted) {
			t.Errorf("got %v", err)
		}
		if got, err := p.ask("10.0.0.9:7"); err != nil || got != "10.0.0.5" {
			t.Errorf("after a refused Apply: %s, %v", got, err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		waitState(t, before)
	})
}

// askBriefly expects silence.
// TestKernelPlain: behind a transit gateway the network sees the clients' own addresses, and only its routes lead there.
func TestKernelPlain(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		dir, shared := t.TempDir(), t.TempDir()
		before := state(t)
		k := openKernel(t, "plain", dir, shared)
		p := netip.MustParsePrefix
		w := Wanted{ClientCIDR: p("10.64.0.0/22"), Gateways: []netip.Prefix{p("10.64.0.1/27")},
			Associations: []Association{{Subnet: "tgw-0.a", Slices: []netip.Prefix{p("10.64.0.0/27")}, Source: netip.MustParseAddr("10.0.0.5"), Interface: "eth1",
				Ranges: []netip.Prefix{p("10.0.0.0/24")}, Via: []netip.Addr{netip.MustParseAddr("10.0.0.9")}}},
			Routes: []Route{{p("10.9.9.0/24"), "tgw-0.a"}}}
		pair := join(t, k)
		for _, plain := range []bool{false, true} {
			w.Associations[0].Plain4 = plain
			if err := k.Apply(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			k.Forget(clientAddr, clientAddr6)
			want := "10.0.0.5"
			if plain {
				want = clientAddr.String()
			}
			if got, err := pair.ask("10.9.9.9:7"); err != nil || got != want {
				t.Errorf("plain %v: 10.9.9.9 saw %s, %v instead of %s", plain, got, err, want)
			}
			if got, err := pair.askBriefly("10.0.9.9:7"); err == nil {
				t.Errorf("plain %v: without a route 10.0.9.9 saw %s", plain, got)
			}
		}
		k.Close()
		waitState(t, before)
	})
}

func (p *pair) askBriefly(addr string) (string, error) {
	type answer struct {
		s   string
		err error
	}
	got := make(chan answer, 1)
	go func() { s, err := p.ask(addr); got <- answer{s, err} }()
	select {
	case a := <-got:
		return a.s, a.err
	case <-time.After(300 * time.Millisecond):
		return "", os.ErrDeadlineExceeded
	}
}

// waitState compares the machine with what it was; IPv6 routes of a removed device go a moment later.
func waitState(t *testing.T, before string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		after := state(t)
		if after == before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("before:\n%s\nafter:\n%s", before, after)
		}
	}
}

// One endpoint crashes and is cleaned up while another runs on.
func TestKernelCleanUpBesideAnother(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		shared, dir1, dir2 := t.TempDir(), t.TempDir(), t.TempDir()
		before := state(t)
		one, two := openKernel(t, "one", dir1, shared), openKernel(t, "two", dir2, shared)
		w2 := kernelWanted()
		w2.ClientCIDR, w2.ClientCIDR6 = netip.MustParsePrefix("10.68.0.0/22"), netip.Prefix{}
		w2.Gateways = []netip.Prefix{netip.MustParsePrefix("10.68.0.1/27")}
		w2.Associations = w2.Associations[:1]
		w2.Associations[0].Slices = []netip.Prefix{netip.MustParsePrefix("10.68.0.0/27")}
		if err := two.Apply(t.Context(), w2); err != nil {
			t.Fatal(err)
		}
		middle := state(t)
		if err := one.Apply(t.Context(), kernelWanted()); err != nil {
			t.Fatal(err)
		}
		if _, err := NewKernel(KernelConfig{ID: "two", StateDir: t.TempDir(), SharedDir: shared}); err == nil {
			t.Error("a second endpoint with the same id was made")
		}
		die(one)
		if err := CleanUp(dir1); err != nil {
			t.Fatal(err)
		}
		if err := CleanUp(dir1); err != nil {
			t.Errorf("a second clean-up: %v", err)
		}
		// one's TUN was there when middle was taken, with nothing but a link-local address.
		got := state(t)
		if !strings.Contains(got, "table inet adit_endpoint_two") || strings.Contains(got, "adit_endpoint_one") {
			t.Errorf("wrong tables: %s", got)
		}
		if v, _ := getSysctl("net/ipv4/conf/eth1/forwarding"); v != "1" {
			t.Error("the other endpoint lost its forwarding")
		}
		if a, b := ruleset(middle), ruleset(got); a != b {
			t.Errorf("the other's rules changed:\n%s\n%s", a, b)
		}
		if err := two.Close(); err != nil {
			t.Fatal(err)
		}
		waitState(t, before)
		if left, _ := filepath.Glob(filepath.Join(shared, "*.json")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func ruleset(state string) string {
	s, _, _ := strings.Cut(state, "[ip route")
	return s
}

// A client range that is somebody else's is left alone, and so is everything else.
func TestKernelRefusesAForeignRange(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		w := kernelWanted()
		for _, c := range []netip.Prefix{w.ClientCIDR, w.ClientCIDR6} {
			eth, err := netlink.LinkByName("eth1")
			if err != nil {
				t.Fatal(err)
			}
			route := tunRoute(eth, c)
			if err := netlink.RouteAdd(route); err != nil {
				t.Fatal(err)
			}
			before := state(t)
			dir := t.TempDir()
			k, err := NewKernel(KernelConfig{ID: "foreign", MTU: 1500, StateDir: dir, SharedDir: filepath.Join(dir, "shared")})
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Apply(t.Context(), w); err == nil || !strings.Contains(err.Error(), c.String()+" is routed to eth1 already") {
				t.Errorf("%s: %v", c, err)
			}
			if err := k.Close(); err != nil {
				t.Error(err)
			}
			if after := state(t); after != before {
				t.Errorf("%s: before:\n%s\nafter:\n%s", c, before, after)
			}
			if err := netlink.RouteDel(route); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestKernelManySlices: the largest client range costs a packet no more rules than a small one, and its
// last slice is served as the first one is.
func TestKernelManySlices(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		l, err := net.Listen("tcp", ":8009")
		if err != nil {
			t.Fatal(err)
		}
		tellAddress(t, l)
		k := openKernel(t, "many", t.TempDir(), t.TempDir())
		w := kernelWanted()
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		rules := func() int {
			return strings.Count(ruleset(state(t)), "iifname") + strings.Count(ruleset(state(t)), "oifname")
		}
		few := rules()
		// The client's own slice comes last, and so does its gateway.
		w.ClientCIDR = netip.MustParsePrefix("10.64.0.0/16")
		w.Gateways, w.Associations[0].Slices, w.Associations[1].Slices = nil, nil, nil
		for i := nft.MaxRanges - 1; i >= 0; i-- {
			v4 := netip.AddrFrom4([4]byte{10, 64, byte(i >> 3), byte(i << 5)})
			v6 := netip.AddrFrom16([16]byte{0xfd, 0x64, 14: byte(i >> 3), 15: byte(i << 5)})
			w.Associations[0].Slices = append(w.Associations[0].Slices, netip.PrefixFrom(v4, 27))
			w.Associations[1].Slices = append(w.Associations[1].Slices, netip.PrefixFrom(v6, 123))
			w.Gateways = append(w.Gateways, netip.PrefixFrom(v4.Next(), 27), netip.PrefixFrom(v6.Next(), 123))
		}
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if n := rules(); n != few {
			t.Errorf("%d matches of interfaces with %d slices, %d with one", n, nft.MaxRanges, few)
		}
		p := join(t, k)
		for addr, want := range map[string]string{"10.0.0.9:7": "10.0.0.5", "[fd00::9]:7": "[fd00::5]"} {
			if got, err := p.ask(addr); err != nil || got != want {
				t.Errorf("%s saw %s, %v instead of %s", addr, got, err, want)
			}
		}
		if err := p.ping("10.64.0.1", []byte("gateway"), 2*time.Second); err != nil {
			t.Error(err)
		}
		if got, err := p.askBriefly("10.64.0.1:8009"); err == nil {
			t.Errorf("the gateway's port is reached as %s", got)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestEgressKernel: each association's clients begin what its security groups permit, in both families; what is open goes
// on when they change, and a change is one transaction beside the other rules.
func TestEgressKernel(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		before := state(t)
		k := openKernel(t, "egress", t.TempDir(), t.TempDir())
		w := kernelWanted()
		w.Routes = []Route{{netip.MustParsePrefix("10.0.9.0/24"), "subnet-a"}}
		for i := range w.Associations {
			w.Associations[i].Restricted = true
		}
		apply := func(four, six []Permit) {
			t.Helper()
			w.Associations[0].Permits, w.Associations[1].Permits = four, six
			if err := k.Apply(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
		reached := func(p *pair, want ...string) {
			t.Helper()
			for _, addr := range []string{"10.0.0.9:7", "10.0.9.9:7", "[fd00::9]:7"} {
				wanted := false
				for _, w := range want {
					wanted = wanted || w == addr
				}
				if !wanted {
					if got, err := p.askBriefly(addr); err == nil {
						t.Errorf("%s is reached as %s", addr, got)
					}
				} else if got, err := p.ask(addr); err != nil || got != "10.0.0.5" && got != "[fd00::5]" {
					t.Errorf("%s: %s, %v", addr, got, err)
				}
			}
		}
		apply(nil, nil)
		p := join(t, k)
		reached(p)
		if err := p.ping("10.64.0.1", []byte("gateway"), 2*time.Second); err != nil {
			t.Error(err)
		}
		if err := p.ping("10.0.0.9", nil, 100*time.Millisecond); err == nil {
			t.Error("a ping that no group permits is answered")
		}
		apply([]Permit{permit(protoTCP, 7, 7, "10.0.0.9/32"), permit(protoTCP, 6, 6, "0.0.0.0/0"), permit(protoICMP, 0, 0, "10.0.0.9/32")}, nil)
		reached(p, "10.0.0.9:7")
		if err := p.ping("10.0.0.9", []byte("target"), 2*time.Second); err != nil {
			t.Error(err)
		}
		l, err := net.Listen("tcp", "10.0.0.1:0") // the machine itself, by the input chain
		if err != nil {
			t.Error(err)
			return
		}
		tellAddress(t, l)
		if got, err := p.askBriefly(l.Addr().String()); err == nil {
			t.Errorf("the machine is reached as %s", got)
		}
		apply([]Permit{permit(0, 0, 0, "10.0.0.0/16"), permit(protoUDP, 0, 65535, "0.0.0.0/0")}, []Permit{permit(protoTCP, 5, 10, "fd00::/64"), permit(protoTCP, 0, 65535, "::/0")})
		reached(p, "10.0.0.9:7", "10.0.9.9:7", "[fd00::9]:7")
		if got, err := p.ask(l.Addr().String()); err != nil || got != "10.64.0.2" {
			t.Errorf("the machine: %s, %v", got, err)
		}

		// What is open stays open without its permit.
		held, err := net.Listen("tcp", "10.0.0.1:0")
		if err != nil {
			t.Error(err)
			return
		}
		defer held.Close()
		mine, err := p.dial(t.Context(), "tcp", held.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer mine.Close()
		theirs, err := held.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer theirs.Close()
		apply(nil, nil)
		if _, err := mine.Write([]byte("still")); err != nil {
			t.Error(err)
		}
		theirs.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(theirs, make([]byte, 5)); err != nil {
			t.Errorf("an open connection: %v", err)
		}
		reached(p)
		many := make([]Permit, 300)
		for i := range many {
			many[i] = permit(protoTCP, uint16(i), uint16(i+1), fmt.Sprintf("10.%d.0.0/16", i%256))
		}
		apply(many, nil)
		reached(p)
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		waitState(t, before)
	})
}
