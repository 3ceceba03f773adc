package ovpn_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// Whole sessions between our client and servers that know less, and between our
// server and clients that know less. What a peer does not know stands in its
// peer-info, or is missing there; a server without negotiation has its one cipher.
func TestOldPeers(t *testing.T) {
	const ciphers = "AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305"
	cbc := func(c, s *ovpn.Config) { // "cipher AES-256-CBC", "auth SHA256" in both files
		c.Ciphers, c.Fallback, c.Auth = append(ovpn.DefaultCiphers(), "AES-256-CBC"), "AES-256-CBC", "SHA256"
		s.Ciphers, s.Fallback, s.Auth = []string{"AES-256-CBC"}, "AES-256-CBC", "SHA256"
	}
	type agreed struct {
		cipher                       string
		exporter, dynamic, epoch, v1 bool
	}
	for _, tc := range []struct {
		name   string
		info   map[string]string // what the server knows of the client
		edit   func(c, s *ovpn.Config)
		want   agreed
		pushed string // the options that the Session settles
	}{
		{"server 2.3, CBC", nil, cbc, agreed{cipher: "AES-256-CBC", v1: true}, ""},
		{"server 2.3, CBC, comp-lzo no, fragment, TLS 1.2", nil, func(c, s *ovpn.Config) {
			cbc(c, s)
			c.Compress, s.Compress, c.Fragment, s.Fragment = "lzo-no", "lzo-no", 200, 200
			s.TLS.MaxVersion = 0x0303
		}, agreed{cipher: "AES-256-CBC", v1: true}, "comp-lzo no"},
		{"server 2.3, CBC, TCP", nil, func(c, s *ovpn.Config) {
			cbc(c, s)
			c.Stream, s.Stream = true, true
		}, agreed{cipher: "AES-256-CBC", v1: true}, ""},
		{"server 2.4 with ncp-disable, GCM", nil, func(c, s *ovpn.Config) {
			s.Ciphers, s.Fallback = []string{"AES-256-GCM"}, "AES-256-GCM"
		}, agreed{cipher: "AES-256-GCM", v1: true}, ""},
		{"server 2.4", map[string]string{"IV_VER": "2.4.12", "IV_PROTO": "2", "IV_NCP": "2"}, func(c, s *ovpn.Config) {
			s.Ciphers = []string{"AES-256-GCM", "AES-128-GCM"}
		}, agreed{cipher: "AES-256-GCM"}, "peer-id 5,cipher AES-256-GCM"},
		{"client 2.3, its cipher is in our list", nil, func(c, s *ovpn.Config) {
			c.Ciphers, c.Fallback = []string{"AES-128-CBC"}, "AES-128-CBC"
			s.Ciphers = append(ovpn.DefaultCiphers(), "AES-128-CBC")
		}, agreed{cipher: "AES-128-CBC", v1: true}, ""},
		{"client 2.3, its cipher is our fallback", nil, func(c, s *ovpn.Config) {
			c.Ciphers, c.Fallback, s.Fallback = []string{"AES-128-CBC"}, "AES-128-CBC", "AES-128-CBC"
		}, agreed{cipher: "AES-128-CBC", v1: true}, ""},
		{"client 2.3 with OCC off gets our fallback", nil, func(c, s *ovpn.Config) {
			c.Fallback, s.Fallback = "AES-256-CBC", "AES-256-CBC" // not offered, and so not named
		}, agreed{cipher: "AES-256-CBC", v1: true}, ""},
		{"client 2.4", map[string]string{"IV_VER": "2.4.7", "IV_PROTO": "2", "IV_NCP": "2", "IV_LZO": "1"}, nil,
			agreed{cipher: "AES-256-GCM"}, "peer-id 5,cipher AES-256-GCM"},
		{"client 2.4, AES-128 only", map[string]string{"IV_PROTO": "2", "IV_NCP": "2"}, func(c, s *ovpn.Config) { s.Ciphers = []string{"CHACHA20-POLY1305", "AES-128-GCM"} },
			agreed{cipher: "AES-128-GCM"}, "peer-id 5,cipher AES-128-GCM"},
		{"client 2.4 whose CBC we prefer", map[string]string{"IV_PROTO": "2", "IV_NCP": "2"}, cbc,
			agreed{cipher: "AES-256-CBC"}, "peer-id 5,cipher AES-256-CBC"},
		{"client 2.4 that compresses", map[string]string{"IV_PROTO": "2", "IV_NCP": "2", "IV_COMP_STUBv2": "1"}, func(c, s *ovpn.Config) {
			c.Compress, s.Compress = "lzo", "migrate"
		}, agreed{cipher: "AES-256-GCM"}, "peer-id 5,compress stub-v2,cipher AES-256-GCM"},
		{"client 2.5", map[string]string{"IV_VER": "2.5.1", "IV_PROTO": "6", "IV_NCP": "2", "IV_CIPHERS": ciphers}, nil,
			agreed{cipher: "AES-256-GCM"}, "peer-id 5,cipher AES-256-GCM"},
		{"client 2.6", map[string]string{"IV_VER": "2.6.14", "IV_PROTO": "990", "IV_NCP": "2", "IV_CIPHERS": ciphers}, nil,
			agreed{cipher: "AES-256-GCM", exporter: true, dynamic: true}, "peer-id 5,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm dyn-tls-crypt"},
		{"exporter, no flags", map[string]string{"IV_PROTO": "14", "IV_CIPHERS": ciphers}, nil,
			agreed{cipher: "AES-256-GCM", exporter: true}, "peer-id 5,cipher AES-256-GCM,key-derivation tls-ekm"},
		{"cc-exit alone", map[string]string{"IV_PROTO": "130", "IV_CIPHERS": ciphers}, nil,
			agreed{cipher: "AES-256-GCM"}, "peer-id 5,cipher AES-256-GCM,protocol-flags cc-exit"},
		{"dynamic tls-crypt, no exporter for data", map[string]string{"IV_PROTO": "514", "IV_CIPHERS": ciphers}, nil,
			agreed{cipher: "AES-256-GCM", dynamic: true}, "peer-id 5,cipher AES-256-GCM,protocol-flags dyn-tls-crypt"},
		{"epochs without cc-exit", map[string]string{"IV_PROTO": "1034", "IV_CIPHERS": "AES-128-GCM"}, nil,
			agreed{cipher: "AES-128-GCM", exporter: true, epoch: true}, "peer-id 5,cipher AES-128-GCM,key-derivation tls-ekm,protocol-flags aead-epoch"},
		{"epochs, but no DATA_V2", map[string]string{"IV_PROTO": "1160", "IV_CIPHERS": ciphers}, nil,
			agreed{cipher: "AES-256-GCM", exporter: true, v1: true}, "cipher AES-256-GCM,protocol-flags cc-exit tls-ekm"},
		{"epochs, but CBC", map[string]string{"IV_PROTO": "1162", "IV_CIPHERS": "AES-256-CBC"}, cbc,
			agreed{cipher: "AES-256-CBC", exporter: true}, "peer-id 5,cipher AES-256-CBC,protocol-flags cc-exit tls-ekm"},
		{"nonsense", map[string]string{"IV_PROTO": "-1", "IV_NCP": "x", "IV_CIPHERS": ciphers}, nil,
			agreed{cipher: "AES-256-GCM", v1: true}, "cipher AES-256-GCM"},
		{"every bit there is", map[string]string{"IV_PROTO": "4294967295", "IV_CIPHERS": ciphers}, nil,
			agreed{cipher: "AES-256-GCM", exporter: true, dynamic: true, epoch: true}, "peer-id 5,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm dyn-tls-crypt aead-epoch"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			if tc.edit != nil {
				tc.edit(&c, &s)
			}
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			p.Client.Session.WithoutID()
			p.OnServer = func(ev ovpn.Event) bool {
				if cr, ok := ev.(ovpn.Credentials); ok && !cr.Renegotiation {
					p.Server.Session.Pretend(tc.info)
				}
				return false
			}
			if !p.Run(20*time.Second, p.Up) {
				t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
			}
			reply := last[ovpn.PushReply](t, p.Client)
			for _, side := range []*ovpntest.Side{p.Client, p.Server} {
				got := agreed{cipher: reply.Cipher}
				got.exporter, got.dynamic, got.epoch, got.v1 = side.Session.Agreed()
				if got != tc.want {
					t.Errorf("agreed on %+v", got)
				}
			}
			settled := slices.DeleteFunc(reply.Reply.Options(), func(o string) bool {
				for _, name := range []string{"peer-id", "cipher", "protocol-flags", "key-derivation", "comp"} {
					if strings.HasPrefix(o, name) {
						return false
					}
				}
				return true
			})
			slices.Sort(settled)
			want := strings.Split(tc.pushed, ",")
			slices.Sort(want)
			if got := strings.Join(settled, ","); got != strings.Join(want, ",") {
				t.Errorf("pushed %q", got)
			}
			seen := map[wire.Opcode]int{}
			p.Watch = func(_ *ovpntest.Side, b []byte) {
				if op, _ := wire.SplitHeader(b[0]); wire.IsData(b[0]) {
					seen[op]++
				}
			}
			p.Run(time.Second, nil)
			flow(t, p)
			for i, side := range []*ovpntest.Side{p.Client, p.Server} {
				side.Session.Renegotiate(p.Now)
				p.Run(20*time.Second, nil)
				if n := ovpntest.Count[ovpn.Established](p.Client); n != 2+i {
					t.Fatalf("%d keys; client %v, server %v", n, p.Client.Err, p.Server.Err)
				}
				flow(t, p)
			}
			if (seen[wire.DataV1] > 0) != tc.want.v1 || (seen[wire.DataV2] > 0) == tc.want.v1 {
				t.Errorf("datagrams by opcode: %v", fmt.Sprint(seen))
			}
			p.Client.Session.Close(p.Now)
			p.Run(5*time.Second, nil)
		})
	}
}

// A client that negotiates is never given the fallback, and one that does not
// gets nothing when there is none: nobody falls back in silence.
func TestNoSilentFallback(t *testing.T) {
	for _, tc := range []struct {
		info map[string]string
		edit func(c, s *ovpn.Config)
	}{
		{map[string]string{"IV_PROTO": "2", "IV_CIPHERS": "AES-256-CBC"}, func(c, s *ovpn.Config) { s.Fallback = "BF-CBC" }},
		{map[string]string{"IV_PROTO": "2", "IV_CIPHERS": ""}, func(c, s *ovpn.Config) { s.Fallback = "BF-CBC" }},
		{map[string]string{"IV_PROTO": "2", "IV_NCP": "2"}, func(c, s *ovpn.Config) { s.Ciphers, s.Fallback = []string{"CHACHA20-POLY1305"}, "BF-CBC" }},
		{nil, func(c, s *ovpn.Config) {}},
		{nil, func(c, s *ovpn.Config) {
			c.Ciphers, c.Fallback, s.Fallback = []string{"AES-128-CBC"}, "AES-128-CBC", "AES-256-CBC"
		}},
	} {
		c, s := setup(t)
		tc.edit(&c, &s)
		p := ovpntest.NewPair(t, c, s, quiet, 1)
		p.OnServer = func(ev ovpn.Event) bool {
			if _, ok := ev.(ovpn.Credentials); ok {
				p.Server.Session.Pretend(tc.info)
			}
			return false
		}
		p.Run(20*time.Second, func() bool { return p.Client.Err != nil })
		if got := last[ovpn.AuthFailed](t, p.Client); !strings.Contains(got.Reason, "cipher negotiation failed") {
			t.Errorf("%v: %+v", tc.info, got)
		}
	}
}
