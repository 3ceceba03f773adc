//go:build linux

package lab

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// office makes the router a server for handshakes at 198.51.100.254, which has the office's certificate for clients in
// the first network, and another one of the same name and issuer for those in the second, as a network that lies has. It
// returns the policy's entry.
func (s *site) office() string {
	s.t.Helper()
	ca := newAuthority(s.t, "office CA")
	load := func() tls.Certificate {
		c := ca.server("office.example.test")
		cert, err := tls.X509KeyPair([]byte(c.Cert), []byte(c.Key))
		s.ok(err)
		return cert
	}
	good, evil := load(), load()
	l, err := s.between.Listen("tcp", "198.51.100.254:8443")
	s.ok(err)
	l = tls.NewListener(l, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if strings.HasPrefix(hello.Conn.RemoteAddr().String(), "192.168.10.") {
			return &good, nil
		}
		return &evil, nil
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(soon))
			_ = c.(*tls.Conn).Handshake() // who it is the client judges
			_ = c.Close()
		}
	}()
	s.t.Cleanup(func() { l.Close(); <-done })
	sum := sha256.Sum256(good.Certificate[0])
	return fmt.Sprintf(`{"url": "https://198.51.100.254:8443", "cert_sha256": %q}`, hex.EncodeToString(sum[:]))
}

// TestTrustedNetworks: in the network whose server has the right certificate nothing connects by itself, and elsewhere it
// does, also where a server of that name has another one. The way back is found past the closed guard of a tunnel that takes
// everything, which no other program passes.
func TestTrustedNetworks(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	s := newGuardSite(t)
	p := newPKI(t)
	s.endpointUp(s.yaml(p, "", endpointConfig{Full: true, Rules: append(vpcRules(), "0.0.0.0/0"), Routes: []string{"0.0.0.0/0"}}))
	entry := s.office()
	put := func(name, text string) {
		t.Helper()
		s.ok(s.client.Do(func() error {
			return errors.Join(os.MkdirAll("/etc/adit/profiles", 0o755), os.WriteFile("/etc/adit/"+name, []byte(text), 0o644))
		}))
	}
	put("profiles/corp.ovpn", clientProfile(p, "udp", "plain", ""))
	put("policy.json", `{"AutoConnect": "corp", "AlwaysOn": true, "TrustedNetworks": [`+entry+`]}`)
	before := s.system()
	service := s.aditd()
	inOffice := func() bool { return strings.Contains(s.adit("status"), "trusted network: https://198.51.100.254:8443") }
	away := func() bool { return s.statusOf("corp").State == api.Connected }

	s.until(soon, "the office is known", inOffice)
	time.Sleep(3 * time.Second)
	if out := s.adit("status"); !strings.Contains(out, "no tunnels") {
		t.Errorf("in the office: %s", out)
	}
	s.same("in the office", before, s.system())

	s.moveTo(1)
	s.until(soon, "it connects elsewhere", away)
	s.reaches(s.client, none, hostAddr)
	if inOffice() {
		t.Error("another certificate is trusted")
	}
	if c, err := s.client.Dial("tcp", "198.51.100.254:8443", time.Second); err == nil {
		c.Close()
		t.Error("every program passes the guard")
	}
	s.fails(s.client, "keeps corp connected", bin(t, "adit"), "disconnect", "corp")

	s.moveTo(0)
	s.until(soon, "the office is known again", inOffice)
	s.until(soon, "the tunnel has ended", func() bool { return strings.Contains(s.adit("status"), "no tunnels") })
	s.settled("back in the office", before)

	// A person may connect there, and end it.
	s.adit("connect", "corp", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	time.Sleep(3 * time.Second)
	if !away() || !inOffice() {
		t.Errorf("a person's tunnel: %s", s.adit("status"))
	}
	s.adit("disconnect", "corp")
	s.settled("after a person's tunnel", before)

	// Killed elsewhere, and started in the office: the guard that was left closed opens once the office is known.
	s.moveTo(1)
	s.until(soon, "it connects elsewhere again", away)
	service.Stop(syscall.SIGKILL, soon)
	s.moveTo(0)
	s.aditd()
	s.until(soon, "the office is known after a crash", inOffice)
	s.settled("after a crash", before)
}
