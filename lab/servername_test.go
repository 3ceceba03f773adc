//go:build linux

package lab

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestServerName: the server's name is asked for at the network's own server for names, past the tunnel and the closed guard, whoever
// manages names here; also where the tunnel has the same server, and when the service starts anew with the guard closed.
func TestServerName(t *testing.T) {
	for _, m := range nameManagers() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			needs(t, "dnsmasq", "dbus-daemon", "gdbus", "unshare")
			if m.name != "file" {
				needsManagers(t)
			}
			const name = "vpn.example.test"
			w := newWorld(t)
			uplink := w.names(w.internet, uplinkNames, "53", "198.18.9.77", "198.18.9.80", "--address=/"+name+"/"+worldServer.String())
			// outside is how often the client has asked for the server's name past the tunnel.
			outside := func() int { return strings.Count(uplink.Out.String(), "query[A] "+name+" from "+clientSeen) }
			config := w.worldYAML(true, []string{"0.0.0.0/0"}, []string{"0.0.0.0/0"}, "dns_servers: ["+uplinkNames+"]")
			server := w.endpointUp(config)
			m.up(w)
			service := w.aditd()
			own := strings.ReplaceAll(w.read(w.dataDir()+"/client.ovpn"), "remote "+worldServer.String(), "remote "+name)
			w.adit("import", w.write(w.client, "lab.ovpn", own+"\nconnect-retry 1 1\nconnect-timeout 2\n"))
			w.adit("connect", "lab", "--timeout", "20s")
			w.seen(webAddr, endpointSeen)

			service.Stop(syscall.SIGKILL, soon) // the error is that it was killed
			before := outside()
			service = w.aditd()
			w.until(soon, "the next service has connected again", func() bool { return w.statusOf("lab").State == api.Connected })
			if outside() == before {
				t.Error("nobody has asked for the server's name outside")
			}

			// From here on the plan is one that was made while the tunnel had its servers for names.
			w.ok(w.client.Route("198.51.100.0/24", "192.168.10.1"))
			w.ok(service.WaitFor("the network changed", soon))
			server.Stop(syscall.SIGTERM, soon)
			before = outside()
			w.until(soon, "the name is asked for outside", func() bool { return outside() > before })
			if got := w.seenAs(webAddr); got != "" {
				t.Errorf("without its server, the internet sees the client as %s", got)
			}
			w.endpointUp(config)
			w.until(2*soon, "it has connected again", func() bool { return w.statusOf("lab").State == api.Connected })
			w.seen(webAddr, endpointSeen)
			w.adit("disconnect")
			w.seen(webAddr, clientSeen)
		})
	}
}

// TestServerNameBehindACache: the client's only server for names is on the client, and the closed guard stops what that one asks.
func TestServerNameBehindACache(t *testing.T) {
	t.Parallel()
	needs(t, "dnsmasq")
	const name = "vpn.example.test"
	w := newWorld(t)
	w.names(w.internet, uplinkNames, "53", "198.18.9.77", "198.18.9.80", "--address=/"+name+"/"+worldServer.String())
	config := w.worldYAML(true, []string{"0.0.0.0/0"}, []string{"0.0.0.0/0"}, "dns_servers: ["+uplinkNames+"]")
	w.endpointUp(config)
	cache := w.start(w.client, "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--log-facility=-", "--cache-size=0", "--server="+uplinkNames)
	w.ok(cache.WaitFor("started", soon))
	w.ok(w.client.Do(func() error { return os.WriteFile("/etc/resolv.conf", []byte("nameserver 127.0.0.1\n"), 0o644) }))
	service := w.aditd()
	own := strings.ReplaceAll(w.read(w.dataDir()+"/client.ovpn"), "remote "+worldServer.String(), "remote "+name)
	w.adit("import", w.write(w.client, "own.ovpn", own+"\nredirect-gateway def1\n"))
	w.adit("connect", "own", "--timeout", "20s") // it closes everything before the first attempt
	w.adit("disconnect")
	w.adit("import", w.write(w.client, "lab.ovpn", own))
	w.adit("connect", "lab", "--timeout", "20s")
	w.seen(webAddr, endpointSeen)
	service.Stop(syscall.SIGKILL, soon) // the error is that it was killed
	w.aditd()
	w.until(soon, "the next service has connected again", func() bool { return w.statusOf("lab").State == api.Connected })
	w.seen(webAddr, endpointSeen)
	w.adit("disconnect")
	w.seen(webAddr, clientSeen)
}
