package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/adit-vpn/adit/platform/secrets"
)

// newSaved makes the keychain's part in one sign-in; what becomes of a password is noted.
func newSaved(v secrets.Vault, out printer, profile string) *secrets.Attempt {
	return &secrets.Attempt{Vault: v, Profile: profile, Tell: func(n secrets.Note) {
		switch n.Kind {
		case secrets.NoteKept:
			out.note("the password is saved in your keychain; forget it with: adit set %s save_password=false", quoted(profile))
		case secrets.NoteForbidden:
			out.note("the password of %s may not be saved: so says the profile, the server or your setting; it is forgotten", quoted(profile))
		case secrets.NoteRefused:
			out.note("the saved password of %s was not accepted, and is forgotten", n.User)
		case secrets.NoteFailed:
			out.note("%v", n.Err)
		}
	}}
}

// forgetPasswords forgets what is saved for a profile. A session without a keychain has nothing saved.
func (a *app) forgetPasswords(ctx context.Context, profile string) error {
	err := a.vault.ForgetAll(ctx, profile)
	if err == nil || errors.Is(err, secrets.ErrUnavailable) {
		return nil
	}
	return hinted(fmt.Errorf("%s: %w", profile, err), "unlock the keychain and try: adit set "+quoted(profile)+" save_password=false, or remove \"adit/"+profile+"\" there")
}
