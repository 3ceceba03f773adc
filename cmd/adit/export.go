package main

import (
	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

func newExport(a *app) *cobra.Command {
	return printsText(a, (*api.Client).Export, &cobra.Command{
		Use:   "export NAME",
		Short: "Print a profile of your own with its keys",
		Long: `Print the whole text of a profile of your own, private key included, so that it
can be kept or used elsewhere. Treat the output as a secret.`,
		Example: "  umask 077; adit export work > work.ovpn",
	})
}
