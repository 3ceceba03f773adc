package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/migrate"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// taken is what became of one profile of another client: a line of import --from --json.
type taken struct {
	Name   string   `json:"name"`
	File   string   `json:"file"`
	Result string   `json:"result"` // imported; usable with --dry-run; exists, refused
	Reason string   `json:"reason"` // of the last two
	Notes  []string `json:"notes"`
}

// importFrom takes over the profiles of another client. One that fails does not stop the others.
func (a *app) importFrom(cmd *cobra.Command, f importFlags, args []string) error {
	from := migrate.Client(strings.ToLower(f.from))
	if !slices.Contains(migrate.Clients(), from) {
		return usage(cmd, "--from %s: it is one of aws, openvpn, tunnelblick and networkmanager", f.from)
	}
	at := ""
	if len(args) > 0 {
		var err error
		if at, err = filepath.Abs(args[0]); err != nil {
			return err
		}
	}
	found, err := migrate.Here().Find(from, at)
	var missing *migrate.Missing
	switch {
	case errors.As(err, &missing):
		hints := []string{"name the file or folder: adit import --from " + string(from) + " PATH"}
		if from == migrate.AWS {
			hints = append(hints, "version 6 gives its profiles out one by one: aws-vpn-client get-config --profile-name NAME >NAME.ovpn")
		}
		return hinted(err, hints...)
	case err != nil:
		return err
	}
	if person := a.env("SUDO_USER"); person != "" && os.Geteuid() == 0 && !f.dryRun {
		a.out.note("you are root: the profiles become root's, and %s does not see them", person)
	}
	c := a.service()
	defer c.Close()
	var results []taken
	var stopped error // what would stop all that follow, too
	failed, closed := 0, false
	for _, p := range found {
		if stopped = cmd.Context().Err(); stopped != nil {
			break
		}
		t, err := a.take(cmd, c, p, f)
		if api.IsCode(err, api.CodeServiceUnreachable) || errors.Is(err, context.Canceled) {
			stopped = err
			break
		}
		closed = closed || errors.Is(err, fs.ErrPermission)
		if err != nil {
			failed++
		}
		if results = append(results, t); !f.json {
			a.out.taken(t)
		}
	}
	if f.json && (stopped == nil || len(results) > 0) {
		if err := a.out.json(results); err != nil {
			return err
		}
	}
	if stopped != nil {
		return stopped
	}
	if failed == 0 {
		return nil
	}
	err = fmt.Errorf("%d of %d profiles were not imported", failed, len(found))
	if f.dryRun {
		err = fmt.Errorf("%d of %d profiles cannot be imported", failed, len(found))
	}
	if closed && from == migrate.NetworkManager {
		return hinted(err, "copy what root alone can read: mkdir -m 700 nm && sudo install -o \"$USER\" -m 600 -t nm /etc/NetworkManager/system-connections/*",
			"then: adit import --from networkmanager nm")
	}
	return err
}

// take imports one profile, or with --dry-run reads it.
func (a *app) take(cmd *cobra.Command, c *api.Client, found migrate.Profile, f importFlags) (taken, error) {
	t := taken{Name: found.Name, File: found.Path, Result: "refused", Notes: found.Notes}
	if t.Notes == nil {
		t.Notes = []string{}
	}
	refused := func(err error) (taken, error) {
		t.Reason = err.Error()
		return t, err
	}
	if found.Err != nil {
		return refused(found.Err)
	}
	p, err := profile.Parse(found.Name, found.Text, found.Files)
	var wrong *profile.Error
	if errors.As(err, &wrong) {
		wrong.Profile = "" // the name is shown beside it
		_, text, _ := strings.Cut(wrong.Error(), ": ")
		t.Reason = text
		return t, err
	}
	if err != nil {
		return refused(err)
	}
	if f.dryRun {
		if t.Result = "usable"; p.Unsupported() != nil && !p.Locked() {
			t.Result = "refused"
			return refused(p.Unsupported())
		}
		return t, nil
	}
	stored, err := a.store(cmd.Context(), c, p, found.Name, f)
	switch {
	case api.IsCode(err, api.CodeProfileExists):
		t.Result, t.Reason = "exists", "overwrite it with --replace"
		return t, err
	case err != nil:
		return refused(err)
	}
	t.Name, t.Result = stored.Name, "imported"
	t.Notes = append(t.Notes, stored.Notes...)
	return t, nil
}
