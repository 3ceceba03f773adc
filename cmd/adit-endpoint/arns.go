package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
)

// handle is a name that requests of the API may use, and what it stands for.
type handle struct {
	Kind  string `json:"kind"` // certificate, directory, saml-provider or function
	Name  string `json:"name"` // ARN, or a directory's id
	Means string `json:"means"`
}

func (a *app) arns() *cobra.Command {
	var config string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "arns", Short: "List the ARNs and ids that requests of the EC2 API may use, and what they stand for", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.configOf(cmd, config)
			if err != nil {
				return err
			}
			if cfg.API == nil {
				return usagef("start it with --api 127.0.0.1:8700, or write api: into its file", "the endpoint has no EC2 API")
			}
			list := handles(&cfg)
			if asJSON {
				return printJSON(cmd, list)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KIND\tNAME\tSTANDS FOR")
			for _, h := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\n", h.Kind, h.Name, h.Means)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "YAML `file` of the endpoint")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// handles lists what the configuration declares.
func handles(cfg *endpoint.Config) []handle {
	out := []handle{}
	for _, c := range cfg.API.Certificates {
		means := "CA of clients " + cfg.Path(c.Cert)
		if c.Key != "" {
			means = "server certificate " + cfg.Path(c.Cert)
		}
		if c.Chain != "" {
			means += ", and CA of clients " + cfg.Path(c.Chain)
		}
		out = append(out, handle{"certificate", c.ARN, means})
	}
	for _, d := range cfg.API.Directories {
		out = append(out, handle{"directory", d.ID, cmp.Or(strings.Join(d.URLs, ", "), "test users "+cfg.Path(d.Users))})
	}
	for _, f := range cfg.API.SAMLProviders {
		means := "the built-in identity provider"
		if !f.Demo {
			means = "metadata " + cfg.Path(f.Metadata)
		}
		out = append(out, handle{"saml-provider", f.ARN, means})
	}
	for _, g := range cfg.API.TransitGateways {
		var zones []string
		for _, z := range g.Subnets {
			zones = append(zones, z.Zone+" "+cmp.Or(z.Interface, z.CIDR.String()))
		}
		out = append(out, handle{"transit-gateway", g.ID, strings.Join(zones, ", ")})
	}
	for _, h := range cfg.API.Handlers {
		out = append(out, handle{"function", h.ARN, cmp.Or(h.URL, cfg.Path(h.Exec)) + " (" + h.Schema + ")"})
	}
	return out
}
