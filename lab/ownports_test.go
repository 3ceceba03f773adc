//go:build linux

package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestOwnPorts: what the endpoint's process answers is not for those who come through its tunnels, though their network has the
// machine's address: not the metrics, which ask nobody who he is, and not the API. Other services of the machine are reached.
func TestOwnPorts(t *testing.T) {
	t.Parallel()
	needs(t)
	for _, kind := range []string{"kernel", "userspace"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := newPKI(t)
			s.write(s.server, "secret", "a secret of the lab\n")
			text := s.yaml(p, "", endpointConfig{Rules: vpcRules(), More: `metrics: {listen: "10.0.0.5:9180"}
api: {listen: "10.0.0.5:8700", keys: [{id: AKIDLAB, secret_file: secret}], tls: {cert: server.crt, key: server.key}}
`})
			s.endpointUp(strings.Replace(text, "network: kernel", "network: "+kind, 1))
			s.mirror(s.server, serverInner)
			s.aditd()
			s.connect(clientProfile(p, "udp", "plain", ""))
			if s.seenAs(serverInner) == "" {
				t.Fatal("another service of the machine does not answer")
			}
			for _, port := range []uint16{9180, 8700} {
				at := netip.AddrPortFrom(serverInner, port).String()
				if c, err := s.client.Dial("tcp", at, 1500*time.Millisecond); err == nil {
					c.Close()
					t.Errorf("%s answers a client", at)
				}
				c, err := s.host.Dial("tcp", at, soon)
				s.ok(err)
				c.Close()
			}
		})
	}
}
