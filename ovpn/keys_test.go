package ovpn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
)

// Both ends of a TLS connection export the same keys, and both reach each other with them.
func TestDeriveExporter(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		a, b := net.Pipe()
		server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}, MaxVersion: version})
		client := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
		if _, err := deriveExporter(&tls.ConnectionState{}); err == nil {
			t.Error("keys before the handshake")
		}
		done := make(chan error, 1)
		go func() { done <- server.Handshake() }()
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a.Close()
		b.Close()
		cs, ss := client.ConnectionState(), server.ConnectionState()
		ck, err := deriveExporter(&cs)
		if err != nil {
			t.Fatal(err)
		}
		sk, err := deriveExporter(&ss)
		if err != nil {
			t.Fatal(err)
		}
		if *ck != *sk || *ck == (keyMaterial{}) {
			t.Errorf("TLS %x: the two ends have different keys", version)
		}
		want, _ := cs.ExportKeyingMaterial("EXPORTER-OpenVPN-datakeys", nil, 256)
		if !bytes.Equal(ck[:], want) {
			t.Errorf("TLS %x: not the exporter of the specification", version)
		}
	}
}

func TestKeyMaterialStaysSecret(t *testing.T) {
	km := testKeys()
	var out strings.Builder
	for _, v := range []any{km, *km, struct{ K *keyMaterial }{km}, struct{ K keyMaterial }{*km}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", *km)
	for _, leak := range []string{hex.EncodeToString(km[:4]), fmt.Sprintf("%d %d %d", km[0], km[1], km[2]), fmt.Sprintf("%#x, %#x", km[0], km[1]), string(km[:8])} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("key bytes in output: %s", out.String())
		}
	}
}
