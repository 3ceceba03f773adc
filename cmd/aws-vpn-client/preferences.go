package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/lock"
)

// The preferences of AWS's client, and the policy's keys that two of them are here. Nothing is sent anywhere, whatever
// the third says.
const (
	telemetry      = "enable-telemetry"
	userProfiles   = "enable-user-profile-management"
	maxConnections = "max-connections"

	userProfilesKey   = "AllowUserProfiles"
	maxConnectionsKey = "MaxConnections"

	mostConnections = 5       // of the policy's schema: its default, too
	maxPolicy       = 1 << 18 // bytes
)

func newListPreferences(a *app) *cobra.Command {
	return command("list-preferences", "List all preferences", func(ctx context.Context) error {
		c := a.service()
		defer c.Close()
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		p := preferences(s.Policy)
		return a.json(struct {
			Telemetry    bool `json:"enable-telemetry"`
			UserProfiles bool `json:"enable-user-profile-management"`
			Max          int  `json:"max-connections"`
		}{false, p.userProfiles, p.max})
	})
}

type preferred struct {
	userProfiles bool
	max          int
}

// preferences reads what holds: the policy's keys, or their defaults.
func preferences(p *api.Policy) preferred {
	out := preferred{userProfiles: !p.Is(userProfilesKey, false), max: mostConnections}
	if p == nil {
		return out
	}
	for _, k := range p.Keys {
		if k.Name != maxConnectionsKey {
			continue
		}
		if n, err := strconv.Atoi(string(k.Value)); err == nil {
			out.max = n
		}
	}
	return out
}

func newPutPreference(a *app) *cobra.Command {
	var key, value *string
	cmd := command("put-preference", "Set a preference", func(ctx context.Context) error { return a.put(ctx, *key, *value) })
	key = required(cmd, "key", telemetry+", "+userProfiles+" or "+maxConnections)
	value = required(cmd, "value", "true or false, or a number from 1 to 5")
	return cmd
}

// put sets a key of the machine's policy.
func (a *app) put(ctx context.Context, key, value string) error {
	yes := value == "true"
	if key != maxConnections && !yes && value != "false" {
		return valueOrKey(key)
	}
	switch key {
	case telemetry:
		a.note("Adit sends no telemetry, whatever this says")
		return nil
	case userProfiles:
		return a.writePolicy(ctx, userProfilesKey, yes, func(p preferred) bool { return p.userProfiles == yes })
	case maxConnections:
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > mostConnections {
			return errValue
		}
		return a.writePolicy(ctx, maxConnectionsKey, n, func(p preferred) bool { return p.max == n })
	}
	return errKey
}

// valueOrKey says what is wrong with a value that is neither true nor false.
func valueOrKey(key string) error {
	if key == telemetry || key == userProfiles {
		return errValue
	}
	return errKey
}

// writePolicy sets one key of the policy, leaves the others, and waits until it holds. Where the service reads another policy, such
// as that of its flag --policy, nothing is written.
func (a *app) writePolicy(ctx context.Context, key string, value any, holds func(preferred) bool) error {
	c := a.service()
	defer c.Close()
	old := a.problems(ctx, c)
	if s, err := c.Status(ctx); err == nil && s.Policy != nil && s.Policy.Source != "" && s.Policy.Source != a.places.policy {
		return elsewhere(s.Policy.Source, key)
	}
	if err := a.places.set(key, value); err != nil {
		return forAdministrators(err)
	}
	return a.settle(ctx, c, old, a.places.policy, func() (bool, error) {
		s, err := c.Status(ctx)
		return err == nil && holds(preferences(s.Policy)), err
	})
}

// elsewhere is the error of a policy that is not this program's to write.
func elsewhere(place, key string) error {
	return fmt.Errorf("the policy of this machine is in %s: set %s there", place, key)
}

// inFile sets keys of the policy in a file.
func inFile(file string) func(key string, value any) error {
	return func(key string, value any) error { return setPolicy(file, key, value) }
}

// setPolicy sets one key in the file, which is made where it is missing, and waits for others of this program that do the same.
func setPolicy(file, key string, value any) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	l, err := lock.Wait(file + ".lock")
	if err != nil {
		return err
	}
	text, mode, err := readPolicy(file)
	if err == nil {
		if text, err = withKey(text, key, value); err != nil {
			err = fmt.Errorf("%s: %w", file, err)
		}
	}
	if err == nil {
		err = durable.Write(file, text, mode)
	}
	return errors.Join(err, l.Remove())
}

// readPolicy reads the file, and who may read it; without one it is empty, and for everybody.
func readPolicy(file string) ([]byte, fs.FileMode, error) {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []byte("{}"), 0o644, nil
	case err != nil:
		return nil, 0, err
	case !info.Mode().IsRegular() || info.Size() > maxPolicy:
		return nil, 0, fmt.Errorf("%s is not a policy's file", file)
	}
	b, err := os.ReadFile(file)
	return b, info.Mode().Perm(), err
}

// withKey sets one key of a JSON object; the others keep their values and their order.
func withKey(text []byte, key string, value any) ([]byte, error) {
	set, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var keys []string
	values := map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(text))
	open, err := d.Token()
	if open != json.Delim('{') {
		return nil, errors.New("it is not a JSON object: mend it first")
	}
	for err == nil && d.More() {
		var name json.Token
		if name, err = d.Token(); err != nil {
			break
		}
		var raw json.RawMessage
		if err = d.Decode(&raw); err == nil {
			keys = append(keys, name.(string))
			values[name.(string)] = raw
		}
	}
	if err == nil {
		_, err = d.Token()
	}
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("it is not a JSON object (%w): mend it first", err)
	}
	if len(keys) != len(values) {
		return nil, errors.New("a key is in it twice: mend it first")
	}
	if _, there := values[key]; !there {
		keys = append(keys, key)
	}
	values[key] = set
	var out bytes.Buffer
	out.WriteByte('{')
	for i, k := range keys {
		name, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(values[k])
	}
	out.WriteByte('}')
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, out.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	pretty.WriteByte('\n')
	return pretty.Bytes(), nil
}
