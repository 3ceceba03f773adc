package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

func newShow(a *app) *cobra.Command {
	return printsText(a, (*api.Client).Show, &cobra.Command{
		Use:   "show NAME",
		Short: "Print a profile without its secrets",
		Long:  "Print a profile's text with its keys and passwords redacted.",
	})
}

// printsText completes a command that prints one profile's text, as get returns it.
func printsText(a *app, get func(*api.Client, context.Context, string) (api.ProfileText, error), cmd *cobra.Command) *cobra.Command {
	cmd.Args = wants(1, 1, "a profile's name")
	cmd.ValidArgsFunction = a.completeNames
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := a.service()
		defer c.Close()
		text, err := get(c, cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return a.out.json(text)
		}
		return a.out.text(text.Text)
	}
	return cmd
}
