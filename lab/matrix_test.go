//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

// cell is one combination of peers and options.
type cell struct{ Peers, Transport, Wrap, Cipher, Keys string }

func (c cell) name() string {
	return strings.Join([]string{c.Peers, c.Transport, c.Wrap, c.Cipher, c.Keys}, "/")
}

// The peers of a cell: who connects to whom.
const (
	aditToOpenVPN  = "adit-openvpn"
	openVPNToAdit  = "openvpn-endpoint"
	aditToEndpoint = "adit-endpoint"
)

// factors are the matrix's dimensions.
func factors() [][]string {
	return [][]string{
		{aditToOpenVPN, openVPNToAdit, aditToEndpoint},
		{"udp", "tcp"},
		{"plain", "tls-auth", "tls-crypt"},
		{"AES-256-GCM", "CHACHA20-POLY1305"},
		{"exporter", "prf"},
	}
}

func factorSizes() (sizes []int) {
	for _, f := range factors() {
		sizes = append(sizes, len(f))
	}
	return sizes
}

func cellOf(choice []int) cell {
	f := factors()
	return cell{f[0][choice[0]], f[1][choice[1]], f[2][choice[2]], f[3][choice[3]], f[4][choice[4]]}
}

const (
	streamDuration = 20 * time.Second // of a cell's TCP stream
	renegotiate    = 6                // seconds between renegotiations
	longestStall   = time.Second
)

// outcome is what a cell measured, for the table.
type outcome struct {
	cell    cell
	passed  bool
	renegs  int
	flows   [2]flow
	lost    int
	noticed time.Duration
}

// TestMatrix connects all pairs of peers. It runs a set of cells in which every
// two options meet; with ADIT_LAB=full all of them, and prints a table.
func TestMatrix(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	full := os.Getenv("ADIT_LAB") == "full"
	choices := pairwise(factorSizes())
	if full {
		choices = combinations(factorSizes())
	}
	var mu sync.Mutex
	var outcomes []outcome
	t.Run("cells", func(t *testing.T) {
		for _, choice := range choices {
			c := cellOf(choice)
			t.Run(c.name(), func(t *testing.T) {
				t.Parallel()
				o := outcome{cell: c}
				defer func() {
					o.passed = !t.Failed()
					mu.Lock()
					outcomes = append(outcomes, o)
					mu.Unlock()
				}()
				runCell(t, c, &o)
			})
		}
	})
	if full {
		fmt.Print(table(outcomes))
	}
}

// table lists outcomes in the matrix's order.
func table(outcomes []outcome) string {
	byCell := map[cell]outcome{}
	for _, o := range outcomes {
		byCell[o.cell] = o
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PEERS\tTRANSPORT\tWRAP\tCIPHER\tKEYS\tRESULT\tRENEGOTIATIONS\tLONGEST GAP TO SERVER\tTO CLIENT\tLOST\tEXIT NOTICED")
	passed, all := 0, combinations(factorSizes())
	for _, choice := range all {
		o, ran := byCell[cellOf(choice)]
		if !ran {
			continue
		}
		result := "FAIL"
		if o.passed {
			result = "ok"
			passed++
		}
		c := o.cell
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%v\t%v\t%d\t%v\n", c.Peers, c.Transport, c.Wrap, c.Cipher, c.Keys, result, o.renegs,
			o.flows[0].MaxGap.Round(time.Millisecond), o.flows[1].MaxGap.Round(time.Millisecond), o.lost, o.noticed.Round(time.Millisecond))
	}
	w.Flush()
	fmt.Fprintf(&b, "%d of %d cells passed\n", passed, len(all))
	return b.String()
}

// runCell connects the two peers and checks what must hold for all of them.
func runCell(t *testing.T, c cell, o *outcome) {
	s := newSite(t)
	p, key := newPKI(t), staticKey()
	l := connectCell(s, p, key, c)

	four, six := s.tunnelAddrs(s.client)
	if !four.IsValid() || !six.IsValid() {
		t.Fatalf("the client's tunnel has the addresses %v and %v", four, six)
	}
	s.reaches(s.client, none, hostAddr)
	s.reaches(s.client, none, hostAddr6)
	s.reaches(s.server, serverInner, four)
	s.reaches(s.server, serverInner6, six)
	l.checkKeys()

	st, err := startStream(s.client, s.host, netip.AddrPortFrom(hostAddr, 5001))
	s.ok(err)
	e, err := startEchoes(s.client, s.host, netip.AddrPortFrom(hostAddr, 5002))
	s.ok(err)
	time.Sleep(streamDuration)
	o.flows, err = st.end()
	if err != nil {
		t.Error(err)
	}
	sent, lost := e.end()
	if o.lost = lost; lost > 0 || sent < 1000 {
		t.Errorf("%d of %d datagrams were lost", lost, sent)
	}
	for i, direction := range []string{"to the server", "to the client"} {
		f := o.flows[i]
		if f.MaxGap > longestStall {
			t.Errorf("the stream %s stood still for %v, %v after its start", direction, f.MaxGap, f.At)
		}
		if least := int64(streamDuration/streamPace) * streamRecord / 2; f.Bytes < least {
			t.Errorf("the stream %s carried %d bytes, expected %d at least", direction, f.Bytes, least)
		}
	}
	if o.renegs = l.renegotiations(); o.renegs < 2 {
		t.Errorf("%d renegotiations during the stream", o.renegs)
	}
	left := time.Now()
	l.leave()
	s.until(atOnce, "the other side notices the exit", l.noticed)
	o.noticed = time.Since(left)
	l.left()
}

// joined is a connected cell, seen from outside.
type joined struct {
	checkKeys      func()      // the keys are derived as the cell wants
	renegotiations func() int  // so far
	leave          func()      // the client goes, cleanly
	noticed        func() bool // the server saw it
	left           func()      // what else must be true after it
}

func connectCell(s *site, p pki, key string, c cell) joined {
	s.t.Helper()
	switch c.Peers {
	case aditToOpenVPN:
		return s.aditToOpenVPN(p, key, c)
	case openVPNToAdit:
		return s.openVPNToEndpoint(p, key, c)
	default:
		return s.aditToEndpoint(p, key, c)
	}
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
		"dev tun", "topology subnet", "disable-dco", fmt.Sprint("port ", port),
		"server 10.8.0.0 255.255.255.0", "server-ipv6 fd00:8::/64",
		`push "route 10.0.0.0 255.255.0.0"`, `push "route-ipv6 fd00:a::/64"`,
		"ca ca.crt", "cert server.crt", "key server.key", "dh none",
		"keepalive 1 20", "verb 4", "data-ciphers " + c.Cipher,
	}
	if c.Transport == "tcp" {
		lines = append(lines, "proto tcp-server")
	} else {
		lines = append(lines, "proto udp", "explicit-exit-notify 1")
	}
	switch c.Wrap {
	case "tls-auth":
		lines = append(lines, "tls-auth ta.key 0")
	case "tls-crypt":
		lines = append(lines, "tls-crypt ta.key")
	}
	return strings.Join(append(lines, more...), "\n") + "\n"
}

var (
	exitSeen   = regexp.MustCompile(`remote-exit|Delayed exit|Exit message received|client-instance (exiting|restarting)`)
	handshakes = regexp.MustCompile(`Control Channel: TLSv1`)
)

// aditToOpenVPN connects our client to openvpn's server. Renegotiations come from
// the server with one cipher, from us with the other.
func (s *site) aditToOpenVPN(p pki, key string, c cell) joined {
	s.t.Helper()
	fromServer, fromClient := fmt.Sprint("reneg-sec ", renegotiate), "reneg-sec 0"
	if c.Cipher != "AES-256-GCM" {
		fromServer, fromClient = "reneg-sec 0", fmt.Sprint("reneg-sec ", renegotiate)
	}
	var env []string
	if c.Keys == "prf" {
		env = append(env, "OPENSSL_CONF="+s.write(s.server, "openssl.cnf", noEMS))
	}
	server := s.openvpn(s.server, openvpnServer(s, p, key, c, fromServer), env...)
	s.ok(server.WaitFor("Initialization Sequence Completed", soon))
	service := s.aditd()
	s.connect(clientProfile(p, c.Transport, c.Wrap, key, "data-ciphers "+c.Cipher, fromClient))
	before := s.routesBeforeTunnel()
	return joined{
		checkKeys: func() {
			exporter := regexp.MustCompile(`SENT CONTROL.*PUSH_REPLY.*tls-ekm`).MatchString(server.Out.String())
			if exporter != (c.Keys == "exporter") {
				s.t.Errorf("the exporter is in use: %t", exporter)
			}
		},
		renegotiations: func() int { return strings.Count(service.Out.String(), "renegotiation=true") },
		leave:          func() { s.adit("disconnect", "lab") },
		noticed:        func() bool { return exitSeen.MatchString(server.Out.String()) },
		left:           before,
	}
}

// openVPNToEndpoint connects openvpn's client to our endpoint.
func (s *site) openVPNToEndpoint(p pki, key string, c cell) joined {
	s.t.Helper()
	s.endpointUp(s.yaml(p, key, endpointConfig{Transport: c.Transport, Wrap: c.Wrap, Ciphers: c.Cipher, Keys: c.Keys, Rules: vpcRules()}))
	more := []string{"disable-dco", fmt.Sprint("reneg-sec ", renegotiate), "data-ciphers " + c.Cipher}
	if c.Transport == "udp" {
		more = append(more, "explicit-exit-notify 1")
	}
	client := s.openvpn(s.client, clientProfile(p, c.Transport, c.Wrap, key, more...))
	s.ok(client.WaitFor("Initialization Sequence Completed", soon))
	return joined{
		checkKeys: func() {
			exporter := regexp.MustCompile(`PUSH_REPLY.*tls-ekm`).MatchString(client.Out.String())
			if exporter != (c.Keys == "exporter") {
				s.t.Errorf("the exporter is in use: %t", exporter)
			}
		},
		renegotiations: func() int { return len(handshakes.FindAllString(client.Out.String(), -1)) - 1 },
		leave:          func() { s.ok(client.Cmd.Process.Signal(syscall.SIGTERM)) },
		noticed:        func() bool { return len(s.connections()) == 0 },
		left:           func() { s.terminate(client) },
	}
}

// aditToEndpoint connects our client to our endpoint.
func (s *site) aditToEndpoint(p pki, key string, c cell) joined {
	s.t.Helper()
	s.endpointUp(s.yaml(p, key, endpointConfig{Transport: c.Transport, Wrap: c.Wrap, Ciphers: c.Cipher, Keys: c.Keys, Rules: vpcRules()}))
	service := s.aditd()
	s.connect(clientProfile(p, c.Transport, c.Wrap, key, "data-ciphers "+c.Cipher, fmt.Sprint("reneg-sec ", renegotiate)))
	before := s.routesBeforeTunnel()
	return joined{
		checkKeys: func() {
			if want := fmt.Sprintf("keys_by_exporter=%t", c.Keys == "exporter"); !strings.Contains(service.Out.String(), want) {
				s.t.Errorf("the client does not say %s", want)
			}
		},
		renegotiations: func() int { return strings.Count(service.Out.String(), "renegotiation=true") },
		leave:          func() { s.adit("disconnect", "lab") },
		noticed:        func() bool { return len(s.connections()) == 0 },
		left:           before,
	}
}

// routesBeforeTunnel returns a check that no tunnel is left in the client.
func (s *site) routesBeforeTunnel() func() {
	return func() {
		s.t.Helper()
		if four, six := s.tunnelAddrs(s.client); four.IsValid() || six.IsValid() {
			s.t.Errorf("the tunnel's device is left behind, with %v and %v", four, six)
		}
	}
}
