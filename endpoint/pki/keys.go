package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
)

var errNoPEM = errors.New("no PEM block of that kind")

// newKey makes an ECDSA P-256 key, or RSA of so many bits.
func newKey(rsaBits int) (crypto.Signer, error) {
	if rsaBits == 0 {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, rsaBits)
}

// encodeKey writes PKCS #8, as OpenSSL 3 does.
func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parseKey reads the first private key of a PEM text: PKCS #8, PKCS #1 or SEC 1.
// An encrypted one is ErrCAEncrypted.
func parseKey(text []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errNoPEM
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, ErrCAEncrypted
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default: // EC PARAMETERS comes before an EC PRIVATE KEY
			continue
		}
		if err != nil {
			return nil, err
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, errors.New("the key cannot sign")
		}
		return signer, nil
	}
}

// parseCert reads the first certificate of a PEM text; openssl writes a
// human-readable copy before it.
func parseCert(text []byte) (*x509.Certificate, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errNoPEM
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// sameKey tells whether a certificate's public key belongs to key.
func sameKey(pub any, key crypto.Signer) bool {
	p, ok := pub.(interface{ Equal(crypto.PublicKey) bool })
	return ok && p.Equal(key.Public())
}

// parseCRL reads a PEM revocation list; it does not check its signature.
func parseCRL(text []byte) (*x509.RevocationList, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "X509 CRL" {
		return nil, errNoPEM
	}
	return x509.ParseRevocationList(block.Bytes)
}
