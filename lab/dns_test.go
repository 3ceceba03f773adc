//go:build linux

package lab

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

const (
	intranetName = "www.intranet.example.test"
	publicName   = "www.public.example.test"
	uplinkNames  = "192.0.2.80" // the internet's server for names
	otherNames   = "10.1.0.11"  // a second one in the VPC
)

// names starts a server for names in a node, which says another address for each name than the other server does.
func (w *world) names(n *Node, addr, port, intranet, public string, more ...string) *Proc {
	w.t.Helper()
	p := w.start(n, "dnsmasq", append([]string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
		"--listen-address=" + addr, "--port=" + port, "--bind-interfaces", "--log-queries", "--log-facility=-",
		"--address=/intranet.example.test/" + intranet, "--address=/public.example.test/" + public}, more...)...)
	w.ok(p.WaitFor("started", soon))
	return p
}

// asked is how often a server was asked for a name.
func asked(server *Proc, name string) int {
	return strings.Count(server.Out.String(), "query[A] "+name+" ")
}

// resolve is the address that a program in the client gets for a name, "" if none.
func (w *world) resolve(name string) string {
	out, _ := w.try(w.client, "getent", "ahostsv4", name)
	address, _, _ := strings.Cut(out, " ")
	return address
}

// TestDNS: while a tunnel is up, names go to the server that it brought, all or those of its domains, whoever manages
// names here; and before and after to the old one. Both servers say what they were asked.
func TestDNS(t *testing.T) {
	for _, m := range nameManagers() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			needs(t, "dnsmasq", "getent", "dbus-daemon", "gdbus", "unshare")
			if m.name != "file" {
				needsManagers(t)
			}
			w := newWorld(t)
			const (
				corpIntranet, corpPublic     = "10.1.0.77", "10.1.0.80"
				otherIntranet, otherPublic   = "10.1.0.78", "10.1.0.81"
				uplinkIntranet, uplinkPublic = "198.18.9.77", "198.18.9.80"
			)
			w.ok(w.host.Do(func() error { return configure("eth0", []string{otherNames + "/24"}) }))
			corp := w.names(w.host, worldHost.String(), "53", corpIntranet, corpPublic)
			w.names(w.host, otherNames, "53", otherIntranet, otherPublic)
			uplink := w.names(w.internet, uplinkNames, "53", uplinkIntranet, uplinkPublic)
			w.endpointUp(w.worldYAML(false, nil, []string{"10.1.0.0/16"}, "dns_servers: ["+worldHost.String()+"]"))
			m.up(w)
			service := w.aditd()
			w.importOwn()
			own := w.read(w.client.Dir + "/lab.ovpn")
			// Of the network it takes the server for names alone: the other tunnel has the rest.
			own += "\npull-filter ignore \"route \"\nroute " + otherNames + "\npull-filter ignore \"dhcp-option\"\ndns server 1 address " + otherNames
			w.adit("import", w.write(w.client, "other.ovpn", own+"\n"))
			if m.splits { // with all that only such managers can
				w.names(w.host, otherNames, "5353", otherIntranet, otherPublic)
				w.adit("import", w.write(w.client, "secure.ovpn", own+"\ndns server 1 transport DoT\ndns server 1 sni dns.example.test\ndns server 1 dnssec optional\n"))
				own += ":5353\ndns server 1 dnssec no\ndns server 1 transport plain\ndns server 1 sni dns.example.test"
			}
			w.adit("import", w.write(w.client, "split.ovpn", own+"\ndns server 1 resolve-domains intranet.example.test\n"))
			system := func() string {
				link := ""
				w.ok(w.client.Do(func() error {
					st, err := os.Lstat("/etc/resolv.conf")
					if err == nil {
						target, _ := os.Readlink("/etc/resolv.conf")
						link = st.Mode().String() + " " + target
					}
					return err
				}))
				return w.system() + "\n" + link + "\n" + m.state(w)
			}
			// resolves demands which addresses the two names have, and that nobody else was asked for the public one.
			resolves := func(when, intranet, public string) {
				t.Helper()
				w.until(soon, when+": "+intranetName+" is "+intranet, func() bool { return w.resolve(intranetName) == intranet })
				other := corp
				if public == corpPublic {
					other = uplink
				}
				before := asked(other, publicName)
				if got := w.resolve(publicName); got != public {
					t.Errorf("%s: %s is %q, not %s\n%s", when, publicName, got, public, w.resolvConf(w.client))
				}
				if asked(other, publicName) != before {
					t.Errorf("%s: the other server was asked for %s, too", when, publicName)
				}
			}
			resolves("without a tunnel", uplinkIntranet, uplinkPublic)
			before := system()

			w.adit("connect", "lab", "--timeout", "20s")
			resolves("all names", corpIntranet, corpPublic)
			if st := w.status(); len(st.DNS.Servers) != 1 || st.DNS.Servers[0] != worldHost.String() || st.DNS.Manager != m.status {
				t.Errorf("status: %+v", st.DNS)
			}
			if out := w.adit("status"); !strings.Contains(out, worldHost.String()+" (by "+m.status+")") {
				t.Errorf("status: %s", out)
			}
			w.adit("disconnect")
			w.same("after all names", before, system())
			resolves("after all names", uplinkIntranet, uplinkPublic)

			if m.splits {
				w.adit("connect", "split", "--timeout", "20s")
				resolves("some names", otherIntranet, uplinkPublic)
				w.adit("disconnect")
				w.adit("connect", "secure", "--timeout", "20s")
				device := w.statusOf("secure").Tunnel.Device
				for _, c := range [][2]string{{"dnsovertls", "yes"}, {"dnssec", "allow-downgrade"}} {
					if out := w.run(w.client, "/usr/bin/resolvectl", c[0], device); !strings.Contains(out, "("+device+"): "+c[1]+"\n") {
						t.Errorf("%s: %s", c[0], out)
					}
				}
				w.adit("disconnect")
			} else {
				w.fails(w.client, "DNS for some domains only cannot be set through", bin(t, "adit"), "connect", "split", "--timeout", "20s")
				w.adit("disconnect", "--all")
			}
			w.same("after some names", before, system())

			// Two tunnels: the newer one's server is for all names, or for those of its domain.
			w.adit("connect", "lab", "--timeout", "20s")
			if m.splits {
				w.adit("connect", "split", "--timeout", "20s")
				resolves("two tunnels", otherIntranet, corpPublic)
				w.adit("disconnect", "split")
			} else {
				w.adit("connect", "other", "--timeout", "20s")
				resolves("two tunnels", otherIntranet, otherPublic)
				if out := w.adit("status"); w.statusOf("lab").DNS.Waits != "other" || w.statusOf("other").DNS.Waits != "" || !strings.Contains(out, "waits: names go to the servers of other") {
					t.Errorf("whose servers are asked: %s", out)
				}
				w.adit("disconnect", "other")
			}
			resolves("one of two tunnels", corpIntranet, corpPublic)
			w.adit("disconnect", "--all")
			w.same("after two tunnels", before, system())

			// Others do their work meanwhile.
			const again = "DNS was changed by another program"
			if out := service.Out.String(); strings.Contains(out, again) {
				t.Error("it says that another program has changed DNS; nobody has")
			}
			w.adit("connect", "lab", "--timeout", "20s")
			resolves("before it is disturbed", corpIntranet, corpPublic)
			undo := m.disturb(w)
			w.until(soon, "after it was disturbed: "+publicName+" is "+corpPublic, func() bool { return w.resolve(publicName) == corpPublic })
			resolves("after it was disturbed", corpIntranet, corpPublic)
			if out := w.adit("logs"); m.told && !strings.Contains(out, again) {
				t.Errorf("adit logs does not say that DNS was changed:\n%s", out)
			}
			w.adit("disconnect")
			undo()
			w.same("after it was disturbed", before, system())

			w.adit("connect", "lab", "--timeout", "20s")
			resolves("before kill -9", corpIntranet, corpPublic)
			service.Stop(syscall.SIGKILL, soon) // the error is that it was killed
			w.run(w.client, bin(t, "aditd"), "cleanup", "--state", w.stateDir())
			w.same("after kill -9 and cleanup", before, system())
			resolves("after kill -9 and cleanup", uplinkIntranet, uplinkPublic)

			// What somebody else has undone by then is no error.
			service = w.aditd()
			w.until(soon, "the service resumed its wish", func() bool { return w.statusOf("lab").State == api.Connected })
			service.Stop(syscall.SIGKILL, soon)
			m.undone(w)
			w.run(w.client, bin(t, "aditd"), "cleanup", "--state", w.stateDir())
			w.same("after somebody else's cleanup", before, system())
		})
	}
}
