package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform/durable"
)

func newListProfiles(a *app) *cobra.Command {
	return command("list-profiles", "List all profiles", func(ctx context.Context) error {
		c := a.service()
		defer c.Close()
		list, err := c.Profiles(ctx)
		if err != nil {
			return err
		}
		type entry struct {
			Name     string  `json:"profile-name"`
			Owner    string  `json:"owned-by,omitempty"` // global profiles have none
			Auth     string  `json:"auth-type"`
			Imported *string `json:"imported-at,omitempty"`
		}
		out := []entry{}
		for _, p := range list {
			e := entry{Name: p.Name, Owner: p.Owner, Auth: authType(p.Auth), Imported: a.moment(p.Imported)}
			if p.Managed {
				e.Owner = ""
			}
			out = append(out, e)
		}
		return a.json(out)
	})
}

// authType is AWS's word for how a profile signs in. Of those for a certificate beside another way none is known.
func authType(kind string) string {
	return strings.NewReplacer("certificate", "ma", "password", "ad", "browser", "saml").Replace(kind)
}

func newImportProfile(a *app) *cobra.Command {
	var name, file *string
	var global *bool
	cmd := command("import-profile", "Import a profile", func(ctx context.Context) error {
		p, err := readProfile(ctx, *file)
		if err != nil {
			return err
		}
		c := a.service()
		defer c.Close()
		if *global {
			err = a.importGlobal(ctx, c, *name, p)
		} else {
			_, err = c.Import(ctx, api.ImportRequest{Name: *name, Text: p.Text()})
		}
		if err != nil {
			return err
		}
		return a.json(map[string]string{"status": "Success"})
	})
	name = required(cmd, "profile-name", "name for the profile")
	file = required(cmd, "config-path", "path of the .ovpn file")
	global = cmd.Flags().Bool("global", false, "for all users of this machine; needs administrator privileges")
	return cmd
}

// readProfile reads a profile with what it refers to, as the user.
func readProfile(ctx context.Context, file string) (*profile.Profile, error) {
	// As a path: an address of the web is none.
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	src, err := source.Read(ctx, http.DefaultClient, path)
	const prefix = "Failed to read OpenVPN config file: "
	switch {
	case api.IsCode(err, api.CodeFileNotFound):
		return nil, errors.New(prefix + "No such file or directory (os error 2)")
	case err != nil:
		return nil, fmt.Errorf(prefix+"%w", err)
	}
	p, err := profile.Parse(src.Title, src.Text, src.Files)
	if err == nil && p.Locked() {
		if p, err = p.Unlock(p.Passphrase); errors.Is(err, profile.ErrPassphrase) {
			err = errors.New("its private key has a passphrase: import it with adit import, which asks for it")
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// profileFile is where a managed profile lies.
func (a *app) profileFile(name string) (string, error) {
	if a.places.profiles == "" {
		return "", errors.New("this system has no folder for profiles of all users")
	}
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\:`) || clean(name) != name {
		return "", fmt.Errorf("%q cannot be the name of a profile", name)
	}
	return filepath.Join(a.places.profiles, name+".ovpn"), nil
}

// importGlobal puts a profile into the folder of managed ones, and waits until the service has seen it. One that the
// service does not take is not left there.
func (a *app) importGlobal(ctx context.Context, c *api.Client, name string, p *profile.Profile) error {
	if err := api.CheckName(name); err != nil {
		return err
	}
	file, err := a.profileFile(name)
	if err != nil {
		return err
	}
	if err := p.Unsupported(); err != nil {
		return err
	}
	if _, err := os.Lstat(file); err == nil {
		return api.NewProblem(api.CodeProfileExists, map[string]string{"profile": name})
	}
	if _, err := os.Stat(a.places.above); a.places.above != "" && errors.Is(err, fs.ErrNotExist) {
		return startFirst(a.places.above)
	}
	old := a.problems(ctx, c)
	err = os.MkdirAll(a.places.profiles, 0o755)
	if err == nil {
		err = durable.Write(file, []byte(p.Text()), 0o600)
	}
	if err != nil {
		return forAdministrators(err)
	}
	err = a.settle(ctx, c, old, name+".ovpn", func() (bool, error) {
		p, err := find(ctx, c, name)
		if errors.Is(err, errNotFound) {
			return false, nil
		}
		return p.Managed, err
	})
	if err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

// startFirst is the error of a folder that is not there yet.
func startFirst(folder string) error {
	return fmt.Errorf("start the service first: it makes %s, for administrators alone", folder)
}

// forAdministrators words what people without rights meet.
func forAdministrators(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return errNotAdmin
	}
	return err
}

// settleTime is how long the service may take to see what the administrator wrote: it looks every two seconds where it is not told.
const settleTime = 6 * time.Second

// problems is what the service has to say of what the administrator wrote; nothing where it cannot be asked.
func (a *app) problems(ctx context.Context, c *api.Client) []string {
	if s, err := c.Status(ctx); err == nil && s.Policy != nil {
		return s.Policy.Problems
	}
	return nil
}

// settle waits until done, as the service sees it. Without the service there is nothing to wait for. What the service
// says against the file is the error: at once where it is not among its old problems.
func (a *app) settle(ctx context.Context, c *api.Client, old []string, file string, done func() (bool, error)) error {
	against := func(ctx context.Context, known []string) error {
		for _, p := range a.problems(ctx, c) {
			if strings.Contains(p, file) && !slices.Contains(known, p) {
				return errors.New(p)
			}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		ok, err := done()
		switch {
		case api.IsCode(err, api.CodeServiceUnreachable):
			a.note("the service is not running: this counts when it starts")
			return nil
		case ok || err != nil && ctx.Err() == nil:
			return err
		}
		if err := against(ctx, old); err != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
			continue
		case <-ctx.Done():
		}
		if err := against(context.WithoutCancel(ctx), nil); err != nil {
			return err
		}
		return fmt.Errorf("the service does not take %s: adit status and adit logs may say why", file)
	}
}

func newDeleteProfile(a *app) *cobra.Command {
	var name *string
	cmd := command("delete-profile", "Delete a profile", func(ctx context.Context) error {
		c := a.service()
		defer c.Close()
		p, err := find(ctx, c, *name)
		if errors.Is(err, errNotFound) {
			return a.removeRefused(*name)
		}
		if err != nil {
			return err
		}
		if !p.Managed {
			return c.Remove(ctx, *name)
		}
		file, err := a.profileFile(*name)
		if err != nil {
			return err
		}
		if err := os.Remove(file); err != nil {
			return forAdministrators(err)
		}
		return a.settle(ctx, c, a.problems(ctx, c), *name+".ovpn", func() (bool, error) {
			p, err := find(ctx, c, *name)
			if errors.Is(err, errNotFound) {
				return true, nil
			}
			return err == nil && !p.Managed, err
		})
	})
	name = required(cmd, "profile-name", "name of the profile")
	return cmd
}

// removeRefused removes a file from the folder of managed profiles that the service does not take for one.
func (a *app) removeRefused(name string) error {
	file, err := a.profileFile(name)
	if err != nil {
		return errNotFound
	}
	if _, err := os.Lstat(file); err != nil {
		return errNotFound
	}
	return forAdministrators(os.Remove(file))
}

func newGetConfig(a *app) *cobra.Command {
	var name *string
	cmd := command("get-config", "Get the configuration of a profile", func(ctx context.Context) error {
		c := a.service()
		defer c.Close()
		p, err := find(ctx, c, *name)
		if err != nil {
			return err
		}
		text := ""
		if p.Managed {
			text, err = a.managedText(ctx, c, *name)
		} else {
			var t api.ProfileText
			t, err = c.Export(ctx, *name)
			text = t.Text
		}
		if err != nil {
			return err
		}
		if !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		_, err = fmt.Fprint(a.out, text)
		return err
	})
	name = required(cmd, "profile-name", "name of the profile")
	return cmd
}

// managedText is a managed profile's file for who may read it, and its text without secrets for all others.
func (a *app) managedText(ctx context.Context, c *api.Client, name string) (string, error) {
	if file, err := a.profileFile(name); err == nil {
		if b, err := os.ReadFile(file); err == nil {
			return string(b), nil
		}
	}
	t, err := c.Show(ctx, name)
	return t.Text, err
}
