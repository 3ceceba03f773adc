// Package bench measures Adit: its parts here, and whole tunnels beside other
// implementations. Nothing imports it.
package bench

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

const (
	packetSize = 1400
	batchSize  = 64
)

var dataCiphers = []string{"AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"}

// formats are those of data packets: with epoch keys (the tag comes last), and openvpn 2.6's (it comes first).
var formats = []string{"epoch", "classic"}

// dataPair brings up a session with cipher and returns both packet crypts.
func dataPair(b *testing.B, cipher, format string) (client, server *ovpn.Data, now time.Time) {
	b.Helper()
	pki := ovpntest.NewPKI(b)
	ciphers := []string{cipher}
	p := ovpntest.NewPair(b,
		ovpn.Config{TLS: pki.ClientTLS("bench"), Ciphers: ciphers, Classic: format == "classic"},
		ovpn.Config{TLS: pki.ServerTLS(), Ciphers: ciphers, PeerID: 1},
		ovpntest.Noise{Delay: time.Millisecond}, 1)
	if !p.Run(50*time.Second, p.Up) {
		b.Fatalf("no tunnel: client %v, server %v", p.Client.Err, p.Server.Err)
	}
	p.Run(10*time.Second, nil)
	return p.Client.Session.Data(), p.Server.Session.Data(), p.Now
}

func packets(n, size int) [][]byte {
	pkts := make([][]byte, n)
	for i := range pkts {
		pkts[i] = make([]byte, size)
		pkts[i][0] = 0x45
	}
	return pkts
}

// perPacket reports one packet's time, so that batches compare with the raw cipher.
func perPacket(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/packet")
}

func eachFormat(b *testing.B, f func(b *testing.B, cipher, format string)) {
	for _, cipher := range dataCiphers {
		b.Run(cipher, func(b *testing.B) {
			for _, format := range formats {
				b.Run(format, func(b *testing.B) { f(b, cipher, format) })
			}
		})
	}
}

// sealBatch and openBatch are functions of their own so that a profiler can count what is inside them.
//
//go:noinline
func sealBatch(d *ovpn.Data, now time.Time, dst []byte, pkts *ovpn.List, sizes []int) []int {
	_, sizes = d.Seal(now, dst, 0, pkts, sizes)
	return sizes
}

//go:noinline
func openBatch(d *ovpn.Data, now time.Time, train [][]byte) int {
	n, _ := d.Open(now, train)
	return n
}

func BenchmarkSeal(b *testing.B) {
	eachFormat(b, func(b *testing.B, cipher, format string) {
		client, _, now := dataPair(b, cipher, format)
		pkts, sizes := packets(batchSize, packetSize), make([]int, 0, batchSize)
		var rest ovpn.List
		dst := make([]byte, 0, batchSize*(packetSize+ovpn.MaxOverhead)+64)
		b.SetBytes(batchSize * packetSize)
		b.ReportAllocs()
		for b.Loop() {
			rest = pkts
			if sizes = sealBatch(client, now, dst, &rest, sizes); len(sizes) != batchSize {
				b.Fatalf("sealed %d", len(sizes))
			}
		}
		perPacket(b)
	})
}

func BenchmarkOpen(b *testing.B) {
	eachFormat(b, func(b *testing.B, cipher, format string) {
		client, server, now := dataPair(b, cipher, format)
		pkts, sizes := packets(batchSize, packetSize), make([]int, 0, batchSize)
		var rest ovpn.List
		dst := make([]byte, 0, batchSize*(packetSize+ovpn.MaxOverhead)+64)
		train := make([][]byte, batchSize)
		b.SetBytes(batchSize * packetSize)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer() // each datagram opens only once
			var buf []byte
			rest = pkts
			buf, sizes = client.Seal(now, dst, 0, &rest, sizes)
			for i, size := range sizes {
				train[i], buf = buf[:size], buf[size:]
			}
			b.StartTimer()
			if n := openBatch(server, now, train); n != batchSize {
				b.Fatalf("opened %d", n)
			}
		}
		perPacket(b)
	})
}

// BenchmarkRaw is the floor: the cipher alone on the same buffers.
func BenchmarkRaw(b *testing.B) {
	gcm := func(key []byte) (cipher.AEAD, error) {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}
	for _, c := range []struct {
		name string
		size int
		make func([]byte) (cipher.AEAD, error)
	}{{"AES-256-GCM", 32, gcm}, {"AES-128-GCM", 16, gcm}, {"CHACHA20-POLY1305", 32, chacha20poly1305.New}} {
		aead, err := c.make(make([]byte, c.size))
		if err != nil {
			b.Fatal(err)
		}
		pkts := packets(batchSize, packetSize)
		nonce, ad := make([]byte, 12), make([]byte, 8)
		const slot = packetSize + ovpn.MaxOverhead
		sealed := make([]byte, batchSize*slot)
		b.Run("Seal/"+c.name, func(b *testing.B) {
			b.SetBytes(batchSize * packetSize)
			for b.Loop() {
				for i, p := range pkts {
					binary.BigEndian.PutUint32(nonce, uint32(i))
					aead.Seal(sealed[i*slot:i*slot], nonce, p, ad)
				}
			}
			perPacket(b)
		})
		b.Run("Open/"+c.name, func(b *testing.B) {
			for i, p := range pkts {
				binary.BigEndian.PutUint32(nonce, uint32(i))
				aead.Seal(sealed[i*slot:i*slot], nonce, p, ad)
			}
			b.SetBytes(batchSize * packetSize)
			for b.Loop() {
				for i, p := range pkts {
					binary.BigEndian.PutUint32(nonce, uint32(i))
					if _, err := aead.Open(p[:0], nonce, sealed[i*slot:i*slot+packetSize+16], ad); err != nil {
						b.Fatal(err)
					}
				}
			}
			perPacket(b)
		})
	}
}
