//go:build linux

package lab

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// restarts are the peers whose server dies or ends in these tests.
func restarts() []cell {
	return []cell{
		{Peers: aditToEndpoint, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"},
		{Peers: aditToEndpoint, Transport: "tcp", Wrap: "plain", Cipher: "AES-256-GCM"},
		{Peers: aditToOpenVPN, Transport: "udp", Wrap: "tls-auth", Cipher: "AES-256-GCM"},
		{Peers: aditToOpenVPN, Transport: "tcp", Wrap: "tls-crypt", Cipher: "CHACHA20-POLY1305"},
		{Peers: openVPNToAdit, Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"},
		{Peers: openVPNToAdit, Transport: "tcp", Wrap: "tls-auth", Cipher: "AES-256-GCM"},
	}
}

// pinging are the lines of a client that finds out soon that a server is gone.
func pinging() []string { return []string{"pull-filter ignore ping", "ping 1", "ping-restart 4"} }

// restartable starts a cell's peers and returns what starts the server (again),
// the first of its processes, and what says whether the client is connected.
func (s *site) restartable(c cell, clientLines ...string) (up func() *Proc, first *Proc, connected func() bool) {
	s.t.Helper()
	p, key := newPKI(s.t), staticKey()
	k := wrapKeys{key, key}
	up = func() *Proc { return s.endpointUp(s.cellYAML(p, k, c)) }
	if c.Peers == aditToOpenVPN {
		config := openvpnServer(s, p, key, c)
		up = func() *Proc {
			server := s.openvpn(s.server, config)
			s.ok(server.WaitFor("Initialization Sequence Completed", soon))
			return server
		}
	}
	first = up()
	if c.Peers == openVPNToAdit {
		client := s.openvpn(s.client, cellProfile(p, k, c, append(clientLines, "verb 4", "connect-retry 1 2")...))
		s.ok(client.WaitFor("Initialization Sequence Completed", soon))
		connected = func() bool {
			select {
			case <-client.Done():
				return false
			default:
				return len(s.connections()) == 1
			}
		}
	} else {
		s.aditd()
		s.connect(cellProfile(p, k, c, clientLines...))
		connected = func() bool { return s.status().State == api.Connected }
	}
	s.reaches(s.client, none, hostAddr)
	return up, first, connected
}

// passes is whether packets pass the tunnel.
func (s *site) passes() bool { return ping(s.client, none, hostAddr, 300*time.Millisecond) == nil }

// TestServerRestarts: the server dies without a word and is started again; the
// client finds out by the server's silence, and comes back by itself.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, c := range restarts() {
		t.Run(c.Peers+"/"+c.Transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			up, server, connected := s.restartable(c, pinging()...)
			before := s.routesOf(s.server)
			server.Stop(syscall.SIGKILL, soon) // the error is that it was killed
			s.cannotReach(s.client, hostAddr)
			up()
			s.until(2*soon, "packets pass again", s.passes)
			if !connected() {
				t.Error("the client is not connected")
			}
			if c.Peers != aditToOpenVPN {
				if n := len(s.connections()); n != 1 {
					t.Errorf("the endpoint has %d connections", n)
				}
				more, gone := added(before, s.routesOf(s.server))
				if len(more) > 1 || len(gone) > 1 { // the tunnel's link-local address is a new one
					t.Errorf("the endpoint's machine after kill -9 and restart:\nmore %q\ngone %q", more, gone)
				}
			}
		})
	}
}

// TestServerGone: the server is away for so long that the client has failed to
// reach it more than once: a minute with ADIT_LAB=full.
func TestServerGone(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	away := 12 * time.Second
	if os.Getenv("ADIT_LAB") == "full" {
		away = time.Minute
	}
	for _, c := range restarts() {
		if c.Peers == aditToEndpoint && c.Transport == "tcp" {
			continue // as the other two
		}
		t.Run(c.Peers+"/"+c.Transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			up, server, connected := s.restartable(c, append(pinging(), "connect-timeout 3")...)
			four, _ := s.tunnelAddrs(s.client)
			server.Stop(syscall.SIGKILL, soon) // the error is that it was killed
			time.Sleep(away)
			if c.Peers != openVPNToAdit {
				if st := s.status(); st.State != api.Reconnecting {
					t.Errorf("the client is %s while the server is away", st.State)
				}
				if now, _ := s.tunnelAddrs(s.client); now != four {
					t.Errorf("the tunnel had the address %v and has %v while the server is away", four, now)
				}
			}
			up()
			s.until(2*soon, "packets pass again", s.passes)
			if !connected() {
				t.Error("the client is not connected")
			}
		})
	}
}

// TestServerLeaves: the server ends in order and says so; nobody waits for a timeout.
func TestServerLeaves(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, c := range restarts() {
		t.Run(c.Peers+"/"+c.Transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			// With the server's keepalive of 20 s the client would not notice in this test.
			up, server, connected := s.restartable(c, "pull-filter ignore ping", "ping 5", "ping-restart 60")
			left := time.Now()
			s.ok(server.Cmd.Process.Signal(syscall.SIGTERM))
			<-server.Done()
			up()
			s.until(soon, "packets pass again", s.passes)
			t.Logf("after %v", time.Since(left).Round(10*time.Millisecond))
			if !connected() {
				t.Error("the client is not connected")
			}
		})
	}
}
