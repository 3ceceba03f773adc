package main

import (
	"errors"
	"fmt"
	"net/http"
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

The exit code is 0 when the profile is usable and 1 when it is not.`,
		Example: `  adit check work.ovpn
  adit check work.ovpn --json`,
		Args: wants(1, 1, "a file"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		src, err := readSource(cmd.Context(), http.DefaultClient, args[0])
		if err != nil {
			return err
		}
		// A refused line is an error of Parse, but the report tells more.
		p, err := profile.Parse(src.title, src.text, src.files)
		if p == nil {
			return hinted(err, "give an OpenVPN profile in UTF-8 text")
		}
		report := p.Check(time.Now())
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
		return unusable(src.title, report)
	}
	return cmd
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
