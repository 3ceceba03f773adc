//go:build linux

package lab

import (
	"net/netip"
	"strings"
	"testing"
)

// TestDualStack: routes, rules, security groups and the address that the network sees, all of IPv6, beside IPv4, in both
// kinds of network.
func TestDualStack(t *testing.T) {
	t.Parallel()
	needs(t, "ip")
	const behind = "fd00:b::10"
	for _, kind := range []string{"kernel", "userspace"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			far := netip.MustParseAddr(behind)
			s.run(s.server, "ip", "address", "add", "fd00:a::6/64", "dev", "eth1", "nodad")
			s.run(s.host, "ip", "address", "add", behind+"/128", "dev", "lo", "nodad")
			s.ok(s.server.Route("fd00:b::/64", "fd00:a::10"))
			s.mirror(s.host, hostAddr)
			s.mirror(s.host, hostAddr6)
			s.mirror(s.host, far)
			p := newPKI(t)
			config := func(address6, egress string, routes, rules []string) string {
				text := s.yaml(p, "", endpointConfig{Routes: routes, Rules: rules})
				for from, to := range map[string]string{
					"network: kernel":     "network: " + kind,
					"subnets: [":          "security_groups: [{id: sg, egress: [" + egress + "]}], subnets: [",
					"address: 10.0.0.5,":  `address: 10.0.0.5, cidr_v6: "fd00:a::/64", address_v6: "` + address6 + `",`,
					"{subnet: subnet-a}]": "{subnet: subnet-a, security_groups: [sg]}]",
				} {
					if !strings.Contains(text, from) {
						t.Fatalf("no %q in %s", from, text)
					}
					text = strings.Replace(text, from, to, 1)
				}
				return text
			}
			reload := func(text string) {
				t.Helper()
				s.write(s.server, "endpoint.yaml", text)
				if out := s.endpointCmd("reload"); !strings.Contains(out, "reloaded") {
					t.Fatalf("reload: %s", out)
				}
			}
			const everything = `{protocol: all, cidr: 0.0.0.0/0}, {protocol: all, cidr: "::/0"}`
			both, all := []string{"fd00:b::/64"}, append(vpcRules(), "fd00:b::/64")
			s.endpointUp(config("fd00:a::6", everything, both, vpcRules()[:1]))
			s.aditd()
			c := cell{Peers: aditToEndpoint, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM", NCP: "ncp"}
			s.connect(cellProfile(p, wrapKeys{}, c))
			_, mine := s.tunnelAddrs(s.client)

			// A rule of IPv4 opens nothing of IPv6.
			s.seen(hostAddr, "10.0.0.5")
			s.seen(hostAddr6, "")
			// Rules without a route of their own, and with one.
			reload(config("fd00:a::6", everything, both, vpcRules()))
			s.seen(hostAddr6, "fd00:a::6")
			s.reaches(s.client, none, hostAddr6)
			s.seen(far, "")
			reload(config("fd00:a::6", everything, both, all))
			s.seen(far, "fd00:a::6")
			// Each family has rules of its own in a group, too.
			reload(config("fd00:a::6", `{protocol: tcp, ports: 80, cidr: 0.0.0.0/0}, {protocol: icmpv6, cidr: "::/0"}`, both, all))
			s.seen(hostAddr, "10.0.0.5")
			s.seen(hostAddr6, "")
			s.reaches(s.client, none, hostAddr6)
			reload(config("fd00:a::6", `{protocol: tcp, ports: 80, cidr: "fd00:b::/64"}`, both, all))
			s.seen(hostAddr, "")
			s.seen(hostAddr6, "")
			s.seen(far, "fd00:a::6")
			s.cannotReach(s.client, hostAddr6)
			if list := s.connections(); len(list) != 1 || list[0].Address6 != mine {
				t.Errorf("connections %+v, expected the address %s", list, mine)
			}
			if kind == "userspace" {
				return
			}
			// As on AWS: the network sees the clients, and has a route to them.
			s.ok(s.host.Route("fd64::/64", "fd00:a::5"))
			reload(config("client", everything, both, all))
			s.until(soon, "the network sees the client's own address", func() bool { return s.seenAs(far) == mine.String() })
			s.seen(hostAddr6, mine.String())
			s.seen(hostAddr, "10.0.0.5")
		})
	}
}
