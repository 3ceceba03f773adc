//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"regexp"
	"testing"
)

// marks counts what leaves n for addr and port, with the mark 77 and without it.
func (s *site) marks(n *Node, protocol string, to netip.AddrPort) (count func() (marked, plain string)) {
	s.t.Helper()
	s.run(n, "nft", fmt.Sprintf(`table inet lab {
	counter marked { }
	counter plain { }
	chain out {
		type filter hook output priority 0;
		ip daddr %s %s dport %d meta mark 77 counter name marked accept
		ip daddr %s %s dport %d counter name plain
	}
}`, to.Addr(), protocol, to.Port(), to.Addr(), protocol, to.Port()))
	packets := func(name string) string {
		m := regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(s.run(n, "nft", "list", "counter", "inet", "lab", name))
		if m == nil {
			s.t.Fatalf("nft does not show counter %s", name)
		}
		return m[1]
	}
	return func() (string, string) { return packets("marked"), packets("plain") }
}

// TestMark: every packet to the server, or to the proxy in front of it, has the profile's
// mark, from the first one on: firewall and routing rules can tell them.
func TestMark(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn", "openssl", "nft")
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s, p, key := newSite(t), newPKI(t), staticKey()
			c := cell{Peers: aditToOpenVPN, Transport: transport, Wrap: "tls-crypt", Cipher: "AES-256-GCM"}
			s.openvpnUp(p, wrapKeys{key, key}, c)
			count := s.marks(s.client, transport, netip.AddrPortFrom(serverOuter, 1194))
			s.aditd()
			s.connect(cellProfile(p, wrapKeys{key, key}, c, "mark 77"))
			s.reaches(s.client, none, hostAddr)
			if marked, plain := count(); marked == "0" || plain != "0" {
				t.Errorf("%s packets have the mark, %s have not", marked, plain)
			}
		})
	}
	for kind, port := range map[string]uint16{"http": squidOpen, "socks": danteOpen} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			needsProxies(t)
			x := newProxied(t, "tcp")
			if kind == "http" {
				x.squid()
			} else {
				x.dante()
			}
			count := x.marks(x.client, "tcp", netip.AddrPortFrom(proxyAddr, port))
			x.aditd()
			x.connect(x.profile(fmt.Sprintf("%s-proxy %s %d", kind, proxyAddr, port), "mark 77"))
			x.reaches(x.client, none, hostAddr)
			if marked, plain := count(); marked == "0" || plain != "0" {
				t.Errorf("%s packets have the mark, %s have not", marked, plain)
			}
		})
	}
}
