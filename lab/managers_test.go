//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The programs that keep resolv.conf on Linux really run in the lab, but are never installed: each would
// take over the names of the machine that tests, and they exclude each other. make packages downloads
// them, and a test puts one over its node's own view of /usr and /etc.

// managerPackages are what make packages downloads (MANAGERS), and libraries the directory with those that they need.
var managerPackages = map[string]string{
	"resolved": "systemd-resolved", "networkmanager": "network-manager", "resolvconf": "resolvconf", "openresolv": "openresolv", "nmopenvpn": "network-manager-openvpn", libraries: "lib*",
}

const libraries = "libraries"

// unpacked is a directory with the packages of each manager, unpacked once for all tests.
var unpacked = sync.OnceValues(func() (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	to := filepath.Join(os.TempDir(), "managers")
	debs := filepath.Join(user, "adit-tests", "debs")
	for manager, p := range managerPackages {
		dir := filepath.Join(to, manager)
		found, _ := filepath.Glob(filepath.Join(debs, p+"_*.deb"))
		if len(found) == 0 {
			return "", fmt.Errorf("the package %s is not in %s (make packages downloads it)", p, debs)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		for _, deb := range found {
			if out, err := exec.Command("dpkg-deb", "-x", deb, dir).CombinedOutput(); err != nil {
				return "", fmt.Errorf("unpack %s: %w: %s", deb, err, out)
			}
		}
		for _, d := range []string{"bin", "sbin", "lib"} { // links into /usr on the machine
			if _, err := os.Stat(filepath.Join(dir, d)); err != nil {
				continue
			}
			if out, err := exec.Command("cp", "-a", filepath.Join(dir, d), filepath.Join(dir, "usr")+"/").CombinedOutput(); err != nil {
				return "", fmt.Errorf("unpack: %w: %s", err, out)
			}
		}
	}
	return to, nil
})

// needsManagers skips the test, or fails it in CI, where the packages are missing.
func needsManagers(t *testing.T) string {
	t.Helper()
	dir, err := unpacked()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return dir
}

// install puts managers over the node's view of the system.
func (s *site) install(n *Node, managers ...string) {
	s.t.Helper()
	dir := needsManagers(s.t)
	lower := ""
	for _, m := range append(managers, libraries) {
		lower += filepath.Join(dir, m, "usr") + ":"
		if _, err := os.Stat(filepath.Join(dir, m, "etc")); err == nil {
			s.run(n, "cp", "-a", filepath.Join(dir, m, "etc")+"/.", "/etc/")
		}
	}
	s.ok(n.Do(func() error {
		if err := unix.Mount("overlay", "/usr", "overlay", unix.MS_RDONLY, "lowerdir="+lower+"/usr"); err != nil {
			return fmt.Errorf("private /usr: %w", err)
		}
		for _, d := range []string{"/run/lib-upper", "/run/lib-work", "/run/dbus", "/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf/interface"} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount("overlay", "/var/lib", "overlay", 0, "lowerdir=/var/lib,upperdir=/run/lib-upper,workdir=/run/lib-work"); err != nil {
			return fmt.Errorf("private /var/lib: %w", err)
		}
		if err := os.MkdirAll("/var/lib/NetworkManager", 0o755); err != nil {
			return err
		}
		// The devices of this network; read-only, so that NetworkManager does not wait for udev.
		if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("private /sys: %w", err)
		}
		return nil
	}))
}

// bus starts the node's system bus, on which everybody may do everything.
func (s *site) bus(n *Node) {
	s.t.Helper()
	conf := s.write(n, "bus.conf", `<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="false"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`)
	p := s.start(n, "dbus-daemon", "dbus-daemon", "--config-file="+conf, "--nofork", "--nopidfile", "--print-address")
	s.ok(p.WaitFor("unix:path=", soon))
}

// nameManager is one manager in the client, with the internet's server for names as its uplink's.
type nameManager struct {
	name   string // of the test
	status string // in adit status
	splits bool   // can send the names of one domain elsewhere
	// up installs and starts it, and makes resolv.conf.
	up func(w *world)
	// state is what it knows, for exact comparison.
	state func(w *world) string
	// disturb does to its settings what happens in real life: it is killed and started again, another
	// program or a new lease changes something. What it says to undo comes back in the end.
	disturb func(w *world) (undo func())
	told    bool // the tunnel's DNS is lost by that, and adit logs says so
	// undone takes the tunnel's settings out, as another program may after a crash.
	undone func(w *world)
}

// runResolved starts systemd-resolved in the client.
func (w *world) runResolved() *Proc {
	w.t.Helper()
	p := w.start(w.client, "systemd-resolved", "/usr/lib/systemd/systemd-resolved")
	w.until(soon, "systemd-resolved answers", func() bool {
		_, err := w.try(w.client, "/usr/bin/resolvectl", "status")
		return err == nil
	})
	return p
}

// startResolved installs systemd-resolved, with the user that its package makes.
func (w *world) startResolved() *Proc {
	w.t.Helper()
	w.ok(w.client.Do(func() error {
		const id = 64999
		for path, line := range map[string]string{"/etc/passwd": fmt.Sprintf("systemd-resolve:x:%d:%d::/:/usr/sbin/nologin\n", id, id), "/etc/group": fmt.Sprintf("systemd-resolve:x:%d:\n", id)} {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString(line)
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
		}
		return errors.Join(os.Chown("/run/systemd/resolve", id, id), w.link("/run/systemd/resolve/stub-resolv.conf"))
	}))
	return w.runResolved()
}

// link makes resolv.conf a link. On the client's thread.
func (w *world) link(to string) error {
	return errors.Join(os.Remove("/etc/resolv.conf"), os.Symlink(to, "/etc/resolv.conf"))
}

// restart is kill -9 and another one.
func (w *world) restart(p *Proc, again func() *Proc) *Proc {
	w.t.Helper()
	p.Stop(syscall.SIGKILL, soon) // the error is that it was killed
	return again()
}

func (w *world) linkNames() string {
	return w.run(w.client, "/usr/bin/resolvectl", "dns") + w.run(w.client, "/usr/bin/resolvectl", "domain") + w.run(w.client, "/usr/bin/resolvectl", "default-route")
}

// runNM starts NetworkManager in the client.
func (w *world) runNM() *Proc {
	w.t.Helper()
	// With process numbers of its own, so that its dnsmasq ends with it.
	p := w.start(w.client, "NetworkManager", "unshare", "--pid", "--kill-child", "/usr/sbin/NetworkManager", "--no-daemon")
	w.until(soon, "NetworkManager answers", func() bool {
		_, err := w.try(w.client, "/usr/bin/nmcli", "-t", "general", "status")
		return err == nil
	})
	return p
}

// startNM starts NetworkManager with these words in its main section, and gives it eth0.
func (w *world) startNM(main string) *Proc {
	w.t.Helper()
	w.ok(w.client.Do(func() error {
		return os.WriteFile("/etc/NetworkManager/NetworkManager.conf", []byte("[main]\nplugins=keyfile\nno-auto-default=*\nauth-polkit=false\n"+main), 0o644)
	}))
	p := w.runNM()
	w.run(w.client, "/usr/bin/nmcli", "con", "add", "type", "ethernet", "ifname", "eth0", "con-name", "uplink", "ipv4.method", "manual",
		"ipv4.addresses", "192.168.10.2/24", "ipv4.gateway", "192.168.10.1", "ipv4.dns", uplinkNames, "ipv4.dns-search", "home.example.test", "ipv6.method", "ignore")
	w.run(w.client, "/usr/bin/nmcli", "-w", "10", "con", "up", "uplink")
	return p
}

func (w *world) nmState() string {
	return w.run(w.client, "cat", "/var/lib/NetworkManager/NetworkManager-intern.conf") +
		w.globalDNS("Get")
}

// globalDNS reads or writes NetworkManager's global DNS configuration.
func (w *world) globalDNS(method string, args ...string) string {
	return w.run(w.client, append([]string{"gdbus", "call", "--system", "--dest", "org.freedesktop.NetworkManager", "--object-path", "/org/freedesktop/NetworkManager",
		"--method", "org.freedesktop.DBus.Properties." + method, "org.freedesktop.NetworkManager", "GlobalDnsConfiguration"}, args...)...)
}

// byHand is a resolv.conf that somebody wrote, for printf.
const byHand = `# by hand\nnameserver ` + uplinkNames + `\noptions timeout:2\n`

// resolvconfProgram is a package with a program resolvconf. Lease is the entry of the DHCP client, and another what that one
// says besides when it gets a new lease.
func resolvconfProgram(name, lease, another string, prepare func(*world)) nameManager {
	const program = "/usr/sbin/resolvconf"
	leased := func(w *world) { w.run(w.client, "sh", "-c", "echo nameserver "+uplinkNames+" | resolvconf -a "+lease) }
	return nameManager{
		name: name, status: "resolvconf", told: true,
		up: func(w *world) {
			w.install(w.client, name)
			prepare(w)
			leased(w)
		},
		state: func(w *world) string { return w.run(w.client, program, "-l") },
		disturb: func(w *world) func() {
			w.run(w.client, "sh", "-c", "printf '"+another+"\\nnameserver "+uplinkNames+"\\n' | resolvconf -a "+lease)
			w.run(w.client, program, "-d", "tun0.adit")
			return func() { leased(w) }
		},
		undone: func(w *world) { w.run(w.client, program, "-d", "tun0.adit") },
	}
}

// nameManagers are the ones that run here.
func nameManagers() []nameManager {
	return []nameManager{
		resolvedAlone(), networkManager("networkmanager", ""), networkManager("networkmanager+dnsmasq", "dns=dnsmasq\n"), networkManagerWithResolved(),
		resolvconfProgram("resolvconf", "eth0.dhclient", "domain new.example.test", func(w *world) {
			w.ok(w.client.Do(func() error { return w.link("../run/resolvconf/resolv.conf") }))
			w.run(w.client, "/usr/sbin/resolvconf", "--enable-updates")
		}),
		resolvconfProgram("openresolv", "eth0.dhcp", "search new.example.test", func(*world) {}),
		{
			name: "file", status: "/etc/resolv.conf", told: true,
			up: func(w *world) {
				w.ok(w.client.Do(func() error {
					return os.WriteFile("/etc/resolv.conf", []byte(strings.ReplaceAll(byHand, `\n`, "\n")), 0o644)
				}))
			},
			state: func(*world) string { return "" },
			disturb: func(w *world) func() { // a DHCP client
				lease := func(domain string) {
					w.run(w.client, "sh", "-c", "printf '# by hand\\n"+domain+"nameserver "+uplinkNames+"\\noptions timeout:2\\n' >/etc/resolv.conf.dhclient && mv /etc/resolv.conf.dhclient /etc/resolv.conf")
				}
				lease("search new.example.test\\n")
				return func() { lease("") }
			},
			undone: func(w *world) { w.run(w.client, "sh", "-c", "printf '"+byHand+"' >/etc/resolv.conf") },
		},
	}
}

func resolvedAlone() nameManager {
	var p *Proc
	return nameManager{
		name: "resolved", status: "systemd-resolved", splits: true, told: true,
		up: func(w *world) {
			w.install(w.client, "resolved")
			w.bus(w.client)
			p = w.startResolved()
			w.run(w.client, "/usr/bin/resolvectl", "dns", "eth0", uplinkNames)
		},
		state: (*world).linkNames,
		disturb: func(w *world) func() {
			w.run(w.client, "/usr/bin/resolvectl", "revert", "tun0") // another program
			w.until(soon, "the tunnel's link has its server again", func() bool { return strings.Contains(w.linkNames(), worldHost.String()) })
			p = w.restart(p, func() *Proc {
				w.run(w.client, "sh", "-c", "rm -rf /run/systemd/resolve/netif") // a version that does not keep them there
				return w.runResolved()
			})
			w.run(w.client, "/usr/bin/resolvectl", "dns", "eth0", uplinkNames)
			return func() {}
		},
		undone: func(*world) {}, // the link has gone with the service
	}
}

func networkManager(name, main string) nameManager {
	var p *Proc
	return nameManager{
		name: name, status: "NetworkManager", told: true,
		up: func(w *world) {
			w.install(w.client, "networkmanager")
			w.bus(w.client)
			w.ok(w.client.Do(func() error { return w.link("../run/NetworkManager/resolv.conf") }))
			p = w.startNM(main)
		},
		state: (*world).nmState,
		disturb: func(w *world) func() {
			w.globalDNS("Set", "<@a{sv} {}>") // another program
			w.until(soon, "the tunnel's server is set again", func() bool { return strings.Contains(w.nmState(), worldHost.String()) })
			p = w.restart(p, w.runNM)
			w.run(w.client, "/usr/bin/nmcli", "-w", "10", "con", "up", "uplink")
			return func() {}
		},
		undone: func(w *world) { w.globalDNS("Set", "<@a{sv} {}>") },
	}
}

func networkManagerWithResolved() nameManager {
	var p *Proc
	return nameManager{
		name: "networkmanager+resolved", status: "systemd-resolved", splits: true,
		up: func(w *world) {
			w.install(w.client, "resolved", "networkmanager")
			w.bus(w.client)
			w.startResolved()
			p = w.startNM("dns=systemd-resolved\nrc-manager=unmanaged\n")
			w.until(soon, "NetworkManager tells the uplink's server", func() bool { return strings.Contains(w.linkNames(), uplinkNames) })
		},
		state: (*world).linkNames,
		disturb: func(w *world) func() {
			p = w.restart(p, w.runNM)
			w.run(w.client, "/usr/bin/nmcli", "-w", "10", "con", "up", "uplink")
			return func() {}
		},
		undone: func(*world) {},
	}
}
