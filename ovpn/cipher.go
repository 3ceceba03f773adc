package ovpn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/blowfish"
	"golang.org/x/crypto/chacha20poly1305"
)

// Cipher is a data channel cipher. Get one from LookupCipher; the zero value is none.
type Cipher struct {
	Name    string // as in data-ciphers and in pushed options
	KeySize int    // bytes
	// Insecure ciphers protect nothing ("none"), or not for long (blocks of 64 bits, CVE-2016-6329).
	// LookupCipher knows them so that they can be named; see Broken for those that may be used.
	Insecure bool

	newAEAD func(key []byte) (cipher.AEAD, error)
	// newBlock and mode are for ciphers that need an HMAC beside them.
	newBlock func(key []byte) (cipher.Block, error)
	mode     blockMode
	block    int // bytes; 0 for none
	// limit bounds cipher blocks, with an AEAD cipher blocks plus packets, under one key; 0 means none.
	limit uint64
}

// AEAD says whether the cipher authenticates, and needs no HMAC.
func (c Cipher) AEAD() bool { return c.newAEAD != nil }

// Broken says whether the cipher encrypts, but not for long: an administrator may insist on it.
// Nobody may on "none", whose traffic anybody reads.
func (c Cipher) Broken() bool { return c.Insecure && c.newBlock != nil }

// gcmLimit keeps an attacker's advantage under 2^-57 (openvpn's crypto.c,
// cipher_get_aead_limits, after draft-irtf-cfrg-aead-limits).
const gcmLimit = 1<<36 - 1

// smallBlockLimit is what openvpn lets pass under one key of a cipher with 64-bit blocks:
// 64 MB (reneg-bytes, ssl.c).
const smallBlockLimit = 64 << 20 / 8

// LookupCipher finds a cipher by name, in any case: those of openvpn that somebody may still
// use. "none" is one too.
func LookupCipher(name string) (Cipher, bool) {
	switch name = strings.ToUpper(name); name {
	case "AES-256-GCM", "AES-192-GCM", "AES-128-GCM":
		return Cipher{Name: name, KeySize: aesKeySize(name), newAEAD: newGCM, block: aes.BlockSize, limit: gcmLimit}, true
	case "CHACHA20-POLY1305":
		return Cipher{Name: name, KeySize: chacha20poly1305.KeySize, newAEAD: chacha20poly1305.New, block: 1}, true
	case "AES-256-CBC", "AES-192-CBC", "AES-128-CBC":
		return Cipher{Name: name, KeySize: aesKeySize(name), newBlock: aes.NewCipher, mode: modeCBC, block: aes.BlockSize}, true
	case "AES-256-CFB", "AES-192-CFB", "AES-128-CFB":
		return Cipher{Name: name, KeySize: aesKeySize(name), newBlock: aes.NewCipher, mode: modeCFB, block: aes.BlockSize}, true
	case "AES-256-OFB", "AES-192-OFB", "AES-128-OFB":
		return Cipher{Name: name, KeySize: aesKeySize(name), newBlock: aes.NewCipher, mode: modeOFB, block: aes.BlockSize}, true
	case "BF-CBC":
		return Cipher{Name: name, KeySize: 16, Insecure: true, newBlock: newBlowfish, mode: modeCBC, block: blowfish.BlockSize, limit: smallBlockLimit}, true
	case "DES-EDE3-CBC":
		return Cipher{Name: name, KeySize: 24, Insecure: true, newBlock: des.NewTripleDESCipher, mode: modeCBC, block: des.BlockSize, limit: smallBlockLimit}, true
	case "DES-CBC":
		return Cipher{Name: name, KeySize: 8, Insecure: true, newBlock: des.NewCipher, mode: modeCBC, block: des.BlockSize, limit: smallBlockLimit}, true
	case "NONE":
		return Cipher{Name: "none", Insecure: true}, true
	}
	return Cipher{}, false
}

// aesKeySize reads the key length out of a name like AES-256-GCM.
func aesKeySize(name string) int {
	switch name[len("AES-"):len("AES-256")] {
	case "256":
		return 32
	case "192":
		return 24
	}
	return 16
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func newBlowfish(key []byte) (cipher.Block, error) { return blowfish.NewCipher(key) }

// LookupDigest finds the digest of an HMAC (auth of the profile) by name, in any case, and
// returns its usual name and its length in bytes; 0 for "none".
func LookupDigest(name string) (canonical string, size int, ok bool) {
	name = strings.TrimPrefix(strings.ToUpper(name), "RSA-")
	switch name {
	case "MD5":
		return name, md5.Size, true
	case "SHA1", "SHA":
		return "SHA1", sha1.Size, true
	case "SHA224", "SHA2-224", "SHA-224":
		return "SHA224", sha256.Size224, true
	case "SHA256", "SHA2-256", "SHA-256":
		return "SHA256", sha256.Size, true
	case "SHA384", "SHA2-384", "SHA-384":
		return "SHA384", sha512.Size384, true
	case "SHA512", "SHA2-512", "SHA-512":
		return "SHA512", sha512.Size, true
	case "NONE":
		return "none", 0, true
	}
	return "", 0, false
}

// newDigest makes the digest of a name, openvpn's default for "", and nil for "none".
func newDigest(name string) (func() hash.Hash, error) {
	if name == "" {
		name = "SHA1"
	}
	switch canonical, _, _ := LookupDigest(name); canonical {
	case "MD5":
		return md5.New, nil
	case "SHA1":
		return sha1.New, nil
	case "SHA224":
		return sha256.New224, nil
	case "SHA256":
		return sha256.New, nil
	case "SHA384":
		return sha512.New384, nil
	case "SHA512":
		return sha512.New, nil
	case "none":
		return nil, nil
	}
	return nil, fmt.Errorf("unknown digest %q", name)
}
