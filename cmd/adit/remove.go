package main

import "github.com/spf13/cobra"

func newRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Delete a profile",
		Long:              "Delete a profile with its keys, settings and saved password. There is no way back: adit export NAME keeps a copy.",
		Args:              wants(1, 1, "a profile's name"),
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.service()
			defer c.Close()
			s, err := c.Settings(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := c.Remove(cmd.Context(), args[0]); err != nil {
				return err
			}
			if s.SavePassword {
				if err := a.forgetPasswords(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			a.out.line("removed %s", args[0])
			return nil
		},
	}
}
