package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Tokens makes and checks the tokens that a client uses in place of its password when it
// renegotiates or comes back (openvpn's auth_token.c): nothing is stored, so that they survive a
// restart when the secret does. A token is
//
//	SESS_ID_AT_ base64(session id 12 ‖ first issued 8 ‖ issued 8 ‖ HMAC-SHA256(user ‖ all before))
//
// with times in Unix seconds, big endian. Immutable.
type Tokens struct {
	key      [sha256.Size]byte
	lifetime time.Duration
	renewal  time.Duration
	now      func() time.Time
}

const (
	tokenPrefix  = "SESS_ID_AT_"
	tokenSession = 12
	tokenSigned  = tokenSession + 8 + 8
	tokenData    = tokenSigned + sha256.Size
	tokenLength  = len(tokenPrefix) + tokenData/3*4 // no padding
	tokenSecret  = "OpenVPN auth-token server key"  // the type of a PEM file
	tokenKeyAt   = 64                               // in its body of 128 bytes: the first HMAC key
)

// What can be wrong with a token.
var (
	ErrNoToken      = errors.New("not an authentication token")
	ErrTokenForged  = errors.New("the authentication token is not one of ours for this user")
	ErrTokenExpired = errors.New("the authentication token has expired")
)

// NewTokens makes tokens that are good for lifetime after the sign-in (0: without end), if each is
// replaced by a newer one in time: one alone is good for twice renewal. secret is the PEM file of
// openvpn's "--genkey auth-token", or nil for a random one.
func NewTokens(secret []byte, lifetime, renewal time.Duration, now func() time.Time) (*Tokens, error) {
	if renewal <= 0 || lifetime < 0 {
		return nil, errors.New("auth-token: renewal must be positive, lifetime not negative")
	}
	t := &Tokens{lifetime: lifetime, renewal: renewal, now: now}
	if secret == nil {
		rand.Read(t.key[:])
		return t, nil
	}
	block, _ := pem.Decode(secret)
	if block == nil || block.Type != tokenSecret {
		return nil, fmt.Errorf("auth-token: no %q in the file", tokenSecret)
	}
	if len(block.Bytes) < tokenKeyAt+len(t.key) {
		return nil, fmt.Errorf("auth-token: the secret has %d bytes, too few", len(block.Bytes))
	}
	copy(t.key[:], block.Bytes[tokenKeyAt:])
	return t, nil
}

// Lasting makes tokens of the same secret with other times.
func (t *Tokens) Lasting(lifetime, renewal time.Duration) *Tokens {
	next := *t
	next.lifetime, next.renewal = lifetime, renewal
	return &next
}

// TokenSession is what all tokens of one sign-in have in common.
type TokenSession [tokenSession]byte

// SessionOf is the sign-in that a token comes from; the zero value for another password. Whether
// the token is good is for Verify.
func SessionOf(password push.Secret) (id TokenSession) {
	if k, ok := decode(password); ok {
		copy(id[:], k.session())
	}
	return id
}

// Until is when a token that is issued or renewed now is good no longer, unless it is renewed again, or the sign-in is Over before.
func (t *Tokens) Until() time.Time { return t.now().Add(2 * t.renewal) }

// Over says whether the tokens of a sign-in at first are good no longer at now, however late they were renewed.
func (t *Tokens) Over(first, now time.Time) bool {
	return t.lifetime > 0 && now.After(first.Add(t.lifetime))
}

// token is a decoded one.
type token [tokenData]byte

func (k *token) session() []byte { return k[:tokenSession] }
func (k *token) first() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(k[tokenSession:])), 0)
}
func (k *token) issued() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(k[tokenSession+8:])), 0)
}

func (k *token) String() string { return tokenPrefix + base64.StdEncoding.EncodeToString(k[:]) }

// IsToken says whether a password has the form of a token.
func IsToken(password push.Secret) bool {
	return len(password) == tokenLength && strings.HasPrefix(string(password), tokenPrefix)
}

// decode checks form and length first (CVE-2026-13122).
func decode(password push.Secret) (k token, ok bool) {
	if !IsToken(password) {
		return k, false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(string(password[len(tokenPrefix):]))
	return k, err == nil && copy(k[:], b) == len(k) && len(b) == len(k)
}

func (t *Tokens) sign(user string, k *token) []byte {
	m := hmac.New(sha256.New, t.key[:])
	m.Write([]byte(user))
	m.Write(k[:tokenSigned])
	return m.Sum(nil)
}

// Issue makes the token of a user who has just signed in.
func (t *Tokens) Issue(user string) push.Secret {
	var k token
	rand.Read(k[:tokenSession])
	return t.issue(user, k, t.now())
}

// Renew makes the successor of a token that Verify accepted: the sign-in stays as old as it is.
func (t *Tokens) Renew(old push.Secret, user string) (push.Secret, error) {
	k, ok := decode(old)
	if !ok {
		return "", ErrNoToken
	}
	return t.issue(user, k, k.first()), nil
}

func (t *Tokens) issue(user string, k token, first time.Time) push.Secret {
	binary.BigEndian.PutUint64(k[tokenSession:], uint64(first.Unix()))
	binary.BigEndian.PutUint64(k[tokenSession+8:], uint64(t.now().Unix()))
	copy(k[tokenSigned:], t.sign(user, &k))
	return push.Secret(k.String())
}

// Verify says whether password is a token of user's that is good now: nil, ErrNoToken,
// ErrTokenForged or ErrTokenExpired.
func (t *Tokens) Verify(user string, password push.Secret) error {
	k, ok := decode(password)
	if !ok {
		return ErrNoToken
	}
	if !hmac.Equal(t.sign(user, &k), k[tokenSigned:]) {
		return ErrTokenForged
	}
	now := t.now()
	switch first, issued := k.first(), k.issued(); {
	case now.Before(issued), issued.Before(first), !now.Before(issued.Add(2 * t.renewal)), t.Over(first, now):
		return ErrTokenExpired
	}
	return nil
}

// SameSession says whether two tokens come from the same sign-in.
func SameSession(a, b push.Secret) bool {
	x, ok := decode(a)
	y, also := decode(b)
	return ok && also && subtle.ConstantTimeCompare(x.session(), y.session()) == 1
}
