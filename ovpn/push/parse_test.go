package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) Reply {
	t.Helper()
	r, err := Parse(SplitReply(text), nil)
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return r
}

func TestParseAWSFullTunnel(t *testing.T) {
	r := parse(t, "PUSH_REPLY,redirect-gateway def1 bypass-dhcp,dhcp-option DNS 192.168.0.2,route-gateway 10.0.0.97,"+
		"topology subnet,ping 1,ping-restart 20,auth-token,ifconfig 10.0.0.98 255.255.255.224,peer-id 0")
	want := Reply{
		Topology:     "subnet",
		Address:      netip.MustParsePrefix("10.0.0.98/27"),
		RouteGateway: netip.MustParseAddr("10.0.0.97"),
		Redirect:     &Redirect{Def1: true, BypassDHCP: true},
		DNS:          DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.168.0.2:53")}},
		Ping:         time.Second, PingRestart: 20 * time.Second,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
}

func TestParseAWSSplitTunnel(t *testing.T) {
	r := parse(t, "PUSH_REPLY,dhcp-option DNS 10.0.0.2,route 10.0.0.0 255.255.0.0,route 10.9.1.0 255.255.255.0,route-gateway 10.8.0.129,"+
		"topology subnet,ping 1,ping-restart 20,echo,echo,echo,ifconfig 10.8.0.133 255.255.255.224,peer-id 1,cipher AES-256-GCM,"+
		"protocol-flags cc-exit tls-ekm dyn-tls-crypt,tun-mtu 1500")
	if len(r.Notes) != 0 || len(r.Unknown) != 0 || len(r.Echo) != 0 {
		t.Errorf("notes %q, unknown %q, echo %q", r.Notes, r.Unknown, r.Echo)
	}
	if r.Redirect != nil || len(r.Routes) != 2 || r.Routes[1].Destination.String() != "10.9.1.0/24" {
		t.Errorf("redirect %v, routes %v", r.Redirect, r.Routes)
	}
	if r.PeerID != 1 || r.Cipher != "AES-256-GCM" || !r.TLSExport || r.TunMTU != 1500 || !slices.Equal(r.Flags, []string{"cc-exit", "tls-ekm", "dyn-tls-crypt"}) {
		t.Errorf("got %+v", r)
	}
}

// TestParseFields: one option, the JSON of what it sets (besides peer_id).
func TestParseFields(t *testing.T) {
	empty, _ := Parse(nil, nil)
	for _, c := range []struct {
		options string
		want    func(r *Reply)
		note    string // part of the only note, or none
	}{
		{"ifconfig 10.8.0.6 10.8.0.5", func(r *Reply) {
			r.Address, r.Peer = netip.MustParsePrefix("10.8.0.6/32"), netip.MustParseAddr("10.8.0.5")
		}, ""},
		{"ifconfig 10.8.0.6 255.255.255.0", func(r *Reply) { r.Address = netip.MustParsePrefix("10.8.0.6/24") }, ""},
		{"topology net30,ifconfig 10.8.0.6 10.8.0.5", func(r *Reply) {
			r.Topology, r.Address, r.Peer = "net30", netip.MustParsePrefix("10.8.0.6/32"), netip.MustParseAddr("10.8.0.5")
		}, ""},
		{"ifconfig-ipv6 fd00::1000/64 fd00::1", func(r *Reply) {
			r.Address6, r.Peer6 = netip.MustParsePrefix("fd00::1000/64"), netip.MustParseAddr("fd00::1")
		}, ""},
		{"route 10.1.2.3", func(r *Reply) { r.Routes = []Route{{Destination: netip.MustParsePrefix("10.1.2.3/32")}} }, ""},
		{"route 10.1.0.0 255.255.0.0 default 50", func(r *Reply) { r.Routes = []Route{{Destination: netip.MustParsePrefix("10.1.0.0/16"), Metric: 50}} }, ""},
		{"route 10.1.0.9 255.255.0.0", func(r *Reply) { r.Routes = []Route{{Destination: netip.MustParsePrefix("10.1.0.0/16")}} }, "taken as 10.1.0.0/16"},
		{"route 10.1.0.0 255.255.0.0 net_gateway", func(r *Reply) {
			r.Routes = []Route{{Destination: netip.MustParsePrefix("10.1.0.0/16"), GatewayWord: "net_gateway"}}
		}, ""},
		{"route remote_host 255.255.255.255 net_gateway", func(r *Reply) { r.Routes = []Route{{Word: "remote_host", Bits: 32, GatewayWord: "net_gateway"}} }, ""},
		{"route vpn_gateway", func(r *Reply) { r.Routes = []Route{{Word: "vpn_gateway", Bits: 32}} }, ""},
		{"route 10.2.0.0 255.255.0.0 10.8.0.1", func(r *Reply) {
			r.Routes = []Route{{Destination: netip.MustParsePrefix("10.2.0.0/16"), Gateway: netip.MustParseAddr("10.8.0.1")}}
		}, ""},
		{"route-ipv6 fd01::/48", func(r *Reply) { r.Routes = []Route{{Destination: netip.MustParsePrefix("fd01::/48")}} }, ""},
		{"route 10.0.0.0 255.0.255.0", nil, "holes"},
		{"route fd01:: 255.0.0.0", nil, "wrong address family"},
		{"route example.com", nil, "not an address"},
		{"route 127.0.0.0 255.0.0.0", nil, "this machine"},
		{"route 10.0.0.0 255.0.0.0 fd00::1", nil, "wrong address family"},
		{"route-ipv6 10.0.0.0/8", nil, "wrong address family"},
		{"route-ipv6 ::ffff:10.0.0.0/104", nil, "wrong address family"},
		{"route-ipv6 fd01::/48 10.0.0.1", nil, "wrong address family"},
		{"route-ipv6 fd01::/129", nil, "not a number"},
		{"route-gateway fd00::1", nil, "wrong address family"},
		{"route-metric 7", func(r *Reply) { r.RouteMetric = 7 }, ""},
		{"redirect-gateway", func(r *Reply) { r.Redirect = &Redirect{} }, ""},
		{"redirect-private def1,redirect-gateway ipv6 !ipv4", func(r *Reply) { r.Redirect = &Redirect{Def1: true, IPv6: true, NoIPv4: true} }, ""},
		{"redirect-private block-local", func(r *Reply) { r.Redirect = &Redirect{Private: true, BlockLocal: true} }, ""},
		{"redirect-gateway def2", func(r *Reply) { r.Redirect = &Redirect{} }, "unknown flag"},
		{"block-ipv6,block-outside-dns,register-dns", func(r *Reply) { r.BlockIPv6, r.BlockDNS, r.RegisterDN = true, true, true }, ""},
		{"ping 90000", func(r *Reply) { r.Ping = 24 * time.Hour }, "24 hours"},
		{"ping -1", nil, "not a number"},
		{"keepalive 10 60", func(r *Reply) { r.Ping, r.PingRestart = 10*time.Second, time.Minute }, ""},
		{"inactive 60 1000", func(r *Reply) { r.Inactive, r.InactiveBytes = time.Minute, 1000 }, ""},
		{"session-timeout 3600", func(r *Reply) { r.SessionTimeout = time.Hour }, ""},
		{"auth-token SESS_ID_AT_abc=", func(r *Reply) { r.AuthToken = "SESS_ID_AT_abc=" }, ""},
		{"auth-token-user YWxpY2U=", func(r *Reply) { r.TokenUser = "alice" }, ""},
		{"auth-token-user !", nil, "base64"},
		{"tun-mtu 67", nil, "68 to 65535"},
		{"tun-mtu 1400", func(r *Reply) { r.TunMTU = 1400 }, ""},
		{"explicit-exit-notify", func(r *Reply) { r.ExitNotify = 1 }, ""},
		{"echo msg \"half a quote", func(r *Reply) { r.Echo = []string{`msg "half a quote`} }, ""},
		{"sndbuf 393216,rcvbuf 393216", func(r *Reply) { r.SndBuf, r.RcvBuf = 393216, 393216 }, ""},
		{"comp-lzo no", func(r *Reply) { r.Compress = "lzo-no" }, ""},
		{"compress stub-v2", func(r *Reply) { r.Compress = "stub-v2" }, ""},
		{"compress", func(r *Reply) { r.Compress = "stub" }, ""},
		{"comp-lzo", func(r *Reply) { r.Compress = "lzo" }, ""},
		{"key-derivation tls-ekm", func(r *Reply) { r.TLSExport = true }, ""},
		{"setenv opt ping 5", nil, "may not set"},
		{"persist-tun,push-continuation 1", nil, ""},
		{"up /bin/evil", nil, "may not set"},
		{"script-security 2", nil, "may not set"},
		{"remote evil.example 1", nil, "may not set"},
		{"route-delay 5", func(r *Reply) { r.Unknown = []string{"route-delay 5"} }, "at once"},
		{"frobnicate 1  2", func(r *Reply) { r.Unknown = []string{"frobnicate 1  2"} }, "unknown option"},
		{"dhcp-option DNS $(reboot)", nil, "not an address"},
		{"dhcp-option DOMAIN a;reboot", nil, "not a domain"},
		{"dhcp-option DOMAIN $(id).example", nil, "not a domain"},
		{"dhcp-option DOMAIN -x.example", nil, "not a domain"},
		{"dns search-domains `id`", nil, "not a domain"},
		{"dns server 0 sni a'b", nil, "not a domain"},
		{"dhcp-option DNS 1.1.1.1\x1b[2J", nil, "control characters"},
		{"dhcp-option WINS 10.0.0.9", func(r *Reply) { r.Unknown = []string{"dhcp-option WINS 10.0.0.9"} }, "ignored"},
		{"dhcp-option DOMAIN corp.example,dhcp-option DOMAIN-SEARCH b.example,dhcp-option ADAPTER_DOMAIN_SUFFIX corp.example.", func(r *Reply) { r.DNS.Search = []string{"corp.example", "b.example"} }, ""},
		{"dhcp-option DOMAIN-ROUTE corp.example", func(r *Reply) { r.DNS.Split = []string{"corp.example"} }, ""},
		{"dhcp-option DOMAIN-ROUTE .", nil, ""},
		{"dhcp-option DNS6 fd00::53", func(r *Reply) { r.DNS.Servers = []netip.AddrPort{netip.MustParseAddrPort("[fd00::53]:53")} }, ""},
		{"dhcp-option DNS6 10.0.0.1", nil, "wrong address family"},
		{"dhcp-option DNS 9.9.9.9,dns server 5 address 10.0.0.5:5353 [fd00::5]:853,dns server 5 resolve-domains a.example b.example," +
			"dns server 5 dnssec optional,dns server 5 transport DoT,dns server 5 sni dns.example", func(r *Reply) {
			r.DNS = DNS{
				Servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:5353"), netip.MustParseAddrPort("[fd00::5]:853")},
				Split:   []string{"a.example", "b.example"}, DNSSEC: "optional", Transport: "DoT", SNI: "dns.example",
			}
		}, "replace its servers"},
		{"dns server 9 address 10.0.0.9,dns server 2 address 10.0.0.2", func(r *Reply) {
			r.DNS.Servers = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:53")}
		}, "only the lowest id"},
		{"dns server 1 resolve-domains a.example", nil, "no address"},
		{"dns server -1 address 10.0.0.1", nil, "server id"},
		{"dns server 0 frob x", nil, "unknown property"},
	} {
		want := empty
		if c.want != nil {
			c.want(&want)
		}
		got := parse(t, c.options)
		notes := strings.Join(got.Notes, "\n")
		got.Notes = nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.options, got, want)
		}
		if c.note == "" && notes != "" || !strings.Contains(notes, c.note) {
			t.Errorf("%s: notes %q, want %q", c.options, notes, c.note)
		}
	}
}

func TestParseFatal(t *testing.T) {
	for _, option := range []string{
		"ifconfig 10.0.0.1", "ifconfig fd00::1 255.0.0.0", "ifconfig x y", "ifconfig 224.0.0.1 255.255.255.0",
		"ifconfig 0.0.0.0 255.255.255.0", "ifconfig 10.0.0.1 0.0.0.0", "ifconfig 10.0.0.1 10.0.0.1",
		"topology subnet,ifconfig 10.0.0.1 10.0.0.2", "topology net30,ifconfig 10.0.0.1 255.255.255.0",
		"ifconfig-ipv6 10.0.0.1/24", "ifconfig-ipv6 fd00::1/64 10.0.0.1", "ifconfig-ipv6 ::ffff:1.2.3.4/96",
		"topology star", "peer-id 16777216", "peer-id x", "cipher", "cipher AES;reboot", "protocol-flags tls-ekm frob",
		"key-derivation foo", "compress zip", "comp-lzo maybe",
	} {
		_, err := Parse(SplitReply(option), nil)
		var e *OptionError
		if !errors.As(err, &e) || !strings.HasPrefix(option[strings.LastIndex(option, ",")+1:], e.Option+" ") && e.Option != option {
			t.Errorf("Parse(%q): error %v", option, err)
		}
	}
}

func TestParseFilter(t *testing.T) {
	options := SplitReply("route 10.0.0.0 255.0.0.0,redirect-gateway def1,dhcp-option DNS 10.0.0.1")
	r, err := Parse(options, Filter{{Accept, "route 10."}, {Ignore, "redirect-gateway"}, {Ignore, "route"}})
	if err != nil || r.Redirect != nil || len(r.Routes) != 1 || len(r.Notes) != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	_, err = Parse(options, Filter{{Reject, "dhcp-option DNS"}})
	if err == nil || !strings.Contains(err.Error(), "option dhcp-option: rejected") {
		t.Errorf("got %v", err)
	}
}

// What a rule refuses comes in no other spelling, and what no rule lets pass stays outside.
func TestFilterSpellings(t *testing.T) {
	for _, option := range []string{
		`"route" 10.9.0.0 255.255.0.0`, `'route' 10.9.0.0 255.255.0.0`, `rou\\te 10.9.0.0 255.255.0.0`, "setenv opt route 10.9.0.0 255.255.0.0", "\troute 10.9.0.0 255.255.0.0",
		"--route 10.9.0.0 255.255.0.0", `\ route 10.9.0.0 255.255.0.0`, `"setenv" "opt" route 10.9.0.0 255.255.0.0`,
		"dhcp-option  DNS 192.0.2.53", "dhcp-option\tDNS 192.0.2.53", `dhcp-option "DNS" 192.0.2.53`, "dhcp-option dns 192.0.2.53", "setenv opt dhcp-option DNS 192.0.2.53",
		`"redirect-gateway" def1`, "setenv opt redirect-gateway def1", "setenv opt block-ipv6", `"block-ipv6"`,
	} {
		f := Filter{{Ignore, "route"}, {Ignore, "dhcp-option DNS"}, {Ignore, "redirect-gateway"}, {Ignore, "block-ipv6"}}
		r, err := Parse([]string{option}, f)
		if err != nil || len(r.Routes)+len(r.DNS.Servers) != 0 || r.Redirect != nil || r.BlockIPv6 || len(r.Notes) == 0 {
			t.Errorf("%s passes the rules: %+v, %v", option, r, err)
		}
		if kept, err := f.Update(nil, []string{option}); err == nil && len(kept) > 0 {
			merged, _ := Merge(nil, kept)
			if r, err := Parse(merged, f); err == nil && (len(r.Routes)+len(r.DNS.Servers) != 0 || r.Redirect != nil || r.BlockIPv6) {
				t.Errorf("%s passes the rules in an update: %+v", option, r)
			}
		}
	}
	for _, tc := range []struct {
		option string
		want   Action
	}{
		{"route 10.9.0.0 255.255.0.0", Accept}, {"route  10.9.0.0 255.255.0.0", Ignore}, // the text as it came, as openvpn sees it
		{`"route" 10.9.0.0 255.255.0.0`, Accept}, {`"route" 192.0.2.0`, Ignore}, {`"redirect-gateway" def1`, Reject}, {"ping 5", Accept}, {`echo "half a quote`, Reject},
	} {
		f := Filter{{Accept, "route 10."}, {Ignore, "route"}, {Reject, "redirect"}, {Accept, "ping"}, {Reject, "echo"}}
		if got := f.Decide(tc.option); got != tc.want {
			t.Errorf("Decide(%s) = %d, want %d", tc.option, got, tc.want)
		}
	}
}

func TestOwnAllowsHostNames(t *testing.T) {
	lines := [][]string{{"route", "intranet.example"}, {"dns", "server", "-5", "address", "10.0.0.1"}, {"dns", "server", "0", "address", "10.0.0.2"}}
	r, err := Own(lines)
	if err != nil || r.Routes[0] != (Route{Word: "intranet.example", Bits: 32}) || r.DNS.Servers[0].Addr().String() != "10.0.0.1" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestOptionsOrderAndInverse(t *testing.T) {
	text := "redirect-gateway def1 bypass-dhcp,block-ipv6,dhcp-option DNS 10.0.0.2,dhcp-option DOMAIN corp.example," +
		"route 10.0.0.0 255.255.0.0,route-ipv6 fd01::/48,route-gateway 10.8.0.129,topology subnet,ping 1,ping-restart 20,auth-token abc," +
		"echo hello world,ifconfig 10.8.0.133 255.255.255.224,ifconfig-ipv6 fd00::5/64 fd00::1,peer-id 1,cipher AES-256-GCM," +
		"protocol-flags cc-exit tls-ekm,tun-mtu 1500"
	got := strings.Join(parse(t, text).Options(), ",")
	if got != text {
		t.Errorf("got  %s\nwant %s", got, text)
	}
}

func TestOptionsRefuseInjection(t *testing.T) {
	r := Reply{PeerID: -1, Echo: []string{"hello,redirect-gateway"}, AuthToken: "a\nb", TunMTU: 1500}
	if got := r.Options(); !slices.Equal(got, []string{"tun-mtu 1500"}) {
		t.Errorf("got %q", got)
	}
	if err := r.Check(); err == nil || strings.Contains(err.Error(), "a\nb") {
		t.Errorf("Check: %v", err)
	}
	if err := (Reply{Echo: []string{"hello"}}).Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("PUSH_REPLY,route 10.0.0.0 255.0.0.0,ifconfig 10.8.0.2 255.255.255.0,topology subnet,peer-id 3")
	f.Add("dns server 3 address 1.1.1.1:99,dns server 3 resolve-domains a.b,dhcp-option DNS 1.2.3.4,dhcp-option DOMAIN-ROUTE x")
	f.Add("echo \"x,auth-token a\\\\b,auth-token-user YQ==,compress,redirect-private def1 !ipv4,unknown 'a b' # c")
	f.Add("ifconfig-ipv6 fd00::1/64 fd00::2,route-ipv6 fd01::/16 default 3,route vpn_gateway 255.0.0.0 net_gateway 4,setenv opt echo a")
	f.Add("keepalive 1 2,inactive 1 2,tun-mtu 1400 9000,key-derivation tls-ekm,cipher aes-128-gcm,explicit-exit-notify 0")
	f.Add("client-nat snat 10.0.0.0 255.0.0.0 11.0.0.0,client-nat dnat 10.0.0.0 255.0.0.0 11.0.0.1,inactive 60 1000,inactive 0 7,topology net30,ifconfig 10.8.0.6 10.8.0.5")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		r, err := Parse(SplitReply(text), Filter{{Ignore, "route-delay"}})
		if err != nil {
			return
		}
		if err := r.Check(); err != nil {
			t.Fatalf("%q parsed into what cannot be pushed: %v", text, err)
		}
		options := r.Options()
		again, err := Parse(options, nil)
		if err != nil {
			t.Fatalf("%q: own options %q: %v", text, options, err)
		}
		r.Notes, again.Notes = nil, nil
		if !reflect.DeepEqual(r, again) {
			t.Fatalf("%q: round trip\n%+v\n%+v\n%q", text, r, again, options)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSecret(t *testing.T) {
	s := Secret("hunter2")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "struct", struct{ S Secret }{s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "struct", struct{ S Secret }{s})
	asJSON, err := json.Marshal(map[string]any{"a": s, "b": struct{ S Secret }{s}})
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(asJSON) + fmt.Sprint(s, struct{ S Secret }{s}, []Secret{s}) +
		fmt.Sprintf("%s %v %+v %#v %q %x %X %d %t %10s", s, s, s, s, s, s, s, s, s, s)
	for _, leak := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2")} {
		if strings.Contains(all, leak) {
			t.Errorf("secret leaks: %s", all)
		}
	}
	if s.Reveal() != "hunter2" || s.String() != "[redacted]" || Secret("").String() != "" || fmt.Sprintf("%v|%q", Secret(""), Secret("")) != `|""` {
		t.Error("Reveal, String or empty")
	}
}

// ping-restart 0 switches a client's own timeout off, which no ping-restart at all does not.
func TestPingRestartZero(t *testing.T) {
	for options, want := range map[string]bool{"ping-restart 0": true, "ping-restart 5": false, "ping 5": false, "ping-restart 0,keepalive 1 2": false} {
		r, err := Parse(SplitReply(options), nil)
		if err != nil || r.PingNever != want {
			t.Errorf("%s: %t, %v", options, r.PingNever, err)
		}
		again, err := Parse(r.Options(), nil)
		if err != nil || again.PingNever != want {
			t.Errorf("%s: written as %q", options, r.Options())
		}
	}
}
