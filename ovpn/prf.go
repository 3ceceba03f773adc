package ovpn

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/subtle"
	"hash"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// derivePRF takes the keys from both sides' randomness in key-method 2, the way
// of peers without the exporter (openvpn's ssl.c,
// generate_key_expansion_openvpn_prf).
func derivePRF(client, server *keySource, clientID, serverID wire.SessionID) *keyMaterial {
	var master [48]byte
	tls10PRF(master[:], client.preMaster[:], "OpenVPN master secret", client.random1[:], server.random1[:])
	var km keyMaterial
	tls10PRF(km[:], master[:], "OpenVPN key expansion", client.random2[:], server.random2[:], clientID[:], serverID[:])
	return &km
}

// tls10PRF fills out with the pseudo-random function of TLS 1.0 (RFC 2246,
// section 5): MD5 on the first half of secret, SHA-1 on the second, combined by
// XOR; an odd secret shares its middle byte. The seed is label followed by seeds.
func tls10PRF(out, secret []byte, label string, seeds ...[]byte) {
	seed := []byte(label)
	for _, s := range seeds {
		seed = append(seed, s...)
	}
	half := (len(secret) + 1) / 2
	other := make([]byte, len(out))
	expandP(out, md5.New, secret[:half], seed)
	expandP(other, sha1.New, secret[len(secret)-half:], seed)
	subtle.XORBytes(out, out, other)
}

// expandP is P_hash of RFC 2246.
func expandP(out []byte, newHash func() hash.Hash, secret, seed []byte) {
	h := hmac.New(newHash, secret)
	a := seed
	for len(out) > 0 {
		h.Reset()
		h.Write(a)
		a = h.Sum(nil)
		h.Reset()
		h.Write(a)
		h.Write(seed)
		out = out[copy(out, h.Sum(nil)):]
	}
}
