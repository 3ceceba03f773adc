//go:build linux

package lab

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
	unit "github.com/adit-vpn/adit/installer/linux"
	"github.com/adit-vpn/adit/platform/svc/manage"
)

// serviceStatus is what adit service status says.
func (b *boxed) serviceStatus() (s manage.Status) {
	b.t.Helper()
	b.ok(json.Unmarshal([]byte(b.adit("service", "status", "--json")), &s))
	return s
}

// TestServiceCommands: adit service on a machine that systemd has started, with programs that no package has brought.
func TestServiceCommands(t *testing.T) {
	t.Parallel()
	b := newBoxed(t)
	b.endpointUp(b.worldYAML(true, []string{"0.0.0.0/0"}, []string{"0.0.0.0/0", "10.1.0.0/16"}, "dns_servers: [10.1.0.2]"))
	for _, dir := range []string{"/opt/adit/", "/opt/adit2/", "/root/adit/"} {
		for _, name := range []string{"adit", "aditd"} {
			b.ok(b.box.Copy(bin(t, name), dir+name, 0o755))
		}
	}
	b.in(b.box, "rm", "-r", "/usr/lib/adit")
	b.in(b.box, "ln", "-s", "/opt/adit/adit", "/usr/local/bin/adit")
	b.program = "/usr/local/bin/adit"
	before := b.machine()
	const ours = "/etc/systemd/system/" + unit.UnitName

	if s := b.serviceStatus(); s != (manage.Status{Manager: "systemd", State: manage.NotInstalled}) {
		t.Errorf("at first: %+v", s)
	}
	fails := func(says string, argv ...string) {
		t.Helper()
		out, err := b.tryIn(b.box, argv...)
		if err == nil || !strings.Contains(out, says) || !strings.Contains(out, "hint: ") {
			t.Errorf("%q: %v, %s", argv, err, out)
		}
	}
	fails("the service is not installed", "/opt/adit/adit", "service", "start")
	fails("the service is not installed", "/opt/adit/adit", "service", "stop")
	fails("only an administrator", "setpriv", "--reuid=nobody", "--clear-groups", "/opt/adit/adit", "service", "install")
	// A program of root's service must not be anybody else's.
	for _, change := range [][]string{{"chmod", "0777", "/opt/adit"}, {"chown", "nobody", "/opt/adit/aditd"}, {"chmod", "g+w", "/opt"}} {
		b.in(b.box, change...)
		fails("others than the administrator could replace the program", "/opt/adit/adit", "service", "install")
		b.in(b.box, "chown", "-R", "root:root", "/opt")
		b.in(b.box, "chmod", "-R", "u=rwX,go=rX", "/opt")
	}
	fails("the service could not start a program there", "/root/adit/adit", "service", "install")
	if _, err := b.box.Read(ours); err == nil {
		t.Fatal("a refused service has a unit")
	}

	b.adit("service", "install")
	running := b.serviceStatus()
	if running.State != manage.Running || !running.Automatic || running.Packaged || running.Program != "/opt/adit/aditd" || running.PID == 0 {
		t.Errorf("installed: %+v", running)
	}
	if groups, err := b.box.Read("/etc/group"); err != nil || !strings.Contains(string(groups), "\nadit:") {
		t.Errorf("there is no group adit: %v %s", err, groups)
	}
	if out := b.adit("service", "install"); !strings.Contains(out, "runs already") || b.serviceStatus() != running {
		t.Errorf("a second install: %s", out)
	}
	// Programs of another version in the place of these are what runs then.
	b.ok(b.box.Copy(bin(t, "aditd"), "/opt/adit/aditd", 0o755))
	if out := b.adit("service", "install"); strings.Contains(out, "runs already") || b.serviceStatus().PID == running.PID {
		t.Errorf("install of a replaced program: %s", out)
	}
	running = b.serviceStatus()
	if out := b.adit("service", "start"); !strings.Contains(out, "runs already") || b.serviceStatus() != running {
		t.Errorf("start of what runs: %s %+v", out, b.serviceStatus())
	}

	connected := func(what string) {
		t.Helper()
		b.until(soon, what+": connected", func() bool { return b.lab().State == api.Connected })
		b.seen(webAddr, endpointSeen)
	}
	b.connectLab()
	connected("at first")
	b.adit("service", "stop")
	b.same("stopped", before, b.machine())
	if s := b.serviceStatus(); s.State != manage.Stopped || !s.Automatic {
		t.Errorf("stopped: %+v", s)
	}
	if out := b.adit("service", "stop"); !strings.Contains(out, "does not run") {
		t.Errorf("a second stop: %s", out)
	}
	b.adit("service", "start")
	connected("started again")

	// The other version's programs take over.
	b.in(b.box, "/opt/adit2/adit", "service", "install")
	if s := b.serviceStatus(); s.Program != "/opt/adit2/aditd" || s.State != manage.Running || s.PID == running.PID {
		t.Errorf("of another version: %+v", s)
	}
	connected("of another version")

	// Uninstalled right after a crash: the guard that is closed then, too, is opened.
	b.in(b.box, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit.UnitName)
	b.adit("service", "uninstall")
	b.same("uninstalled", before, b.machine())
	if s := b.serviceStatus(); s.State != manage.NotInstalled {
		t.Errorf("uninstalled: %+v", s)
	}
	for _, gone := range []string{ours, "/etc/systemd/system/multi-user.target.wants/" + unit.UnitName} {
		if out, err := b.tryIn(b.box, "test", "!", "-L", gone, "-a", "!", "-e", gone); err != nil {
			t.Errorf("%s is left %s", gone, out)
		}
	}
	if out := b.adit("service", "uninstall"); !strings.Contains(out, "is not installed") {
		t.Errorf("a second uninstall: %s", out)
	}
	b.seen(webAddr, clientSeen)

	// Profiles and wishes are kept, and go on request.
	b.adit("service", "install")
	connected("installed again")
	if out := b.adit("service", "uninstall", "--purge"); !strings.Contains(out, "removed /var/lib/adit") {
		t.Errorf("purge: %s", out)
	}
	b.same("purged", before, b.machine())
	b.in(b.box, "test", "!", "-e", "/var/lib/adit")

	// A unit of a package is started and stopped, never changed.
	packaged, err := unit.Unit("/opt/adit/aditd")
	b.ok(err)
	const theirs = "/usr/lib/systemd/system/" + unit.UnitName
	b.ok(b.box.Write(theirs, []byte(packaged+"# of a package\n"), 0o644))
	b.in(b.box, "systemctl", "daemon-reload")
	if out := b.in(b.box, "/opt/adit2/adit", "service", "install"); !strings.Contains(out, "/systemd/system/"+unit.UnitName+": it is /opt/adit/aditd") {
		t.Errorf("beside a package: %s", out)
	}
	if s := b.serviceStatus(); !s.Packaged || !s.Automatic || s.State != manage.Running || s.Program != "/opt/adit/aditd" {
		t.Errorf("of a package: %+v", s)
	}
	b.adit("service", "uninstall")
	if s := b.serviceStatus(); !s.Packaged || s.Automatic || s.State != manage.Stopped {
		t.Errorf("of a package, uninstalled: %+v", s)
	}
	if text, err := b.box.Read(theirs); err != nil || string(text) != packaged+"# of a package\n" {
		t.Errorf("the package's unit: %v %s", err, text)
	}
	if _, err := b.box.Read(ours); err == nil {
		t.Error("a package's unit has another beside it")
	}
}

// TestServiceWithoutSystemd: where the system's manager is another one, adit says so, and what to do.
func TestServiceWithoutSystemd(t *testing.T) {
	t.Parallel()
	needs(t)
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Log("systemd runs here; the node has a /run of its own")
	}
	s := &site{t: t, net: newNet(t)}
	s.fails(s.node("machine"), "systemd does not run here", bin(t, "adit"), "service", "install")
}
