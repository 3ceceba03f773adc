package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/source"
)

func newSet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME [KEY=VALUE]…",
		Short: "Print or change a profile's settings",
		Long: `Without KEY=VALUE, print a profile's settings. With them, change all or, when one
is wrong, none.

  auto_connect=true|false       connect when you sign in to this machine; where the profile
                                signs in with its certificate alone, when the service starts
  route+=CIDR                   also send this network through the tunnel
  route-=CIDR                   keep this network out of it; 0.0.0.0/0 also undoes
                                the server's wish for all traffic
  guard=off|auto|lockdown       what may leave beside the tunnel: auto (the default) keeps
                                what belongs into it from leaving any other way, from the
                                first connection until you disconnect; lockdown lets
                                nothing out without the tunnel, from now on
  pull_filter=ACTION TEXT       accept, ignore or reject pushed options that start with TEXT
  proxy=http://HOST:PORT        reach the server through this proxy, or socks5://HOST:PORT, in
                                place of the profile's, with the credentials that are there
                                (<http-proxy-user-pass>); none: through no proxy
  save_password=true|false      keep the password in your keychain once the server has
                                accepted it, and sign in with it; false forgets it.
                                One-time codes are never kept, and passwords neither
                                where the profile (auth-nocache) or the server forbids it

An empty value takes the setting back to its default. What changes for a tunnel that is up
counts from its next connect; save_password and guard=lockdown count at once.`,
		Example: `  adit set work
  adit set work route-=0.0.0.0/0 route+=10.1.0.0/16`,
		Args:              wants(1, -1, "a profile's name"),
		ValidArgsFunction: a.completeNames,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, changes := args[0], args[1:]
		for _, change := range changes {
			if i := strings.IndexByte(change, '='); i < 1 {
				return usage(cmd, "%q is not KEY=VALUE", change)
			}
		}
		c := a.service()
		defer c.Close()
		var s api.Settings
		var err error
		if len(changes) == 0 {
			s, err = c.Settings(cmd.Context(), name)
		} else {
			s, err = c.Set(cmd.Context(), name, changes)
		}
		if api.IsCode(err, api.CodeSettingInvalid) {
			return asUsage(err)
		}
		if err != nil {
			return err
		}
		if !s.SavePassword && slices.ContainsFunc(changes, func(c string) bool { return strings.HasPrefix(c, "save_password=") }) {
			if err := a.forgetPasswords(cmd.Context(), name); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(changes, func(c string) bool { return strings.HasPrefix(c, "save_password=") }) && s.SavePassword {
			a.noteNotSaved(cmd.Context(), c, name)
		}
		if *asJSON {
			return a.out.json(s)
		}
		a.out.settings(s)
		return nil
	}
	return cmd
}

// noteNotSaved says so when save_password does nothing for a profile. Whose text it may not see, it says
// nothing about.
func (a *app) noteNotSaved(ctx context.Context, c *api.Client, name string) {
	text, err := c.Export(ctx, name)
	if err != nil {
		return
	}
	p, err := parse(source.Source{Title: name, Text: []byte(text.Text)}, name)
	if err != nil {
		return
	}
	if why := p.WhyNotSaved(); why != "" {
		a.out.note("save_password has no effect: %s %s", name, why)
	}
}
