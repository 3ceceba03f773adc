//go:build linux

package lab

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Both ends tell each other their options in a string (OCC). openvpn compares it with what it expects of
// a peer of its own kind, and complains about each difference: from verb 7 on only, at which it
// also writes several lines about each packet. So it is loud until the tunnel is up.

// talkative are the lines of an openvpn that is loud until hush.
func talkative(n *Node) []string {
	return []string{"verb 7", "management " + managementSocket(n) + " unix"}
}

func managementSocket(n *Node) string { return filepath.Join(n.Dir, "management.sock") }

// hush sets the usual verbosity.
func (s *site) hush(n *Node) {
	s.t.Helper()
	c, err := net.Dial("unix", managementSocket(n))
	s.ok(err)
	defer c.Close()
	s.ok(c.SetDeadline(time.Now().Add(soon)))
	_, err = c.Write([]byte("verb 4\n"))
	s.ok(err)
	var said strings.Builder
	for buf := make([]byte, 4096); !strings.Contains(said.String(), "SUCCESS: verb"); {
		n, err := c.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			s.t.Fatalf("openvpn's management: %v after %q", err, said.String())
		}
	}
}

// complaint is what openvpn says of one option.
var complaint = regexp.MustCompile(`WARNING: '([^']*)' is (?:used inconsistently|present in|missing in).*`)

// checkOptionsStrings demands that the openvpn in a cell found our options as it expects them. One
// difference is meant, and shows that openvpn looked: compression framing that the server pushes is
// not in the client's file. Ours is the string of 2.6: older ones do not expect that, nor each other's.
func (l joined) checkOptionsStrings(t *testing.T, c cell) {
	t.Helper()
	if openvpnMinor() < 6 {
		return
	}
	for _, p := range l.openvpn {
		found := map[string]bool{}
		for _, m := range complaint.FindAllStringSubmatch(p.Out.String(), -1) {
			if found[m[1]] = true; m[1] != "comp-lzo" || c.Framing != "stub-v2" {
				t.Errorf("openvpn says: %s", m[0])
			}
		}
		if c.Framing == "stub-v2" && !found["comp-lzo"] {
			t.Error("openvpn says nothing about the framing that is pushed: it did not compare")
		}
	}
}
