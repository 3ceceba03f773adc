//go:build linux

package lab

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// TestInactive: a client leaves by itself, behind its closed guard, when the server told it to after a time
// without traffic, or after a time without a sign of life.
func TestInactive(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	t.Run("inactive", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		p, c := newPKI(t), cell{Peers: aditToOpenVPN, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM"}
		server := s.openvpn(s.server, openvpnServer(s, p, staticKey(), c, `push "inactive 4 1000"`))
		s.ok(server.WaitFor("Initialization Sequence Completed", soon))
		s.aditd()
		s.connect(cellProfile(p, wrapKeys{}, c))
		for began := time.Now(); time.Since(began) < 7*time.Second; time.Sleep(100 * time.Millisecond) {
			s.reaches(s.client, none, hostAddr)
		}
		s.until(soon, "the idle client leaves", func() bool { return s.statusOf("lab").State == api.Blocked })
		s.until(atOnce, "the server notices", func() bool { return exitSeen.MatchString(server.Out.String()) })
		s.noTunnel()
	})
	t.Run("ping-exit", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		p, c := newPKI(t), cell{Peers: aditToOpenVPN, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM"}
		config := strings.Replace(openvpnServer(s, p, staticKey(), c), "keepalive 1 20\n", "ping 1\nping-restart 20\npush \"ping 1\"\npush \"ping-exit 3\"\n", 1)
		server := s.openvpn(s.server, config)
		s.ok(server.WaitFor("Initialization Sequence Completed", soon))
		s.aditd()
		s.connect(cellProfile(p, wrapKeys{}, c))
		time.Sleep(5 * time.Second)
		if st := s.status(); st.State != api.Connected {
			t.Fatalf("the client of a server that pings is %s", st.State)
		}
		server.Stop(syscall.SIGKILL, soon) // the error is that it was killed
		s.until(soon, "the client leaves", func() bool { return s.statusOf("lab").State == api.Blocked })
		s.noTunnel()
	})
	for _, line := range []string{"inactive 4 1000", "ping-exit 3"} {
		t.Run("openvpn "+line, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p, c := newPKI(t), cell{Peers: openVPNToAdit, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM"}
			server := s.endpointUp(s.cellYAML(p, wrapKeys{}, c))
			client := s.openvpn(s.client, cellProfile(p, wrapKeys{}, c, "pull-filter ignore ping", "ping 1", line, "explicit-exit-notify 1"))
			s.ok(client.WaitFor("Initialization Sequence Completed", soon))
			ended := func() bool {
				select {
				case <-client.Done():
					return true
				default:
					return false
				}
			}
			if strings.HasPrefix(line, "ping-exit") {
				time.Sleep(5 * time.Second)
				if ended() {
					t.Fatal("the endpoint's pings did not come in time")
				}
				server.Stop(syscall.SIGKILL, soon) // the error is that it was killed
				s.until(soon, fmt.Sprint("openvpn ends by ", line), ended)
				return
			}
			for began := time.Now(); time.Since(began) < 7*time.Second; time.Sleep(100 * time.Millisecond) {
				s.reaches(s.client, none, hostAddr)
			}
			s.until(soon, fmt.Sprint("openvpn ends by ", line), ended)
			s.until(atOnce, "the endpoint notices", func() bool { return len(s.connections()) == 0 })
		})
	}
}
