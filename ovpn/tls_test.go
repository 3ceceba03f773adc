package ovpn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"
)

// openvpn 2.7's client refuses a server's certificate under TLS 1.3 with an alert in
// the clear, as OpenSSL does it; the server's owner shall read what was refused.
func TestAlertInTheClear(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := newSecure(Server, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
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
