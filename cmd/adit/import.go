package main

import (
	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

func newImport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE|URL",
		Short: "Give a profile to the service",
		Long: `Read an .ovpn profile and the certificate and key files that it refers to, and give the
service one text with all of them inside. The files are read with your own rights and
are not needed afterwards. A profile from an https URL must be complete in itself.

A private key with a passphrase is decrypted here, once: the service keeps it without
one, readable for itself only, so that it can connect again when nobody is there.

Lines that have no effect here are noted; a line that would make the tunnel unsafe
stops the import.`,
		Example: `  adit import work.ovpn
  adit import downloaded.ovpn --name work --replace
  adit import https://vpn.example.com/work.ovpn`,
		Args: wants(1, 1, "a file or an https URL"),
	}
	name := cmd.Flags().String("name", "", "the profile's name; default: the file's, without .ovpn")
	replace := cmd.Flags().Bool("replace", false, "overwrite a profile of that name; its settings stay, a saved password is forgotten")
	passphrase := cmd.Flags().String("passphrase-file", "", "file with the private key's passphrase in its first line; - is the standard input")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		src, err := readSource(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		p, err := parse(src, args[0])
		if err != nil {
			return err
		}
		if p, err = a.unlock(p, *passphrase, "it will be stored without its passphrase, readable for the service only"); err != nil {
			return err
		}
		if !cmd.Flags().Changed("name") {
			*name = src.Name
		}
		c := a.service()
		defer c.Close()
		stored, err := c.Import(cmd.Context(), api.ImportRequest{Name: *name, Text: p.Text(), Replace: *replace})
		if err != nil {
			return err
		}
		if *replace { // it may name another server, which must not get the password that was for this one
			s, err := c.Settings(cmd.Context(), stored.Name)
			if err == nil && s.SavePassword {
				err = a.forgetPasswords(cmd.Context(), stored.Name)
			}
			if err != nil {
				return err
			}
		}
		if *asJSON {
			return a.out.json(stored)
		}
		for _, n := range stored.Notes {
			a.out.note("%s", n)
		}
		a.out.line("imported %s", stored.Name)
		a.out.line("connect with: adit connect %s", quoted(stored.Name))
		return nil
	}
	return cmd
}
