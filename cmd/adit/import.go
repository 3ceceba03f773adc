package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/migrate"
	"github.com/adit-vpn/adit/ovpn/profile"
)

func newImport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE|URL",
		Short: "Give a profile to the service",
		Long: `Read an .ovpn profile (- is the standard input) and the certificate and key files that it refers to, and give the
service one text with all of them inside. The files are read with your own rights and
are not needed afterwards. A profile from an https URL must be complete in itself.

A private key with a passphrase is decrypted here, once: the service keeps it without
one, readable for itself only, so that it can connect again when nobody is there.

Lines that have no effect here are noted; a line that would make the tunnel unsafe
stops the import.

With --from, take over all profiles of another VPN client: from where it keeps them, or
from PATH, a file or a folder. Each is imported or not by itself; saved passwords are not
taken. --dry-run says what would be imported.

  aws             the AWS VPN client up to version 5
  openvpn         OpenVPN Connect 3, OpenVPN GUI, /etc/openvpn/client
  tunnelblick     Tunnelblick's .tblk bundles
  networkmanager  keyfiles of NetworkManager's OpenVPN plugin, which root alone can read`,
		Example: `  adit import work.ovpn
  adit import downloaded.ovpn --name work --replace
  adit import https://vpn.example.com/work.ovpn
  adit import --from aws --dry-run
  adit import --from tunnelblick Office.tblk`,
	}
	cmd.Use += " | import --from CLIENT [PATH]"
	var f importFlags
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "the profile's name; default: the file's, without .ovpn")
	flags.BoolVar(&f.replace, "replace", false, "overwrite a profile of that name; its settings stay, a saved password is forgotten")
	passphrase := flags.String("passphrase-file", "", "file with the private key's passphrase in its first line; - is the standard input")
	flags.StringVar(&f.from, "from", "", "take over the profiles of another `CLIENT`: aws, openvpn, tunnelblick or networkmanager")
	flags.BoolVar(&f.dryRun, "dry-run", false, "with --from: import nothing, say what would be")
	clients := make([]string, 0, len(migrate.Clients()))
	for _, c := range migrate.Clients() {
		clients = append(clients, string(c))
	}
	if err := cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions(clients, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is defined above
	}
	asJSON := jsonFlag(cmd)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if flags.Changed("from") {
			return wants(0, 1, "one file or folder")(cmd, args)
		}
		return wants(1, 1, "a file or an https URL")(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.json, f.passphrase = *asJSON, newPassphraseFile(*passphrase)
		switch {
		case flags.Changed("from") && flags.Changed("name"):
			return usage(cmd, "--name is for one profile; with --from they keep their names")
		case flags.Changed("from"):
			return a.importFrom(cmd, f, args)
		case f.dryRun:
			return usage(cmd, "--dry-run needs --from; for one file: adit check FILE")
		}
		src, err := readSource(cmd.Context(), args[0])
		if err != nil {
			return forOther(err, args[0])
		}
		p, err := parse(src, args[0])
		if err != nil {
			return err
		}
		if !flags.Changed("name") {
			f.name = src.Name
			if err := api.CheckName(f.name); err != nil {
				return hinted(err, "choose another one: adit import "+quoted(args[0])+" --name NAME", api.AsProblem(err).Hint)
			}
		}
		c := a.service()
		defer c.Close()
		stored, err := a.store(cmd.Context(), c, p, f.name, f)
		if err != nil {
			return err
		}
		if f.json {
			return a.out.json(stored)
		}
		for _, n := range stored.Notes {
			a.out.note("%s", n)
		}
		a.out.line("imported %s", stored.Name)
		if why, ok := dead(p); ok {
			a.out.note("it cannot connect as it is: %s; see all with: adit check %s", why, quoted(args[0]))
			return nil
		}
		a.out.line("connect with: adit connect %s", quoted(stored.Name))
		return nil
	}
	return cmd
}

// dead says what keeps a profile that was imported from ever connecting. What is locked was opened before.
func dead(p *profile.Profile) (why string, is bool) {
	if p.Locked() {
		return "", false
	}
	for _, f := range p.Check(time.Now()).Problems {
		if f.Severity == profile.SeverityError {
			return f.Text, true
		}
	}
	return "", false
}

// forOther adds advice where somebody gives another client's own form of a profile.
func forOther(err error, arg string) error {
	for suffix, client := range map[string]migrate.Client{".tblk": migrate.Tunnelblick, ".nmconnection": migrate.NetworkManager} {
		if strings.HasSuffix(strings.TrimRight(arg, "/"), suffix) && !api.IsCode(err, api.CodeFileNotFound) {
			return hinted(err, "that is a profile of "+client.Title()+": adit import --from "+string(client)+" "+quoted(arg))
		}
	}
	return err
}

// importFlags are all flags of import.
type importFlags struct {
	name, from            string
	passphrase            passphraseFile
	replace, dryRun, json bool
}

// store opens a profile's key and gives the profile to the service.
func (a *app) store(ctx context.Context, c *api.Client, p *profile.Profile, name string, f importFlags) (api.Profile, error) {
	p, err := a.unlock(ctx, p, f.passphrase, "it will be stored without its passphrase, readable for the service only")
	if err != nil {
		return api.Profile{}, err
	}
	stored, err := c.Import(ctx, api.ImportRequest{Name: name, Text: p.Text(), Replace: f.replace})
	if err != nil || !f.replace {
		return stored, err
	}
	// It may name another server, which must not get the password that was for the one before.
	s, err := c.Settings(ctx, stored.Name)
	if err == nil && s.SavePassword {
		err = a.forgetPasswords(ctx, stored.Name)
	}
	return stored, err
}
