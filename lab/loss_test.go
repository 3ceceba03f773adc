//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// TestLoss: one packet in fifty is lost, in both directions, while the keys are
// renegotiated. The stream slows down, but it goes on.
func TestLoss(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, peers := range []string{aditToEndpoint, aditToOpenVPN, openVPNToAdit} {
		t.Run(peers, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			l := connectCell(s, newPKI(t), staticKey(), cell{Peers: peers, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM", Keys: "exporter"})
			s.reaches(s.client, none, hostAddr)
			for _, n := range []*Node{s.client, s.server} {
				s.ok(n.Loss(50))
			}
			st, err := startStream(s.client, s.host, netip.AddrPortFrom(hostAddr, 5001))
			s.ok(err)
			time.Sleep(streamDuration)
			flows, err := st.end()
			if err != nil {
				t.Error(err)
			}
			for _, f := range flows {
				if least := int64(streamDuration/streamPace) * streamRecord / 4; f.Bytes < least || f.MaxGap > 5*time.Second {
					t.Errorf("%d bytes, longest gap %v", f.Bytes, f.MaxGap)
				}
			}
			// A lost first packet is repeated after two seconds: the second key may come late.
			s.until(soon, "two renegotiations", func() bool { return l.renegotiations() >= 2 })
		})
	}
}

// TestCut: the wire is cut for 15 s, once under the server's ping-restart, which
// the session survives, and once under a shorter one of the profile, after which
// the client comes back by itself. Meanwhile nothing leaves beside the tunnel.
func TestCut(t *testing.T) {
	t.Parallel()
	needs(t)
	const outage = 15 * time.Second
	for _, c := range []struct {
		name, lines string
		reconnects  bool
	}{
		{"survives", "", false},
		{"reconnects", "pull-filter ignore ping\nping 1\nping-restart 5\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpointUp(w.worldYAML(true, []string{"0.0.0.0/0"}, []string{"0.0.0.0/0", "10.1.0.0/16"}))
			service := w.aditd()
			exported := w.endpointCmd("export", "--client", "client", "--config", w.server.Dir+"/endpoint.yaml")
			before := w.system()
			w.adit("import", w.write(w.client, "lab.ovpn", c.lines+exported))
			w.adit("connect", "lab", "--timeout", "20s")
			w.seen(webAddr, endpointSeen)

			w.ok(w.router.Link("eth0", false))
			time.Sleep(outage)
			st := w.status()
			if want := map[bool]api.State{false: api.Connected, true: api.Reconnecting}[c.reconnects]; st.State != want {
				t.Errorf("during the outage the client is %s, expected %s", st.State, want)
			}
			if table := w.routesOf(w.client); !strings.Contains(table, " 128.0.0.0/1 via <nil> dev "+st.Tunnel.Device) {
				t.Errorf("during the outage the tunnel has lost its routes:\n%s", table)
			}
			w.ok(w.router.Link("eth0", true))
			back := time.Now()
			w.until(soon, "packets pass again", func() bool { return w.seenAs(webAddr) == endpointSeen })
			t.Logf("packets pass %v after the end of the outage", time.Since(back).Round(time.Millisecond))
			w.until(atOnce, "the client says so", func() bool { return w.status().State == api.Connected })
			if n := strings.Count(service.Out.String(), "msg=connected"); (n > 1) != c.reconnects {
				t.Errorf("connected %d times", n)
			}
			w.adit("disconnect", "lab")
			w.same("after the outage", before, w.system())
		})
	}
}

// TestOuterIPv6 connects over IPv6, both transports, ours and openvpn's client.
func TestOuterIPv6(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := newPKI(t)
			s.endpointUp(s.yaml(p, "", endpointConfig{Listen: fmt.Sprintf("[%s]:%d", serverOuter6, port), Transport: transport, Rules: vpcRules(), Full: true}))
			profile := strings.Replace(clientProfile(p, transport, "plain", "", "disable-dco"),
				fmt.Sprintf("proto %s\nremote %s", transport, serverOuter), fmt.Sprintf("proto %s6\nremote %s", transport, serverOuter6), 1)
			s.ok(s.client.Route("::/0", serverOuter6.String()))
			s.aditd()
			before := s.system()
			s.connect(profile)
			s.reaches(s.client, none, hostAddr)
			s.reaches(s.client, none, hostAddr6)
			if st := s.status(); st.Server.Address != serverOuter6.String() {
				t.Errorf("the server is %s", st.Server.Address)
			}
			s.adit("disconnect", "lab")
			s.same("after the connection", before, s.system())

			client := s.openvpn(s.client, profile)
			s.ok(client.WaitFor("Initialization Sequence Completed", soon))
			s.reaches(s.client, none, hostAddr)
			s.reaches(s.client, none, hostAddr6)
			s.terminate(client)
		})
	}
}
