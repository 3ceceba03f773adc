package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

func newDisconnect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disconnect [NAME]",
		Short: "End a tunnel",
		Long: `End a tunnel and put routes and DNS back as they were; the command returns when
that is done. Without NAME it ends the only tunnel there is.`,
		Example: `  adit disconnect
  adit disconnect work
  adit disconnect --all`,
		Args:              wants(0, 1, "one profile's name"),
		ValidArgsFunction: a.completeNames,
	}
	all := cmd.Flags().Bool("all", false, "end all your tunnels")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all && len(args) > 0 {
			return usage(cmd, "disconnect takes a name or --all, not both")
		}
		c := a.service()
		defer c.Close()
		if *all {
			if err := c.Disconnect(cmd.Context(), ""); err != nil {
				return err
			}
			a.out.line("no tunnels of yours are left")
			return nil
		}
		name := ""
		if len(args) == 1 {
			name = args[0]
		} else {
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			mine := slices.DeleteFunc(own(s.Connections), func(c api.Connection) bool { return c.State == api.Disconnected })
			switch len(mine) {
			case 0:
				a.out.note("nothing is connected")
				return nil
			case 1:
				name = mine[0].Profile
			default:
				return usage(cmd, "there are %d tunnels: name one, or use --all", len(mine))
			}
		}
		err := c.Disconnect(cmd.Context(), name)
		if isNotConnected(err) {
			a.out.note("%s is not connected", name)
			return nil
		}
		if err != nil {
			return err
		}
		a.out.line("disconnected %s", name)
		return nil
	}
	return cmd
}
