package platform

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/routes"
)

// What the kernel is told reads as it was meant, by the reader that its own table goes through.
func TestRouteMessage(t *testing.T) {
	for _, want := range []macRoute{
		{prefix("10.1.0.0/16"), netip.Addr{}, 9, rtfUp | rtfStatic | rtfOurs},
		{prefix("203.0.113.5/32"), netip.MustParseAddr("192.168.1.1"), 4, rtfUp | rtfStatic | rtfOurs | rtfGateway | rtfHost},
		{prefix("0.0.0.0/1"), netip.Addr{}, 9, rtfUp | rtfStatic | rtfOurs},
		{prefix("fd00:1::/48"), netip.Addr{}, 9, rtfUp | rtfStatic | rtfOurs},
		{prefix("2001:db8::5/128"), netip.MustParseAddr("fe80::1"), 4, rtfUp | rtfStatic | rtfOurs | rtfGateway | rtfHost},
		{prefix("::/1"), netip.IPv6Loopback(), 0, rtfUp | rtfStatic | rtfOurs | rtfGateway | rtfReject},
	} {
		text, err := routeMessage(macRouteAdd, want)
		if err != nil {
			t.Fatal(err)
		}
		ms, err := route.ParseRIB(route.RIBTypeRoute, text)
		if err != nil || len(ms) != 1 {
			t.Fatal(ms, err)
		}
		m := ms[0].(*route.RouteMessage)
		got, ok := routeOf(m)
		got.Index = want.Index // stands in the addresses of a request
		if !ok || got != want || m.Type != unix.RTM_ADD {
			t.Errorf("%+v reads as %+v, %v", want, got, ok)
		}
		if link := linkAddr(want.Index).(*route.DefaultAddr).Raw; !want.Gateway.IsValid() && !bytes.Contains(text, link) {
			t.Errorf("%+v: no device in % x", want, text)
		}
	}
}

// The system that the tests run on can be read. Nothing is changed.
func TestMacSystem(t *testing.T) {
	m := newMacMachine(kernelCalls{}, t.TempDir(), nil)
	links, err := m.calls.links()
	if err != nil || !slices.ContainsFunc(links, func(l macLink) bool {
		return l.Name == "lo0" && slices.Contains(l.Addresses, prefix("127.0.0.1/8"))
	}) {
		t.Errorf("%+v, %v", links, err)
	}
	rows, err := m.calls.table()
	if err != nil || !slices.ContainsFunc(rows, func(r macRoute) bool { return r.Destination.Contains(netip.MustParseAddr("127.0.0.1")) }) {
		t.Errorf("%+v, %v", rows, err)
	}
	facts, err := m.facts(context.Background(), link{})
	if err != nil {
		t.Error(err)
	}
	for _, r := range facts.Routes {
		if r.Device == "" {
			t.Errorf("%+v has no device", r)
		}
	}
	t.Logf("%+v", facts)
	if names, err := m.dnsNames(context.Background()); err != nil || len(names) > 0 {
		t.Errorf("names set: %v, %v", names, err)
	}
	stop, err := m.watch(func(int) bool { return false }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if d := Asleep(); d < 0 || d > 10*365*24*time.Hour {
		t.Errorf("asleep for %v", d)
	}
}

// PF takes the guard's rules, and its main ruleset comes to them. Nothing is loaded (-n).
func TestMacSystemGuard(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("PF may be asked by root only")
	}
	m := newMacMachine(kernelCalls{}, t.TempDir(), nil)
	if err := m.pfMain(); err != nil {
		t.Error(err)
	}
	if names, err := m.guards(); err != nil || len(names) > 0 {
		t.Errorf("closed: %v, %v", names, err)
	}
	g := macFull().Guard
	g.Web = []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}
	for _, text := range []string{pfSortRules(g, "utun4"), pfDecideRules(g), pfDecideRules(routes.Everything())} {
		if _, err := m.pfctl(text, "-n", "-a", "com.apple/001.adit.test", "-f", "-"); err != nil {
			t.Errorf("%v\n%s", err, strings.TrimSpace(text))
		}
	}
}
