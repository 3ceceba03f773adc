package ovpn

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// The cases without a fallback are those of openvpn's test_ncp.c.
func TestServerPicksCipher(t *testing.T) {
	const gcm, cbc, chacha = "CHACHA20_POLY1305:AES-128-GCM", "CHACHA20_POLY1305:AES-128-GCM:BF-CBC:none", "CHACHA20_POLY1305:AES-128-GCM:AES-256-GCM"
	for _, tc := range []struct{ ours, info, occ, fallback, want string }{
		{gcm, "IV_YOLO=NO\nIV_BAR=7", "cipher BF-CBC", "", ""},
		{cbc, "IV_YOLO=NO\nIV_BAR=7", "cipher BF-CBC", "", "BF-CBC"},
		{gcm, "IV_NCP=1\nIV_BAR=7", "cipher AES-128-GCM", "", "AES-128-GCM"},
		{gcm, "", "cipher AES-128-GCM", "", "AES-128-GCM"},
		{gcm, "", "cipher [null-cipher]", "", ""},
		{cbc, "", "cipher [null-cipher]", "", "none"},
		{gcm, "", "", "", ""},
		{chacha, "IV_YOLO=NO\nIV_NCP=2\nIV_BAR=7", "cipher BF-CBC", "", "AES-128-GCM"},
		{chacha, "IV_NCP=2\nIV_BAR=7", "cipher CHACHA20_POLY1305", "", "CHACHA20_POLY1305"},
		{chacha, "IV_CIPHERS=AES-128-GCM", "cipher AES-256-CBC", "", "AES-128-GCM"},
		{chacha, "IV_FOO=7\nIV_CIPHERS=AES-256-GCM\nIV_NCP=2", "cipher AES-256-CBC", "", "AES-256-GCM"},
		{gcm, "", "", "AES-256-CBC", "AES-256-CBC"},
		{gcm, "", "V4,cipher AES-256-CBC,auth SHA1", "AES-256-CBC", "AES-256-CBC"},
		{gcm, "", "cipher AES-128-CBC", "AES-256-CBC", ""},
		{gcm, "IV_CIPHERS=AES-256-CBC", "cipher AES-256-CBC", "AES-256-CBC", ""},
	} {
		s := &Session{cfg: Config{Ciphers: strings.Split(tc.ours, ":"), Fallback: tc.fallback}, peerInfo: parsePeerInfo(tc.info)}
		if got := s.negotiateCipher(tc.occ); got != tc.want {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
}

func TestClientPicksCipher(t *testing.T) {
	for _, tc := range []struct{ pushed, occ, fallback, want string }{
		{"AES-128-GCM", "cipher AES-256-GCM", "", "AES-128-GCM"},
		{"", "V4,cipher AES-256-GCM,auth x", "", "AES-256-GCM"},
		{"", "", "AES-192-GCM", "AES-192-GCM"},
		{"", "cipher AES-192-GCM", "AES-192-GCM", "AES-192-GCM"},
		{"", "", "", ""},
		{"AES-192-GCM", "", "", ""},
		{"", "cipher AES-192-GCM", "", ""},
	} {
		s := &Session{cfg: Config{Ciphers: []string{"AES-256-GCM", "AES-128-GCM"}, Fallback: tc.fallback}}
		c, err := s.pickPushedCipher(tc.pushed, tc.occ)
		if (err == nil) != (tc.want != "") || c.Name != tc.want {
			t.Errorf("%+v: got %q, %v", tc, c.Name, err)
		}
	}
}

// The strings are what openvpn 2.6.14 logs as "Local Options String".
func TestOptionsString(t *testing.T) {
	key, err := wrap.GenerateStaticKey(strings.NewReader(strings.Repeat("k", 256)))
	if err != nil {
		t.Fatal(err)
	}
	auth := func(direction int, hash string) wrap.Method {
		m, err := wrap.TLSAuth(key, direction, hash)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	own := push.Reply{Address: netip.MustParsePrefix("10.1.0.2/32"), Peer: netip.MustParseAddr("10.1.0.1")}
	own6 := own
	own6.Address6 = netip.MustParsePrefix("fd00::2/64")
	gcmAndCBC := []string{"AES-256-GCM", "AES-256-CBC"}
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"negotiating", Config{}, "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"over TCP", Config{Stream: true}, "V4,dev-type tun,link-mtu 1543,tun-mtu 1500,proto TCPv4_CLIENT,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"server over TCP", Config{Role: Server, Stream: true}, "V4,dev-type tun,link-mtu 1543,tun-mtu 1500,proto TCPv4_SERVER,auth SHA1,keysize 128,key-method 2,tls-server"},
		{"auth SHA256", Config{Auth: "sha256"}, "V4,dev-type tun,link-mtu 1553,tun-mtu 1500,proto UDPv4,auth SHA256,keysize 128,key-method 2,tls-client"},
		{"cipher GCM", Config{Fallback: "AES-128-GCM"}, "V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto UDPv4,cipher AES-128-GCM,auth [null-digest],keysize 128,key-method 2,tls-client"},
		{"cipher ChaCha", Config{Ciphers: []string{"CHACHA20-POLY1305"}}, "V4,dev-type tun,link-mtu 1534,tun-mtu 1500,proto UDPv4,cipher CHACHA20-POLY1305,auth [null-digest],keysize 256,key-method 2,tls-client"},
		{"fallback CBC", Config{Fallback: "AES-256-CBC", Auth: "SHA256"}, "V4,dev-type tun,link-mtu 1569,tun-mtu 1500,proto UDPv4,auth SHA256,keysize 256,key-method 2,tls-client"},
		{"fallback CFB", Config{Fallback: "AES-256-CFB"}, "V4,dev-type tun,link-mtu 1561,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 256,key-method 2,tls-client"},
		{"fallback OFB", Config{Fallback: "AES-192-OFB"}, "V4,dev-type tun,link-mtu 1561,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 192,key-method 2,tls-client"},
		{"fallback 3DES", Config{Fallback: "DES-EDE3-CBC"}, "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 192,key-method 2,tls-client"},
		{"fallback none", Config{Fallback: "none"}, "V4,dev-type tun,link-mtu 1525,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 0,key-method 2,tls-client"},
		{"cipher CBC, offered", Config{Ciphers: gcmAndCBC, Fallback: "AES-256-CBC"}, "V4,dev-type tun,link-mtu 1557,tun-mtu 1500,proto UDPv4,cipher AES-256-CBC,auth SHA1,keysize 256,key-method 2,tls-client"},
		{"tls-auth, tun-mtu", Config{Wrap: auth(-1, "SHA1"), MTU: 1400}, "V4,dev-type tun,link-mtu 1441,tun-mtu 1400,proto UDPv4,auth SHA1,keysize 128,tls-auth,key-method 2,tls-client"},
		{"tls-auth 1", Config{Wrap: auth(1, "SHA256"), Auth: "SHA256"}, "V4,dev-type tun,link-mtu 1553,tun-mtu 1500,proto UDPv4,keydir 1,auth SHA256,keysize 128,tls-auth,key-method 2,tls-client"},
		{"tls-auth 0", Config{Wrap: auth(0, "SHA512"), Auth: "SHA512"}, "V4,dev-type tun,link-mtu 1585,tun-mtu 1500,proto UDPv4,keydir 0,auth SHA512,keysize 128,tls-auth,key-method 2,tls-client"},
		{"tls-crypt", Config{Wrap: wrap.TLSCrypt(key)}, "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"comp-lzo no", Config{Compress: "lzo-no"}, "V4,dev-type tun,link-mtu 1542,tun-mtu 1500,proto UDPv4,comp-lzo,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"compress lz4", Config{Compress: "lz4"}, "V4,dev-type tun,link-mtu 1542,tun-mtu 1500,proto UDPv4,comp-lzo,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"compress stub-v2", Config{Compress: "stub-v2"}, "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,comp-lzo,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"fragment", Config{Fragment: 1300}, "V4,dev-type tun,link-mtu 1545,tun-mtu 1500,proto UDPv4,mtu-dynamic,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"much over UDP", Config{Fragment: 1200, Compress: "lzo-no", Wrap: auth(1, "SHA256"), Auth: "SHA256", Fallback: "AES-256-CBC"},
			"V4,dev-type tun,link-mtu 1574,tun-mtu 1500,proto UDPv4,comp-lzo,mtu-dynamic,keydir 1,auth SHA256,keysize 256,tls-auth,key-method 2,tls-client"},
		{"much over TCP", Config{Stream: true, Compress: "lzo-no", Wrap: auth(1, "SHA512"), Auth: "SHA512", Fallback: "AES-256-CBC"},
			"V4,dev-type tun,link-mtu 1604,tun-mtu 1500,proto TCPv4_CLIENT,comp-lzo,keydir 1,auth SHA512,keysize 256,tls-auth,key-method 2,tls-client"},
		{"GCM, framed, tls-auth", Config{Compress: "lzo-no", Wrap: auth(1, "SHA256"), Auth: "SHA256", Fallback: "AES-256-GCM"},
			"V4,dev-type tun,link-mtu 1550,tun-mtu 1500,proto UDPv4,comp-lzo,keydir 1,cipher AES-256-GCM,auth [null-digest],keysize 256,tls-auth,key-method 2,tls-client"},
		{"point to point", Config{PointToPoint: true, Own: own, Fallback: "BF-CBC"}, "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.1 10.1.0.2,cipher BF-CBC,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"point to point, subnet", Config{PointToPoint: true, Own: push.Reply{Address: netip.MustParsePrefix("10.1.0.2/24")}, Fallback: "BF-CBC"},
			"V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.0 255.255.255.0,cipher BF-CBC,auth SHA1,keysize 128,key-method 2,tls-client"},
		{"point to point, much", Config{PointToPoint: true, Own: own6, Fallback: "AES-256-CBC", Auth: "SHA256", Fragment: 1300, Compress: "lzo-no", Wrap: auth(1, "SHA256")},
			"V4,dev-type tun,link-mtu 1574,tun-mtu 1500,proto UDPv4,tun-ipv6,ifconfig 10.1.0.1 10.1.0.2,comp-lzo,mtu-dynamic,keydir 1,cipher AES-256-CBC,auth SHA256,keysize 256,tls-auth,key-method 2,tls-client"},
	} {
		tc.cfg.TLS = &tls.Config{InsecureSkipVerify: true}
		s, err := New(past, tc.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.occ(); got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.name, got, tc.want)
		}
		s.Abort()
	}
	// The sums for ciphers that need a digest, as old versions announced them.
	for _, tc := range []struct {
		cipher, auth, compress string
		stream                 bool
		fragment, want         int
	}{
		{"AES-256-CBC", "SHA1", "", false, 0, 1557},
		{"AES-256-CBC", "SHA1", "lzo-no", false, 0, 1558},
		{"AES-256-CBC", "SHA1", "lzo", true, 0, 1560},
		{"AES-128-CBC", "SHA256", "", false, 0, 1569},
		{"AES-256-CBC", "SHA512", "", false, 0, 1601},
		{"AES-256-CBC", "SHA1", "", false, 1300, 1561},
		{"BF-CBC", "SHA1", "", false, 0, 1541},
		{"BF-CBC", "SHA1", "lzo", true, 0, 1544},
	} {
		s := &Session{cfg: Config{MTU: 1500, Auth: tc.auth, Compress: tc.compress, Stream: tc.stream, Fragment: tc.fragment}}
		c, _ := LookupCipher(tc.cipher)
		if got := s.occLinkMTU(c); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
	// The numbers are from openvpn's test_crypto.c, test_occ_mtu_calculation, in its TLS mode.
	for _, tc := range []struct {
		cipher, auth, compress string
		fragment, want         int
	}{
		{"AES-128-CBC", "SHA1", "", 0, 1457}, {"none", "none", "", 0, 1405}, {"AES-256-GCM", "SHA1", "", 0, 1449}, {"AES-256-GCM", "SHA1", "lzo", 1200, 1454},
	} {
		s := &Session{cfg: Config{MTU: 1400, Auth: tc.auth, Compress: tc.compress, Fragment: tc.fragment}}
		c, _ := LookupCipher(tc.cipher)
		if got := s.occLinkMTU(c); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for want, cfg := range map[string]Config{
		`unknown cipher "BLOWFISH"`:     {Ciphers: []string{"BLOWFISH"}},
		`unknown fallback cipher "RC2"`: {Fallback: "RC2"},
		`digest "none"`:                 {Auth: "none"},
		`digest "CRC32"`:                {Auth: "CRC32"},
		`no sign-in method`:             {SSO: []string{"web\nauth"}},
	} {
		cfg.TLS = &tls.Config{}
		if _, err := New(past, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
}
