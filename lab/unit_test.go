//go:build linux

package lab

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/client/api"
	unit "github.com/adit-vpn/adit/installer/linux"
)

// boxed is a world whose client is a machine that systemd starts.
type boxed struct {
	*world
	box     *Box
	program string // adit
}

// newBoxed starts it, with our programs in place; nothing of ours runs in it.
func newBoxed(t *testing.T) *boxed {
	t.Helper()
	needs(t)
	w := newWorld(t)
	b := &boxed{w, w.box(w.client), "/usr/lib/adit/adit"}
	for _, name := range []string{"adit", "aditd"} {
		w.ok(b.box.Copy(bin(t, name), "/usr/lib/adit/"+name, 0o755))
	}
	return b
}

// unitUp puts our unit in place and starts it.
func (b *boxed) unitUp() {
	b.t.Helper()
	text, err := unit.Unit(unit.Program)
	b.ok(err)
	b.ok(b.box.Write("/etc/systemd/system/"+unit.UnitName, []byte(text), 0o644))
	b.in(b.box, "systemctl", "daemon-reload")
	b.in(b.box, "systemctl", "enable", "--now", unit.UnitName)
}

// adit runs the command in the box.
func (b *boxed) adit(args ...string) string {
	b.t.Helper()
	return b.in(b.box, append([]string{b.program}, args...)...)
}

// lab is the connection of the profile lab; its zero value while the service does not answer.
func (b *boxed) lab() (c api.Connection) {
	b.t.Helper()
	out, err := b.tryIn(b.box, b.program, "status", "--json")
	var st api.Status
	if err != nil || json.Unmarshal([]byte(out), &st) != nil {
		return c
	}
	for _, x := range st.Connections {
		if x.Profile == "lab" {
			c = x
		}
	}
	return c
}

// connectLab imports the endpoint's own profile as lab, and connects.
func (b *boxed) connectLab() {
	b.t.Helper()
	text, err := os.ReadFile(b.dataDir() + "/client.ovpn")
	b.ok(err)
	b.ok(b.box.Write("/root/lab.ovpn", text, 0o600))
	b.adit("import", "/root/lab.ovpn", "--name", "lab")
	b.adit("connect", "lab", "--timeout", "20s")
}

// resolvConf is the box's.
func (b *boxed) resolvConf() string {
	b.t.Helper()
	text, err := b.box.Read("/etc/resolv.conf")
	b.ok(err)
	return string(text)
}

// property is one of the unit's.
func (b *boxed) property(name string) string {
	b.t.Helper()
	return strings.TrimSpace(b.in(b.box, "systemctl", "show", "--value", "--property="+name, unit.UnitName))
}

// machine is all that a tunnel may change in the box.
func (b *boxed) machine() string {
	b.t.Helper()
	return b.routesOf(b.client) + "\nresolv.conf: " + b.resolvConf() + "\nnftables: " + b.in(b.box, "nft", "--stateless", "list", "ruleset")
}

// TestUnit: with all that the unit takes from it, the service does its work: a tunnel for all traffic with names and guard, which
// comes back after kill -9, behind a closed guard meanwhile. Whoever keeps the names, it is the service that tells them.
func TestUnit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ names, manager string }{
		{"/etc/resolv.conf", ""}, {"systemd-resolved", "resolved"}, {"resolvconf", "resolvconf"},
	} {
		t.Run(c.names, func(t *testing.T) {
			t.Parallel()
			b := newBoxed(t)
			if c.manager != "" {
				b.installed(c.manager)
			}
			b.endpointUp(b.worldYAML(true, []string{"0.0.0.0/0"}, []string{"0.0.0.0/0", "10.1.0.0/16"}, "dns_servers: [10.1.0.2]"))
			b.ok(b.box.Write("/etc/adit/policy.json", []byte(`{"MaxConnections": 4}`), 0o644))
			b.unitUp()
			if out := b.adit("status"); !strings.Contains(out, "managed by /etc/adit/policy.json") || strings.Contains(out, "problem") {
				t.Errorf("the policy under the unit: %s", out)
			}
			before := b.machine()
			if state := b.property("ActiveState"); state != "active" { // Type=notify: it has said so
				t.Fatalf("the unit is %s", state)
			}
			b.seen(webAddr, clientSeen)
			b.connectLab()
			b.seen(webAddr, endpointSeen)
			if by := b.lab().DNS.Manager; by != c.names {
				t.Errorf("names are set by %s", by)
			}
			if c.manager != "resolved" && !strings.Contains(b.resolvConf(), "nameserver 10.1.0.2") {
				t.Errorf("resolv.conf while connected: %s", b.resolvConf())
			} else if c.manager == "resolved" && !strings.Contains(b.in(b.box, "resolvectl", "dns"), "10.1.0.2") {
				t.Errorf("servers while connected: %s", b.in(b.box, "resolvectl", "dns"))
			}
			if journal := b.journal(b.box); !strings.Contains(journal, "msg=connected") {
				t.Errorf("the journal does not tell of the connection:\n%s", journal)
			} else if strings.Contains(journal, "level=ERROR") || strings.Contains(journal, "level=WARN") {
				t.Errorf("the sandbox is in the way:\n%s", journal)
			}

			// Killed or crashed, it comes back by itself. Nothing leaves beside the tunnel meanwhile.
			for _, signal := range []string{"KILL", "QUIT"} { // QUIT ends a program of Go's as a crash of its own does, with 2
				plain := b.plainly()
				pid := b.property("MainPID")
				killed := time.Now()
				b.in(b.box, "systemctl", "kill", "--kill-whom=main", "--signal="+signal, unit.UnitName)
				b.until(soon, "systemd starts it again after "+signal+", and it connects again", func() bool {
					return b.property("MainPID") != pid && b.lab().State == api.Connected
				})
				t.Logf("connected again %v after %s", time.Since(killed).Round(10*time.Millisecond), signal)
				if n := plain(); n > 0 {
					t.Errorf("%d packets left beside the tunnel while the service was away after %s", n, signal)
				}
				b.seen(webAddr, endpointSeen)
			}

			b.in(b.box, "systemctl", "stop", unit.UnitName)
			b.same("after systemctl stop", before, b.machine())
			if result := b.property("Result"); result != "success" {
				t.Errorf("the unit ended with %s", result)
			}
			b.seen(webAddr, clientSeen)
		})
	}
}

// worstExposure is what docs/security.md says that systemd makes of the unit, from 0 (all taken away) to 10.
const worstExposure = 3.2

// TestUnitExposure: systemd finds nothing in the unit that it does not know, and not more rights than the documentation says.
func TestUnitExposure(t *testing.T) {
	t.Parallel()
	needs(t)
	s := &site{t: t, net: newNet(t)}
	b := &boxed{&world{site: s}, s.box(s.node("machine")), ""}
	s.ok(b.box.Copy(bin(t, "aditd"), unit.Program, 0o755))
	b.unitUp()
	if out := b.in(b.box, "systemd-analyze", "verify", "--man=no", unit.UnitName); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	// What aditd has itself, and what resolvconf could still have.
	status := b.in(b.box, "cat", "/proc/"+b.property("MainPID")+"/status")
	for _, line := range []string{"CapEff:\t0000000000003403\n", "CapPrm:\t0000000000003403\n", "CapBnd:\t00000000000034eb\n", "NoNewPrivs:\t0\n", "Seccomp:\t2\n"} {
		if !strings.Contains(status, line) {
			t.Errorf("no %q in:\n%s", line, status)
		}
	}
	out := b.in(b.box, "systemd-analyze", "security", "--no-pager", unit.UnitName)
	_, level, found := strings.Cut(out, "Overall exposure level for "+unit.UnitName+": ")
	level, _, _ = strings.Cut(level, " ")
	if n, err := strconv.ParseFloat(level, 64); !found || err != nil || n > worstExposure {
		t.Errorf("exposure %q, %v: %s", level, err, out)
	}
}

// installed puts the package of a keeper of names into the box; the internet's server for names is its uplink's.
func (b *boxed) installed(manager string) {
	b.t.Helper()
	user, err := os.UserCacheDir()
	b.ok(err)
	debs, _ := filepath.Glob(filepath.Join(user, "adit-tests", "debs", managerPackages[manager]+"_*.deb"))
	if len(debs) == 0 {
		if os.Getenv("CI") == "true" {
			b.t.Fatalf("the package %s is missing (make packages downloads it)", managerPackages[manager])
		}
		b.t.Skipf("the package %s is missing (make packages downloads it)", managerPackages[manager])
	}
	b.ok(b.box.Copy(debs[len(debs)-1], "/root/manager.deb", 0o600))
	b.in(b.box, "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", "--force-depends", "/root/manager.deb")
	switch manager {
	case "resolvconf":
		b.in(b.box, "sh", "-c", "echo nameserver 192.0.2.53 | resolvconf -a eth0.static")
	case "resolved": // the bus has not known its account when it started
		b.in(b.box, "systemctl", "reload", "dbus.service")
		b.in(b.box, "systemctl", "restart", "systemd-resolved.service")
		b.in(b.box, "resolvectl", "status")
	}
}

// plainly sends a packet a millisecond from the box to the internet, past all tunnels if it can, and returns what ends that and says
// how many were seen on the box's wire as they are.
func (b *boxed) plainly() (plain func() int) {
	b.t.Helper()
	var fd int
	b.ok(b.router.Do(func() (err error) {
		iface, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		ip := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_IP))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(ip)); err != nil {
			return err
		}
		wake := unix.NsecToTimeval(int64(50 * time.Millisecond))
		return errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wake),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: iface.Index}))
	}))
	// Without an address of its own, so that each packet takes the way of its moment.
	sender, err := b.client.ListenPacket("udp4", "0.0.0.0:0")
	b.ok(err)
	stop := make(chan struct{})
	var loops sync.WaitGroup
	loops.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				sender.WriteTo([]byte("plain"), &net.UDPAddr{IP: webAddr.AsSlice(), Port: 9}) // a closed guard makes it fail
			}
		}
	})
	seen := 0
	loops.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, _, err := unix.Recvfrom(fd, buf, 0); err == nil && n >= 20 && [4]byte(buf[16:20]) == webAddr.As4() {
				seen++
			}
		}
	})
	return func() int {
		close(stop)
		loops.Wait()
		sender.Close()
		unix.Close(fd)
		return seen
	}
}

// restarted has systemd start the service again while a tunnel is up, and says how long it took until that was up again.
func (b *boxed) restarted(how ...string) time.Duration {
	b.t.Helper()
	pid, began := b.property("MainPID"), time.Now()
	b.in(b.box, how...)
	b.until(soon, "connected again", func() bool { return b.property("MainPID") != pid && b.lab().State == api.Connected })
	took := time.Since(began)
	b.seen(webAddr, endpointSeen)
	return took
}

// restartTime is how long the tunnel may be away while the service starts again.
const restartTime = 5 * time.Second

// TestUnitRestart: the service starts again while it is connected, as after an upgrade, and once with other programs. The tunnel
// is back soon, and meanwhile nothing leaves beside it.
func TestUnitRestart(t *testing.T) {
	t.Parallel()
	b := newBoxed(t)
	b.endpointUp(b.worldYAML(true, []string{"0.0.0.0/0"}, []string{"0.0.0.0/0", "10.1.0.0/16"}, "dns_servers: [10.1.0.2]"))
	b.adit("service", "install")
	before := b.machine()
	plain := b.plainly()
	time.Sleep(100 * time.Millisecond)
	if plain() == 0 {
		t.Fatal("packets beside the tunnel are not seen: this test proves nothing")
	}
	b.connectLab()
	for _, name := range []string{"adit", "aditd"} {
		b.ok(b.box.Copy(bin(t, name), "/opt/adit/"+name, 0o755))
	}
	for _, how := range [][]string{{"systemctl", "restart", unit.UnitName}, {"systemctl", "try-restart", unit.UnitName}, {"/opt/adit/adit", "service", "install"}} {
		plain := b.plainly()
		took := b.restarted(how...)
		t.Logf("%q: connected again after %v", how, took.Round(10*time.Millisecond))
		if took > restartTime {
			t.Errorf("%q: connected again after %v", how, took)
		}
		if n := plain(); n > 0 {
			t.Errorf("%q: %d packets left beside the tunnel", how, n)
		}
	}
	if s := b.serviceStatus(); s.Program != "/opt/adit/aditd" {
		t.Errorf("after all: %+v", s)
	}
	b.in(b.box, "systemctl", "stop", unit.UnitName)
	b.same("stopped", before, b.machine())
}

// TestUnitRestartSignedIn: who has signed in with a password and a one-time code is not asked again when the service starts again, by
// the server's token; after a stop they are.
func TestUnitRestartSignedIn(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	s := &signInSite{site: newSite(t), pki: newPKI(t)}
	s.ok(os.Chmod(s.write(s.site.server, "verify.sh", verifyScript), 0o700))
	s.run(s.site.server, "openvpn", "--genkey", "auth-token", filepath.Join(s.site.server.Dir, "token.key"))
	s.openvpnUp("udp", "auth-gen-token 0 3600", "auth-gen-token-secret token.key")
	b := &boxed{&world{site: s.site}, s.box(s.client), "/usr/lib/adit/adit"}
	for _, name := range []string{"adit", "aditd"} {
		s.ok(b.box.Copy(bin(t, name), "/usr/lib/adit/"+name, 0o755))
	}
	b.unitUp()
	profile := clientProfile(s.pki, "udp", "plain", "", "auth-user-pass", `static-challenge "Enter MFA code " 1`, "auth-nocache")
	s.ok(b.box.Write("/root/lab.ovpn", []byte(profile), 0o600))
	s.ok(b.box.Write("/root/password", []byte("good\n"), 0o600))
	b.adit("import", "/root/lab.ovpn")
	b.adit("connect", "lab", "--user", "alice", "--password-file", "/root/password", "--otp", "123456", "--timeout", "20s")

	pid, began := b.property("MainPID"), time.Now()
	b.in(b.box, "systemctl", "restart", unit.UnitName)
	b.until(soon, "connected again", func() bool { return b.property("MainPID") != pid && b.lab().State == api.Connected })
	t.Logf("connected again after %v", time.Since(began).Round(10*time.Millisecond))
	s.reaches(s.client, none, hostAddr)
	s.saw("alice SCRV1:Z29vZA==:MTIzNDU2") // the script is not asked about tokens
	b.in(b.box, "test", "!", "-e", "/run/adit/handover")

	b.in(b.box, "systemctl", "stop", unit.UnitName)
	b.in(b.box, "test", "!", "-e", "/run/adit")
	b.in(b.box, "systemctl", "start", unit.UnitName)
	b.until(soon, "somebody is asked", func() bool { return b.lab().State == api.NeedsLogin })
}
