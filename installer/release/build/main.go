// Command build makes what accompanies a release. It runs in the root of the tree:
//
//	build notice                                            NOTICE: the licences of what the programs link
//	build finish -version 1.2.3 [-days N] [-minimum V] DIST bill of materials, manifest and checksums, beside programs and packages
//	build sign -key FILE [-expect KEY] DIST                 the manifest's signature
//	build compare ONE OTHER                                 are two releases the same
//
// SOURCE_DATE_EPOCH is the time of the release.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"aead.dev/minisign"
	"golang.org/x/term"

	"github.com/adit-vpn/adit/installer/manifest"
	"github.com/adit-vpn/adit/installer/release"
)

func main() {
	if err := run(os.Args[1:], os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, env func(string) string) error {
	if len(args) == 0 {
		return errors.New("say what to make: notice, finish, sign or compare")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "notice":
		if _, err := rest(flags, args[1:], 0, ""); err != nil {
			return err
		}
		modules, err := release.Linked(".")
		if err != nil {
			return err
		}
		return os.WriteFile("NOTICE", []byte(release.Notice(modules)), 0o644)
	case "finish":
		o := release.Options{}
		flags.StringVar(&o.Version, "version", "", "what is released")
		flags.IntVar(&o.Days, "days", 400, "for how many days the manifest proves something; 0: forever")
		flags.StringVar(&o.Minimum, "minimum", "", "older versions must be replaced")
		at, err := rest(flags, args[1:], 1, "the directory of the release")
		if err != nil {
			return err
		}
		seconds, err := strconv.ParseInt(env("SOURCE_DATE_EPOCH"), 10, 64)
		if err != nil {
			return errors.New("SOURCE_DATE_EPOCH is not set: the time of the release, in seconds since 1970")
		}
		o.At = time.Unix(seconds, 0)
		modules, err := release.Linked(".")
		if err != nil {
			return err
		}
		return release.Finish(at[0], modules, o)
	case "sign":
		key := flags.String("key", "", "file with the secret key that minisign -G made")
		expect := flags.String("expect", "", "the public key that programs were released with")
		at, err := rest(flags, args[1:], 1, "the directory of the release")
		if err != nil {
			return err
		}
		return sign(at[0], *key, *expect)
	case "compare":
		at, err := rest(flags, args[1:], 2, "two directories of releases")
		if err != nil {
			return err
		}
		n, err := release.Same(at[0], at[1])
		if err != nil {
			return err
		}
		fmt.Printf("all %d files are the same\n", n)
		return nil
	}
	return fmt.Errorf("there is no %s; there is notice, finish, sign and compare", args[0])
}

// rest parses flags and wants n arguments after them.
func rest(flags *flag.FlagSet, args []string, n int, names string) ([]string, error) {
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() != n {
		return nil, fmt.Errorf("%s needs %s", flags.Name(), strings.TrimSpace(names+" and nothing else"))
	}
	return flags.Args(), nil
}

// sign writes the signature beside the manifest. A key with a passphrase asks for it at the terminal.
func sign(dist, keyFile, expect string) error {
	at := filepath.Join(dist, release.ManifestName)
	text, err := os.ReadFile(at)
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	secret = bytes.TrimSpace(secret)
	var key minisign.PrivateKey
	if minisign.IsEncrypted(secret) {
		fmt.Fprintf(os.Stderr, "passphrase of %s: ", keyFile)
		passphrase, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return fmt.Errorf("%s has a passphrase, which is asked for at a terminal: %w", keyFile, err)
		}
		if key, err = minisign.DecryptKey(string(passphrase), secret); err != nil {
			return fmt.Errorf("%s: %w", keyFile, err)
		}
	} else if err := key.UnmarshalText(secret); err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	public := manifest.Public(key)
	if expect != "" && public.String() != expect {
		return fmt.Errorf("%s is not the secret half of %s: the programs of this release would refuse their own manifest", keyFile, expect)
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	signature, err := manifest.Sign(text, key, "adit "+m.Version)
	if err != nil {
		return err
	}
	if err := os.WriteFile(at+manifest.Suffix, signature, 0o644); err != nil {
		return err
	}
	fmt.Printf("signed %s with the key %s: %s\n", at, public.ID(), public)
	return nil
}
