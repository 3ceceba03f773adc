package main

import "github.com/spf13/cobra"

func newRename(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "rename OLD NEW",
		Short:             "Give a profile another name",
		Args:              wants(2, 2, "the old and the new name"),
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.service()
			defer c.Close()
			s, err := c.Settings(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := c.Rename(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			if s.SavePassword { // it is kept by the name, and asked for once more
				if err := a.forgetPasswords(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			a.out.line("%s is now %s", args[0], args[1])
			return nil
		},
	}
}
