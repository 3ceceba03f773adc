//go:build linux

package lab

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/adit-vpn/adit/client/api"
)

// guarded is a client of a server of ours, and what sees everything that leaves it beside the tunnel.
type guarded struct {
	*site
	l        *leaks
	endpoint func() *Proc // starts the server
	server   *Proc
	service  *Proc
	before   string // the client's system, without a tunnel
}

// newGuarded starts the server and the watching, and writes a profile NAME.ovpn for the client for each of profiles, which are
// further lines of them.
func newGuarded(t *testing.T, p pki, c endpointConfig, profiles map[string][]string) *guarded {
	t.Helper()
	g := &guarded{site: newGuardSite(t)}
	config := g.yaml(p, "", c)
	g.endpoint = func() *Proc { return g.endpointUp(config) }
	g.server = g.endpoint()
	for name, lines := range profiles {
		g.write(g.client, name+".ovpn", clientProfile(p, "udp", "plain", "", lines...))
	}
	g.l = g.leaks(g.between, "eth0", "eth1")
	return g
}

// fullGuarded is one whose server takes all traffic, with the profile lab.
func fullGuarded(t *testing.T) *guarded {
	t.Helper()
	return newGuarded(t, newPKI(t), endpointConfig{Full: true, Rules: append(vpcRules(), "0.0.0.0/0"), Routes: []string{"0.0.0.0/0"}}, map[string][]string{"lab": nil})
}

// serve starts the service with these profiles, and shows that packets of every kind leave, and are seen.
func (g *guarded) serve(profiles ...string) {
	g.t.Helper()
	g.service = g.aditd()
	for _, name := range profiles {
		g.adit("import", filepath.Join(g.client.Dir, name+".ovpn"))
	}
	g.before = g.system()
	g.l.all("before the tunnel")
}

// TestGuard: beside a full tunnel nothing leaves that should not, from the first connection until disconnect, whatever
// happens to server, service and network meanwhile.
func TestGuard(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	g := fullGuarded(t)
	s, l := g.site, g.l
	g.serve("lab")

	s.adit("connect", "lab", "--timeout", "20s")
	l.forget()
	up := func(when string) {
		t.Helper()
		s.until(time.Minute, "connected "+when, func() bool { return s.statusOf("lab").State == api.Connected })
		s.reaches(s.client, none, hostAddr)
		l.none(when)
	}
	up("connected")

	// The server is gone, and comes back.
	g.server.Stop(syscall.SIGKILL, soon)
	s.until(2*time.Minute, "the loss is noticed", func() bool { return s.statusOf("lab").State == api.Reconnecting })
	l.none("while the server is gone")
	g.server = g.endpoint()
	up("with the server back")

	// The service is killed; its next run finds no server, then one.
	g.service.Stop(syscall.SIGKILL, soon)
	time.Sleep(500 * time.Millisecond)
	l.none("after the service was killed")
	s.terminate(g.server)
	g.service = s.aditd()
	time.Sleep(2 * time.Second)
	l.none("in the next run, without a server")
	g.server = g.endpoint()
	up("in the next run")

	// Another network.
	s.moveTo(1)
	time.Sleep(2 * time.Second)
	up("in another network")

	// The administrator ends the session: blocked until somebody connects again, or disconnects.
	list := s.connections()
	if len(list) != 1 {
		t.Fatalf("connections: %+v", list)
	}
	s.endpointCmd("terminate", list[0].ID)
	s.until(soon, "it is blocked", func() bool { return s.statusOf("lab").State == api.Blocked })
	time.Sleep(500 * time.Millisecond)
	l.none("blocked")
	if out := s.adit("explain", elsewhere.String()); !strings.Contains(out, "the guard blocks it") {
		t.Errorf("explain: %s", out)
	}
	if out := s.adit("status"); !strings.Contains(out, "blocked") || !strings.Contains(out, "administrator ended the connection") {
		t.Errorf("status: %s", out)
	}
	s.adit("connect", "lab", "--timeout", "20s")
	up("after it was blocked")
	s.adit("disconnect", "lab")
	s.moveTo(0)
	l.all("after disconnect")
	s.settled("after disconnect", g.before)
	s.terminate(g.service)
	s.terminate(g.server)
}

// TestGuardCleanUp: what a killed service left closed opens with aditd cleanup, and not before.
func TestGuardCleanUp(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	g := fullGuarded(t)
	s, l := g.site, g.l
	g.serve("lab")
	s.adit("connect", "lab", "--timeout", "20s")
	l.forget()
	g.service.Stop(syscall.SIGKILL, soon)
	time.Sleep(time.Second)
	l.none("after the service was killed")
	s.run(s.client, bin(t, "aditd"), "cleanup", "--state", s.stateDir())
	l.all("after the cleanup")
	s.same("after the cleanup", g.before, s.system())
}

// TestGuardLockdown: nothing leaves from the setting on: before, while and after a connection, and without a service.
func TestGuardLockdown(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	g := fullGuarded(t)
	s, l := g.site, g.l
	g.serve("lab")
	s.adit("set", "lab", "guard=lockdown")
	s.until(soon, "it is blocked", func() bool { return s.statusOf("lab").State == api.Blocked })
	l.forget()
	step := func(when string) {
		t.Helper()
		time.Sleep(300 * time.Millisecond)
		l.none(when)
	}
	step("before the first connection")
	s.adit("connect", "lab", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	step("connected")
	if out := s.adit("disconnect", "lab"); !strings.Contains(out, "traffic stays blocked") {
		t.Errorf("disconnect: %s", out)
	}
	step("disconnected")
	s.terminate(g.service)
	step("without the service")
	g.service = s.aditd()
	step("in its next run")
	g.service.Stop(syscall.SIGKILL, soon)
	step("when it was killed")
	s.aditd()
	step("in the next run")
	s.terminate(g.server)
	if out, err := s.try(s.client, bin(t, "adit"), "connect", "lab", "--timeout", "1s"); err == nil || !strings.Contains(out, "stays blocked") {
		t.Errorf("connect without a server: %v %s", err, out)
	}
	step("without a server")
	s.adit("set", "lab", "guard=auto")
	l.all("after the setting")
	s.same("after the setting", g.before, s.system())
}

// TestGuardSplit: what belongs into a split tunnel does not leave beside it, and everything else does.
func TestGuardSplit(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	g := newGuarded(t, newPKI(t), endpointConfig{Rules: vpcRules()}, map[string][]string{"lab": nil})
	s, l := g.site, g.l
	g.serve("lab")
	s.adit("connect", "lab", "--timeout", "20s")
	check := func(when string) {
		t.Helper()
		l.forget()
		s.until(soon, "everything else leaves "+when, func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, k := range kinds() {
				if l.seen[k] == 0 && k != "vpc udp 9" {
					return false
				}
			}
			return true
		})
		l.mu.Lock()
		defer l.mu.Unlock()
		if n := l.seen["vpc udp 9"]; n > 0 {
			t.Errorf("%s %d packets into the VPC left beside the tunnel", when, n)
		}
	}
	check("connected")
	list := s.connections()
	s.endpointCmd("terminate", list[0].ID)
	s.until(soon, "it is blocked", func() bool { return s.statusOf("lab").State == api.Blocked })
	check("blocked")
	s.terminate(g.server)
	s.adit("disconnect", "lab")
	l.all("after disconnect")
	s.same("after disconnect", g.before, s.system())
}

// TestCVE_2023_36671_2023_36672_2023_36673_2023_35838_2024_3661_RogueNetwork:
// what a foreign network says about itself leads nothing out: routes by DHCP's option 121 or router advertisements
// (TunnelVision, CVE-2024-3661), public addresses that it calls local (TunnelCrack LocalNet,
// CVE-2023-36672), and the server's address for other programs' packets (TunnelCrack ServerIP, CVE-2023-36673), which
// is among the probes all the time. That the routes do lead out without a guard shows that the test sees it.
func TestCVE_2023_36671_2023_36672_2023_36673_2023_35838_2024_3661_RogueNetwork(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	g := fullGuarded(t)
	s, l := g.site, g.l
	g.serve("lab")
	rogue := func(add bool) {
		t.Helper()
		s.ok(s.client.Do(func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			local, _ := netlink.ParseAddr("192.0.2.1/24")
			if !add {
				return netlink.AddrDel(link, local)
			}
			return netlink.AddrAdd(link, local)
		}))
		for dst, via := range map[string]string{"192.0.2.80/32": "192.168.10.1", "198.51.100.1/32": "192.168.10.1", "10.0.0.10/32": "192.168.10.1",
			"2001:db8:99::/64": "2001:db8:10::1"} {
			s.ok(s.client.Do(func() error {
				_, d, err := net.ParseCIDR(dst)
				if err != nil {
					return err
				}
				r := &netlink.Route{Dst: d, Gw: net.ParseIP(via), Priority: 5}
				if !add {
					return netlink.RouteDel(r)
				}
				return netlink.RouteAdd(r)
			}))
		}
	}
	for _, guard := range []string{"off", "auto"} {
		s.adit("set", "lab", "guard="+guard)
		s.adit("connect", "lab", "--timeout", "20s")
		rogue(true)
		time.Sleep(time.Second) // the service has seen it, and made its plan anew
		l.forget()
		time.Sleep(500 * time.Millisecond)
		if guard == "auto" {
			l.none("in a rogue network")
		} else if seen := l.kinds(); !strings.Contains(seen, "udp6 9") || !strings.Contains(seen, "vpc udp 9") || !strings.Contains(seen, "tcp 443") {
			t.Errorf("without a guard only this was led out: %s", seen)
		}
		if got := s.statusOf("lab").State; got != api.Connected {
			t.Errorf("with guard=%s it is %s", guard, got)
		}
		rogue(false)
		s.adit("disconnect", "lab")
	}
}
