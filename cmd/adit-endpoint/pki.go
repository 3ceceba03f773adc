package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/pki"
)

// pkiFlags are the flags that certificates are made with.
type pkiFlags struct {
	days, rsa int
	name      string
	san       []string
}

func (f *pkiFlags) add(cmd *cobra.Command, san bool) {
	cmd.Flags().IntVar(&f.days, "days", 0, "days of validity (0: CA 3650, server 825, client 365)")
	cmd.Flags().IntVar(&f.rsa, "rsa", 0, "make an RSA key of this many `bits` instead of ECDSA P-256")
	cmd.Flags().StringVar(&f.name, "common-name", "", "the subject's common name")
	if san {
		cmd.Flags().StringSliceVar(&f.san, "san", nil, "further `names`: host names or addresses")
	}
}

func (f *pkiFlags) options() pki.Options {
	return pki.Options{Days: f.days, RSABits: f.rsa, CommonName: f.name, Names: f.san}
}

func (a *app) openPKI() (*pki.PKI, error) { return pki.Open(filepath.Join(a.data, "pki")) }

func (a *app) pki() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pki", Short: "The endpoint's own certificates, in easy-rsa's layout",
		RunE: func(cmd *cobra.Command, args []string) error {
			return usagef("see adit-endpoint pki --help", "pki needs one of its commands")
		},
	}
	cmd.AddCommand(a.pkiInit(), a.pkiReplace(), a.pkiServer(), a.pkiClient(), a.pkiRenew(), a.pkiRevoke(), a.pkiCRL(), a.pkiList(), a.pkiWrap())
	return cmd
}

// made prints where a new certificate is.
func made(cmd *cobra.Command, c pki.Certificate, err error) error {
	if err != nil {
		return asUsage(err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s certificate %s, valid until %s\ncertificate: %s\nkey: %s\n",
		c.Kind, c.Name, c.NotAfter.Format(time.DateOnly), c.CertFile, c.KeyFile)
	return nil
}

// asUsage makes bad names and options wrong usage.
func asUsage(err error) error {
	var e *pki.Error
	if errors.As(err, &e) && (errors.Is(err, pki.ErrBadName) || errors.Is(err, pki.ErrBadOption)) {
		return &usageError{err: err, hint: e.Hint}
	}
	return err
}

func (a *app) pkiInit() *cobra.Command {
	var f pkiFlags
	cmd := &cobra.Command{
		Use: "init", Short: "Make a CA", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			if err := p.Init(f.options()); err != nil {
				return asUsage(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "CA: %s\n", p.CAFile())
			return nil
		},
	}
	f.add(cmd, false)
	return cmd
}

func (a *app) pkiReplace() *cobra.Command {
	var f pkiFlags
	cmd := &cobra.Command{
		Use: "replace-ca", Short: "Make another CA, and server certificates of it; all clients need new ones",
		Long: `Make another CA, and a new certificate of it for each server that had one. What the
old CA made goes to pki/replaced. A running endpoint goes on as before until
adit-endpoint reload; from then on every client needs a new certificate and a
new profile: adit-endpoint pki client NAME, adit-endpoint export --client NAME.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			aside, servers, err := p.Replace(f.options())
			if aside != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "old CA: %s\n", aside)
			}
			if err != nil {
				return asUsage(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "CA: %s\n", p.CAFile())
			for _, c := range servers {
				if err := made(cmd, c, nil); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.add(cmd, false)
	return cmd
}

func (a *app) pkiServer() *cobra.Command {
	var f pkiFlags
	cmd := &cobra.Command{
		Use: "server [NAME]", Short: "Make a server certificate", Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := endpoint.ServerName
			if len(args) > 0 {
				name = args[0]
			}
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			c, err := p.Server(name, f.options())
			return made(cmd, c, err)
		},
	}
	f.add(cmd, true)
	return cmd
}

func (a *app) pkiClient() *cobra.Command {
	var f pkiFlags
	cmd := &cobra.Command{
		Use: "client NAME", Short: "Make a client certificate", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == endpoint.ServerName {
				return usagef("choose another name", "%s is the name of the endpoint's own certificate", args[0])
			}
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			c, err := p.Client(args[0], f.options())
			return made(cmd, c, err)
		},
	}
	f.add(cmd, true)
	return cmd
}

func (a *app) pkiRenew() *cobra.Command {
	var f pkiFlags
	cmd := &cobra.Command{
		Use: "renew NAME", Short: "Make a new certificate for a name; the old one stays good until it ends", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			c, err := p.Renew(args[0], f.options())
			return made(cmd, c, err)
		},
	}
	f.add(cmd, true)
	return cmd
}

func (a *app) pkiRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "Revoke a certificate and write the revocation list",
		Long: `Revoke a certificate and write the revocation list, which the endpoint of the file
reads at adit-endpoint reload. Endpoints of the EC2 API have a list of their own,
as on AWS: adit-endpoint pki crl prints the one to import there.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			if err := p.Revoke(args[0]); err != nil {
				return asUsage(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "revoked %s; a running endpoint learns it from: adit-endpoint reload --data %s\n", args[0], a.data)
			if fileExists(filepath.Join(a.data, stateName)) {
				fmt.Fprintln(cmd.OutOrStdout(), "endpoints of the EC2 API learn it from: aws ec2 import-client-vpn-client-certificate-revocation-list, with what adit-endpoint pki crl prints")
			}
			return nil
		},
	}
}

func (a *app) pkiCRL() *cobra.Command {
	var days int
	cmd := &cobra.Command{
		Use: "crl", Short: "Write the revocation list anew and print it", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			text, err := p.CRL(days)
			if err != nil {
				return asUsage(err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().IntVar(&days, "days", 0, "days of validity (0: the default)")
	return cmd
}

func (a *app) pkiList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the certificates", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			list, err := p.List()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, list)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tKIND\tSTATUS\tUNTIL\tSERIAL")
			for _, c := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Name, c.Kind, c.Status, c.NotAfter.Format(time.DateOnly), c.Serial)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) pkiWrap() *cobra.Command {
	return &cobra.Command{
		Use: "tls-crypt-v2 [NAME]", Short: "Make the server's tls-crypt-v2 key, or a client's, and say where it is",
		Long: `Make a key that protects the control channel: the server's, or with NAME a client's
that only this server takes. One that is there already stays. Exported profiles
have the client's key inside; renewing or revoking a certificate forgets it.`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.openPKI()
			if err != nil {
				return err
			}
			server, err := p.WrapServer()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "server key: %s\n", p.WrapServerFile())
				return nil
			}
			if args[0] == "" {
				return usagef("name a client", "a client's key needs a name")
			}
			if _, err := p.WrapClient(args[0], server, 0); err != nil {
				return asUsage(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "client key: %s\n", p.WrapClientFile(args[0]))
			return nil
		},
	}
}
