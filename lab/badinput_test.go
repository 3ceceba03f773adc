//go:build linux

package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// failTimeout is the --timeout of connections that must fail.
const failTimeout = 4 * time.Second

// fails runs a program of ours that must fail: exit code 1, one "adit:" line with
// says in it, hints after it, and nothing else.
func (s *site) fails(n *Node, says string, argv ...string) string {
	s.t.Helper()
	began := time.Now()
	out, err := s.try(n, argv...)
	took := time.Since(began)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		s.t.Fatalf("%s: %v, expected exit code 1:\n%s", strings.Join(argv, " "), err, out)
	}
	causes, hints := 0, 0
	for line := range strings.Lines(out) {
		switch {
		case strings.HasPrefix(line, "adit: "), strings.HasPrefix(line, "aditd: "), strings.HasPrefix(line, "adit-endpoint: "):
			causes++
			if !strings.Contains(line, says) {
				s.t.Errorf("the cause is %q, expected %q in it", strings.TrimSpace(line), says)
			}
		case strings.HasPrefix(line, "hint: "):
			hints++
		case strings.HasPrefix(line, "note: "): // another try
		default:
			s.t.Errorf("an unexpected line: %q", line)
		}
	}
	if causes != 1 || hints == 0 {
		s.t.Errorf("%d causes and %d hints:\n%s", causes, hints, out)
	}
	if took > failTimeout+2*time.Second {
		s.t.Errorf("it took %v", took)
	}
	return out
}

// connectFails imports a profile and demands that connecting fails for this
// reason, and that nothing is left behind.
func (s *site) connectFails(profile, says string) string {
	s.t.Helper()
	before := s.system()
	s.adit("import", s.write(s.client, "lab.ovpn", profile), "--replace")
	out := s.fails(s.client, says, bin(s.t, "adit"), "connect", "lab", "--timeout", failTimeout.String())
	s.same("after the failure", before, s.system())
	if four, _ := s.tunnelAddrs(s.client); four.IsValid() {
		s.t.Error("a tunnel device is left behind")
	}
	if text := s.adit("status"); strings.Contains(text, "connecting") {
		s.t.Errorf("it still tries: %s", text)
	}
	return out
}

// TestBadServer: what is wrong is at the other end, which is openvpn.
func TestBadServer(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	good := cell{Peers: aditToOpenVPN, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM", Keys: "exporter"}
	crypt := good
	crypt.Wrap = "tls-crypt"
	stranger := newAuthority(t, "another CA")
	for _, c := range []struct {
		name, says string
		cell       cell
		server     func(ca *authority) pair // nil: a good one
		line       string                   // of the client's profile
		wrongKey   bool
		more       []string // of the server's configuration
		hint       string
	}{
		{name: "untrusted", says: "is not signed by a CA that the profile trusts", cell: good,
			server: func(*authority) pair { return stranger.server("lab server") }, hint: "<ca>"},
		{name: "expired", says: "is not valid now", cell: good,
			server: func(ca *authority) pair { return ca.issue("lab server", x509.ExtKeyUsageServerAuth, expired) }, hint: "clock"},
		{name: "usage", says: "is not made for a server", cell: good,
			server: func(ca *authority) pair { return ca.client("lab server") }, hint: "remote-cert-tls"},
		{name: "name", says: "names another server", cell: good, line: `verify-x509-name "other server" name`, hint: "verify-x509-name"},
		{name: "key", says: "no answer from 198.51.100.1:1194", cell: crypt, wrongKey: true, hint: "tls-crypt or tls-crypt-v2 key"},
		{name: "cipher", says: "no data cipher in common", cell: good, line: "data-ciphers CHACHA20-POLY1305", hint: "data-ciphers"},
		{name: "stranger", says: "the server fell silent, as some do that refuse the certificate", cell: good, more: []string{"ca stranger.crt"}, hint: "adit logs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			ca := newAuthority(t, "lab CA")
			p := pki{ca.PEM, ca.server("lab server"), ca.client("alice")}
			if c.server != nil {
				p.server = c.server(ca)
			}
			key := staticKey()
			s.write(s.server, "stranger.crt", stranger.PEM)
			server := s.openvpn(s.server, openvpnServer(s, p, key, c.cell, c.more...))
			s.ok(server.WaitFor("Initialization Sequence Completed", soon))
			if c.wrongKey {
				key = staticKey()
			}
			s.aditd()
			out := s.connectFails(clientProfile(p, "udp", c.cell.Wrap, key, c.line), c.says)
			if !strings.Contains(out, c.hint) {
				t.Errorf("the hint does not speak of %q:\n%s", c.hint, out)
			}
		})
	}
}

// TestBadEndpoint: the same between our own two ends, where the other end can say why.
func TestBadEndpoint(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	ca := newAuthority(t, "lab CA")
	p := pki{ca.PEM, ca.server("lab server"), ca.client("alice")}
	key := staticKey()
	s.endpointUp(s.yaml(p, key, endpointConfig{Wrap: "tls-auth", Ciphers: "AES-256-GCM", Rules: vpcRules()}))
	s.aditd()
	s.connectFails(clientProfile(p, "udp", "tls-auth", key, "data-ciphers CHACHA20-POLY1305"), "no data cipher in common")
	s.connectFails(clientProfile(p, "udp", "tls-auth", staticKey()), "no answer from 198.51.100.1:1194")
	s.connectFails(clientProfile(p, "udp", "tls-auth", key, `verify-x509-name "other server" name`), "names another server")
	stranger := p
	stranger.client = newAuthority(t, "another CA").client("mallory")
	s.connectFails(clientProfile(stranger, "udp", "tls-auth", key), "refuses your certificate")
	if n := len(s.connections()); n != 0 {
		t.Errorf("%d connections", n)
	}

	// The port is in use.
	other := strings.Replace(s.yaml(p, key, endpointConfig{}), s.dataDir(), filepath.Join(s.server.Dir, "data2"), 1)
	before := s.routesOf(s.server)
	s.fails(s.server, "cannot listen on 0.0.0.0:1194/udp", bin(t, "adit-endpoint"), "up", "--config", s.write(s.server, "other.yaml", other))
	s.same("after the port in use", before, s.routesOf(s.server))

	// With all that, a good profile connects.
	s.connect(clientProfile(p, "udp", "tls-auth", key))
	s.reaches(s.client, none, hostAddr)
}

// TestBadProfile: what is wrong is in the profile or on this machine.
func TestBadProfile(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	ca := newAuthority(t, "lab CA")
	p := pki{ca.PEM, ca.server("lab server"), ca.client("alice")}
	adit := bin(t, "adit")

	// The service does not run.
	file := s.write(s.client, "lab.ovpn", clientProfile(p, "udp", "plain", ""))
	s.fails(s.client, "cannot reach the service at "+aditService, adit, "import", file)
	s.fails(s.client, "cannot reach the service at "+aditService, adit, "connect", "lab")
	s.aditd()

	// A truncated certificate, a certificate with another key: import or connect may say so.
	refused := func(p pki, says string) {
		t.Helper()
		s.write(s.client, "lab.ovpn", clientProfile(p, "udp", "plain", ""))
		if out, err := s.try(s.client, adit, "import", file, "--replace"); err != nil {
			if !strings.Contains(out, "adit: ") || !strings.Contains(out, "hint: ") || !strings.Contains(out, says) {
				t.Errorf("import says %s; expected %q", out, says)
			}
			return
		}
		s.connectFails(clientProfile(p, "udp", "plain", ""), says)
	}
	bad := p
	bad.client.Cert = p.client.Cert[:len(p.client.Cert)/2] + "\n"
	refused(bad, "cert")
	bad = p
	bad.client.Key = ca.client("alice").Key
	refused(bad, "private key does not belong to its certificate")
	bad = p
	bad.client = ca.issue("alice", x509.ExtKeyUsageClientAuth, expired)
	refused(bad, "your certificate is not valid now")

	// Nobody listens; nobody is there; TCP and UDP.
	for _, transport := range []string{"udp", "tcp"} {
		good := clientProfile(p, transport, "plain", "")
		s.connectFails(good, "no answer from 198.51.100.1:1194 over "+transport)
		s.connectFails(strings.Replace(good, serverOuter.String(), "198.51.100.77", 1), "no answer from 198.51.100.77:1194 over "+transport)
	}
	s.connectFails(strings.Replace(clientProfile(p, "udp", "plain", ""), serverOuter.String(), "vpn.example.com", 1), "no network of this machine leads to vpn.example.com") // it has no default route
}

// TestTUNNotPermitted: the service may not make devices.
func TestTUNNotPermitted(t *testing.T) {
	t.Parallel()
	needs(t, "setpriv")
	s := newSite(t)
	p := newPKI(t)
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
	service := s.start(s.client, "aditd", "setpriv", "--bounding-set", "-net_admin", bin(t, "aditd"), "--state", s.stateDir())
	s.ok(service.WaitFor("listening", soon))
	out := s.connectFails(clientProfile(p, "udp", "plain", ""), "not permitted to make a tunnel device")
	if !strings.Contains(out, "CAP_NET_ADMIN") {
		t.Errorf("the hint does not name the right: %s", out)
	}
	s.terminate(service)
	s.until(atOnce, "the endpoint sees that the client left", func() bool { return len(s.connections()) == 0 })

	// The device file is hidden.
	s.ok(s.client.Do(func() error { return unix.Mount("/run", "/dev/net", "", unix.MS_BIND, "") }))
	service = s.aditd()
	s.connectFails(clientProfile(p, "udp", "plain", ""), "/dev/net/tun")
	s.ok(s.client.Do(func() error { return unix.Unmount("/dev/net", 0) }))
	s.connect(clientProfile(p, "udp", "plain", ""))
	s.reaches(s.client, none, hostAddr)
}

// TestPoolExhausted fills an endpoint's smallest client range with openvpn's
// client and ours in turn. Each address is taken by a session that only shakes hands.
func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	ca := newAuthority(t, "lab CA")
	p := pki{ca.PEM, ca.server("lab server"), ca.client("alice")}
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules(), More: "connect_freq: {sessions: 2000, seconds: 10}\n"}))
	s.aditd()
	const addresses = 32 * 29 // of a /22: slices of 32 without network, gateway and broadcast
	crowd := newCrowd(s, ca)
	defer crowd.leave()
	s.ok(crowd.join(context.Background(), addresses))
	if n := len(s.connections()); n != addresses {
		t.Fatalf("%d connections, expected %d", n, addresses)
	}
	out := s.connectFails(clientProfile(p, "udp", "plain", ""), "the server has no free address left")
	if !strings.Contains(out, "larger client address range") {
		t.Errorf("the hint: %s", out)
	}
	crowd.leave()
	s.until(3*soon, "the endpoint is empty again", func() bool { return len(s.connections()) == 0 })
	s.connect(clientProfile(p, "udp", "plain", ""))
	s.reaches(s.client, none, hostAddr)
}

// TestExits: the programs end with their codes when they are asked to end.
func TestExits(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	p := newPKI(t)
	e := s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
	service := s.aditd()
	before, beforeServer := s.system(), ""
	s.connect(clientProfile(p, "udp", "plain", ""))
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := e.Stop(sig, soon); err != nil {
			t.Errorf("adit-endpoint after %v: %v", sig, err)
		}
		after := s.routesOf(s.server)
		if beforeServer == "" {
			beforeServer = after
		}
		s.same("the endpoint's machine", beforeServer, after)
		e = s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
		s.until(soon, "the client is back", func() bool { return ping(s.client, none, hostAddr, 200*time.Millisecond) == nil })
	}
	if err := service.Stop(syscall.SIGINT, soon); err != nil {
		t.Errorf("aditd after SIGINT: %v", err)
	}
	s.same("after SIGINT", before, s.system())
	s.fails(s.client, "cannot reach the service", bin(t, "adit"), "status")
	if out, err := s.try(s.client, bin(t, "adit"), "connect"); err == nil || !strings.Contains(fmt.Sprint(err), "exit status 2") {
		t.Errorf("wrong usage: %v %s", err, out)
	}
}

// TestPoolExhaustedOpenVPN: openvpn's server has two addresses, and both are taken.
func TestPoolExhaustedOpenVPN(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	ca := newAuthority(t, "lab CA")
	p := pki{ca.PEM, ca.server("lab server"), ca.client("alice")}
	config := strings.NewReplacer("server 10.8.0.0 255.255.255.0\n", "mode server\ntls-server\nifconfig 10.8.0.1 255.255.255.0\nifconfig-pool 10.8.0.2 10.8.0.3 255.255.255.0\npush \"route-gateway 10.8.0.1\"\npush \"topology subnet\"\n",
		"server-ipv6 fd00:8::/64\n", "", "push \"route-ipv6 fd00:a::/64\"\n", "").Replace(openvpnServer(s, p, staticKey(), cell{Transport: "udp", Cipher: "AES-256-GCM"}))
	server := s.openvpn(s.server, config)
	s.ok(server.WaitFor("Initialization Sequence Completed", soon))
	first := s.node("first")
	s.wire(first, "eth0", []string{"198.51.102.2/24"}, s.server, "eth2", []string{"198.51.102.1/24"})
	for _, name := range []string{"bob", "carol"} {
		p.client = ca.client(name)
		holder := s.openvpn(first, strings.Replace(clientProfile(p, "udp", "plain", "", "disable-dco", "route-nopull"), serverOuter.String(), "198.51.102.1", 1))
		s.ok(holder.WaitFor("Initialization Sequence Completed", soon))
	}
	p.client = ca.client("alice")
	s.aditd()
	s.connectFails(clientProfile(p, "udp", "plain", ""), "the server has no free address left")
}
