package profile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// number reads a value of a field within bounds.
func number(field, s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, remark("number", "field", field, "value", strconv.Quote(s), "low", strconv.Itoa(low), "high", strconv.Itoa(high))
	}
	return n, nil
}

// count reads a number of bytes or packets.
func count(field, s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %q is not a number from 0 up", field, s)
	}
	return n, nil
}

const maxSeconds = 366 * 24 * 3600

func seconds(field, s string) (time.Duration, error) {
	n, err := number(field, s, 0, maxSeconds)
	return time.Duration(n) * time.Second, err
}

func portNumber(s string) (uint16, error) {
	n, err := number("port", s, 1, 65535)
	return uint16(n), err
}

// protocol reads proto's word for a client.
func protocol(s string) (string, error) {
	switch s = strings.ToLower(s); s {
	case "udp", "udp4", "udp6", "tcp", "tcp4", "tcp6":
		return s, nil
	case "tcp-client", "tcp4-client", "tcp6-client":
		return strings.TrimSuffix(s, "-client"), nil
	case "tcp-server", "tcp4-server", "tcp6-server":
		return "", fmt.Errorf("proto %s is for servers", s)
	}
	return "", remark("protocol", "value", strconv.Quote(s))
}

func hostName(s string) error {
	if _, err := netip.ParseAddr(s); err == nil || push.IsDomain(s) {
		return nil
	}
	return remark("host", "value", strconv.Quote(s))
}

// fingerprint reads AA:BB:….
func fingerprint(s string, size int) ([]byte, error) {
	sum, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(sum) != size {
		return nil, fmt.Errorf("fingerprint %q is not %d bytes in hex", s, size)
	}
	return sum, nil
}

func tlsVersion(s string) (uint16, error) {
	switch s {
	case "1.0":
		return tls.VersionTLS10, nil
	case "1.1":
		return tls.VersionTLS11, nil
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("version %q is not 1.2 or 1.3", s)
}

// curve maps the names of TLS groups that crypto/tls has.
func curve(s string) (tls.CurveID, bool) {
	switch strings.ToLower(s) {
	case "x25519":
		return tls.X25519, true
	case "secp256r1", "prime256v1", "p-256":
		return tls.CurveP256, true
	case "secp384r1", "p-384":
		return tls.CurveP384, true
	case "secp521r1", "p-521":
		return tls.CurveP521, true
	case "x25519mlkem768":
		return tls.X25519MLKEM768, true
	}
	return 0, false
}

// suites maps openvpn's list of TLS 1.2 suites to those that crypto/tls has.
func suites(list string) (ids []uint16) {
	for name := range strings.SplitSeq(list, ":") {
		name = strings.ReplaceAll(strings.ToUpper(name), "-", "_")
		for _, s := range tls.CipherSuites() {
			have := strings.TrimSuffix(s.Name, "_SHA256")
			if name == s.Name || name == have && strings.Contains(s.Name, "CHACHA20") || opensslName(s.Name) == name {
				ids = append(ids, s.ID)
			}
		}
	}
	return ids
}

// opensslName turns TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 into ECDHE_RSA_AES128_GCM_SHA256.
func opensslName(iana string) string {
	return strings.NewReplacer("TLS_", "", "WITH_", "", "AES_", "AES").Replace(iana)
}

// cipherKind sorts data channel ciphers.
type cipherKind uint8

const (
	aead    cipherKind = iota
	legacy             // authenticated by auth's digest
	broken             // encrypts, but not for long; an administrator may insist
	weak               // broken, and nobody may
	foreign            // not broken, but not ours
	strange            // no cipher
)

func classify(cipher string) cipherKind {
	switch cipher {
	case "AES-256-GCM", "AES-192-GCM", "AES-128-GCM", "CHACHA20-POLY1305":
		return aead
	case "AES-256-CBC", "AES-192-CBC", "AES-128-CBC", "AES-256-CFB", "AES-192-CFB", "AES-128-CFB", "AES-256-OFB", "AES-192-OFB", "AES-128-OFB":
		return legacy
	case "BF-CBC", "DES-EDE3-CBC", "DES-CBC":
		return broken // blocks of 64 bits (CVE-2016-6329)
	}
	family, _, ok := strings.Cut(cipher, "-")
	switch {
	case cipher == "NONE":
		return weak
	case !ok:
		return strange
	case slices.Contains([]string{"BF", "DES", "DESX", "RC2", "RC5", "CAST5", "IDEA"}, family):
		return weak // blocks of 64 bits, too, and not ours
	case slices.Contains([]string{"AES", "CAMELLIA", "ARIA", "SEED", "SM4", "CHACHA20"}, family):
		return foreign
	}
	return strange
}

// certificates reads all certificates of PEM text.
func certificates(text []byte) ([]*x509.Certificate, error) {
	const begin = "-----BEGIN CERTIFICATE-----"
	written := bytes.Count(text, []byte(begin))
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, remark("no_certificate")
	}
	if len(certs) < written {
		return nil, remark("certificates_damaged", "damaged", strconv.Itoa(written-len(certs)), "all", strconv.Itoa(written))
	}
	return certs, nil
}

// privateKey checks that PEM text holds a key; encrypted ones pass here.
func privateKey(text []byte) error {
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return remark("no_private_key")
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil
		}
	}
}

// clientKeyV2 checks a tls-crypt-v2 client key: 256 bytes of key and the wrapped
// key of at most 1024 (openvpn's tls_crypt.h).
func clientKeyV2(text string) error {
	const kind = "OpenVPN tls-crypt-v2 client key"
	block, _ := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return errors.New("holds no " + kind + ": truncated or not PEM?")
	case block.Type == "OpenVPN tls-crypt-v2 server key":
		return errors.New("is the server's key: a client never gets it")
	case block.Type != kind:
		return errors.New("holds no " + kind)
	}
	const key, tag, length, most = 256, 32, 2, 1024
	wrapped := len(block.Bytes) - key
	if wrapped < tag+key+length || wrapped > most || int(block.Bytes[len(block.Bytes)-2])<<8|int(block.Bytes[len(block.Bytes)-1]) != wrapped {
		return errors.New("the " + kind + " has the wrong length")
	}
	return nil
}

// staticKey checks openvpn's 2048-bit key file.
func staticKey(text string) error {
	const begin, end = "-----BEGIN OpenVPN Static key V1-----", "-----END OpenVPN Static key V1-----"
	_, body, ok := strings.Cut(text, begin)
	if !ok {
		return remark("no_static_key")
	}
	body, _, ok = strings.Cut(body, end)
	if !ok {
		return remark("static_key_truncated")
	}
	key, err := hex.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil || len(key) != 256 {
		return remark("static_key_damaged")
	}
	return nil
}

func oneOf(field, s string, words ...string) error {
	if slices.Contains(words, s) {
		return nil
	}
	return remark("one_of", "field", field, "value", strconv.Quote(s), "words", strings.Join(words, ", "))
}
