//go:build linux

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMssfix: our client makes TCP segments exactly as large as openvpn's does with
// the same line.
func TestMssfix(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	if openvpnMinor() < 6 {
		t.Skip("older ones count otherwise")
	}
	tests := []struct {
		cell  cell
		lines []string // of both ends; the server's has no mssfix
		line  string
	}{
		{cell{Transport: "udp", Cipher: "AES-256-GCM"}, nil, ""},
		{cell{Transport: "tcp", Cipher: "AES-256-GCM"}, nil, ""},
		{cell{Transport: "udp", Cipher: "AES-256-GCM", Outside: "v6"}, nil, "mssfix"},
		{cell{Transport: "tcp", Cipher: "AES-256-GCM"}, nil, "mssfix 1300"},
		{cell{Transport: "udp", Cipher: "AES-256-GCM", Framing: "comp-lzo"}, nil, "mssfix 1300 mtu"},
		{cell{Transport: "udp", Cipher: "AES-256-GCM"}, nil, "mssfix 1300 fixed"},
		{cell{Transport: "udp", Cipher: "AES-256-GCM"}, nil, "mssfix 0"},
		{cell{Transport: "udp", Cipher: "AES-256-CBC+SHA256"}, nil, "mssfix 1301"},
		{cell{Transport: "udp", Cipher: "AES-256-GCM"}, []string{"tun-mtu 1400"}, ""},
		{cell{Transport: "udp", Cipher: "AES-256-GCM"}, []string{"fragment 1300"}, ""},
	}
	for _, c := range tests {
		name := strings.Join(append(c.lines, c.cell.Transport, c.cell.Outside, c.cell.Cipher, c.line), ",")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := newPKI(t)
			c.cell.Wrap, c.cell.Peers = "plain", aditToOpenVPN
			k := wrapKeys{}
			server := s.openvpn(s.server, openvpnServer(s, p, staticKey(), c.cell, append(c.lines, "mssfix 0", "duplicate-cn")...))
			s.ok(server.WaitFor("Initialization Sequence Completed", soon))
			lines := append(c.lines, c.line)

			theirs := c.cell
			theirs.Peers = openVPNToOpenVPN
			client := s.openvpn(s.client, cellProfile(p, k, theirs, lines...))
			s.ok(client.WaitFor("Initialization Sequence Completed", soon))
			want := s.segment()
			s.terminate(client)

			s.aditd()
			s.connect(cellProfile(p, k, c.cell, lines...))
			if c.cell.Transport == "udp" && c.line != "mssfix 0" && c.lines == nil || slices.Contains(c.lines, "tun-mtu 1400") {
				s.until(soon, "the client knows what the path carries", func() bool { return s.status().Tunnel.PathMTU > 0 })
			}
			if got := s.segment(); got != want {
				t.Errorf("segments of %d bytes, openvpn's have %d", got, want)
			}
			if off := c.line == "mssfix 0"; off != (want > 1440) {
				t.Errorf("openvpn's segments have %d bytes", want)
			}
		})
	}
}

// segment is the size of TCP segments from the host behind the server to the client.
func (s *site) segment() (size int) {
	s.t.Helper()
	l, err := s.host.Listen("tcp", netip.AddrPortFrom(hostAddr, 5001).String())
	s.ok(err)
	defer l.Close()
	accepted := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			size, err = segmentOf(c.(*net.TCPConn))
			c.Close()
		}
		accepted <- err
	}()
	c, err := s.client.Dial("tcp", netip.AddrPortFrom(hostAddr, 5001).String(), 5*time.Second)
	s.ok(err)
	defer c.Close()
	s.ok(<-accepted)
	return size
}

func segmentOf(c *net.TCPConn) (size int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			size = int(info.Snd_mss)
		}
	})
	if err != nil || cerr != nil {
		return 0, fmt.Errorf("TCP_INFO: %w %v", err, cerr)
	}
	return size, nil
}
