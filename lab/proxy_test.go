//go:build linux

package lab

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// The way to the server leads through squid or dante, which are nobody's of ours.

const (
	proxyUser   = "tester"
	proxySecret = "geheim%7Kennwort"
)

var (
	proxyAddr  = netip.MustParseAddr("192.168.10.1")
	proxyAddr6 = netip.MustParseAddr("2001:db8:10::1")
)

// The proxies' ports: without and with a sign-in.
const (
	squidOpen, squidKnown = 3129, 3128
	danteOpen, danteKnown = 1080, 1081
	nobodyListens         = 3130
)

// proxied is a site whose client reaches the server through a proxy only:
//
//	client 192.168.10.2   ---  .1 proxy 198.51.100.3 --- .1 server --- host
//	       2001:db8:10::2 --- ::1
//
// The server pushes routes that the proxy's address is in, so that nothing works
// unless the way to the proxy leads around the tunnel.
type proxied struct {
	*site
	proxy *Node
	pki   pki
	key   string
	cell  cell
}

func newProxied(t *testing.T, transport string) *proxied {
	t.Helper()
	s := &site{t: t, net: newNet(t)}
	t.Cleanup(s.showLogs)
	x := &proxied{site: s, pki: newPKI(t), key: staticKey(), cell: cell{Peers: aditToOpenVPN, Transport: transport, Wrap: "tls-crypt", Cipher: "AES-256-GCM"}}
	s.client, x.proxy, s.server, s.host = s.node("client"), s.node("proxy"), s.node("server"), s.node("host")
	s.wire(s.client, "eth0", []string{"192.168.10.2/24", "2001:db8:10::2/64"}, x.proxy, "eth0", []string{"192.168.10.1/24", "2001:db8:10::1/64"})
	s.wire(x.proxy, "eth1", []string{"198.51.100.3/24"}, s.server, "eth0", []string{"198.51.100.1/24"})
	s.wire(s.server, "eth1", []string{"10.0.0.5/24", "fd00:a::5/64"}, s.host, "eth0", []string{"10.0.0.10/24", "fd00:a::10/64"})
	s.ok(s.client.Route("", proxyAddr.String()))
	s.openvpnUp(x.pki, x.keys(), x.cell, `push "route 192.168.10.0 255.255.255.128"`, `push "route-ipv6 2001:db8:10::/65"`)
	return x
}

func (x *proxied) keys() wrapKeys { return wrapKeys{x.key, x.key} }

func (x *proxied) profile(lines ...string) string {
	return cellProfile(x.pki, x.keys(), x.cell, lines...)
}

// works connects and demands that pings and bytes pass, through this proxy.
func (x *proxied) works(profile, kind string, proxy netip.Addr, port int) {
	x.t.Helper()
	x.connect(profile)
	x.wayIs(kind, proxy, port)
}

// set connects through the proxy of the setting.
func (x *proxied) set(profile, kind string, proxy netip.Addr, port int) {
	x.t.Helper()
	x.adit("import", x.write(x.client, "lab.ovpn", profile), "--replace")
	x.adit("set", "lab", "proxy="+kind+"://"+netip.AddrPortFrom(proxy, uint16(port)).String())
	x.adit("connect", "lab", "--timeout", "20s")
	x.wayIs(kind, proxy, port)
}

// wayIs demands that pings and bytes pass, through this proxy.
func (x *proxied) wayIs(kind string, proxy netip.Addr, port int) {
	x.t.Helper()
	x.reaches(x.client, none, hostAddr)
	x.ok(bulk(x.client, x.host, netip.AddrPortFrom(hostAddr, 5004), 256<<10))
	through := kind + "://" + netip.AddrPortFrom(proxy, uint16(port)).String()
	if st := x.status(); st.Server.Proxy != through || st.Server.Address != proxy.String() || st.Server.Name != serverOuter.String() {
		x.t.Errorf("connected to %+v, expected through %s", st.Server, through)
	}
}

func httpLogin(user, password string) string {
	return fmt.Sprintf("<http-proxy-user-pass>\n%s\n%s\n</http-proxy-user-pass>", user, password)
}

func socksLogin(user, password string) string {
	return fmt.Sprintf("<socks-proxy-user-pass>\n%s\n%s\n</socks-proxy-user-pass>", user, password)
}

// kept demands that the client tells nobody a secret of its proxy.
func (x *proxied) kept(service *Proc) {
	x.t.Helper()
	said := service.Out.String() + x.adit("status", "--json") + x.adit("status")
	for _, secret := range []string{proxySecret, base64.StdEncoding.EncodeToString([]byte(proxyUser + ":" + proxySecret)), "response="} {
		if strings.Contains(said, secret) {
			x.t.Errorf("the service's log or status has %q", secret)
		}
	}
}

// squidConfig offers all methods at one port and asks nothing at the other. Samba's helper is
// the judge of NTLMv2; with --password it needs no domain.
const squidConfig = `http_port [2001:db8:10::1]:%[1]d
http_port 192.168.10.1:%[1]d
http_port 192.168.10.1:%[2]d
pid_filename none
cache_log /dev/null
logformat seen %%{Proxy-Authorization}>h %%un %%rm %%ru %%>Hs
access_log stdio:/run/squid/access.log seen
visible_hostname proxy.lab
shutdown_lifetime 0 seconds
pinger_enable off
coredump_dir none
dns_nameservers 192.0.2.53
auth_param basic program /usr/lib/squid/basic_ncsa_auth /run/squid/basic
auth_param basic children 1
auth_param digest program /usr/lib/squid/digest_file_auth -c /run/squid/digest
auth_param digest realm lab
auth_param digest children 1
auth_param ntlm program /usr/bin/ntlm_auth --helper-protocol=squid-2.5-ntlmssp --username=%[3]s --password=%[4]s
auth_param ntlm children 1
acl open localport %[2]d
acl known proxy_auth REQUIRED
acl vpn dst 198.51.100.1
http_access deny !vpn
http_access allow CONNECT open
http_access allow CONNECT known
http_access deny all
`

// squid starts squid, once more if it ran before.
func (x *proxied) squid() *Proc {
	x.t.Helper()
	hash := strings.TrimSpace(x.run(x.proxy, "openssl", "passwd", "-apr1", proxySecret))
	account, err := user.Lookup("proxy") // squid's user in Debian
	x.ok(err)
	uid, err := strconv.Atoi(account.Uid)
	x.ok(err)
	x.ok(x.proxy.Do(func() error {
		ha1 := md5.Sum([]byte(proxyUser + ":lab:" + proxySecret))
		return errors.Join(
			os.MkdirAll("/run/squid", 0o755), os.Chown("/run/squid", uid, -1),
			os.WriteFile("/run/squid/basic", []byte(proxyUser+":"+hash+"\n"), 0o644),
			os.WriteFile("/run/squid/digest", fmt.Appendf(nil, "%s:lab:%x\n", proxyUser, ha1), 0o644),
		)
	}))
	file := x.write(x.proxy, "squid.conf", fmt.Sprintf(squidConfig, squidKnown, squidOpen, proxyUser, proxySecret))
	p := x.start(x.proxy, "squid", "squid", "-N", "-d", "1", "-f", file)
	x.ok(p.WaitFor(fmt.Sprintf("local=192.168.10.1:%d", squidOpen), soon))
	return p
}

// schemes are how squid's clients have signed in, in turn, with the outcome.
func (x *proxied) schemes() (list []string) {
	x.t.Helper()
	var b []byte
	x.ok(x.proxy.Do(func() (err error) { b, err = os.ReadFile("/run/squid/access.log"); return err }))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		scheme, _, _ := strings.Cut(f[0], "%20")
		list = append(list, scheme+" "+f[len(f)-1])
	}
	return list
}

// dante starts dante's server without and with passwords, which are the system's there.
func (x *proxied) dante() (list []*Proc) {
	x.t.Helper()
	hash := strings.TrimSpace(x.run(x.proxy, "openssl", "passwd", "-6", proxySecret))
	x.ok(x.proxy.Do(func() error {
		for file, line := range map[string]string{"/etc/passwd": ":x:4711:4711::/:/usr/sbin/nologin", "/etc/shadow": ":" + hash + ":19000:0:99999:7:::"} {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if strings.Contains(string(b), "\n"+proxyUser+":") {
				continue
			}
			if err := os.WriteFile(file, append(b, proxyUser+line+"\n"...), 0o640); err != nil {
				return err
			}
		}
		return os.Chmod("/etc/passwd", 0o644)
	}))
	for at, method := range map[int]string{danteOpen: "none", danteKnown: "username"} {
		file := x.write(x.proxy, "danted-"+method+".conf", fmt.Sprintf(`logoutput: stderr
internal: eth0 port = %d
external: eth1
socksmethod: %s
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 198.51.100.1/32 command: connect udpassociate }
socks pass { from: 198.51.100.1/32 to: 0.0.0.0/0 command: udpreply }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/32 command: udpassociate }
`, at, method))
		p := x.start(x.proxy, "danted", "danted", "-N", "1", "-f", file, "-p", filepath.Join(x.proxy.Dir, "danted-"+method+".pid"))
		x.until(soon, "dante listens", func() bool {
			// Not from the client, where packets are counted.
			c, err := x.proxy.Dial("tcp", netip.AddrPortFrom(proxyAddr, uint16(at)).String(), time.Second)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		list = append(list, p)
	}
	return list
}

// needsProxies skips where a proxy is not installed, but not where CI=true.
func needsProxies(t *testing.T) {
	t.Helper()
	needs(t, "openvpn", "openssl", "squid", "danted", "ntlm_auth")
}

// TestHTTPProxy signs in at squid in every way that we can.
func TestHTTPProxy(t *testing.T) {
	t.Parallel()
	needsProxies(t)
	x := newProxied(t, "tcp")
	x.squid()
	service := x.aditd()
	login := httpLogin(proxyUser, proxySecret)
	for _, c := range []struct {
		line, login string
		proxy       netip.Addr
		port        int
		seen        string // what squid saw, and answered
	}{
		{"", "", proxyAddr, squidOpen, "- 200"},
		{"basic", login, proxyAddr, squidKnown, "Basic 200"},
		{"digest", login, proxyAddr, squidKnown, "- 407, Digest 200"},
		{"ntlm2", login, proxyAddr, squidKnown, "NTLM 407, NTLM 200"},
		{"auto", login, proxyAddr, squidKnown, "- 407, Digest 200"},
		{"auto-nct", login, proxyAddr, squidKnown, "- 407, Digest 200"},
		{"basic", login, proxyAddr6, squidKnown, "Basic 200"},
	} {
		lines := []string{fmt.Sprintf("http-proxy %s %d %s", c.proxy, c.port, c.line)}
		if c.login != "" {
			lines = append(lines, c.login)
		}
		before := 0
		if c.port == squidKnown || c.line != "" {
			before = len(x.schemes())
		}
		x.works(x.profile(lines...), "http", c.proxy, c.port)
		x.kept(service)
		x.adit("disconnect", "lab")
		x.until(soon, "squid says of "+c.line+": "+c.seen, func() bool { return strings.Join(x.schemes()[before:], ", ") == c.seen })
	}
	before := len(x.schemes())
	x.set(x.profile(fmt.Sprintf("http-proxy %s %d basic", proxyAddr, nobodyListens), login), "http", proxyAddr6, squidKnown)
	x.kept(service)
	x.adit("disconnect", "lab") // squid writes its line then
	x.until(soon, "squid knows the profile's credentials", func() bool { return strings.Join(x.schemes()[before:], ", ") == "- 407, Digest 200" })
}

// TestProxyFailures: the words for what a proxy does not do for us.
func TestProxyFailures(t *testing.T) {
	t.Parallel()
	needsProxies(t)
	type failing struct{ line, login, server, says string }
	at := func(kind string, port int, rest string) string {
		return fmt.Sprintf("%s-proxy %s %d %s", kind, proxyAddr, port, rest)
	}
	const usual, forbidden, closed = "198.51.100.1 1194", "198.51.100.77 1194", "198.51.100.1 1195"
	wrong := httpLogin(proxyUser, proxySecret+"x")
	for kind, list := range map[string][]failing{
		"http": {
			{at("http", squidKnown, "basic"), wrong, usual, "the proxy 192.168.10.1:3128 did not accept the sign-in"},
			{at("http", squidKnown, "digest"), wrong, usual, "did not accept the sign-in"},
			{at("http", squidKnown, "ntlm2"), wrong, usual, "did not accept the sign-in"},
			{at("http", squidKnown, ""), "", usual, "wants a sign-in that the profile does not give"},
			{at("http", nobodyListens, ""), "", usual, "no way through the proxy 192.168.10.1:3130"},
			{at("http", squidOpen, ""), "", forbidden, "does not connect to 198.51.100.77:1194: 403 "},
			{at("http", squidOpen, ""), "", closed, "does not connect to 198.51.100.1:1195: 503 "},
			{at("socks", squidOpen, ""), "", usual, "no way through the proxy 192.168.10.1:3129"}, // squid waits for more
		},
		"socks": {
			{at("socks", danteKnown, ""), socksLogin(proxyUser, proxySecret+"x"), usual, "did not accept the sign-in"},
			{at("socks", danteKnown, ""), "", usual, "wants a sign-in that the profile does not give"},
			{at("socks", nobodyListens, ""), "", usual, "no way through the proxy 192.168.10.1:3130"},
			{at("socks", danteOpen, ""), "", forbidden, "does not connect to 198.51.100.77:1194: its rules do not allow it"},
			{at("socks", danteOpen, ""), "", closed, "does not connect to 198.51.100.1:1195: connection refused"},
			{at("http", danteOpen, ""), "", usual, "no way through the proxy 192.168.10.1:1080"},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			x := newProxied(t, "tcp")
			if kind == "http" {
				x.squid()
			} else {
				x.dante()
			}
			service := x.aditd()
			for _, c := range list {
				x.connectFails(strings.Replace(x.profile(c.line, c.login), "remote "+usual+"\n", "remote "+c.server+"\n", 1), c.says)
			}
			x.kept(service)
		})
	}
}

// TestSOCKSProxy goes through dante, as a stream and as datagrams.
func TestSOCKSProxy(t *testing.T) {
	t.Parallel()
	needsProxies(t)
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			x := newProxied(t, transport)
			x.dante()
			service := x.aditd()
			for _, c := range []struct {
				login string
				port  int
			}{{"", danteOpen}, {socksLogin(proxyUser, proxySecret), danteKnown}} {
				x.works(x.profile(fmt.Sprintf("socks-proxy %s %d", proxyAddr, c.port), c.login), "socks5", proxyAddr, c.port)
				if transport == "udp" {
					x.ok(sizes(x.client, x.host, netip.AddrPortFrom(hostAddr, 5003)))
				}
				x.kept(service)
				x.adit("disconnect", "lab")
			}
			x.set(x.profile(), "socks5", proxyAddr, danteOpen)
		})
	}
}

// TestProxyKilled: the proxy dies under a tunnel, stays away for a while, and comes back.
func TestProxyKilled(t *testing.T) {
	t.Parallel()
	needsProxies(t)
	for _, c := range []struct {
		transport string
		line      string
		start     func(x *proxied) []*Proc
	}{
		{"tcp", fmt.Sprintf("http-proxy %s %d", proxyAddr, squidOpen), func(x *proxied) []*Proc { return []*Proc{x.squid()} }},
		{"udp", fmt.Sprintf("socks-proxy %s %d", proxyAddr, danteOpen), (*proxied).dante},
	} {
		t.Run(c.transport, func(t *testing.T) {
			t.Parallel()
			x := newProxied(t, c.transport)
			procs := c.start(x)
			x.aditd()
			x.connect(x.profile(c.line))
			x.reaches(x.client, none, hostAddr)
			four, _ := x.tunnelAddrs(x.client)
			for _, p := range procs {
				syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL) // its children, too
				<-p.Done()
			}
			// At once: the connection to the proxy is the sign, not silence.
			x.until(5*time.Second, "the client knows", func() bool { return x.status().State == api.Reconnecting })
			x.cannotReach(x.client, hostAddr)
			x.until(soon, "the client says why", func() bool {
				p := x.status().Problem
				return p != nil && p.Code == api.CodeProxyUnreachable
			})
			if now, _ := x.tunnelAddrs(x.client); now != four {
				t.Errorf("the tunnel had the address %v and has %v", four, now)
			}
			c.start(x)
			x.until(2*soon, "packets pass again", x.passes)
		})
	}
}

// TestProxyFailover: the first remote's UDP is dropped on the way; the second goes through the proxy.
func TestProxyFailover(t *testing.T) {
	t.Parallel()
	needsProxies(t)
	needs(t, "nft")
	x := newProxied(t, "tcp")
	x.ok(x.proxy.Forward())
	x.ok(x.server.Route("192.168.10.0/24", "198.51.100.3"))
	x.reaches(x.client, none, serverOuter)
	x.run(x.proxy, "nft", "-f", x.write(x.proxy, "drop.nft", `table ip lab {
	chain way { type filter hook forward priority 0; udp dport 1194 counter drop; }
}
`))
	x.squid()
	x.aditd()
	blocks := fmt.Sprintf(`<connection>
remote %[1]s %[2]d udp
</connection>
<connection>
remote %[1]s %[2]d tcp
http-proxy %[3]s %[4]d auto
</connection>
%[5]s
`, serverOuter, port, proxyAddr, squidKnown, httpLogin(proxyUser, proxySecret))
	profile := strings.Replace(x.profile(), fmt.Sprintf("proto tcp\nremote %s %d\n", serverOuter, port), blocks, 1)
	x.works(profile, "http", proxyAddr, squidKnown)
	if st := x.status(); st.Server.Transport != "tcp" {
		t.Errorf("connected over %s", st.Server.Transport)
	}
	if rules := x.run(x.proxy, "nft", "list", "ruleset"); !strings.Contains(rules, "counter packets") || strings.Contains(rules, "packets 0 ") {
		t.Errorf("UDP was not tried: %s", rules)
	}
}

// TestClientNAT: the client sees the VPC as 10.50.0.0/16, and the VPC sees the client as 10.99.0.0/24: one
// exchange from the file and one from the server. openvpn with the same files says what is right.
func TestClientNAT(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	alias := netip.MustParseAddr("10.50.0.10") // of hostAddr
	for _, peers := range []string{aditToOpenVPN, openVPNToOpenVPN} {
		t.Run(peers, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p, c := newPKI(t), cell{Peers: peers, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM"}
			s.ok(os.Mkdir(filepath.Join(s.server.Dir, "ccd"), 0o755))
			s.write(s.server, "ccd/DEFAULT", "iroute 10.99.0.0 255.255.255.0\n")
			s.openvpnUp(p, wrapKeys{}, c, "client-config-dir ccd", "route 10.99.0.0 255.255.255.0",
				`push "client-nat snat 10.8.0.0 255.255.255.0 10.99.0.0"`)
			lines := []string{"client-nat dnat 10.50.0.0 255.255.0.0 10.0.0.0", "route 10.50.0.0 255.255.0.0"}
			if peers == aditToOpenVPN {
				s.aditd()
				s.connect(cellProfile(p, wrapKeys{}, c, lines...))
			} else {
				s.openvpnJoin(p, wrapKeys{}, c, lines...)
			}
			four, _ := s.tunnelAddrs(s.client)
			b := four.As4()
			seen := netip.AddrFrom4([4]byte{10, 99, 0, b[3]})
			s.reaches(s.client, none, alias)
			s.cannotReach(s.client, hostAddr) // its answers come from the alias
			s.reaches(s.host, none, seen)
			s.mirror(s.host, hostAddr)
			s.seen(alias, seen.String())
			s.ok(bulkAt(s.client, s.host, netip.AddrPortFrom(alias, 5004), netip.AddrPortFrom(hostAddr, 5004), 1<<20))
			if peers == openVPNToOpenVPN {
				return // which does not exchange what an ICMP error quotes
			}
			conn, err := s.client.Dial("udp", netip.AddrPortFrom(alias, 9).String(), time.Second)
			s.ok(err)
			defer conn.Close()
			s.ok(conn.SetDeadline(time.Now().Add(soon)))
			_, err = conn.Write([]byte("is anybody there?"))
			s.ok(err)
			if _, err = conn.Read(b[:]); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a closed port says: %v", err)
			}
		})
	}
}
