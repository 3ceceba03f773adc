package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/pki"
)

func (a *app) client() *endpoint.ControlClient { return endpoint.NewControlClient(a.data) }

func (a *app) connections() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use: "connections", Short: "List the connected clients", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ask := a.client().Connections
			if all {
				ask = a.client().AllConnections
			}
			list, err := ask(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.nameKeys(list); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, list)
			}
			return table(cmd, list, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that ended within the last hour, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// table prints connections; all with how each is and ended.
func table(cmd *cobra.Command, list []endpoint.Connection, all bool) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	several := slices.ContainsFunc(list, func(c endpoint.Connection) bool { return c.Endpoint != "" })
	if several {
		fmt.Fprint(w, "ENDPOINT\t")
	}
	fmt.Fprint(w, "ID\tCLIENT\tADDRESS\tFROM\tSINCE\tRECEIVED\tSENT\tKEY\tFORMAT")
	if all {
		fmt.Fprint(w, "\tSTATUS\tENDED\tREASON")
	}
	fmt.Fprintln(w)
	for _, c := range list {
		if several {
			fmt.Fprintf(w, "%s\t", c.Endpoint)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s", c.ID, c.Client, c.Address, c.From, c.Since.Format(time.RFC3339), c.RxBytes, c.TxBytes, keyWords(c.Key), c.Format)
		if all {
			ended, reason := "-", "-"
			if !c.Ended.IsZero() {
				ended, reason = c.Ended.Format(time.RFC3339), oneLine(errors.New(c.Reason))
			}
			fmt.Fprintf(w, "\t%s\t%s\t%s", c.Status, ended, reason)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// nameKeys fills in the names that the PKI has for tls-crypt-v2 keys.
func (a *app) nameKeys(list []endpoint.Connection) error {
	p, err := pki.Open(filepath.Join(a.data, "pki"))
	if err != nil {
		return err
	}
	names, err := p.WrapNames()
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Key != nil {
			c.Key.Name = names[c.Key.ID]
		}
	}
	return nil
}

// keyWords is the best name of a client's tls-crypt-v2 key.
func keyWords(k *endpoint.ControlKey) string {
	switch {
	case k == nil:
		return "-"
	case k.Name != "":
		return k.Name
	case k.User != "":
		return strconv.Quote(k.User)
	case k.Made != nil:
		return k.ID + " of " + k.Made.Format(time.DateOnly)
	}
	return k.ID
}

func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) terminate() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use: "terminate ID|--user U", Short: "End connections, tell the clients to stay away, and revoke sign-ins", Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := endpoint.TerminateRequest{User: user}
			if len(args) > 0 {
				q.ID = args[0]
			}
			if (q.ID == "") == (q.User == "") {
				return usagef("usage: adit-endpoint terminate ID, or --user U", "terminate needs an id or a user")
			}
			out, err := a.client().Terminate(cmd.Context(), q)
			if err != nil {
				return err
			}
			for _, id := range out.Terminated {
				fmt.Fprintln(cmd.OutOrStdout(), "terminated", id)
			}
			if out.SignIns > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "sign-ins revoked: %d\n", out.SignIns)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "all connections and sign-ins of this `user` (or certificate name)")
	return cmd
}

func (a *app) reload() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Read the configuration again", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := a.client().Reload(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "reloaded, %d sessions reset\n", out.Reset)
			return nil
		},
	}
}

func (a *app) check() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Validate a configuration file and the files that it names", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, notes, err := endpoint.CheckConfig(args[0], os.ReadFile, time.Now())
			var all endpoint.ConfigErrors
			if errors.As(err, &all) && len(all) > 1 {
				for _, e := range all {
					fmt.Fprintln(cmd.OutOrStdout(), e)
				}
				return fmt.Errorf("%s: %d mistakes", filepath.Base(args[0]), len(all))
			}
			if err != nil {
				return err
			}
			for _, n := range notes {
				fmt.Fprintln(cmd.OutOrStdout(), "note:", n)
			}
			if len(cfg.Listen) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is fine: %d networks for endpoints of the API\n", args[0], len(cfg.Networks))
				return nil
			}
			code, err := cfg.AsksForCode(endpoint.Leaves{ReadFile: os.ReadFile, Now: time.Now})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is fine: %s/%s, clients from %s who show %s, %d associations, %d rules\n", args[0],
				cfg.Listen[0], cfg.Transport, cfg.ClientCIDR, shown(&cfg, code), len(cfg.Associations), len(cfg.Rules))
			return nil
		},
	}
}
