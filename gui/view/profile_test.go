package view

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

// openProfile is a profile whose key is in the clear.
func openProfile(t *testing.T) string { return newProfile(t, "") }

// lockedProfile is one whose key has the passphrase "open sesame".
func lockedProfile(t *testing.T) string { return newProfile(t, "open sesame") }

func newProfile(t *testing.T, passphrase string) string {
	t.Helper()
	pki := ovpntest.NewPKI(t)
	leaf := pki.Issue("client", x509.ExtKeyUsageClientAuth, nil)
	cert, key := ovpntest.PEM(t, leaf)
	if passphrase != "" {
		der, err := x509.MarshalECPrivateKey(leaf.PrivateKey.(*ecdsa.PrivateKey))
		if err != nil {
			t.Fatal(err)
		}
		block, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte(passphrase), x509.PEMCipherAES128)
		if err != nil {
			t.Fatal(err)
		}
		key = pem.EncodeToMemory(block)
	}
	return fmt.Sprintf("client\ndev tun\nnobind\nremote vpn.example.com 1194 udp\nremote-cert-tls server\n<ca>\n%s</ca>\n<cert>\n%s</cert>\n<key>\n%s</key>\n", pki.CA(), cert, key)
}
