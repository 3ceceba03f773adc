package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
)

const maxPassphrase = 1024 // bytes

// passphraseFile is --passphrase-file. It is read when the first key needs it, and once: the standard input ends.
type passphraseFile struct {
	name string // empty: not given; "-" is the standard input
	read func() (push.Secret, error)
}

func newPassphraseFile(name string) passphraseFile {
	return passphraseFile{name, sync.OnceValues(func() (push.Secret, error) { return readSecret(name, "passphrase") })}
}

// unlock decrypts the profile's key with the passphrase of the profile's own
// askpass file, of file, or of the person at the terminal, who is told fate: what becomes of the opened key. The end of ctx
// ends the prompt; the error is context.Canceled also when the person does, with Ctrl-C.
func (a *app) unlock(ctx context.Context, p *profile.Profile, file passphraseFile, fate string) (*profile.Profile, error) {
	if !p.Locked() {
		return p, nil
	}
	wrong := func(hint string) (*profile.Profile, error) {
		return nil, hinted(errors.New("the passphrase does not open the private key of "+p.Name), hint)
	}
	switch {
	case file.name != "":
		passphrase, err := file.read()
		if err != nil {
			return nil, err
		}
		q, err := p.Unlock(passphrase)
		if errors.Is(err, profile.ErrPassphrase) {
			return wrong("the file " + file.name + " must have it in its first line")
		}
		return q, err
	case p.Passphrase != "":
		q, err := p.Unlock(p.Passphrase)
		if errors.Is(err, profile.ErrPassphrase) {
			return wrong("the file that askpass names must have it in its first line")
		}
		return q, err
	case a.keyboard() == nil:
		return nil, hinted(errors.New("the private key of "+p.Name+" needs its passphrase"),
			"run this in a terminal, or name a file with it: --passphrase-file FILE")
	}
	a.out.note("the private key of %s is encrypted; %s", p.Name, fate)
	for range 3 {
		b, err := a.keyboard().ask(ctx, "passphrase of the private key of "+clean(p.Name)+" (empty to give up): ", false)
		switch {
		case errors.Is(err, errStopped):
			return nil, context.Canceled
		case err != nil:
			return nil, fmt.Errorf("cannot read the passphrase: %w", err)
		case b == "":
			return nil, errors.New("no passphrase was typed")
		}
		q, err := p.Unlock(b)
		if !errors.Is(err, profile.ErrPassphrase) {
			return q, err
		}
		a.out.note("that does not open it")
	}
	return wrong("test it with: openssl pkey -noout -in KEYFILE")
}

// readSecret reads the first line of a file, or with - of the standard input.
func readSecret(file, what string) (push.Secret, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", hinted(err, "name a file with the "+what+" in its first line")
		}
		defer f.Close()
		in = f
	}
	hint := "name a file with the " + what + " in its first line"
	line, err := bufio.NewReader(io.LimitReader(in, maxPassphrase+3)).ReadString('\n') // and CR, LF, one too many
	if err != nil && !errors.Is(err, io.EOF) {
		return "", hinted(fmt.Errorf("cannot read the %s: %w", what, err), hint)
	}
	line = strings.TrimRight(line, "\r\n")
	if len(line) > maxPassphrase { // a part of it would be a wrong one, and count against the account
		return "", hinted(fmt.Errorf("the first line of %s is longer than %d bytes, and no %s", file, maxPassphrase, what), hint)
	}
	return push.Secret(line), nil
}
