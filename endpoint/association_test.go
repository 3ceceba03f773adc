package endpoint

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/ovpn"
)

// twoSubnets makes the demo network's VPC have another subnet beside it; associated are the subnets in force.
func twoSubnets(text string, associated ...string) string {
	text = strings.Replace(text, "    cidr: 10.98.0.0/24\n", "    cidr: 10.98.0.0/23\n", 1)
	text = strings.Replace(text, "zone: demo}\n", "zone: demo}\n      - {id: other, cidr: 10.98.1.0/24, zone: other}\n", 1)
	list := ""
	for _, a := range associated {
		list += "\n  - subnet: " + a
	}
	if list == "" {
		list = " []"
	}
	return strings.Replace(text, "associations:\n  - subnet: demo", "associations:"+list, 1)
}

// through is the association of the client that has an address.
func (r *running) through(t *testing.T, addr netip.Addr) string {
	t.Helper()
	for _, c := range r.Connections() {
		if c.Address == addr {
			return c.Subnet
		}
	}
	t.Fatalf("nobody has %s", addr)
	return ""
}

// TestAssociationsComeAndGo: the clients of the others keep their sessions and addresses, and traffic goes on.
func TestAssociationsComeAndGo(t *testing.T) {
	r := start(t, "udp")
	base := r.text
	reload := func(want int, associated ...string) {
		t.Helper()
		if n, err := r.Reload(t.Context(), r.config(t, twoSubnets(base, associated...))); err != nil || n != want {
			t.Fatalf("with %v: reset %d, want %d: %v", associated, n, want, err)
		}
	}
	reload(0, "demo")
	ann, first := r.connect(t, "ann")
	ann.ping(t, first.Address.Addr())

	reload(0, "demo", "other")
	ann.ping(t, first.Address.Addr())
	bob, second := r.connect(t, "bob")
	if a, b := r.through(t, first.Address.Addr()), r.through(t, second.Address.Addr()); a != "demo" || b != "other" {
		t.Fatalf("through %s and %s", a, b)
	}
	bob.ping(t, second.Address.Addr())

	reload(1, "demo")
	if ev := wait[ovpn.PeerExit](t, bob); ev.Kind != "restart" || !ev.KeepCredentials {
		t.Errorf("told %+v", ev)
	}
	ann.ping(t, first.Address.Addr())
	r.until(t, func() bool { return len(r.peers.all()) == 1 })
	bob, again := r.connect(t, "bob")
	if got := r.through(t, again.Address.Addr()); got != "demo" || again.Address != second.Address {
		t.Errorf("came back to %s through %s", again.Address, got)
	}
	bob.ping(t, again.Address.Addr())

	// Without any association nobody stays, and nobody comes.
	reload(2)
	wait[ovpn.PeerExit](t, ann)
	wait[ovpn.PeerExit](t, bob)
	r.until(t, func() bool { return len(r.peers.all()) == 0 })
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); !strings.Contains(ev.Reason, "no associated network") {
		t.Errorf("told %q", ev.Reason)
	}
}

// TestWhatResets: which changes of the configuration end sessions, as on AWS. DNS servers and split tunnel do; so does every change
// of the route table, but with split tunnel only; rules, the session time and new associations do not.
func TestWhatResets(t *testing.T) {
	r := start(t, "udp")
	base := twoSubnets(r.text, "demo", "other") + "routes: [{destination: 10.50.0.0/16, target: demo}]\n"
	full := strings.Replace(base, "split_tunnel: true", "split_tunnel: false", 1)
	route := func(text, add string) string {
		return strings.Replace(text, "target: demo}]", "target: demo}"+add+"]", 1)
	}
	for _, tt := range []struct {
		name, from, to string
		resets         bool
	}{
		{"nothing", base, base, false},
		{"rule added", base, strings.Replace(base, "authorization_rules:\n", "authorization_rules:\n  - {cidr: 10.50.0.0/16, all: true}\n", 1), false},
		{"rule removed", base, strings.Replace(base, "  - {cidr: 10.98.0.0/24, all: true}\n", "  - {cidr: 10.97.0.0/24, all: true}\n", 1), false},
		{"session time", base, base + "session_timeout_hours: 12\n", false},
		{"association of others removed", base, twoSubnets(r.text, "demo") + "routes: [{destination: 10.50.0.0/16, target: demo}]\n", false},
		{"route added", base, route(base, ", {destination: 10.51.0.0/16, target: demo}"), true},
		{"route removed", base, strings.Replace(base, "{destination: 10.50.0.0/16, target: demo}", "", 1), true},
		{"second way of a route", base, route(base, ", {destination: 10.50.0.0/16, target: other}"), true},
		{"another way of a route", base, strings.Replace(base, "target: demo}]", "target: other}]", 1), true},
		{"local route", base, route(base, ", {destination: 10.64.0.0/22, target: local}"), true},
		{"routes in another order", route(base, ", {destination: 10.51.0.0/16, target: other}"),
			strings.Replace(base, "{destination: 10.50", "{destination: 10.51.0.0/16, target: other}, {destination: 10.50", 1), false},
		{"route added, full tunnel", full, route(full, ", {destination: 10.51.0.0/16, target: demo}"), false},
		{"second way, full tunnel", full, route(full, ", {destination: 10.50.0.0/16, target: other}"), false},
		{"local route, full tunnel", full, route(full, ", {destination: 10.64.0.0/22, target: local}"), false},
		{"split tunnel off", base, full, true},
		{"split tunnel on", full, base, true},
		{"DNS servers", base, base + "dns_servers: [10.98.0.1]\n", true},
		{"second way, clients can be told", base + "push_update: true\n", route(base, ", {destination: 10.50.0.0/16, target: other}") + "push_update: true\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := r.Reload(t.Context(), r.config(t, tt.from)); err != nil {
				t.Fatal(err)
			}
			r.until(t, func() bool { return len(r.peers.all()) == 0 })
			var d *dialer
			for {
				var at netip.Prefix
				var reply ovpn.PushReply
				d = r.dial(t, r.tlsConfig(t, "ann"))
				reply = wait[ovpn.PushReply](t, d)
				if at = reply.Reply.Address; r.through(t, at.Addr()) == "demo" {
					break
				}
				d.leave(t, r)
			}
			n, err := r.Reload(t.Context(), r.config(t, tt.to))
			if err != nil || n != map[bool]int{true: 1}[tt.resets] {
				t.Errorf("reset %d, %v", n, err)
			}
			d.leave(t, r)
		})
	}
}

// leave ends a client, and waits until the endpoint knows.
func (d *dialer) leave(t *testing.T, r *running) {
	t.Helper()
	d.cancel()
	r.until(t, func() bool { return len(r.peers.all()) == 0 })
}

// TestLocal: with a route and a rule clients reach each other, through one association or two, whatever they
// speak to the endpoint.
func TestLocal(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			r := start(t, transport)
			closed := twoSubnets(r.text, "demo", "other")
			open := strings.Replace(closed, "authorization_rules:\n", "routes: [{destination: 10.64.0.0/22, target: local}, {destination: \"fd64::/64\", target: local}]\nauthorization_rules:\n", 1)
			allowed := open + "  - {cidr: 10.64.0.0/22, all: true}\n  - {cidr: \"fd64::/64\", all: true}\n"
			reload := func(text string) {
				t.Helper()
				if _, err := r.Reload(t.Context(), r.config(t, text)); err != nil {
					t.Fatal(err)
				}
			}
			reload(allowed)
			ann, a := r.connect(t, "ann")
			bob, b := r.connect(t, "bob")
			cy, c := r.connect(t, "ann")
			if len(a.Routes) != 3 || a.Routes[1].Destination != netip.MustParsePrefix("10.98.0.0/23") || a.Routes[2].Destination != netip.MustParsePrefix("fd64::/64") {
				t.Errorf("routes %v", a.Routes)
			}
			if r.through(t, a.Address.Addr()) == r.through(t, b.Address.Addr()) || r.through(t, a.Address.Addr()) != r.through(t, c.Address.Addr()) {
				t.Fatal("the clients are not spread")
			}
			ann.reaches(t, a.Address.Addr(), bob, b.Address.Addr())
			bob.reaches(t, b.Address.Addr(), ann, a.Address.Addr())
			ann.reaches(t, a.Address.Addr(), cy, c.Address.Addr())
			ann.ping(t, a.Address.Addr()) // the network is still there

			// A source that is not the client's goes nowhere.
			spoofed := r.drops.spoofed.Load()
			ann.tunnel(t, echo(c.Address.Addr(), b.Address.Addr(), 1))
			r.until(t, func() bool { return r.drops.spoofed.Load() == spoofed+1 })
			// So does a packet to an address of the range that nobody has.
			nobody := r.drops.noPeer.Load()
			ann.tunnel(t, echo(a.Address.Addr(), netip.MustParseAddr("10.64.3.77"), 1))
			r.until(t, func() bool { return r.drops.noPeer.Load() == nobody+1 })
			// IPv6 is no other.
			six := make([]byte, 48)
			six[0], six[5], six[6], six[7] = 0x60, 8, 59, 64
			from, to := a.Address6.Addr().As16(), b.Address6.Addr().As16()
			copy(six[8:], from[:])
			copy(six[24:], to[:])
			ann.tunnel(t, six)
			bob.hears(t, six)

			// Neither the route nor the rule is enough. Routes reset sessions, rules do not.
			reload(open)
			denied := r.drops.denied.Load()
			ann.tunnel(t, echo(a.Address.Addr(), b.Address.Addr(), 1))
			r.until(t, func() bool { return r.drops.denied.Load() == denied+1 })
			reload(strings.Replace(allowed, "routes: [{destination: 10.64.0.0/22, target: local}, {destination: \"fd64::/64\", target: local}]\n", "", 1))
			r.until(t, func() bool { return len(r.peers.all()) == 0 })
			ann, a = r.connect(t, "ann")
			_, b = r.connect(t, "bob")
			ann.tunnel(t, echo(a.Address.Addr(), b.Address.Addr(), 1))
			r.until(t, func() bool { return r.drops.denied.Load() == denied+2 })
		})
	}
}

// reaches sends packets until one arrives: the first may find no keys.
func (d *dialer) reaches(t *testing.T, from netip.Addr, other *dialer, to netip.Addr) {
	t.Helper()
	late := time.After(patience)
	for seq := uint16(1); ; seq++ {
		want := echo(from, to, seq)
		d.tunnel(t, want)
		select {
		case got := <-other.inner:
			if string(got[12:20]) != string(want[12:20]) {
				continue // of another conversation
			}
			if got[20] != 8 {
				t.Fatalf("got % x, want % x", got, want)
			}
			return
		case <-time.After(100 * time.Millisecond):
		case <-late:
			t.Fatalf("nothing comes from %s to %s", from, to)
		}
	}
}

// hears waits for one packet.
func (d *dialer) hears(t *testing.T, want []byte) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case got := <-d.inner:
			if string(got) == string(want) {
				return
			}
		case <-late:
			t.Fatal("it does not arrive")
		}
	}
}

// losing is a network whose losses the test tells.
type losing struct {
	network.Network
	ch chan map[string]string
}

func (l *losing) Losses() <-chan map[string]string { return l.ch }

func (l *losing) Close() error {
	close(l.ch)
	return l.Network.Close()
}

// TestLostAssociation: its clients come back through another one and nobody is given its addresses, until it is back. When all are
// lost, everybody stays.
func TestLostAssociation(t *testing.T) {
	var nw *losing
	r := startChanged(t, DefaultListen(), "udp", "", nil, func(l *Leaves) {
		nw = &losing{Network: l.Network, ch: make(chan map[string]string)}
		l.Network = nw
	})
	if _, err := r.Reload(t.Context(), r.config(t, twoSubnets(r.text, "demo", "other"))); err != nil {
		t.Fatal(err)
	}
	ann, a := r.connect(t, "ann")
	bob, b := r.connect(t, "bob")
	if r.through(t, a.Address.Addr()) != "demo" || r.through(t, b.Address.Addr()) != "other" {
		t.Fatal("the clients are not spread")
	}
	nw.ch <- map[string]string{"other": "interface eth9 is down"}
	if ev := wait[ovpn.PeerExit](t, bob); ev.Kind != "restart" || !ev.KeepCredentials || ev.Reason != "its network is lost" {
		t.Errorf("told %+v", ev)
	}
	r.until(t, func() bool { return len(r.peers.all()) == 1 })
	for range 3 {
		bob, b = r.connect(t, "bob")
		if got := r.through(t, b.Address.Addr()); got != "demo" {
			t.Errorf("came back through %s", got)
		}
	}
	ann.ping(t, a.Address.Addr())

	nw.ch <- map[string]string{"other": "interface eth9 is down", "demo": "interface eth8 is down"}
	nw.ch <- map[string]string{"other": "", "demo": "interface eth8 is down"} // when this is taken, the one before has been worked on
	wait[ovpn.PeerExit](t, ann)
	r.until(t, func() bool { return len(r.peers.all()) == 0 })
	ann, a = r.connect(t, "ann")
	if got := r.through(t, a.Address.Addr()); got != "other" {
		t.Errorf("came back through %s", got)
	}
	nw.ch <- map[string]string{"other": "", "demo": ""}
	nw.ch <- map[string]string{"other": "x", "demo": "y"}
	nw.ch <- map[string]string{"demo": ""} // a reload has removed the other one
	nw.ch <- map[string]string{"demo": ""}
	ann.ping(t, a.Address.Addr()) // it has stayed
	for _, says := range []string{`"an association is lost" subnet=other reason="interface eth9 is down"`, `"an association is back" subnet=demo`} {
		if !strings.Contains(r.log.String(), says) {
			t.Errorf("the log does not say %s", says)
		}
	}
	if got := strings.Count(r.log.String(), `"an association is back" subnet=other`); got != 1 {
		t.Errorf("the other one was back %d times", got)
	}
}

// A local route that is wider than the client ranges, as the API takes them, leads to clients alone.
func TestWideLocalRoute(t *testing.T) {
	c, err := ParseConfig("f.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	c.Routes = append(c.Routes, Route{netip.MustParsePrefix("0.0.0.0/0"), LocalTarget}, Route{netip.MustParsePrefix("10.0.0.0/8"), LocalTarget})
	c.Rules = []Rule{{CIDR: netip.MustParsePrefix("0.0.0.0/0"), All: true}}
	g := &generation{cfg: c, pool: newPool(c.ClientCIDR, c.ClientCIDR6, c.Topology)}
	g.layout = g.pool.deal(nil, c.targets())
	g.buildWanted()
	a := g.access.of("subnet-a", nil)
	for addr, want := range map[string]way{"172.20.1.1": toClients, "10.0.0.1": toNetwork, "198.51.100.1": toNetwork, "fd64::5": dropped} {
		if got := a.way(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %d, want %d", addr, got, want)
		}
	}
}
