package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

func newLogs(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Print what the service did",
		Long:  "Print the lines that the service keeps about your tunnels; keys and passwords are never among them.",
		Example: `  adit logs
  adit logs -f`,
		Args: wants(0, 0, ""),
	}
	asJSON := jsonFlag(cmd)
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with new lines until Ctrl-C")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := a.service()
		defer c.Close()
		err := c.Logs(cmd.Context(), *follow, func(l api.LogLine) error {
			if *asJSON {
				return a.out.jsonLine(l)
			}
			a.out.logLine(l)
			return nil
		})
		if *follow && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	return cmd
}
