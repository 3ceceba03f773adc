package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
)

const maxPassphrase = 1024 // bytes

// unlock decrypts the profile's key with the passphrase of the profile's own
// askpass file, of file ("-" is the standard input), or of the person at the
// terminal, who is told fate: what becomes of the opened key. The end of ctx ends the prompt.
func (a *app) unlock(ctx context.Context, p *profile.Profile, file, fate string) (*profile.Profile, error) {
	if !p.Locked() {
		return p, nil
	}
	wrong := func(hint string) (*profile.Profile, error) {
		return nil, hinted(errors.New("the passphrase does not open the private key of "+p.Name), hint)
	}
	switch {
	case file != "":
		passphrase, err := readSecret(file, "passphrase")
		if err != nil {
			return nil, err
		}
		q, err := p.Unlock(passphrase)
		if errors.Is(err, profile.ErrPassphrase) {
			return wrong("the file " + file + " must have it in its first line")
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
	a.out.note("the private key is encrypted; %s", fate)
	for range 3 {
		b, err := a.keyboard().secret(ctx, "passphrase of the private key (empty to stop): ")
		if err != nil {
			return nil, fmt.Errorf("cannot read the passphrase: %w", err)
		}
		if b == "" {
			return nil, errors.New("stopped: no passphrase")
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
