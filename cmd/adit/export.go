package main

import "github.com/spf13/cobra"

func newExport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export NAME",
		Short: "Print a profile of your own with its keys",
		Long: `Print the whole text of a profile of your own, private key included, so that it
can be kept or used elsewhere. Treat the output as a secret.`,
		Example:           "  umask 077; adit export work > work.ovpn",
		Args:              wants(1, 1, "a profile's name"),
		ValidArgsFunction: a.completeNames,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := a.service()
		defer c.Close()
		text, err := c.Export(cmd.Context(), args[0])
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
