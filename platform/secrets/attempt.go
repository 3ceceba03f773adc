package secrets

import (
	"context"
	"errors"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Vault is a Keychain, or what stands for one in a test.
type Vault interface {
	Get(ctx context.Context, profile, user string) (Login, error)
	Set(ctx context.Context, profile string, l Login) error
	Forget(ctx context.Context, profile, user string) error
	ForgetAll(ctx context.Context, profile string) error
}

// Attempt is the keychain's part in one sign-in: it gives a password once, keeps one only after the server
// took it, and forgets one only after the server refused it. One goroutine at a time uses it.
type Attempt struct {
	Vault   Vault
	Profile string
	// Tell says to the person what became of a password.
	Tell func(Note)

	given string // user whose saved password was given; empty: none
	fresh Login  // typed, and not accepted yet
	off   bool   // the saved one was refused: there is no other

	broken bool // the keychain fails, and the person was told
}

// Note is one remark of an Attempt.
type Note struct {
	Kind NoteKind
	User string // with NoteRefused
	Err  error  // with NoteFailed
}

// NoteKind is what a Note says.
type NoteKind uint8

// The remarks.
const (
	NoteFailed    NoteKind = iota // the keychain does not work
	NoteKept                      // what was typed is saved
	NoteForbidden                 // the profile, the server or the person's setting forbids to keep passwords; what was saved is forgotten
	NoteRefused                   // the server refused the saved password; it is forgotten
)

// Find returns what was saved for a user; user "" means who signed in last.
func (a *Attempt) Find(ctx context.Context, user string) (string, push.Secret, bool) {
	if a.off || a.broken {
		return "", "", false
	}
	l, err := a.Vault.Get(ctx, a.Profile, user)
	if err != nil {
		if !errors.Is(err, ErrNotFound) && ctx.Err() == nil {
			a.broken = true
			a.Tell(Note{Kind: NoteFailed, Err: err})
		}
		return "", "", false
	}
	a.given, a.fresh = l.User, Login{}
	return l.User, l.Password, true
}

// Typed takes what a person gave. Without a user name it cannot be found again, and is not kept.
func (a *Attempt) Typed(user string, password push.Secret) {
	a.given, a.fresh = "", Login{}
	if user != "" {
		a.fresh = Login{User: user, Password: password}
	}
}

// Accepted keeps what was typed, with keep; else what was saved before is forgotten, because the profile,
// the server or the person's setting forbids it.
func (a *Attempt) Accepted(ctx context.Context, keep bool) {
	var err error
	switch {
	case keep && a.fresh.Password != "" && !a.broken:
		if err = a.Vault.Set(ctx, a.Profile, a.fresh); err == nil {
			a.Tell(Note{Kind: NoteKept})
		}
	case !keep && a.given != "":
		if err = a.Vault.ForgetAll(ctx, a.Profile); err == nil {
			a.Tell(Note{Kind: NoteForbidden})
		}
	}
	a.fresh = Login{}
	if err != nil && ctx.Err() == nil {
		a.Tell(Note{Kind: NoteFailed, Err: err})
	}
}

// Refused forgets a saved password that the server did not accept, and drops a typed one.
func (a *Attempt) Refused(ctx context.Context) {
	a.fresh = Login{}
	if a.given == "" {
		return
	}
	user := a.given
	a.given, a.off = "", true
	if err := a.Vault.Forget(ctx, a.Profile, user); err != nil {
		a.Tell(Note{Kind: NoteFailed, Err: err})
		return
	}
	a.Tell(Note{Kind: NoteRefused, User: user})
}
