//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
)

// joined is a connected cell, seen from outside.
type joined struct {
	facts          func() string // what a peer says was agreed upon
	exporter       func() bool   // whether the keys come from it
	renegotiations func() int    // so far
	leave          func()        // the client goes, cleanly
	noticed        func() bool   // the server saw it
	left           func()        // what else must be true after it
	server         *Proc
	client         *Proc   // openvpn or aditd
	openvpn        []*Proc // those of them that are openvpn
}

// connectCell starts both peers. key is for a wrap with one; those of
// tls-crypt-v2 are made anew.
func connectCell(s *site, p pki, key string, c cell) joined {
	s.t.Helper()
	k := wrapKeys{key, key}
	if c.Wrap == "tls-crypt-v2" {
		k = s.v2Keys()
	}
	switch c.Peers {
	case aditToOpenVPN:
		return s.aditToOpenVPN(p, k, c)
	case openVPNToAdit:
		return s.openVPNToEndpoint(p, k, c)
	case openVPNToOpenVPN:
		return s.openVPNToOpenVPN(p, k, c)
	default:
		return s.aditToEndpoint(p, k, c)
	}
}

// wrapKeys are the two ends' keys of the control channel's protection.
type wrapKeys struct{ server, client string }

// v2Keys lets openvpn make a server's tls-crypt-v2 key and one client's.
func (s *site) v2Keys() wrapKeys {
	s.t.Helper()
	server := s.write(s.server, "v2-server.key", "")
	client := s.write(s.server, "v2-client.key", "")
	s.run(s.server, "openvpn", "--genkey", "tls-crypt-v2-server", server)
	s.run(s.server, "openvpn", "--tls-crypt-v2", server, "--genkey", "tls-crypt-v2-client", client)
	return wrapKeys{s.read(server), s.read(client)}
}

// noEMS is an OpenSSL configuration without Extended Master Secret, under which
// TLS 1.2 has no exporter that Go would use.
const noEMS = `openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Options = -ExtendedMasterSecret
MaxProtocol = TLSv1.2
`

// fragmentSize is the largest UDP payload of cells with fragment.
const fragmentSize = 1200

// server is where a cell's client finds the server.
func (c cell) server() netip.Addr {
	if c.Outside == "v6" {
		return serverOuter6
	}
	return serverOuter
}

// clientCiphers say in the words of openvpn 2.minor which ciphers a cell's client
// offers. A client that negotiates would rather have another one than the server.
func (c cell) clientCiphers(minor int) []string {
	list := "AES-128-GCM:AES-256-GCM"
	if c.cipher() != "AES-256-GCM" {
		list += ":" + c.cipher()
	}
	switch {
	case c.NCP == "ncp" && minor < 5:
		return []string{"ncp-ciphers " + list, "cipher " + c.cipher()}
	case c.NCP == "ncp":
		return []string{"data-ciphers " + list}
	case c.NCP == "no-ncp" && minor < 6:
		return []string{"ncp-disable", "cipher " + c.cipher()}
	case c.NCP == "no-ncp": // the option is gone; this leaves the client with its own idea
		return []string{"data-ciphers " + c.cipher(), "data-ciphers-fallback " + c.cipher(), `pull-filter ignore "cipher "`}
	}
	return []string{"data-ciphers " + c.cipher()}
}

// serverCiphers are the same for openvpn's server.
func (c cell) serverCiphers(minor int) []string {
	list := c.cipher()
	if c.NCP == "ncp" {
		list += ":AES-128-GCM"
	}
	switch {
	case c.NCP == "no-ncp" && minor < 6:
		return []string{"ncp-disable", "cipher " + c.cipher()}
	case c.NCP == "no-ncp": // so that it, too, expects that cipher in the client's options string
		return []string{"data-ciphers " + list, "data-ciphers-fallback " + c.cipher()}
	case minor < 5:
		return []string{"ncp-ciphers " + list, "cipher " + c.cipher()}
	}
	return []string{"data-ciphers " + list}
}

// newest stands for a version of openvpn that knows every option.
const newest = 99

// clientLines are a cell's options in the profile of our client, or of openvpn 2.minor.
func (c cell) clientLines(minor int) (lines []string) {
	add := func(l ...string) { lines = append(lines, l...) }
	add(c.clientCiphers(minor)...)
	if c.digest() != "" {
		add("auth " + c.digest())
	}
	if c.Framing == "comp-lzo" { // in both files, as pfSense writes it; stub-v2 is pushed
		add("comp-lzo no")
	}
	if c.Fragment == "fragment" {
		add(fmt.Sprint("fragment ", fragmentSize))
	}
	return lines
}

// openvpnServer is the configuration of an openvpn server with the site's VPC behind.
func openvpnServer(s *site, p pki, key string, c cell, more ...string) string {
	s.t.Helper()
	s.ok(s.server.Forward())
	s.ok(s.host.Route("", serverInner.String()))
	s.ok(s.host.Route("::/0", serverInner6.String()))
	s.write(s.server, "ca.crt", p.ca)
	s.write(s.server, "server.crt", p.server.Cert)
	s.write(s.server, "server.key", p.server.Key)
	s.write(s.server, "ta.key", key)
	lines := []string{
		"dev tun", "setenv opt disable-dco", fmt.Sprint("port ", port),
		"server 10.8.0.0 255.255.255.0", "server-ipv6 fd00:8::/64",
		`push "route 10.0.0.0 255.255.0.0"`, `push "route-ipv6 fd00:a::/64"`,
		"ca ca.crt", "cert server.crt", "key server.key", "dh none",
		"keepalive 1 20", "verb 4",
	}
	add := func(l ...string) { lines = append(lines, l...) }
	family := map[string]string{"v6": "6"}[c.Outside]
	if c.Transport == "tcp" {
		add("proto tcp" + family + "-server")
	} else {
		add("proto udp"+family, "explicit-exit-notify 1")
	}
	switch c.Wrap {
	case "tls-auth":
		add("tls-auth ta.key 0")
	case "tls-crypt", "tls-crypt-v2":
		add(c.Wrap + " ta.key")
	}
	add(c.serverCiphers(openvpnMinor())...)
	if c.digest() != "" {
		add("auth " + c.digest())
	}
	if c.Topology == "" {
		c.Topology = "subnet"
	}
	add("topology " + c.Topology)
	if c.Topology == "p2p" { // the one topology for which openvpn pushes no way to its own address
		add(`push "route 10.8.0.1"`)
	}
	switch c.Framing {
	case "comp-lzo":
		add("comp-lzo no")
	case "stub-v2":
		add("compress stub-v2", `push "compress stub-v2"`)
	}
	if c.Fragment == "fragment" {
		add(fmt.Sprint("fragment ", fragmentSize))
	}
	return strings.Join(append(lines, more...), "\n") + "\n"
}

// cellProfile is a cell's profile for the client that it has.
func cellProfile(p pki, k wrapKeys, c cell, more ...string) string {
	lines := c.clientLines(newest)
	if c.Peers == openVPNToAdit || c.Peers == openVPNToOpenVPN {
		lines = append(c.clientLines(openvpnMinor()), "setenv opt disable-dco")
	}
	text := clientProfile(p, c.Transport, c.Wrap, k.client, append(lines, more...)...)
	return strings.Replace(text, "remote "+serverOuter.String(), "remote "+c.server().String(), 1)
}

// cellYAML is a cell's configuration of our endpoint.
func (s *site) cellYAML(p pki, k wrapKeys, c cell) string {
	s.t.Helper()
	e := endpointConfig{Transport: c.Transport, Wrap: c.Wrap, Ciphers: c.cipher(), Keys: c.Keys, Rules: vpcRules()}
	if c.Outside == "v6" {
		e.Listen = "[::]:1194"
	}
	add := func(line string) { e.More += line + "\n" }
	if c.NCP != "" {
		e.Ciphers += ", AES-128-GCM"
	}
	if c.NCP == "no-ncp" {
		add("data_ciphers_fallback: " + c.cipher())
	}
	if c.digest() != "" {
		add("auth: " + c.digest())
	}
	if c.Topology != "" && c.Topology != "subnet" {
		add("topology: " + c.Topology)
	}
	switch c.Framing {
	case "comp-lzo":
		add("compress: lzo-no")
	case "stub-v2":
		add("compress: stub-v2")
	}
	if c.Fragment == "fragment" {
		add(fmt.Sprint("fragment: ", fragmentSize))
	}
	return s.yaml(p, k.server, e)
}

var (
	exitSeen   = regexp.MustCompile(`remote-exit|Delayed exit|Exit message received|client-instance (exiting|restarting)`)
	handshakes = regexp.MustCompile(`Control Channel: TLSv1`)
	pushedEKM  = regexp.MustCompile(`PUSH_REPLY.*tls-ekm`)
)

// openvpnUp starts a cell's openvpn server.
func (s *site) openvpnUp(p pki, k wrapKeys, c cell, more ...string) *Proc {
	s.t.Helper()
	var env []string
	if c.Keys == "prf" {
		env = append(env, "OPENSSL_CONF="+s.write(s.server, "openssl.cnf", noEMS))
	}
	server := s.openvpn(s.server, openvpnServer(s, p, k.server, c, more...), env...)
	s.ok(server.WaitFor("Initialization Sequence Completed", soon))
	return server
}

// openvpnJoin starts openvpn's client of a cell.
func (s *site) openvpnJoin(p pki, k wrapKeys, c cell, more ...string) *Proc {
	s.t.Helper()
	more = append([]string{"verb 4", fmt.Sprint("reneg-sec ", renegotiate)}, more...)
	if c.Transport == "udp" {
		more = append(more, "explicit-exit-notify 1")
	}
	client := s.openvpn(s.client, cellProfile(p, k, c, more...))
	s.ok(client.WaitFor("Initialization Sequence Completed", soon))
	return client
}

// aditToOpenVPN connects our client to openvpn's server. Renegotiations come from
// the server with one cipher, from us with the others.
func (s *site) aditToOpenVPN(p pki, k wrapKeys, c cell) joined {
	s.t.Helper()
	fromServer, fromClient := fmt.Sprint("reneg-sec ", renegotiate), "reneg-sec 0"
	if c.Cipher != "AES-256-GCM" {
		fromServer, fromClient = "reneg-sec 0", fmt.Sprint("reneg-sec ", renegotiate)
	}
	server := s.openvpnUp(p, k, c, append(talkative(s.server), fromServer)...)
	service := s.aditd()
	lines := []string{fromClient}
	if c.Transport == "udp" && openvpnMinor() < 6 { // no EXIT over the control channel
		lines = append(lines, "explicit-exit-notify 1")
	}
	s.connect(cellProfile(p, k, c, lines...))
	s.hush(s.server)
	return joined{
		server: server, client: service, openvpn: []*Proc{server},
		facts:          server.Out.String,
		exporter:       func() bool { return pushedEKM.MatchString(server.Out.String()) },
		renegotiations: func() int { return strings.Count(service.Out.String(), "renegotiation=true") },
		leave:          func() { s.adit("disconnect", "lab") },
		noticed:        func() bool { return exitSeen.MatchString(server.Out.String()) },
		left:           s.noTunnel,
	}
}

// openVPNToOpenVPN connects openvpn with itself.
func (s *site) openVPNToOpenVPN(p pki, k wrapKeys, c cell) joined {
	s.t.Helper()
	server := s.openvpnUp(p, k, c, append(talkative(s.server), "reneg-sec 0")...)
	client := s.openvpnJoin(p, k, c, talkative(s.client)...)
	s.hush(s.server)
	s.hush(s.client)
	return joined{
		server: server, client: client, openvpn: []*Proc{server, client},
		facts:          server.Out.String,
		exporter:       func() bool { return pushedEKM.MatchString(server.Out.String()) },
		renegotiations: func() int { return len(handshakes.FindAllString(client.Out.String(), -1)) - 1 },
		leave:          func() { s.ok(client.Cmd.Process.Signal(syscall.SIGTERM)) },
		noticed:        func() bool { return exitSeen.MatchString(server.Out.String()) },
		left:           func() { s.terminate(client) },
	}
}

// openVPNToEndpoint connects openvpn's client to our endpoint.
func (s *site) openVPNToEndpoint(p pki, k wrapKeys, c cell) joined {
	s.t.Helper()
	server := s.endpointUp(s.cellYAML(p, k, c))
	client := s.openvpnJoin(p, k, c, talkative(s.client)...)
	s.hush(s.client)
	return joined{
		server: server, client: client, openvpn: []*Proc{client},
		facts:          client.Out.String,
		exporter:       func() bool { return pushedEKM.MatchString(client.Out.String()) },
		renegotiations: func() int { return len(handshakes.FindAllString(client.Out.String(), -1)) - 1 },
		leave:          func() { s.ok(client.Cmd.Process.Signal(syscall.SIGTERM)) },
		noticed:        func() bool { return len(s.connections()) == 0 },
		left:           func() { s.terminate(client) },
	}
}

// aditToEndpoint connects our client to our endpoint.
func (s *site) aditToEndpoint(p pki, k wrapKeys, c cell) joined {
	s.t.Helper()
	server := s.endpointUp(s.cellYAML(p, k, c))
	service := s.aditd()
	s.connect(cellProfile(p, k, c, fmt.Sprint("reneg-sec ", renegotiate)))
	return joined{
		server: server, client: service,
		facts:          service.Out.String,
		exporter:       func() bool { return strings.Contains(service.Out.String(), "keys_by_exporter=true") },
		renegotiations: func() int { return strings.Count(service.Out.String(), "renegotiation=true") },
		leave:          func() { s.adit("disconnect", "lab") },
		noticed:        func() bool { return len(s.connections()) == 0 },
		left:           s.noTunnel,
	}
}

// noTunnel demands that no tunnel is left in the client.
func (s *site) noTunnel() {
	s.t.Helper()
	if four, six := s.tunnelAddrs(s.client); four.IsValid() || six.IsValid() {
		s.t.Errorf("the tunnel's device is left behind, with %v and %v", four, six)
	}
}
