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
}

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of adit and of the service",
		Args:  wants(0, 0, ""),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := versions{Adit: ownVersion()}
		c := a.service()
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		if s, err := c.Version(ctx); err == nil {
			v.Aditd = &s
		}
		if *asJSON {
			return a.out.json(v)
		}
		a.out.versions(v)
		return nil
	}
	return cmd
}

// version is set when a release is linked (-ldflags "-X main.version=1.2.3").
var version = "dev"

func ownVersion() api.Version {
	return api.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
}
