package push

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestCVE_2025_12106_AddressFamilies: an address of one family where the other is wanted must be
// refused, and never be read beyond its end.
func TestCVE_2025_12106_AddressFamilies(t *testing.T) {
	four := []string{"10.0.0.1", "0.0.0.0", "255.255.255.255", "10.0.0.1/8"}
	six := []string{"fd00::1", "::", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "::ffff:10.0.0.256", "fd00::1/129", "fd00::1/-1", "[fd00::1]", ":", ":::"}
	parses := func(option string) bool {
		r, err := Parse([]string{option}, nil)
		return err == nil && len(r.Notes) == 0
	}
	for _, a := range six {
		for _, option := range []string{
			"ifconfig A 255.255.255.0", "ifconfig 10.0.0.2 A", "topology subnet,ifconfig A 255.0.0.0", "route A 255.0.0.0", "route A", "route 10.0.0.0 A", "route 10.0.0.0 255.0.0.0 A", "route-gateway A",
			"client-nat snat A 255.0.0.0 11.0.0.0", "client-nat snat 10.0.0.0 A 11.0.0.0", "client-nat dnat 10.0.0.0 255.0.0.0 A", "dhcp-option DNS6 10.0.0.1",
		} {
			option = strings.ReplaceAll(option, "A", a)
			if parses(option) {
				t.Errorf("%s is taken", option)
			}
			options := SplitReply(option)
			if r, err := Parse(options, nil); err == nil && (r.Address.IsValid() || len(r.Routes) > 0 || r.RouteGateway.IsValid() || len(r.ClientNAT) > 0) {
				t.Errorf("%s: %+v", option, r)
			}
		}
	}
	for _, a := range four {
		for _, option := range []string{"ifconfig-ipv6 A", "ifconfig-ipv6 A/64 fd00::1", "ifconfig-ipv6 fd00::2/64 A", "route-ipv6 A", "route-ipv6 A/8", "route-ipv6 fd01::/64 A", "dhcp-option DNS6 A"} {
			if option = strings.ReplaceAll(option, "A", a); parses(option) {
				t.Errorf("%s is taken", option)
			}
		}
	}
	for _, bad := range []string{"fe80::1%eth0", "::ffff:10.0.0.1", "fd00::1/129", "fd00::1/-1", "1:2:3:4:5:6:7:8:9", ":::", "fd00::1/64/64", "fd00::1/", "/64"} {
		for _, option := range []string{"ifconfig-ipv6 A", "route-ipv6 A", "dhcp-option DNS6 A", "dns server 0 address A"} {
			if option = strings.ReplaceAll(option, "A", bad); parses(option) {
				t.Errorf("%s is taken", option)
			}
		}
	}
}

// TestCVE_2025_10680_HostileDNS: what a server says about DNS reaches resolver configurations,
// so that anything but letters, digits, - _ and dots is dropped.
func TestCVE_2025_10680_HostileDNS(t *testing.T) {
	for _, evil := range []string{
		"a;reboot", "$(reboot)", "`reboot`", "a|b", "a&b", "a\nnameserver 6.6.6.6", "a\\nb", "a b", "a\tb", "'a'", "a\"b", "a<b", "a>b", "a*", "a?", "a[b]", "a{b,c}", "~", "~.", "a=b", "a%s", "a\x00b", "a\x1bb",
		"-rf", "a.-b", "a-.b", "a..b", ".a", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "aa", "../../etc/passwd", "a/b", "a:b", "a@b", "a!b", "a#b", "a^b", "\u0430pple.example", "a\u202eb", "\xff\xfe",
	} {
		for _, option := range []string{"dhcp-option DOMAIN A", "dhcp-option ADAPTER_DOMAIN_SUFFIX A", "dhcp-option DOMAIN-SEARCH A", "dhcp-option DOMAIN-ROUTE A", "dns search-domains A", "dns server 0 resolve-domains A", "dns server 0 sni A", "dns server 0 transport A", "dns server 0 dnssec A", "dns server 0 address A", "dhcp-option DNS A"} {
			for _, quoted := range []string{evil, string(AppendOption(nil, evil))} {
				options := []string{"dns server 0 address 192.0.2.1", strings.ReplaceAll(option, " A", " "+quoted)}
				r, err := Parse(options, nil)
				if err != nil {
					var e *OptionError
					if !errors.As(err, &e) {
						t.Errorf("%q: %v", options, err)
					}
					continue
				}
				for _, name := range slices.Concat(r.DNS.Search, r.DNS.Split, []string{r.DNS.SNI, r.DNS.Transport, r.DNS.DNSSEC}) {
					if name != "" && !IsDomain(name) {
						t.Errorf("%q: %q passes", options, name)
					}
				}
				if len(r.DNS.Servers) != 1 {
					t.Errorf("%q: servers %v", options, r.DNS.Servers)
				}
				for _, note := range r.Notes {
					if strings.ContainsFunc(note, func(c rune) bool { return c < ' ' || c == 0x7f }) {
						t.Errorf("%q: note %q", options, note)
					}
				}
			}
		}
	}
}

// TestIfconfig: what two addresses mean under each topology; without a topology
// openvpn's client takes net30, where the second is the peer.
func TestIfconfig(t *testing.T) {
	for _, c := range []struct{ options, want string }{
		{"ifconfig 10.8.0.6 10.8.0.5", "10.8.0.6/32 peer 10.8.0.5"},
		{"topology net30,ifconfig 10.8.0.6 10.8.0.5", "10.8.0.6/32 peer 10.8.0.5"},
		{"ifconfig 10.8.0.6 10.8.0.5,topology p2p", "10.8.0.6/32 peer 10.8.0.5"},
		{"topology p2p,ifconfig 10.8.0.6 10.9.0.1", "10.8.0.6/32 peer 10.9.0.1"},
		{"ifconfig 10.8.0.6 255.255.255.0,topology subnet", "10.8.0.6/24 peer invalid IP"},
		{"ifconfig 10.8.0.6 255.255.255.252", "10.8.0.6/30 peer invalid IP"}, // subnet that was not announced
		{"topology subnet,ifconfig 10.8.0.6 255.255.255.255", "10.8.0.6/32 peer invalid IP"},
		{"topology subnet,ifconfig 10.8.0.6 10.8.0.5", "option ifconfig: netmask 10.8.0.5 has holes"},
		{"topology net30,ifconfig 10.8.0.6 255.255.255.0", "option ifconfig: topology net30 wants the peer's address"},
		{"topology p2p,ifconfig 10.8.0.6 255.255.255.0", "option ifconfig: topology p2p wants the peer's address"},
		{"ifconfig 10.8.0.6 10.8.0.6", "option ifconfig: 10.8.0.6 cannot be the peer's address"},
		{"ifconfig 0.0.0.0 255.255.255.0", "option ifconfig: 0.0.0.0 cannot be"},
		{"ifconfig 127.0.0.1 255.0.0.0", "option ifconfig: 127.0.0.1 cannot be"},
		{"ifconfig 224.0.0.1 255.255.255.0", "option ifconfig: 224.0.0.1 cannot be"},
		{"topology subnet,ifconfig 10.8.0.6 0.0.0.0", "option ifconfig: netmask 0.0.0.0"},
		{"ifconfig 10.8.0.6 0.0.0.0", "option ifconfig: 0.0.0.0 cannot be the peer's address"},
		{"ifconfig 10.8.0.6", "option ifconfig: want an address and a mask or peer"},
		{"ifconfig 10.8.0.6 10.8.0.5,ifconfig 10.8.0.10 10.8.0.9", "10.8.0.10/32 peer 10.8.0.9"},
	} {
		r, err := Parse(SplitReply(c.options), nil)
		got := r.Address.String() + " peer " + r.Peer.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.options, got, c.want)
		}
		if err == nil {
			again, err := Parse(r.Options(), nil)
			if err != nil || again.Address != r.Address || again.Peer != r.Peer {
				t.Errorf("%s: pushed again as %q: %v", c.options, r.Options(), err)
			}
		}
	}
}

// TestNothingElseCanBePushed: openvpn takes an option from a server only when its
// class is allowed (init.c, pull_permission_mask); scripts, paths, keys and servers never.
func TestNothingElseCanBePushed(t *testing.T) {
	for _, option := range []string{
		"up /bin/sh", "down /bin/sh", "route-up /bin/sh", "tls-verify /bin/sh", "plugin /x.so", "ipchange /bin/sh", "script-security 3", "dns-updown /x", "iproute /x", "setenv LD_PRELOAD /x",
		"setenv opt up /bin/sh", "setenv opt block-ipv6", "setenv opt echo a", "setenv opt plugin /x.so", "config /etc/passwd", "ca /x", "cert /x", "key /x", "auth-user-pass /etc/shadow", "log /x", "writepid /x", "status /x", "management 0.0.0.0 1",
		"remote evil.example", "proto tcp", "http-proxy evil.example 80", "socks-proxy evil.example", "dev tap", "user root", "cd /", "chroot /", "daemon", "pull-filter accept x", "route-nopull",
		"remote-cert-tls client", "verify-x509-name x", "tls-cert-profile insecure", "peer-fingerprint aa", "auth none", "secret /x", "\"up\" /bin/sh", " up /bin/sh", "--up /bin/sh",
	} {
		r, err := Parse([]string{option}, nil)
		if err != nil {
			t.Errorf("%s ends the connection: %v", option, err)
			continue
		}
		if len(r.Notes) != 1 {
			t.Errorf("%s: notes %q", option, r.Notes)
		}
		r.Notes, r.Unknown = nil, nil
		if len(r.Options()) != 0 {
			t.Errorf("%s: does %q", option, r.Options())
		}
	}
}

// TestPushTable: every option that openvpn lets a server push, and whether it is
// used, or ignored with a note and the connection kept.
func TestPushTable(t *testing.T) {
	used := "ifconfig 10.8.0.2 255.255.255.0|ifconfig-ipv6 fd00::2/64 fd00::1|topology subnet|route-gateway 10.8.0.1|route 10.0.0.0 255.0.0.0 vpn_gateway|" +
		"route 10.0.0.0 255.0.0.0 net_gateway|route remote_host 255.255.255.255 net_gateway|route vpn_gateway|route-ipv6 fd01::/48|route-metric 5|redirect-gateway def1 ipv6|" +
		"redirect-private block-local|block-ipv6|client-nat snat 10.0.0.0 255.0.0.0 11.0.0.0|dhcp-option DNS 192.0.2.1|dhcp-option DNS6 fd00::53|dhcp-option DOMAIN a.example|" +
		"dhcp-option DOMAIN-SEARCH a.example|dhcp-option ADAPTER_DOMAIN_SUFFIX a.example|dns server 1 address 192.0.2.1|dns search-domains a.example|block-outside-dns|register-dns|" +
		"ping 10|ping-restart 60|ping-exit 60|inactive 60|session-timeout 60|peer-id 3|cipher AES-256-GCM|key-derivation tls-ekm|protocol-flags cc-exit tls-ekm dyn-tls-crypt aead-epoch|" +
		"auth-token x|auth-token-user eA==|echo msg hello|comp-lzo no|compress stub-v2|explicit-exit-notify 1|tun-mtu 1400|sndbuf 1000|rcvbuf 1000|persist-tun|persist-key|" +
		"push-continuation 1|socket-flags TCP_NODELAY"
	noted := "ifconfig-nowarn|lladdr 00:11:22:33:44:55|route-delay 5|route-method exe|route-ipv6-gateway fd00::1|dhcp-option WINS 192.0.2.1|dhcp-option NTP 192.0.2.1|dhcp-renew|dhcp-release|" +
		"ip-win32 dynamic|tap-sleep 5|ping-timer-rem|ncp-ciphers AES-256-GCM|comp-noadapt|socket-flags TCP_MAXSEG|bind-dev eth0|setenv-safe A b|verb 3|mute 5|shaper 1000|frobnicate 1"
	for option := range strings.SplitSeq(used, "|") {
		options := []string{option}
		if strings.HasPrefix(option, "dns search") {
			options = append(options, "dns server 1 address 192.0.2.1")
		}
		r, err := Parse(options, nil)
		if err != nil || len(r.Notes) != 0 || len(r.Unknown) != 0 {
			t.Errorf("%s: %v, notes %q, unknown %q", option, err, r.Notes, r.Unknown)
		}
	}
	for option := range strings.SplitSeq(noted, "|") {
		r, err := Parse([]string{option}, nil)
		if err != nil || len(r.Notes) != 1 || len(r.Unknown) != 1 || !strings.HasSuffix(r.Notes[0], "; ignored") {
			t.Errorf("%s: %v, notes %q, unknown %q", option, err, r.Notes, r.Unknown)
		}
	}
}
