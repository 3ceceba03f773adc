//go:build linux

package lab

import (
	"os"
	"strings"
	"testing"
)

// TestDNS: names of the VPC are resolved through the tunnel by the server that was
// pushed, and by the old one, or not at all, before and after.
func TestDNS(t *testing.T) {
	t.Parallel()
	needs(t, "dnsmasq", "getent")
	w := newWorld(t)
	dns := w.start(w.host, "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
		"--listen-address="+worldHost.String(), "--bind-interfaces", "--log-queries", "--log-facility=-", "--address=/intranet.example.test/10.1.0.77")
	w.ok(dns.WaitFor("started", soon))
	w.endpointUp(w.worldYAML(false, nil, []string{"10.1.0.0/16"}, "dns_servers: ["+worldHost.String()+"]"))
	w.aditd()
	w.importOwn()
	w.ok(w.client.Do(func() error { // the silence of the old resolver shall not take long
		return os.WriteFile("/etc/resolv.conf", []byte("nameserver 192.0.2.53\noptions timeout:1 attempts:1\n"), 0o644)
	}))
	before := w.system()
	resolves := func() bool {
		out, err := w.try(w.client, "getent", "ahostsv4", "www.intranet.example.test")
		return err == nil && strings.HasPrefix(out, "10.1.0.77 ")
	}
	if resolves() {
		t.Fatal("the name resolves without the tunnel")
	}
	w.adit("connect", "lab", "--timeout", "20s")
	if !resolves() {
		t.Errorf("the name does not resolve with resolv.conf\n%s", w.resolvConf(w.client))
	}
	if st := w.status(); len(st.DNS.Servers) != 1 || st.DNS.Servers[0] != worldHost.String() {
		t.Errorf("status: %+v", st.DNS)
	}
	w.adit("disconnect")
	if resolves() {
		t.Error("the name resolves after the tunnel")
	}
	w.same("after the tunnel", before, w.system())
}
