package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/platform/durable"
)

// maxPolicyFile is the size of a policy's file in bytes, a little more than what a policy may have.
const maxPolicyFile = 1 << 20

// target is where an installer's profiles and policy go.
type target struct {
	folder func() (string, error)    // makes the folder of managed profiles, and returns it
	policy func(client.Policy) error // puts a policy in place of the one that is there
}

// provision takes over what an installer was given: a profile, or a folder of them, and a policy. Each path may be empty. All is read
// and checked before anything is written; the files themselves are never used again.
func provision(to target, profiles, policy string, check bool, out io.Writer) error {
	var (
		texts  map[string]string
		wanted *client.Policy
		err    error
	)
	if profiles != "" {
		if texts, err = readProfiles(cleanPath(profiles)); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
	}
	if policy != "" {
		if wanted, err = readPolicy(cleanPath(policy)); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
	}
	if check {
		fmt.Fprintln(out, "all of it can be used; nothing was changed")
		return nil
	}
	if texts != nil {
		dir, err := to.folder()
		if err != nil {
			return fmt.Errorf("folder of managed profiles: %w", err)
		}
		for name, text := range texts {
			if err := durable.Write(filepath.Join(dir, name+".ovpn"), []byte(text), 0o600); err != nil {
				return fmt.Errorf("profile %s: %w", name, err)
			}
			fmt.Fprintf(out, "managed profile %s is in place\n", name)
		}
	}
	if wanted != nil {
		if err := to.policy(*wanted); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
		fmt.Fprintln(out, "the policy is in place")
	}
	return nil
}

// cleanPath takes off the quote that the folder "C:\a\" ends with where Windows' rules for command lines have read \" as a quote.
// No path there has one.
func cleanPath(path string) string { return strings.TrimSuffix(path, `"`) }

// readProfiles reads one profile, or all of a folder, with the files that they name beside them, as texts that need no others.
func readProfiles(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	dir, names := filepath.Dir(path), []string{filepath.Base(path)}
	if info.IsDir() {
		dir, names = path, nil
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if strings.EqualFold(filepath.Ext(e.Name()), ".ovpn") {
				names = append(names, e.Name())
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: there is no file of the kind .ovpn in it", path)
	}
	texts := map[string]string{}
	for _, name := range names {
		text, err := client.ReadManagedProfile(os.DirFS(dir), name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		texts[strings.TrimSuffix(name, filepath.Ext(name))] = text
	}
	return texts, nil
}

func readPolicy(path string) (*client.Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicyFile))
	if err != nil {
		return nil, err
	}
	p, err := client.ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &p, nil
}

// values are where group policies are: managed.Registry.
type values interface {
	Values() (map[string]any, error)
	Write(map[string]any) error
	Remove() error
}

// givenFile, in the state directory, is the policy as provision has written it. Management tools write to the same place.
const givenFile = "policy-given.json"

// give puts a policy in place of the one that is there, and keeps how it looks.
func give(to values, state string, p client.Policy) error {
	if err := to.Write(p.Written()); err != nil {
		return err
	}
	there, err := to.Values()
	if err != nil {
		return err
	}
	text, err := json.Marshal(there) // with its keys in order
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(state, givenFile), text, 0o600)
}

// takeBack removes the policy if it is still as give wrote it, and says whether one stays. What somebody else has written stays: group
// policies are not written again as long as they do not change.
func takeBack(from values, state string) (stays bool, err error) {
	there, err := from.Values()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil { // one that provision would not have written
		return true, nil
	}
	text, err := json.Marshal(there)
	if err != nil {
		return true, err
	}
	given, err := os.ReadFile(filepath.Join(state, givenFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return true, err
	case !bytes.Equal(text, given):
		return true, nil
	}
	return false, from.Remove()
}

// purge removes what provision has put elsewhere, and the service's state. It says whether a policy stays that is not provision's.
func purge(state string, forget func(state string) (bool, error)) (stays bool, err error) {
	if stays, err = forget(state); err != nil {
		return stays, fmt.Errorf("policy: %w", err)
	}
	if err := removeTree(state); err != nil {
		return stays, fmt.Errorf("state directory: %w", err)
	}
	return stays, nil
}

// removeTree is os.RemoveAll by the calls that wine has, too. It follows no links, also where dir is one; nobody else changes the tree meanwhile.
func removeTree(dir string) error {
	if info, err := os.Lstat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is a link, or no folder: remove it, and what it leads to, by hand", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = removeTree(path)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return os.Remove(dir)
}
