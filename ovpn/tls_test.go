package ovpn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"
)

// openvpn 2.7's client refuses a server's certificate under TLS 1.3 with an alert in
// the clear, as OpenSSL does it; the server's owner shall read what was refused.
func TestAlertInTheClear(t *testing.T) {
	server := newSecure(Server, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{selfSigned(t)}})
	defer server.close()
	client := newSecure(Client, &tls.Config{ServerName: "server"})
	defer client.close()
	client.step()
	server.feed(client.drain())
	if s := server.step(); s.err != nil || len(server.drain()) == 0 {
		t.Fatalf("server's hello: %v", s.err)
	}
	server.feed([]byte{21, 3, 3, 0, 2, 2, 48}) // as captured: fatal, unknown_ca
	var alert tls.AlertError
	if s := server.step(); !errors.As(s.err, &alert) || alert != 48 {
		t.Errorf("the server says %v", s.err)
	}
}

// selfSigned is a certificate that a server shows in tests of TLS alone.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestRecords: one step gives one record, however the bytes come, and nothing of the handshake runs on.
func TestRecords(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, piece := range []int{1, 700, 1 << 20} {
			server := newSecure(Server, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MaxVersion: version, DynamicRecordSizingDisabled: true})
			client := newSecure(Client, &tls.Config{InsecureSkipVerify: true, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true})
			t.Cleanup(server.close)
			t.Cleanup(client.close)
			var records [][]byte
			up := 0
			// take steps until c wants more.
			take := func(c *secure) {
				t.Helper()
				for range 100 {
					s := c.step()
					switch {
					case s.err != nil:
						t.Fatalf("%x, pieces of %d: %v", version, piece, s.err)
					case s.established:
						up++
					case s.plain != nil:
						records = append(records, s.plain)
					default:
						return
					}
				}
				t.Fatal("no end")
			}
			move := func(from, to *secure) (moved bool) {
				t.Helper()
				for b := from.drain(); len(b) > 0; moved = true {
					n := min(piece, len(b))
					to.feed(b[:n])
					b = b[n:]
					take(to)
				}
				return moved
			}
			take(client)
			for move(client, server) || move(server, client) {
			}
			if up != 2 || server.next != nil || client.next != nil {
				t.Fatalf("%x, pieces of %d: %d ends are established", version, piece, up)
			}
			want := [][]byte{[]byte("a"), bytes.Repeat([]byte("b"), maxRecord), bytes.Repeat([]byte("c"), maxRecord), []byte("d"), []byte("e")}
			for _, w := range [][]byte{want[0], append(want[1], want[2]...), want[3], want[4]} {
				if err := client.write(w); err != nil {
					t.Fatal(err)
				}
			}
			move(client, server)
			if !slices.EqualFunc(records, want, bytes.Equal) {
				t.Errorf("%x, pieces of %d: %d records", version, piece, len(records))
			}
			if server.pipe.in != nil || server.pipe.left != 0 {
				t.Errorf("%x, pieces of %d: %d bytes are kept", version, piece, len(server.pipe.in))
			}

			// What no TLS would send ends the connection, and that is said again.
			server.feed([]byte{23, 3, 3, 0, 0})
			server.feed([]byte{23, 3, 3, 0xff, 0xff})
			for range 2 {
				if s := server.step(); s.err == nil {
					t.Errorf("%x: broken records: %+v", version, s)
				}
			}
		}
	}
}
