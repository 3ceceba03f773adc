package main

import "github.com/spf13/cobra"

func newExplain(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain DEST",
		Short: "Say which way a packet to DEST would go, and why",
		Long: `Say which way a packet to the address DEST would go: through which tunnel, around it or
past it, and the route that decides. Nothing is sent.`,
		Example: `  adit explain 10.0.0.5
  adit explain 2001:db8::1 --json`,
		Args: wants(1, 1, "one destination"),
	}
	asJSON := jsonFlag(cmd)
	probe := cmd.Flags().Bool("probe", false, "try it with three probes (not supported yet)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *probe {
			return notYet("explain --probe", "without sending anything: adit explain "+args[0])
		}
		c := a.service()
		defer c.Close()
		x, err := c.Explain(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return a.out.json(x)
		}
		a.out.explanation(x)
		return nil
	}
	return cmd
}
