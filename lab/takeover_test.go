//go:build linux

package lab

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint"
)

// TestTakeOver: a client of our endpoint is killed and starts again, while another one, with the same
// certificate, carries a TCP connection. Who says which machine it is has its old address at
// once, who does not has it after the silence at which a client gives up. The other one goes on.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, tt := range []struct {
		name   string
		lines  []string      // of the client that is killed
		others []string      // of the other one
		away   time.Duration // how long
		same   bool          // the address
	}{
		{"named", []string{"push-peer-info", "setenv UV_ID laptop"}, []string{"push-peer-info", "setenv UV_ID desk"}, 0, true},
		{"hardware", []string{"push-peer-info"}, []string{"push-peer-info"}, 0, true},
		{"nameless", nil, nil, 0, false},
		{"nameless, late", nil, nil, 22 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			second := s.secondClient()
			p, key := newPKI(t), staticKey()
			c := cell{Peers: aditToEndpoint, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM", NCP: "ncp"}
			server := s.endpointUp(s.cellYAML(p, wrapKeys{key, key}, c))
			theirs := c
			theirs.Peers = openVPNToAdit
			other := s.openvpn(second, cellProfile(p, wrapKeys{key, key}, theirs, append(tt.others, "verb 4")...))
			s.ok(other.WaitFor("Initialization Sequence Completed", soon))
			st, err := startStream(second, s.host, netip.AddrPortFrom(hostAddr, 5001))
			s.ok(err)

			service := s.aditd()
			s.connect(cellProfile(p, wrapKeys{key, key}, c, tt.lines...))
			s.reaches(s.client, none, hostAddr)
			was, _ := s.tunnelAddrs(s.client)
			service.Stop(syscall.SIGKILL, soon) // the error is that it was killed
			time.Sleep(tt.away)
			if n := len(s.connections()); n != 2 {
				t.Fatalf("%d connections: the endpoint knows that the client is gone", n)
			}
			s.aditd() // and its wish
			s.until(soon, "the client is connected again", s.passes)
			if now, _ := s.tunnelAddrs(s.client); (now == was) != tt.same {
				t.Errorf("the address was %v and is %v", was, now)
			}
			if came := strings.Contains(server.Out.String(), "client came back"); came != tt.same {
				t.Errorf("the endpoint says that a client came back: %t", came)
			}
			s.reaches(second, none, hostAddr)
			flows, err := st.end()
			if err != nil {
				t.Errorf("the other client's TCP connection: %v", err)
			}
			for i, f := range flows {
				if f.Bytes == 0 || f.MaxGap > longestStall+2*f.Late {
					t.Errorf("the other client's direction %d carried %d bytes and stood still for %v (its sender for %v)", i, f.Bytes, f.MaxGap, f.Late)
				}
			}
			s.terminate(other)
		})
	}
}

// TestSiblingStalls: a client whose network stands still while another signs in with the same
// certificate keeps its session, and its TCP connection.
func TestSiblingStalls(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	second := s.secondClient()
	p, key := newPKI(t), staticKey()
	c := cell{Peers: aditToEndpoint, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM", NCP: "ncp"}
	server := s.endpointUp(s.cellYAML(p, wrapKeys{key, key}, c))
	theirs := c
	theirs.Peers = openVPNToAdit
	other := s.openvpn(second, cellProfile(p, wrapKeys{key, key}, theirs, "verb 4"))
	s.ok(other.WaitFor("Initialization Sequence Completed", soon))
	st, err := startStream(second, s.host, netip.AddrPortFrom(hostAddr, 5001))
	s.ok(err)
	was := s.connections()

	s.ok(s.server.Link("eth2", false))
	time.Sleep(5 * time.Second)
	s.aditd()
	s.connect(cellProfile(p, wrapKeys{key, key}, c))
	s.reaches(s.client, none, hostAddr)
	s.cannotReach(second, hostAddr)
	s.ok(s.server.Link("eth2", true))
	s.reaches(second, none, hostAddr)
	time.Sleep(5 * time.Second) // TCP's own patience
	flows, err := st.end()
	if err != nil {
		t.Errorf("the TCP connection: %v", err)
	}
	if gap := max(flows[0].MaxGap, flows[1].MaxGap); gap < 5*time.Second {
		t.Errorf("it stood still for %v: this test proves nothing", gap)
	}
	now := s.connections()
	if len(now) != 2 || len(was) != 1 || !slices.ContainsFunc(now, func(c endpoint.Connection) bool { return c.ID == was[0].ID && c.Address == was[0].Address }) {
		t.Errorf("the endpoint had %+v and has %+v", was, now)
	}
	if strings.Contains(server.Out.String(), "client came back") {
		t.Error("the endpoint took one client for the other")
	}
	s.terminate(other)
}
