package radius

import (
	"crypto/des"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/md4" // what MS-CHAP is made of
)

// Microsoft's attributes (RFC 2548).
const (
	microsoft       = 311
	msCHAPResponse  = 1
	msCHAPError     = 2
	msCHAPChallenge = 11
	msCHAP2Response = 25
	msCHAP2Success  = 26
	msResponseLen   = 50
	useNTResponse   = 1 // flag of MS-CHAP-Response
	ntResponseLen   = 24
	challenge1Len   = 8  // of MS-CHAPv1
	challenge2Len   = 16 // of MS-CHAPv2, both ways
	desKeyLen       = 7  // without parity
)

// ntHash is NtPasswordHash (RFC 2759 §8.3).
func ntHash(password []byte) []byte {
	var wide []byte
	for _, u := range utf16.Encode([]rune(string(password))) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	h := md4.New()
	h.Write(wide)
	return h.Sum(nil)
}

// challengeResponse is ChallengeResponse (RFC 2759 §8.5): 24 bytes from a challenge of 8.
func challengeResponse(challenge, hash []byte) []byte {
	key := make([]byte, 3*desKeyLen)
	copy(key, hash)
	out := make([]byte, ntResponseLen)
	for i := range 3 {
		c, err := des.NewCipher(parity(key[i*desKeyLen:][:desKeyLen]))
		if err != nil {
			panic(err) // only for another key size
		}
		c.Encrypt(out[i*des.BlockSize:], challenge)
	}
	return out
}

// parity spreads 56 bits over 8 bytes; DES does not look at the lowest bit of each.
func parity(k []byte) []byte {
	var bits uint64
	for _, b := range k {
		bits = bits<<8 | uint64(b)
	}
	out := make([]byte, des.BlockSize)
	for i := range out {
		out[i] = byte(bits>>(49-7*i)) << 1
	}
	return out
}

// challengeHash is ChallengeHash (RFC 2759 §8.2).
func challengeHash(peer, authenticator []byte, user string) []byte {
	h := sha1.New()
	h.Write(peer)
	h.Write(authenticator)
	h.Write([]byte(user))
	return h.Sum(nil)[:challenge1Len]
}

// successOf is the "S=" text by which an MS-CHAPv2 server proves that it knows the password, too
// (GenerateAuthenticatorResponse, RFC 2759 §8.7).
func successOf(password, response, peer, authenticator []byte, user string) string {
	hash := md4.New()
	hash.Write(ntHash(password))
	h := sha1.New()
	h.Write(hash.Sum(nil))
	h.Write(response)
	h.Write([]byte("Magic server to client signing constant"))
	digest := h.Sum(nil)
	h = sha1.New()
	h.Write(digest)
	h.Write(challengeHash(peer, authenticator, user))
	h.Write([]byte("Pad to make it do more than one iteration"))
	return "S=" + strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

// mschap1 adds an MS-CHAPv1 proof.
func (r *request) mschap1(password []byte, challenge [challenge1Len]byte, ident byte) {
	r.vendor(msCHAPChallenge, challenge[:])
	v := make([]byte, msResponseLen)
	v[0], v[1] = ident, useNTResponse
	copy(v[2+ntResponseLen:], challengeResponse(challenge[:], ntHash(password)))
	r.vendor(msCHAPResponse, v)
}

// mschap2 adds an MS-CHAPv2 proof and returns what the server must prove.
func (r *request) mschap2(user string, password []byte, challenge, peer [challenge2Len]byte, ident byte) (success string) {
	r.vendor(msCHAPChallenge, challenge[:])
	response := challengeResponse(challengeHash(peer[:], challenge[:], user), ntHash(password))
	v := make([]byte, msResponseLen)
	v[0] = ident
	copy(v[2:], peer[:])
	copy(v[msResponseLen-ntResponseLen:], response)
	r.vendor(msCHAP2Response, v)
	return successOf(password, response, peer[:], challenge[:], user)
}

// provesSuccess says whether an Accept carries the server's half of MS-CHAPv2.
func (r *reply) provesSuccess(ident byte, want string) bool {
	v := r.vendor(msCHAP2Success)
	if len(v) < 1+len(want) || v[0] != ident {
		return false
	}
	return subtle.ConstantTimeCompare(v[1:1+len(want)], []byte(want)) == 1
}
