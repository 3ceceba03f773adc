package bench

import (
	"crypto/rand"
	"crypto/tls"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// BenchmarkHandshake is both ends of one connect, up to the configuration, behind tls-crypt.
func BenchmarkHandshake(b *testing.B) {
	pki := ovpntest.NewPKI(b)
	key, err := wrap.GenerateStaticKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	method, ciphers := wrap.TLSCrypt(key), []string{"AES-256-GCM"}
	client, server := pki.ClientTLS("bench"), pki.ServerTLS()
	client.CurvePreferences = []tls.CurveID{tls.X25519}
	b.ReportAllocs()
	for b.Loop() {
		done := make(chan *ovpntest.Pair)
		go func() { // with a small stack, as a server's sessions begin
			p := ovpntest.NewPair(b,
				ovpn.Config{TLS: client, Ciphers: ciphers, Wrap: method},
				ovpn.Config{TLS: server, Ciphers: ciphers, Wrap: method, PeerID: 1},
				ovpntest.Noise{Delay: time.Millisecond}, 1)
			p.Run(10*time.Second, p.Up)
			done <- p
		}()
		if p := <-done; !p.Up() {
			b.Fatalf("no tunnel: client %v, server %v", p.Client.Err, p.Server.Err)
		}
	}
}
