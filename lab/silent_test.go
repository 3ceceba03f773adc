//go:build linux

package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/framing"
)

// What docs/endpoint.md promises about handshakes that nobody finishes.
const (
	silentClients = 1000     // of each transport
	silentHalf    = 700      // of them go half the way
	silentBound   = 48 << 20 // bytes of memory that all of them may cost
)

// TestSilentHandshakes: a thousand clients begin and do not go on, some after the first packet or none, some
// in the middle of TLS. They cost the endpoint a bounded amount of memory, a live client feels nothing
// of them, and another one gets in.
func TestSilentHandshakes(t *testing.T) {
	t.Parallel()
	needs(t)
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			second := s.secondClient()
			var sources []netip.Addr // of the silent ones
			var addrs []string
			for i := range 50 {
				a := netip.AddrFrom4([4]byte{198, 51, 101, byte(100 + i)})
				sources, addrs = append(sources, a), append(addrs, a.String()+"/24")
			}
			s.ok(second.Do(func() error { return configure("eth0", addrs) }))
			p := newPKI(t)
			c := cell{Peers: aditToEndpoint, Transport: transport, Wrap: "plain", Cipher: "AES-256-GCM", NCP: "ncp"}
			server := s.endpointUp(s.cellYAML(p, wrapKeys{}, c))
			s.aditd()
			s.connect(cellProfile(p, wrapKeys{}, c))
			s.reaches(s.client, none, hostAddr)
			was := s.connections()
			st, err := startStream(s.client, s.host, netip.AddrPortFrom(hostAddr, 5001))
			s.ok(err)

			pid := server.Cmd.Process.Pid
			s.ok(os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)) // the peak begins anew (proc(5))
			before := s.memory(pid, "VmHWM")
			for _, conn := range s.silent(second, transport, sources) {
				defer conn.Close()
			}
			grown := s.memory(pid, "VmHWM") - before
			if n := strings.Count(server.Out.String(), "handshake started"); n < silentHalf {
				t.Errorf("%d handshakes were begun: this test proves nothing", n)
			}
			t.Logf("%d silent clients cost %d KiB at most, from %d KiB", silentClients, grown>>10, before>>10)
			if grown > silentBound {
				t.Errorf("%d silent clients cost %d bytes, expected %d at most", silentClients, grown, silentBound)
			}

			flows, err := st.end()
			if err != nil {
				t.Errorf("the TCP connection of the live client: %v", err)
			}
			for i, f := range flows {
				t.Logf("direction %d stood still for %v, its sender for %v", i, f.MaxGap, f.Late)
				if f.Bytes == 0 || f.MaxGap > longestStall+2*f.Late {
					t.Errorf("direction %d of the live client carried %d bytes and stood still for %v (its sender for %v)", i, f.Bytes, f.MaxGap, f.Late)
				}
			}
			if now := s.connections(); len(now) != 1 || now[0].ID != was[0].ID {
				t.Errorf("the endpoint had %+v and has %+v", was, now)
			}
			s.adit("disconnect", "lab")
			s.adit("connect", "lab", "--timeout", "30s")
			s.reaches(s.client, none, hostAddr)
		})
	}
}

// memory is a number of a process's status, in bytes (proc(5)).
func (s *site) memory(pid int, field string) (n int64) {
	s.t.Helper()
	status := s.read(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(status) {
		if _, err := fmt.Sscanf(line, field+": %d kB", &n); err == nil {
			return n << 10
		}
	}
	s.t.Fatalf("no %s of process %d", field, pid)
	return 0
}

// silent begins handshakes in n, from all of the addresses, and leaves them as they are.
func (s *site) silent(n *Node, transport string, from []netip.Addr) (conns []net.Conn) {
	s.t.Helper()
	begun := make(chan error, silentClients)
	slots := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i := range silentClients {
		conn, err := s.dialFrom(n, transport, from[i%len(from)])
		s.ok(err)
		conns = append(conns, conn)
		slots <- struct{}{}
		all.Go(func() {
			packets := i % 2 // for the last ones: the endpoint answers few who do not go on
			if i < silentHalf {
				packets = 4
			}
			begun <- beginHandshake(conn, transport == "tcp", packets)
			<-slots
		})
	}
	all.Wait()
	for range silentClients {
		s.ok(<-begun)
	}
	return conns
}

// dialFrom connects to the server with this source.
func (s *site) dialFrom(n *Node, transport string, from netip.Addr) (c net.Conn, err error) {
	d := net.Dialer{Timeout: soon}
	to := netip.AddrPortFrom(serverOuter, port).String()
	if d.LocalAddr = net.Addr(&net.UDPAddr{IP: from.AsSlice()}); transport == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	err = n.Do(func() error { c, err = d.Dial(transport, to); return err })
	return c, err
}

// beginHandshake sends the first packets of a handshake, as far as the server answers, and no more.
func beginHandshake(conn net.Conn, stream bool, packets int) error {
	s, err := ovpn.New(time.Now(), ovpn.Config{Role: ovpn.Client, TLS: &tls.Config{InsecureSkipVerify: true}, Ciphers: ovpn.DefaultCiphers(), Stream: stream})
	if err != nil {
		return err
	}
	defer s.Abort()
	in := framing.NewReader(conn)
	for buf := make([]byte, 4096); ; {
		for p := s.NextPacket(time.Now()); p != nil && packets > 0; p = s.NextPacket(time.Now()) {
			if packets--; stream {
				p = framing.Append(nil, p)
			}
			if _, err := conn.Write(p); err != nil {
				return nil // it has been turned away, as it may be
			}
		}
		if packets == 0 {
			return nil
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		got := [][]byte{buf}
		if stream {
			got, err = in.ReadBatch(make([][]byte, 0, 16))
		} else {
			var k int
			k, err = conn.Read(buf)
			got[0] = buf[:k]
		}
		if err != nil {
			return nil
		}
		for _, p := range got {
			if err := s.Handle(time.Now(), append([]byte(nil), p...)); err != nil && !errors.Is(err, ovpn.ErrDropped) {
				return err
			}
		}
	}
}
