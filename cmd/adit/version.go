package main

import (
	"context"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

// versions is the form of adit version --json.
type versions struct {
	Adit  api.Version  `json:"adit"`
	Aditd *api.Version `json:"aditd"` // null when the service is not reached
	// Check is what --check found.
	Check *checkedRelease `json:"check,omitempty"`
}

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of adit and of the service",
		Long: `Print the versions of adit and of the service.

With --check, compare them with the manifest of a release, a file or an https URL, whose signature is beside
it (.minisig): whether they are as new, and, if they are, whether the programs beside this one, and the
service's, are the released files. The exit code is 1 when something is older or altered. Nothing is asked of anybody but the URL that
you name. An adit that was altered may say what it likes: where that matters, run one from elsewhere.`,
		Example: `  adit version
  adit version --check manifest.json --key adit.pub
  adit version --check https://it.example.com/adit/manifest.json`,
		Args: wants(0, 0, ""),
	}
	check := cmd.Flags().String("check", "", "compare with the manifest in this file or at this https URL")
	key := cmd.Flags().String("key", "", "file with the minisign public key of whoever signed the manifest; without it, the one that adit was released with")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *key != "" && *check == "" {
			return usage(cmd, "--key is for --check")
		}
		if *check == "" && cmd.Flags().Changed("check") {
			return usage(cmd, "--check needs a file or an https URL")
		}
		v := versions{Adit: ownVersion()}
		c := a.service()
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		if s, err := c.Version(ctx); err == nil {
			v.Aditd = &s
		}
		if *check == "" {
			if *asJSON {
				return a.out.json(v)
			}
			a.out.versions(v)
			return nil
		}
		r, err := checkRelease(cmd.Context(), *check, *key, v)
		if err != nil {
			return err
		}
		if v.Check = &r; *asJSON {
			if err := a.out.json(v); err != nil {
				return err
			}
		} else {
			a.out.versions(v)
			a.out.release(r)
		}
		return r.err()
	}
	return cmd
}

// version is set when a release is linked (-ldflags "-X main.version=1.2.3").
var version = "dev"

func ownVersion() api.Version {
	return api.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
}
