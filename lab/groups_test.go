//go:build linux

package lab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestW0SecurityGroups is step 5 of the article "Client VPN explained", in both kinds of network: the groups of the association
// decide what clients begin, and a target's own group admits the association's address.
func TestW0SecurityGroups(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	for _, kind := range []string{"kernel", "userspace"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			with := func(egress string) string {
				text := w.worldYAML(true, nil, []string{"10.1.0.0/16"})
				for from, to := range map[string]string{
					"network: kernel":      "network: " + kind,
					"subnets: [":           "security_groups: [{id: sg-web, egress: [" + egress + "]}], subnets: [",
					"{subnet: subnet-a}":   "{subnet: subnet-a, security_groups: [sg-web]}",
					"client_cidr_v6: fd64": "# fd64",
				} {
					if !strings.Contains(text, from) {
						t.Fatalf("no %q in %s", from, text)
					}
					text = strings.Replace(text, from, to, 1)
				}
				return text
			}
			change := func(egress string) {
				t.Helper()
				if out := w.reload(with(egress)); !strings.Contains(out, "0 sessions reset") {
					t.Fatalf("reload: %s", out)
				}
			}
			w.endpointUp(with("{protocol: tcp, ports: 80, cidr: 10.1.0.0/16}"))
			w.aditd()
			w.importOwn()
			w.adit("connect", "lab", "--timeout", "20s")
			w.seen(worldHost, endpointSeen)
			w.cannotReach(w.client, worldHost)

			// A long connection outlives the rule that it began under; nothing new begins.
			change("{protocol: tcp, ports: 5000-5002, cidr: 10.1.0.10/32}")
			st, err := startStream(w.client, w.host, netip.AddrPortFrom(worldHost, 5001))
			w.ok(err)
			w.seen(worldHost, "")
			change("{protocol: icmp, cidr: 0.0.0.0/0}")
			w.seen(worldHost, "")
			w.reaches(w.client, none, worldHost)
			if _, err := st.end(); err != nil {
				t.Errorf("the open connection: %v", err)
			}
			change("{protocol: all, cidr: 0.0.0.0/0}")
			w.seen(worldHost, endpointSeen)

			// The target's side: its group admits one address, which has to be the association's.
			admit := func(addr string) {
				w.run(w.host, "nft", "flush ruleset; table inet sg { chain in { type filter hook input priority 0; policy drop; ct state established accept; ip saddr "+addr+" accept; }; }")
			}
			admit("10.1.0.6")
			w.seen(worldHost, "")
			w.cannotReach(w.client, worldHost)
			admit(endpointSeen)
			w.seen(worldHost, endpointSeen)
			w.reaches(w.client, none, worldHost)
			if st := w.status(); st.State != api.Connected {
				t.Errorf("the client is %s", st.State)
			}
			if list := w.connections(); len(list) != 1 {
				t.Errorf("connections: %+v", list)
			}
		})
	}
}
