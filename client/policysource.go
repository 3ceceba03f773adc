package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// PolicySource is where the administrator writes the policy: PolicyFile, PolicyValues or PolicyFirst.
type PolicySource interface {
	// read reads it anew, and names the place as people know it, of an error, too. An error that wraps fs.ErrNotExist says that
	// there is none.
	read() (p Policy, place string, err error)
	// marks are how it looks, to see whether it is another one.
	marks() []mark
}

// PolicyFirst is the first of several places where there is a policy; the others do not count then. There has to be one.
func PolicyFirst(places ...PolicySource) PolicySource { return policyFirst(places) }

type policyFirst []PolicySource

func (all policyFirst) read() (p Policy, place string, err error) {
	for _, s := range all {
		if p, place, err = s.read(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return p, place, err
}

func (all policyFirst) marks() []mark {
	var out []mark
	for _, s := range all {
		out = append(out, s.marks()...)
	}
	return out
}

// PolicyFile is a JSON file (ParsePolicy) in a folder that only the administrator can write (package trusted); path
// is its whole path, as people know it.
func PolicyFile(files fs.FS, file, path string) PolicySource { return policyFile{files, file, path} }

type policyFile struct {
	files      fs.FS
	file, path string
}

func (f policyFile) marks() []mark { return []mark{markOf(f.files, f.file)} }

func (f policyFile) read() (Policy, string, error) {
	text, err := readBounded(f.files, f.file, maxPolicyText)
	if err != nil {
		return Policy{}, f.path, err
	}
	p, err := ParsePolicy(text)
	return p, f.path, err
}

// PolicyStore is where management tools write one value for each key: the registry, managed preferences.
type PolicyStore interface {
	// Values returns what is there: bool, int64, uint64, string, []string, and []any and map[string]any of these. Its
	// error wraps fs.ErrNotExist where there is no policy.
	Values() (map[string]any, error)
}

// PolicyValues is a store; name is its place as people know it.
func PolicyValues(store PolicyStore, name string) PolicySource { return policyValues{store, name} }

type policyValues struct {
	store PolicyStore
	place string
}

func (v policyValues) marks() []mark {
	values, err := v.store.Values()
	if err != nil {
		return []mark{{name: v.place, text: err.Error()}}
	}
	text, err := json.Marshal(values) // with its keys in order
	if err != nil {
		return []mark{{name: v.place, text: err.Error()}}
	}
	return []mark{{name: v.place, text: string(text)}}
}

func (v policyValues) read() (Policy, string, error) {
	values, err := v.store.Values()
	if err != nil {
		return Policy{}, v.place, err
	}
	p, err := PolicyOf(values)
	return p, v.place, err
}

// PolicyOf makes a policy of what a PolicyStore returns, by the same schema as ParsePolicy: its errors (*PolicyError) have
// no line, but the key's name.
func PolicyOf(values map[string]any) (Policy, error) {
	b := newPolicyBuilder()
	size := 0
	for _, name := range slices.Sorted(maps.Keys(values)) {
		k, ok := b.key(name)
		if !ok {
			return Policy{}, b.unknown(0, name)
		}
		raw, err := k.json(values[name])
		if err == nil {
			if size += len(raw); size > maxPolicyText {
				err = fmt.Errorf("the policy has more than %d bytes", maxPolicyText)
			}
		}
		if err != nil {
			return Policy{}, &PolicyError{Key: name, Text: err.Error()}
		}
		if err := b.set(k, 0, raw); err != nil {
			return Policy{}, err
		}
	}
	return b.done()
}

// json is a store's value as JSON has it. Registries have no truth values and no objects: 0 and 1 are the former,
// and a text with JSON in it the latter.
func (k PolicyKey) json(v any) (json.RawMessage, error) {
	switch k.Kind {
	case PolicyBool:
		switch v {
		case int64(0), uint64(0):
			v = false
		case int64(1), uint64(1):
			v = true
		}
	case PolicyNetworks:
		if texts, ok := v.([]string); ok {
			objects := []json.RawMessage{}
			for i, text := range texts {
				if !json.Valid([]byte(text)) {
					return nil, fmt.Errorf("entry %d is not JSON: %s", i+1, shortened([]byte(text)))
				}
				objects = append(objects, json.RawMessage(text))
			}
			v = objects
		}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("it is of a type that no key has")
	}
	return raw, nil
}

// Written are the keys that were written, with values as a PolicyStore returns them: bool, int, string, and []string, in which a
// network is its JSON object.
func (p Policy) Written() map[string]any {
	out := map[string]any{}
	for _, k := range PolicySchema() {
		if !p.set[k.Name] {
			continue
		}
		switch v := k.field(&p).(type) {
		case *bool:
			out[k.Name] = *v
		case *int:
			out[k.Name] = *v
		case *string:
			out[k.Name] = *v
		case *[]string:
			out[k.Name] = slices.Clone(*v)
		case *[]TrustedNetwork:
			texts := []string{}
			for _, n := range *v {
				text, err := json.Marshal(n)
				if err != nil {
					panic(err) // two strings
				}
				texts = append(texts, string(text))
			}
			out[k.Name] = texts
		}
	}
	return out
}
