package client

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/routes"
)

// TestRoutesToNames: host names in the profile's own routes are looked up anew for each session, and lead where the line says. One
// that is not found keeps the addresses of last time, and one that never was stops nothing.
func TestRoutesToNames(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		address := netip.MustParseAddr
		s.names = map[string][]netip.Addr{
			"intranet.example.test": {address("198.51.100.9"), address("198.51.100.7")},
			"meet.example.test":     {address("203.0.113.80")},
			"blocked.example.test":  {address("0.0.0.0")},
		}
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(strings.Join([]string{remoteUDP, "route-nopull", "route intranet.example.test", "route intranet.example.test 255.255.255.0",
			"route meet.example.test 255.255.255.255 net_gateway", "route nowhere.example.test", "route blocked.example.test"}, "\n")))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		check := func(in, past string) {
			t.Helper()
			p := st.host(0).Current()
			got := map[bool][]string{}
			for i, list := range [][]routes.Route{p.Routes, p.Around} {
				for _, r := range list {
					got[i == 0] = append(got[i == 0], r.Destination.String())
				}
			}
			if a, b := strings.Join(got[true], " "), strings.Join(got[false], " "); a != in || !strings.Contains(" "+b+" ", " "+past+" ") {
				t.Errorf("in the tunnel %s, want %s; past it %s, want %s among them", a, in, b, past)
			}
		}
		check("198.51.100.7/32 198.51.100.9/32 198.51.100.0/24", "203.0.113.80/32")

		s.set(func() {
			s.names = map[string][]netip.Addr{"intranet.example.test": {address("198.51.100.8")}}
		})
		s.crash()
		st.untilState(alice, "work", api.Reconnecting, 5*time.Minute)
		st.untilState(alice, "work", api.Connected, 5*time.Minute)
		check("198.51.100.8/32 198.51.100.0/24", "203.0.113.80/32")
	})
}

// TestRoutesToManyAddresses: however many addresses a resolver says that a name has, the same few of them are routed.
func TestRoutesToManyAddresses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		var many []netip.Addr
		for i := range 1000 {
			many = append(many, netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}))
		}
		var want []string
		for _, a := range many[:mostPerName] {
			want = append(want, a.String()+"/32")
		}
		slices.Reverse(many)
		s.names = map[string][]netip.Addr{"many.example.test": slices.Concat(many, many)}
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(strings.Join([]string{remoteUDP, "route-nopull", "route many.example.test"}, "\n")))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		var got []string
		for _, r := range st.host(0).Current().Routes {
			got = append(got, r.Destination.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d routes: %v, want %v", len(got), got, want)
		}
	})
}

// devices notes by which devices somebody dials past the tunnel.
type devices struct {
	names
	mu   sync.Mutex
	seen []string
}

func (d *devices) DialPast(ctx context.Context, network string, to netip.AddrPort, device string) (net.Conn, error) {
	d.mu.Lock()
	d.seen = append(d.seen, to.String()+" "+device)
	d.mu.Unlock()
	return d.names.DialPast(ctx, network, to, device)
}

// TestLinkLocalResolvers: a resolver with a link-local address is asked by its own device, however the routes of others' devices to
// such addresses are; and two with one address, on two devices, are two.
func TestLinkLocalResolvers(t *testing.T) {
	s := newServer(t)
	defer s.wg.Wait()
	local := netip.MustParsePrefix("fe80::/64")
	facts := routes.Facts{
		DNS:    []netip.Addr{netip.MustParseAddr("fe80::1%wlan0"), netip.MustParseAddr("fe80::1%eth1")},
		Routes: []routes.UnderlayRoute{{Destination: local, Device: "docker0", Metric: 256}, {Destination: local, Device: "wlan0", Metric: 1024}},
	}
	d := &devices{names: names{s, netip.MustParseAddr("198.51.100.9")}}
	for range 2 {
		if _, err := lookUpPast(t.Context(), d, facts, "ip4", "vpn.example.test."); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(d.seen)
	seen := slices.Compact(d.seen)
	for _, x := range seen {
		if x != "[fe80::1%wlan0]:53 wlan0" && x != "[fe80::1%eth1]:53 eth1" {
			t.Errorf("asked %s", x)
		}
	}
	if got := facts.Resolvers(); len(got) != 1 || got[0] != netip.MustParseAddr("fe80::1") {
		t.Errorf("the guard's resolvers are %v", got)
	}
}
