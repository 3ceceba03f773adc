//go:build linux

package lab

import (
	"os"
	"strings"
	"testing"
)

// TestOffline: without a network, and with a name that does not exist, both ways to connect say so at
// once and not after their time limit, which is a minute here.
func TestOffline(t *testing.T) {
	t.Parallel()
	needs(t, "dnsmasq")
	s := newSite(t)
	text := clientProfile(newPKI(t), "udp", "plain", "")
	named := strings.Replace(text, serverOuter.String(), "nowhere.example.com", 1)
	dns := s.start(s.server, "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
		"--listen-address="+serverOuter.String(), "--bind-interfaces", "--log-facility=-", "--local=/example.com/")
	s.ok(dns.WaitFor("started", soon))
	s.ok(s.client.Do(func() error {
		return os.WriteFile("/etc/resolv.conf", []byte("nameserver "+serverOuter.String()+"\n"), 0o644)
	}))
	s.aditd()
	fails := func(profile, says string) {
		t.Helper()
		file := s.write(s.client, "lab.ovpn", profile)
		s.adit("import", file, "--replace")
		s.fails(s.client, says, bin(t, "adit"), "connect", "lab")
		s.fails(s.client, says, bin(t, "adit"), "connect", file, "--userspace")
	}
	s.ok(s.client.Link("eth0", false))
	fails(text, "no network of this machine leads to "+serverOuter.String())
	fails(strings.Replace(text, "proto udp", "proto tcp", 1), "no network of this machine leads to "+serverOuter.String())
	fails(named, "no network of this machine leads to nowhere.example.com")

	s.ok(s.client.Link("eth0", true))
	fails(named, "cannot find the address of nowhere.example.com")
}
