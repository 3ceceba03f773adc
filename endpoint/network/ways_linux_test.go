package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// secondWay adds eth2 to E, 10.0.1.1/24 and 10.0.1.5, fd01::1 and fd01::5, with another target behind it: 10.0.1.9, fd01::9. Both targets have 10.9.9.9
// and fd09::9; the machine's own route leads to the first one's 10.9.9.9, and to no fd09::9.
func secondWay(t *testing.T, again ...string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	here, err := netns.Get()
	must(err)
	t.Cleanup(func() { here.Close() })
	other, err := netns.New()
	must(err)
	t.Cleanup(func() { other.Close() })
	must(netns.Set(here))
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth2"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(other))}))
	addrs := func(name string, list ...string) {
		t.Helper()
		must(bringUp(name, list...))
	}
	addrs("eth2", "10.0.1.1/24", "10.0.1.5/24", "fd01::1/64", "fd01::5/64")
	must(setSysctl(reversePath("eth1"), "1"))
	must(setSysctl(reversePath("eth2"), "1"))
	must(netns.Set(other))
	addrs("lo")
	addrs("eth0", "10.0.1.9/24", "10.9.9.9/32", "fd01::9/64", "fd09::9/128")
	for _, addr := range []string{"10.9.9.9:7", "[fd09::9]:7"} {
		l, err := net.Listen("tcp", addr)
		must(err)
		tellAddress(t, l)
	}
	must(netns.Set(here))
	if len(again) == 0 {
		must(netlink.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.9.0.0/16")), Gw: net.IPv4(10, 0, 0, 9)}))
	}
}

// waysWanted are two associations with the same destinations, the client's slice being of the second.
func waysWanted() Wanted {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	w := Wanted{ClientCIDR: p("10.64.0.0/22"), ClientCIDR6: p("fd64::/64"), Gateways: []netip.Prefix{p("10.64.0.1/27"), p("10.64.0.33/27")}}
	for _, s := range []struct{ name, slice, source, device, own, gateway string }{
		{"subnet-a", "10.64.0.32/27", "10.0.0.5", "eth1", "10.0.0.0/24", "10.0.0.9"}, {"subnet-b", "10.64.0.0/27", "10.0.1.5", "eth2", "10.0.1.0/24", "10.0.1.9"},
		{"six-a", "fd64::8000/113", "fd00::5", "eth1", "fd00::/64", "fd00::9"}, {"six-b", "fd64::/113", "fd01::5", "eth2", "fd01::/64", "fd01::9"},
	} {
		w.Associations = append(w.Associations, Association{Subnet: s.name, Slices: []netip.Prefix{p(s.slice)}, Source: a(s.source), Interface: s.device,
			Ranges: []netip.Prefix{p(s.own)}, Via: []netip.Addr{a(s.gateway)}, Networks: []netip.Prefix{p("10.0.0.0/16"), p("fd00::/15")}})
		for _, dst := range []string{"10.9.9.0/24", "fd09::/16"} {
			w.Routes = append(w.Routes, Route{p(dst), s.name})
		}
	}
	return w
}

// TestKernelWays: each association's clients leave by its own interface, with its address, wherever the machine's routes lead.
func TestKernelWays(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		secondWay(t)
		dir, shared := t.TempDir(), t.TempDir()
		before := state(t)
		k := openKernel(t, "ways", dir, shared)
		w := waysWanted()
		check := func(four, six string) {
			t.Helper()
			if err := k.Apply(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			k.Forget(clientAddr, clientAddr6)
			p := join(t, k)
			for addr, want := range map[string]string{"10.9.9.9:7": four, "[fd09::9]:7": six} {
				if got, err := p.ask(addr); err != nil || got != want {
					t.Errorf("%s saw %s, %v instead of %s", addr, got, err, want)
				}
			}
		}
		check("10.0.1.5", "[fd01::5]")
		for _, device := range []string{"eth1", "eth2"} {
			if v, _ := getSysctl(reversePath(device)); v != "2" {
				t.Errorf("%s refuses answers by another way than the machine's routes: %s", device, v)
			}
		}
		k.Close()
		waitState(t, before)

		// The other way round.
		k = openKernel(t, "ways", dir, shared)
		a := w.Associations
		for i := range a {
			if i%2 == 0 {
				a[i].Slices, a[i+1].Slices = a[i+1].Slices, a[i].Slices
			}
		}
		check("10.0.0.5", "[fd00::5]")

		// What is not wanted any more goes, and what stays is the same.
		w.Routes, w.Associations = w.Routes[1:], slices.Clone(w.Associations)
		w.Associations[0].Via = []netip.Addr{netip.MustParseAddr("10.0.0.8")}
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		table := func(n int) string {
			out, err := exec.Command("ip", "route", "show", "table", strconv.Itoa(k.(*Kernel).tables+n)).CombinedOutput()
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}
		if got := table(1); got != "10.0.0.0/24 dev eth1 scope link \n10.0.0.0/16 via 10.0.0.8 dev eth1 onlink \n" &&
			got != "10.0.0.0/16 via 10.0.0.8 dev eth1 onlink \n10.0.0.0/24 dev eth1 scope link \n" {
			t.Errorf("subnet-a: %s", got)
		}
		if got := table(2); !strings.Contains(got, "10.9.9.0/24 via 10.0.1.9 dev eth2") {
			t.Errorf("subnet-b: %s", got)
		}
		w.Routes, w.Associations = nil, slices.Clone(w.Associations[1:2])
		w.Associations[0].Via = nil
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if s := state(t); strings.Contains(s, "20179") || strings.Contains(s, "prerouting") || table(2) != "" {
			t.Errorf("a single association has a way of its own: %s", s)
		}
		if v, _ := getSysctl(reversePath("eth1")); v != "1" {
			t.Errorf("rp_filter of eth1 is %s", v)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		waitState(t, before)
	})
}

// After a crash rules and tables go with the next start, or by hand; those of another endpoint stay.
func TestKernelWaysCrash(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		secondWay(t)
		shared, dir1, dir2 := t.TempDir(), t.TempDir(), t.TempDir()
		before := state(t)
		two := openKernel(t, "two", dir2, shared)
		w := waysWanted()
		w.ClientCIDR, w.ClientCIDR6, w.Gateways, w.Associations, w.Routes = netip.MustParsePrefix("10.68.0.0/22"), netip.Prefix{}, nil, w.Associations[:2], w.Routes[:2]
		for i := range w.Associations {
			w.Associations[i].Slices = nil
		}
		if err := two.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		middle := state(t)
		one := openKernel(t, "one", dir1, shared)
		if err := one.Apply(t.Context(), waysWanted()); err != nil {
			t.Fatal(err)
		}
		if s := state(t); strings.Count(s, "20179:") != 10 {
			t.Errorf("there are not ten rules: %s", s)
		}
		die(one)
		if err := CleanUp(dir1); err != nil {
			t.Fatal(err)
		}
		waitState(t, middle)
		if err := two.Close(); err != nil {
			t.Fatal(err)
		}
		waitState(t, before)
	})
}

// TestKernelLosses: an association is lost with its interface, the link of it, or its address, and comes back with its way.
func TestKernelLosses(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		secondWay(t)
		k := openKernel(t, "losses", t.TempDir(), t.TempDir())
		w := waysWanted()
		kk := k.(*Kernel)
		kk.mu.Lock()
		kk.losses.lose, kk.losses.back = 0, 0
		kk.mu.Unlock()
		w.Associations[3].Source = netip.MustParseAddr("fd01::77") // never there: another machine may answer for it
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		tells := func(what string, want ...string) {
			t.Helper()
			for {
				select {
				case got := <-k.Losses():
					var list []string
					for _, a := range w.Associations {
						if got[a.Subnet] != "" {
							list = append(list, a.Subnet+": "+got[a.Subnet])
						}
					}
					if slices.Equal(list, want) {
						return
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("%s: it does not tell %v", what, want)
				}
			}
		}
		eth2, err := netlink.LinkByName("eth2")
		if err != nil {
			t.Fatal(err)
		}
		address, err := netlink.ParseAddr("10.0.1.5/24")
		if err != nil {
			t.Fatal(err)
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		do(netlink.AddrDel(eth2, address))
		tells("address gone", "subnet-b: address 10.0.1.5 is not on this machine any more")
		do(netlink.AddrAdd(eth2, address))
		tells("address back")
		sorted := func() []string { // the order of rules and addresses may be another one
			lines := strings.Split(state(t), "\n")
			slices.Sort(lines)
			return lines
		}
		whole := sorted()
		do(netlink.LinkSetDown(eth2))
		tells("down", "subnet-b: interface eth2 is down", "six-b: interface eth2 is down")
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // a look that saw it up may tell the loss
			if s := state(t); strings.Count(s, "20179:") == 4 {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("the rules of the lost ones are there: %s", s)
			}
		}
		do(netlink.LinkSetUp(eth2))
		for _, a := range []string{"fd01::1/64", "fd01::5/64"} { // the kernel takes them away with the link
			addr, err := netlink.ParseAddr(a)
			do(err)
			addr.Flags = unix.IFA_F_NODAD
			do(netlink.AddrReplace(eth2, addr))
		}
		tells("up")
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			now := sorted()
			if slices.Equal(now, whole) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("before:\n%s\nafter:\n%s", strings.Join(whole, "\n"), strings.Join(now, "\n"))
			}
		}
		p := join(t, k)
		if got, err := p.ask("10.9.9.9:7"); err != nil || got != "10.0.1.5" {
			t.Errorf("through the one that is back: %s, %v", got, err)
		}
		do(netlink.LinkDel(eth2))
		tells("gone", "subnet-b: interface eth2 is gone", "six-b: interface eth2 is gone")

		// Rules change all the same, and it serves again when it is another interface of that name.
		w.Routes = append(w.Routes, Route{netip.MustParsePrefix("10.9.8.0/24"), "subnet-b"})
		do(k.Apply(t.Context(), w))
		added := w
		added.Associations = append(slices.Clone(w.Associations), Association{Subnet: "subnet-c", Interface: "eth3"})
		if err := k.Apply(t.Context(), added); !errors.Is(err, ErrWanted) {
			t.Errorf("one that was never there is taken: %v", err)
		}
		secondWay(t, "again")
		tells("made anew")
		do(k.Apply(t.Context(), w)) // after the look
		for _, path := range []string{"net/ipv4/conf/eth2/forwarding", "net/ipv6/conf/eth2/force_forwarding"} {
			if v, err := getSysctl(path); err == nil && v != "1" {
				t.Errorf("%s is %s", path, v)
			}
		}
		if v, _ := getSysctl(reversePath("eth2")); v != "2" {
			t.Errorf("rp_filter of eth2 is %s", v)
		}
		k.Forget(clientAddr)
		if got, err := p.ask("10.9.9.9:7"); err != nil || got != "10.0.1.5" {
			t.Errorf("through the one that was made anew: %s, %v", got, err)
		}
		do(k.Close())
		if _, open := <-k.Losses(); open {
			t.Error("the channel is open")
		}
		if s := state(t); strings.Contains(s, "20179:") || strings.Contains(s, "table 5") {
			t.Errorf("it is not undone:\n%s", s)
		}
	})
}

// TestKernelWaysRestored: rules that others delete come back by themselves, with routes that are missing. What is there is not touched when
// another interface changes, and neither when an Apply fails.
func TestKernelWaysRestored(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		secondWay(t)
		k := openKernel(t, "back", t.TempDir(), t.TempDir())
		w := waysWanted()
		do(k.Apply(t.Context(), w))
		kk := k.(*Kernel)
		kk.mu.Lock()
		got, want := len(kk.served(kk.ways)), len(kk.ways)
		kk.mu.Unlock()
		if got != want || want != 12 {
			t.Errorf("the kernel has %d of %d routes", got, want)
		}
		sorted := func() string { // the order of rules is another one
			lines := strings.Split(state(t), "\n")
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		}
		whole := sorted()
		restored := func() {
			t.Helper()
			for deadline := time.Now().Add(10 * time.Second); sorted() != whole; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("before:\n%s\nafter:\n%s", whole, sorted())
				}
			}
		}
		kk.mu.Lock() // no look before all of it is gone
		for _, r := range kk.ways[:3] {
			do(netlink.RouteDel(kk.wayRoute(r)))
		}
		for _, r := range kk.rules {
			do(netlink.RuleDel(kk.wayRule(r)))
		}
		kk.mu.Unlock()
		restored()

		routes, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
		do(err)
		defer routes.Close()
		do(routes.SetReceiveTimeout(&unix.Timeval{Usec: 1000}))
		kk.mu.Lock()
		kk.look()
		kk.mu.Unlock()
		if msgs, _, err := routes.Receive(); err == nil {
			t.Errorf("it changes routes that are there: %v", msgs)
		}

		// A table that the kernel refuses: what was served is served on.
		other := waysWanted()
		for i := range other.Associations {
			other.Associations[i].Subnet += "-new"
		}
		for i := range other.Routes {
			other.Routes[i].Association += "-new"
		}
		kk.mu.Lock()
		numbers, err := kk.number(other)
		kk.mu.Unlock()
		do(err)
		for _, n := range numbers {
			for _, old := range kk.numbers {
				if n == old {
					t.Errorf("number %d is used again at once", n)
				}
			}
		}
		other.Associations[0].Via[0] = netip.MustParseAddr("10.0.0.8")
		id := kk.cfg.ID
		for _, subnet := range []string{"-new", ""} { // others, and the same ones with another gateway
			for i := range other.Associations {
				other.Associations[i].Subnet = waysWanted().Associations[i].Subnet + subnet
			}
			for i := range other.Routes {
				other.Routes[i].Association = waysWanted().Routes[i].Association + subnet
			}
			kk.cfg.ID = strings.Repeat("x", 300) // no table can have such a name
			if err := k.Apply(t.Context(), other); err == nil {
				t.Fatal("the kernel takes it")
			}
			kk.cfg.ID = id
			restored()
		}
		p := join(t, k)
		if got, err := p.ask("10.9.9.9:7"); err != nil || got != "10.0.1.5" {
			t.Errorf("seen as %s, %v", got, err)
		}
		do(k.Close())
	})
}

// TestKernelWaysKept: a rule or route that the kernel does not remove is not forgotten.
func TestKernelWaysKept(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		secondWay(t)
		k := openKernel(t, "kept", t.TempDir(), t.TempDir()).(*Kernel)
		do(k.Apply(t.Context(), waysWanted()))
		k.mu.Lock()
		defer k.mu.Unlock()
		ways, rules := slices.Clone(k.ways), slices.Clone(k.rules)

		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var rights [2]unix.CapUserData
		do(unix.Capget(&head, &rights[0]))
		fewer := rights
		fewer[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		do(unix.Capset(&head, &fewer[0]))
		err := k.dropWays(nil, nil)
		do(unix.Capset(&head, &rights[0]))
		if !errors.Is(err, unix.EPERM) || !slices.Equal(k.ways, ways) || !slices.Equal(k.rules, rules) {
			t.Errorf("without the right to remove them %v; known are %v and %v", err, k.ways, k.rules)
		}
		if served := k.served(ways); len(served) != len(ways) {
			t.Errorf("the kernel has %d of %d routes", len(served), len(ways))
		}
		do(k.dropWays(nil, nil))
		if s := state(t); len(k.ways)+len(k.rules) != 0 || strings.Contains(s, "20179:") || len(k.served(ways)) != 0 {
			t.Errorf("what could not be removed is still there:\n%s", s)
		}
	})
}

// What is not there, nor can be, need not be deleted.
func TestGone(t *testing.T) {
	for _, err := range []error{nil, unix.ESRCH, unix.ENOENT, unix.ENODEV, unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EPFNOSUPPORT, os.NewSyscallError("x", unix.ESRCH)} {
		if got := gone(err); got != nil {
			t.Errorf("%v: %v", err, got)
		}
	}
	if err := gone(unix.EPERM); err != unix.EPERM {
		t.Errorf("EPERM: %v", err)
	}
}

// TestKernelWaysDual: associations with both families have ways in both, and are lost with either address.
func TestKernelWaysDual(t *testing.T) {
	inNamespaces(t, func(t *testing.T) {
		secondWay(t)
		k := openKernel(t, "dual", t.TempDir(), t.TempDir())
		four := waysWanted()
		w := four
		w.Associations, w.Routes = nil, nil
		for i, a := range four.Associations[:2] {
			six := four.Associations[i+2]
			a.Slices, a.Source6 = append(a.Slices, six.Slices...), six.Source
			a.Ranges, a.Via = append(a.Ranges, six.Ranges...), append(a.Via, six.Via...)
			w.Associations = append(w.Associations, a)
			for _, dst := range []string{"10.9.9.0/24", "fd09::/16"} {
				w.Routes = append(w.Routes, Route{netip.MustParsePrefix(dst), a.Subnet})
			}
		}
		if err := k.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		p := join(t, k)
		for addr, want := range map[string]string{"10.9.9.9:7": "10.0.1.5", "[fd09::9]:7": "[fd01::5]"} {
			if got, err := p.ask(addr); err != nil || got != want {
				t.Errorf("%s saw %s, %v instead of %s", addr, got, err, want)
			}
		}
		eth2, err := netlink.LinkByName("eth2")
		if err != nil {
			t.Fatal(err)
		}
		address, err := netlink.ParseAddr("fd01::5/64")
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrDel(eth2, address); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-k.Losses():
			if got["subnet-a"] != "" || got["subnet-b"] != "address fd01::5 is not on this machine any more" {
				t.Errorf("it tells %v", got)
			}
		case <-time.After(10 * time.Second):
			t.Error("it tells nothing")
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
