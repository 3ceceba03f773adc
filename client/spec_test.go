package client

import (
	"fmt"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/profile"
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
	s, err := specOf(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.remotes) != 3 {
		t.Fatalf("%d remotes", len(s.remotes))
	}
	for i, want := range []string{"tls-crypt", "tls-auth", "<nil>"} {
		cfg, err := s.session(s.remotes[i], kept{})
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
