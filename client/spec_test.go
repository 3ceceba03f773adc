package client

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform/platformtest"
	"github.com/adit-vpn/adit/routes"
)

// TestSpecPerConnection: what stands in a <connection> block reaches the session
// of that server, and of no other.
func TestSpecPerConnection(t *testing.T) {
	key := func(digit string) string {
		return "-----BEGIN OpenVPN Static key V1-----\n" + strings.Repeat(strings.Repeat(digit, 32)+"\n", 16) + "-----END OpenVPN Static key V1-----\n"
	}
	text := fmt.Sprintf("client\nsetenv CLIENT_CERT 0\nfragment 1300\ncomp-lzo no\nremote-cert-tls server\nmssfix 1400\nreplay-window 64 30\n<ca>\n%s</ca>\n"+
		"<connection>\nremote a.example\n<tls-crypt>\n%s</tls-crypt>\n</connection>\n"+
		"<connection>\nremote b.example 1194 tcp\nmssfix 1200\n<tls-auth>\n%s</tls-auth>\nkey-direction 1\n</connection>\n"+
		"<connection>\nremote c.example\n</connection>\n", ovpntest.NewPKI(t).CA(), key("a"), key("b"))
	p, err := profile.Parse("test", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := specOf(p, api.Settings{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.remotes) != 3 {
		t.Fatalf("%d remotes", len(s.remotes))
	}
	for i, want := range []string{"tls-crypt", "tls-auth", "<nil>"} {
		cfg, err := s.session(s.remotes[i], credentials{})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(cfg.Wrap); !strings.HasPrefix(got, want) {
			t.Errorf("%s: wrap %s, want %s", s.remotes[i].host, got, want)
		}
		if fragment := []int{1300, 0, 1300}[i]; cfg.Fragment != fragment || cfg.Compress != "lzo-no" {
			t.Errorf("%s: fragment %d, framing %q", s.remotes[i].host, cfg.Fragment, cfg.Compress)
		}
		if size := []int{1400, 1200, 1400}[i]; s.remotes[i].fit != (fit{size: size}) {
			t.Errorf("%s: %+v", s.remotes[i].host, s.remotes[i].fit)
		}
		if cfg.ReplayTime.Seconds() != 30 {
			t.Errorf("replay time %s", cfg.ReplayTime)
		}
	}
}

// What a profile may not get out of a session: broken ciphers, abilities that nobody has. What it
// may: a digest that nothing needs, a range for renegotiations.
func TestSpecOffers(t *testing.T) {
	parse := func(lines string) *profile.Profile {
		t.Helper()
		p, err := profile.Parse("test", []byte(fmt.Sprintf("client\nremote a.example\nsetenv CLIENT_CERT 0\nremote-cert-tls server\n%s<ca>\n%s</ca>\n", lines, ovpntest.NewPKI(t).CA())), nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	configWith := func(p *profile.Profile, insecure bool) ovpn.Config {
		t.Helper()
		s, err := specOf(p, api.Settings{}, insecure)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := s.session(s.remotes[0], credentials{})
		if err != nil {
			t.Fatal(err)
		}
		session, err := ovpn.New(ovpntest.Epoch(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		session.Abort()
		return cfg
	}
	config := func(p *profile.Profile) ovpn.Config { return configWith(p, false) }
	cfg := config(parse("data-ciphers AES-256-GCM:BF-CBC\ncipher BF-CBC\nreneg-sec 3600 600\npush-peer-info\n" +
		"setenv UV_ID 7\nsetenv IV_PROTO 4294967295\nsetenv IV_CIPHERS none\nsetenv IV_GUI_VER test\nauth SHA3-256\n"))
	if got := fmt.Sprint(cfg.Ciphers, cfg.Fallback, cfg.Auth); got != "[AES-256-GCM]" {
		t.Errorf("ciphers, fallback and digest: %s", got)
	}
	if cfg.Renegotiate != time.Hour || cfg.RenegotiateMin != 10*time.Minute {
		t.Errorf("new keys after %v to %v", cfg.RenegotiateMin, cfg.Renegotiate)
	}
	if got := fmt.Sprint(cfg.PeerInfo); got != "[IV_PLAT=linux IV_GUI_VER=test UV_ID=7]" && runtime.GOOS == "linux" {
		t.Errorf("announced: %s", got)
	}
	quiet := parse("setenv UV_ID 7\n")
	for goos, want := range map[string]string{"linux": "[IV_PLAT=linux]", "darwin": "[IV_PLAT=mac]", "windows": "[IV_PLAT=win]", "plan9": "[]"} {
		if got := fmt.Sprint(peerInfo(quiet, goos)); got != want {
			t.Errorf("%s announces %s", goos, got)
		}
	}
	// Whatever the profile got hold of.
	p := parse("")
	p.Ciphers, p.Fallback = []string{"none", "AES-128-GCM", "DES-EDE3-CBC"}, "BF-CBC"
	if cfg := config(p); fmt.Sprint(cfg.Ciphers) != "[AES-128-GCM]" || cfg.Fallback != "" {
		t.Errorf("offers %v, fallback %q", cfg.Ciphers, cfg.Fallback)
	}
	// The administrator's switch: only what the profile names, behind what is better, and never "none".
	for _, c := range []struct{ lines, off, on string }{
		{"data-ciphers AES-256-GCM:BF-CBC:none\ncipher DES-EDE3-CBC\n", "[AES-256-GCM] ", "[AES-256-GCM BF-CBC DES-EDE3-CBC] DES-EDE3-CBC"},
		{"cipher AES-128-CBC\ndata-ciphers AES-256-GCM:DES-CBC\n", "[AES-256-GCM AES-128-CBC] AES-128-CBC", "[AES-256-GCM AES-128-CBC DES-CBC] AES-128-CBC"},
		{"data-ciphers AES-256-GCM\n", "[AES-256-GCM] ", "[AES-256-GCM] "},
	} {
		p := parse(c.lines)
		off, on := configWith(p, false), configWith(p, true)
		if got := fmt.Sprint(off.Ciphers, " ", off.Fallback); got != c.off {
			t.Errorf("%q offers %s", c.lines, got)
		}
		if got := fmt.Sprint(on.Ciphers, " ", on.Fallback); got != c.on {
			t.Errorf("%q with the switch offers %s", c.lines, got)
		}
	}
	p = parse("")
	p.Broken, p.BrokenFallback = []string{"none", "CAST5-CBC"}, "none"
	if cfg := configWith(p, true); fmt.Sprint(cfg.Ciphers) != fmt.Sprint(ovpn.DefaultCiphers()) || cfg.Fallback != "" {
		t.Errorf("with the switch offers %v, fallback %q", cfg.Ciphers, cfg.Fallback)
	}
}

// TestHardware: the server learns the address of the device by which packets to it leave, where the
// profile wants that.
func TestHardware(t *testing.T) {
	route := func(dst, hardware string) routes.UnderlayRoute {
		return routes.UnderlayRoute{Destination: netip.MustParsePrefix(dst), Device: "eth" + hardware, Hardware: hardware}
	}
	host := platformtest.NewHost(routes.Facts{Routes: []routes.UnderlayRoute{
		route("0.0.0.0/0", "02:00:00:00:00:01"), route("192.0.2.0/24", "02:00:00:00:00:02"), route("198.51.100.0/24", "")}})
	for _, c := range []struct {
		announce bool
		server   string
		want     string
	}{
		{true, "203.0.113.1", "[IV_HWADDR=02:00:00:00:00:01]"},
		{true, "192.0.2.1", "[IV_HWADDR=02:00:00:00:00:02]"},
		{true, "198.51.100.1", "[]"}, // a device without
		{true, "2001:db8::1", "[]"},  // no way
		{false, "203.0.113.1", "[]"},
	} {
		conn := &connection{host: host, wiring: wiring{spec: spec{announce: c.announce}, log: slog.New(slog.DiscardHandler)}}
		if got := fmt.Sprint(conn.hardware(t.Context(), netip.MustParseAddr(c.server))); got != c.want {
			t.Errorf("announce %t, %s: %s, want %s", c.announce, c.server, got, c.want)
		}
	}
}

// The default of ping-restart is for clients that pull, over UDP, as in openvpn: two equal peers
// without pings, or a quiet TCP tunnel, would start again every two minutes.
func TestSpecPingRestart(t *testing.T) {
	for _, tc := range []struct {
		lines string
		want  time.Duration
	}{
		{"client\nremote a.example\n", 2 * time.Minute},
		{"client\nremote a.example 1194 udp6\n", 2 * time.Minute},
		{"client\nremote a.example 1194 tcp\n", 0},
		{"tls-client\nremote a.example\n", 0},
		{"tls-client\nremote a.example\nping-restart 30\n", 30 * time.Second},
		{"tls-client\npull\nremote a.example\n", 2 * time.Minute},
		{"client\nremote a.example\nping-restart 0\n", 0},
		{"client\nremote a.example\nping-exit 300\n", 0},
		{"client\nremote a.example\nkeepalive 10 60\n", 60 * time.Second},
		{"client\nremote a.example 1194 tcp\nping-restart 30\n", 30 * time.Second},
	} {
		p, err := profile.Parse("test", []byte(fmt.Sprintf("%ssetenv CLIENT_CERT 0\nremote-cert-tls server\n<ca>\n%s</ca>\n", tc.lines, ovpntest.NewPKI(t).CA())), nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := specOf(p, api.Settings{}, false)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := s.session(s.remotes[0], credentials{})
		if err != nil || cfg.PingRestart != tc.want {
			t.Errorf("%q: ping-restart %v, want %v, error %v", tc.lines, cfg.PingRestart, tc.want, err)
		}
	}
}
