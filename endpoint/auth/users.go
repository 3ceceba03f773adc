package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/pquerna/otp/hotp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// Users is the built-in test directory: user names, bcrypt passwords, groups and secrets of
// one-time codes (RFC 6238: SHA-1, 30 s, six digits) from a YAML file:
//
//	users:
//	  - name: ann
//	    password: $2a$10$…   # bcrypt, as "htpasswd -nB ann" prints it
//	    groups: [admins, S-1-5-21-1-2-3-1105]
//	    totp: JBSWY3DPEHPK3PXP   # base32; without it no code is needed
//
// Immutable but for attempts, which several Users may share.
type Users struct {
	byName   map[string]user
	attempts *Attempts
	now      func() time.Time
	decoy    []byte        // is compared for unknown users
	slots    chan struct{} // bcrypt is slow on purpose: it leaves processors to the packets
}

// user is one entry of the file.
type user struct {
	Name     string      `yaml:"name"`
	Password push.Secret `yaml:"password"`
	Groups   []string    `yaml:"groups"`
	TOTP     push.Secret `yaml:"totp"`
}

// Bounds of the file.
const (
	maxUsersFile = 1 << 20
	maxUsers     = 2000
	maxUserName  = 255
	maxCost      = 14 // of bcrypt: a second or two
	maxPassword  = 72 // bytes: bcrypt does not see what follows
)

// The one-time codes of RFC 6238 as every app shows them.
const (
	codeStep  = 30 * time.Second
	codeDrift = 1 // steps that a clock may be early or late
)

// wrongPassword is what AWS tells, whatever was wrong.
const wrongPassword = "Invalid username or password"

// NewUsers reads the file's text. attempts outlives the file; now is the clock of the codes.
func NewUsers(text []byte, attempts *Attempts, now func() time.Time) (*Users, error) {
	if len(text) > maxUsersFile {
		return nil, fmt.Errorf("larger than %d bytes", maxUsersFile)
	}
	var file struct {
		Users []user `yaml:"users"`
	}
	var lines struct {
		Users []yaml.Node `yaml:"users"`
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := yaml.Unmarshal(text, &lines); err != nil || len(lines.Users) != len(file.Users) {
		return nil, errors.New("it cannot be read as a list of users")
	}
	switch n := len(file.Users); {
	case n == 0:
		return nil, errors.New("no users in it: it must begin with users:, and a list of name and password")
	case n > maxUsers:
		return nil, fmt.Errorf("%d users, at most %d are possible", n, maxUsers)
	}
	u := &Users{byName: map[string]user{}, attempts: attempts, now: now, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	cost := bcrypt.MinCost
	for i, entry := range file.Users {
		c, err := entry.check()
		if _, twice := u.byName[entry.Name]; twice && err == nil {
			err = fmt.Errorf("%q is listed twice", entry.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.Users[i].Line, err)
		}
		cost = max(cost, c)
		u.byName[entry.Name] = entry
	}
	var err error
	u.decoy, err = bcrypt.GenerateFromPassword([]byte("nobody"), cost)
	return u, err
}

// check finds what makes an entry unusable; cost is that of its bcrypt password.
func (e user) check() (cost int, err error) {
	bad := func(s string) bool { return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) }
	switch {
	case e.Name == "" || len(e.Name) > maxUserName || bad(e.Name):
		return 0, fmt.Errorf("name: must have 1 to %d printable characters", maxUserName)
	case len(e.Groups) > maxGroups:
		return 0, fmt.Errorf("groups of %q: at most %d", e.Name, maxGroups)
	}
	for _, id := range e.Groups {
		if id == "" || len(id) > maxGroupID || bad(id) {
			return 0, fmt.Errorf("groups of %q: a group must have 1 to %d printable characters", e.Name, maxGroupID)
		}
	}
	cost, err = bcrypt.Cost([]byte(e.Password.Reveal()))
	switch {
	case err != nil:
		return 0, fmt.Errorf("password of %q: not a bcrypt hash", e.Name)
	case cost > maxCost:
		return 0, fmt.Errorf("password of %q: bcrypt cost %d is more than %d", e.Name, cost, maxCost)
	}
	if e.TOTP != "" {
		if _, err := hotp.GenerateCode(e.TOTP.Reveal(), 0); err != nil {
			return 0, fmt.Errorf("totp of %q: not a base32 secret", e.Name)
		}
	}
	return cost, nil
}

// MFA says whether some user has one-time codes, so that profiles must ask for one.
func (u *Users) MFA() bool {
	for _, e := range u.byName {
		if e.TOTP != "" {
			return true
		}
	}
	return false
}

// Groups are those of a user; ok is false when there is no such user.
func (u *Users) Groups(name string) (groups []string, ok bool) {
	e, ok := u.byName[name]
	return append([]string(nil), e.Groups...), ok
}

// Digest changes when a user must show another password or code, and is empty when there is no such user.
// It shows nothing of them: bcrypt's salt is in it.
func (u *Users) Digest(name string) string {
	e, ok := u.byName[name]
	if !ok {
		return ""
	}
	sum := sha256.Sum256([]byte(e.Password.Reveal() + "\x00" + e.TOTP.Reveal()))
	return hex.EncodeToString(sum[:])
}

// Check implements Method. The password may carry a one-time code (SCRV1). Unknown users
// cost the same time as others.
func (u *Users) Check(ctx context.Context, c Credentials) (Outcome, error) {
	deny := func(reason string) (Outcome, error) { return Denied{Reason: reason, Tell: wrongPassword}, nil }
	password, code, static, err := challenge.ParseStatic(c.Password)
	if err != nil {
		return deny(err.Error())
	}
	if !static {
		password = c.Password
	}
	entry, known := u.byName[c.Username]
	hash := u.decoy
	if known {
		hash = []byte(entry.Password.Reveal())
	}
	select {
	case u.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	wait := time.Duration(0)
	if known {
		wait = u.attempts.begin(entry.Name, u.now())
	}
	wrong := bcrypt.CompareHashAndPassword(hash, []byte(password))
	<-u.slots
	switch {
	case !known:
		return deny("no such user")
	case wait > 0: // the comparison took its time all the same
		return deny(fmt.Sprintf("too many wrong passwords or codes: the next attempt is in %s", wait.Round(time.Second)))
	case wrong != nil || len(password) > maxPassword:
		u.attempts.wrongPassword(entry.Name, password)
		return deny("wrong password")
	case entry.TOTP == "":
	case !static:
		u.attempts.spare(entry.Name)
		return deny("no one-time code: the client's profile has no static-challenge line")
	default:
		step, ok := u.step(entry.TOTP, code)
		if !ok {
			return deny("wrong one-time code")
		}
		if !u.attempts.take(entry.Name, step) {
			return deny("the one-time code was used before")
		}
	}
	u.attempts.succeeded(entry.Name)
	return Accepted{Identity{Username: entry.Name, Groups: append([]string(nil), entry.Groups...)}}, nil
}

// step finds the interval that a code belongs to: the present one, or a neighbour.
func (u *Users) step(secret, code push.Secret) (step uint64, ok bool) {
	present := uint64(u.now().Unix()) / uint64(codeStep/time.Second)
	for i := present - codeDrift; i <= present+codeDrift; i++ {
		want, err := hotp.GenerateCode(secret.Reveal(), i)
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(strings.TrimSpace(string(code)))) == 1 {
			step, ok = i, true
		}
	}
	return step, ok
}
