package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/ovpn/profile"
)

func newCheck(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what adit makes of every line of a profile",
		Long: `Read a profile as import would, and print for each directive whether it is used,
ignored, unsupported or refused, and why; then the certificates with their expiry,
and which traffic will go through the tunnel. Neither the service nor the server is asked.

An encrypted private key or PKCS#12 file is opened with the passphrase of --passphrase-file or of
the profile's askpass file, and checked; without one, the report says what it could not look at.

The exit code is 0 when the profile is usable and 1 when it is not.`,
		Example: `  adit check work.ovpn
  adit check work.ovpn --json`,
		Args: wants(1, 1, "a file"),
	}
	passphrase := cmd.Flags().String("passphrase-file", "", "file with the private key's passphrase in its first line; - is the standard input")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		src, err := readSource(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		// A refused line is an error of Parse, but the report tells more.
		p, err := profile.Parse(src.Title, src.Text, src.Files)
		if p == nil {
			return hinted(err, "give an OpenVPN profile in UTF-8 text")
		}
		report, err := a.checked(p, *passphrase)
		if err != nil {
			return err
		}
		if *asJSON {
			if err := a.out.json(report); err != nil {
				return err
			}
		} else {
			a.out.report(report)
		}
		if report.Usable {
			return nil
		}
		if p.Locked() && *passphrase == "" && p.Passphrase == "" {
			err := unusable(src.Title, report)
			return hinted(err, "check the key, too: adit check "+args[0]+" --passphrase-file FILE")
		}
		return unusable(src.Title, report)
	}
	return cmd
}

// checked is the report on a profile, with its key open where there is a passphrase.
func (a *app) checked(p *profile.Profile, file string) (profile.Report, error) {
	passphrase, where := p.Passphrase, "that askpass names"
	if file != "" {
		var err error
		if passphrase, err = readSecret(file, "passphrase"); err != nil {
			return profile.Report{}, err
		}
		where = file
		if !p.Locked() {
			a.out.note("the private key needs no passphrase")
		}
	}
	if !p.Locked() || file == "" && passphrase == "" {
		return p.Check(time.Now()), nil
	}
	report, err := p.CheckUnlocked(time.Now(), passphrase)
	if errors.Is(err, profile.ErrPassphrase) {
		return report, hinted(errors.New("the passphrase does not open the private key of "+p.Name), "the file "+where+" must have it in its first line")
	}
	return report, err
}

// unusable names the first finding that stops a profile.
func unusable(title string, r profile.Report) error {
	for _, f := range r.Problems {
		if f.Severity != profile.SeverityError {
			continue
		}
		where := ""
		if f.Line > 0 {
			where = fmt.Sprintf("line %d: ", f.Line)
		}
		return hinted(fmt.Errorf("%s is not usable: %s%s", title, where, f.Text), "change what is marked as error or refused above, and check again")
	}
	return hinted(errors.New(title+" is not usable"), "change what is marked as refused or unsupported above, and check again")
}
