package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/diagnose"
)

func newDiagnose(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diagnose",
		Short: "Put what a helper wants to see into one file, without secrets",
		Long: `Write a zip archive for somebody who helps you: versions, the state of the service and of your
tunnels, its log, your profiles and settings, which way packets go, and this machine's addresses,
routes, rules, resolvers and guard. README.txt in it says what each file is, and what is missing.

It has no private keys, passwords, one-time codes, tokens, cookies or sign-in addresses, and
nothing of other users' tunnels. It does have names and addresses of your networks: look
at it before you give it away. Nothing is sent.

Neither the service nor root is needed. As root it has the guard's firewall rules, too, but it is
then about root's own profiles and tunnels.`,
		Example: `  adit diagnose
  adit diagnose -o problem.zip`,
		Args: wants(0, 0, ""),
	}
	asJSON := jsonFlag(cmd)
	output := cmd.Flags().StringP("output", "o", "", "file to write, which must not exist (default adit-diagnose-DATE-TIME.zip)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		now := time.Now()
		path := *output
		if path == "" {
			path = now.Format("adit-diagnose-20060102-150405.zip")
		}
		if _, err := os.Lstat(path); err == nil {
			return fileExists(path)
		}
		c := a.service()
		defer c.Close()
		entries, err := diagnose.Collect(cmd.Context(), diagnose.Source{Client: c, Socket: a.socket, Own: ownVersion(), Now: now})
		if err != nil {
			return err
		}
		var archive bytes.Buffer
		if err := diagnose.Write(&archive, entries, now); err != nil {
			return err
		}
		if err := writeNew(path, archive.Bytes()); err != nil {
			return err
		}
		if *asJSON {
			return a.out.json(bundle{path, entries})
		}
		a.out.bundle(bundle{path, entries})
		return nil
	}
	return cmd
}

// bundle is the form of adit diagnose --json.
type bundle struct {
	File    string           `json:"file"`
	Entries []diagnose.Entry `json:"entries"`
}

// writeNew writes a file for this user only, and none over another one. What cannot be written whole is taken away.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fileExists(path)
	}
	if err != nil {
		return hinted(fmt.Errorf("cannot write the bundle: %w", err), "name another file with -o FILE")
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("cannot write the bundle: %w", err), os.Remove(path))
	}
	return nil
}

func fileExists(path string) error {
	return hinted(fmt.Errorf("%s is there already", path), "name another file with -o FILE, or remove it")
}
