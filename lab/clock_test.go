//go:build linux

package lab

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

// TestWrongClock: a server's certificate that begins days after what this machine's clock says is the clock's fault, and
// the message says so. The real openvpn serves it without a word.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	ca := newAuthority(t, "lab CA")
	p := pki{ca.PEM, ca.issue("lab server", x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().AddDate(0, 1, 0), time.Now().AddDate(1, 0, 0)
	}), ca.client("alice")}
	c := cell{Peers: aditToOpenVPN, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM"}
	s.openvpnUp(p, wrapKeys{}, c)
	s.aditd()
	s.adit("import", s.write(s.client, "lab.ovpn", cellProfile(p, wrapKeys{}, c)))
	out, err := s.try(s.client, bin(t, "adit"), "connect", "lab", "--timeout", "10s")
	if err == nil || !strings.Contains(out, "this machine's clock seems wrong: it says "+time.Now().Format("2006-01-02")) {
		t.Errorf("connect says: %v %s", err, out)
	}
}
