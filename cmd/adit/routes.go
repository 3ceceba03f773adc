package main

import "github.com/spf13/cobra"

func newRoutes(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "List the tunnels' routes, and why each is there",
		Long:  "List every route that a tunnel installed, into the tunnel or around it, with the reason for it.",
		Args:  wants(0, 0, ""),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := a.service()
		defer c.Close()
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		rows := []routeRow{} // [] as JSON when there are none
		for _, c := range s.Connections {
			for _, r := range c.Routes {
				rows = append(rows, routeRow{c.Profile, r})
			}
		}
		if *asJSON {
			return a.out.json(rows)
		}
		a.out.routes(rows)
		return nil
	}
	return cmd
}
