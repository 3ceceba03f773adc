// Package secrets keeps sign-ins in the keychain of the person who runs the program: Secret Service
// on Linux (GNOME Keyring, KWallet), the Credential Manager on Windows, the login keychain on macOS. It
// belongs to the person's own process; the service has no keychain. Whether a password may be kept is for
// its callers to decide; Attempt knows when.
package secrets

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Login is what is kept of a sign-in. One-time codes never are.
type Login struct {
	User     string
	Password push.Secret
}

// The errors, besides those that only the system has words for.
var (
	// ErrNotFound: nothing is kept for this profile and user.
	ErrNotFound = errors.New("no saved password")
	// ErrUnavailable: this session has no keychain, as over ssh and in containers.
	ErrUnavailable = errors.New("no keychain in this session")
	// ErrLocked: the keychain is locked, and nobody unlocked it.
	ErrLocked = errors.New("the keychain is locked")
	// ErrTooLong: the system does not keep so long a password (Windows: 2560 bytes).
	ErrTooLong = errors.New("the password is too long for the keychain")
)

// Keychain is the person's keychain. It has no state, and is safe for concurrent use.
type Keychain struct {
	// Wait bounds each call: a locked keychain asks the person, who may not be there. What
	// could not be ended then goes on in a goroutine until the system answers. 0: 30 s.
	Wait time.Duration
}

// Get returns what is kept for a profile and user; user "" means who signed in last. It returns
// ErrNotFound when there is nothing.
func (k Keychain) Get(ctx context.Context, profile, user string) (Login, error) {
	return ask(ctx, k, "read the saved password", func() (Login, error) {
		if user == "" {
			last, err := keyring.Get(userOf(profile), lastUser)
			if err != nil {
				return Login{}, err
			}
			user = last
		}
		password, err := keyring.Get(passwordsOf(profile), user)
		return Login{user, push.Secret(password)}, err
	})
}

// Set keeps a sign-in, in place of one for the same profile and user.
func (k Keychain) Set(ctx context.Context, profile string, l Login) error {
	_, err := ask(ctx, k, "save the password", func() (struct{}, error) {
		if err := keyring.Set(passwordsOf(profile), l.User, l.Password.Reveal()); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, keyring.Set(userOf(profile), lastUser, l.User)
	})
	return err
}

// Forget removes the password of one user; that there is none is fine. Who signed in last stays known.
func (k Keychain) Forget(ctx context.Context, profile, user string) error {
	_, err := ask(ctx, k, "forget the saved password", func() (struct{}, error) {
		return struct{}{}, keyring.Delete(passwordsOf(profile), user)
	})
	return ignoreNotFound(err)
}

// ForgetAll removes all that is kept for a profile; that there is nothing is fine.
func (k Keychain) ForgetAll(ctx context.Context, profile string) error {
	_, err := ask(ctx, k, "forget the saved passwords", func() (struct{}, error) {
		if err := keyring.DeleteAll(passwordsOf(profile)); err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return struct{}{}, err
		}
		return struct{}{}, keyring.DeleteAll(userOf(profile))
	})
	return ignoreNotFound(err)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// The names under which the keychain has it. A profile's name is escaped, because Windows puts a
// colon between service and user and finds all users of a service by it.
const lastUser = "user"

func passwordsOf(profile string) string { return "adit/" + url.QueryEscape(profile) }
func userOf(profile string) string      { return "adit-user/" + url.QueryEscape(profile) }

const defaultWait = 30 * time.Second

// ask calls the keychain and waits for it, for as long as k and ctx allow.
func ask[T any](ctx context.Context, k Keychain, what string, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	failed := func(err error) (T, error) { return none, fmt.Errorf("cannot %s: %w", what, err) }
	if err := reachable(); err != nil {
		return failed(err)
	}
	wait := k.Wait
	if wait == 0 {
		wait = defaultWait
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil { // go-keyring trusts what a keychain answers
				r.err = fmt.Errorf("the keychain's answer cannot be read: %v", p)
			}
			done <- r
		}()
		r.value, r.err = call()
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return failed(worded(r.err))
		}
		return r.value, nil
	case <-timer.C:
		return failed(fmt.Errorf("%w: it did not answer within %v", ErrLocked, wait))
	case <-ctx.Done():
		return failed(ctx.Err())
	}
}

// worded tells apart what callers and people need to; go-keyring has no types for most of it.
func worded(err error) error {
	text := err.Error()
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, keyring.ErrSetDataTooBig):
		return ErrTooLong
	case errors.Is(err, keyring.ErrUnsupportedPlatform),
		strings.Contains(text, "org.freedesktop.secrets was not provided"),    // no service on the bus
		strings.Contains(text, "dbus: "), strings.Contains(text, "dial unix"): // no bus
		return fmt.Errorf("%w (%s)", ErrUnavailable, firstLine(text))
	case strings.Contains(text, "failed to unlock"), strings.Contains(text, "is locked"), // Secret Service
		strings.Contains(text, "exit status 36"), strings.Contains(text, "exit status 51"): // security(1): interaction not allowed, authorization
		return ErrLocked
	}
	return errors.New(firstLine(text))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
