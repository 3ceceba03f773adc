package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
)

const maxPassphrase = 1024 // bytes

// unlock decrypts the profile's key with the passphrase of the profile's own
// askpass file, of file ("-" is the standard input), or of the person at the
// terminal. The service then keeps the key without one: it must be able to
// connect again when nobody is there.
func (a *app) unlock(p *profile.Profile, file string) (*profile.Profile, error) {
	if !p.Locked() {
		return p, nil
	}
	wrong := func(hint string) (*profile.Profile, error) {
		return nil, hinted(errors.New("the passphrase does not open the private key of "+p.Name), hint)
	}
	switch {
	case file != "":
		passphrase, err := readPassphrase(file)
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
	case !term.IsTerminal(int(os.Stdin.Fd())):
		return nil, hinted(errors.New("the private key of "+p.Name+" needs its passphrase"),
			"run this in a terminal, or name a file with it: --passphrase-file FILE")
	}
	a.out.note("the private key is encrypted; it will be stored without its passphrase, readable for the service only")
	for range 3 {
		b, err := askSecret("passphrase of the private key (empty to stop): ")
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

// askSecret asks at the terminal. The terminal is raw meanwhile: signals are caught by
// main's context, so that Ctrl-C has to come as a key to end the read. It and Ctrl-D give "".
func askSecret(prompt string) (push.Secret, error) {
	fd := int(os.Stdin.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer term.Restore(fd, state)
	text, err := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stderr}, "").ReadPassword(prompt)
	if errors.Is(err, io.EOF) {
		fmt.Fprint(os.Stderr, "\r\n")
		return "", nil
	}
	return push.Secret(text), err
}

// readPassphrase reads the first line of a file, or of the standard input.
func readPassphrase(file string) (push.Secret, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", hinted(err, "name a file with the passphrase in its first line")
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxPassphrase)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("cannot read the passphrase: %w", err)
	}
	return push.Secret(strings.TrimRight(line, "\r\n")), nil
}
