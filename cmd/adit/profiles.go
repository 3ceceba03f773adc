package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

func newProfiles(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profiles",
		Short: "List your profiles",
		Long:  "List your profiles and those that the administrator manages, with their state and the expiry of their certificate.",
		Args:  wants(0, 0, ""),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := a.service()
		defer c.Close()
		list, err := c.Profiles(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return a.out.json(list)
		}
		a.out.profiles(list)
		return nil
	}
	return cmd
}

// completeNames offers profile names to the shell, for the first argument.
func (a *app) completeNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	c := a.service()
	defer c.Close()
	list, err := c.Profiles(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
