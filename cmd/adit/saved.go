package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/secrets"
)

// saved is the keychain's part in one sign-in: it gives a password once, keeps one only after the server
// took it, and forgets one only after the server refused it. One goroutine at a time uses it.
type saved struct {
	vault   vault
	out     printer
	profile string

	given string        // user whose saved password was given; empty: none
	fresh secrets.Login // typed, and not accepted yet
	off   bool          // the saved one was refused: there is no other

	broken bool // the keychain fails, and the person was told
}

// vault is a secrets.Keychain.
type vault interface {
	Get(ctx context.Context, profile, user string) (secrets.Login, error)
	Set(ctx context.Context, profile string, l secrets.Login) error
	Forget(ctx context.Context, profile, user string) error
	ForgetAll(ctx context.Context, profile string) error
}

// find returns what was saved for a user; user "" means who signed in last.
func (s *saved) find(ctx context.Context, user string) (string, push.Secret, bool) {
	if s.off || s.broken {
		return "", "", false
	}
	l, err := s.vault.Get(ctx, s.profile, user)
	if err != nil {
		if !errors.Is(err, secrets.ErrNotFound) && ctx.Err() == nil {
			s.broken = true
			s.out.note("%v", err)
		}
		return "", "", false
	}
	s.given, s.fresh = l.User, secrets.Login{}
	return l.User, l.Password, true
}

// typed takes what a person gave. Without a user name it cannot be found again, and is not kept.
func (s *saved) typed(user string, password push.Secret) {
	s.given, s.fresh = "", secrets.Login{}
	if user != "" {
		s.fresh = secrets.Login{User: user, Password: password}
	}
}

// accepted keeps what was typed, with keep; else what was saved before is forgotten, because the profile
// or the server forbids it.
func (s *saved) accepted(ctx context.Context, keep bool) {
	var err error
	switch {
	case keep && s.fresh.Password != "" && !s.broken:
		if err = s.vault.Set(ctx, s.profile, s.fresh); err == nil {
			s.out.note("the password is saved in your keychain; forget it with: adit set %s save_password=false", quoted(s.profile))
		}
	case !keep && s.given != "":
		if err = s.vault.ForgetAll(ctx, s.profile); err == nil {
			s.out.note("the server does not let passwords be saved; yours is forgotten")
		}
	}
	s.fresh = secrets.Login{}
	if err != nil && ctx.Err() == nil {
		s.out.note("%v", err)
	}
}

// refused forgets a saved password that the server did not accept, and drops a typed one.
func (s *saved) refused(ctx context.Context) {
	s.fresh = secrets.Login{}
	if s.given == "" {
		return
	}
	user := s.given
	s.given, s.off = "", true
	if err := s.vault.Forget(ctx, s.profile, user); err != nil {
		s.out.note("%v", err)
		return
	}
	s.out.note("the saved password of %s was not accepted, and is forgotten", user)
}

// forgetPasswords forgets what is saved for a profile. A session without a keychain has nothing saved.
func (a *app) forgetPasswords(ctx context.Context, profile string) error {
	err := a.vault.ForgetAll(ctx, profile)
	if err == nil || errors.Is(err, secrets.ErrUnavailable) {
		return nil
	}
	return hinted(fmt.Errorf("%s: %w", profile, err), "unlock the keychain and try: adit set "+quoted(profile)+" save_password=false, or remove \"adit/"+profile+"\" there")
}
