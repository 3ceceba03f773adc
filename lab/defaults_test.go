//go:build linux

package lab

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/endpoint/network"
)

// TestDefaults: what our client and our endpoint agree upon when nobody asks for
// anything, seen on the wire: tls-crypt-v2 with the cookie exchange, epoch data
// keys, and a key of their own for later negotiations (dynamic tls-crypt).
func TestDefaults(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	wire := s.tap(s.server, "eth0")
	e := s.start(s.server, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--data", s.dataDir(), "--listen", netip.AddrPortFrom(serverOuter, port).String())
	s.ok(e.WaitFor("listening on", soon))
	service := s.aditd()
	exported := s.read(s.dataDir() + "/client.ovpn")
	s.connect(strings.Replace(exported, "reneg-sec 0\n", "reneg-sec 2\n", 1))
	s.reaches(s.client, none, network.DemoAddress())
	s.until(soon, "two renegotiations", func() bool { return strings.Count(service.Out.String(), "renegotiation=true") >= 2 })
	s.reaches(s.client, none, network.DemoAddress())

	if got, want := s.status().Protection, (api.Protection{TLS: "TLS 1.3", Control: "tls-crypt-v2, dynamic tls-crypt", Data: "AES-256-GCM epoch keys"}); got != want {
		t.Errorf("the status says %+v", got)
	}
	if out := service.Out.String(); !strings.Contains(out, `tls="TLS 1.3" renegotiation=false`) || !strings.Contains(out, "keys_by_exporter=true") {
		t.Error("not TLS 1.3 with keys from the exporter")
	}
	ways := wire.seen()
	if to := ways[0].opcodes; to[opClientResetV3] == 0 || to[opControlWKC] == 0 {
		t.Errorf("no tls-crypt-v2 with a cookie: packets to the server by opcode: %v", to)
	}
	key := wrappedClientKey(t, exported)
	for i, direction := range []string{"to the server", "to the client"} {
		if e := ways[i].epochs; len(e) != 1 || !e[1] {
			t.Errorf("the packet ids %s begin with %v, expected epoch 1 only", direction, e)
		}
		// openvpn tls_crypt.h: the server's packets use the key's first half.
		half := key[128*(1-i):][:128]
		known, unknown := 0, 0
		for _, b := range ways[i].control {
			switch keyID := b[0] & 7; {
			case b[0]>>3 == opControlWKC || b[0]>>3 == opClientResetV3: // with the key itself at its end
			case opensTLSCrypt(half, b) != (keyID == 0):
				t.Errorf("a control packet %s with key %d: the client's key opens it: %t", direction, keyID, keyID != 0)
			case keyID == 0:
				known++
			default:
				unknown++
			}
		}
		if known == 0 || unknown == 0 {
			t.Errorf("%d control packets %s of the first negotiation and %d of later ones", known, direction, unknown)
		}
	}
}

var wrapBlock = regexp.MustCompile(`(?s)<tls-crypt-v2>\n(.*?)</tls-crypt-v2>`)

// wrappedClientKey is the 256-byte key in a profile's tls-crypt-v2 block.
func wrappedClientKey(t *testing.T, profile string) []byte {
	t.Helper()
	m := wrapBlock.FindStringSubmatch(profile)
	if m == nil {
		t.Fatal("the profile has no tls-crypt-v2 key")
	}
	b, _ := pem.Decode([]byte(m[1]))
	if b == nil || len(b.Bytes) < 256 {
		t.Fatalf("tls-crypt-v2 key: %s", base64.StdEncoding.EncodeToString([]byte(m[1][:30])))
	}
	return b.Bytes[:256]
}

// opensTLSCrypt is whether half a static key authenticates a control packet, as
// openvpn's tls_crypt.h describes: opcode, session id, packet id, time (17 bytes),
// HMAC-SHA256, and AES-256-CTR under its first 16 bytes.
func opensTLSCrypt(half, b []byte) bool {
	if len(b) < 17+32 {
		return false
	}
	block, err := aes.NewCipher(half[:32])
	if err != nil {
		panic(err)
	}
	tag, plain := b[17:49], make([]byte, len(b)-49)
	cipher.NewCTR(block, tag[:16]).XORKeyStream(plain, b[49:])
	mac := hmac.New(sha256.New, half[64:96])
	mac.Write(b[:17])
	mac.Write(plain)
	return hmac.Equal(mac.Sum(nil), tag)
}
