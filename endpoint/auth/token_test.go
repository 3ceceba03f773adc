package auth

import (
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

const (
	zeroSecret = `-----BEGIN OpenVPN auth-token server key-----
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
-----END OpenVPN auth-token server key-----
`
	randomSecret = `-----BEGIN OpenVPN auth-token server key-----
+mmmf7IQ5cymtMVjKYTWk8IOcYanRlpQmV9Tb3EjkHYxueBVDg3yqRgzeBlVGzNLD//rAPiOVhau
3NDBjNOQB8951bfs7Cc2mYfay92Bh2gRJ5XEM/DMfzCWN+7uU6NWoTTHr4FuojnIQtjtqVAj/JS9
w+dTSp/vYHl+c7uHd19uVRu/qLqV85+rm4tUGIjO7FfYuwyPqwmhuIsi3hs9QkSimh888FmBpoKY
/tbKVTJZmSERKti9KEwtV2eVAR0znN5KW7lCB3mHVAhN7bUpcoDjfCzYIFARxwswTFu9gFkwqUMY
I1KUOgIsVNs4llACioeXplYekWETR+YkJwDc/A==
-----END OpenVPN auth-token server key-----
`
	zeroToken   push.Secret = "SESS_ID_AT_0123456789abcdefAAAAAAAAAAAAAAAAAAAAAE5JsQJOVfo8jnI3RL3tBaR5NkE4yPfcylFUHmHSc5Bu"
	randomToken push.Secret = "SESS_ID_AT_ThhRItzOKNKrh3dfAAAAAFwzHpwAAAAAXDMenDdrq0RoH3dkA1f7O3wO+7kZcx2DusVZrRmFlWQM9HOb"
	tokenUser               = "test user name"
)

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newTokens(t *testing.T, secret string, c *clock) *Tokens {
	t.Helper()
	out, err := NewTokens([]byte(secret), 3000*time.Second, 120*time.Second, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The numbers are those of openvpn's test_auth_token.c.
func TestKnownTokens(t *testing.T) {
	for _, tt := range []struct {
		name, secret string
		now          int64
		token        push.Secret
	}{
		{"zero", zeroSecret, 0, zeroToken},
		{"random", randomSecret, 0x5c331e9c, randomToken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newTokens(t, tt.secret, &clock{time.Unix(tt.now, 0)})
			if err := k.Verify(tokenUser, tt.token); err != nil {
				t.Errorf("not accepted: %v", err)
			}
			if got, err := k.Renew(tt.token, tokenUser); err != nil || got != tt.token {
				t.Errorf("renewed at the same time: %q %v", string(got), err)
			}
		})
	}
}

func TestTokenTimes(t *testing.T) {
	c := &clock{time.Unix(100000, 0)}
	k := newTokens(t, zeroSecret, c)
	token := k.Issue(tokenUser)
	at := func(seconds int64, token push.Secret, want error) {
		t.Helper()
		c.t = time.Unix(100000+seconds, 0)
		if err := k.Verify(tokenUser, token); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("after %d s: %v, want %v", seconds, err, want)
		}
	}
	at(0, token, nil)
	at(-100, token, ErrTokenExpired) // from the future
	at(2*120-20, token, nil)
	at(2*120, token, ErrTokenExpired)
	at(3001, token, ErrTokenExpired)

	renewed := token
	for s := int64(0); s <= 3000; s += 120 {
		at(s, renewed, nil)
		var err error
		if renewed, err = k.Renew(renewed, tokenUser); err != nil {
			t.Fatal(err)
		}
		if !SameSession(token, renewed) {
			t.Fatal("renewal changed the session")
		}
	}
	at(3001, renewed, ErrTokenExpired) // however often it was renewed
	k.lifetime = 0
	at(3001, renewed, nil)
}

func TestTokenRefused(t *testing.T) {
	c := &clock{time.Unix(100000, 0)}
	k := newTokens(t, zeroSecret, c)
	token := k.Issue(tokenUser)
	if SameSession(token, k.Issue(tokenUser)) {
		t.Error("two sign-ins are one session")
	}
	if err := k.Verify("another", token); !errors.Is(err, ErrTokenForged) {
		t.Errorf("another user: %v", err)
	}
	if err := newTokens(t, randomSecret, c).Verify(tokenUser, token); !errors.Is(err, ErrTokenForged) {
		t.Errorf("another secret: %v", err)
	}
	for i := len(tokenPrefix); i < len(token); i++ {
		b := []byte(token)
		b[i] ^= 1
		if k.Verify(tokenUser, push.Secret(b)) == nil {
			t.Errorf("byte %d may change", i)
		}
	}
	for _, bad := range []push.Secret{token + "A", token + "\n", token[:len(token)-1] + "=", token[:20] + "*" + token[21:],
		"sess_id_at_" + token[len(tokenPrefix):]} {
		if k.Verify(tokenUser, bad) == nil {
			t.Errorf("accepted %q", string(bad))
		}
	}
}

// The right prefix, and too little behind it.
func TestCVE_2026_13122_ShortTokens(t *testing.T) {
	c := &clock{time.Unix(100000, 0)}
	k := newTokens(t, zeroSecret, c)
	token := k.Issue(tokenUser)
	for n := range len(token) {
		for _, short := range []push.Secret{token[:n], token[:n] + "=", token[:n] + "\x00"} {
			if err := k.Verify(tokenUser, short); err == nil || len(short) == n && !errors.Is(err, ErrNoToken) {
				t.Errorf("%d characters: %v", n, err)
			}
			if _, err := k.Renew(short, tokenUser); err == nil {
				t.Errorf("%d characters are renewed", n)
			}
			SameSession(token, short)
		}
	}
}

func TestTokenSecrets(t *testing.T) {
	c := &clock{time.Unix(1, 0)}
	a, err := NewTokens(nil, 0, time.Hour, c.now)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewTokens(nil, 0, time.Hour, c.now)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == b.key {
		t.Error("random secrets are equal")
	}
	short := string(pem.EncodeToMemory(&pem.Block{Type: tokenSecret, Bytes: make([]byte, tokenKeyAt+31)}))
	other := strings.ReplaceAll(zeroSecret, "auth-token", "tls-crypt-v2")
	for _, text := range []string{"", "hello", short, other} {
		if _, err := NewTokens([]byte(text), 0, time.Hour, c.now); err == nil {
			t.Errorf("accepted %q", text)
		}
	}
	if _, err := NewTokens(nil, 0, 0, c.now); err == nil {
		t.Error("no renewal time")
	}
}

func TestTokenSession(t *testing.T) {
	c := &clock{time.Unix(100000, 0)}
	k := newTokens(t, zeroSecret, c)
	token := k.Issue("ann")
	c.t = c.t.Add(time.Minute)
	next, err := k.Renew(token, "ann")
	if err != nil {
		t.Fatal(err)
	}
	var none TokenSession
	if id := SessionOf(token); id == none || id != SessionOf(next) || id == SessionOf(k.Issue("ann")) {
		t.Errorf("sessions %x and %x", id, SessionOf(next))
	}
	if SessionOf("secret") != none {
		t.Error("a password has a session")
	}
	if got := k.Until(); !got.Equal(c.t.Add(240 * time.Second)) {
		t.Errorf("good until %v", got)
	}
	// The same secret, other times.
	short := k.Lasting(30*time.Second, time.Hour)
	if err := short.Verify("ann", token); !errors.Is(err, ErrTokenExpired) {
		t.Errorf("got %v", err)
	}
	if err := k.Verify("ann", token); err != nil {
		t.Errorf("got %v", err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add("ann", string(zeroToken))
	f.Add("", tokenPrefix)
	k, err := NewTokens(nil, 0, time.Hour, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, user, password string) {
		if k.Verify(user, push.Secret(password)) == nil {
			t.Fatalf("accepted %q", password)
		}
		if SameSession(push.Secret(password), zeroToken) && !IsToken(push.Secret(password)) {
			t.Fatalf("%q is a session", password)
		}
		if renewed, err := k.Renew(push.Secret(password), user); err == nil && k.Verify(user, renewed) != nil && len(renewed) != tokenLength {
			t.Fatalf("renewed to %q", string(renewed))
		}
	})
}
