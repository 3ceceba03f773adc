//go:build linux

package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/endpoint"
)

// site is the network of most tests:
//
//	client ---------- server ---------- host
//	198.51.100.2      .1 | 10.0.0.5      10.0.0.10     (VPC 10.0.0.0/16)
//	2001:db8:1::2    ::1 | fd00:a::5     fd00:a::10
//
// The client knows nothing of the VPC. Both wires' devices are eth0 and eth1 on
// the server, eth0 elsewhere.
type site struct {
	t                    *testing.T
	net                  *Net
	client, server, host *Node
	between              *Node  // the router, of those with one
	data                 string // the endpoint's data directory in the server's; data

	mu    sync.Mutex
	procs []namedProc
}

type namedProc struct {
	name string
	proc *Proc
}

var (
	serverOuter  = netip.MustParseAddr("198.51.100.1")
	serverOuter6 = netip.MustParseAddr("2001:db8:1::1")
	serverInner  = netip.MustParseAddr("10.0.0.5")
	serverInner6 = netip.MustParseAddr("fd00:a::5")
	hostAddr     = netip.MustParseAddr("10.0.0.10")
	hostAddr6    = netip.MustParseAddr("fd00:a::10")
)

const (
	port        = 1194
	soon        = 15 * time.Second // for what should take much less
	atOnce      = 2 * time.Second
	aditService = "/run/adit/aditd.sock" // each node has a /run of its own
)

// newSite builds the network and, when the test failed, shows what everybody said.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, net: newNet(t)}
	t.Cleanup(s.showLogs) // before the network is closed
	s.client, s.server, s.host = s.node("client"), s.node("server"), s.node("host")
	s.wire(s.client, "eth0", []string{"198.51.100.2/24", "2001:db8:1::2/64"}, s.server, "eth0", []string{"198.51.100.1/24", "2001:db8:1::1/64"})
	s.wire(s.server, "eth1", []string{"10.0.0.5/24", "fd00:a::5/64"}, s.host, "eth0", []string{"10.0.0.10/24", "fd00:a::10/64"})
	return s
}

// newNet makes an empty network that ends with the test.
func newNet(t *testing.T) *Net {
	t.Helper()
	dir, err := os.MkdirTemp("", "adit-lab-") // short: sockets live in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := NewNet(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func (s *site) node(name string) *Node {
	s.t.Helper()
	n, err := s.net.Node(name)
	s.ok(err)
	// Without duplicate address detection, link-local addresses are there at
	// once, so that tables can be compared exactly.
	s.ok(n.Do(func() error {
		for _, of := range []string{"all", "default"} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+of+"/accept_dad", []byte("0"), 0); err != nil {
				return err
			}
		}
		return nil
	}))
	return n
}

func (s *site) wire(a *Node, devA string, addrsA []string, b *Node, devB string, addrsB []string) {
	s.t.Helper()
	s.ok(s.net.Wire(a, devA, addrsA, b, devB, addrsB))
	for n, dev := range map[*Node]string{a: devA, b: devB} {
		s.until(soon, n.Name+" has a link-local address on "+dev, func() bool {
			table := s.routesOf(n)
			own, err := regexp.MatchString(` fe80::[0-9a-f:]+/128 via <nil> dev `+dev+` `, table)
			return err == nil && own && strings.Contains(table, " fe80::/64 via <nil> dev "+dev+" ") &&
				strings.Contains(table, " ff00::/8 via <nil> dev "+dev+" ")
		})
	}
}

func (s *site) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) showLogs() {
	if !s.t.Failed() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.procs {
		s.t.Logf("--- %s said:\n%s", p.name, tail(p.proc.Out.String(), 12000))
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// start runs a program until the test ends.
func (s *site) start(n *Node, name string, argv ...string) *Proc {
	s.t.Helper()
	p, err := n.Start(argv...)
	s.ok(err)
	s.mu.Lock()
	s.procs = append(s.procs, namedProc{n.Name + " " + name, p})
	s.mu.Unlock()
	return p
}

// run runs a program to its end, which must be a good one.
func (s *site) run(n *Node, argv ...string) string {
	s.t.Helper()
	out, err := s.try(n, argv...)
	s.ok(err)
	return out
}

// try runs a program to its end.
func (s *site) try(n *Node, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	return n.Run(ctx, argv...)
}

// write puts a file into the node's directory and returns its path.
func (s *site) write(n *Node, name, text string) string {
	s.t.Helper()
	path := filepath.Join(n.Dir, name)
	s.ok(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// read is a file's content.
func (s *site) read(path string) string {
	s.t.Helper()
	b, err := os.ReadFile(path)
	s.ok(err)
	return string(b)
}

// until asks again and again.
func (s *site) until(wait time.Duration, what string, f func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(wait)
	for !f() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s", wait, what)
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// reaches demands an answer to a ping.
func (s *site) reaches(n *Node, src, dst netip.Addr) {
	s.t.Helper()
	s.ok(ping(n, src, dst, 5*time.Second))
}

// cannotReach demands silence. Call it where reaches has shown, or will show, that the same ping can work.
func (s *site) cannotReach(n *Node, dst netip.Addr) {
	s.t.Helper()
	if ping(n, none, dst, 700*time.Millisecond) == nil {
		s.t.Fatalf("%s reaches %s", n.Name, dst)
	}
}

// routesOf is the node's routes and rules, one a line.
func (s *site) routesOf(n *Node) string {
	s.t.Helper()
	lines, err := n.Routes()
	s.ok(err)
	return strings.Join(lines, "\n")
}

// resolvConf is the node's /etc/resolv.conf.
func (s *site) resolvConf(n *Node) string {
	s.t.Helper()
	var b []byte
	s.ok(n.Do(func() (err error) { b, err = os.ReadFile("/etc/resolv.conf"); return err }))
	return string(b)
}

// tunnelAddrs are the addresses on a node's tun devices but the link-local ones.
func (s *site) tunnelAddrs(n *Node) (four, six netip.Addr) {
	s.t.Helper()
	s.ok(n.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Type() != "tuntap" {
				continue
			}
			addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			for _, a := range addrs {
				ip, _ := netip.AddrFromSlice(a.IP)
				switch ip = ip.Unmap(); {
				case ip.Is4():
					four = ip
				case !ip.IsLinkLocalUnicast():
					six = ip
				}
			}
		}
		return nil
	}))
	return four, six
}

// Our client.

// aditd starts the service in the client node.
func (s *site) aditd(more ...string) *Proc {
	s.t.Helper()
	p := s.start(s.client, "aditd", append([]string{bin(s.t, "aditd"), "--state", s.stateDir()}, more...)...)
	s.ok(p.WaitFor("listening", soon))
	return p
}

func (s *site) stateDir() string { return filepath.Join(s.client.Dir, "state") }

// adit runs the command in the client node.
func (s *site) adit(args ...string) string {
	s.t.Helper()
	return s.run(s.client, append([]string{bin(s.t, "adit")}, args...)...)
}

// connect imports a profile under the name lab and connects.
func (s *site) connect(profile string) {
	s.t.Helper()
	s.adit("import", s.write(s.client, "lab.ovpn", profile), "--replace")
	s.adit("connect", "lab", "--timeout", "20s")
}

// status is the client's only connection.
func (s *site) status() api.Connection {
	s.t.Helper()
	var st api.Status
	s.ok(json.Unmarshal([]byte(s.adit("status", "--json")), &st))
	if len(st.Connections) != 1 {
		s.t.Fatalf("%d connections", len(st.Connections))
	}
	return st.Connections[0]
}

// statusOf is the connection of one profile; the zero one if there is none.
func (s *site) statusOf(profile string) api.Connection {
	s.t.Helper()
	var st api.Status
	s.ok(json.Unmarshal([]byte(s.adit("status", "--json")), &st))
	for _, c := range st.Connections {
		if c.Profile == profile {
			return c
		}
	}
	return api.Connection{State: api.Disconnected}
}

// Our endpoint.

// endpointUp starts an endpoint with this configuration in the server node.
func (s *site) endpointUp(config string) *Proc {
	s.t.Helper()
	file := s.write(s.server, "endpoint.yaml", config)
	p := s.start(s.server, "adit-endpoint", bin(s.t, "adit-endpoint"), "up", "-v", "--config", file)
	s.ok(p.WaitFor("listening on", soon))
	return p
}

func (s *site) dataDir() string { return filepath.Join(s.server.Dir, cmp.Or(s.data, "data")) }

// endpointCmd asks the running endpoint.
func (s *site) endpointCmd(args ...string) string {
	s.t.Helper()
	return s.run(s.server, append([]string{bin(s.t, "adit-endpoint"), "--data", s.dataDir()}, args...)...)
}

// connections are the endpoint's clients.
func (s *site) connections() (list []endpoint.Connection) {
	s.t.Helper()
	s.ok(json.Unmarshal([]byte(s.endpointCmd("connections", "--json")), &list))
	return list
}

// pki is what both ends need to trust one another.
type pki struct {
	ca             string
	server, client pair
}

func newPKI(t *testing.T) pki {
	ca := newAuthority(t, "lab CA")
	return pki{ca.PEM, ca.server("lab server"), ca.client("alice")}
}

// endpointConfig is a configuration in parts.
type endpointConfig struct {
	Listen, Transport, Wrap, Ciphers, Keys string
	Full                                   bool
	CIDR                                   string // of the VPC, default 10.0.0.0/16
	Rules, Routes                          []string
	More                                   string // further lines
}

// yaml writes the configuration and the files it names for the server node.
func (s *site) yaml(p pki, wrapKey string, c endpointConfig) string {
	s.t.Helper()
	s.write(s.server, "ca.crt", p.ca)
	s.write(s.server, "server.crt", p.server.Cert)
	s.write(s.server, "server.key", p.server.Key)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	orElse := func(v, other string) string {
		if v == "" {
			return other
		}
		return v
	}
	line("data: %s", s.dataDir())
	line("listen: %q", orElse(c.Listen, "0.0.0.0:1194"))
	line("remote: {host: %s, port: %d}", serverOuter, port)
	line("network: kernel")
	line("transport: %s", orElse(c.Transport, "udp"))
	line("client_cidr: 10.64.0.0/22")
	line("client_cidr_v6: fd64::/64")
	line("split_tunnel: %t", !c.Full)
	line("server_certificate: {cert: server.crt, key: server.key}")
	line("authentication: [{mutual: {ca: ca.crt}}]")
	if c.Wrap != "" && c.Wrap != "plain" {
		s.write(s.server, "ta.key", wrapKey)
		line("control_wrap: {type: %s, key: ta.key}", c.Wrap)
	}
	if c.Ciphers != "" {
		line("ciphers: [%s]", c.Ciphers)
	}
	if c.Keys == "prf" {
		line("key_derivation: prf")
	}
	line("networks: [{vpc: vpc-a, cidr: %s, cidr_v6: \"fd00:a::/64\", subnets: [{id: subnet-a, cidr: 10.0.0.0/24, zone: a, address: 10.0.0.5, interface: eth1}]}]",
		orElse(c.CIDR, "10.0.0.0/16"))
	line("associations: [{subnet: subnet-a}]")
	if len(c.Routes) > 0 {
		line("routes:")
		for _, r := range c.Routes {
			line("  - {destination: %q, target: subnet-a}", r)
		}
	}
	if len(c.Rules) > 0 {
		line("authorization_rules:")
		for _, r := range c.Rules {
			line("  - {cidr: %q, all: true}", r)
		}
	}
	return b.String() + c.More
}

// vpcRules let everybody into the VPC.
func vpcRules() []string { return []string{"10.0.0.0/16", "fd00:a::/64"} }

// clientProfile is an .ovpn for either client.
func clientProfile(p pki, transport, wrap, wrapKey string, more ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "client\ndev tun\nproto %s\nremote %s %d\nnobind\nremote-cert-tls server\nverb 3\n", transport, serverOuter, port)
	for _, m := range more {
		b.WriteString(m + "\n")
	}
	block := func(tag, text string) { fmt.Fprintf(&b, "<%s>\n%s</%s>\n", tag, text, tag) }
	block("ca", p.ca)
	block("cert", p.client.Cert)
	block("key", p.client.Key)
	switch wrap {
	case "tls-auth":
		b.WriteString("key-direction 1\n")
		block("tls-auth", wrapKey)
	case "tls-crypt", "tls-crypt-v2":
		block(wrap, wrapKey)
	}
	return b.String()
}

// openvpnProgram is the openvpn under test: ADIT_LAB_OPENVPN, or the system's.
func openvpnProgram() string {
	if p := os.Getenv("ADIT_LAB_OPENVPN"); p != "" {
		return p
	}
	return "openvpn"
}

// openvpnMinor is the minor number of its version, which is 2.something.
var openvpnMinor = sync.OnceValue(func() (minor int) {
	out, _ := exec.Command(openvpnProgram(), "--version").Output() // it exits with 1
	if _, err := fmt.Sscanf(string(out), "OpenVPN 2.%d", &minor); err != nil {
		panic(fmt.Sprintf("%s --version: %v: %s", openvpnProgram(), err, out))
	}
	return minor
})

// openvpn runs openvpn with this configuration.
func (s *site) openvpn(n *Node, config string, env ...string) *Proc {
	s.t.Helper()
	file := s.write(n, "openvpn.conf", config)
	argv := append([]string{"/usr/bin/env"}, env...)
	return s.start(n, "openvpn", append(argv, openvpnProgram(), "--config", file)...)
}

// terminate ends a program as an init system would.
func (s *site) terminate(p *Proc) {
	s.t.Helper()
	if err := p.Stop(syscall.SIGTERM, soon); err != nil {
		s.t.Errorf("stop: %v", err)
	}
}

// none lets the system choose a source address.
var none netip.Addr
