package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"

	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// guesser tries passwords at a file of users, whose clock it sets.
type guesser struct {
	t        *testing.T
	clock    *clock
	attempts Attempts
	users    *Users
}

func newGuesser(t *testing.T) *guesser {
	g := &guesser{t: t, clock: &clock{time.Unix(2000000000, 0)}}
	g.reload()
	return g
}

func (g *guesser) reload() {
	g.t.Helper()
	var err error
	if g.users, err = NewUsers([]byte(usersText(g.t)), &g.attempts, g.clock.now); err != nil {
		g.t.Fatal(err)
	}
}

// try demands a reason; empty: it is accepted.
func (g *guesser) try(name string, password push.Secret, want string) {
	g.t.Helper()
	o, err := g.users.Check(g.t.Context(), Credentials{Username: name, Password: password})
	if err != nil {
		g.t.Fatal(err)
	}
	denied, no := o.(Denied)
	if no != (want != "") || !strings.Contains(denied.Reason, want) || no && denied.Tell != wrongPassword {
		g.t.Errorf("%s: %+v, want %q", name, o, want)
	}
}

const tooMany = "too many wrong passwords or codes"

// TestGuessing: ten different wrong passwords use up a user's attempts, also over reloads; then the right one is
// refused, too, until a minute has given one back. Others are not concerned, and nobody learns who exists.
func TestGuessing(t *testing.T) {
	g := newGuesser(t)
	for i := range maxAttempts {
		if i == maxAttempts/2 {
			g.reload()
		}
		g.try("ann", push.Secret(fmt.Sprint("guess", i)), "wrong password")
		g.try("eve", push.Secret(fmt.Sprint("guess", i)), "no such user")
	}
	g.try("ann", "another", tooMany+": the next attempt is in 1m0s")
	g.try("ann", "secret", tooMany)
	g.try("eve", "another", "no such user")
	if len(g.attempts.byName) != 1 {
		t.Errorf("%d names are remembered", len(g.attempts.byName))
	}
	g.clock.t = g.clock.t.Add(attemptEvery - time.Second)
	g.reload()
	g.try("ann", "secret", tooMany+": the next attempt is in 1s")
	g.clock.t = g.clock.t.Add(-time.Hour) // a clock that is set back gives nothing, and takes nothing
	g.try("ann", "secret", tooMany+": the next attempt is in 1s")
	g.clock.t = g.clock.t.Add(time.Second)
	g.try("ann", "secret", "")
	// All are back after the sign-in.
	for i := range maxAttempts {
		g.try("ann", push.Secret(fmt.Sprint("guess", i)), "wrong password")
	}
	g.try("ann", "secret", tooMany)
	// And after the time that it takes, but no more than all.
	g.clock.t = g.clock.t.Add(100 * maxAttempts * attemptEvery)
	for i := range maxAttempts {
		g.try("ann", push.Secret(fmt.Sprint("again", i)), "wrong password")
	}
	g.try("ann", "secret", tooMany)
}

// TestAttemptsAreBounded: names of files that are long gone are forgotten.
func TestAttemptsAreBounded(t *testing.T) {
	var a Attempts
	now := time.Unix(2000000000, 0)
	for i := range 10 * maxUsers {
		now = now.Add(time.Second)
		a.begin(fmt.Sprint("user", i), now)
		if n := len(a.byName); n > 2*maxUsers {
			t.Fatalf("%d entries", n)
		}
	}
	if last := a.byName[fmt.Sprint("user", 10*maxUsers-1)]; last == nil || last.left != maxAttempts-1 {
		t.Errorf("the last one: %+v", last)
	}
}

// TestSavedWrongPassword: a client that repeats what it has saved does not shut its user out.
func TestSavedWrongPassword(t *testing.T) {
	g := newGuesser(t)
	for range 3 * maxAttempts {
		g.try("ann", "saved", "wrong password")
	}
	for range 3 * maxAttempts { // no code: the profile is old, and nothing was guessed
		g.try("otto", "geheim: ä", "no one-time code")
	}
	g.try("ann", "secret", "")
	for i := range 3 * maxAttempts { // two that take turns are two each time
		want := "wrong password"
		if i >= maxAttempts {
			want = tooMany
		}
		g.try("ann", push.Secret(fmt.Sprint("guess", i%2)), want)
	}
}

// TestGuessingCodes: who knows the password has as many attempts at the code, and the same code is another
// attempt each time: it may have become right.
func TestGuessingCodes(t *testing.T) {
	for _, same := range []bool{true, false} {
		g := newGuesser(t)
		for i := range maxAttempts {
			code := "123456"
			if !same {
				code = fmt.Sprint(123456 + i)
			}
			g.try("otto", challenge.Static("geheim: ä", push.Secret(code)), "wrong one-time code")
		}
		code := func() push.Secret {
			text, err := hotp.GenerateCode(rfcSecret, uint64(g.clock.t.Unix())/30)
			if err != nil {
				t.Fatal(err)
			}
			return challenge.Static("geheim: ä", push.Secret(text))
		}
		g.try("otto", code(), tooMany)
		g.clock.t = g.clock.t.Add(attemptEvery)
		good := code()
		g.try("otto", good, "")
		g.try("otto", good, "used before")
	}
}
