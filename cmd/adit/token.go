//go:build !(linux && nouserspace)

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/token"
)

// pinTries is how often a PIN is asked for; tokens lock themselves after as many wrong ones.
const pinTries = 2

// withToken returns the profile with certificate and key of a token, and what ends the program that speaks to
// it. Without --pkcs11 it is the profile as it came.
func (a *app) withToken(ctx context.Context, p *profile.Profile, f connectFlags) (*profile.Profile, func(), error) {
	if f.pkcs11 == "" {
		return p, func() {}, nil
	}
	id, err := token.ParseID(p.PKCS11ID)
	if err != nil {
		return nil, nil, hinted(err, "write pkcs11-id as a pkcs11: URI, or as openvpn --show-pkcs11-ids prints it")
	}
	helper, err := beside("adit-pkcs11", "speaks to tokens")
	if err != nil {
		return nil, nil, err
	}
	key, err := token.Open(helper, f.pkcs11, id)
	var several *token.AmbiguousError
	switch {
	case errors.As(err, &several):
		hints := []string{"write one of these into the profile:"}
		for _, x := range several.IDs[:min(len(several.IDs), 8)] {
			hints = append(hints, "pkcs11-id "+x.String())
		}
		return nil, nil, hinted(err, hints...)
	case errors.Is(err, token.ErrNotFound):
		return nil, nil, hinted(fmt.Errorf("no token has the certificate that the profile names (pkcs11-id %q)", p.PKCS11ID),
			"is the token there? see its certificates with: pkcs11-tool --module "+quoted(f.pkcs11)+" --list-objects --type cert")
	case err != nil:
		return nil, nil, hinted(fmt.Errorf("--pkcs11: %w", err), "name the PKCS#11 module of the token's vendor, such as opensc-pkcs11.so")
	}
	if err := a.login(ctx, key, f.pinFile); err != nil {
		key.Close()
		return nil, nil, err
	}
	return p.WithKey(key.Certificate(), key), key.Close, nil
}

// login gives the PIN to the token.
func (a *app) login(ctx context.Context, key *token.Key, file string) error {
	info := key.Info()
	switch {
	case !info.NeedsPIN:
		return key.Login("")
	case file != "":
		pin, err := readSecret(file, "PIN")
		if err != nil {
			return err
		}
		return hintPIN(key.Login(pin), "the file "+file+" must have it in its first line; the token locks itself after a few wrong ones")
	}
	keys := a.keyboard()
	if keys == nil {
		return hinted(errors.New("the token "+info.ID.Token+" needs its PIN, and there is no terminal to ask at"),
			"name a file with it: --pin-file FILE, or run this in a terminal")
	}
	if info.LastTry {
		a.out.note("one wrong PIN more locks the token")
	}
	var err error
	for range pinTries {
		var pin push.Secret
		if pin, err = keys.ask(ctx, clean("PIN of "+info.ID.Token)+": ", false); err != nil {
			return err
		}
		if err = key.Login(pin); !errors.Is(err, token.ErrPIN) {
			return err
		}
		a.out.note("wrong PIN")
		if info.LastTry {
			break
		}
	}
	return hintPIN(err, "the token locks itself after a few wrong ones")
}

func hintPIN(err error, hint string) error {
	if errors.Is(err, token.ErrPIN) {
		return hinted(err, hint)
	}
	return err
}
