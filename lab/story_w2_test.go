//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/client/api"
)

// sites is the network of W2. The wire is the internet, with its web server 192.0.2.80; vpc is the router of 172.30.0.0/16.
//
//	client ------ wire ------ server ------ vpc ------ vgw
//	192.168.10.2   |  | 203.0.113.1   172.30.0.5  .1   172.30.2.2
//	               |  +-------- 198.18.1.1 --+          |
//	               +-------------- 198.18.2.1 ----------+
//	               +-- 198.18.3.1 onprem 10.20.0.1 ---- host 10.20.0.10
type sites struct {
	*site
	middle, vpc, vgw, onprem *Node
}

var premisesAddr = netip.MustParseAddr("10.20.0.10") // of the host

func newSites(t *testing.T) *sites {
	t.Helper()
	s := &site{t: t, net: newNet(t), data: "adit-endpoint-data"}
	t.Cleanup(s.showLogs)
	s.client, s.server, s.host = s.node("client"), s.node("server"), s.node("host")
	w := &sites{site: s, middle: s.node("wire"), vpc: s.node("vpc"), vgw: s.node("vgw"), onprem: s.node("onprem")}
	s.wire(s.client, "eth0", []string{"192.168.10.2/24"}, w.middle, "eth0", []string{"192.168.10.1/24"})
	s.wire(s.server, "eth0", []string{"203.0.113.1/24"}, w.middle, "eth1", []string{"203.0.113.254/24"})
	s.wire(w.vgw, "eth1", []string{"198.18.2.1/30"}, w.middle, "eth2", []string{"198.18.2.2/30"})
	s.wire(w.onprem, "eth0", []string{"198.18.3.1/30"}, w.middle, "eth3", []string{"198.18.3.2/30"})
	s.wire(w.vpc, "eth1", []string{"198.18.1.1/30"}, w.middle, "eth4", []string{"198.18.1.2/30"})
	s.wire(s.server, "eth1", []string{"172.30.0.5/24"}, w.vpc, "eth0", []string{"172.30.0.1/24"})
	s.wire(w.vgw, "eth0", []string{"172.30.2.2/30"}, w.vpc, "eth2", []string{"172.30.2.1/30"})
	s.wire(w.onprem, "eth1", []string{"10.20.0.1/16"}, s.host, "eth0", []string{"10.20.0.10/16"})
	s.ok(w.middle.Do(func() error { return configure("lo", []string{"192.0.2.80/32"}) }))
	for _, n := range []*Node{w.middle, w.vpc, w.vgw, w.onprem} {
		s.ok(n.Forward())
	}
	for _, r := range []struct {
		n        *Node
		dst, via string
	}{
		{s.client, "", "192.168.10.1"},
		{s.server, "192.168.0.0/16", "203.0.113.254"},
		{s.server, "", "172.30.0.1"},
		{w.vpc, "", "198.18.1.2"},
		{w.vpc, "10.0.0.0/8", "172.30.2.2"},
		{w.middle, "172.30.0.0/16", "198.18.1.1"},
		{w.vgw, "", "198.18.2.2"},
		{w.vgw, "172.30.0.0/16", "172.30.2.1"},
		{w.onprem, "", "198.18.3.2"},
		{s.host, "", "10.20.0.1"},
	} {
		s.ok(r.n.Route(r.dst, r.via))
	}
	return w
}

// charon starts strongSwan in a node, with ESP in its own process over a TUN device (kernel-libipsec), as the kernel's
// may be missing. What it reads and makes is in the node's own /etc and /run.
func (s *site) charon(n *Node) {
	s.t.Helper()
	s.ok(n.Do(func() error {
		return os.WriteFile("/etc/strongswan.conf", []byte(`charon-systemd {
  load = random nonce aes sha1 sha2 hmac kdf gcm openssl curve25519 pem pkcs1 pkcs8 x509 pubkey constraints kernel-libipsec kernel-netlink socket-default updown vici
  plugins {
    kernel-libipsec {
      load = yes
    }
  }
  filelog {
    stderr {
      default = 1
    }
  }
}
swanctl {
  load = pem pkcs1 pkcs8 x509 pubkey openssl random
}
`), 0o644)
	}))
	s.start(n, "charon", "/usr/sbin/charon-systemd")
	s.until(soon, "strongSwan runs", func() bool {
		return n.Do(func() error { return unix.Access("/run/charon.vici", unix.F_OK) }) == nil
	})
}

// sshd starts an SSH server in a node, which lets root in with the key of the client. Its /root is of its own.
func (s *site) sshd(n *Node, addr netip.Addr) (options string) {
	s.t.Helper()
	key, known := filepath.Join(s.client.Dir, "id"), filepath.Join(s.client.Dir, "known_hosts")
	s.run(s.client, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	s.ok(n.Do(func() error {
		if err := unix.Mount("tmpfs", "/root", "tmpfs", 0, "mode=700"); err != nil {
			return err
		}
		return errors.Join(os.Mkdir("/root/.ssh", 0o700), os.WriteFile("/root/.ssh/authorized_keys", []byte(s.read(key+".pub")), 0o600))
	}))
	hostKey := filepath.Join(n.Dir, "host_key")
	s.run(n, "dropbearkey", "-t", "ed25519", "-f", hostKey)
	s.start(n, "dropbear", "/usr/sbin/dropbear", "-F", "-E", "-r", hostKey, "-p", netip.AddrPortFrom(addr, 22).String(), "-P", filepath.Join(n.Dir, "dropbear.pid"))
	return fmt.Sprintf("-F /dev/null -i %s -l root -o BatchMode=yes -o LogLevel=error -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=%s", key, known)
}

// TestW2 is the article "Private connection basics" by its page: a network behind an IPsec tunnel that ends beside the endpoint
// is reached as if it were local, nothing of it is in the clear outside, and the longest match decides the way.
func TestW2(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "ip", "ping", "ssh", "ssh-keygen", "dropbearkey", "traceroute", "tcpdump", "/usr/sbin/charon-systemd", "/usr/sbin/swanctl", "/usr/sbin/dropbear")
	w := newSites(t)
	w.mirror(w.middle, webAddr)
	w.mirror(w.host, premisesAddr)
	options := w.sshd(w.host, premisesAddr)
	w.charon(w.vgw)
	w.charon(w.onprem)
	w.aditd()
	before := w.system()

	p := w.page("behind-ipsec.md", map[string]*Node{"client": w.client, "endpoint": w.server, "wire": w.middle, "vgw": w.vgw, "onprem": w.onprem})
	captures := []string{"tcpdump -i eth0", "tcpdump -i eth2", "tcpdump -i eth1"}
	p.Stays = append([]string{"adit-endpoint up"}, captures...)
	p.Swap = [][2]string{{"scp ", "cp "}, {"client:", w.client.Dir + "/"}, {"ssh ", "ssh " + options + " "}}
	p.section("1. The tunnel between the sites")
	p.section("2. The endpoint")
	p.section("3. As if it were local")
	p.section("4. What others see")
	seen := func(n *Node, file, what string) bool {
		return strings.Contains(w.read(filepath.Join(n.Dir, file)), what)
	}
	w.until(soon, "the captures have everything", func() bool {
		return seen(w.middle, "laptop.pcap", "in-the-clear") && seen(w.middle, "gateways.pcap", "in-the-clear") && seen(w.onprem, "inside.pcap", "between-us")
	})
	for _, c := range captures {
		p.end(c)
	}
	p.section("5. What they saw")
	p.section("6. The internet, too")
	w.until(soon, "the client is back, with the default route", func() bool {
		st := w.status()
		return st.State == api.Connected && slices.ContainsFunc(st.Routes, func(r api.Route) bool { return r.Destination.Bits() <= 1 })
	})
	p.section("7. The longest match")
	w.same("at the end", before, w.system())
}
