package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

func newDisconnect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disconnect [NAME]",
		Short: "End a tunnel",
		Long: `End a tunnel and put routes and DNS back as they were; the command returns when
that is done, the guard opened too, unless it is set to lockdown. Without NAME it ends the
only tunnel there is; what only a guard in lockdown blocks is none.`,
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
			return a.stillBlocked(cmd.Context(), c, "")
		}
		name := ""
		if len(args) == 1 {
			name = args[0]
		} else {
			s, err := c.AsUser().Status(cmd.Context())
			if err != nil {
				return err
			}
			mine := slices.DeleteFunc(s.Named(), over)
			switch len(mine) {
			case 0:
				// What failed behind a closed guard may still be wanted at the next start.
				if err := c.Disconnect(cmd.Context(), ""); err != nil && !isNotConnected(err) {
					return err
				}
				a.out.note("nothing is connected")
				return a.stillBlocked(cmd.Context(), c, "")
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
		return a.stillBlocked(cmd.Context(), c, name)
	}
	return cmd
}

// over says whether there is no tunnel to end: what a guard in lockdown blocks stays so after a disconnect, while auto waits for just that.
func over(c api.Connection) bool {
	return c.State == api.Disconnected || c.State == api.Blocked && c.Guard == "lockdown"
}

// stillBlocked says which of the caller's profiles, or the named one, keep traffic blocked without a tunnel.
func (a *app) stillBlocked(ctx context.Context, c *api.Client, name string) error {
	s, err := c.AsUser().Status(ctx)
	if err != nil {
		return err
	}
	for _, conn := range s.Named() {
		if conn.State == api.Blocked && (name == "" || conn.Profile == name) {
			a.out.note("traffic stays blocked: %s has guard=%s; to open it: adit set %s guard=auto", conn.Profile, conn.Guard, quoted(conn.Profile))
		}
	}
	return nil
}
