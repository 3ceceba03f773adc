package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/durable"
)

// The forms of the files in the state directory: JSON objects with a version. The rule for whoever changes one (docs/install/upgrade.md):
// what is only added needs no new version, since an earlier program keeps what it does not know. A later version is for what an earlier
// program must not touch; it then leaves the file alone.

// formVersion is the latest that this program knows, of all files. 0, or none, is the same form from before versions were written.
const formVersion = 1

// errLater says that a later program has written a file.
var errLater = errors.New("a later version of Adit has written it: install that one again")

// unknown are values of a later program, by their names. Never nil where a file was read.
type unknown map[string]json.RawMessage

// wishes is the file of the wishes. Before versions were written it was the list alone.
type wishes struct {
	Wishes []json.RawMessage `json:"wishes"` // a wish each
}

// keptWishes is what this program does not know of the wishes.
type keptWishes struct {
	file unknown
	each map[key]unknown
}

// decode reads an object into a struct, and returns what the struct has no field for.
func decode(text []byte, into any) (unknown, error) {
	var head struct {
		Version int `json:"version"`
	}
	rest := unknown{}
	if err := errors.Join(json.Unmarshal(text, &rest), json.Unmarshal(text, &head)); err != nil {
		return nil, err
	}
	if head.Version > formVersion {
		return nil, errLater
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, err
	}
	delete(rest, "version")
	for _, f := range reflect.VisibleFields(reflect.TypeOf(into).Elem()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		// encoding/json takes names in any case.
		for have := range rest {
			if name != "" && strings.EqualFold(have, name) {
				delete(rest, have)
			}
		}
	}
	return rest, nil
}

// encode is a struct as an object, with what a later program has put there, and with our version.
func encode(from any, kept unknown) ([]byte, error) {
	all, err := merge(from, kept)
	if err != nil {
		return nil, err
	}
	all["version"] = json.RawMessage(fmt.Sprint(formVersion))
	b, err := json.MarshalIndent(all, "", "\t")
	return append(b, '\n'), err
}

func merge(from any, kept unknown) (unknown, error) {
	b, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	all := unknown{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for name, value := range kept {
		if _, ours := all[name]; !ours {
			all[name] = value
		}
	}
	return all, nil
}

func readForm(path string, into any) (unknown, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return decode(text, into)
}

// writeForm replaces the file at path, whole or not at all, also across a power cut.
func writeForm(path string, from any, kept unknown) error {
	text, err := encode(from, kept)
	if err != nil {
		return err
	}
	return durable.Write(path, text, 0o600)
}

func readWishes(path string) ([]wish, keptWishes, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, keptWishes{}, err
	}
	return parseWishes(text)
}

// parseWishes reads the wishes, oldest first, and what it does not know of them.
func parseWishes(text []byte) (list []wish, kept keptWishes, err error) {
	var in wishes
	if json.Unmarshal(text, &in.Wishes) != nil {
		if kept.file, err = decode(text, &in); err != nil {
			return nil, keptWishes{}, err
		}
	}
	kept.each = map[key]unknown{}
	for _, one := range in.Wishes {
		var w wish
		rest, err := decode(one, &w)
		if err != nil {
			return nil, keptWishes{}, err
		}
		list = append(list, w)
		if len(rest) > 0 {
			kept.each[w.key()] = rest
		}
	}
	return list, kept, nil
}

func formatWishes(list []wish, kept keptWishes) ([]byte, error) {
	out := wishes{Wishes: []json.RawMessage{}}
	for _, w := range list {
		all, err := merge(w, kept.each[w.key()])
		if err != nil {
			return nil, err
		}
		one, err := json.Marshal(all)
		if err != nil {
			return nil, err
		}
		out.Wishes = append(out.Wishes, one)
	}
	return encode(out, kept.file)
}

// sealed is a record as in its file, where it is sealed.
type sealed struct {
	Sealed []byte `json:"sealed"` // a record as in a file that is not
}

// parseRecord reads a record, and keeps with it what this program does not know.
func parseRecord(text []byte) (r record, err error) {
	if r.kept, err = decode(text, &r); err != nil {
		return record{}, err
	}
	var parts struct {
		Settings json.RawMessage `json:"settings"`
	}
	if err := json.Unmarshal(text, &parts); err != nil || len(parts.Settings) == 0 || string(parts.Settings) == "null" {
		return r, err
	}
	var settings api.Settings
	r.keptSettings, err = decode(parts.Settings, &settings)
	return r, err
}

func formatRecord(r record) ([]byte, error) {
	settings, err := merge(r.Settings, r.keptSettings)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	all, err := merge(r, r.kept)
	if err != nil {
		return nil, err
	}
	all["settings"] = raw
	return encode(all, nil)
}

func (s *store) writeRecord(path string, r record) error {
	text, err := formatRecord(r)
	if err != nil {
		return err
	}
	if s.sealer == nil {
		return durable.Write(path, text, 0o600)
	}
	var out sealed
	if out.Sealed, err = s.sealer.Seal(text); err != nil {
		return err
	}
	return writeForm(path, out, nil)
}

func (s *store) readRecord(path string, r *record) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var in sealed
	if _, err := decode(text, &in); err != nil {
		return err
	}
	if in.Sealed != nil {
		if s.sealer == nil {
			return errors.New("it is sealed, and nothing here opens it")
		}
		if text, err = s.sealer.Open(in.Sealed); err != nil {
			return fmt.Errorf("it was sealed on another machine, or is damaged: %w", err)
		}
	}
	*r, err = parseRecord(text)
	return err
}
