package main

import "github.com/spf13/cobra"

func newShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Print a profile without its secrets",
		Long:              "Print a profile's text with its keys and passwords redacted.",
		Args:              wants(1, 1, "a profile's name"),
		ValidArgsFunction: a.completeNames,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := a.service()
		defer c.Close()
		text, err := c.Show(cmd.Context(), args[0])
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
