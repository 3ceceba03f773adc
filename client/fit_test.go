package client

import (
	"net/netip"
	"testing"

	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// TestFit: what openvpn 2.6.14 makes of each form of the line (TestMssfix in the lab asks it).
func TestFit(t *testing.T) {
	payload := func(size int) int { return size - 24 }
	set := func(value int, mode string) profile.Mssfix {
		return profile.Mssfix{Set: true, Value: value, Mode: mode}
	}
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	udp, tcp := link(newUDPLink(&sinkConn{}, nil)), link(newStreamLink(nil, nil))
	for _, c := range []struct {
		name          string
		line          profile.Mssfix
		fragment, mtu int
		server        netip.Addr
		link          link
		want          int
	}{
		{"no line", profile.Mssfix{}, 0, 0, four, udp, 1492 - 28 - 24},
		{"the usual MTU", profile.Mssfix{}, 0, 1500, four, udp, 1492 - 28 - 24},
		{"IPv6", profile.Mssfix{}, 0, 0, six, udp, 1492 - 48 - 24},
		{"TCP", profile.Mssfix{}, 0, 0, four, tcp, 1492 - 40 - 2 - 24},
		{"another MTU", profile.Mssfix{}, 0, 1400, four, udp, 1400},
		{"fragments", profile.Mssfix{}, 1300, 1400, four, udp, 1300 - 28 - 24},
		{"datagram", set(1400, ""), 1300, 0, four, udp, 1400 - 24},
		{"datagram over TCP", set(1400, ""), 0, 0, six, tcp, 1400 - 2 - 24},
		{"packet outside", set(1400, "mtu"), 0, 0, four, udp, 1400 - 28 - 24},
		{"packet inside", set(1400, "fixed"), 0, 0, six, udp, 1400},
		{"off", set(0, ""), 1300, 1400, four, udp, 0},
		{"off", set(0, "mtu"), 0, 0, four, udp, 0},
	} {
		headers := mss.Headers(c.server, c.link == tcp)
		if got := fitOf(c.line, c.fragment, c.mtu).inner(payload, headers, c.link.gap()); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
