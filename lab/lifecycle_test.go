//go:build linux

package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestTwoTunnels: one client in two networks at once.
func TestTwoTunnels(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	p := newPKI(t)
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
	s.wire(s.client, "eth1", []string{"198.51.101.2/24"}, s.host, "eth1", []string{"198.51.101.1/24"})

	// The second endpoint is on the host, for another network, with another client range.
	other := s.yaml(p, "", endpointConfig{Rules: []string{"10.7.0.0/16"}})
	other = strings.NewReplacer(s.dataDir(), s.host.Dir+"/data", "10.64.0.0/22", "10.68.0.0/22", "fd64::/64", "fd68::/64",
		"0.0.0.0:1194", "198.51.101.1:1194", "10.0.0.0/16, cidr_v6: \"fd00:a::/64\"", "10.7.0.0/16", "10.0.0.0/24", "10.7.0.0/24", "10.0.0.5", "10.7.0.1",
		", interface: eth1", "", "ca.crt", s.server.Dir+"/ca.crt", "cert: server.crt", "cert: "+s.server.Dir+"/server.crt",
		"key: server.key", "key: "+s.server.Dir+"/server.key").Replace(other)
	s.ok(s.host.Do(func() error { return configure("lo", []string{"10.7.0.1/32"}) }))
	e := s.start(s.host, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--config", s.write(s.host, "endpoint.yaml", other))
	s.ok(e.WaitFor("listening on", soon))

	s.aditd()
	before := s.system()
	first := clientProfile(p, "udp", "plain", "")
	second := strings.Replace(first, serverOuter.String(), "198.51.101.1", 1)
	inSecond := netip.MustParseAddr("10.7.0.1")
	for name, profile := range map[string]string{"first": first, "second": second} {
		s.adit("import", s.write(s.client, name+".ovpn", profile))
		s.adit("connect", name, "--timeout", "20s")
	}
	s.reaches(s.client, none, hostAddr)
	s.reaches(s.client, none, inSecond)
	if a, b := s.statusOf("first").Tunnel.Device, s.statusOf("second").Tunnel.Device; a == b || a == "" || b == "" {
		t.Errorf("the devices are %q and %q", a, b)
	}
	// A third one that wants the first one's network is refused, by name; a setting makes room.
	s.adit("import", s.write(s.client, "third.ovpn", first))
	s.fails(s.client, "third and first cannot be connected at once: both take 10.0.0.0/16", bin(t, "adit"), "connect", "third", "--timeout", "20s")
	s.adit("set", "third", "route-=10.0.0.0/16", "route-=fd00:a::/64", "route+=10.0.0.0/24")
	s.adit("connect", "third", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	s.adit("disconnect", "third")
	s.reaches(s.client, none, hostAddr)
	if out, err := s.try(s.client, bin(t, "adit"), "disconnect"); err == nil || !strings.Contains(out, "2 tunnels") {
		t.Errorf("disconnect without a name: %v %s", err, out)
	}
	s.adit("disconnect", "first")
	s.cannotReach(s.client, hostAddr)
	s.reaches(s.client, none, inSecond)
	s.adit("connect", "first", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	s.adit("disconnect", "--all")
	s.same("after both", before, s.system())
}

// TestInterrupt: Ctrl-C takes the wish back, at every stage.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	p := newPKI(t)
	s.aditd()
	before := s.system()
	s.adit("import", s.write(s.client, "lab.ovpn", clientProfile(p, "udp", "plain", "")))
	c := s.start(s.client, "adit connect", bin(t, "adit"), "connect", "lab", "--timeout", "0")
	s.until(soon, "it tries", func() bool { return s.statusOf("lab").State == api.Connecting })
	if err := c.Stop(syscall.SIGINT, soon); err == nil || c.Cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("adit connect after Ctrl-C: %v", err)
	}
	if !strings.Contains(c.Out.String(), "adit: interrupted; lab is disconnected again") {
		t.Errorf("it says: %s", c.Out)
	}
	if st := s.statusOf("lab"); st.State != api.Disconnected {
		t.Errorf("afterwards it is %s", st.State)
	}
	s.same("after Ctrl-C", before, s.system())

	// A second connect of a tunnel that is up is a note, and a disconnect of none, too.
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
	s.adit("connect", "lab", "--timeout", "20s")
	if out := s.adit("connect", "lab"); !strings.Contains(out, "note: lab is connected or connecting already") {
		t.Errorf("the second connect: %s", out)
	}
	s.adit("disconnect")
	if out := s.adit("disconnect"); !strings.Contains(out, "note: nothing is connected") {
		t.Errorf("the second disconnect: %s", out)
	}
}

// TestOtherUser: somebody without rights sees that there is a tunnel, and no more.
func TestOtherUser(t *testing.T) {
	t.Parallel()
	needs(t, "setpriv")
	s := newSite(t)
	p := newPKI(t)
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
	s.aditd()
	s.connect(clientProfile(p, "udp", "plain", ""))
	nobody := func(args ...string) []string {
		return append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", bin(t, "adit")}, args...)
	}
	var st api.Status
	s.ok(json.Unmarshal([]byte(s.run(s.client, nobody("status", "--json")...)), &st))
	if len(st.Connections) != 1 || st.Connections[0].State != api.Connected {
		t.Errorf("status: %+v", st)
	}
	if text := fmt.Sprint(st); strings.Contains(text, "lab CA") || strings.Contains(text, "KEY") {
		t.Errorf("status tells secrets: %s", text)
	}
	s.ok(os.Chmod(filepath.Dir(s.client.Dir), 0o755))
	mine := s.write(s.client, "mine.ovpn", clientProfile(p, "udp", "plain", ""))
	s.ok(os.Chmod(mine, 0o644))
	s.fails(s.client, "you may not", nobody("import", mine)...)
	s.fails(s.client, "", nobody("connect", "lab")...)
	s.fails(s.client, "", nobody("export", "lab")...)
	if out, err := s.try(s.client, nobody("disconnect", "lab")...); err == nil && !strings.Contains(out, "not connected") {
		t.Errorf("disconnect by another user: %s", out)
	}
	s.reaches(s.client, none, hostAddr)
}

// TestSeveralPeople: two people of the group adit have a tunnel each at the same time, of profiles with one name. Neither sees
// what the other one's is, nor ends it.
func TestSeveralPeople(t *testing.T) {
	t.Parallel()
	needs(t, "setpriv", "nft")
	s := newSite(t)
	p := newPKI(t)
	theirs := strings.NewReplacer("10.64.0.0/22", "10.72.0.0/22", "fd64::/64", "fd72::/64") // the demo has the usual ones
	s.endpointUp(theirs.Replace(s.yaml(p, "", endpointConfig{Rules: vpcRules()})))
	data := filepath.Join(s.client.Dir, "demo")
	e := s.start(s.client, "adit-endpoint demo", bin(t, "adit-endpoint"), "up", "--data", data, "--listen", fmt.Sprintf("127.0.0.1:%d", port+1))
	s.ok(e.WaitFor("profile: ", soon))
	s.ok(os.Chmod(filepath.Dir(s.client.Dir), 0o755))
	const ann, bea = 61001, 61002
	s.run(s.client, "sh", "-c", "echo adit:x:61000: >>/etc/group")
	s.aditd()
	before := s.system()
	as := func(uid int, args ...string) []string {
		id := fmt.Sprint(uid)
		return append([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--groups=61000", bin(t, "adit")}, args...)
	}
	state := func(uid int, profile string) (st api.State) {
		t.Helper()
		var all api.Status
		s.ok(json.Unmarshal([]byte(s.run(s.client, as(uid, "status", "--json")...)), &all))
		for _, c := range all.Connections {
			if c.Profile == profile {
				st = c.State
			} else if c.Profile != "" || c.Server.Address != "" || len(c.Tunnel.Addresses) > 0 {
				t.Errorf("%d sees %+v", uid, c)
			}
		}
		return st
	}
	for uid, text := range map[int]string{ann: clientProfile(p, "udp", "plain", ""), bea: s.read(filepath.Join(data, "client.ovpn"))} {
		file := s.write(s.client, fmt.Sprintf("work%d.ovpn", uid), text)
		s.ok(os.Chown(file, uid, uid))
		s.run(s.client, as(uid, "import", file, "--name", "work")...)
		s.run(s.client, as(uid, "connect", "work", "--timeout", "20s")...)
	}
	s.reaches(s.client, none, hostAddr)
	s.reaches(s.client, none, netip.MustParseAddr(demoHost))
	if a, b := state(ann, "work"), state(bea, "work"); a != api.Connected || b != api.Connected {
		t.Errorf("ann's is %q, bea's %q", a, b)
	}
	s.run(s.client, as(bea, "disconnect", "--all")...)
	s.reaches(s.client, none, hostAddr)
	if a, b := state(ann, "work"), state(bea, "work"); a != api.Connected || b != "" {
		t.Errorf("after bea's end ann's is %q, bea's %q", a, b)
	}
	s.run(s.client, as(ann, "disconnect", "work")...)
	s.settled("after both", before)
}
