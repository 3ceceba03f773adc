package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"
	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// rfcSecret is the one of RFC 6238's test vectors: "12345678901234567890".
const rfcSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

func hashOf(t testing.TB, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func usersText(t testing.TB) string {
	return fmt.Sprintf(`# people
users:
  - {name: ann, password: %q, groups: [admins, S-1-5-21-1-2-3-1105]}
  - name: otto
    password: %q
    totp: %s
`, hashOf(t, "secret"), hashOf(t, "geheim: ä"), rfcSecret)
}

func TestUsers(t *testing.T) {
	c := &clock{time.Unix(1111111109, 0)} // RFC 6238, appendix B: 07081804, the last six digits
	codes := &Attempts{}
	u, err := NewUsers([]byte(usersText(t)), codes, c.now)
	if err != nil {
		t.Fatal(err)
	}
	if !u.MFA() {
		t.Error("no one asks for codes")
	}
	check := func(u *Users, name string, password push.Secret) (Identity, string) {
		t.Helper()
		o, err := u.Check(t.Context(), Credentials{Username: name, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		switch o := o.(type) {
		case Accepted:
			return o.Identity, ""
		case Denied:
			if o.Tell != "Invalid username or password" {
				t.Errorf("%s is told %q", name, o.Tell)
			}
			if strings.Contains(o.Reason, string(password)) && password != "" {
				t.Errorf("the reason %q shows the password", o.Reason)
			}
			return Identity{}, o.Reason
		}
		t.Fatalf("%+v", o)
		return Identity{}, ""
	}
	with := func(code push.Secret) push.Secret { return challenge.Static("geheim: ä", code) }
	for _, tt := range []struct {
		name, user string
		password   push.Secret
		reason     string
	}{
		{"right", "ann", "secret", ""},
		{"a code that nobody needs", "ann", challenge.Static("secret", "123456"), ""},
		{"wrong", "ann", "Secret", "wrong password"},
		{"empty", "ann", "", "wrong password"},
		{"more than bcrypt sees", "ann", push.Secret("secret" + strings.Repeat("\x00", 80)), "wrong password"},
		{"unknown", "eve", "secret", "no such user"},
		{"the decoy's", "eve", "nobody", "no such user"},
		{"nobody", "", "", "no such user"},
		{"another case", "Ann", "secret", "no such user"},
		{"no code", "otto", "geheim: ä", "no one-time code"},
		{"empty code", "otto", with(""), "wrong one-time code"},
		{"wrong code", "otto", with("081805"), "wrong one-time code"},
		{"old code", "otto", with("287082"), "wrong one-time code"}, // of 59 s
		{"malformed", "otto", "SCRV1:x", "malformed challenge"},
		{"not base64", "otto", "SCRV1:?:?", "malformed challenge"},
		{"wrong password", "otto", challenge.Static("x", "081804"), "wrong password"},
		{"right code", "otto", with("081804"), ""},
		{"used code", "otto", with("081804"), "used before"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who, reason := check(u, tt.user, tt.password)
			if tt.reason == "" && (who.Username != tt.user || reason != "") || !strings.Contains(reason, tt.reason) {
				t.Errorf("got %+v %q, want %q", who, reason, tt.reason)
			}
		})
	}
	if who, _ := check(u, "ann", "secret"); !slices.Equal(who.Groups, []string{"admins", "S-1-5-21-1-2-3-1105"}) {
		t.Errorf("groups %q", who.Groups)
	}

	// A reload does not make it good again, nor does the next interval; the next code is, once.
	again, err := NewUsers([]byte(usersText(t)), codes, c.now)
	if err != nil {
		t.Fatal(err)
	}
	c.t = c.t.Add(2 * time.Second) // 1111111111: 14050471
	if _, reason := check(again, "otto", with("081804")); !strings.Contains(reason, "used before") {
		t.Errorf("after a reload: %q", reason)
	}
	if _, reason := check(again, "otto", with("050471")); reason != "" {
		t.Errorf("the next code: %q", reason)
	}
	if _, reason := check(again, "otto", with("050471")); !strings.Contains(reason, "used before") {
		t.Errorf("the next code twice: %q", reason)
	}
}

// TestCodeDrift: a clock may be one step off, in either direction, and no more.
func TestCodeDrift(t *testing.T) {
	for steps, want := range map[int]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		c := &clock{time.Unix(2000000000, 0)}
		u, err := NewUsers([]byte(usersText(t)), &Attempts{}, c.now)
		if err != nil {
			t.Fatal(err)
		}
		code, err := hotp.GenerateCode(rfcSecret, uint64(2000000000/30+steps))
		if err != nil {
			t.Fatal(err)
		}
		o, err := u.Check(t.Context(), Credentials{Username: "otto", Password: challenge.Static("geheim: ä", push.Secret(code))})
		if _, ok := o.(Accepted); ok != want || err != nil {
			t.Errorf("%d steps: %+v %v", steps, o, err)
		}
	}
}

// TestUsersWait: a check that cannot begin ends with its client.
func TestUsersWait(t *testing.T) {
	u, err := NewUsers([]byte(usersText(t)), &Attempts{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for range cap(u.slots) {
		u.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o, err := u.Check(ctx, Credentials{Username: "ann", Password: "secret"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v %v", o, err)
	}
}

// TestUnknownUsersCostTheSame: what is compared for them is as slow as the slowest entry.
func TestUnknownUsersCostTheSame(t *testing.T) {
	slow, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost+2)
	if err != nil {
		t.Fatal(err)
	}
	u, err := NewUsers([]byte(usersText(t)+"  - {name: bob, password: "+string(slow)+"}\n"), &Attempts{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost(u.decoy); cost != bcrypt.MinCost+2 || err != nil {
		t.Errorf("cost %d, %v", cost, err)
	}
}

func TestBadUsers(t *testing.T) {
	hash := hashOf(t, "x")
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "no users in it"},
		{"another list", "people: []\n", "field people not found"},
		{"no list", "users: {}\n", "cannot unmarshal"},
		{"unknown key", "users:\n  - {name: a, pasword: x}\n", "field pasword not found"},
		{"no name", "users:\n  - {password: " + hash + "}\n", "line 2: name: must have 1 to 255"},
		{"control character", "users:\n  - {name: \"a\\n\", password: " + hash + "}\n", "line 2: name:"},
		{"plain password", "users:\n\n  - {name: a, password: hunter2}\n", `line 3: password of "a": not a bcrypt hash`},
		{"slow password", "users:\n  - {name: a, password: " + strings.Replace(hash, "$04$", "$20$", 1) + "}\n", `line 2: password of "a": bcrypt cost 20 is more than 14`},
		{"secret", "users:\n  - {name: a, password: " + hash + ", totp: \"1\"}\n", `line 2: totp of "a": not a base32 secret`},
		{"twice", "users:\n  - {name: a, password: " + hash + "}\n  - {name: a, password: " + hash + "}\n", `line 3: "a" is listed twice`},
		{"empty group", "users:\n  - {name: a, password: " + hash + ", groups: [\"\"]}\n", `line 2: groups of "a": a group must have`},
		{"large", strings.Repeat("#", maxUsersFile+1), "larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewUsers([]byte(tt.text), &Attempts{}, time.Now)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzUsers(f *testing.F) {
	f.Add(usersText(f))
	f.Add("users: [&a {name: a}, *a]")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := NewUsers([]byte(text), &Attempts{}, time.Now)
		if err != nil {
			return
		}
		if len(u.byName) == 0 || len(u.byName) > maxUsers {
			t.Fatalf("%d users", len(u.byName))
		}
		for name, e := range u.byName {
			if name != e.Name || name == "" {
				t.Fatalf("%q is %q", name, e.Name)
			}
		}
	})
}
