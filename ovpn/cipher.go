package ovpn

import (
	"crypto/aes"
	"crypto/cipher"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Cipher is a data channel cipher. Get one from LookupCipher; the zero value is none.
type Cipher struct {
	Name    string // as in data-ciphers and in pushed options
	KeySize int    // bytes

	newAEAD func(key []byte) (cipher.AEAD, error)
	// limit bounds cipher blocks plus packets under one key; 0 means none.
	limit uint64
}

// gcmLimit keeps an attacker's advantage under 2^-57 (openvpn's crypto.c,
// cipher_get_aead_limits, after draft-irtf-cfrg-aead-limits).
const gcmLimit = 1<<36 - 1

// LookupCipher finds a cipher by name, in any case.
func LookupCipher(name string) (Cipher, bool) {
	switch strings.ToUpper(name) {
	case "AES-256-GCM":
		return Cipher{Name: "AES-256-GCM", KeySize: 32, newAEAD: newGCM, limit: gcmLimit}, true
	case "AES-192-GCM":
		return Cipher{Name: "AES-192-GCM", KeySize: 24, newAEAD: newGCM, limit: gcmLimit}, true
	case "AES-128-GCM":
		return Cipher{Name: "AES-128-GCM", KeySize: 16, newAEAD: newGCM, limit: gcmLimit}, true
	case "CHACHA20-POLY1305":
		return Cipher{Name: "CHACHA20-POLY1305", KeySize: chacha20poly1305.KeySize, newAEAD: chacha20poly1305.New}, true
	}
	return Cipher{}, false
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
